-- ops.v_claims_payment_status_cabinet
-- Claims (C3) with what the partner paid and how long they are overdue (domain.md 12.4; 1 to 7 days are watched, Q64).
-- Without the accounts that may not operate. Written without CTEs, as the lists over it: the planner sees through, and
-- a page of claims costs the page.
-- Grain: one row per driver_id, milestone_value.
-- Read by: collection.
select
    judged.driver_id,
    judged.person_key,
    judged.milestone as milestone_value,
    judged.lead_date,
    judged.amount_expected as expected_amount,
    judged.due_date,
    judged.days_overdue,
    case
        when judged.days_overdue = 0 then '0_not_due'
        when judged.days_overdue <= 7 then '1_1_7'
        when judged.days_overdue <= 14 then '2_8_14'
        when judged.days_overdue <= 30 then '3_15_30'
        when judged.days_overdue <= 60 then '4_31_60'
        else '5_60_plus'
    end as bucket_overdue,
    judged.paid_flag,
    judged.pay_date as paid_date,
    judged.payment_key,
    judged.identity_status as payment_identity_status,
    judged.match_rule as payment_match_rule,
    judged.match_confidence as payment_match_confidence,
    case when judged.paid_flag then 'paid' else 'not_paid' end as payment_status,
    case when judged.paid_flag then 'payment_found' else 'no_payment_found' end as payment_reason,
    judged.reason_code,
    case
        when judged.paid_flag then 'P0_confirmed_paid'
        when judged.days_overdue = 0 then 'P2_not_due'
        when judged.days_overdue < 15 then 'P1_watch'
        else 'P0_collect_now'
    end as action_priority,
    judged.claim_id,
    judged.lead_source_pk,
    judged.achieved_date,
    judged.rule_id,
    judged.status as claim_status,
    judged.eligibility_disputed
from (
    select
        dated.*,
        greatest(0, dated.today - dated.due_date) as days_overdue,
        paid.payment_key,
        paid.pay_date,
        paid.identity_status,
        paid.match_rule,
        paid.match_confidence,
        paid.driver_id is not null as paid_flag,
        case
            when paid.driver_id is not null then 'paid'
            when exists (
                    select 1 from ops.yango_payment_states as others
                    where others.is_newest_paid and others.driver_id = dated.driver_id
                        and others.milestone_value <> dated.milestone
                    offset 0 -- looked up claim by claim: a page of claims must not read all payments
                ) then 'payment_found_other_milestone'
            when exists (
                    select 1 from ops.yango_payment_states as others
                    where others.is_paid and others.person_key = dated.person_key
                        and others.milestone_value = dated.milestone
                    offset 0
                ) then 'payment_found_person_key_only'
            else 'no_payment_found'
        end as reason_code
    from (
        select
            claims.*,
            claims.lead_date + coalesce(rules.window_days, 14) as due_date,
            (now() at time zone 'America/Lima')::date as today
        from canon.claims_yango_cabinet_14d as claims
        inner join canon.operational_drivers as operational on operational.driver_id = claims.driver_id -- 1 : 1
        left join ops.partner_payment_rules as rules on rules.id = claims.rule_id -- 1 : 0..1
    ) as dated
    left join ops.yango_payment_states as paid -- 1 claim : 0..1 newest payment
        on paid.is_newest_paid and paid.driver_id = dated.driver_id and paid.milestone_value = dated.milestone
) as judged
