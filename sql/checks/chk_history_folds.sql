-- chk_history_folds
-- The audit log does not fold: an entry's "before" is not the "after" of the entry before it (I4), so something changed
-- in between without an entry. Judged are rows with several entries among the newest 50 000.
-- Remedy: find out who wrote past the audit; the two entries name the moment.
with newest as (
    select
        entries.id,
        entries.subject_table,
        entries.subject_key,
        entries.before,
        lag(entries.id) over history as former_id,
        lag(entries.after) over history as former_after
    from ops.audit_log as entries
    where entries.id > (select coalesce(max(id), 0) - 50000 from ops.audit_log)
    window history as (partition by entries.subject_table, entries.subject_key order by entries.id)
)

select
    newest.subject_table || ' ' || newest.subject_key as subject,
    'entries ' || newest.former_id || ' and ' || newest.id as problem
from newest
-- Whether a record is to be tried again, or what evidence was seen, is a mark of jobs, not a decision.
where newest.former_id is not null
    and newest.before - array['is_stale', 'evidence_digest']
    is distinct from newest.former_after - array['is_stale', 'evidence_digest']
    -- On record elsewhere: recoveries in their events, first origins in the history of origins.
    and newest.subject_table <> 'cabinet_lead_recovery_audit'
    and (newest.subject_table <> 'identity_origin' or newest.former_after is not null);
