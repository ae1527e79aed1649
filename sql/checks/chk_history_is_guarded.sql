-- chk_history_is_guarded
-- A history table lost the trigger that refuses every change of it, or the trigger sleeps (F14).
-- Remedy: find out who changed it and what was changed since; then restore the trigger from the migration.
select
    guarded.name as subject,
    'its history can be changed' as problem
from (
    values ('ops.audit_log'), ('ops.audit_seals'), ('canon.identity_origin_history'),
        ('canon.driver_orphan_quarantine_history'), ('ops.identity_links_backfill_audit'),
        ('ops.lead_ledger_scout_backfill_audit'), ('ops.lead_events_scout_backfill_audit'),
        ('ops.yango_payment_status_ledger'), ('ops.settlement_lines'), ('ops.identity_matching_attempts'),
        ('ops.cabinet_lead_recovery_events'), ('ops.review_decisions'), ('ops.undo_leftovers')
) as guarded (name)
where not exists (
        select 1 from pg_trigger as triggers
        -- 2 before, 8 delete, 16 update, 32 truncate; never per row
        where triggers.tgrelid = guarded.name::regclass and triggers.tgfoid = to_regproc('ops.refuse_change')
            and triggers.tgenabled = 'A' and triggers.tgtype & 59 = 58
    );
