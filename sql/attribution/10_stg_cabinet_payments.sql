-- ops.stg_cabinet_payments
-- What the partner paid, by the name of the driver (domain.md 2.6). Keys as the feed has them; persons only where the
-- feed's own person exists.
-- Grain: one row per source_pk.
-- Read by: the raw attribution view, the flags of payments.
select
    payments.id::text as source_pk,
    payments.date as payment_date,
    payments."time" as payment_time,
    payments.created_at at time zone 'America/Lima' as recorded_at,
    payments.scout_id,
    nullif(lower(btrim(payments.driver_id)), '') as driver_id,
    payments.person_key,
    payments.driver as driver_name,
    payments.trip_1,
    payments.trip_5,
    payments.trip_25
from public.module_ct_cabinet_payments as payments
