-- ops.v_scout_daily_expected_base
-- What scouts may expect of claims, by scout, lead date and milestone (domain.md 6.12, Q26): amounts of the scouts'
-- rules valid on the lead date, where the milestone was reached inside the rule's window; the partner's beside them.
-- Nothing is paid here.
-- Grain: one row per scout_id, date, milestone_value.
-- Read by: settlement.
with valued as (
    select
        claims.*,
        rules.window_days,
        case when claims.achieved_date < claims.lead_date + rules.window_days then rules.amount else 0.00 end
            as scout_amount
    from ops.v_yango_collection_with_scout as claims
    left join lateral ( -- 1 : 0..1
        select payable.window_days, payable.amount
        from ops.payment_rules as payable
        where payable.rule_scope = 'scout' and payable.origin_tag = 'cabinet' and payable.milestone_type = 'trips'
            and payable.milestone_trips = claims.milestone_value and claims.lead_date >= payable.valid_from
            and (payable.valid_to is null or claims.lead_date <= payable.valid_to)
        order by payable.window_days, payable.rule_id
        limit 1
    ) as rules on true
    where claims.scout_id is not null and not claims.eligibility_disputed
)

select
    valued.scout_id,
    valued.lead_date as date,
    valued.milestone_value,
    count(distinct valued.person_key) as drivers_count,
    count(distinct valued.driver_id) as driver_ids_count,
    count(*) as milestone_occurrences,
    sum(valued.scout_amount) as total_expected_amount,
    sum(valued.expected_amount) as yango_expected_amount,
    count(*) filter (where valued.milestone_value = 1) as m1_count,
    count(*) filter (where valued.milestone_value = 5) as m5_count,
    count(*) filter (where valued.milestone_value = 25) as m25_count,
    coalesce(sum(valued.scout_amount) filter (where valued.milestone_value = 1), 0.00) as expected_amount_m1,
    coalesce(sum(valued.scout_amount) filter (where valued.milestone_value = 5), 0.00) as expected_amount_m5,
    coalesce(sum(valued.scout_amount) filter (where valued.milestone_value = 25), 0.00) as expected_amount_m25,
    count(*) filter (where valued.scout_quality_bucket = 'SATISFACTORY_LEDGER') as satisfactory_ledger_count,
    count(*) filter (where valued.scout_quality_bucket = 'EVENTS_ONLY') as events_only_count,
    count(*) filter (where valued.scout_quality_bucket = 'SCOUTING_DAILY_ONLY') as scouting_daily_only_count,
    min(valued.achieved_date) as achieved_date,
    max(valued.achieved_date) as last_achieved_date,
    min(valued.lead_date) as earliest_scout_window_start,
    max(valued.lead_date + valued.window_days) as latest_scout_window_end
from valued
group by valued.scout_id, valued.lead_date, valued.milestone_value
