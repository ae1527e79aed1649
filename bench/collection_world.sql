-- Collection on top of a world: accounts until there are two per lead, ten days of every account (those of a linked one
-- from its lead on), and payments for a third of the linked accounts.
insert into canon.drivers_index (driver_id, park_id, full_name_norm, name_tokens, snapshot_date)
select
    md5('account ' || n), 'elsewhere', 'AJENO ' || n, array['AJENO', n::text], date '2026-01-01'
from generate_series(1, %(accounts)s - (select count(*) from canon.drivers_index)) as n;

insert into public.summary_daily (driver_id, date_file, count_orders_completed, sum_work_time_seconds, created_at)
select
    drivers.driver_id,
    to_char(coalesce(leads.lead_date, date '2026-01-01') + day.place, 'DD-MM-YYYY'),
    (hashtext(drivers.driver_id) + day.place) & 3,
    3600 * ((hashtext(drivers.driver_id) + day.place) & 3),
    timestamp '2026-02-01 00:00'
from canon.drivers_index as drivers
left join (
    select evidence ->> 'driver_id' as driver_id, min(snapshot_date)::date as lead_date
    from canon.identity_links
    where source_table = 'module_ct_cabinet_leads'
    group by evidence ->> 'driver_id'
) as leads on leads.driver_id = drivers.driver_id
cross join generate_series(0, 9) as day (place);

insert into public.module_ct_cabinet_payments (id, date, driver, trip_1, trip_5, trip_25, created_at)
overriding system value
select
    70000000 + row_number() over (order by drivers.driver_id), date '2026-02-02', drivers.full_name_norm,
    true, case when hashtext(drivers.driver_id) & 1 = 0 then true end, null, timestamp '2026-02-02 10:00'
from canon.drivers_index as drivers
where drivers.driver_id in (
        select evidence ->> 'driver_id' from canon.identity_links where source_table = 'module_ct_cabinet_leads'
    )
    and hashtext(drivers.driver_id) %% 3 = 0
