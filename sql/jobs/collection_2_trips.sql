-- What every dated cabinet lead and migration has come to: its driver, that driver's trips since, the milestones inside
-- the windows of the rules (domain.md 12.1, 12.2, Q59, Q61). Trips are counted once per lead; rules join the counts.
-- Writes only what differs from what is stored.
create temp table leads on commit drop as
with dated as (
    select
        records.source_table, records.source_pk, records.row_id, 'cabinet' as origin_tag,
        (records.snapshot_at at time zone 'America/Lima')::date as lead_date -- never the time of the load
    from canon.stg_cabinet_leads as records
    where records.snapshot_at is not null
    union all
    select records.source_table, records.source_pk, null, 'fleet_migration', records.event_date
    from canon.stg_migrations as records
    where records.event_date is not null
),

once as (
    select distinct on (dated.source_table, dated.source_pk) dated.* -- a feed may hold a record twice
    from dated
    order by dated.source_table, dated.source_pk, dated.lead_date, dated.row_id
),

linked as materialized (
    select
        once.*,
        links.person_key,
        nullif(lower(btrim(links.evidence ->> 'driver_id')), '') as told_driver_id
    from once
    left join canon.identity_links as links
        on links.source_table = once.source_table and links.source_pk = once.source_pk
),

-- Whose account the lead does not tell: the newest of the objective park (Q10).
newest as (
    select distinct on (operational.person_key) operational.person_key, operational.driver_id
    from canon.operational_drivers as operational
    inner join canon.drivers_index as drivers on drivers.driver_id = operational.driver_id
    where drivers.park_id = %(park)s
        and operational.person_key in (
            select linked.person_key from linked where linked.told_driver_id is null
        )
    order by operational.person_key, operational.linked_at desc, operational.driver_id collate "C" desc
)

select
    row_number() over (order by linked.source_table, linked.source_pk)::integer as n,
    linked.source_table,
    linked.source_pk,
    linked.row_id,
    linked.origin_tag,
    linked.lead_date,
    linked.person_key,
    coalesce(told.driver_id, newest.driver_id) as driver_id
from linked
left join canon.operational_drivers as told
    on told.driver_id = linked.told_driver_id and told.person_key = linked.person_key
left join newest on newest.person_key = linked.person_key and linked.told_driver_id is null;
analyze leads (n, driver_id, source_table, source_pk);

create temp table days on commit drop as
select leads.n, leads.origin_tag, summaries.day - leads.lead_date as place, summaries.trips, summaries.seconds
from leads
inner join observational.stg_summary_daily as summaries
    on summaries.driver_id = leads.driver_id and summaries.day >= leads.lead_date
where summaries.trips > 0 or summaries.seconds > 0;
analyze days (n, place);

create temp table wanted on commit drop as
select origin_tag, window_days, milestone_trips
from ops.payment_rules
where milestone_type = 'trips'
group by origin_tag, window_days, milestone_trips;

create temp table reached on commit drop as
with running as (
    select
        days.n, days.origin_tag, days.place, days.trips,
        sum(days.trips) over (partition by days.n order by days.place) as total
    from days
    where days.trips > 0 and days.place < (select max(window_days) from wanted)
),

windows as (
    select running.n, windows.window_days, sum(running.trips) as trips
    from running
    inner join (
        select origin_tag, window_days from wanted group by origin_tag, window_days
    ) as windows on windows.origin_tag = running.origin_tag and running.place < windows.window_days
    group by running.n, windows.window_days
)

select running.n, wanted.window_days, wanted.milestone_trips, running.place, windows.trips::integer as trips
from running
inner join wanted
    on wanted.origin_tag = running.origin_tag and running.place < wanted.window_days
    and running.total >= wanted.milestone_trips and running.total - running.trips < wanted.milestone_trips
inner join windows on windows.n = running.n and windows.window_days = wanted.window_days;

create temp table fresh_trips on commit drop as
with summed as (
    select
        days.n,
        min(days.place) filter (where days.seconds > 0) as connected,
        min(days.place) filter (where days.trips > 0) as drove,
        sum(days.trips) filter (where days.place < 7) as trips_7d,
        sum(days.trips) filter (where days.place < 14) as trips_14d,
        sum(days.trips) filter (where days.place < 30) as trips_30d
    from days
    group by days.n
)

select
    leads.*,
    leads.lead_date + summed.connected as first_connection_date,
    leads.lead_date + summed.drove as first_trip_date,
    coalesce(summed.trips_7d, 0)::integer as trips_7d,
    coalesce(summed.trips_14d, 0)::integer as trips_14d,
    coalesce(summed.trips_30d, 0)::integer as trips_30d,
    leads.driver_id is not null and row_number() over (
        partition by leads.source_table, leads.driver_id
        order by coalesce(summed.trips_14d, 0) desc, leads.lead_date, leads.source_pk collate "C"
    ) = 1 as is_best_of_driver,
    case when leads.driver_id is not null
        then max(leads.lead_date) over (partition by leads.source_table, leads.driver_id) end as last_lead_date
from leads
left join summed on summed.n = leads.n;
create index on fresh_trips (source_table, source_pk);
analyze fresh_trips (source_table, source_pk);

create temp table fresh_milestones on commit drop as
select
    leads.source_table,
    leads.source_pk,
    reached.window_days,
    reached.milestone_trips,
    leads.lead_date + reached.place as achieved_date,
    reached.trips as trips_in_window
from reached
inner join leads on leads.n = reached.n;
create index on fresh_milestones (source_table, source_pk, window_days, milestone_trips);
analyze fresh_milestones (source_table, source_pk, window_days, milestone_trips);

-- What differs is found before anything is written: a table that fills up while it is searched is searched for ever.
create temp table changed_trips on commit drop as
select fresh.*
from fresh_trips as fresh
where not exists (
        select 1 from observational.lead_trips as same
        where same.source_table = fresh.source_table and same.source_pk = fresh.source_pk
            and (
                same.lead_row_id, same.lead_date, same.person_key, same.driver_id, same.first_connection_date,
                same.first_trip_date, same.trips_7d, same.trips_14d, same.trips_30d, same.is_best_of_driver,
                same.last_lead_date
            ) is not distinct from (
                fresh.row_id, fresh.lead_date, fresh.person_key, fresh.driver_id, fresh.first_connection_date,
                fresh.first_trip_date, fresh.trips_7d, fresh.trips_14d, fresh.trips_30d, fresh.is_best_of_driver,
                fresh.last_lead_date
            )
    );

create temp table changed_milestones on commit drop as
select fresh.*
from fresh_milestones as fresh
where not exists (
        select 1 from observational.lead_milestones as same
        where same.source_table = fresh.source_table and same.source_pk = fresh.source_pk
            and same.window_days = fresh.window_days and same.milestone_trips = fresh.milestone_trips
            and same.achieved_date = fresh.achieved_date and same.trips_in_window = fresh.trips_in_window
    );

with gone_trips as (
    delete from observational.lead_trips as stored
    where not exists (
            select 1 from fresh_trips as fresh
            where fresh.source_table = stored.source_table and fresh.source_pk = stored.source_pk
        )
    returning 1
),

written_trips as (
    insert into observational.lead_trips as stored (
        source_table, source_pk, lead_row_id, lead_date, person_key, driver_id, first_connection_date, first_trip_date,
        trips_7d, trips_14d, trips_30d, is_best_of_driver, last_lead_date
    )
    select
        fresh.source_table, fresh.source_pk, fresh.row_id, fresh.lead_date, fresh.person_key, fresh.driver_id,
        fresh.first_connection_date, fresh.first_trip_date, fresh.trips_7d, fresh.trips_14d, fresh.trips_30d,
        fresh.is_best_of_driver, fresh.last_lead_date
    from changed_trips as fresh
    order by fresh.n
    on conflict (source_table, source_pk) do update set
        lead_row_id = excluded.lead_row_id,
        lead_date = excluded.lead_date,
        person_key = excluded.person_key,
        driver_id = excluded.driver_id,
        first_connection_date = excluded.first_connection_date,
        first_trip_date = excluded.first_trip_date,
        trips_7d = excluded.trips_7d,
        trips_14d = excluded.trips_14d,
        trips_30d = excluded.trips_30d,
        is_best_of_driver = excluded.is_best_of_driver,
        last_lead_date = excluded.last_lead_date,
        computed_at = now()
    returning 1
),

gone_milestones as (
    delete from observational.lead_milestones as stored
    where not exists (
            select 1 from fresh_milestones as fresh
            where fresh.source_table = stored.source_table and fresh.source_pk = stored.source_pk
                and fresh.window_days = stored.window_days and fresh.milestone_trips = stored.milestone_trips
        )
    returning 1
),

written_milestones as (
    insert into observational.lead_milestones as stored (
        source_table, source_pk, window_days, milestone_trips, achieved_date, trips_in_window
    )
    select
        fresh.source_table, fresh.source_pk, fresh.window_days, fresh.milestone_trips, fresh.achieved_date,
        fresh.trips_in_window
    from changed_milestones as fresh
    on conflict (source_table, source_pk, window_days, milestone_trips) do update set
        achieved_date = excluded.achieved_date,
        trips_in_window = excluded.trips_in_window
    returning 1
)

select jsonb_build_object(
    'leads_read', (select count(*) from fresh_trips),
    'leads_with_driver', (select count(*) from fresh_trips where driver_id is not null),
    'leads_changed', (select count(*) from written_trips),
    'leads_gone', (select count(*) from gone_trips),
    'milestones_reached', (select count(*) from fresh_milestones),
    'milestones_changed', (select count(*) from written_milestones),
    'milestones_gone', (select count(*) from gone_milestones)
)
