-- From driver to person (domain.md 5.3): the driver's link; else persons with its phone, else its licence, who
-- may be the same human; else a new person, shared by new drivers with the same phone or licence who may be one.
-- Junk, weak and over-shared keys never merge anybody.

create temp table match_drivers on commit drop as
select
    matched.driver_id,
    matched.may_found_person,
    matched.is_r3b,
    -- A key for everybody without person; those who turn out to be somebody known give it up below.
    coalesce(links.person_key, gen_random_uuid()) as person_key,
    links.person_key is not null as is_linked,
    links.person_key is not null as was_linked,
    links.person_key is null as is_new,
    false as is_ambiguous,
    matched.driver_id as cluster,
    case when not drivers.phone_is_weak then drivers.phone_norm end as phone,
    case when drivers.license_is_clean then drivers.license_norm end as license,
    drivers.name_tokens as tokens
from (
    select driver_id, bool_or(rule <> 'R3b') as may_found_person, bool_or(rule = 'R3b') as is_r3b
    from results where outcome = 'MATCH' group by driver_id
) as matched
inner join canon.drivers_index as drivers on drivers.driver_id = matched.driver_id
left join canon.identity_links as links
    on links.source_table = 'drivers' and links.source_pk = matched.driver_id; -- 1 driver : 0..1 link

-- Drivers of several candidates where another rule matches: their persons decide whether the two agree. Who has no
-- link yet and is nobody's match stands for himself: guessing his person would change with the next run.
insert into match_drivers
select
    drivers.driver_id, false, false, coalesce(links.person_key, gen_random_uuid()), links.person_key is not null,
    links.person_key is not null, links.person_key is null, false, drivers.driver_id,
    case when not drivers.phone_is_weak then drivers.phone_norm end,
    case when drivers.license_is_clean then drivers.license_norm end,
    drivers.name_tokens
from canon.drivers_index as drivers
left join canon.identity_links as links on links.source_table = 'drivers' and links.source_pk = drivers.driver_id
where drivers.driver_id in (
        select scope.driver_id
        from results as several
        inner join canon.drivers_index as scope
            on (several.rule = 'R1_PHONE_EXACT' and scope.phone_norm = several.key)
                or (several.rule = 'R2_LICENSE_EXACT' and scope.license_norm = several.key)
        where several.outcome = 'MULTIPLE_CANDIDATES' and scope.vanished_at is null
            and exists (select 1 from results as other where other.n = several.n and other.outcome = 'MATCH')
        union all
        select pairs.driver_id
        from results as several
        inner join name_pairs as pairs on pairs.n = several.n and pairs.similarity >= %(join_bound)s - 1e-9
        where several.outcome = 'MULTIPLE_CANDIDATES' and several.rule in ('R3_PLATE_EXACT_NAME_SIMILAR', 'R3b')
            and exists (select 1 from results as other where other.n = several.n and other.outcome = 'MATCH')
    )
    and not exists (select 1 from match_drivers as known where known.driver_id = drivers.driver_id);
create index on match_drivers (driver_id);
analyze match_drivers (driver_id, person_key, phone, license, is_new, is_linked, is_r3b);

-- Keys of more than K drivers say nothing about who somebody is. Only keys that could merge somebody are counted.
update match_drivers set phone = null
where phone in (
    select drivers.phone_norm
    from canon.drivers_index as drivers
    where drivers.vanished_at is null and drivers.phone_norm in (
        select phone from match_drivers where not is_linked and phone is not null group by phone having count(*) > 1
        union
        select persons.primary_phone
        from canon.identity_registry as persons
        where persons.primary_phone in (select phone from match_drivers where not is_linked)
    )
    group by drivers.phone_norm having count(*) > %(shared_limit)s
);
update match_drivers set license = null
where license in (
    select drivers.license_norm
    from canon.drivers_index as drivers
    where drivers.vanished_at is null and drivers.license_norm in (
        select license from match_drivers where not is_linked and license is not null
        group by license having count(*) > 1
        union
        select persons.primary_license
        from canon.identity_registry as persons
        where persons.primary_license in (select license from match_drivers where not is_linked)
    )
    group by drivers.license_norm having count(*) > %(shared_limit)s
);

with by_key as (
    select drivers.driver_id, 1 as step, persons.person_key
    from match_drivers as drivers
    inner join canon.identity_registry as persons on persons.primary_phone = drivers.phone -- 1 : n
    where not drivers.is_linked and drivers.may_found_person
        and canon.may_be_one_human(
            drivers.tokens, drivers.license, canon.name_tokens(persons.primary_full_name),
            case when canon.license_is_clean(persons.primary_license) then persons.primary_license end
        )
    union all
    select drivers.driver_id, 2, persons.person_key
    from match_drivers as drivers
    inner join canon.identity_registry as persons on persons.primary_license = drivers.license -- 1 : n
    where not drivers.is_linked and drivers.may_found_person
        and canon.may_be_one_human(
            drivers.tokens, drivers.license, canon.name_tokens(persons.primary_full_name),
            case when canon.license_is_clean(persons.primary_license) then persons.primary_license end
        )
),

first_step as (
    select driver_id, min(step) as step from by_key group by driver_id
),

resolved as (
    select by_key.driver_id, count(*) as persons, (array_agg(by_key.person_key))[1] as person_key
    from by_key
    inner join first_step on first_step.driver_id = by_key.driver_id and first_step.step = by_key.step
    group by by_key.driver_id
)

update match_drivers as drivers
set person_key = resolved.person_key, is_new = false, is_ambiguous = resolved.persons > 1
from resolved
where resolved.driver_id = drivers.driver_id;

-- Nobody becomes the person of a record that refuses him.
update match_drivers as drivers
set person_key = gen_random_uuid(), is_new = true, is_ambiguous = false
from canon.identity_refusals as refusals
inner join canon.identity_links as links -- 1 : 0..1
    on links.source_table = refusals.source_table and links.source_pk = refusals.source_pk
where refusals.driver_id = drivers.driver_id and links.person_key = drivers.person_key and not drivers.is_linked;

create temp table driver_edges on commit drop as
with newcomers as (
    select * from match_drivers where is_new and may_found_person
)

select one.driver_id as one, other.driver_id as other
from newcomers as one
inner join newcomers as other on other.phone = one.phone and other.driver_id <> one.driver_id -- n : n, at most K each
where canon.may_be_one_human(one.tokens, one.license, other.tokens, other.license)
union
select one.driver_id, other.driver_id
from newcomers as one
inner join newcomers as other on other.license = one.license and other.driver_id <> one.driver_id
where canon.may_be_one_human(one.tokens, one.license, other.tokens, other.license)
