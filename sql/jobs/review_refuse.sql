-- "Never this one": what a lead record is not, as a person said, with its audit. An open record is tried again by the
-- next run: who remains may be the one.
with refused as (
    insert into canon.identity_refusals as refusals (
        refusal_key, source_table, source_pk, driver_id, person_key, reason, refused_by, run_id
    )
    values (
        concat_ws(
            ':', %(source_table)s, %(source_pk)s, case when %(driver_id)s is null then 'person' else 'driver' end,
            coalesce(%(driver_id)s, %(person_key)s::uuid::text)
        ),
        %(source_table)s, %(source_pk)s, %(driver_id)s, %(person_key)s, %(reason)s, %(actor)s, %(run_id)s
    )
    on conflict (refusal_key) do nothing
    returning refusals.*
),

tried_again as (
    update canon.identity_unmatched as unmatched
    set is_stale = true
    from refused
    where unmatched.source_table = refused.source_table and unmatched.source_pk = refused.source_pk
        and unmatched.status = 'OPEN'
    returning 1
),

audited as (
    insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, before, after)
    select
        %(run_id)s, %(actor)s, 'refuse_match', %(reason)s, 'identity_refusals', refused.refusal_key, null,
        to_jsonb(refused)
    from refused
    returning 1
)

select jsonb_build_object(
    'refused', (select count(*) from refused),
    'tried_again', (select count(*) from tried_again),
    'audit', (select count(*) from audited)
)
