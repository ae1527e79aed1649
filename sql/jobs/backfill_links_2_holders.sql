-- Rows for which no driver speaks and none is in doubt, and who else holds their usable keys: other rows, leads with
-- an event, persons (domain.md 6.11 (1), Q3, Q76, Q79). Weak, crowded and driver's keys say nothing.
-- Reads numbered, results, reasons, crowded_keys and matched; fills loose, loose_keys, holders and crowds.

create temp table loose on commit drop as
select
    numbered.n, numbered.source_pk, numbered.name_norm, numbered.tokens, numbered.record_digest,
    case when numbered.license_is_clean then numbered.license_norm end as license
from numbered
inner join reasons on reasons.n = numbered.n
where reasons.reason_code in ('NO_CANDIDATES', 'SHARED_IDENTIFIER', 'WEAK_MATCH_ONLY')
    and numbered.snapshot_at is not null;
create index on loose (n);
analyze loose (n);

create temp table loose_keys on commit drop as
select loose.n, keys.kind, keys.key
from loose
inner join numbered on numbered.n = loose.n
cross join lateral (
    values
    ('license', 'R2_LICENSE_EXACT', case when numbered.license_is_clean then numbered.license_norm end),
    ('phone', 'R1_PHONE_EXACT', case when not numbered.phone_is_weak then numbered.phone_norm end)
) as keys (kind, rule, key)
inner join results on results.n = loose.n and results.rule = keys.rule and results.outcome = 'NO_CANDIDATES'
where keys.key is not null
    and not exists (
        select 1 from crowded_keys where crowded_keys.rule = keys.rule and crowded_keys.key = keys.key
    );
create index on loose_keys (kind, key);
analyze loose_keys (n, kind, key);

create temp table holders on commit drop as
with keys as materialized (
    select kind, key from loose_keys group by kind, key
),

-- Rows of this run that are linked already, or undecidable.
others as (
    select
        numbered.phone_norm, numbered.license_norm, numbered.license_is_clean, numbered.name_norm, numbered.tokens,
        matched.person_key
    from numbered
    left join matched on matched.source_pk = numbered.source_pk and matched.person_key is not null
    where not exists (select 1 from loose where loose.n = numbered.n)
),

events as (
    select keys.kind, keys.key, events.person_key, events.name_norm, events.license_norm
    from keys
    inner join observational.lead_events as events on events.license_norm = keys.key -- 1 key : n events
    where keys.kind = 'license'
        and not exists (
            select 1 from numbered
            where numbered.source_table = events.source_table and numbered.source_pk = events.source_pk
        )
    union all
    select keys.kind, keys.key, events.person_key, events.name_norm, events.license_norm
    from keys
    inner join observational.lead_events as events on events.phone_norm = keys.key -- 1 key : n events
    where keys.kind = 'phone'
        and not exists (
            select 1 from numbered
            where numbered.source_table = events.source_table and numbered.source_pk = events.source_pk
        )
),

persons as (
    select keys.kind, keys.key, persons.person_key, persons.primary_full_name, persons.primary_license
    from keys
    inner join canon.identity_registry as persons on persons.primary_license = keys.key -- 1 key : n persons
    where keys.kind = 'license'
    union all
    select keys.kind, keys.key, persons.person_key, persons.primary_full_name, persons.primary_license
    from keys
    inner join canon.identity_registry as persons on persons.primary_phone = keys.key -- 1 key : n persons
    where keys.kind = 'phone'
),

strangers as (
    select keys.kind, keys.key, others.person_key, others.tokens,
        case when others.license_is_clean then others.license_norm end as license
    from keys
    inner join others on others.license_norm = keys.key -- 1 key : n rows
    where keys.kind = 'license'
    union all
    select keys.kind, keys.key, others.person_key, others.tokens,
        case when others.license_is_clean then others.license_norm end
    from keys
    inner join others on others.phone_norm = keys.key -- 1 key : n rows
    where keys.kind = 'phone'
    union all
    select kind, key, person_key, canon.name_tokens(name_norm),
        case when canon.license_is_clean(license_norm) then license_norm end
    from events
    union all
    select kind, key, person_key, canon.name_tokens(canon.normalize_name(primary_full_name)),
        case when canon.license_is_clean(canon.normalize_license(primary_license))
            then canon.normalize_license(primary_license) end
    from persons
)

select loose_keys.kind, loose_keys.key, loose_keys.n, null::uuid as person_key, loose.tokens, loose.license
from loose_keys
inner join loose on loose.n = loose_keys.n
union all
-- A holder counts once per key, however often it is there.
select distinct strangers.kind, strangers.key, null::bigint, strangers.person_key, strangers.tokens, strangers.license
from strangers;
create index on holders (kind, key);
analyze holders (kind, key, n, person_key);

-- Keys with more than one holder, and those of which there are too many to be anybody's own.
create temp table crowds on commit drop as
with shared as materialized (
    select kind, key from holders group by kind, key having count(*) > 1
)

select
    holders.kind,
    holders.key,
    count(distinct holders.n) > %(source_limit)s as is_too_large,
    count(distinct holders.person_key) > %(shared_limit)s
    or count(distinct holders.license) > %(shared_limit)s
    or count(distinct (
        select string_agg(word, ' ' order by word collate "C") from unnest(holders.tokens) as word
    )) > %(shared_limit)s as is_crowded
from holders
inner join shared on shared.kind = holders.kind and shared.key = holders.key
group by holders.kind, holders.key;
create index on crowds (kind, key);
analyze crowds
