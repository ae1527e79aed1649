-- ops.v_yango_cabinet_claims_for_collection
-- Claims as the partner is shown them (domain.md 12.5), with both sets of overdue buckets (Q63). yango_payment_status
-- keeps the predecessor's words; what may be demanded is is_collectable: reached and not paid (Q60).
-- Grain: one row per driver_id, milestone_value.
-- Read by: collection, the demand list.
select
    claims.driver_id,
    claims.person_key,
    coalesce(names.full_name, drivers.full_name_norm) as driver_name,
    claims.milestone_value,
    claims.lead_date,
    claims.expected_amount,
    claims.due_date as yango_due_date,
    claims.days_overdue as days_overdue_yango,
    case when claims.days_overdue > 30 then '4_30_plus' else claims.bucket_overdue end as overdue_bucket_yango,
    case
        when claims.paid_flag then 'PAID'
        when claims.reason_code = 'payment_found_other_milestone' then 'PAID_MISAPPLIED'
        else 'UNPAID'
    end as yango_payment_status,
    claims.payment_key,
    claims.paid_date as pay_date,
    claims.reason_code,
    claims.payment_match_rule as match_rule,
    claims.payment_match_confidence as match_confidence,
    claims.payment_identity_status as identity_status,
    case claims.reason_code
        when 'payment_found_other_milestone' then claims.driver_id
        when 'payment_found_person_key_only' then (
            select others.driver_id
            from ops.yango_payment_states as others
            where others.is_paid and others.person_key = claims.person_key
                and others.milestone_value = claims.milestone_value
            order by others.driver_id is null, others.pay_date desc nulls last, others.payment_key
            limit 1
        )
    end as suggested_driver_id,
    coalesce(
        claims.payment_identity_status in ('confirmed', 'enriched') and (
            claims.payment_match_confidence = 'high'
            or (claims.payment_match_confidence = 'medium' and claims.payment_match_rule = 'name_unique')
        ), false
    ) as is_reconcilable_enriched,
    not claims.paid_flag and not claims.eligibility_disputed as is_collectable,
    claims.bucket_overdue,
    claims.action_priority,
    claims.claim_id,
    claims.claim_status,
    claims.lead_source_pk,
    claims.achieved_date,
    claims.eligibility_disputed,
    claims.lead_date - (extract(isodow from claims.lead_date)::integer - 1) as week_start
from ops.v_claims_payment_status_cabinet as claims
left join canon.drivers_index as drivers on drivers.driver_id = claims.driver_id -- 1 : 0..1
left join ops.stg_driver_names as names on names.raw_driver_id = claims.driver_id -- 1 : 0..1
