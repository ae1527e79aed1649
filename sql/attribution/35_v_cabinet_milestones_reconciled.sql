-- ops.v_cabinet_milestones_reconciled
-- Milestones that were reached beside milestones that were paid (domain.md 12.9). Paid without achievement is no error:
-- the partner counts by its own data, and the state stays.
-- Grain: one row per driver_id, milestone_value.
-- Read by: collection.
with achieved as (
    select claims.* from canon.claims_yango_cabinet_14d as claims where not claims.eligibility_disputed
),

paid as (
    select states.* from ops.yango_payment_states as states where states.is_newest_paid
),

both_sides as (
    select
        coalesce(achieved.driver_id, paid.driver_id) as driver_id,
        coalesce(achieved.milestone, paid.milestone_value) as milestone_value,
        achieved.claim_id,
        achieved.lead_date,
        achieved.achieved_date,
        achieved.amount_expected as expected_amount,
        paid.payment_key,
        paid.pay_date,
        paid.identity_status,
        paid.match_rule,
        paid.match_confidence
    from achieved
    full join paid on paid.driver_id = achieved.driver_id and paid.milestone_value = achieved.milestone -- 0..1 : 0..1
)

select
    both_sides.driver_id,
    both_sides.milestone_value,
    operational.person_key,
    both_sides.claim_id,
    both_sides.lead_date,
    both_sides.achieved_date,
    both_sides.expected_amount,
    both_sides.payment_key,
    both_sides.pay_date,
    both_sides.identity_status,
    both_sides.match_rule,
    both_sides.match_confidence,
    case
        when both_sides.claim_id is null then 'PAID_WITHOUT_ACHIEVEMENT'
        when both_sides.payment_key is null then 'ACHIEVED_NOT_PAID'
        else 'OK'
    end as reconciliation_status
from both_sides
inner join canon.operational_drivers as operational on operational.driver_id = both_sides.driver_id -- 1 : 1
