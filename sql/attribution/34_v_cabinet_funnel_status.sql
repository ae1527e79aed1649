-- ops.v_cabinet_funnel_status
-- How far every account came (C1, domain.md 12.7): milestones inside fourteen days of a lead (Q61), of the cabinet
-- before a migration. An account linked to nobody is registered incompletely; those that may not operate are
-- left out.
-- Grain: one row per driver_id.
-- Read by: whoever follows recruits.
select
    driven.driver_id,
    driven.person_key,
    driven.origin_tag,
    case
        when driven.person_key is null then 'registered_incomplete'
        when driven.trips_14d >= 25 then 'reached_m25'
        when driven.trips_14d >= 5 then 'reached_m5'
        when driven.trips_14d >= 1 then 'reached_m1'
        when reached.connected_date is null then 'registered_complete'
        else 'connected_no_trips'
    end as funnel_status,
    reached.connected_date is not null as connected_flag,
    reached.connected_date,
    driven.trips_30d as trips_total,
    case
        when driven.trips_14d >= 25 then 25
        when driven.trips_14d >= 5 then 5
        when driven.trips_14d >= 1 then 1
        else 0
    end as highest_milestone,
    reached.m1_date,
    reached.m5_date,
    reached.m25_date
from (
    select
        accounts.driver_id,
        accounts.person_key,
        case
            when cabinet.id is not null then 'cabinet'
            when migrations.id is not null then 'fleet_migration'
            else 'unknown'
        end as origin_tag,
        coalesce(cabinet.source_table, migrations.source_table) as source_table,
        coalesce(cabinet.trips_14d, migrations.trips_14d, 0) as trips_14d,
        coalesce(cabinet.trips_30d, migrations.trips_30d, 0) as trips_30d
    from (
        select operational.driver_id, operational.person_key
        from canon.operational_drivers as operational
        union all
        select drivers.driver_id, null
        from canon.drivers_index as drivers
        where drivers.vanished_at is null
            and not exists (
                select 1 from canon.identity_links as links
                where links.source_table = 'drivers' and links.source_pk = drivers.driver_id
            )
            and not exists (
                select 1 from canon.driver_orphan_quarantine as quarantine
                where quarantine.driver_id = drivers.driver_id
            )
    ) as accounts
    left join observational.lead_trips as cabinet -- 1 account : 0..1 best lead of a feed
        on cabinet.driver_id = accounts.driver_id and cabinet.is_best_of_driver
        and cabinet.source_table = 'module_ct_cabinet_leads'
    left join observational.lead_trips as migrations -- 1 : 0..1
        on migrations.driver_id = accounts.driver_id and migrations.is_best_of_driver
        and migrations.source_table = 'module_ct_migrations'
) as driven
cross join lateral ( -- 1 : 1, over all leads of the account: the earliest that reached it has the first day
    select
        min(leads.first_connection_date) as connected_date,
        min(milestones.achieved_date) filter (where milestones.milestone_trips = 1) as m1_date,
        min(milestones.achieved_date) filter (where milestones.milestone_trips = 5) as m5_date,
        min(milestones.achieved_date) filter (where milestones.milestone_trips = 25) as m25_date
    from observational.lead_trips as leads
    left join observational.lead_milestones as milestones -- 1 lead : n milestones
        on milestones.source_table = leads.source_table and milestones.source_pk = leads.source_pk
        and milestones.achieved_date < leads.lead_date + 14
    where leads.driver_id = driven.driver_id and leads.source_table = driven.source_table
) as reached
