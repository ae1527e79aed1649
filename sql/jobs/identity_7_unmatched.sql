-- Why the others did not link: the most informative reason of all rules (Q7), all outcomes in the details, and up
-- to three candidates with what each lacked (domain.md 5.4, 5.5).
create temp table unlinked on commit drop as
select numbered.n
from numbered
where not exists (select 1 from decisions where decisions.n = numbered.n);
create index on unlinked (n);
analyze unlinked;

-- The first three drivers of every key that has several.
create temp table crowd_heads on commit drop as
with crowds as materialized (
    select several.rule, several.key, key_drivers.refusing, key_drivers.in_park
    from results as several
    inner join key_drivers
        on key_drivers.rule = several.rule and key_drivers.key = several.key
            and key_drivers.refusing
            = coalesce((select refused.n from refused where refused.n = several.n limit 1), 0)
    where several.outcome = 'MULTIPLE_CANDIDATES' and several.scope_drivers > 1
    group by several.rule, several.key, key_drivers.refusing, key_drivers.in_park
),

crowd_drivers as (
    select crowds.rule, crowds.key, crowds.refusing, drivers.driver_id
    from crowds
    inner join canon.drivers_index as drivers on drivers.phone_norm = crowds.key -- 1 key : n drivers
    where crowds.rule = 'R1_PHONE_EXACT' and drivers.vanished_at is null
        and (not crowds.in_park or drivers.park_id = %(park)s)
    union all
    select crowds.rule, crowds.key, crowds.refusing, drivers.driver_id
    from crowds
    inner join canon.drivers_index as drivers on drivers.license_norm = crowds.key -- 1 key : n drivers
    where crowds.rule = 'R2_LICENSE_EXACT' and drivers.vanished_at is null
        and (not crowds.in_park or drivers.park_id = %(park)s)
)

select rule, key, refusing, driver_id
from (
    select
        crowd_drivers.*,
        row_number() over (partition by rule, key, refusing order by driver_id collate "C") as place
    from crowd_drivers
    where refusing = 0
        or not exists (
            select 1 from refused
            where refused.n = crowd_drivers.refusing and refused.driver_id = crowd_drivers.driver_id
        )
) as placed
where place <= 3;
create index on crowd_heads (key, rule);
analyze crowd_heads;

create temp table candidates_seen on commit drop as
with ordered as (
    -- Several drivers with the key: the first three of them.
    select
        several.n, several.rule, heads.driver_id, several.score, null::double precision as similarity,
        'unique_key' as lacked
    from results as several
    inner join unlinked on unlinked.n = several.n
    inner join crowd_heads as heads -- 1 : up to 3
        on heads.rule = several.rule and heads.key = several.key
            and heads.refusing = coalesce((select refused.n from refused where refused.n = several.n limit 1), 0)
    where several.outcome = 'MULTIPLE_CANDIDATES' and several.scope_drivers > 1
    union all
    -- One driver, something against it.
    select
        alone.n, alone.rule, alone.driver_id, alone.score, alone.similarity,
        case
            when too_large.n is not null then 'room_in_person'
            when alone.outcome = 'MATCH' and alone.rule = 'R3b' then 'person_of_driver'
            when alone.outcome = 'MATCH' or alone.outcome = 'MULTIPLE_CANDIDATES' then 'agreement_of_rules'
            when alone.outcome = 'KEY_MATCH_NAME_CONTRADICTS' then 'agreeing_name'
            when alone.outcome = 'SHARED_IDENTIFIER' then 'key_of_its_own'
            else 'agreeing_name'
        end
    from results as alone
    inner join unlinked on unlinked.n = alone.n
    left join too_large on too_large.n = alone.n
    where alone.driver_id is not null
        and alone.rule not in ('R3_PLATE_EXACT_NAME_SIMILAR', 'R4_CAR_FINGERPRINT_NAME_SIMILAR')
        and not (alone.rule = 'R3b' and alone.outcome <> 'MATCH')
    union all
    -- Similar names in the block.
    select
        named.n, named.rule, pairs.driver_id, named.score, pairs.similarity,
        case
            when named.outcome = 'MATCH' then 'agreement_of_rules'
            when pairs.similarity < %(threshold)s - 1e-9 then 'similar_name'
            else 'clear_lead'
        end
    from results as named
    inner join unlinked on unlinked.n = named.n
    inner join block_rules as rules on rules.n = named.n and rules.rule = named.rule
    inner join name_pairs as pairs on pairs.n = named.n and pairs.kind = rules.kind
    where named.outcome <> 'NO_CANDIDATES' and not (named.rule = 'R3b' and named.outcome = 'MATCH')
),

ranked as (
    select
        ordered.*,
        row_number() over (
            partition by ordered.n
            order by coalesce(ordered.similarity, 1) desc, ordered.rule collate "C", ordered.driver_id collate "C"
        ) as place
    from ordered
)

select
    ranked.n,
    jsonb_agg(
        jsonb_strip_nulls(jsonb_build_object(
            'driver_id', ranked.driver_id,
            'person_key', links.person_key,
            'rule', ranked.rule,
            'score', ranked.score,
            'similarity', round(ranked.similarity::numeric, 4),
            'lacked', ranked.lacked
        )) order by ranked.place
    ) as candidates
from ranked
left join canon.identity_links as links
    on links.source_table = 'drivers' and links.source_pk = ranked.driver_id
where ranked.place <= 3
group by ranked.n;
create index on candidates_seen (n);
analyze candidates_seen;

create temp table reasons on commit drop as
select
    unlinked.n,
    case
        when too_large.n is not null then 'PERSON_TOO_LARGE'
        when found.n is null then 'MISSING_KEYS'
        when found.is_live then 'MULTIPLE_CANDIDATES'
        else (array[
            'MULTIPLE_CANDIDATES', 'KEY_MATCH_NAME_CONTRADICTS', 'SHARED_IDENTIFIER', 'WEAK_MATCH_ONLY',
            'NO_PERSON_KEY', 'NO_CANDIDATES'
        ])[found.best]
    end as reason_code,
    found.rules
from unlinked
left join too_large on too_large.n = unlinked.n
left join (
    select
        results.n,
        bool_or(results.outcome = 'MATCH' and (results.rule <> 'R3b' or drivers.is_linked)) as is_live,
        min(case results.outcome
            when 'MULTIPLE_CANDIDATES' then 1
            when 'KEY_MATCH_NAME_CONTRADICTS' then 2
            when 'SHARED_IDENTIFIER' then 3
            when 'WEAK_MATCH_ONLY' then 4
            when 'MATCH' then 5
            when 'NO_CANDIDATES' then 6
        end) as best,
        jsonb_object_agg(
            results.rule,
            case
                when results.outcome = 'MATCH' and results.rule = 'R3b' then 'NO_PERSON_KEY' else results.outcome
            end
        ) as rules
    from results
    inner join unlinked on unlinked.n = results.n
    left join match_drivers as drivers on drivers.driver_id = results.driver_id
    group by results.n
) as found on found.n = unlinked.n;
create index on reasons (n);
analyze reasons
