-- Evidence for the orphans: lead records that name them, share a key or carry their person, and whether each suffices
-- (domain.md 9.2, 9.3, Q3, Q49, Q76). Fills the temporary table evidence, one row per driver and record.

create temp table records on commit drop as
select
    row_number() over () as n,
    found.*,
    canon.name_tokens(found.name_norm) as tokens
from canon.lead_evidence as found
where exists (select 1 from orphans) -- without any nothing is read
    and (
        found.named_driver_id in (select driver_id from orphans)
        or found.license_norm in (select license_norm from orphans)
        or found.phone_norm in (select phone_norm from orphans)
        or found.person_key in (select person_key from orphans)
    );
create index on records (source_table, source_pk);
analyze records;

-- Their rows in the feeds: an event whose row has gone is no evidence.
create temp table record_rows on commit drop as
select distinct on (found.n) found.* -- a feed without unique index may hold a record twice
from (
    select
        records.n,
        coalesce(feed.snapshot_at, records.event_date::timestamp at time zone 'America/Lima') as snapshot_at,
        feed.recorded_at, feed.plate_norm, feed.scout_id, feed.record_digest, feed.payload
    from records
    inner join canon.stg_cabinet_leads as feed on feed.source_pk = records.source_pk
    where records.source_table = 'module_ct_cabinet_leads'
    union all
    select
        records.n,
        coalesce(feed.snapshot_at, records.event_date::timestamp at time zone 'America/Lima') as snapshot_at,
        feed.recorded_at, feed.plate_norm, feed.scout_id, feed.record_digest, feed.payload
    from records
    inner join canon.stg_scouting_daily as feed on feed.source_pk = records.source_pk
    where records.source_table = 'module_ct_scouting_daily'
    union all
    select
        records.n,
        coalesce(feed.snapshot_at, records.event_date::timestamp at time zone 'America/Lima') as snapshot_at,
        feed.recorded_at, feed.plate_norm, feed.scout_id, feed.record_digest, feed.payload
    from records
    inner join canon.stg_migrations as feed on feed.source_pk = records.source_pk
    where records.source_table = 'module_ct_migrations'
) as found
order by found.n, found.record_digest;
create index on record_rows (n);
analyze record_rows;

-- Drivers of every key the records carry. Owners: one person with two accounts is one owner.
create temp table key_owners on commit drop as
with keys as (
    select 'license' as kind, license_norm as key from records where license_norm is not null
    union
    select 'phone', phone_norm from records where phone_norm is not null
),

drivers as (
    select keys.kind, keys.key, indexed.driver_id
    from keys
    inner join canon.drivers_index as indexed on indexed.license_norm = keys.key -- 1 key : n drivers
    where keys.kind = 'license'
    union
    select keys.kind, keys.key, indexed.driver_id
    from keys
    inner join canon.drivers_index as indexed on indexed.phone_norm = keys.key -- 1 key : n drivers
    where keys.kind = 'phone'
    union
    select keys.kind, keys.key, orphans.driver_id
    from keys
    inner join known_orphans as orphans on orphans.license_norm = keys.key -- 1 key : n drivers
    where keys.kind = 'license'
    union
    select keys.kind, keys.key, orphans.driver_id
    from keys
    inner join known_orphans as orphans on orphans.phone_norm = keys.key -- 1 key : n drivers
    where keys.kind = 'phone'
),

owned as (
    select
        drivers.kind,
        drivers.key,
        drivers.driver_id,
        coalesce(links.person_key::text, drivers.driver_id) as owner
    from drivers
    left join canon.identity_links as links -- 1 driver : 0..1 links
        on links.source_table = 'drivers' and links.source_pk = drivers.driver_id
),

-- A key under many names is nobody's own, however few drivers have it.
crowded as (
    select kind, key
    from (
        select 'license' as kind, license_norm as key, canon.name_key(name_norm) as name from records
        union all
        select 'phone', phone_norm, canon.name_key(name_norm) from records
    ) as named
    where key is not null and name is not null
    group by kind, key
    having count(distinct name) > %(shared_limit)s
)

select
    owned.kind,
    owned.key,
    count(*) > %(shared_limit)s or bool_or(crowded.key is not null) as is_junk,
    count(distinct owned.owner) > 1 as is_ambiguous,
    min(owned.owner) as owner,
    array_agg(owned.driver_id) as driver_ids
from owned
left join crowded on crowded.kind = owned.kind and crowded.key = owned.key
group by owned.kind, owned.key;
create index on key_owners (key, kind);
analyze key_owners;

create temp table evidence on commit drop as
with claims as (
    select n, driver_id, 1 as level, false as by_license, false as by_phone, false as is_ambiguous, false as is_weak
    from records
    inner join orphans on orphans.driver_id = records.named_driver_id
    union all
    select
        records.n, orphans.driver_id, 2, true, false, key_owners.is_ambiguous,
        not canon.license_is_clean(records.license_norm)
    from records
    inner join orphans on orphans.license_norm = records.license_norm -- n records : n drivers, junk keys left out
    inner join key_owners on key_owners.kind = 'license' and key_owners.key = records.license_norm
    where not key_owners.is_junk
    union all
    select
        records.n, orphans.driver_id, 2, false, true, key_owners.is_ambiguous,
        records.phone_is_weak or orphans.phone_is_weak
    from records
    inner join orphans on orphans.phone_norm = records.phone_norm -- n records : n drivers, junk keys left out
    inner join key_owners on key_owners.kind = 'phone' and key_owners.key = records.phone_norm
    where not key_owners.is_junk
    union all
    select records.n, orphans.driver_id, 3, false, false, false, false
    from records
    inner join orphans on orphans.person_key = records.person_key -- n records : n drivers of the person
),

claimed as (
    select
        n,
        driver_id,
        min(level) as level,
        bool_or(by_license) as by_license,
        bool_or(by_phone) as by_phone,
        -- Keys that may speak: one owner only.
        bool_or(level = 2 and not is_ambiguous) as has_own_key,
        bool_or(level = 2 and not is_ambiguous and not is_weak) as has_strong_key
    from claims
    group by n, driver_id
),

-- The record's other key leads to a driver of somebody else, whose name does not contradict.
of_others as (
    select claimed.n, claimed.driver_id
    from claimed
    inner join records on records.n = claimed.n
    inner join orphans on orphans.driver_id = claimed.driver_id
    cross join lateral (
        values ('license', records.license_norm), ('phone', records.phone_norm)
    ) as keys (kind, key)
    inner join key_owners on key_owners.kind = keys.kind and key_owners.key = keys.key
    where claimed.level = 2 and not key_owners.is_junk and not key_owners.is_ambiguous
        and key_owners.owner <> orphans.person_key::text
        and exists (
            select 1 from unnest(key_owners.driver_ids) as others (driver_id)
            left join canon.drivers_index as indexed on indexed.driver_id = others.driver_id -- 1 : 0..1
            where cardinality(records.tokens) < 2 or coalesce(cardinality(indexed.name_tokens), 0) < 2
                or canon.names_share_token(records.tokens, indexed.name_tokens)
        )
),

judged as (
    select
        claimed.*,
        records.event_id,
        records.source_table,
        records.source_pk,
        records.event_date,
        records.license_norm,
        records.phone_norm,
        orphans.person_key,
        coalesce(links.person_key, records.person_key) as record_person,
        case
            when coalesce(links.person_key, records.person_key) <> orphans.person_key then 'linked_to_other_person'
            when record_rows.n is null then 'source_row_missing'
            when unmatched.status = 'IGNORED' then 'set_aside'
            when exists (
                    select 1 from canon.refused_matches as refusals
                    where refusals.source_table = records.source_table and refusals.source_pk = records.source_pk
                        and refusals.person_key = orphans.person_key
                ) then 'refused'
            when claimed.level = 1 then 'used'
            when records.named_driver_id is not null
                and coalesce(named.person_key::text, records.named_driver_id) <> orphans.person_key::text
                then 'names_another_driver'
            when claimed.level = 3 then case
                -- The driver was linked because of this record: not the other way round.
                when %(weak_repairs)s and orphans.evidence ->> 'lead_source_table' = records.source_table
                    and orphans.evidence ->> 'lead_source_pk' = records.source_pk then 'used'
                else 'person_only'
            end
            when %(contradiction_blocks)s and cardinality(records.tokens) >= 2 and cardinality(orphans.tokens) >= 2
                and not canon.names_share_token(records.tokens, orphans.tokens) then 'name_contradicts'
            when not claimed.has_own_key then 'ambiguous_key'
            when not (claimed.has_strong_key and records.source_table <> 'module_ct_cabinet_leads')
                and not canon.names_share_token(records.tokens, orphans.tokens) then 'name_contradicts'
            when of_others.n is not null then 'names_another_driver'
            else 'used'
        end as outcome
    from claimed
    inner join records on records.n = claimed.n
    inner join orphans on orphans.driver_id = claimed.driver_id
    left join record_rows on record_rows.n = claimed.n
    left join of_others on of_others.n = claimed.n and of_others.driver_id = claimed.driver_id
    left join canon.identity_links as links -- 1 record : 0..1 links
        on links.source_table = records.source_table and links.source_pk = records.source_pk
    left join canon.identity_unmatched as unmatched -- 1 record : 0..1 rows
        on unmatched.source_table = records.source_table and unmatched.source_pk = records.source_pk
    left join canon.identity_links as named -- 1 record : 0..1 links
        on named.source_table = 'drivers' and named.source_pk = records.named_driver_id
)

select
    judged.*,
    case
        when judged.level = 1 then 'driver_id_direct'
        when judged.level = 3 then 'person_key_match'
        when judged.by_license and judged.by_phone then 'both_exact'
        when judged.by_license then 'license_exact'
        else 'phone_exact'
    end as match_strategy
from judged;
create index on evidence (driver_id);
analyze evidence;

-- A person takes records up to the limit, the strongest and newest first (F24).
with chosen as (
    select
        evidence.person_key,
        evidence.n,
        row_number() over (
            partition by evidence.person_key
            order by
                min(evidence.level), evidence.event_date desc, evidence.event_id desc nulls last,
                evidence.source_table collate "C", evidence.source_pk collate "C"
        ) as place
    from evidence
    where evidence.outcome = 'used'
    group by
        evidence.person_key, evidence.n, evidence.event_date, evidence.event_id, evidence.source_table,
        evidence.source_pk
),

room as (
    select links.person_key, %(source_limit)s - count(*) as records
    from canon.identity_links as links
    where links.person_key in (select person_key from chosen)
    group by links.person_key
)

update evidence
set outcome = 'person_is_full'
from chosen
inner join room on room.person_key = chosen.person_key
where chosen.place > room.records and evidence.n = chosen.n and evidence.person_key = chosen.person_key
    and evidence.outcome = 'used'
