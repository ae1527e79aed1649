-- observational.v_conversion_metrics
-- How a person came along since the first dated lead of an origin (domain.md 12.1): connection, trips, the days on
-- which 1, 5 and 25 trips were reached inside fourteen days (Q61). scout_id is the scout of the newest migration.
-- Grain: one row per person_key, origin_tag.
-- Read by: people who follow recruits.
with first_leads as (
    select distinct on (leads.person_key, leads.source_table) leads.* -- per person and feed the earliest
    from observational.lead_trips as leads
    left join canon.operational_drivers as operational on operational.driver_id = leads.driver_id -- 1 : 0..1
    where leads.person_key is not null and (leads.driver_id is null or operational.driver_id is not null)
    order by leads.person_key, leads.source_table, leads.lead_date, leads.source_pk collate "C"
)

select
    first_leads.person_key,
    case first_leads.source_table when 'module_ct_migrations' then 'fleet_migration' else 'cabinet' end as origin_tag,
    first_leads.source_table as lead_source_table,
    first_leads.source_pk as lead_source_pk,
    first_leads.lead_date,
    migrations.scout_id,
    first_leads.driver_id,
    drivers.hire_date,
    first_leads.first_connection_date,
    first_leads.first_trip_date,
    reached.trip_1_date,
    reached.trip_5_date,
    reached.trip_25_date,
    first_leads.trips_7d,
    first_leads.trips_14d,
    first_leads.trips_30d,
    first_leads.first_connection_date - first_leads.lead_date as days_to_connection,
    first_leads.first_trip_date - first_leads.lead_date as days_to_first_trip
from first_leads
left join canon.drivers_index as drivers on drivers.driver_id = first_leads.driver_id -- 1 : 0..1
left join lateral ( -- 1 : 0..1
    select events.scout_id
    from observational.scout_events as events
    where first_leads.source_table = 'module_ct_migrations'
        and events.person_key = first_leads.person_key and events.kind = 'fleet_migration'
    order by events.event_date desc, length(events.source_pk) desc, events.source_pk collate "C" desc
    limit 1
) as migrations on true
cross join lateral ( -- 1 : 1
    select
        min(milestones.achieved_date) filter (where milestones.milestone_trips = 1) as trip_1_date,
        min(milestones.achieved_date) filter (where milestones.milestone_trips = 5) as trip_5_date,
        min(milestones.achieved_date) filter (where milestones.milestone_trips = 25) as trip_25_date
    from observational.lead_milestones as milestones
    where milestones.source_table = first_leads.source_table and milestones.source_pk = first_leads.source_pk
        and milestones.achieved_date < first_leads.lead_date + 14
) as reached
