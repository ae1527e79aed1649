-- Registrations on top of a world, until there are %(registrations)s in all: people who are nobody's yet, one in ten
-- registered by a second scout as well.
with wanted as (
    select n, n - (n %% 10 = 3)::integer as human
    from generate_series(1, %(registrations)s - (select count(*) from public.module_ct_scouting_daily)) as n
)

insert into public.module_ct_scouting_daily (
    id, registration_date, scout_id, driver_name, driver_phone, driver_license, created_at
) overriding system value
select
    60000000 + n,
    date '2026-01-01' + (n %% 28)::integer,
    1 + n %% 40,
    'NUEVO ' || translate((human %% 97)::text || ' ' || human, '0123456789', 'ABCDEFGHIJ'),
    null, -- invented phones would meet those of the world
    'Y' || lpad((human * 7129 %% 100000000)::text, 8, '0'),
    timestamp '2026-01-01 10:00' + n %% 28 * interval '1 day'
from wanted
