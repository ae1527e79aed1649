-- The plan: one row per candidate with what will be written for it. Rows of one person share group_no, so that a
-- chunk never cuts a person in two. The first row of a person carries what concerns the person as a whole.
-- {more_columns}, {more_joins}: what another room's job keeps beside it.
create table {plan} as
with persons as (
    select
        person_key,
        min(n) as group_no,
        bool_or(confidence = 'HIGH') as is_high,
        min(driver_id collate "C") <> max(driver_id collate "C") as has_several_drivers
    from decisions
    group by person_key
),

placed as (
    select
        row_number() over (order by rows.group_no, rows.n) as seq,
        rows.*
    from (
        select
            decisions.*, persons.group_no, persons.is_high, persons.has_several_drivers,
            decisions.n = persons.group_no as is_first_of_person
        from decisions
        inner join persons on persons.person_key = decisions.person_key
        union all
        select n, null, null, null, null, null, null, null, n, null, null, false from unlinked
    ) as rows
),

-- Of several records of one driver the strongest carries the driver's link.
later_of_driver as (
    select n
    from (
        select
            decisions.n,
            row_number() over (
                partition by decisions.driver_id
                order by
                    decisions.score desc, numbered.snapshot_at, numbered.source_table collate "C",
                    numbered.source_pk collate "C"
            ) as place
        from decisions
        inner join numbered on numbered.n = decisions.n
        where decisions.driver_id in (select driver_id from decisions group by driver_id having count(*) > 1)
    ) as ranked
    where place > 1
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
        select person_key, driver_id from placed where has_several_drivers group by person_key, driver_id
    ) as newcomers
    inner join match_drivers as known on known.driver_id = newcomers.driver_id and not known.was_linked
    inner join canon.drivers_index as drivers on drivers.driver_id = newcomers.driver_id
    group by newcomers.person_key
)

select
    placed.seq,
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
    -- New keys begin with the time and go up with the plan, so that their rows land side by side in every index.
    case
        when known.is_new then (
            lpad(to_hex((extract(epoch from now()) * 1000)::bigint + placed.group_no / 16), 12, '0')
            || substr(placed.person_key::text, 15)
        )::uuid
        else placed.person_key
    end as person_key,
    placed.rule as match_rule,
    placed.score as match_score,
    placed.confidence as confidence_level,
    placed.driver_id as matched_driver_id,
    case when placed.person_key is not null then jsonb_strip_nulls(jsonb_build_object(
        'rule', case placed.rule when 'R3b' then 'R3b_PLATE_NAME_NO_DATE' else placed.rule end,
        'driver_id', placed.driver_id,
        'park_id', drivers.park_id,
        'phone_normalized', case when placed.rule = 'R1_PHONE_EXACT' then placed.key end,
        'license_normalized', case when placed.rule = 'R2_LICENSE_EXACT' then placed.key end,
        'plate_normalized', case when placed.rule like 'R3%%' then placed.key end,
        'car_fingerprint', case when placed.rule like 'R4%%' then placed.key end,
        'name_similarity', round(placed.similarity::numeric, 4)
    )) end as evidence,
    placed.person_key is not null and not known.was_linked and later_of_driver.n is null as links_driver,
    -- of the person
    placed.is_first_of_person,
    coalesce(known.is_new, false) as is_new_person,
    case when known.is_new or placed.is_high then 'HIGH' end as person_confidence,
    case
        when placed.has_several_drivers then person_data.phone
        when not known.was_linked and not drivers.phone_is_weak then drivers.phone_norm
    end as person_phone,
    case
        when placed.has_several_drivers then person_data.license
        when not known.was_linked then drivers.license_norm
    end as person_license,
    case
        when placed.has_several_drivers then person_data.name
        when not known.was_linked then drivers.full_name_norm
    end as person_name,
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
    {more_columns}
from placed
inner join numbered on numbered.n = placed.n
left join later_of_driver on later_of_driver.n = placed.n
left join match_drivers as known on known.driver_id = placed.driver_id
left join canon.drivers_index as drivers on drivers.driver_id = placed.driver_id
left join person_data on person_data.person_key = placed.person_key and placed.is_first_of_person
left join origins on origins.person_key = placed.person_key and placed.is_first_of_person
left join reasons on reasons.n = placed.n
left join candidates_seen on candidates_seen.n = placed.n
{more_joins}
