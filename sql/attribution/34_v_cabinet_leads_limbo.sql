-- ops.v_cabinet_leads_limbo
-- Every dated cabinet lead and where it stands on its way to a claim (domain.md 12.9, Q67). A lead without trips is no
-- error. limbo_reason_detail: why the lead is nobody, or the milestones that lack a claim.
-- Grain: one row per lead_source_pk.
-- Read by: collection.
select
    judged.source_pk as lead_id,
    judged.lead_row_id,
    judged.source_pk as lead_source_pk,
    judged.lead_date,
    judged.lead_date - (extract(isodow from judged.lead_date)::integer - 1) as week_start,
    details.park_phone,
    details.asset_plate_number,
    details.lead_name,
    judged.person_key,
    judged.operational_driver_id as driver_id,
    judged.trips as trips_14d,
    judged.lead_date + 14 as window_end_14d,
    judged.trips >= 1 as reached_m1_14d,
    judged.trips >= 5 as reached_m5_14d,
    judged.trips >= 25 as reached_m25_14d,
    (
        select coalesce(sum(rules.amount), 0.00)
        from ops.payment_rules as rules
        where rules.rule_scope = 'partner' and rules.origin_tag = 'cabinet' and rules.window_days = 14
            and judged.trips >= rules.milestone_trips and judged.lead_date >= rules.valid_from
            and (rules.valid_to is null or judged.lead_date <= rules.valid_to)
    ) as expected_amount_14d,
    judged.has_claim_m1,
    judged.has_claim_m5,
    judged.has_claim_m25,
    judged.limbo_stage,
    case judged.limbo_stage
        when 'NO_IDENTITY' then unmatched.reason_code
        when 'TRIPS_NO_CLAIM' then concat_ws(
            ', ', case when not judged.has_claim_m1 then 'M1' end,
            case when judged.trips >= 5 and not judged.has_claim_m5 then 'M5' end,
            case when judged.trips >= 25 and not judged.has_claim_m25 then 'M25' end
        )
    end as limbo_reason_detail
from (
    select
        staged.*,
        case
            when staged.person_key is null then 'NO_IDENTITY'
            when staged.operational_driver_id is null then 'NO_DRIVER'
            when staged.trips = 0 then 'NO_TRIPS_14D'
            when (staged.trips >= 1 and not staged.has_claim_m1) or (staged.trips >= 5 and not staged.has_claim_m5)
                or (staged.trips >= 25 and not staged.has_claim_m25) then 'TRIPS_NO_CLAIM'
            else 'OK'
        end as limbo_stage
    from (
        select
            leads.*,
            operational.driver_id as operational_driver_id,
            case when operational.driver_id is not null then leads.trips_14d else 0 end as trips,
            claim_m1.claim_id is not null as has_claim_m1,
            claim_m5.claim_id is not null as has_claim_m5,
            claim_m25.claim_id is not null as has_claim_m25
        from observational.lead_trips as leads
        left join canon.operational_drivers as operational on operational.driver_id = leads.driver_id -- 1 : 0..1
        left join canon.claims_yango_cabinet_14d as claim_m1 -- 1 : 0..1
            on claim_m1.driver_id = operational.driver_id and claim_m1.milestone = 1
        left join canon.claims_yango_cabinet_14d as claim_m5 -- 1 : 0..1
            on claim_m5.driver_id = operational.driver_id and claim_m5.milestone = 5
        left join canon.claims_yango_cabinet_14d as claim_m25 -- 1 : 0..1
            on claim_m25.driver_id = operational.driver_id and claim_m25.milestone = 25
        where leads.source_table = 'module_ct_cabinet_leads'
    ) as staged
) as judged
left join ops.stg_cabinet_lead_details as details on details.row_id = judged.lead_row_id -- 1 : 0..1
left join canon.identity_unmatched as unmatched -- 1 : 0..1
    on unmatched.source_table = judged.source_table and unmatched.source_pk = judged.source_pk
