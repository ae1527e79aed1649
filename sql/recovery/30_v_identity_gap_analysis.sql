-- ops.v_identity_gap_analysis
-- What stands between a cabinet lead and its worth, since when, and how urgent it is (RB4, domain.md 7.1, Q32 to Q35).
-- trips_14d: trips of all accounts of the person in the fourteen days from the lead on, the last one not included.
-- alert_type: what somebody should look at (domain.md 7.3); what has waited for a week comes before what only lacks a
-- person (Q36).
-- Grain: one row per lead_id.
-- Read by: operators of recovery, alerts, the diagnosis.
select
    gaps.lead_id,
    gaps.lead_date,
    gaps.person_key,
    gaps.person_key is not null as has_identity,
    gaps.origin_is_own as has_origin,
    coalesce(driven.trips_14d, 0)::integer as trips_14d,
    gaps.gap_reason,
    gaps.gap_age_days,
    case
        when gaps.gap_reason = 'inconsistent_origin' or (gaps.gap_reason = 'no_identity' and gaps.gap_age_days >= 7)
            then 'high'
        when gaps.gap_reason in ('no_identity', 'no_origin') and gaps.gap_age_days >= 2 then 'medium'
        else 'low'
    end as risk_level,
    gaps.linked_at,
    case
        when gaps.gap_reason = 'inconsistent_origin' then 'inconsistent_origin'
        when gaps.gap_reason in ('no_identity', 'no_origin') and gaps.gap_age_days >= 7 then 'over_7d_unresolved'
        when gaps.gap_reason = 'no_identity' and gaps.gap_age_days >= 1 then 'over_24h_no_identity'
    end as alert_type
from (
    select known.*, (now() at time zone 'America/Lima')::date - known.lead_date as gap_age_days
    from ops.cabinet_lead_gaps as known
) as gaps
left join ( -- 1 lead : 0..1; not looked at unless the trips are asked for
    select found.lead_id, sum(summaries.trips) as trips_14d
    from ops.cabinet_lead_gaps as found
    inner join canon.identity_links as drivers -- 1 person : n accounts
        on drivers.person_key = found.person_key and drivers.source_table = 'drivers'
    inner join observational.stg_summary_daily as summaries -- 1 account : n days
        on summaries.driver_id = drivers.source_pk and summaries.day >= found.lead_date
        and summaries.day < found.lead_date + 14
    group by found.lead_id
) as driven on driven.lead_id = gaps.lead_id || '' -- with the plain column, one lead alone would always join its trips
