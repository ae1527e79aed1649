-- ops.v_cabinet_financial_14d
-- What the partner owes and paid per account, counted from trips and not from claims (domain.md 12.8). An account sent
-- several times is one row under its latest lead, with the trips of its best fourteen days; where there is a claim the
-- amount is the claim's. A negative amount due is a payment without achievement, which stays as it is.
-- Grain: one row per driver_id.
-- Read by: collection.
select
    owed.driver_id,
    coalesce(
        names.full_name,
        (select drivers.full_name_norm from canon.drivers_index as drivers where drivers.driver_id = owed.driver_id),
        'N/A'
    ) as driver_name,
    owed.lead_date,
    to_char(owed.lead_date::timestamp, 'IYYY-IW') as iso_week,
    owed.week_start,
    owed.connected_date is not null as connected_flag,
    owed.connected_date,
    owed.trips_14d as total_trips_14d,
    owed.reached_m1 as reached_m1_14d,
    owed.reached_m5 as reached_m5_14d,
    owed.reached_m25 as reached_m25_14d,
    owed.expected_amount_m1,
    owed.expected_amount_m5,
    owed.expected_amount_m25,
    owed.expected_amount_m1 + owed.expected_amount_m5 + owed.expected_amount_m25 as expected_total_yango,
    owed.claim_m1_exists,
    owed.claim_m1_paid,
    owed.paid_amount_m1,
    owed.claim_m5_exists,
    owed.claim_m5_paid,
    owed.paid_amount_m5,
    owed.claim_m25_exists,
    owed.claim_m25_paid,
    owed.paid_amount_m25,
    owed.paid_amount_m1 + owed.paid_amount_m5 + owed.paid_amount_m25 as total_paid_yango,
    owed.expected_amount_m1 + owed.expected_amount_m5 + owed.expected_amount_m25
    - owed.paid_amount_m1 - owed.paid_amount_m5 - owed.paid_amount_m25 as amount_due_yango,
    scouts.scout_id,
    dimension.raw_name as scout_name,
    coalesce(scouts.scout_quality_bucket, 'MISSING') as scout_quality_bucket,
    scouts.scout_id is not null as is_scout_resolved,
    scouts.source_table as scout_source_table,
    scouts.attribution_date as scout_attribution_date,
    scouts.priority as scout_priority,
    owed.person_key,
    owed.lead_source_pk
from (
    select
        driven.*,
        case when driven.reached_m1 then driven.amount_m1 else 0.00 end as expected_amount_m1,
        case when driven.reached_m5 then driven.amount_m5 else 0.00 end as expected_amount_m5,
        case when driven.reached_m25 then driven.amount_m25 else 0.00 end as expected_amount_m25,
        case when driven.claim_m1_paid then driven.amount_m1 else 0.00 end as paid_amount_m1,
        case when driven.claim_m5_paid then driven.amount_m5 else 0.00 end as paid_amount_m5,
        case when driven.claim_m25_paid then driven.amount_m25 else 0.00 end as paid_amount_m25
    from (
        select
            leads.driver_id,
            operational.person_key,
            leads.last_lead_date as lead_date,
            leads.last_lead_date - (extract(isodow from leads.last_lead_date)::integer - 1) as week_start,
            leads.source_pk as lead_source_pk,
            leads.first_connection_date as connected_date,
            leads.trips_14d,
            leads.trips_14d >= 1 as reached_m1,
            leads.trips_14d >= 5 as reached_m5,
            leads.trips_14d >= 25 as reached_m25,
            coalesce(claim_m1.amount_expected, amounts.m1, 0.00) as amount_m1,
            coalesce(claim_m5.amount_expected, amounts.m5, 0.00) as amount_m5,
            coalesce(claim_m25.amount_expected, amounts.m25, 0.00) as amount_m25,
            claim_m1.claim_id is not null as claim_m1_exists,
            claim_m5.claim_id is not null as claim_m5_exists,
            claim_m25.claim_id is not null as claim_m25_exists,
            paid_m1.driver_id is not null as claim_m1_paid,
            paid_m5.driver_id is not null as claim_m5_paid,
            paid_m25.driver_id is not null as claim_m25_paid
        from observational.lead_trips as leads
        inner join canon.operational_drivers as operational on operational.driver_id = leads.driver_id -- 1 : 1
        cross join lateral ( -- 1 : 1, the amounts of a day
            select
                max(rules.amount) filter (where rules.milestone_trips = 1) as m1,
                max(rules.amount) filter (where rules.milestone_trips = 5) as m5,
                max(rules.amount) filter (where rules.milestone_trips = 25) as m25
            from ops.payment_rules as rules
            where rules.rule_scope = 'partner' and rules.origin_tag = 'cabinet' and rules.window_days = 14
                and leads.lead_date >= rules.valid_from
                and (rules.valid_to is null or leads.lead_date <= rules.valid_to)
        ) as amounts
        left join canon.claims_yango_cabinet_14d as claim_m1 -- 1 : 0..1
            on claim_m1.driver_id = leads.driver_id and claim_m1.milestone = 1
        left join canon.claims_yango_cabinet_14d as claim_m5 -- 1 : 0..1
            on claim_m5.driver_id = leads.driver_id and claim_m5.milestone = 5
        left join canon.claims_yango_cabinet_14d as claim_m25 -- 1 : 0..1
            on claim_m25.driver_id = leads.driver_id and claim_m25.milestone = 25
        left join ops.yango_payment_states as paid_m1 -- 1 : 0..1 newest payment
            on paid_m1.is_newest_paid and paid_m1.driver_id = leads.driver_id and paid_m1.milestone_value = 1
        left join ops.yango_payment_states as paid_m5 -- 1 : 0..1
            on paid_m5.is_newest_paid and paid_m5.driver_id = leads.driver_id and paid_m5.milestone_value = 5
        left join ops.yango_payment_states as paid_m25 -- 1 : 0..1
            on paid_m25.is_newest_paid and paid_m25.driver_id = leads.driver_id and paid_m25.milestone_value = 25
        where leads.is_best_of_driver and leads.source_table = 'module_ct_cabinet_leads'
    ) as driven
) as owed
left join ops.stg_driver_names as names on names.raw_driver_id = owed.driver_id -- 1 : 0..1
left join ops.person_scouts as scouts on scouts.person_key = owed.person_key -- 1 : 0..1
left join ops.v_dim_scouts as dimension on dimension.scout_id = scouts.scout_id -- 1 : 0..1
