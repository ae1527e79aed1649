-- ops.v_cabinet_claims_expected_14d
-- What every dated cabinet lead should have claimed: each rule of the partner valid on its day, and what is missing
-- (domain.md 12.9).
-- Grain: one row per lead_source_pk, rule_id.
-- Read by: the claims gap.
select
    measured.source_pk as lead_id,
    measured.lead_row_id,
    measured.source_pk as lead_source_pk,
    measured.driver_id,
    measured.person_key,
    measured.lead_date,
    measured.lead_date - (extract(isodow from measured.lead_date)::integer - 1) as week_start,
    measured.rule_id,
    measured.milestone_trips as milestone_value,
    measured.trips_14d,
    measured.milestone_reached,
    measured.amount as expected_amount,
    measured.milestone_reached and measured.person_key is not null as claim_expected,
    case
        when measured.person_key is null then 'NO_IDENTITY'
        when measured.driver_id is null then 'NO_DRIVER'
        when not measured.milestone_reached then 'INSUFFICIENT_TRIPS'
        else 'OK'
    end as expected_reason_detail
from (
    select
        leads.source_pk,
        leads.lead_row_id,
        leads.lead_date,
        leads.person_key,
        operational.driver_id,
        rules.rule_id,
        rules.milestone_trips,
        rules.amount,
        case when operational.driver_id is not null then leads.trips_14d else 0 end as trips_14d,
        operational.driver_id is not null and reached.id is not null as milestone_reached
    from observational.lead_trips as leads
    inner join ops.payment_rules as rules -- 1 lead : n rules
        on rules.rule_scope = 'partner' and rules.origin_tag = 'cabinet' and leads.lead_date >= rules.valid_from
        and (rules.valid_to is null or leads.lead_date <= rules.valid_to)
    left join canon.operational_drivers as operational on operational.driver_id = leads.driver_id -- 1 : 0..1
    left join observational.lead_milestones as reached -- 1 lead and rule : 0..1
        on reached.source_table = leads.source_table and reached.source_pk = leads.source_pk
        and reached.window_days = rules.window_days and reached.milestone_trips = rules.milestone_trips
    where leads.source_table = 'module_ct_cabinet_leads'
) as measured
