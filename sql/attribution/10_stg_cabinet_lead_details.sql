-- ops.stg_cabinet_lead_details
-- Name, phone and plate of a cabinet lead as the feed has them, or who wrote it down, for lists that show a page of
-- leads.
-- Grain: one row per row_id.
-- Read by: leads in limbo.
select
    leads.id as row_id,
    leads.park_phone,
    leads.asset_plate_number,
    nullif(btrim(concat_ws(' ', leads.first_name, leads.middle_name, leads.last_name)), '') as lead_name
from public.module_ct_cabinet_leads as leads
union all
select
    -written.id,
    written.phone::varchar,
    written.plate::varchar,
    written.full_name
from canon.manual_leads as written
