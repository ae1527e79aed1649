-- The plan of one record that is linked by hand, with the columns of identity_9_plan, for identity_apply. The driver's
-- link comes beside the lead's, and completes what the person lacks, unless the driver is linked already.
create temp table linking on commit drop as
select
    1 as seq,
    1 as group_no,
    numbered.source_table,
    numbered.source_pk,
    numbered.snapshot_at,
    numbered.recorded_at,
    numbered.event_date,
    numbered.scout_id,
    numbered.named_driver_id,
    numbered.phone_norm,
    numbered.license_norm,
    numbered.plate_norm,
    numbered.name_norm,
    numbered.record_digest,
    numbered.payload,
    %(person_key)s::uuid as person_key,
    'MANUAL' as match_rule,
    100 as match_score,
    'HIGH' as confidence_level,
    %(driver_id)s::text as matched_driver_id,
    jsonb_strip_nulls(jsonb_build_object(
        'rule', 'MANUAL',
        'driver_id', %(driver_id)s::text,
        'park_id', drivers.park_id,
        'decided_by_run', %(run_id)s
    )) as evidence,
    %(driver_id)s::text is not null and links.id is null as links_driver,
    true as is_first_of_person,
    false as is_new_person,
    'HIGH' as person_confidence,
    case when links.id is null and not drivers.phone_is_weak then drivers.phone_norm end as person_phone,
    case when links.id is null then drivers.license_norm end as person_license,
    case when links.id is null then drivers.full_name_norm end as person_name,
    origins.origin_tag,
    origins.origin_source_id,
    origins.origin_confidence,
    origins.origin_created_at,
    origins.resolution_status,
    null::text as reason_code,
    null::jsonb as details,
    null::jsonb as candidates_preview
from numbered
left join origins on origins.person_key = %(person_key)s::uuid -- 1 : 0..1
left join canon.drivers_index as drivers on drivers.driver_id = %(driver_id)s -- 1 : 0..1
left join canon.identity_links as links -- 1 : 0..1
    on links.source_table = 'drivers' and links.source_pk = %(driver_id)s
