-- What becomes of every row that can be read. Of persons: new, completed, unchanged or superseded; of links: new,
-- unchanged, superseded, or the reason why it is turned away. A person who is there is only completed (domain.md 3.1),
-- a link that is there stays as it is (5.6), and where two persons claim one record nobody is chosen (Q1).
update legacy_persons
set phone_norm = canon.normalize_phone(primary_phone),
    license_norm = canon.normalize_license(primary_license),
    name_norm = canon.normalize_name(primary_full_name);

update legacy_persons as rows
set has_junk = (rows.primary_phone is not null and rows.phone_norm is null)
        or (rows.primary_license is not null and rows.license_norm is null)
        or (rows.primary_full_name is not null and rows.name_norm is null),
    outcome = case
        when rows.line < last_lines.line then 'superseded'
        when persons.person_key is null then 'new'
        when (coalesce(persons.primary_phone, '') = '' and rows.phone_norm is not null)
            or (coalesce(persons.primary_document, '') = '' and rows.primary_document is not null)
            or (coalesce(persons.primary_license, '') = '' and rows.license_norm is not null)
            or (coalesce(persons.primary_full_name, '') = '' and rows.name_norm is not null)
            then 'completed'
        else 'unchanged'
    end
from (select person_key, max(line) as line from legacy_persons group by person_key) as last_lines
left join canon.identity_registry as persons on persons.person_key = last_lines.person_key -- 1 : 0..1
where last_lines.person_key = rows.person_key;
create index on legacy_persons (person_key);
analyze legacy_persons;

update legacy_links as links
set outcome = 'conflict',
    other_person_key = case links.person_key
        when claims.first_person then claims.last_person else claims.first_person
    end
from (
    select
        source_table,
        record_pk,
        min(person_key::text)::uuid as first_person,
        max(person_key::text)::uuid as last_person
    from legacy_links where outcome is null group by source_table, record_pk
) as claims
where links.outcome is null and claims.first_person <> claims.last_person
    and claims.source_table = links.source_table and claims.record_pk = links.record_pk;

update legacy_links as links
set outcome = 'unknown_person'
where links.outcome is null
    and not exists (select 1 from legacy_persons as persons where persons.person_key = links.person_key)
    and not exists (select 1 from canon.identity_registry as persons where persons.person_key = links.person_key);

update legacy_links as links
set outcome = 'taken', other_person_key = known.person_key
from canon.identity_links as known
where links.outcome is null and known.source_table = links.source_table and known.source_pk = links.record_pk
    and known.person_key <> links.person_key;

update legacy_links as links
set outcome = 'set_aside'
from canon.identity_unmatched as unmatched
where links.outcome is null and unmatched.status = 'IGNORED'
    and unmatched.source_table = links.source_table and unmatched.source_pk = links.record_pk;

-- What a person refused stays refused, also when the refused driver comes with this file (F30).
update legacy_links as links
set outcome = 'refused'
from canon.refused_matches as refusals
where links.outcome is null and refusals.source_table = links.source_table and refusals.source_pk = links.record_pk
    and (
        refusals.person_key = links.person_key
        or exists (
            select 1 from legacy_links as drivers
            where drivers.source_table = 'drivers' and drivers.record_pk = refusals.driver_id
                and drivers.person_key = links.person_key
        )
    );

-- Of lines with one key the last counts; of an md5 key and the id of one row the higher score (Q1), then the id.
update legacy_links as links
set outcome = case
        when links.line <> ranked.chosen then 'superseded'
        when exists (
            select 1 from canon.identity_links as known
            where known.source_table = links.source_table and known.source_pk = links.record_pk
        ) then 'unchanged'
        else 'new'
    end
from (
    select
        line,
        first_value(line) over (
            partition by source_table, record_pk
            order by is_last_of_key desc, match_score desc, is_mapped, line desc
        ) as chosen
    from (
        select
            line, source_table, record_pk, match_score, is_mapped,
            line = max(line) over (
                partition by source_table, record_pk, case when is_mapped then lower(source_pk) else '' end
            ) as is_last_of_key
        from legacy_links where outcome is null
    ) as keyed
) as ranked
where ranked.line = links.line
