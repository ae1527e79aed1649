-- canon.lead_evidence
-- Lead records with all that may tie them to a driver: the account they name, licence, phone, person (domain.md 9.2).
-- Events first; a dated lead row that has no event yet counts as well. What the columns of an event lack is read from
-- its payload, where older events keep it. An "id" at the top of a payload may be the number of a row: numbers are not
-- taken for accounts.
-- Grain: one row per source_table, source_pk.
-- Read by: the orphan job.
with events as (
    select
        events.id as event_id,
        events.source_table,
        events.source_pk,
        events.event_date,
        events.person_key,
        coalesce(
            lower(events.driver_id),
            case when events.payload_json ?| array['driver_id', 'driverId', 'driver', 'id'] then lower(coalesce(
                nullif(btrim(events.payload_json ->> 'driver_id'), ''),
                nullif(btrim(events.payload_json ->> 'driverId'), ''),
                nullif(btrim(events.payload_json -> 'driver' ->> 'driver_id'), ''),
                nullif(btrim(events.payload_json -> 'driver' ->> 'driverId'), ''),
                nullif(btrim(events.payload_json -> 'driver' ->> 'id'), ''),
                case
                    when events.payload_json ->> 'id' !~ '^ *[0-9]{0,19} *$' then btrim(events.payload_json ->> 'id')
                end
            )) end
        ) as named_driver_id,
        coalesce(events.license_norm, canon.normalize_license(events.payload_json ->> 'driver_license'))
            as license_norm,
        coalesce(events.phone_norm, canon.normalize_phone(
            coalesce(events.payload_json ->> 'driver_phone', events.payload_json ->> 'park_phone')
        )) as phone_norm,
        coalesce(canon.phone_is_weak(coalesce(
            events.payload_json ->> 'driver_phone', events.payload_json ->> 'park_phone', events.phone_norm
        )), false) as phone_is_weak,
        coalesce(events.name_norm, canon.normalize_name(coalesce(
            events.payload_json ->> 'driver_name',
            concat_ws(
                ' ', events.payload_json ->> 'first_name', events.payload_json ->> 'middle_name',
                events.payload_json ->> 'last_name'
            )
        ))) as name_norm
    from observational.lead_events as events
)

select events.* from events
union all
select
    null, records.source_table, records.source_pk, records.event_date, null, records.driver_id, records.license_norm,
    records.phone_norm, records.phone_is_weak, records.name_norm
from canon.stg_cabinet_leads as records
where records.event_date is not null
    and not exists (
        select 1 from observational.lead_events as known
        where known.source_table = 'module_ct_cabinet_leads' and known.source_pk = records.source_pk
    )
union all
select
    null, records.source_table, records.source_pk, records.event_date, null, records.driver_id, records.license_norm,
    records.phone_norm, records.phone_is_weak, records.name_norm
from canon.stg_scouting_daily as records
where records.event_date is not null
    and not exists (
        select 1 from observational.lead_events as known
        where known.source_table = 'module_ct_scouting_daily' and known.source_pk = records.source_pk
    )
union all
select
    null, records.source_table, records.source_pk, records.event_date, null, records.driver_id, records.license_norm,
    records.phone_norm, records.phone_is_weak, records.name_norm
from canon.stg_migrations as records
where records.event_date is not null
    and not exists (
        select 1 from observational.lead_events as known
        where known.source_table = 'module_ct_migrations' and known.source_pk = records.source_pk
    )
