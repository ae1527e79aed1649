-- observational.scout_events
-- Lead events with the scout they name: the column, else the payload where that is a number (domain.md 6.1). The kind
-- goes by the source table, never by a tag (Q11).
-- Grain: one row per event_id.
-- Read by: the ledger's decision, the backfills, the raw attribution view, the categories.
select
    events.id as event_id,
    events.source_table,
    events.source_pk,
    case events.source_table
        when 'module_ct_migrations' then 'fleet_migration'
        when 'module_ct_scouting_daily' then 'scouting'
        when 'module_ct_cabinet_leads' then 'cabinet'
        else 'unknown'
    end as kind,
    events.person_key,
    events.driver_id,
    events.license_norm,
    events.phone_norm,
    events.event_date,
    events.created_at,
    coalesce(
        events.scout_id,
        case
            when events.payload_json ->> 'scout_id' ~ '^ *[0-9]{1,9} *$'
                then (events.payload_json ->> 'scout_id')::integer
        end
    ) as scout_id,
    events.payload_json ->> 'acquisition_method' as acquisition_method
from observational.lead_events as events
