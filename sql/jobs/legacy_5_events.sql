-- The event of a loaded lead is the event of its link's person (domain.md 6.1). A lead without an event gets one here:
-- matching, which writes events otherwise, passes over records that are linked. Returns how many events were written.
with loaded as materialized (
    select source_table, source_pk, person_key, match_rule, match_score
    from canon.identity_links
    where run_id = %(run_id)s and source_table <> 'drivers'
),

followed as (
    update observational.lead_events as events
    set person_key = loaded.person_key,
        payload_json = coalesce(events.payload_json, '{{}}') || jsonb_build_object(
            'matched_by', canon.matched_by(loaded.match_rule),
            'match_rule', loaded.match_rule,
            'match_score', loaded.match_score
        )
    from loaded
    where events.source_table = loaded.source_table and events.source_pk = loaded.source_pk
    returning 1
),

records as (
    select
        source_table, source_pk, event_date, scout_id, driver_id, phone_norm, license_norm, name_norm, payload
    from canon.stg_cabinet_leads
    union all
    select source_table, source_pk, event_date, scout_id, driver_id, phone_norm, license_norm, name_norm, payload
    from canon.stg_scouting_daily
    union all
    select source_table, source_pk, event_date, scout_id, driver_id, phone_norm, license_norm, name_norm, payload
    from canon.stg_migrations
),

added as (
    insert into observational.lead_events (
        source_table, source_pk, event_date, person_key, scout_id, driver_id,
        phone_norm, license_norm, name_norm, payload_json
    )
    select
        records.source_table, records.source_pk, records.event_date, loaded.person_key, records.scout_id,
        records.driver_id, records.phone_norm, records.license_norm, records.name_norm,
        records.payload || jsonb_build_object(
            'matched_by', canon.matched_by(loaded.match_rule),
            'match_rule', loaded.match_rule,
            'match_score', loaded.match_score
        )
    from loaded
    inner join records -- 1 : 0..1
        on records.source_table = loaded.source_table and records.source_pk = loaded.source_pk
    where records.event_date is not null
        and not exists (
            select 1 from observational.lead_events as events
            where events.source_table = loaded.source_table and events.source_pk = loaded.source_pk
        )
    returning 1
)

select jsonb_build_object('events', (select count(*) from followed) + (select count(*) from added))
