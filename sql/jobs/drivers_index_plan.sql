-- Plan of the drivers index refresh: which accounts are new, changed, back or gone, one row each.
-- Only changed rows are normalised (domain.md 3.4). {plan} is the run's plan table.
create table {plan} as
with newest as materialized (
    -- A driver_id given twice (letter case, a source without unique index): objective park, then newest row.
    select distinct on (lower(btrim(drivers.driver_id)))
        drivers.id,
        lower(btrim(drivers.driver_id)) as driver_id
    from public.drivers as drivers
    where btrim(drivers.driver_id) <> ''
    order by
        lower(btrim(drivers.driver_id)),
        drivers.park_id is not distinct from %(park)s desc,
        drivers.updated_at desc nulls last,
        drivers.id desc
),

changed as (
    select
        fresh.*,
        case
            when indexed.driver_id is null then 'inserted'
            when indexed.record_digest is distinct from fresh.record_digest then 'updated'
            else 'returned'
        end as change
    from newest
    inner join canon.stg_drivers as fresh on fresh.id = newest.id
    left join canon.drivers_index as indexed on indexed.driver_id = newest.driver_id
    where indexed.driver_id is null
        or indexed.record_digest is distinct from fresh.record_digest
        or indexed.vanished_at is not null
),

vanished as (
    select indexed.driver_id
    from canon.drivers_index as indexed
    where indexed.vanished_at is null
        and not exists (select 1 from newest where newest.driver_id = indexed.driver_id)
)

select
    row_number() over (order by rows.driver_id) as seq,
    row_number() over (order by rows.driver_id) as group_no,
    rows.*
from (
    select
        changed.driver_id, changed.change, changed.park_id, changed.phone_norm, changed.phone_is_weak,
        changed.license_norm, canon.license_is_clean(changed.license_norm) as license_is_clean,
        changed.plate_norm, changed.full_name_norm, canon.name_tokens(changed.full_name_norm) as name_tokens,
        changed.brand_norm, changed.model_norm, changed.hire_date, changed.record_digest
    from changed
    union all
    select
        vanished.driver_id, 'vanished', null, null, null, null, null, null, null, null, null, null, null, null
    from vanished
) as rows
