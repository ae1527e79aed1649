-- ops.stg_scouts
-- The list of scouts as it came (domain.md 2.7).
-- Grain: one row per scout_id.
-- Read by: the scouts dimension.
select
    scouts.scout_id,
    nullif(btrim(scouts.raw_name), '') as raw_name,
    nullif(btrim(scouts.name), '') as name,
    coalesce(scouts.is_active, true) as is_active,
    scouts.created_at,
    scouts.updated_at
from public.module_ct_scouts_list as scouts
where scouts.scout_id is not null
