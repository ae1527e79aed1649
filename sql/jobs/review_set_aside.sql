-- An open record is set aside for good, with its audit: no job tries it again.
with before as materialized (
    select unmatched.*
    from canon.identity_unmatched as unmatched
    where unmatched.source_table = %(source_table)s and unmatched.source_pk = %(source_pk)s
        and unmatched.status = 'OPEN'
    for update
),

changed as (
    update canon.identity_unmatched as unmatched
    set status = 'IGNORED', is_stale = false
    from before
    where unmatched.id = before.id
    returning unmatched.*
),

audited as (
    insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, before, after)
    select
        %(run_id)s, %(actor)s, 'set_aside', %(reason)s, 'identity_unmatched', changed.id::text, to_jsonb(before),
        to_jsonb(changed)
    from changed
    inner join before on before.id = changed.id
    returning 1
)

select jsonb_build_object('set_aside', (select count(*) from changed), 'audit', (select count(*) from audited))
