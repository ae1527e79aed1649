-- canon.stg_scouting_daily
-- Scout registrations with normalised keys; the record's id is the row's id (domain.md 3.12, Q1).
-- Grain: one row per source_pk.
-- Read by: the identity run.
select
    'module_ct_scouting_daily' as source_table,
    registrations.id::text as source_pk,
    registrations.registration_date::timestamp at time zone 'America/Lima' as snapshot_at,
    registrations.created_at at time zone 'America/Lima' as recorded_at,
    registrations.registration_date as event_date,
    canon.normalize_phone(registrations.driver_phone) as phone_norm,
    canon.phone_is_weak(registrations.driver_phone) as phone_is_weak,
    canon.normalize_license(registrations.driver_license) as license_norm,
    canon.license_is_clean(canon.normalize_license(registrations.driver_license)) as license_is_clean,
    null::text as plate_norm,
    canon.normalize_name(registrations.driver_name) as name_norm,
    null::text as brand_norm,
    null::text as model_norm,
    null::text as driver_id,
    registrations.scout_id,
    md5(concat_ws(
        '|', registrations.registration_date, registrations.scout_id, registrations.driver_name,
        registrations.driver_phone, registrations.driver_license
    )) as record_digest,
    jsonb_build_object(
        'origin_tag', 'scouting',
        'funnel_tag', 'cabinet',
        'driver_name', registrations.driver_name,
        'driver_phone', registrations.driver_phone,
        'driver_license', registrations.driver_license,
        'acquisition_method', registrations.acquisition_method
    ) as payload,
    registrations.id as row_id
from public.module_ct_scouting_daily as registrations
