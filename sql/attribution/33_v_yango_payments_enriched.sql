-- ops.v_yango_payments_enriched
-- What the partner's list says now (C4), each place in it with the driver it is taken for (domain.md 12.3): confirmed
-- where the list itself names the account, enriched where exactly one driver has the name.
-- Grain: one row per payment_key.
-- Read by: collection, the payments screen.
select
    states.payment_key,
    states.ledger_id,
    ledger.snapshot_at,
    ledger.source_table,
    states.source_pk,
    states.pay_date,
    ledger.pay_time,
    ledger.raw_driver_name,
    ledger.driver_name_normalized,
    ledger.milestone_type,
    states.milestone_value,
    states.is_paid,
    ledger.paid_flag_source,
    states.driver_id as driver_id_final,
    states.person_key as person_key_final,
    states.identity_status,
    states.match_rule,
    states.match_confidence,
    states.identity_status = 'enriched' as identity_enriched,
    states.is_newest_paid
from ops.yango_payment_states as states
inner join ops.yango_payment_status_ledger as ledger on ledger.id = states.ledger_id -- 1 : 1
