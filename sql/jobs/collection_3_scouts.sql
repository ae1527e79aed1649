-- The scout of every person who has one or is in open conflict, copied from the views that decide it, so that a page of
-- collection or settlement costs the page (Q18, Q19). Writes only what differs from what is stored.
create temp table fresh_scouts on commit drop as
select
    coalesce(scouts.person_key, conflicts.person_key) as person_key,
    scouts.scout_id,
    scouts.scout_quality_bucket,
    scouts.source_table,
    scouts.source_pk,
    scouts.origin_tag,
    scouts.attribution_date,
    scouts.priority,
    conflicts.person_key is not null as has_open_conflict
from ops.v_scout_attribution as scouts
full join (
    select found.person_key from ops.v_scout_attribution_conflicts as found where found.conflict_type = 'OPEN'
) as conflicts on conflicts.person_key = scouts.person_key;
create index on fresh_scouts (person_key);
analyze fresh_scouts (person_key);

with gone as (
    delete from ops.person_scouts as stored
    where not exists (select 1 from fresh_scouts as fresh where fresh.person_key = stored.person_key)
    returning 1
),

written as (
    insert into ops.person_scouts as stored (
        person_key, scout_id, scout_quality_bucket, source_table, source_pk, origin_tag, attribution_date, priority,
        has_open_conflict
    )
    select
        fresh.person_key, fresh.scout_id, fresh.scout_quality_bucket, fresh.source_table, fresh.source_pk,
        fresh.origin_tag, fresh.attribution_date, fresh.priority, fresh.has_open_conflict
    from fresh_scouts as fresh
    on conflict (person_key) do update set
        scout_id = excluded.scout_id,
        scout_quality_bucket = excluded.scout_quality_bucket,
        source_table = excluded.source_table,
        source_pk = excluded.source_pk,
        origin_tag = excluded.origin_tag,
        attribution_date = excluded.attribution_date,
        priority = excluded.priority,
        has_open_conflict = excluded.has_open_conflict
    where (
        stored.scout_id, stored.scout_quality_bucket, stored.source_table, stored.source_pk, stored.origin_tag,
        stored.attribution_date, stored.priority, stored.has_open_conflict
    ) is distinct from (
        excluded.scout_id, excluded.scout_quality_bucket, excluded.source_table, excluded.source_pk,
        excluded.origin_tag, excluded.attribution_date, excluded.priority, excluded.has_open_conflict
    )
    returning 1
)

select jsonb_build_object(
    'persons_with_scout', (select count(*) from fresh_scouts where scout_id is not null),
    'scouts_changed', (select count(*) from written) + (select count(*) from gone)
)
