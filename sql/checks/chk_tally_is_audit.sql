-- chk_tally_is_audit
-- A run reports another number of changes than the audit log holds of it (I2, promise P12).
-- Remedy: none by hand; somebody wrote past the audit, or an entry was removed. Compare with a backup.
with entries as (
    select run_id, count(*) as written from ops.audit_log where run_id is not null group by run_id
)

select
    coalesce(runs.id, entries.run_id)::text as subject,
    coalesce(runs.stats ->> 'audit', 'nothing') || ' reported, ' || coalesce(entries.written, 0) || ' in the audit log'
        as problem
from ops.ingestion_runs as runs
full join entries on entries.run_id = runs.id
where case
        when runs.dry_run then entries.written > 0
        else coalesce(entries.written, 0) <> coalesce((runs.stats ->> 'audit')::bigint, 0)
    end;
