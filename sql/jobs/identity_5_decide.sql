-- One round of combining rules (domain.md 5.4): a record links when all its matches are one person, and no rule
-- that found several drivers excludes that person. R3b counts only for a driver that is linked already, so records
-- it speaks for are decided after the others (see r3b_filter), round by round, until no round links anything.
with speaking as (
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

live as (
    select speaking.* from speaking
    where speaking.rule <> 'R3C_PLATE_UNIQUE_NAME_SUBSET' or not exists (
        select 1 from speaking as r3b where r3b.n = speaking.n and r3b.rule = 'R3b'
    )
),

agreed as (
    select n from live group by n having count(*) = 1 or count(distinct person_key) = 1
),

best as (
    select distinct on (live.n) live.*
    from live
    inner join agreed on agreed.n = live.n
    order by live.n, array_position(array[
        'driver_direct', 'R1_PHONE_EXACT', 'R2_LICENSE_EXACT', 'R3_PLATE_EXACT_NAME_SIMILAR',
        'R3C_PLATE_UNIQUE_NAME_SUBSET', 'R4_CAR_FINGERPRINT_NAME_SIMILAR', 'R3b'
    ], live.rule)
),

decided as (
    insert into decisions (n, person_key, driver_id, rule, score, confidence, key, similarity)
    select n, person_key, driver_id, rule, score, confidence, key, similarity
    from best
    where not exists (
        select 1 from results as several
        where several.n = best.n and several.outcome = 'MULTIPLE_CANDIDATES'
            and not exists (
                select 1 from scope_persons
                where scope_persons.n = several.n and scope_persons.rule = several.rule
                    and scope_persons.person_key = best.person_key
            )
    )
    returning driver_id
),

linked as (
    update match_drivers as drivers set is_linked = true
    where drivers.is_r3b and not drivers.is_linked and drivers.driver_id in (select driver_id from decided)
    returning 1
)

select count(*) from decided
