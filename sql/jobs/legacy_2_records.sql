-- Which source record a link means: drivers as the index spells them, scouting rows by id (domain.md 3.12, Q1).
-- The predecessor's ingestion made md5 keys of a scouting row: scout, phone, licence and day, normalised its way
-- (domain.md 4.1) and joined. How it joined them and what it wrote for a missing part is not known for certain, so
-- every plausible spelling is tried: parts joined by |, blank | blank, _, - or nothing; a missing part as nothing, as
-- None, or left out. A key counts only when exactly one row gives it in any of these spellings.
update legacy_links
set record_pk = case
        when source_table = 'drivers' then lower(btrim(source_pk))
        when source_table = 'module_ct_scouting_daily' then lower(source_pk)
        else source_pk
    end;

create temp table legacy_keys on commit drop as
with wanted as materialized (
    select distinct record_pk as md5_key from legacy_links
    where source_table = 'module_ct_scouting_daily' and record_pk ~ '^[0-9a-f]{{32}}$'
),

stripped as (
    select
        source_pk,
        coalesce(scout_id::text, '') as scout,
        regexp_replace(payload ->> 'driver_phone', '[\s()+-]', '', 'g') as phone,
        nullif(regexp_replace(upper(payload ->> 'driver_license'), '[\s-]', '', 'g'), '') as license,
        to_char(event_date, 'YYYY-MM-DD') as day
    from canon.stg_scouting_daily
    where exists (select 1 from wanted)
),

-- Materialized: normalised once, not once per spelling.
parts as materialized (
    select source_pk, scout, case when length(phone) >= 8 then phone end as phone, license, day from stripped
),

spelled as (
    -- One row becomes 15 spellings, equal ones among them.
    select
        parts.source_pk,
        md5(concat_ws(
            joins.separator,
            parts.scout, coalesce(parts.phone, missing.part), coalesce(parts.license, missing.part), parts.day
        )) as md5_key
    from parts
    cross join (values ('|'), (' | '), ('_'), ('-'), ('')) as joins (separator)
    cross join (values (''), ('None'), (null)) as missing (part)
)

select
    wanted.md5_key,
    count(distinct spelled.source_pk) as records,
    min(spelled.source_pk) as record_pk
from wanted
left join spelled on spelled.md5_key = wanted.md5_key
group by wanted.md5_key;

update legacy_links as links
set record_pk = keys.record_pk,
    is_mapped = true,
    outcome = case keys.records when 1 then null when 0 then 'unmapped' else 'ambiguous' end
from legacy_keys as keys
where links.source_table = 'module_ct_scouting_daily' and links.record_pk = keys.md5_key;

update legacy_links
set outcome = 'not_a_row'
where outcome is null and source_table in ('module_ct_scouting_daily', 'module_ct_migrations')
    and record_pk !~ '^(0|[1-9][0-9]{{0,18}})$';

create index on legacy_links (source_table, record_pk);
analyze legacy_links
