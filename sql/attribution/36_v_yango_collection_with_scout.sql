-- ops.v_yango_collection_with_scout
-- Claims for collection with the scout of the person and how well that scout is known (domain.md 12.6, 6.9, Q20, Q66).
-- The scout is that of the last refresh of collection.
-- Grain: one row per driver_id, milestone_value.
-- Read by: collection, the daily base of scouts.
select
    claims.*,
    scouts.scout_id,
    dimension.raw_name as scout_name,
    dimension.scout_name_normalized,
    dimension.is_active as scout_is_active,
    null::text as scout_type,
    coalesce(scouts.scout_quality_bucket, 'MISSING') as scout_quality_bucket,
    scouts.scout_id is not null as is_scout_resolved,
    scouts.source_table as scout_source_table,
    scouts.attribution_date as scout_attribution_date,
    scouts.priority as scout_priority
from ops.v_yango_cabinet_claims_for_collection as claims
left join ops.person_scouts as scouts on scouts.person_key = claims.person_key -- 1 : 0..1
left join ops.v_dim_scouts as dimension on dimension.scout_id = scouts.scout_id -- 1 : 0..1
