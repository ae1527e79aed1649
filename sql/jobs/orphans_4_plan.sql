-- The plan: the records to link, as the identity run plans them, then the drivers with what becomes of them, person by
-- person (domain.md 9.3 to 9.5, Q49, Q50, Q52). {plan} is the run's plan table.
create table {plan} as
with found as (
    select
        driver_id,
        count(*) as records,
        count(*) filter (where outcome <> 'used') as not_used,
        min(level) as best_level,
        jsonb_agg(jsonb_build_object('event_id', event_id, 'source_table', source_table, 'source_pk', source_pk)
            order by event_date desc, source_table collate "C", source_pk collate "C")
            filter (where outcome = 'used') as lead_events_used,
        count(*) filter (where outcome <> 'used' and level < 3) as failed_repair_attempts,
        jsonb_agg(event_id order by event_date desc, event_id) filter (where level = 3) as weak_evidence_events
    from evidence
    group by driver_id
),

ranked as (
    select
        evidence.*,
        row_number() over (
            partition by driver_id
            order by
                outcome <> 'used', level, event_date desc, source_table collate "C", source_pk collate "C"
        ) as place,
        row_number() over (
            partition by driver_id, level
            order by outcome <> 'used', event_date desc, source_table collate "C", source_pk collate "C"
        ) as place_in_level
    from evidence
),

-- What a reviewer sees: as many per level as one can read.
told as (
    select
        driver_id,
        jsonb_agg(
            jsonb_strip_nulls(jsonb_build_object(
                'source_table', source_table,
                'source_pk', source_pk,
                'event_date', event_date,
                'level', level,
                'match_strategy', match_strategy,
                'outcome', outcome,
                'other_person_key', case when outcome = 'linked_to_other_person' then record_person end
            )) || jsonb_build_object('event_id', event_id)
            order by place
        ) as evidence
    from ranked
    where place_in_level <= case level when 3 then 10 else 20 end
    group by driver_id
),

repaired as (
    select person_key, count(distinct n) as records from evidence where outcome = 'used' group by person_key
),

-- One driver per record says that it made the link.
carriers as (
    select driver_id, count(*) as links_created
    from (
        select n, min(driver_id collate "C") as driver_id from evidence where outcome = 'used' group by n
    ) as records
    group by driver_id
),

drivers as (
    select
        orphans.*,
        found.records,
        found.not_used,
        found.best_level,
        found.lead_events_used,
        found.failed_repair_attempts,
        found.weak_evidence_events,
        told.evidence as evidence_told,
        repaired.records as repaired_by,
        carriers.links_created,
        best.match_strategy,
        best.source_table as best_source_table,
        best.license_norm as best_license,
        best.phone_norm as best_phone,
        repaired.person_key is not null as is_repaired
    from orphans
    left join found on found.driver_id = orphans.driver_id
    left join told on told.driver_id = orphans.driver_id
    left join repaired on repaired.person_key = orphans.person_key
    left join carriers on carriers.driver_id = orphans.driver_id
    left join ranked as best on best.driver_id = orphans.driver_id and best.place = 1
),

outcomes as (
    select
        drivers.*,
        case when is_repaired then 'resolved_relinked' else 'quarantined' end as new_status,
        case
            -- The contract has no word for a driver that had events and was relinked (Q50).
            when is_repaired then coalesce(detected_reason, 'no_lead_no_events')
            when records > 0 then 'no_lead_has_events_repair_failed'
            when first_seen < %(lead_system_start)s then 'legacy_driver_without_origin'
            else 'no_lead_no_events'
        end as new_reason,
        case
            when is_repaired then 'resolved_relinked'
            when best_level = 3 then 'skipped_ambiguous'
            when records > 0 then 'quarantined_repair_failed'
            when first_seen < %(lead_system_start)s then 'quarantined_legacy'
            else 'quarantined'
        end as action
    from drivers
),

driver_rows as (
    select
        outcomes.*,
        jsonb_build_object(
            'creation_rule', creation_rule,
            'linked_at', linked_at,
            'original_evidence', outcomes.evidence,
            'primary_phone', primary_phone,
            'primary_license', primary_license,
            'primary_full_name', primary_full_name,
            'lead_events_used', coalesce(lead_events_used, '[]'),
            'failed_repair_attempts', coalesce(failed_repair_attempts, 0),
            'weak_evidence_events', coalesce(weak_evidence_events, '[]'),
            'evidence', coalesce(evidence_told, '[]')
        ) as new_evidence
    from outcomes
),

-- A driver in quarantine for which nothing new was found stays as it is, untouched.
placed as (
    select
        person_key,
        1 as part,
        driver_id,
        null::bigint as n
    from driver_rows
    union all
    select person_key, 0, null, n from decisions
)

select
    row_number() over (
        order by placed.person_key, placed.part, placed.n, placed.driver_id collate "C"
    ) as seq,
    dense_rank() over (order by placed.person_key) as group_no,
    placed.part = 1 as is_driver,
    placed.person_key,
    -- a driver
    drivers.driver_id,
    drivers.link_id,
    drivers.creation_rule,
    drivers.status as status_before,
    drivers.new_status,
    drivers.new_reason,
    drivers.action,
    drivers.new_evidence,
    case
        when drivers.is_repaired then 'Relinked from ' || drivers.repaired_by || ' lead_event(s)'
    end as notes,
    coalesce(drivers.records, 0) as lead_events_count,
    drivers.status is not distinct from 'quarantined' and not drivers.is_repaired
        and drivers.detected_reason = drivers.new_reason
        and exists (
            select 1 from canon.driver_orphan_quarantine as kept
            where kept.driver_id = drivers.driver_id
                and kept.evidence_json -> 'evidence' = drivers.new_evidence -> 'evidence'
        )
        and drivers.lead_events_count is not distinct from coalesce(drivers.records, 0) as is_unchanged,
    case
        when drivers.best_level = 1 then 'payload_json.driver_id'
        when drivers.best_level = 2 then 'via_license_phone_mapping'
        when drivers.best_level = 3 or drivers.is_repaired then 'via_person_key'
        else 'no_events_found'
    end as detected_driver_id_path,
    drivers.best_source_table as event_source_table,
    drivers.match_strategy,
    drivers.best_license,
    drivers.best_phone,
    coalesce(drivers.links_created, 0) as links_created,
    coalesce(drivers.not_used, 0) as links_skipped,
    null::text as error,
    -- a record, with the columns identity_apply reads
    records.source_table,
    records.source_pk,
    record_rows.snapshot_at,
    coalesce(record_rows.snapshot_at, record_rows.recorded_at, now()) as recorded_at,
    records.event_date,
    coalesce(events.scout_id, record_rows.scout_id) as scout_id,
    records.named_driver_id,
    records.phone_norm,
    records.license_norm,
    record_rows.plate_norm,
    records.name_norm,
    record_rows.record_digest,
    coalesce(events.payload_json, record_rows.payload) as payload,
    'LEAD_EVENT_RECONSTRUCTION' as match_rule,
    100 as match_score,
    'HIGH' as confidence_level,
    decisions.driver_id as matched_driver_id,
    jsonb_strip_nulls(jsonb_build_object(
        'created_by', 'fix_drivers_without_leads',
        'driver_id', decisions.driver_id,
        'event_id', records.event_id,
        'event_date', records.event_date,
        'reconstructed_from', 'lead_events',
        'original_event_source_pk', records.source_pk,
        'match_strategy', used.match_strategy
    )) as evidence,
    false as links_driver,
    decisions.n = min(decisions.n) over (partition by placed.person_key) as is_first_of_person,
    false as is_new_person,
    'HIGH' as person_confidence,
    null::text as person_phone,
    null::text as person_license,
    null::text as person_name,
    origins.origin_tag,
    origins.origin_source_id,
    origins.origin_confidence,
    origins.origin_created_at,
    origins.resolution_status,
    null::text as reason_code,
    null::jsonb as details,
    null::jsonb as candidates_preview
from placed
left join driver_rows as drivers on drivers.driver_id = placed.driver_id
left join decisions on decisions.n = placed.n
left join records on records.n = placed.n
left join record_rows on record_rows.n = placed.n
left join observational.lead_events as events on events.id = records.event_id
left join evidence as used on used.n = placed.n and used.driver_id = decisions.driver_id
left join origins on origins.person_key = placed.person_key and placed.part = 0
