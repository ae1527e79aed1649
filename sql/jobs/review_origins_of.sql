-- Persons whose records changed by hand, under the names that the rules of origins read (identity_8_origins): no record
-- is new, all are links already.
drop table if exists pg_temp.numbered, pg_temp.decisions, pg_temp.match_drivers, pg_temp.origins;
create temp table numbered (n bigint, source_table text, source_pk text, snapshot_at timestamptz) on commit drop;

create temp table decisions on commit drop as
select
    null::bigint as n, persons.person_key, persons.person_key::text as driver_id, null::integer as score,
    null::text as confidence
from unnest(%(persons)s::uuid[]) as persons (person_key);

create temp table match_drivers on commit drop as
select driver_id, false as is_new from decisions
