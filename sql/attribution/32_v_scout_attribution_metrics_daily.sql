-- ops.v_scout_attribution_metrics_daily
-- How attribution stood day by day, as the refresh stored it; days before the first refresh are absent (Q24).
-- Grain: one row per metric_date.
-- Read by: the attribution health page.
select
    days.metric_date,
    days.total_persons,
    days.satisfactory_count,
    coalesce(round(100.0 * days.satisfactory_count / nullif(days.total_persons, 0), 2), 0) as pct_satisfactory,
    days.missing_count,
    days.conflicts_count,
    days.open_conflicts_count,
    days.by_source_scouting_daily,
    days.by_source_cabinet_leads,
    days.by_source_lead_ledger,
    days.computed_at
from ops.scout_attribution_days as days
