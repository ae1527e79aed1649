-- Rules R3, R3b, R3c (equal plate) and R4 (equal car): similar names within a block (domain.md 5.2, Q5, Q6).
-- Big blocks (a popular car, a placeholder plate) are not compared pair by pair: two names as similar as the
-- join bound must share one of their rarest words, so only such pairs are looked at. Exact (tests/property).

create temp table block_leads on commit drop as
select
    n, 'plate' as kind, plate_norm as block, tokens,
    (snapshot_at at time zone 'America/Lima')::date - %(days_before)s as hired_from,
    (snapshot_at at time zone 'America/Lima')::date + %(days_after)s as hired_to
from numbered where plate_norm is not null and tokens <> '{{}}' and snapshot_at is not null
union all
select
    n, 'car', brand_norm || '|' || model_norm, tokens,
    (snapshot_at at time zone 'America/Lima')::date - 30,
    (snapshot_at at time zone 'America/Lima')::date + 7
from numbered where brand_norm is not null and model_norm is not null and tokens <> '{{}}' and snapshot_at is not null;
analyze block_leads (n, kind, block);

create temp table block_drivers on commit drop as
select 'plate' as kind, drivers.plate_norm as block, drivers.driver_id, drivers.name_tokens as tokens, drivers.hire_date
from canon.drivers_index as drivers
where drivers.park_id = %(park)s and drivers.vanished_at is null
    and drivers.plate_norm in (select block from block_leads where kind = 'plate')
union all
select 'car', drivers.brand_norm || '|' || drivers.model_norm, drivers.driver_id, drivers.name_tokens, drivers.hire_date
from canon.drivers_index as drivers
where drivers.park_id = %(park)s and drivers.vanished_at is null
    and drivers.brand_norm || '|' || drivers.model_norm in (select block from block_leads where kind = 'car');
create index on block_drivers (kind, block, hire_date);
analyze block_drivers (kind, block, driver_id, hire_date);

create temp table blocks on commit drop as
select kind, block, count(*) as drivers, count(*) > %(small_block)s as is_big
from block_drivers
group by kind, block;
analyze blocks;

create temp table name_pairs on commit drop as
with small_pairs as (
    select leads.n, leads.kind, drivers.driver_id, leads.tokens as lead_tokens, drivers.tokens, drivers.hire_date
    from block_leads as leads
    inner join blocks on blocks.kind = leads.kind and blocks.block = leads.block and not blocks.is_big
    inner join block_drivers as drivers on drivers.kind = leads.kind and drivers.block = leads.block -- 1 : n
),

big_drivers as (
    select drivers.*
    from block_drivers as drivers
    inner join blocks on blocks.kind = drivers.kind and blocks.block = drivers.block and blocks.is_big
),

big_leads as (
    select leads.*
    from block_leads as leads
    inner join blocks on blocks.kind = leads.kind and blocks.block = leads.block and blocks.is_big
),

frequencies as materialized (
    select kind, block, word, count(*) as frequency
    from big_drivers cross join unnest(tokens) as word
    group by kind, block, word
),

-- Similarity s needs at least s * (number of words) common words on either side, so of each name only the
-- first words by rarity, one more than may be missing, can decide whether any word is common.
lead_prefixes as (
    select n, kind, block, word
    from (
        select
            leads.n, leads.kind, leads.block, token as word, cardinality(leads.tokens) as words,
            row_number() over (
                partition by leads.n, leads.kind order by coalesce(frequencies.frequency, 0), token collate "C"
            ) as rarity
        from big_leads as leads
        cross join unnest(leads.tokens) as token
        left join frequencies
            on frequencies.kind = leads.kind and frequencies.block = leads.block and frequencies.word = token
    ) as ranked
    where rarity <= words - ceil(%(join_bound)s * words - 1e-9) + 1
),

driver_prefixes as (
    select driver_id, kind, block, word
    from (
        select
            drivers.driver_id, drivers.kind, drivers.block, token as word, cardinality(drivers.tokens) as words,
            row_number() over (
                partition by drivers.driver_id, drivers.kind order by frequencies.frequency, token collate "C"
            ) as rarity
        from big_drivers as drivers
        cross join unnest(drivers.tokens) as token
        inner join frequencies
            on frequencies.kind = drivers.kind and frequencies.block = drivers.block and frequencies.word = token
    ) as ranked
    where rarity <= words - ceil(%(join_bound)s * words - 1e-9) + 1
),

big_pairs as (
    -- Two names may meet in several rare words: one pair.
    select lead_prefixes.n, lead_prefixes.kind, driver_prefixes.driver_id
    from lead_prefixes
    inner join driver_prefixes
        on driver_prefixes.kind = lead_prefixes.kind
            and driver_prefixes.block = lead_prefixes.block
            and driver_prefixes.word = lead_prefixes.word
    group by lead_prefixes.n, lead_prefixes.kind, driver_prefixes.driver_id
),

pairs as (
    select * from small_pairs
    union all
    select big_pairs.n, big_pairs.kind, big_pairs.driver_id, big_leads.tokens, big_drivers.tokens, big_drivers.hire_date
    from big_pairs
    inner join big_leads on big_leads.n = big_pairs.n and big_leads.kind = big_pairs.kind
    inner join big_drivers on big_drivers.driver_id = big_pairs.driver_id and big_drivers.kind = big_pairs.kind
)

select
    n, kind, driver_id, hire_date,
    case
        when cardinality(lead_tokens) < 2 or cardinality(tokens) < 2 then 0 -- one word names nobody (F24)
        else canon.name_similarity(lead_tokens, tokens)
    end as similarity
from pairs;
delete from name_pairs using refused where refused.n = name_pairs.n and refused.driver_id = name_pairs.driver_id;
analyze name_pairs;

-- Which rule speaks for a lead: R3 (or R4) when a driver of the block was hired in time, else R3b.
create temp table block_rules on commit drop as
with in_time as (
    select pairs.n, pairs.kind
    from name_pairs as pairs
    inner join block_leads as leads on leads.n = pairs.n and leads.kind = pairs.kind
    where pairs.hire_date is null or pairs.hire_date between leads.hired_from and leads.hired_to
    group by pairs.n, pairs.kind
)

select
    leads.n, leads.kind, leads.block, leads.hired_from, leads.hired_to, blocks.drivers,
    case
        when leads.kind = 'car' then 'R4_CAR_FINGERPRINT_NAME_SIMILAR'
        when in_time.n is not null then 'R3_PLATE_EXACT_NAME_SIMILAR'
        -- Of a big block name_pairs holds only the similar names.
        when blocks.is_big and (exists (
                select 1 from block_drivers as drivers
                where drivers.kind = leads.kind and drivers.block = leads.block
                    and drivers.hire_date between leads.hired_from and leads.hired_to
            ) or exists (
                select 1 from block_drivers as drivers
                where drivers.kind = leads.kind and drivers.block = leads.block and drivers.hire_date is null
            )) then 'R3_PLATE_EXACT_NAME_SIMILAR'
        else 'R3b'
    end as rule
from block_leads as leads
left join blocks on blocks.kind = leads.kind and blocks.block = leads.block
left join in_time on in_time.n = leads.n and in_time.kind = leads.kind;
update block_rules as rules
set drivers = nullif(rules.drivers - gone.drivers, 0)
from (
    select refused.n, drivers.kind, drivers.block, count(*) as drivers
    from refused
    inner join block_drivers as drivers on drivers.driver_id = refused.driver_id -- 1 : 0..2
    group by refused.n, drivers.kind, drivers.block
) as gone
where gone.n = rules.n and gone.kind = rules.kind and gone.block = rules.block;
analyze block_rules;

insert into results (n, rule, outcome, score, confidence, driver_id, key, similarity, second_similarity, scope_drivers)
with ranked as (
    select
        rules.n, rules.rule, pairs.driver_id, pairs.similarity,
        row_number() over best_first as place,
        lead(pairs.similarity) over best_first as second_similarity
    from block_rules as rules
    inner join name_pairs as pairs on pairs.n = rules.n and pairs.kind = rules.kind -- 1 : n
    where rules.rule = 'R3b' or pairs.hire_date is null or pairs.hire_date between rules.hired_from and rules.hired_to
    window best_first as (
        partition by rules.n, rules.rule order by pairs.similarity desc, pairs.driver_id collate "C"
    )
)

select
    rules.n,
    rules.rule,
    case
        when rules.drivers is null then 'NO_CANDIDATES'
        when rules.kind = 'car' and best.n is null and not exists (
            select 1 from block_drivers as drivers
            where drivers.kind = rules.kind and drivers.block = rules.block
                and (drivers.hire_date is null or drivers.hire_date between rules.hired_from and rules.hired_to)
        ) then 'NO_CANDIDATES'
        when coalesce(best.similarity, 0) < %(threshold)s - 1e-9 then 'WEAK_MATCH_ONLY'
        when best.similarity - coalesce(best.second_similarity, 0) < %(gap)s - 1e-9 then 'MULTIPLE_CANDIDATES'
        else 'MATCH'
    end,
    case rules.rule
        when 'R3_PLATE_EXACT_NAME_SIMILAR' then 85
        when 'R4_CAR_FINGERPRINT_NAME_SIMILAR' then 75
        else floor(best.similarity * 100 + 1e-9)::int
    end,
    case rules.kind when 'car' then 'LOW' else 'MEDIUM' end,
    best.driver_id,
    rules.block,
    best.similarity,
    best.second_similarity,
    rules.drivers
from block_rules as rules
left join ranked as best on best.n = rules.n and best.rule = rules.rule and best.place = 1;

-- R3c (Q5), an option: the plate has one driver in the park and the shorter name lies within the longer one. It speaks
-- where R3 and R3b do not; an R3b match does only for a driver who is linked, which is known when rules are combined.
insert into results (n, rule, outcome, score, confidence, driver_id, key, similarity, scope_drivers)
select
    rules.n, 'R3C_PLATE_UNIQUE_NAME_SUBSET', 'MATCH', 80, 'MEDIUM', drivers.driver_id, rules.block,
    canon.name_similarity(leads.tokens, drivers.tokens), 1
from block_rules as rules
inner join results
    on results.n = rules.n and results.rule = rules.rule and (results.outcome <> 'MATCH' or results.rule = 'R3b')
inner join block_leads as leads on leads.n = rules.n and leads.kind = rules.kind
inner join block_drivers as drivers on drivers.kind = rules.kind and drivers.block = rules.block
where %(r3c_enabled)s and rules.kind = 'plate' and rules.drivers = 1
    and least(cardinality(leads.tokens), cardinality(drivers.tokens)) >= 2
    and (leads.tokens <@ drivers.tokens or drivers.tokens <@ leads.tokens)
    and not exists (select 1 from refused where refused.n = rules.n and refused.driver_id = drivers.driver_id)
