-- Writes the audit of the links backfill for rows of the plan, after their links in the same transaction (domain.md
-- 3.11, Q30): what became of them, not what was planned. A row that could not be linked as planned is not told; the
-- next run plans it anew. Returns the counts.
with picked as materialized (
    select * from {plan} where seq > %(first)s and seq <= %(last)s
),

-- Found by key, one by one, as in identity_apply.
outcomes as materialized (
    select
        picked.*,
        links.person_key as link_person,
        case
            when links.run_id = %(run_id)s and links.person_key = picked.person_key then 'created'
            when links.id is not null then 'skipped_exists'
            when picked.person_key is null then picked.result
        end as outcome
    from picked
    left join lateral (
        select links.* from canon.identity_links as links
        where links.source_table = picked.source_table and links.source_pk = picked.source_pk
        limit 1
    ) as links on true
),

told as (
    insert into ops.identity_links_backfill_audit (
        source_table, source_pk, person_key, driver_id, driver_license, driver_phone, match_method, match_confidence,
        match_score, evidence_json, match_result, action_type, reason, ingestion_run_id
    )
    select
        source_table, source_pk, link_person, case when outcome = 'created' then matched_driver_id end,
        driver_license, driver_phone,
        case when outcome = 'skipped_exists' then 'none' else method end,
        case when outcome = 'created' then confidence_level end,
        case when outcome = 'created' then match_score end,
        told_evidence,
        outcome,
        case outcome
            when 'created' then 'CREATED' when 'skipped_exists' then 'SKIPPED' when 'ambiguous' then 'AMBIGUOUS'
            else 'NOT_FOUND'
        end,
        case when outcome in ('ambiguous', 'not_found') then reason end,
        %(run_id)s
    from outcomes
    where outcome is not null
    returning 1
)

select jsonb_build_object(
    'total', (select count(*) from picked),
    'created', (select count(*) from outcomes where outcome = 'created'),
    'created_with_driver', (select count(*) from outcomes where outcome = 'created' and matched_driver_id is not null),
    'created_new_person', (
        select count(*) from outcomes where outcome = 'created' and match_rule = 'BACKFILL_NEW_PERSON'
    ),
    'skipped', (select count(*) from outcomes where outcome = 'skipped_exists'),
    'ambiguous', (select count(*) from outcomes where outcome = 'ambiguous'),
    'not_found', (select count(*) from outcomes where outcome = 'not_found'),
    'errors', (select count(*) from outcomes where outcome is null),
    'backfill_audit', (select count(*) from told)
)
