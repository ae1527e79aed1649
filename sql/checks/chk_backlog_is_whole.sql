-- chk_backlog_is_whole
-- The persons without scout are not the sum of the categories A to E (Q22): somebody is counted twice, or not at all.
-- Remedy: none by hand; the view of the categories is wrong, report it with these figures.
select
    'persons without scout' as subject,
    metrics.persons_missing_scout || ' missing, ' || backlog.persons || ' in the categories' as problem
from ops.v_scout_attribution_metrics_snapshot as metrics
cross join (
    select metrics.backlog_a_events_without_scout + metrics.backlog_b_ledger_without_scout
        + metrics.backlog_c_legacy_no_events_no_ledger + metrics.backlog_d_scout_in_events_not_in_ledger
        + metrics.backlog_e_other as persons
    from ops.v_scout_attribution_metrics_snapshot as metrics
) as backlog
where metrics.persons_missing_scout <> backlog.persons;
