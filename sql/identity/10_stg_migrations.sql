-- canon.stg_migrations
-- Migrations from other fleets; they name their driver, so no other key is read (Q9). Dated by
-- created_at, else by hire_date (domain.md 2.3, 6.1).
-- Grain: one row per source_pk.
-- Read by: the identity run.
select
    'module_ct_migrations' as source_table,
    migrations.id::text as source_pk,
    coalesce(migrations.created_at, migrations.hire_date)::timestamp at time zone 'America/Lima' as snapshot_at,
    null::timestamptz as recorded_at,
    coalesce(migrations.created_at, migrations.hire_date) as event_date,
    null::text as phone_norm,
    false as phone_is_weak,
    null::text as license_norm,
    false as license_is_clean,
    null::text as plate_norm,
    canon.normalize_name(migrations.driver_name) as name_norm,
    null::text as brand_norm,
    null::text as model_norm,
    nullif(lower(btrim(migrations.driver_id)), '') as driver_id,
    migrations.scout_id,
    md5(concat_ws(
        '|', migrations.driver_id, migrations.scout_id, migrations.created_at, migrations.hire_date,
        migrations.driver_name
    )) as record_digest,
    jsonb_build_object(
        'origin_tag', 'fleet_migration',
        'driver_id', migrations.driver_id,
        'driver_name', migrations.driver_name,
        'scout_id', migrations.scout_id,
        'scout_name', migrations.scout_name,
        'hire_date', migrations.hire_date,
        'created_at', migrations.created_at,
        'updated_at', migrations.updated_at
    ) as payload,
    migrations.id as row_id
from public.module_ct_migrations as migrations
