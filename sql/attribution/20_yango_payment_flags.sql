-- ops.yango_payment_flags
-- The partner's list as it is now, one row per milestone it says something about, with the keys of the payment ledger
-- (domain.md 12.3). Every row is here, matched or not.
-- Grain: one row per source_pk, milestone_value.
-- Read by: the refresh of collection.
with named as materialized ( -- once per row of the list, not once per flag
    select payments.*, canon.name_key(canon.normalize_name(payments.driver_name)) as name_key
    from ops.stg_cabinet_payments as payments
)

select
    'module_ct_cabinet_payments' as source_table,
    named.source_pk,
    named.payment_date as pay_date,
    named.payment_time as pay_time,
    named.driver_name as raw_driver_name,
    named.name_key as driver_name_normalized,
    flags.milestone_value,
    flags.is_paid,
    'trip_' || flags.milestone_value as paid_flag_source,
    named.driver_id,
    named.person_key,
    md5(concat_ws('|', named.source_pk, flags.milestone_value, coalesce(named.name_key, ''))) as payment_key,
    md5(flags.is_paid::text) as state_hash
from named
cross join lateral (
    values (1, named.trip_1), (5, named.trip_5), (25, named.trip_25)
) as flags (milestone_value, is_paid)
where flags.is_paid is not null
