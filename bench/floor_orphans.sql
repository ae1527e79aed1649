-- The floor of the orphan job: one statement that detects, relinks or quarantines, and writes the tables the job writes;
-- no audit, no report, and none of the questions about evidence beyond "one driver, one open record".
with lost as materialized (
    select links.source_pk as driver_id, links.person_key, links.match_rule
    from canon.identity_links as links
    where links.source_table = 'drivers'
        and not exists (
            select 1 from canon.identity_links as leads
            where leads.person_key = links.person_key and leads.source_table <> 'drivers'
        )
        and not exists (
            select 1 from canon.driver_orphan_quarantine as known
            where known.driver_id = links.source_pk and known.status in ('quarantined', 'purged')
        )
),

-- Keys from the index, else the feed, else the person.
orphans as materialized (
    select
        lost.driver_id, lost.person_key, lost.match_rule,
        coalesce(indexed.phone_norm, in_feed.phone_norm, persons.primary_phone) as phone_norm,
        coalesce(indexed.license_norm, in_feed.license_norm, persons.primary_license) as license_norm
    from lost
    inner join canon.identity_registry as persons on persons.person_key = lost.person_key
    left join canon.drivers_index as indexed on indexed.driver_id = lost.driver_id
    left join (
        select distinct on (drivers.driver_id) drivers.driver_id, drivers.phone_norm, drivers.license_norm
        from canon.stg_drivers as drivers
        where drivers.driver_id in (select driver_id from lost)
        order by drivers.driver_id, drivers.id desc
    ) as in_feed on in_feed.driver_id = lost.driver_id
),

found as (
    select events.id, orphans.driver_id, orphans.person_key
    from observational.lead_events as events
    inner join orphans on orphans.driver_id = coalesce(events.driver_id, events.payload_json ->> 'driver_id')
    union
    select events.id, orphans.driver_id, orphans.person_key
    from observational.lead_events as events
    inner join orphans on orphans.license_norm = events.license_norm
    where (
            select count(*) from canon.drivers_index as others where others.license_norm = events.license_norm
        ) <= 1
    union
    select events.id, orphans.driver_id, orphans.person_key
    from observational.lead_events as events
    inner join orphans on orphans.phone_norm = events.phone_norm
    where (
            select count(*) from canon.drivers_index as others where others.phone_norm = events.phone_norm
        ) <= 1
),

usable as materialized (
    select found.*, events.source_table, events.source_pk, events.event_date
    from found
    inner join observational.lead_events as events on events.id = found.id
    where not exists (
            select 1 from canon.identity_links as links
            where links.source_table = events.source_table and links.source_pk = events.source_pk
        )
),

links as (
    insert into canon.identity_links (
        person_key, source_table, source_pk, snapshot_date, match_rule, match_score, confidence_level, evidence
    )
    select
        person_key, source_table, source_pk, event_date, 'LEAD_EVENT_RECONSTRUCTION', 100, 'HIGH',
        jsonb_build_object('event_id', id, 'event_date', event_date)
    from usable
    returning person_key
),

events as (
    update observational.lead_events as events
    set person_key = usable.person_key
    from usable
    where events.id = usable.id
),

closed as (
    update canon.identity_unmatched as unmatched
    set status = 'RESOLVED', resolved_at = now()
    from usable
    where unmatched.source_table = usable.source_table and unmatched.source_pk = usable.source_pk
),

origins as (
    insert into canon.identity_origin (
        person_key, origin_tag, origin_source_id, origin_confidence, origin_created_at, resolution_status
    )
    select distinct on (person_key)
        person_key,
        case source_table
            when 'module_ct_cabinet_leads' then 'cabinet_lead'
            when 'module_ct_scouting_daily' then 'scout_registration'
            else 'migration'
        end,
        source_pk, 100, event_date, 'resolved_auto'
    from usable
    order by person_key, source_table, event_date
    returning person_key, origin_tag, origin_source_id
),

origin_history as (
    insert into canon.identity_origin_history (
        person_key, origin_tag_new, origin_source_id_new, changed_by, change_reason
    )
    select person_key, origin_tag, origin_source_id, 'system', 'first record linked' from origins
),

quarantined as (
    insert into canon.driver_orphan_quarantine (
        driver_id, person_key, detected_reason, creation_rule, evidence_json, status, resolved_at, lead_events_count
    )
    select
        driver_id, person_key, 'no_lead_no_events', min(match_rule),
        jsonb_build_object(
            'creation_rule', min(match_rule),
            'lead_events_used', coalesce(
                jsonb_agg(jsonb_build_object('event_id', id, 'source_table', source_table, 'source_pk', source_pk))
                filter (where id is not null), '[]'
            )
        ),
        case when count(id) = 0 then 'quarantined' else 'resolved_relinked' end,
        case when count(id) > 0 then now() end,
        count(id)
    from (
        select driver_id, person_key, match_rule, null::integer as id, null as source_table, null as source_pk from orphans
        union all
        select driver_id, person_key, null, id, source_table, source_pk from usable
    ) as pieces
    group by driver_id, person_key
    returning driver_id, status
)

insert into canon.driver_orphan_quarantine_history (driver_id, status_new, change_reason, changed_by)
select driver_id, status, 'detected', 'system' from quarantined
