-- ops.stg_cabinet_payments
-- What the partner paid, as far as it names a scout (domain.md 2.6). Keys as the feed has them; persons only where the
-- feed's own person exists.
-- Grain: one row per source_pk.
-- Read by: the raw attribution view.
select
    payments.id::text as source_pk,
    payments.date as payment_date,
    payments.created_at at time zone 'America/Lima' as recorded_at,
    payments.scout_id,
    lower(btrim(payments.driver_id)) as driver_id,
    payments.person_key
from public.module_ct_cabinet_payments as payments
