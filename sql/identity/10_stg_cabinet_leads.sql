-- canon.stg_cabinet_leads
-- Cabinet leads with normalised keys: the lead's id is external_id, or the row's id where that is empty
-- (domain.md 1.6, 3.12, Q68); a row id that is also somebody's external_id is told apart by "row:" (F28). Leads that a
-- person wrote down (domain.md 9.4) are leads like any other: their id begins with "manual:", their row id is negative.
-- Grain: one row per source_pk.
-- Read by: the identity run and collection; kept apart from the other feeds so that only records in question are
-- normalised.
select
    'module_ct_cabinet_leads' as source_table,
    coalesce(
        nullif(btrim(leads.external_id), ''),
        case when numeric_external_ids.external_id is not null then 'row:' || leads.id else leads.id::text end
    ) as source_pk,
    leads.lead_created_at at time zone 'America/Lima' as snapshot_at,
    leads.created_at at time zone 'America/Lima' as recorded_at,
    coalesce(leads.lead_created_at, leads.created_at)::date as event_date, -- both are Lima wall clock
    canon.normalize_phone(leads.park_phone) as phone_norm,
    canon.phone_is_weak(leads.park_phone) as phone_is_weak,
    null::text as license_norm,
    false as license_is_clean,
    canon.normalize_plate(leads.asset_plate_number) as plate_norm,
    canon.normalize_name(concat_ws(' ', leads.first_name, leads.middle_name, leads.last_name)) as name_norm,
    null::text as brand_norm,
    canon.fold_name(leads.asset_model) as model_norm,
    null::text as driver_id,
    leads.scout_id,
    md5(concat_ws(
        '|', leads.lead_created_at, leads.park_phone, leads.asset_plate_number,
        leads.first_name, leads.middle_name, leads.last_name
    )) as record_digest,
    jsonb_build_object(
        'origin_tag', 'cabinet',
        'source', 'module_ct_cabinet_leads',
        'external_id', leads.external_id,
        'first_name', leads.first_name,
        'middle_name', leads.middle_name,
        'last_name', leads.last_name,
        'park_phone', leads.park_phone,
        'asset_plate_number', leads.asset_plate_number,
        'asset_model', leads.asset_model
    ) || coalesce(leads.says_more, '{}') as payload,
    leads.id as row_id
from (
    select
        delivered.id, delivered.external_id, delivered.lead_created_at, delivered.created_at, delivered.first_name,
        delivered.middle_name, delivered.last_name, delivered.park_phone, delivered.asset_plate_number,
        delivered.asset_model, null::integer as scout_id, null::jsonb as says_more
    from public.module_ct_cabinet_leads as delivered
    union all
    -- The same types in the same places: only then the two are read as one table.
    select
        -written.id, ('manual:' || written.id)::varchar, written.lead_date::timestamp,
        written.created_at at time zone 'America/Lima', written.full_name::varchar, null::varchar, null::varchar,
        written.phone::varchar, written.plate::varchar, null::varchar, written.scout_id, '{"created_by": "hand"}'::jsonb
    from canon.manual_leads as written
) as leads
-- 1 lead : 0..1 numbers (external ids are unique)
left join (
    select distinct btrim(numbers.external_id) as external_id -- blanks around a number are no difference
    from public.module_ct_cabinet_leads as numbers
    -- The length first: what is too long, as most ids are, is not looked at closely.
    where case when octet_length(btrim(numbers.external_id)) <= 10 then numbers.external_id ~ '^ *[0-9]{1,10} *$' end
) as numeric_external_ids
    -- Only where it matters: most leads have an external id, and need not spell out their row's.
    on numeric_external_ids.external_id = case when nullif(btrim(leads.external_id), '') is null then leads.id::text end
