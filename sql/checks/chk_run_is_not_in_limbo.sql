-- chk_run_is_not_in_limbo
-- A run is RUNNING and nobody works on it, or it waits for a queue that no longer holds its task (I5, reliability F12).
-- Remedy: start the job again; it closes the lost run and finishes what was planned.
select
    runs.id::text as subject,
    case when runs.attempt = 0 then 'waits for no task' else 'nobody works on it' end as problem
from ops.ingestion_runs as runs
where runs.status = 'RUNNING'
    and runs.heartbeat_at < now() - interval '10 minutes'
    and not exists (
        select 1 from pg_stat_activity as activity
        where activity.pid = runs.backend_pid
            and coalesce(activity.backend_start, runs.backend_started_at) = runs.backend_started_at
    )
    and not (runs.attempt = 0 and exists (select 1 from public.django_q_ormq));
