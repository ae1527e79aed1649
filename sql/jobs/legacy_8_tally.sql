-- What became of the rows of both files, and what the files say of junk: persons with a placeholder as key, and persons
-- who hold more records than a job may link (Q3: reported, not split).
select jsonb_build_object(
    'persons', jsonb_build_object(
        'inserted', (select count(*) from legacy_persons where outcome = 'new'),
        'completed', (select count(*) from legacy_persons where outcome = 'completed'),
        'unchanged', (select count(*) from legacy_persons where outcome = 'unchanged'),
        'superseded', (select count(*) from legacy_persons where outcome = 'superseded')
    ),
    'links', jsonb_build_object(
        'inserted', (select count(*) from legacy_links where outcome = 'new'),
        'unchanged', (select count(*) from legacy_links where outcome = 'unchanged'),
        'superseded', (select count(*) from legacy_links where outcome = 'superseded')
    ),
    'md5_keys_mapped', (
        select count(*) from legacy_links
        where is_mapped and outcome in ('new', 'unchanged', 'superseded')
    ),
    'persons_with_junk', (select count(*) from legacy_persons where has_junk and outcome <> 'superseded'),
    'persons_over_limit', (
        select count(*) from (
            select 1 from canon.identity_links as links
            where links.person_key in (
                select rows.person_key from legacy_links as rows where rows.outcome in ('new', 'unchanged')
            )
            group by links.person_key
            having count(*) > %(source_limit)s
        ) as large
    )
)
