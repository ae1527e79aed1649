-- One lead record that a person links by hand, under the names that the rules of origins read (identity_8_origins), and
-- the plan's other facts. {view} is its staging view, {narrowed} says which rows it may be, for an index to find.
-- Records without a date count from the day they were recorded.
drop table if exists pg_temp.numbered, pg_temp.decisions, pg_temp.match_drivers, pg_temp.origins, pg_temp.linking;
create temp table numbered on commit drop as
select distinct on (records.source_pk) -- a feed without unique index may hold a record twice
    1::bigint as n,
    records.source_table,
    records.source_pk,
    coalesce(records.snapshot_at, records.recorded_at, now()) as snapshot_at,
    coalesce(records.snapshot_at, records.recorded_at, now()) as recorded_at,
    records.event_date, records.scout_id, records.driver_id as named_driver_id, records.phone_norm,
    records.phone_is_weak, records.license_norm, records.plate_norm, records.name_norm, records.record_digest,
    records.payload
from {view} as records
where records.source_pk = %(source_pk)s {narrowed}
order by records.source_pk, records.record_digest;

create temp table decisions on commit drop as
select n, %(person_key)s::uuid as person_key, 'this' as driver_id, 100 as score, 'HIGH' as confidence from numbered;

create temp table match_drivers on commit drop as
select 'this' as driver_id, %(is_new)s as is_new
