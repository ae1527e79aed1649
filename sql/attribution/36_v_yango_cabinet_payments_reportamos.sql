-- ops.v_yango_cabinet_payments_reportamos
-- The mirror of the demand list: what the partner's list says is paid, with the claim it pays if there is one
-- (domain.md 12.5). Without the accounts that may not operate.
-- Grain: one row per payment_key.
-- Read by: whoever compares lists with the partner.
select
    payments.payment_key,
    payments.source_pk,
    payments.pay_date,
    payments.pay_time,
    payments.raw_driver_name,
    payments.milestone_value,
    payments.driver_id_final as driver_id,
    payments.person_key_final as person_key,
    payments.identity_status,
    payments.match_rule,
    payments.match_confidence,
    claims.claim_id,
    claims.lead_date,
    claims.amount_expected as expected_amount,
    claims.claim_id is not null as has_claim
from ops.v_yango_payments_enriched as payments
left join canon.operational_drivers as operational on operational.driver_id = payments.driver_id_final -- 1 : 0..1
left join canon.claims_yango_cabinet_14d as claims -- 1 : 0..1
    on claims.driver_id = operational.driver_id and claims.milestone = payments.milestone_value
where payments.is_paid and (payments.driver_id_final is null or operational.driver_id is not null)
