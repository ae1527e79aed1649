-- observational.stg_summary_daily
-- Trips and seconds connected of an account on a day (domain.md 2.5). Of a day told twice, in whatever spelling, the
-- row loaded last counts; what is no day is left out.
-- Grain: one row per driver_id, day.
-- Read by: the refresh of collection, a claim's story.
with days as materialized ( -- a few hundred texts for millions of rows
    select texts.date_file, canon.parse_day(texts.date_file) as day
    from (select summaries.date_file from public.summary_daily as summaries group by summaries.date_file) as texts
)

select distinct on (told.driver_id, told.day) -- of an account and day the newest
    told.driver_id,
    told.day,
    coalesce(told.count_orders_completed, 0) as trips,
    coalesce(told.sum_work_time_seconds, 0) as seconds
from (
    select
        lower(btrim(summaries.driver_id)) as driver_id,
        days.day,
        summaries.date_file,
        summaries.count_orders_completed,
        summaries.sum_work_time_seconds,
        summaries.created_at
    from public.summary_daily as summaries
    inner join days on days.date_file = summaries.date_file -- 1 : 1
    where days.day is not null and summaries.driver_id is not null
) as told
order by
    told.driver_id, told.day, told.created_at desc nulls last, told.count_orders_completed desc nulls last,
    told.sum_work_time_seconds desc nulls last, told.date_file collate "C"
