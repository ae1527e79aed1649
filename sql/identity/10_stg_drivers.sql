-- canon.stg_drivers
-- Driver accounts with normalised keys; record_digest changes exactly when a matching key may have
-- (domain.md 3.4, 4.5). Rows without a driver_id are left out: nothing can be linked to them.
-- Grain: one row per id.
-- Read by: the drivers index refresh.
select
    drivers.id,
    lower(btrim(drivers.driver_id)) as driver_id,
    nullif(btrim(drivers.park_id), '') as park_id,
    canon.normalize_phone(drivers.phone) as phone_norm,
    canon.phone_is_weak(drivers.phone) as phone_is_weak,
    canon.normalize_license(coalesce(nullif(btrim(drivers.license_normalized_number), ''), drivers.license_number))
        as license_norm,
    canon.normalize_plate(coalesce(nullif(btrim(drivers.car_normalized_number), ''), drivers.car_number))
        as plate_norm,
    canon.normalize_name(coalesce(
        nullif(btrim(drivers.full_name), ''),
        concat_ws(' ', drivers.first_name, drivers.middle_name, drivers.last_name)
    )) as full_name_norm,
    canon.fold_name(drivers.car_brand) as brand_norm,
    canon.fold_name(drivers.car_model) as model_norm,
    drivers.hire_date,
    drivers.updated_at,
    md5(concat_ws(
        '|', drivers.park_id, drivers.phone, drivers.license_normalized_number, '/', drivers.license_number,
        drivers.car_normalized_number, '/', drivers.car_number, drivers.full_name, '/', drivers.first_name, '/',
        drivers.middle_name, '/', drivers.last_name, drivers.car_brand, '/', drivers.car_model, '/',
        drivers.hire_date
    )) as record_digest
from public.drivers as drivers
where btrim(drivers.driver_id) <> ''
