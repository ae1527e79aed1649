-- Writes the origins of persons who got links (table origins, by the rule for leads), with history and audit. A person
-- with accounts only, first seen before the lead system, is legacy (domain.md 3.5); a lead overrules that, for it is
-- the lowest origin of all. What a person decided stays (P7). Returns the counts of what was written.
with first_seen as (
    select distinct on (links.person_key)
        links.person_key, links.source_pk, least(links.snapshot_date, links.linked_at) as seen_at
    from canon.identity_links as links
    where links.person_key in (select person_key from decisions)
        and not exists (select 1 from origins where origins.person_key = links.person_key)
        and not exists (select 1 from canon.identity_origin as known where known.person_key = links.person_key)
    order by links.person_key, least(links.snapshot_date, links.linked_at), links.source_pk collate "C"
),

wanted as (
    select person_key, origin_tag, origin_source_id, origin_confidence, origin_created_at, resolution_status
    from origins
    union all
    select person_key, 'legacy_external', source_pk, 50.00, seen_at, 'resolved_auto'
    from first_seen
    where (seen_at at time zone 'America/Lima')::date < %(lead_system_start)s
),

origins_before as materialized (
    select known.*
    from canon.identity_origin as known
    inner join wanted on wanted.person_key = known.person_key
    where known.decided_by = 'system'
        and known.resolution_status in ('pending_review', 'resolved_auto')
        and (known.origin_tag, known.origin_source_id, known.origin_confidence, known.resolution_status)
            is distinct from (
                wanted.origin_tag, wanted.origin_source_id, wanted.origin_confidence, wanted.resolution_status
            )
),

origins_written as (
    insert into canon.identity_origin (
        person_key, origin_tag, origin_source_id, origin_confidence, origin_created_at, resolution_status, evidence
    )
    select
        wanted.person_key, wanted.origin_tag, wanted.origin_source_id, wanted.origin_confidence,
        wanted.origin_created_at, wanted.resolution_status, jsonb_build_object('run_id', %(run_id)s)
    from wanted
    where wanted.person_key in (select person_key from origins_before)
        or not exists (select 1 from canon.identity_origin as known where known.person_key = wanted.person_key)
    order by wanted.person_key
    on conflict (person_key) do update set
        origin_tag = excluded.origin_tag,
        origin_source_id = excluded.origin_source_id,
        origin_confidence = excluded.origin_confidence,
        origin_created_at = excluded.origin_created_at,
        resolution_status = excluded.resolution_status,
        evidence = excluded.evidence,
        decided_at = now(),
        updated_at = now()
    returning *
),

origin_history as (
    insert into canon.identity_origin_history (
        person_key, origin_tag_old, origin_tag_new, origin_source_id_old, origin_source_id_new,
        origin_confidence_old, origin_confidence_new, resolution_status_old, resolution_status_new,
        ruleset_version_old, ruleset_version_new, changed_by, change_reason, run_id
    )
    select
        new.person_key, old.origin_tag, new.origin_tag, old.origin_source_id, new.origin_source_id,
        old.origin_confidence, new.origin_confidence, old.resolution_status, new.resolution_status,
        old.ruleset_version, new.ruleset_version, 'system',
        case
            when new.origin_tag = 'legacy_external' then 'only accounts, from before the lead system'
            when old.person_key is null then 'first record linked'
            else 'better record linked'
        end,
        %(run_id)s
    from origins_written as new
    left join origins_before as old on old.person_key = new.person_key
    returning 1
),

audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'set_origin', 'identity_origin', rows.person_key::text,
        rows.person_key, to_jsonb(old), to_jsonb(rows)
    from origins_written as rows
    left join origins_before as old on old.person_key = rows.person_key
    returning 1
)

select jsonb_build_object(
    'origins', (select count(*) from origins_written),
    'legacy_origins', (select count(*) from origins_written where origin_tag = 'legacy_external'),
    'origin_history', (select count(*) from origin_history),
    'audit', (select count(*) from audited)
)
