-- ops.v_cabinet_kpi_red_recovery_metrics_daily
-- The red figure day by day, from the daily figures (domain.md 8.5): what was there, what came, what was matched, what
-- is left. matched_out counts links made since the figures of the day before; new_backlog_in is the rest of the
-- difference, leads whose link was taken away included.
-- Grain: one row per metric_date.
-- Read by: operators of recovery.
select
    days.metric_date,
    days.backlog_start,
    days.backlog_end - days.backlog_start + days.matched_out as new_backlog_in,
    days.matched_out,
    days.backlog_end,
    days.backlog_end - days.backlog_start as net_change,
    days.top_fail_reason
from (
    select
        stored.snapshot_date as metric_date,
        coalesce(lag(stored.no_identity) over (order by stored.snapshot_date), 0) as backlog_start,
        stored.matched_out,
        stored.no_identity as backlog_end,
        stored.top_fail_reason
    from ops.identity_gap_days as stored
) as days
