-- ops.v_identity_gap_alerts
-- Unresolved leads that somebody should look at (RB4, domain.md 7.3, Q35, Q36): what has waited for a week comes before
-- what only lacks a person, and counts as high. suggested_action is a code; screens put it into words.
-- Grain: one row per lead_id.
-- Read by: operators of recovery.
select
    alerts.lead_id,
    alerts.alert_type,
    case when alerts.alert_type = 'over_7d_unresolved' then 'high' else alerts.risk_level end as severity,
    alerts.gap_age_days as days_open,
    case alerts.alert_type
        when 'over_24h_no_identity' then 'retry_matching'
        when 'over_7d_unresolved' then 'review_manually'
        when 'inconsistent_origin' then 'review_origin'
        else 'unknown'
    end as suggested_action
from (
    select
        gaps.lead_id,
        gaps.gap_age_days,
        gaps.risk_level,
        case
            when gaps.gap_reason = 'inconsistent_origin' then 'inconsistent_origin'
            when gaps.gap_reason in ('no_identity', 'no_origin') and gaps.gap_age_days >= 7 then 'over_7d_unresolved'
            when gaps.gap_reason = 'no_identity' and gaps.gap_age_days >= 1 then 'over_24h_no_identity'
        end as alert_type
    from ops.v_identity_gap_analysis as gaps
    where gaps.gap_reason <> 'resolved'
) as alerts
where alerts.alert_type is not null
