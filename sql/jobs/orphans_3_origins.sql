-- Gives the records that will be linked to the rules of origins, under the names these read (identity_8_origins).
create temp table decisions on commit drop as
select n, person_key, min(driver_id) as driver_id, 100 as score, 'HIGH' as confidence
from evidence
where outcome = 'used'
group by n, person_key;

create temp table numbered on commit drop as
select records.n, records.source_table, records.source_pk, record_rows.snapshot_at
from records
inner join record_rows on record_rows.n = records.n
where records.n in (select decisions.n from decisions);

create temp table match_drivers on commit drop as
select driver_id, person_key, false as is_new
from decisions
