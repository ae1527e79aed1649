-- For records where one rule finds several drivers and another finds one: the persons the first allows.
create temp table scope_persons on commit drop as
select several.n, several.rule, known.person_key
from results as several
inner join key_drivers
    on key_drivers.rule = several.rule and key_drivers.key = several.key
        and key_drivers.refusing = coalesce((select refused.n from refused where refused.n = several.n limit 1), 0)
inner join canon.drivers_index as scope
    on ((several.rule = 'R1_PHONE_EXACT' and scope.phone_norm = several.key)
            or (several.rule = 'R2_LICENSE_EXACT' and scope.license_norm = several.key))
        and (not key_drivers.in_park or scope.park_id = %(park)s)
inner join match_drivers as known on known.driver_id = scope.driver_id
where several.outcome = 'MULTIPLE_CANDIDATES' and scope.vanished_at is null and not known.is_ambiguous
    and exists (select 1 from results as other where other.n = several.n and other.outcome = 'MATCH')
union all
select several.n, several.rule, known.person_key
from results as several
inner join block_rules as rules on rules.n = several.n and rules.rule = several.rule
inner join name_pairs as pairs
    on pairs.n = several.n and pairs.kind = rules.kind and pairs.similarity >= %(join_bound)s - 1e-9
        and (rules.rule = 'R3b' or pairs.hire_date is null
            or pairs.hire_date between rules.hired_from and rules.hired_to)
inner join match_drivers as known on known.driver_id = pairs.driver_id
where several.outcome = 'MULTIPLE_CANDIDATES' and not known.is_ambiguous
    and exists (select 1 from results as other where other.n = several.n and other.outcome = 'MATCH');
create index on scope_persons (n, rule);
analyze scope_persons;

create temp table decisions (
    n bigint not null, person_key uuid not null, driver_id text not null, rule text not null,
    score integer not null, confidence text not null, key text, similarity double precision
) on commit drop
