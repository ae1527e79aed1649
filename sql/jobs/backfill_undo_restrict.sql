-- Roll-back of one method's part of a run: what is not of the method, or not of the time, stays out of the undo
-- (table undo). What the method found before it, not before the run, comes back.
delete from undo
where (%(method)s = 'links' and undo.subject_table = 'lead_ledger')
    or (%(method)s = 'events')
    or (%(method)s = 'ledger' and (
        undo.subject_table <> 'lead_ledger'
        or not exists (
            select 1 from ops.lead_ledger_scout_backfill_audit as entries
            where entries.ingestion_run_id = %(target)s and entries.person_key = undo.subject_key::uuid
        )
    ));
update undo
set before = entries.before
from ops.audit_log as entries
where %(method)s = 'ledger' and entries.run_id = %(target)s and entries.action = 'backfill_ledger'
    and entries.subject_table = undo.subject_table and entries.subject_key = undo.subject_key
