-- A person may not grow past N source records by a job (F24): such records go to a reviewer instead.
create temp table too_large on commit drop as
-- A new person with few records cannot exceed the limit, whatever their drivers.
with suspects as materialized (
    select decisions.person_key, count(*) as records
    from decisions
    group by decisions.person_key
    having 2 * count(*) > %(source_limit)s
    union
    select decisions.person_key, count(*)
    from decisions
    where decisions.person_key in (select drivers.person_key from match_drivers as drivers where not drivers.is_new)
    group by decisions.person_key
),

existing as (
    select links.person_key, count(*) as links
    from canon.identity_links as links
    where links.person_key in (select person_key from suspects)
    group by links.person_key
),

new_drivers as (
    select decisions.person_key, count(distinct decisions.driver_id) as drivers
    from decisions
    inner join suspects on suspects.person_key = decisions.person_key
    inner join match_drivers as drivers on drivers.driver_id = decisions.driver_id and not drivers.was_linked
    group by decisions.person_key
)

select decisions.n
from decisions
inner join suspects on suspects.person_key = decisions.person_key
left join existing on existing.person_key = decisions.person_key
left join new_drivers on new_drivers.person_key = decisions.person_key
where suspects.records + coalesce(existing.links, 0) + coalesce(new_drivers.drivers, 0) > %(source_limit)s;

delete from decisions where n in (select n from too_large);
create index on decisions (n);
analyze decisions (n, person_key, driver_id);
analyze too_large
