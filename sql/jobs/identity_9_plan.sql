-- The plan: one row per candidate with what will be written for it. Rows of one person share group_no, so that a
-- chunk never cuts a person in two. The first row of a person carries what concerns the person as a whole.
create table {plan} as
with placed as (
    select
        numbered.n,
        decisions.person_key,
        decisions.driver_id,
        decisions.rule,
        decisions.score,
        decisions.confidence,
        decisions.key,
        decisions.similarity,
        coalesce(min(numbered.n) over (partition by decisions.person_key), numbered.n) as group_no
    from numbered
    inner join decisions on decisions.n = numbered.n
    union all
    select n, null, null, null, null, null, null, null, n from unlinked
),

firsts as (
    select
        decisions.n,
        row_number() over (partition by decisions.person_key order by decisions.n) = 1 as is_first_of_person,
        row_number() over (
            partition by decisions.driver_id
            order by
                decisions.score desc, numbered.snapshot_at, numbered.source_table collate "C",
                numbered.source_pk collate "C"
        ) = 1 as is_first_of_driver,
        bool_or(decisions.confidence = 'HIGH') over (partition by decisions.person_key) as person_is_high
    from decisions
    inner join numbered on numbered.n = decisions.n
),

-- The person's own data come from its newly linked drivers: per field the first that has one (domain.md 3.1, 5.3).
person_data as (
    select
        newcomers.person_key,
        (array_agg(drivers.phone_norm order by drivers.driver_id collate "C")
            filter (where drivers.phone_norm is not null and not drivers.phone_is_weak))[1] as phone,
        (array_agg(drivers.license_norm order by drivers.driver_id collate "C")
            filter (where drivers.license_norm is not null))[1] as license,
        (array_agg(drivers.full_name_norm order by drivers.driver_id collate "C")
            filter (where drivers.full_name_norm is not null))[1] as name
    from (
        select decisions.person_key, decisions.driver_id
        from decisions
        group by decisions.person_key, decisions.driver_id
    ) as newcomers
    inner join match_drivers as known on known.driver_id = newcomers.driver_id and not known.was_linked
    inner join canon.drivers_index as drivers on drivers.driver_id = newcomers.driver_id
    group by newcomers.person_key
)

select
    row_number() over (order by placed.group_no, placed.n) as seq,
    placed.group_no,
    numbered.source_table,
    numbered.source_pk,
    numbered.snapshot_at,
    coalesce(numbered.snapshot_at, numbered.recorded_at, now()) as recorded_at,
    numbered.event_date,
    numbered.scout_id,
    numbered.driver_id as named_driver_id,
    numbered.phone_norm,
    numbered.license_norm,
    numbered.plate_norm,
    numbered.name_norm,
    numbered.record_digest,
    numbered.payload,
    -- linked
    placed.person_key,
    placed.rule as match_rule,
    placed.score as match_score,
    placed.confidence as confidence_level,
    placed.driver_id as matched_driver_id,
    jsonb_strip_nulls(jsonb_build_object(
        'rule', case placed.rule when 'R3b' then 'R3b_PLATE_NAME_NO_DATE' else placed.rule end,
        'driver_id', placed.driver_id,
        'park_id', drivers.park_id,
        'phone_normalized', case when placed.rule = 'R1_PHONE_EXACT' then placed.key end,
        'license_normalized', case when placed.rule = 'R2_LICENSE_EXACT' then placed.key end,
        'plate_normalized', case when placed.rule like 'R3%%' then placed.key end,
        'car_fingerprint', case when placed.rule like 'R4%%' then placed.key end,
        'name_similarity', round(placed.similarity::numeric, 4)
    )) as evidence,
    coalesce(firsts.is_first_of_driver and not known.was_linked, false) as links_driver,
    -- of the person
    coalesce(firsts.is_first_of_person, false) as is_first_of_person,
    coalesce(known.is_new, false) as is_new_person,
    case when known.is_new or firsts.person_is_high then 'HIGH' end as person_confidence,
    person_data.phone as person_phone,
    person_data.license as person_license,
    person_data.name as person_name,
    origins.origin_tag,
    origins.origin_source_id,
    origins.origin_confidence,
    origins.origin_created_at,
    origins.resolution_status,
    -- not linked
    reasons.reason_code,
    case when reasons.n is not null then jsonb_strip_nulls(jsonb_build_object(
        'phone', numbered.phone_norm,
        'license', numbered.license_norm,
        'plate', numbered.plate_norm,
        'name', numbered.name_norm,
        'driver_id', numbered.driver_id,
        'date_missing', case when numbered.snapshot_at is null then true end,
        'rules', reasons.rules
    )) end as details,
    case when candidates_seen.n is not null
        then jsonb_build_object('candidates', candidates_seen.candidates) end as candidates_preview
from placed
inner join numbered on numbered.n = placed.n
left join firsts on firsts.n = placed.n
left join match_drivers as known on known.driver_id = placed.driver_id
left join canon.drivers_index as drivers on drivers.driver_id = placed.driver_id
left join person_data on person_data.person_key = placed.person_key and firsts.is_first_of_person
left join origins on origins.person_key = placed.person_key and firsts.is_first_of_person
left join reasons on reasons.n = placed.n
left join candidates_seen on candidates_seen.n = placed.n
