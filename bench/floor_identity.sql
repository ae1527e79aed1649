-- The floor of the identity run: hand-written SQL with inlined normalisation, one insert ... select per output table,
-- in one transaction. No plan, no chunks, no audit, no run row, no candidates for reviewers, no shared or contradicting
-- keys, no persons of several accounts. Same inputs; same rules R1, R2, R3, R3b and direct links with their scope.
-- Each statement stands for itself; what an earlier one wrote is read back from its table.

insert into canon.identity_links (
    person_key, source_table, source_pk, snapshot_date, match_rule, match_score, confidence_level, evidence
)
with leads as materialized (
    select
        row_number() over () as n,
        raw.source_table, raw.source_pk, raw.snapshot_at, raw.event_date, raw.phone, raw.license, raw.plate,
        raw.driver_id,
        array(
            select distinct word from unnest(string_to_array(raw.name, ' ')) as word
            where word not in ('', 'DE', 'DEL', 'LA', 'LOS', 'LAS', 'EL', 'Y', 'E')
        ) as tokens
    from (
    select
        'module_ct_cabinet_leads' as source_table,
        coalesce(nullif(external_id, ''), id::text) as source_pk,
        lead_created_at at time zone 'America/Lima' as snapshot_at,
        coalesce(lead_created_at, created_at)::date as event_date,
        substring(regexp_replace(park_phone, '[^0-9]', '', 'g') from '.{9}$') as phone,
        null::text as license,
        nullif(regexp_replace(upper(asset_plate_number), '[^A-Z0-9]', '', 'g'), '') as plate,
        regexp_replace(
            upper(translate(
                normalize(concat_ws(' ', first_name, middle_name, last_name), nfkd),
                '-''' || U&'\0301\0303\0308', '  '
            )), '\s+', ' ', 'g'
        ) as name,
        null::text as driver_id,
        null::integer as scout_id,
        jsonb_build_object(
            'origin_tag', 'cabinet', 'source', 'module_ct_cabinet_leads', 'external_id', external_id,
            'first_name', first_name, 'middle_name', middle_name, 'last_name', last_name,
            'park_phone', park_phone, 'asset_plate_number', asset_plate_number, 'asset_model', asset_model
        ) as payload
    from public.module_ct_cabinet_leads
    union all
    select
        'module_ct_scouting_daily', id::text, registration_date::timestamp at time zone 'America/Lima',
        registration_date,
        substring(regexp_replace(driver_phone, '[^0-9]', '', 'g') from '.{9}$'),
        nullif(regexp_replace(upper(driver_license), '[^A-Z0-9]', '', 'g'), ''),
        null,
        regexp_replace(
            upper(translate(normalize(driver_name, nfkd), '-''' || U&'\0301\0303\0308', '  ')), '\s+', ' ', 'g'
        ),
        null,
        scout_id,
        jsonb_build_object(
            'origin_tag', 'scouting', 'driver_name', driver_name, 'driver_phone', driver_phone,
            'driver_license', driver_license, 'acquisition_method', acquisition_method
        )
    from public.module_ct_scouting_daily
    union all
    select
        'module_ct_migrations', id::text,
        coalesce(created_at, hire_date)::timestamp at time zone 'America/Lima',
        coalesce(created_at, hire_date), null, null, null,
        regexp_replace(
            upper(translate(normalize(driver_name, nfkd), '-''' || U&'\0301\0303\0308', '  ')), '\s+', ' ', 'g'
        ),
        lower(btrim(driver_id)), scout_id, to_jsonb(migrations)
    from public.module_ct_migrations as migrations
    ) as raw
),

-- The driver of a key: the only one of the objective park, or the only one at all where that park has none.
phones as (
    select phone_norm, coalesce(min(driver_id) filter (where park_id = %(park)s), min(driver_id)) as driver_id
    from canon.drivers_index
    where phone_norm is not null
    group by phone_norm
    having coalesce(nullif(count(*) filter (where park_id = %(park)s), 0), count(*)) = 1
),

licenses as (
    select license_norm, coalesce(min(driver_id) filter (where park_id = %(park)s), min(driver_id)) as driver_id
    from canon.drivers_index
    where license_norm is not null
    group by license_norm
    having coalesce(nullif(count(*) filter (where park_id = %(park)s), 0), count(*)) = 1
),

plate_pairs as (
    select
        leads.n, drivers.driver_id,
        coalesce(
            drivers.hire_date between leads.event_date - %(days_before)s and leads.event_date + %(days_after)s, true
        ) as in_time,
        cardinality(array(select unnest(leads.tokens) intersect select unnest(drivers.name_tokens)))::float as common,
        cardinality(leads.tokens) as a,
        cardinality(drivers.name_tokens) as b
    from leads
    inner join canon.drivers_index as drivers on drivers.plate_norm = leads.plate and drivers.park_id = %(park)s
),

plates as (
    select
        n, driver_id, in_time, similarity,
        similarity - lead(similarity, 1, 0) over best_first as ahead,
        row_number() over best_first as place
    from (
        select *, (common / (a + b - common) + common / greatest(a, b)) / 2 as similarity
        from plate_pairs where a > 0 and b > 0
    ) as scored
    window best_first as (partition by n order by in_time desc, similarity desc)
),

matches as materialized (
    select
        leads.source_table, leads.source_pk, leads.snapshot_at, leads.phone,
        coalesce(direct.driver_id, phones.driver_id, licenses.driver_id, plates.driver_id) as driver_id,
        case
            when direct.driver_id is not null then 'driver_direct'
            when phones.driver_id is not null then 'R1_PHONE_EXACT'
            when licenses.driver_id is not null then 'R2_LICENSE_EXACT'
            when plates.in_time then 'R3_PLATE_EXACT_NAME_SIMILAR'
            when plates.driver_id is not null then 'R3b'
        end as rule
    from leads
    left join canon.drivers_index as direct on direct.driver_id = leads.driver_id
    left join phones on phones.phone_norm = leads.phone
    left join licenses on licenses.license_norm = leads.license
    left join plates
        on plates.n = leads.n and plates.place = 1 and plates.similarity >= %(threshold)s and plates.ahead >= %(gap)s
    where leads.snapshot_at is not null
),

linked as materialized (
    select *
    from matches
    where rule <> 'R3b' or driver_id in (select driver_id from matches where rule <> 'R3b')
)

select
    md5(driver_id)::uuid, source_table, source_pk, snapshot_at, rule, 95, 'HIGH',
    jsonb_build_object('rule', rule, 'driver_id', driver_id, 'phone_normalized', phone)
from linked
union all
select
    md5(driver_id)::uuid, 'drivers', driver_id, min(snapshot_at), 'DRIVER_MATCH', 100, 'HIGH',
    jsonb_build_object('lead_source_table', min(source_table), 'lead_source_pk', min(source_pk))
from linked
group by driver_id;

-- The keys to persons are checked at the end of the transaction.
insert into canon.identity_registry (person_key, confidence_level, primary_phone, primary_license, primary_full_name)
select links.person_key, 'HIGH', drivers.phone_norm, drivers.license_norm, drivers.full_name_norm
from canon.identity_links as links
inner join canon.drivers_index as drivers on drivers.driver_id = links.source_pk
where links.source_table = 'drivers';

insert into canon.identity_unmatched (
    source_table, source_pk, snapshot_date, reason_code, details, phone_norm, license_norm, plate_norm, driver_id
)
select
    leads.source_table, leads.source_pk, coalesce(leads.snapshot_at, now()),
    case when coalesce(leads.phone, leads.license, leads.plate, leads.driver_id) is null then 'MISSING_KEYS'
        else 'NO_CANDIDATES' end,
    jsonb_build_object('phone', leads.phone, 'license', leads.license, 'name', leads.name, 'plate', leads.plate),
    leads.phone, leads.license, leads.plate, leads.driver_id
from (
select
    'module_ct_cabinet_leads' as source_table,
    coalesce(nullif(external_id, ''), id::text) as source_pk,
    lead_created_at at time zone 'America/Lima' as snapshot_at,
    coalesce(lead_created_at, created_at)::date as event_date,
    substring(regexp_replace(park_phone, '[^0-9]', '', 'g') from '.{9}$') as phone,
    null::text as license,
    nullif(regexp_replace(upper(asset_plate_number), '[^A-Z0-9]', '', 'g'), '') as plate,
    regexp_replace(
        upper(translate(
            normalize(concat_ws(' ', first_name, middle_name, last_name), nfkd),
            '-''' || U&'\0301\0303\0308', '  '
        )), '\s+', ' ', 'g'
    ) as name,
    null::text as driver_id,
    null::integer as scout_id,
    jsonb_build_object(
        'origin_tag', 'cabinet', 'source', 'module_ct_cabinet_leads', 'external_id', external_id,
        'first_name', first_name, 'middle_name', middle_name, 'last_name', last_name,
        'park_phone', park_phone, 'asset_plate_number', asset_plate_number, 'asset_model', asset_model
    ) as payload
from public.module_ct_cabinet_leads
union all
select
    'module_ct_scouting_daily', id::text, registration_date::timestamp at time zone 'America/Lima',
    registration_date,
    substring(regexp_replace(driver_phone, '[^0-9]', '', 'g') from '.{9}$'),
    nullif(regexp_replace(upper(driver_license), '[^A-Z0-9]', '', 'g'), ''),
    null,
    regexp_replace(
        upper(translate(normalize(driver_name, nfkd), '-''' || U&'\0301\0303\0308', '  ')), '\s+', ' ', 'g'
    ),
    null,
    scout_id,
    jsonb_build_object(
        'origin_tag', 'scouting', 'driver_name', driver_name, 'driver_phone', driver_phone,
        'driver_license', driver_license, 'acquisition_method', acquisition_method
    )
from public.module_ct_scouting_daily
union all
select
    'module_ct_migrations', id::text,
    coalesce(created_at, hire_date)::timestamp at time zone 'America/Lima',
    coalesce(created_at, hire_date), null, null, null,
    regexp_replace(
        upper(translate(normalize(driver_name, nfkd), '-''' || U&'\0301\0303\0308', '  ')), '\s+', ' ', 'g'
    ),
    lower(btrim(driver_id)), scout_id, to_jsonb(migrations)
from public.module_ct_migrations as migrations
) as leads
where not exists (
    select 1 from canon.identity_links as links
    where links.source_table = leads.source_table and links.source_pk = leads.source_pk
);

insert into canon.identity_origin (
    person_key, origin_tag, origin_source_id, origin_confidence, origin_created_at, resolution_status
)
select distinct on (person_key)
    person_key,
    case source_table
        when 'module_ct_cabinet_leads' then 'cabinet_lead'
        when 'module_ct_scouting_daily' then 'scout_registration' else 'migration'
    end,
    source_pk, 95, snapshot_date, 'resolved_auto'
from canon.identity_links
where source_table <> 'drivers'
order by
    person_key,
    case source_table when 'module_ct_cabinet_leads' then 1 when 'module_ct_scouting_daily' then 2 else 3 end,
    snapshot_date,
    source_pk;

insert into canon.identity_origin_history (
    person_key, origin_tag_new, origin_source_id_new, origin_confidence_new, resolution_status_new, changed_by
)
select person_key, origin_tag, origin_source_id, origin_confidence, resolution_status, 'system'
from canon.identity_origin;

insert into observational.lead_events (
    source_table, source_pk, event_date, person_key, scout_id, driver_id, phone_norm, license_norm, name_norm, payload_json
)
select
    leads.source_table, leads.source_pk, leads.event_date, links.person_key, leads.scout_id, leads.driver_id,
    leads.phone, leads.license, leads.name, leads.payload
from (
select
    'module_ct_cabinet_leads' as source_table,
    coalesce(nullif(external_id, ''), id::text) as source_pk,
    lead_created_at at time zone 'America/Lima' as snapshot_at,
    coalesce(lead_created_at, created_at)::date as event_date,
    substring(regexp_replace(park_phone, '[^0-9]', '', 'g') from '.{9}$') as phone,
    null::text as license,
    nullif(regexp_replace(upper(asset_plate_number), '[^A-Z0-9]', '', 'g'), '') as plate,
    regexp_replace(
        upper(translate(
            normalize(concat_ws(' ', first_name, middle_name, last_name), nfkd),
            '-''' || U&'\0301\0303\0308', '  '
        )), '\s+', ' ', 'g'
    ) as name,
    null::text as driver_id,
    null::integer as scout_id,
    jsonb_build_object(
        'origin_tag', 'cabinet', 'source', 'module_ct_cabinet_leads', 'external_id', external_id,
        'first_name', first_name, 'middle_name', middle_name, 'last_name', last_name,
        'park_phone', park_phone, 'asset_plate_number', asset_plate_number, 'asset_model', asset_model
    ) as payload
from public.module_ct_cabinet_leads
union all
select
    'module_ct_scouting_daily', id::text, registration_date::timestamp at time zone 'America/Lima',
    registration_date,
    substring(regexp_replace(driver_phone, '[^0-9]', '', 'g') from '.{9}$'),
    nullif(regexp_replace(upper(driver_license), '[^A-Z0-9]', '', 'g'), ''),
    null,
    regexp_replace(
        upper(translate(normalize(driver_name, nfkd), '-''' || U&'\0301\0303\0308', '  ')), '\s+', ' ', 'g'
    ),
    null,
    scout_id,
    jsonb_build_object(
        'origin_tag', 'scouting', 'driver_name', driver_name, 'driver_phone', driver_phone,
        'driver_license', driver_license, 'acquisition_method', acquisition_method
    )
from public.module_ct_scouting_daily
union all
select
    'module_ct_migrations', id::text,
    coalesce(created_at, hire_date)::timestamp at time zone 'America/Lima',
    coalesce(created_at, hire_date), null, null, null,
    regexp_replace(
        upper(translate(normalize(driver_name, nfkd), '-''' || U&'\0301\0303\0308', '  ')), '\s+', ' ', 'g'
    ),
    lower(btrim(driver_id)), scout_id, to_jsonb(migrations)
from public.module_ct_migrations as migrations
) as leads
left join canon.identity_links as links
    on links.source_table = leads.source_table and links.source_pk = leads.source_pk
where leads.event_date is not null
