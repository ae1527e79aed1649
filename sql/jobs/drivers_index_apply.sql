-- Applies rows of the drivers index plan, and marks open unmatched records that share an old or a new
-- key with a changed driver: for them something relevant changed (Q38). Returns the counts.
with picked as (
    select * from {plan} where seq > %(first)s and seq <= %(last)s
),

former as (
    select indexed.driver_id, indexed.phone_norm, indexed.license_norm, indexed.plate_norm
    from canon.drivers_index as indexed
    inner join picked on picked.driver_id = indexed.driver_id
),

written as (
    insert into canon.drivers_index (
        driver_id, park_id, phone_norm, phone_is_weak, license_norm, license_is_clean, plate_norm, full_name_norm,
        name_tokens, brand_norm, model_norm, hire_date, record_digest, snapshot_date
    )
    select
        driver_id, park_id, phone_norm, phone_is_weak, license_norm, license_is_clean, plate_norm, full_name_norm,
        name_tokens, brand_norm, model_norm, hire_date, record_digest, (now() at time zone 'America/Lima')::date
    from picked
    where change <> 'vanished'
    on conflict (driver_id) do update set
        park_id = excluded.park_id,
        phone_norm = excluded.phone_norm,
        phone_is_weak = excluded.phone_is_weak,
        license_norm = excluded.license_norm,
        license_is_clean = excluded.license_is_clean,
        plate_norm = excluded.plate_norm,
        full_name_norm = excluded.full_name_norm,
        name_tokens = excluded.name_tokens,
        brand_norm = excluded.brand_norm,
        model_norm = excluded.model_norm,
        hire_date = excluded.hire_date,
        record_digest = excluded.record_digest,
        snapshot_date = excluded.snapshot_date,
        vanished_at = null,
        updated_at = now()
    returning 1
),

flagged as (
    update canon.drivers_index as indexed
    set vanished_at = now(), updated_at = now()
    from picked
    where picked.change = 'vanished' and indexed.driver_id = picked.driver_id
    returning 1
),

touched_keys as (
    select 'phone' as kind, phone_norm as key from picked where phone_norm is not null
    union select 'phone', phone_norm from former where phone_norm is not null
    union select 'license', license_norm from picked where license_norm is not null
    union select 'license', license_norm from former where license_norm is not null
    union select 'plate', plate_norm from picked where plate_norm is not null
    union select 'plate', plate_norm from former where plate_norm is not null
    union select 'driver', driver_id from picked
),

affected as (
    select unmatched.id from canon.identity_unmatched as unmatched
    inner join touched_keys on touched_keys.kind = 'phone' and touched_keys.key = unmatched.phone_norm
    where unmatched.status = 'OPEN' and not unmatched.is_stale
    union
    select unmatched.id from canon.identity_unmatched as unmatched
    inner join touched_keys on touched_keys.kind = 'license' and touched_keys.key = unmatched.license_norm
    where unmatched.status = 'OPEN' and not unmatched.is_stale
    union
    select unmatched.id from canon.identity_unmatched as unmatched
    inner join touched_keys on touched_keys.kind = 'plate' and touched_keys.key = unmatched.plate_norm
    where unmatched.status = 'OPEN' and not unmatched.is_stale
    union
    select unmatched.id from canon.identity_unmatched as unmatched
    inner join touched_keys on touched_keys.kind = 'driver' and touched_keys.key = unmatched.driver_id
    where unmatched.status = 'OPEN' and not unmatched.is_stale
),

marked as (
    update canon.identity_unmatched as unmatched
    set is_stale = true
    from affected
    where unmatched.id = affected.id
    returning 1
)

select
    (select count(*) from picked where change = 'inserted') as inserted,
    (select count(*) from picked where change = 'updated') as updated,
    (select count(*) from picked where change = 'returned') as returned,
    (select count(*) from flagged) as vanished,
    (select count(*) from written) + (select count(*) from flagged) as rows_affected,
    (select count(*) from marked) as unmatched_to_retry
