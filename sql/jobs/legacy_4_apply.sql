-- Writes persons, links and resolved unmatched records of the predecessor, with their audit, in one statement. Keys,
-- rules and times stay as they were; what is loaded is marked, and the links carry the run, by which the guard of
-- driver links knows history (domain.md 9.10, Q78). Returns the counts of what was written.
with new_persons as (
    insert into canon.identity_registry (
        person_key, confidence_level, primary_phone, primary_document, primary_license, primary_full_name,
        flags, created_at, updated_at
    )
    select
        person_key, confidence_level, phone_norm, primary_document, license_norm, name_norm,
        coalesce(flags, '{{}}') || '{{"legacy": true}}',
        coalesce(created_at, now()), coalesce(updated_at, created_at, now())
    from legacy_persons
    where outcome = 'new'
    order by person_key
    returning *
),

completed_persons as (
    update canon.identity_registry as persons
    set primary_phone = coalesce(nullif(persons.primary_phone, ''), rows.phone_norm),
        primary_document = coalesce(nullif(persons.primary_document, ''), rows.primary_document),
        primary_license = coalesce(nullif(persons.primary_license, ''), rows.license_norm),
        primary_full_name = coalesce(nullif(persons.primary_full_name, ''), rows.name_norm),
        updated_at = now()
    from legacy_persons as rows
    inner join canon.identity_registry as old on old.person_key = rows.person_key
    where old.person_key = persons.person_key and rows.outcome = 'completed'
    returning persons.person_key, to_jsonb(old) as before, to_jsonb(persons) as after
),

new_links as (
    insert into canon.identity_links (
        person_key, source_table, source_pk, snapshot_date, match_rule, match_score, confidence_level, evidence,
        linked_at, run_id
    )
    select
        person_key, source_table, record_pk, snapshot_date, match_rule, match_score, confidence_level,
        coalesce(evidence, '{{}}') || '{{"legacy": true}}', coalesce(linked_at, now()), %(run_id)s
    from legacy_links
    where outcome = 'new'
    order by line
    returning *
),

unmatched_before as materialized (
    select unmatched.*
    from canon.identity_unmatched as unmatched
    inner join legacy_links as rows
        on rows.source_table = unmatched.source_table and rows.record_pk = unmatched.source_pk
    where rows.outcome = 'new' and unmatched.status = 'OPEN'
),

unmatched_resolved as (
    update canon.identity_unmatched as unmatched
    set status = 'RESOLVED', resolved_at = now(), is_stale = false
    from unmatched_before as old
    where unmatched.id = old.id
    returning unmatched.id, to_jsonb(old) as before, to_jsonb(unmatched) as after
),

audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'load_person', 'identity_registry', rows.person_key::text,
        rows.person_key, null, to_jsonb(rows)
    from new_persons as rows
    union all
    select
        %(run_id)s, %(actor)s, 'complete_person', 'identity_registry', person_key::text, person_key, before, after
    from completed_persons
    union all
    select %(run_id)s, %(actor)s, 'load_link', 'identity_links', rows.id::text, rows.person_key, null, to_jsonb(rows)
    from new_links as rows
    union all
    select %(run_id)s, %(actor)s, 'resolve_unmatched', 'identity_unmatched', id::text, null, before, after
    from unmatched_resolved
    returning 1
)

select jsonb_build_object(
    'unmatched_resolved', (select count(*) from unmatched_resolved),
    'audit', (select count(*) from audited)
)
