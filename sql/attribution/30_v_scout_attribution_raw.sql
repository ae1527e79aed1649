-- ops.v_scout_attribution_raw
-- Every claim of a scout on a person by every source, nothing hidden (domain.md 6.5, Q17): 1 the ledger, 2 lead events,
-- 3 migrations, 4 scouting registrations, 5 payments. A claim whose record is nobody yet has no person.
-- Grain: one row per source_table, source_pk.
-- Read by: the canonical attribution, the conflicts, the dossier of a conflict.
select
    ledger.person_key,
    null::text as driver_id,
    null::text as driver_license,
    null::text as driver_phone,
    ledger.attributed_scout_id as scout_id,
    null::text as origin_tag,
    null::text as acquisition_method,
    'observational.lead_ledger' as source_table,
    ledger.person_key::text as source_pk,
    (ledger.updated_at at time zone 'America/Lima')::date as attribution_date,
    ledger.updated_at as created_at,
    1 as priority,
    null::text as underlying_table
from observational.lead_ledger as ledger
where ledger.attributed_scout_id is not null
union all
select
    events.person_key,
    events.driver_id,
    events.license_norm,
    events.phone_norm,
    events.scout_id,
    null,
    events.acquisition_method,
    'observational.lead_events',
    events.event_id::text,
    events.event_date,
    events.created_at,
    2,
    events.source_table
from observational.scout_events as events
where events.person_key is not null and events.scout_id is not null
union all
select
    links.person_key,
    migrations.driver_id,
    null,
    null,
    migrations.scout_id,
    'migration',
    null,
    'public.module_ct_migrations',
    migrations.source_pk,
    coalesce((migrations.payload ->> 'hire_date')::date, migrations.event_date),
    (migrations.payload ->> 'created_at')::timestamp at time zone 'America/Lima',
    3,
    'module_ct_migrations'
from canon.stg_migrations as migrations
left join canon.identity_links as links -- 1 record : 0..1 links
    on links.source_table = 'module_ct_migrations' and links.source_pk = migrations.source_pk
where migrations.scout_id is not null
union all
select
    links.person_key,
    null,
    registrations.license_norm,
    registrations.phone_norm,
    registrations.scout_id,
    'scout_registration',
    registrations.payload ->> 'acquisition_method',
    'public.module_ct_scouting_daily',
    registrations.source_pk,
    coalesce(registrations.event_date, (registrations.recorded_at at time zone 'America/Lima')::date),
    registrations.recorded_at,
    4,
    'module_ct_scouting_daily'
from canon.stg_scouting_daily as registrations
left join canon.identity_links as links -- 1 record : 0..1 links
    on links.source_table = 'module_ct_scouting_daily' and links.source_pk = registrations.source_pk
where registrations.scout_id is not null
union all
select
    persons.person_key,
    payments.driver_id,
    null,
    null,
    payments.scout_id,
    'cabinet_payment',
    null,
    'public.module_ct_cabinet_payments',
    payments.source_pk,
    coalesce(payments.payment_date, (payments.recorded_at at time zone 'America/Lima')::date),
    payments.recorded_at,
    5,
    'module_ct_cabinet_payments'
from ops.stg_cabinet_payments as payments
left join canon.identity_registry as persons on persons.person_key = payments.person_key -- 1 : 0..1
where payments.scout_id is not null
