-- Orphans for a world whose leads are decided: accounts that left the feed, each linked to a person without a lead as the
-- predecessor did. Half of them have evidence: four in ten a registration with their licence, one in ten an event that
-- names them, which the identity run left open because it does not know the account.
with run as (
    insert into ops.ingestion_runs (job_type, status, started_at, completed_at, actor, stats, parameters, incremental, dry_run, attempt, phase, progress_done, has_plan, log)
    values ('legacy_load', 'COMPLETED', now(), now(), 'bench', '{"audit": 0}', '{}', true, false, 1, '', 0, false, '[]')
    returning id
),

names as (
    select row_number() over (order by driver_id) as n, full_name_norm as name
    from canon.drivers_index where full_name_norm is not null
    order by driver_id limit %(orphans)s
),

stories as materialized (
    select
        names.n, names.name, gen_random_uuid() as person_key, md5('orphan ' || names.n) as driver_id,
        '9' || lpad((names.n * 7919 %% 100000000)::text, 8, '0') as phone, 'Z' || lpad(names.n::text, 8, '0') as license,
        50000000 + names.n as record_id, names.n %% 10 as kind
    from names
),

persons as (
    insert into canon.identity_registry (person_key, confidence_level, primary_phone, primary_license, primary_full_name)
    select person_key, 'HIGH', phone, license, name from stories
),

links as (
    insert into canon.identity_links (
        person_key, source_table, source_pk, snapshot_date, match_rule, match_score, confidence_level, evidence,
        linked_at, run_id
    )
    select
        person_key, 'drivers', driver_id, timestamptz '2025-12-21 03:10-05', 'R1_PHONE_EXACT', 95, 'HIGH',
        jsonb_build_object('phone_normalized', phone, 'legacy', true), timestamptz '2025-12-21 03:10-05', run.id
    from stories cross join run
),

registrations as (
    insert into public.module_ct_scouting_daily (
        id, registration_date, scout_id, driver_name, driver_phone, driver_license, created_at
    ) overriding system value
    select record_id, date '2025-12-01', 7, name, null, case when kind < 4 then license end, timestamp '2025-12-01 10:00'
    from stories where kind < 5
),

events as (
    insert into observational.lead_events (
        source_table, source_pk, event_date, scout_id, driver_id, license_norm, name_norm, payload_json
    )
    select
        'module_ct_scouting_daily', record_id::text, date '2025-12-01', 7, case when kind = 4 then driver_id end,
        case when kind < 4 then license end, name,
        jsonb_build_object('origin_tag', 'scouting', 'driver_name', name, 'driver_license', license)
    from stories where kind < 5
)

insert into canon.identity_unmatched (source_table, source_pk, snapshot_date, reason_code, license_norm)
select 'module_ct_scouting_daily', record_id::text, timestamptz '2025-12-01 00:00-05', 'NO_CANDIDATES', license
from stories where kind < 5
