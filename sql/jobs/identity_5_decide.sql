-- One round of combining rules (domain.md 5.4): a record links when all its matches are one person, and no rule
-- that found several drivers excludes that person. R3b counts only for a driver that is linked already, so records
-- it speaks for are decided after the others (see r3b_filter), round by round, until no round links anything.
with speaking as materialized (
    select
        results.n, results.rule, results.score, results.confidence, results.driver_id, results.key,
        results.similarity, drivers.person_key
    from results
    inner join match_drivers as drivers on drivers.driver_id = results.driver_id
    where results.outcome = 'MATCH' and (results.rule <> 'R3b' or drivers.is_linked)
        and {r3b_filter} (
            select 1 from results as late
            where late.n = results.n and late.rule = 'R3b' and late.outcome = 'MATCH'
        )
        and not exists (select 1 from decisions where decisions.n = results.n)
),

-- R3c speaks only where R3b does not.
silent as (
    select n from speaking where rule = 'R3b'
),

disagreeing as (
    select one.n
    from speaking as one
    inner join speaking as other on other.n = one.n and other.person_key <> one.person_key -- n : n, few
    where one.rule <> 'R3C_PLATE_UNIQUE_NAME_SUBSET' or one.n not in (select n from silent)
),

best as materialized (
    select distinct on (speaking.n) speaking.*
    from speaking
    where not exists (select 1 from disagreeing where disagreeing.n = speaking.n)
        and not (
            speaking.rule = 'R3C_PLATE_UNIQUE_NAME_SUBSET'
            and exists (select 1 from silent where silent.n = speaking.n)
        )
    order by speaking.n, array_position(array[
        'driver_direct', 'R1_PHONE_EXACT', 'R2_LICENSE_EXACT', 'R3_PLATE_EXACT_NAME_SIMILAR',
        'R3C_PLATE_UNIQUE_NAME_SUBSET', 'R4_CAR_FINGERPRINT_NAME_SIMILAR', 'R3b'
    ], speaking.rule)
),

vetoed as (
    select best.n
    from results as several
    inner join best on best.n = several.n
    where several.outcome = 'MULTIPLE_CANDIDATES'
        and not exists (
            select 1 from scope_persons
            where scope_persons.n = several.n and scope_persons.rule = several.rule
                and scope_persons.person_key = best.person_key
        )
)

insert into decisions (n, person_key, driver_id, rule, score, confidence, key, similarity)
select n, person_key, driver_id, rule, score, confidence, key, similarity
from best
where not exists (select 1 from vetoed where vetoed.n = best.n)
