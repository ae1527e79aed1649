-- Lead rows of one feed that have no event get one, with the person of their link (domain.md 6.1). {view} is the
-- staging view, {source_table} its table; {dates} and {limited} narrow the rows. A row without a date has no day to
-- stand on: it is counted as an error, never dated today. Returns the counts.
with found as materialized (
    select distinct on (records.source_pk) records.* -- a feed without unique index may hold a record twice
    from {view} as records
    where not exists (
            select 1 from observational.lead_events as events
            where events.source_table = {source_table} and events.source_pk = records.source_pk
        )
        {dates}
    order by records.source_pk, records.record_digest
    {limited}
),

written as (
    insert into observational.lead_events (
        source_table, source_pk, event_date, person_key, scout_id, driver_id,
        phone_norm, license_norm, name_norm, payload_json
    )
    select
        found.source_table, found.source_pk, found.event_date, links.person_key, found.scout_id, found.driver_id,
        found.phone_norm, found.license_norm, found.name_norm,
        found.payload || jsonb_build_object(
            'matched_by', canon.matched_by(links.match_rule),
            'match_rule', links.match_rule,
            'match_score', links.match_score
        )
    from found
    left join canon.identity_links as links -- 1 record : 0..1 links
        on links.source_table = found.source_table and links.source_pk = found.source_pk
    where found.event_date is not null
    returning 1
)

select jsonb_build_object(
    'total', (select count(*) from found),
    'inserted', (select count(*) from written),
    'errors', (select count(*) from found where event_date is null)
)
