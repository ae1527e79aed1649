-- Roll-back of a run: the recoveries it wrote, and those that others wrote of leads that this run linked, from their
-- events; of several of one lead the state before the first and after the last. They stay or go with the person that
-- was recovered. Completes the temporary table undo.
with unlinked as materialized (
    select undo.after ->> 'source_pk' as lead_id, (undo.after ->> 'linked_at')::timestamptz as linked_at
    from undo
    where undo.subject_table = 'identity_links' and undo.before is null
        and undo.after ->> 'source_table' = 'module_ct_cabinet_leads'
),

concerned as (
    select events.*
    from ops.cabinet_lead_recovery_events as events
    where events.run_id = %(run_id)s and events.event <> 'undone'
    union
    select events.*
    from unlinked
    inner join ops.cabinet_lead_recovery_events as events -- 1 lead : 0..n
        on events.lead_id = unlinked.lead_id and events.recorded_at >= unlinked.linked_at
),

recoveries as (
    select
        concerned.lead_id,
        (array_agg(concerned.person_key order by concerned.id desc))[1] as person_key,
        (array_agg(concerned.before order by concerned.id))[1] as before,
        (array_agg(concerned.after order by concerned.id desc))[1] as after,
        max(concerned.recorded_at) as recorded_at
    from concerned
    group by concerned.lead_id
)

insert into undo (subject_table, subject_key, person_key, before, after, last_id)
select
    'cabinet_lead_recovery_audit',
    recoveries.lead_id,
    recoveries.person_key,
    recoveries.before,
    recoveries.after,
    -- What was only recorded has no entry of its own: newer than it is what came after.
    coalesce(
        (select max(entries.last_id) from undo as entries where entries.person_key = recoveries.person_key),
        (
            select max(entries.id) from ops.audit_log as entries
            where entries.person_key = recoveries.person_key and entries.at <= recoveries.recorded_at
        ),
        0
    )
from recoveries
where not exists ( -- a roll-back of a roll-back finds them in the audit log
        select 1 from undo as known
        where known.subject_table = 'cabinet_lead_recovery_audit' and known.subject_key = recoveries.lead_id
    )
