-- ops.v_identity_driver_unlinked_activity
-- Per day, accounts that drove although nobody knows whose they are, and their trips (RB4, domain.md 7.4). Not about
-- leads: most accounts never had one, so the figure is large by nature.
-- Grain: one row per date_file.
-- Read by: operators of recovery.
select
    summaries.day as date_file,
    count(*) as drivers_without_identity_count,
    sum(summaries.trips) as trips_from_unlinked_drivers
from observational.stg_summary_daily as summaries -- one row per account and day
where not exists (
        select 1 from canon.identity_links as links
        where links.source_table = 'drivers' and links.source_pk = summaries.driver_id
    )
group by summaries.day
