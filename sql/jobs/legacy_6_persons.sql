-- The persons whose origin the load may change, under the names that identity_8_origins.sql reads. The loaded links are
-- written by now, so the rule sees them among all others; there are no candidates beside them (numbered is empty).
create temp table numbered (
    n bigint, source_table text, source_pk text, snapshot_at timestamptz
) on commit drop;
create temp table match_drivers on commit drop as select 'loaded'::text as driver_id, false as is_new;
create temp table decisions on commit drop as
select distinct person_key, 0::bigint as n, 0 as score, ''::text as confidence, 'loaded'::text as driver_id
from canon.identity_links where run_id = %(run_id)s;
create index on decisions (person_key);
analyze decisions
