-- What becomes of every row (domain.md 6.11 (1), Q3, Q31, Q76, Q79): a driver's person, a person known by a key, a new
-- person for a key of its own, or nobody. Fills founders (persons to be) and rulings, one row per numbered row; gives
-- the linked ones to the rules of origins under the names these read (identity_8_origins).

create temp table judged on commit drop as
with cluster_persons as (
    select
        clusters.cluster,
        count(distinct known.person_key) as persons,
        min(known.person_key::text)::uuid as person_key
    from clusters
    inner join known on known.n = clusters.n
    group by clusters.cluster
),

sizes as (
    select cluster, count(*) as size from clusters group by cluster
),

-- Rows that are one by a third row, but not by their names.
torn as (
    select one.cluster
    from sizes
    inner join clusters as one on one.cluster = sizes.cluster
    inner join clusters as other on other.cluster = sizes.cluster and other.n > one.n -- n : n, at most the limit each
    inner join loose as one_row on one_row.n = one.n
    inner join loose as other_row on other_row.n = other.n
    where sizes.size between 3 and %(source_limit)s and %(contradiction_blocks)s
        and cardinality(one_row.tokens) >= 2 and cardinality(other_row.tokens) >= 2
        and not canon.names_share_token(one_row.tokens, other_row.tokens)
    group by one.cluster
),

targets as (
    select
        coalesce(cluster_persons.person_key::text, 'cluster ' || sizes.cluster) as target,
        cluster_persons.person_key,
        sum(sizes.size) as size
    from sizes
    left join cluster_persons on cluster_persons.cluster = sizes.cluster
    where coalesce(cluster_persons.persons, 1) = 1
    group by cluster_persons.person_key, coalesce(cluster_persons.person_key::text, 'cluster ' || sizes.cluster)
),

there as (
    select links.person_key, count(*) as records
    from canon.identity_links as links
    where links.person_key in (select targets.person_key from targets)
    group by links.person_key
),

coming as (
    select matched.person_key, count(*) + count(*) filter (where matched.links_driver) as records
    from matched
    where matched.person_key is not null
    group by matched.person_key
),

full_targets as (
    select targets.target
    from targets
    left join there on there.person_key = targets.person_key
    left join coming on coming.person_key = targets.person_key
    where targets.size + coalesce(there.records, 0) + coalesce(coming.records, 0) > %(source_limit)s
),

keys as (
    select
        loose_keys.n,
        bool_or(coalesce(crowds.is_too_large, false)) as is_too_large,
        bool_or(coalesce(crowds.is_crowded, false)) as is_crowded,
        bool_or(contested.key is not null) as is_contested
    from loose_keys
    left join crowds on crowds.kind = loose_keys.kind and crowds.key = loose_keys.key
    left join contested on contested.kind = loose_keys.kind and contested.key = loose_keys.key
    group by loose_keys.n
),

-- By which keys a row is known or known to be its cluster's: a licence says more than a phone.
links_by as (
    select known.n, bool_or(known.by_license) as by_license from known group by known.n
)

select
    loose.n,
    clusters.cluster,
    cluster_persons.person_key,
    coalesce(
        links_by.by_license,
        exists (select 1 from own_keys where own_keys.n = loose.n and own_keys.kind = 'license')
    ) as by_license,
    case
        when cluster_persons.persons > 1 then 'MULTIPLE_CANDIDATES'
        when keys.is_too_large or full_targets.target is not null then 'PERSON_TOO_LARGE'
        when torn.cluster is not null then 'KEY_MATCH_NAME_CONTRADICTS'
        when cluster_persons.persons = 1 then null
        when exists (select 1 from own_keys where own_keys.n = loose.n) then null
        when keys.is_contested then 'KEY_MATCH_NAME_CONTRADICTS'
        when keys.is_crowded then 'SHARED_IDENTIFIER'
        else reasons.reason_code
    end as reason
from loose
inner join clusters on clusters.n = loose.n
inner join reasons on reasons.n = loose.n
left join cluster_persons on cluster_persons.cluster = clusters.cluster
left join full_targets
    on full_targets.target = coalesce(cluster_persons.person_key::text, 'cluster ' || clusters.cluster)
left join torn on torn.cluster = clusters.cluster
left join keys on keys.n = loose.n
left join links_by on links_by.n = loose.n;
create index on judged (n);
analyze judged (n, cluster);

-- New keys go up with the plan, as those of the identity run.
create temp table founders on commit drop as
select
    founded.cluster,
    founded.first_n,
    (
        lpad(to_hex((extract(epoch from now()) * 1000)::bigint + founded.cluster / 16), 12, '0')
        || substr(gen_random_uuid()::text, 15)
    )::uuid as person_key,
    founded.phone,
    founded.license,
    founded.name
from (
    select
        judged.cluster,
        min(judged.n) as first_n,
        (array_agg(own_keys.key order by judged.n) filter (where own_keys.kind = 'phone'))[1] as phone,
        (array_agg(own_keys.key order by judged.n) filter (where own_keys.kind = 'license'))[1] as license,
        (array_agg(loose.name_norm order by judged.n) filter (where loose.name_norm is not null))[1] as name
    from judged
    inner join loose on loose.n = judged.n
    inner join own_keys on own_keys.n = judged.n -- 1 : 1..2
    where judged.reason is null and judged.person_key is null
    group by judged.cluster
) as founded;
create index on founders (cluster);

create temp table rulings on commit drop as
with by_driver as materialized (
    select
        numbered.n,
        matched.person_key,
        matched.is_new_person,
        matched.matched_driver_id,
        matched.confidence_level = 'MEDIUM' as is_weak,
        exists (
            select 1 from results
            where results.n = numbered.n and results.rule = 'R2_LICENSE_EXACT' and results.outcome = 'MATCH'
                and results.driver_id = matched.matched_driver_id
        ) as by_license
    from matched
    inner join numbered on numbered.source_pk = matched.source_pk
    where matched.person_key is not null
),

told as (
    select
        n, person_key, is_new_person, matched_driver_id as driver_id, null::text as reason, by_license, is_weak,
        false as founds, null::bigint as cluster
    from by_driver
    union all
    select
        judged.n, coalesce(judged.person_key, founders.person_key),
        -- The person known may itself be one to be made.
        founders.cluster is not null
        or exists (
            select 1 from by_driver where by_driver.person_key = judged.person_key and by_driver.is_new_person
        ),
        null, judged.reason, judged.by_license, false, founders.cluster is not null, founders.cluster
    from judged
    left join founders on founders.cluster = judged.cluster and judged.reason is null and judged.person_key is null
    union all
    select reasons.n, null, false, null, reasons.reason_code, false, false, false, null
    from reasons
    where not exists (select 1 from judged where judged.n = reasons.n)
)

select
    told.n,
    case when told.reason is null then told.person_key end as person_key,
    told.is_new_person,
    told.driver_id,
    told.cluster,
    told.reason,
    case
        when told.reason is null then 'created'
        when told.reason in ('NO_CANDIDATES', 'MISSING_KEYS', 'INVALID_DATE_FORMAT') then 'not_found'
        else 'ambiguous'
    end as result,
    case
        when told.reason is not null then 'none'
        when told.founds then 'new_person'
        when told.by_license then 'license'
        else 'phone'
    end as method,
    case
        when told.reason is not null then null
        when told.founds then 'BACKFILL_NEW_PERSON'
        when told.by_license then 'BACKFILL_LICENSE_MATCH'
        else 'BACKFILL_PHONE_MATCH'
    end as rule,
    case when told.reason is not null then null when told.founds then 50 when told.by_license then 80 else 70 end
        as score,
    case
        when told.reason is not null then null
        when told.founds then 'LOW'
        when told.by_license and not told.is_weak then 'HIGH'
        else 'MEDIUM'
    end as confidence
from told;
create index on rulings (n);
analyze rulings (n, person_key, result);

drop table decisions, match_drivers, origins;
create temp table decisions on commit drop as
select n, person_key, person_key::text as driver_id, score, confidence from rulings where result = 'created';
create temp table match_drivers on commit drop as
select person_key::text as driver_id, bool_or(is_new_person) as is_new
from rulings
where result = 'created'
group by person_key;
analyze decisions;
analyze match_drivers
