-- ops.v_scout_attribution_metrics_snapshot
-- How attribution stands now, in one row (domain.md 6.10, Q13, Q23).
-- Grain: one row per snapshot_timestamp.
-- Read by: the attribution health page, the refresh.
with persons as (
    select count(*) as total from canon.identity_registry
),

ledger as (
    select count(*) as satisfactory
    from observational.lead_ledger as ledger where ledger.attributed_scout_id is not null
),

conflicts as (
    select
        count(*) as conflicts,
        count(*) filter (where conflicts.conflict_type = 'OPEN') as open_conflicts
    from ops.v_scout_attribution_conflicts as conflicts
),

backlog as (
    select
        count(*) filter (where backlog.category = 'A') as a,
        count(*) filter (where backlog.category = 'B') as b,
        count(*) filter (where backlog.category = 'C') as c,
        count(*) filter (where backlog.category = 'D') as d,
        count(*) filter (where backlog.category = 'E') as e
    from ops.v_persons_without_scout_categorized as backlog
),

last_run as (
    select runs.status, runs.started_at, runs.completed_at, runs.stats, runs.error_message
    from ops.ingestion_runs as runs
    where runs.job_type = 'scout_attribution_refresh' and not runs.dry_run
    order by runs.id desc
    limit 1
)

select
    persons.total as total_persons,
    ledger.satisfactory as persons_with_scout_satisfactory,
    coalesce(round(100.0 * ledger.satisfactory / nullif(persons.total, 0), 2), 0) as pct_scout_satisfactory,
    persons.total - ledger.satisfactory as persons_missing_scout,
    conflicts.conflicts as conflicts_count,
    conflicts.open_conflicts as open_conflicts_count,
    backlog.a as backlog_a_events_without_scout,
    backlog.b as backlog_b_ledger_without_scout,
    backlog.c as backlog_c_legacy_no_events_no_ledger,
    backlog.d as backlog_d_scout_in_events_not_in_ledger,
    backlog.e as backlog_e_other,
    last_run.status as last_job_status,
    last_run.completed_at as last_job_ended_at,
    last_run.started_at as last_job_started_at,
    round(extract(epoch from last_run.completed_at - last_run.started_at))::integer as last_job_duration_seconds,
    last_run.stats as last_job_summary,
    last_run.error_message as last_job_error,
    now() as snapshot_timestamp
from persons
cross join ledger
cross join conflicts
cross join backlog
left join last_run on true -- 0..1 rows
