-- Roll-back of a run: every quarantine row that was put back has its line in the history (table undo, kept is null).
insert into canon.driver_orphan_quarantine_history (
    driver_id, status_old, status_new, detected_reason_old, detected_reason_new, change_reason, changed_by, run_id
)
select
    undo.subject_key, undo.after ->> 'status', undo.before ->> 'status', undo.after ->> 'detected_reason',
    undo.before ->> 'detected_reason', 'rolled_back', %(actor)s, %(run_id)s
from undo
where undo.subject_table = 'driver_orphan_quarantine' and undo.kept is null
