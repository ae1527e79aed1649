-- All orphans with their keys: from the index, else the feed, else the person (domain.md 9.1, 9.2), since a key
-- of two is ambiguous whoever is decided; and those to decide, oldest link first: {scope} says which, {limited} how
-- many. Fills the temporary tables known_orphans and orphans, one row per driver.
create temp table known_orphans on commit drop as
with found as materialized (
    select orphans.* from canon.orphan_drivers as orphans
),

-- Accounts that the index does not know yet.
in_feed as (
    select distinct on (drivers.driver_id) -- a feed without unique index may hold an account twice
        drivers.driver_id, drivers.phone_norm, drivers.phone_is_weak, drivers.license_norm, drivers.full_name_norm,
        drivers.hire_date
    from canon.stg_drivers as drivers
    where drivers.driver_id in (
            select found.driver_id
            from found
            left join canon.drivers_index as indexed on indexed.driver_id = found.driver_id
            where indexed.driver_id is null
        )
    order by drivers.driver_id, drivers.updated_at desc nulls last, drivers.id desc
)

select
    found.*,
    coalesce(indexed.phone_norm, in_feed.phone_norm, canon.normalize_phone(persons.primary_phone)) as phone_norm,
    case
        when indexed.phone_norm is not null then indexed.phone_is_weak
        when in_feed.phone_norm is not null then in_feed.phone_is_weak
        else canon.phone_is_weak(persons.primary_phone)
    end as phone_is_weak,
    coalesce(indexed.license_norm, in_feed.license_norm, canon.normalize_license(persons.primary_license))
        as license_norm,
    canon.name_tokens(
        coalesce(indexed.full_name_norm, in_feed.full_name_norm, canon.normalize_name(persons.primary_full_name))
    ) as tokens,
    persons.primary_phone,
    persons.primary_license,
    persons.primary_full_name,
    -- Greatest age by any account of it (Q52).
    least(
        coalesce(indexed.hire_date, in_feed.hire_date),
        (found.linked_at at time zone 'America/Lima')::date,
        (found.snapshot_date at time zone 'America/Lima')::date
    ) as first_seen
from found
inner join canon.identity_registry as persons on persons.person_key = found.person_key
left join canon.drivers_index as indexed on indexed.driver_id = found.driver_id
left join in_feed on in_feed.driver_id = found.driver_id;
analyze known_orphans;

create temp table orphans on commit drop as
select orphans.*
from known_orphans as orphans
where {scope}
{limited};
create index on orphans (driver_id);
analyze orphans
