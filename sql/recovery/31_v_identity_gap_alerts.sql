-- ops.v_identity_gap_alerts
-- Unresolved leads that somebody should look at (RB4, domain.md 7.3, Q35, Q36): what has waited for a week counts as
-- high. suggested_action is a code; screens put it into words.
-- Grain: one row per lead_id.
-- Read by: operators of recovery.
select
    gaps.lead_id,
    gaps.alert_type,
    case when gaps.alert_type = 'over_7d_unresolved' then 'high' else gaps.risk_level end as severity,
    gaps.gap_age_days as days_open,
    case gaps.alert_type
        when 'over_24h_no_identity' then 'retry_matching'
        when 'over_7d_unresolved' then 'review_manually'
        when 'inconsistent_origin' then 'review_origin'
        else 'unknown'
    end as suggested_action
from ops.v_identity_gap_analysis as gaps
where gaps.alert_type is not null
