-- ops.v_dim_scouts
-- Scouts by number, each with a name to show (domain.md 2.7).
-- Grain: one row per scout_id.
-- Read by: people, and every list that names a scout.
select
    scouts.scout_id,
    coalesce(scouts.raw_name, scouts.name, 'Scout ' || scouts.scout_id) as raw_name,
    coalesce(scouts.name, scouts.raw_name, 'Scout ' || scouts.scout_id) as scout_name_normalized,
    scouts.is_active,
    scouts.created_at,
    scouts.updated_at
from ops.stg_scouts as scouts
