-- ops.stg_driver_names
-- The name of an account as its feed writes it, under the account's key as the feed writes that, for lists that show a
-- page of drivers.
-- Grain: one row per raw_driver_id.
-- Read by: collection.
select
    drivers.driver_id as raw_driver_id,
    nullif(btrim(drivers.full_name), '') as full_name
from public.drivers as drivers
where drivers.driver_id is not null
