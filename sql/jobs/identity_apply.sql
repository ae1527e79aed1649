-- Applies rows of the identity plan: persons, links, driver links, unmatched, events, origins, all with their
-- audit, in one statement (domain.md 5.6, 6.1). A person is left out as a whole when anything about it changed since
-- the plan was made; the next run plans it anew. Returns the counts of what was written.
with picked as materialized (
    select * from {plan} as rows where seq > %(first)s and seq <= %(last)s
),

-- Rows are found by key, one by one, whatever the statistics say of tables that are just being filled: a chunk must
-- not read all there is.
known_unmatched as materialized (
    select
        picked.seq,
        picked.group_no,
        known.stored
    from picked
    cross join lateral (
        select unmatched as stored from canon.identity_unmatched as unmatched
        where unmatched.source_table = picked.source_table and unmatched.source_pk = picked.source_pk
        limit 1
    ) as known
),

-- Linked, set aside or refused by somebody else since the plan was made, or held by somebody: the next run plans anew.
overtaken as materialized (
    select picked.group_no
    from picked
    cross join lateral (
        select 1 from canon.identity_links as links
        where links.source_table = picked.source_table and links.source_pk = picked.source_pk
        limit 1
    ) as links
    union all
    select group_no from known_unmatched where (stored).status = 'IGNORED'
    union all
    select picked.group_no
    from picked
    cross join lateral (
        select links.person_key from canon.identity_links as links
        where links.source_table = 'drivers' and links.source_pk = picked.matched_driver_id
        limit 1
    ) as links
    where picked.links_driver or links.person_key <> picked.person_key
    union all
    -- Somebody said that it is not this one.
    select picked.group_no
    from canon.refused_matches as refusals
    inner join picked on picked.source_table = refusals.source_table and picked.source_pk = refusals.source_pk
    where picked.person_key is not null
        and (refusals.person_key = picked.person_key or refusals.driver_id = picked.matched_driver_id)
    union all
    -- Somebody is deciding about it right now.
    select picked.group_no
    from ops.held_cases as held
    inner join picked
        on (held.kind = 'unmatched' and held.subject_key = picked.source_table || ':' || picked.source_pk)
            or held.person_key = picked.person_key or held.driver_id = picked.matched_driver_id
    where not %(by_hand)s
    union all
    -- Its person was taken back.
    select picked.group_no
    from picked
    where picked.person_key is not null and not picked.is_new_person
        and not exists (
            select 1 from canon.identity_registry as persons where persons.person_key = picked.person_key
        )
),

todo as materialized (
    select * from picked
    where not exists (select 1 from overtaken where overtaken.group_no = picked.group_no)
),

new_persons as (
    insert into canon.identity_registry (
        person_key, confidence_level, primary_phone, primary_license, primary_full_name
    )
    select person_key, person_confidence, person_phone, person_license, person_name
    from todo
    where is_first_of_person and is_new_person
    returning *
),

-- Every row that is changed brings its state before along: joined afterwards, by guess a row or two, it would be looked
-- for among all others, row by row.
persons_before as materialized (
    select
        persons as stored, todo.person_confidence, todo.person_phone, todo.person_license, todo.person_name
    from canon.identity_registry as persons
    inner join todo on todo.person_key = persons.person_key
    where todo.is_first_of_person and not todo.is_new_person
        and (
            (persons.confidence_level <> 'HIGH' and todo.person_confidence = 'HIGH')
            or (coalesce(persons.primary_phone, '') = '' and todo.person_phone is not null)
            or (coalesce(persons.primary_license, '') = '' and todo.person_license is not null)
            or (coalesce(persons.primary_full_name, '') = '' and todo.person_name is not null)
        )
),

completed_persons as (
    update canon.identity_registry as persons
    set confidence_level = coalesce(old.person_confidence, persons.confidence_level),
        primary_phone = coalesce(nullif(persons.primary_phone, ''), old.person_phone),
        primary_license = coalesce(nullif(persons.primary_license, ''), old.person_license),
        primary_full_name = coalesce(nullif(persons.primary_full_name, ''), old.person_name),
        updated_at = now()
    from persons_before as old
    where persons.person_key = (old.stored).person_key
    returning persons.person_key, to_jsonb(old.stored) as before, to_jsonb(persons) as after
),

new_links as (
    insert into canon.identity_links (
        person_key, source_table, source_pk, snapshot_date, match_rule, match_score, confidence_level, evidence, run_id
    )
    select
        person_key, source_table, source_pk, snapshot_at, match_rule, match_score, confidence_level, evidence,
        %(run_id)s
    from todo
    where person_key is not null
    union all
    -- Only beside a lead link of the same person, in the same statement (domain.md 5.6, 9.10).
    select
        person_key, 'drivers', matched_driver_id, snapshot_at, 'DRIVER_MATCH', 100, 'HIGH',
        jsonb_build_object('lead_source_table', source_table, 'lead_source_pk', source_pk, 'rule', match_rule),
        %(run_id)s
    from todo
    where person_key is not null and links_driver
    returning *
),

unmatched_before as materialized (
    select
        known_unmatched.stored, todo.person_key, todo.recorded_at, todo.reason_code, todo.details,
        todo.candidates_preview, todo.phone_norm, todo.license_norm, todo.plate_norm, todo.named_driver_id,
        todo.record_digest
    from known_unmatched
    inner join todo on todo.seq = known_unmatched.seq
    where todo.person_key is null or (known_unmatched.stored).status = 'OPEN'
),

unmatched_new as (
    insert into canon.identity_unmatched as unmatched (
        source_table, source_pk, snapshot_date, reason_code, details, candidates_preview, run_id,
        phone_norm, license_norm, plate_norm, driver_id, record_digest
    )
    select
        source_table, source_pk, recorded_at, reason_code, details, candidates_preview, %(run_id)s,
        phone_norm, license_norm, plate_norm, named_driver_id, record_digest
    from todo
    where person_key is null and not exists (select 1 from known_unmatched where known_unmatched.seq = todo.seq)
    returning unmatched.id, unmatched.reason_code, null::jsonb as before, to_jsonb(unmatched) as after
),

unmatched_again as (
    update canon.identity_unmatched as unmatched
    set snapshot_date = old.recorded_at,
        reason_code = old.reason_code,
        details = old.details,
        candidates_preview = old.candidates_preview,
        run_id = %(run_id)s,
        phone_norm = old.phone_norm,
        license_norm = old.license_norm,
        plate_norm = old.plate_norm,
        driver_id = old.named_driver_id,
        record_digest = old.record_digest,
        status = 'OPEN',
        resolved_at = null,
        is_stale = false
    from unmatched_before as old
    where old.person_key is null and unmatched.id = (old.stored).id
    returning unmatched.id, unmatched.reason_code, to_jsonb(old.stored) as before, to_jsonb(unmatched) as after
),

unmatched_written as (
    select * from unmatched_new
    union all
    select * from unmatched_again
),

unmatched_resolved as (
    update canon.identity_unmatched as unmatched
    set status = 'RESOLVED', resolved_at = now(), is_stale = false
    from unmatched_before as old
    where old.person_key is not null and unmatched.id = (old.stored).id
    returning unmatched.id, to_jsonb(old.stored) as before, to_jsonb(unmatched) as after
),

events_written as (
    insert into observational.lead_events as events (
        source_table, source_pk, event_date, person_key, scout_id, driver_id,
        phone_norm, license_norm, name_norm, payload_json
    )
    select
        source_table, source_pk, event_date, person_key, scout_id, named_driver_id,
        phone_norm, license_norm, name_norm,
        payload || jsonb_build_object(
            'matched_by', canon.matched_by(match_rule),
            'match_rule', match_rule,
            'match_score', match_score
        )
    from todo
    where event_date is not null
    on conflict (source_table, source_pk) do update set
        event_date = excluded.event_date,
        person_key = excluded.person_key,
        scout_id = excluded.scout_id,
        driver_id = excluded.driver_id,
        phone_norm = excluded.phone_norm,
        license_norm = excluded.license_norm,
        name_norm = excluded.name_norm,
        payload_json = excluded.payload_json
    where (events.event_date, events.person_key, events.scout_id, events.driver_id, events.payload_json)
        is distinct from (
            excluded.event_date, excluded.person_key, excluded.scout_id, excluded.driver_id, excluded.payload_json
        )
    returning 1
),

-- What a person decided stays (P7); so does what is right already.
origins_before as materialized (
    select
        origins as stored, todo.origin_tag, todo.origin_source_id, todo.origin_confidence, todo.origin_created_at,
        todo.resolution_status
    from canon.identity_origin as origins
    inner join todo on todo.person_key = origins.person_key
    where todo.is_first_of_person and todo.origin_tag is not null and origins.decided_by = 'system'
        and origins.resolution_status in ('pending_review', 'resolved_auto')
        and (origins.origin_tag, origins.origin_source_id, origins.origin_confidence, origins.resolution_status)
            is distinct from (todo.origin_tag, todo.origin_source_id, todo.origin_confidence, todo.resolution_status)
),

origins_new as (
    insert into canon.identity_origin as origins (
        person_key, origin_tag, origin_source_id, origin_confidence, origin_created_at, resolution_status, evidence
    )
    select
        todo.person_key, todo.origin_tag, todo.origin_source_id, todo.origin_confidence, todo.origin_created_at,
        todo.resolution_status, jsonb_build_object('run_id', %(run_id)s)
    from todo
    where todo.is_first_of_person and todo.origin_tag is not null
        and (
            todo.is_new_person
            or not exists (select 1 from canon.identity_origin as known where known.person_key = todo.person_key)
        )
    returning origins.person_key, null::canon.identity_origin as before, origins as after
),

origins_changed as (
    update canon.identity_origin as origins
    set origin_tag = old.origin_tag,
        origin_source_id = old.origin_source_id,
        origin_confidence = old.origin_confidence,
        origin_created_at = old.origin_created_at,
        resolution_status = old.resolution_status,
        evidence = jsonb_build_object('run_id', %(run_id)s),
        decided_at = now(),
        updated_at = now()
    from origins_before as old
    where origins.person_key = (old.stored).person_key
    returning origins.person_key, old.stored as before, origins as after
),

origin_history as (
    insert into canon.identity_origin_history (
        person_key, origin_tag_old, origin_tag_new, origin_source_id_old, origin_source_id_new,
        origin_confidence_old, origin_confidence_new, resolution_status_old, resolution_status_new,
        ruleset_version_old, ruleset_version_new, changed_by, change_reason, run_id
    )
    select
        written.person_key, (written.before).origin_tag, (written.after).origin_tag,
        (written.before).origin_source_id, (written.after).origin_source_id,
        (written.before).origin_confidence, (written.after).origin_confidence,
        (written.before).resolution_status, (written.after).resolution_status,
        (written.before).ruleset_version, (written.after).ruleset_version, 'system',
        case when (written.before).person_key is null then 'first record linked' else 'better record linked' end,
        %(run_id)s
    from (select * from origins_new union all select * from origins_changed) as written
    returning 1
),

audited as (
    insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'create_person', %(reason)s, 'identity_registry', rows.person_key::text,
        rows.person_key, null, to_jsonb(rows)
    from new_persons as rows
    union all
    select
        %(run_id)s, %(actor)s, 'complete_person', %(reason)s, 'identity_registry', person_key::text, person_key,
        before, after
    from completed_persons
    union all
    select
        %(run_id)s, %(actor)s, 'link', %(reason)s, 'identity_links', rows.id::text, rows.person_key, null,
        to_jsonb(rows)
    from new_links as rows
    union all
    select %(run_id)s, %(actor)s, 'leave_unmatched', %(reason)s, 'identity_unmatched', id::text, null, before, after
    from unmatched_written
    union all
    select
        %(run_id)s, %(actor)s, 'resolve_unmatched', %(reason)s, 'identity_unmatched', id::text, null, before, after
    from unmatched_resolved
    union all
    -- A first origin has its line in the origin history, and an undo reads it there.
    select
        %(run_id)s, %(actor)s, 'set_origin', %(reason)s, 'identity_origin', person_key::text, person_key,
        to_jsonb(before), to_jsonb(after)
    from origins_changed
    returning 1
)

select jsonb_build_object(
    'persons_created', (select count(*) from new_persons),
    'persons_completed', (select count(*) from completed_persons),
    'driver_links', (select count(*) from new_links where source_table = 'drivers'),
    'events', (select count(*) from events_written),
    'origins', (select count(*) from origin_history),
    'origin_history', (select count(*) from origin_history),
    'unmatched_resolved', (select count(*) from unmatched_resolved),
    'audit', (select count(*) from audited),
    'skipped_changed_since_plan', (select count(*) from picked) - (select count(*) from todo),
    'sources', (
        select coalesce(jsonb_object_agg(feeds.source_table, feeds.counts), '{{}}')
        from (
            select
                picked.source_table,
                jsonb_build_object(
                    'processed', count(*),
                    'matched', count(*) filter (where todo.person_key is not null),
                    'unmatched', count(*) filter (where todo.seq is not null and todo.person_key is null),
                    'skipped', count(*) filter (where todo.seq is null)
                ) as counts
            from picked
            left join todo on todo.seq = picked.seq
            group by picked.source_table
        ) as feeds
    ),
    'rules', (
        select coalesce(jsonb_object_agg(rules.match_rule, rules.links), '{{}}')
        from (
            select match_rule, count(*) as links from new_links
            where source_table <> 'drivers' group by match_rule
        ) as rules
    ),
    'reasons', (
        select coalesce(jsonb_object_agg(reasons.reason_code, reasons.records), '{{}}')
        from (select reason_code, count(*) as records from unmatched_written group by reason_code) as reasons
    )
)
