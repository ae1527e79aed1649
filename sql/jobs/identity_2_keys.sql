-- Rules R1 (phone) and R2 (licence): one pass over all candidates (domain.md 5.2, Q2, Q76, F24).
-- Also direct links of migrations (Q9). Fills results(n, rule, outcome, ...).

create temp table candidate_keys on commit drop as
select n, 'R1_PHONE_EXACT' as rule, phone_norm as key, phone_is_weak as is_weak, tokens, 0::bigint as refusing
from numbered where phone_norm is not null and snapshot_at is not null
union all
select n, 'R2_LICENSE_EXACT', license_norm, not license_is_clean, tokens, 0
from numbered where license_norm is not null and snapshot_at is not null;
-- A key of a record that refuses somebody is looked at for that record alone.
update candidate_keys set refusing = n where n in (select refused.n from refused);
analyze candidate_keys (n, rule, key, refusing);

-- Drivers of each key: the objective park first, other parks only when it has none.
create temp table key_drivers on commit drop as
with keys as (
    select rule, key, refusing from candidate_keys group by rule, key, refusing
),

found as (
    select
        keys.rule, keys.key, keys.refusing, drivers.driver_id,
        drivers.park_id is not distinct from %(park)s as in_park
    from keys
    inner join canon.drivers_index as drivers on drivers.phone_norm = keys.key -- 1 key : n drivers
    where keys.rule = 'R1_PHONE_EXACT' and drivers.vanished_at is null
    union all
    select keys.rule, keys.key, keys.refusing, drivers.driver_id, drivers.park_id is not distinct from %(park)s
    from keys
    inner join canon.drivers_index as drivers on drivers.license_norm = keys.key -- 1 key : n drivers
    where keys.rule = 'R2_LICENSE_EXACT' and drivers.vanished_at is null
)

select
    rule,
    key,
    refusing,
    count(*) as drivers,
    bool_or(in_park) as in_park,
    case when bool_or(in_park) then count(*) filter (where in_park) else count(*) end as scope_drivers,
    case
        when bool_or(in_park) then min(driver_id collate "C") filter (where in_park)
        else min(driver_id collate "C")
    end as driver_id
from found
where refusing = 0
    or not exists (
        select 1 from refused where refused.n = found.refusing and refused.driver_id = found.driver_id
    )
group by rule, key, refusing;

-- Keys that leads give under more than K different names: nobody's in particular.
create temp table crowded_keys on commit drop as
with lead_names as (
    select 'R1_PHONE_EXACT' as rule, phone_norm as key, name_norm
    from numbered where phone_norm is not null and name_norm is not null
    union all
    select 'R2_LICENSE_EXACT', license_norm, name_norm
    from numbered where license_norm is not null and name_norm is not null
    union all
    select 'R1_PHONE_EXACT', events.phone_norm, events.name_norm
    from observational.lead_events as events
    where events.name_norm is not null
        and events.phone_norm in (select key from candidate_keys where rule = 'R1_PHONE_EXACT')
        and not exists (
            select 1 from numbered
            where numbered.source_table = events.source_table and numbered.source_pk = events.source_pk
        )
    union all
    select 'R2_LICENSE_EXACT', events.license_norm, events.name_norm
    from observational.lead_events as events
    where events.name_norm is not null
        and events.license_norm in (select key from candidate_keys where rule = 'R2_LICENSE_EXACT')
        and not exists (
            select 1 from numbered
            where numbered.source_table = events.source_table and numbered.source_pk = events.source_pk
        )
),

frequent as (
    select rule, key from lead_names group by rule, key having count(*) > %(shared_limit)s
)

select lead_names.rule, lead_names.key, count(distinct canon.name_key(lead_names.name_norm)) as names
from lead_names
inner join frequent on frequent.rule = lead_names.rule and frequent.key = lead_names.key
group by lead_names.rule, lead_names.key
having count(distinct canon.name_key(lead_names.name_norm)) > %(shared_limit)s;
analyze key_drivers;
analyze crowded_keys;

insert into results (n, rule, outcome, score, confidence, driver_id, key, similarity, scope_drivers)
select
    keys.n,
    keys.rule,
    case
        when key_drivers.key is null then 'NO_CANDIDATES'
        when key_drivers.scope_drivers > 1 then 'MULTIPLE_CANDIDATES'
        when key_drivers.drivers > %(shared_limit)s or crowded_keys.key is not null then 'SHARED_IDENTIFIER'
        when %(contradiction_blocks)s and cardinality(keys.tokens) >= 2 and cardinality(drivers.name_tokens) >= 2
            and not canon.names_share_token(keys.tokens, drivers.name_tokens) then 'KEY_MATCH_NAME_CONTRADICTS'
        when (keys.is_weak or (keys.rule = 'R1_PHONE_EXACT' and drivers.phone_is_weak))
            and not canon.names_share_token(keys.tokens, drivers.name_tokens) then 'WEAK_MATCH_ONLY'
        else 'MATCH'
    end,
    case keys.rule when 'R1_PHONE_EXACT' then 95 else 92 end,
    case
        when keys.is_weak or (keys.rule = 'R1_PHONE_EXACT' and drivers.phone_is_weak) then 'MEDIUM'
        else 'HIGH'
    end,
    case when key_drivers.scope_drivers = 1 then key_drivers.driver_id end,
    keys.key,
    null,
    key_drivers.scope_drivers
from candidate_keys as keys
left join key_drivers
    on key_drivers.rule = keys.rule and key_drivers.key = keys.key and key_drivers.refusing = keys.refusing
left join crowded_keys on crowded_keys.rule = keys.rule and crowded_keys.key = keys.key
left join canon.drivers_index as drivers
    on drivers.driver_id = key_drivers.driver_id and key_drivers.scope_drivers = 1;

insert into results (n, rule, outcome, score, confidence, driver_id, key)
select
    numbered.n,
    'driver_direct',
    case when drivers.driver_id is null then 'NO_CANDIDATES' else 'MATCH' end,
    100,
    'HIGH',
    drivers.driver_id,
    numbered.driver_id
from numbered
left join canon.drivers_index as drivers
    on drivers.driver_id = numbered.driver_id and drivers.vanished_at is null
        and not exists (
            select 1 from refused where refused.n = numbered.n and refused.driver_id = numbered.driver_id
        )
where numbered.driver_id is not null and numbered.snapshot_at is not null
