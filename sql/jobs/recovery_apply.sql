-- Recovers the leads of rows of a plan: whoever has a person by now gets the origin of that person right, its first and
-- last recovery on record, and its try ended; the others stay open with the reason (RB2, RB4, domain.md 7.6, 8.3,
-- Q34, Q43). One statement with its history and audit; links were made before, in the same transaction. Origins that a
-- person decided stay. Returns the counts of what was written.
with picked as materialized (
    select rows.source_pk as lead_id, rows.kind, rows.cause, rows.reason_code
    from {plan} as rows
    where rows.seq > %(first)s and rows.seq <= %(last)s and rows.source_table = 'module_ct_cabinet_leads'
    union all
    select companions.lead_id, 'origin', 'linked', null
    from {plan} as rows
    cross join unnest(rows.companions) as companions (lead_id)
    where rows.seq > %(first)s and rows.seq <= %(last)s
),

-- All that is known of a lead is looked up here by key, one by one: a join of what was looked up would be judged by
-- statistics of tables that are just being filled.
known as materialized (
    select
        picked.*, links.person_key, links.linked_at, links.run_id, origins.stored as origin,
        origins.is_right, origins.is_held, recovered.record as recovered, jobs.id as job_id, jobs.attempt_count,
        case when %(is_retry)s and picked.kind <> 'settle' then 1 else 0 end as tries
    from picked
    left join lateral ( -- 1 : 0..1
        select links.person_key, links.linked_at, links.run_id
        from canon.identity_links as links
        where links.source_table = 'module_ct_cabinet_leads' and links.source_pk = picked.lead_id
        limit 1
    ) as links on true
    left join lateral ( -- 1 : 0..1
        select
            stored,
            own.id is not null as is_right,
            own.id is null and (
                stored.decided_by = 'manual'
                or stored.resolution_status in ('resolved_manual', 'marked_legacy', 'discarded')
            ) as is_held
        from canon.identity_origin as stored
        left join canon.identity_links as own -- 1 : 0..1
            on stored.origin_tag = 'cabinet_lead' and own.source_table = 'module_ct_cabinet_leads'
            and own.source_pk = stored.origin_source_id and own.person_key = stored.person_key
        where stored.person_key = links.person_key
        limit 1
    ) as origins on true
    left join lateral ( -- 1 : 0..1
        select record from ops.cabinet_lead_recovery_audit as record where record.lead_id = picked.lead_id limit 1
    ) as recovered on true
    left join lateral ( -- 1 : 0..1
        select jobs.id, jobs.attempt_count
        from ops.identity_matching_jobs as jobs
        where jobs.source_type = 'cabinet' and jobs.source_id = picked.lead_id
        limit 1
    ) as jobs on true
),

judged as materialized (
    select
        decided.*,
        case
            when decided.is_recovered then 'matched'
            when decided.fail_reason in ('manual_origin_conflict', 'lead_not_found')
                or decided.attempts >= %(max_attempts)s then 'failed'
            else 'pending'
        end as outcome
    from (
        select
            known.*,
            known.person_key is not null and known.is_held is not true as is_recovered,
            coalesce(known.attempt_count, 0) + known.tries as attempts,
            case
                when known.is_held then 'manual_origin_conflict'
                when known.kind = 'gone' then 'lead_not_found'
                when known.person_key is null then known.reason_code
            end as fail_reason,
            -- The moment the lead had both its person and the right origin (domain.md 8.3).
            greatest(
                known.linked_at,
                case
                    when known.is_right is not true then statement_timestamp()
                    -- It was wrong when this run was planned.
                    when known.kind = 'origin' then (known.origin).decided_at
                    else (known.origin).created_at
                end
            ) as recovered_at,
            case
                when known.kind = 'match' and known.run_id = %(run_id)s then 'retry_matching'
                when known.kind = 'origin' then 'origin_backfill'
                else 'identity_link'
            end as recovery_method
        from known
        -- Planned to be linked, and left out because something changed since: the next run takes it up again.
        where known.person_key is not null or known.reason_code is not null or known.kind = 'gone'
    ) as decided
),

-- The earliest cabinet lead of the person, so that persons with two leads come to rest (domain.md 7.2).
due_origins as materialized (
    select
        persons.person_key, persons.origin, earliest.source_pk, earliest.snapshot_date,
        jsonb_build_object('run_id', %(run_id)s, 'recovered', true) as evidence
    from (
        select distinct on (judged.person_key) judged.person_key, judged.origin -- several leads of one person
        from judged
        where judged.is_recovered and judged.is_right is not true
        order by judged.person_key, judged.lead_id collate "C"
    ) as persons
    cross join lateral ( -- 1 : 1
        select leads.source_pk, leads.snapshot_date
        from canon.identity_links as leads
        where leads.person_key = persons.person_key and leads.source_table = 'module_ct_cabinet_leads'
        order by leads.snapshot_date, leads.source_pk collate "C"
        limit 1
    ) as earliest
),

origins_created as (
    insert into canon.identity_origin as stored (
        person_key, origin_tag, origin_source_id, origin_confidence, origin_created_at, resolution_status, evidence
    )
    select person_key, 'cabinet_lead', source_pk, 95.00, snapshot_date, 'resolved_auto', evidence
    from due_origins
    where (origin).person_key is null
    returning stored.person_key, null::canon.identity_origin as before, stored as after
),

origins_changed as (
    update canon.identity_origin as stored
    set origin_tag = 'cabinet_lead',
        origin_source_id = due.source_pk,
        origin_confidence = 95.00,
        origin_created_at = due.snapshot_date,
        resolution_status = 'resolved_auto',
        evidence = due.evidence,
        decided_at = statement_timestamp(),
        updated_at = statement_timestamp()
    from due_origins as due
    where stored.person_key = due.person_key and (due.origin).person_key is not null
    returning stored.person_key, due.origin as before, stored as after
),

origins_written as (
    select * from origins_created
    union all
    select * from origins_changed
),

origin_history as (
    insert into canon.identity_origin_history (
        person_key, origin_tag_old, origin_tag_new, origin_source_id_old, origin_source_id_new,
        origin_confidence_old, origin_confidence_new, resolution_status_old, resolution_status_new,
        ruleset_version_old, ruleset_version_new, changed_by, change_reason, run_id
    )
    select
        person_key, (before).origin_tag, (after).origin_tag, (before).origin_source_id, (after).origin_source_id,
        (before).origin_confidence, (after).origin_confidence, (before).resolution_status, (after).resolution_status,
        (before).ruleset_version, (after).ruleset_version, 'system', 'lead recovered', %(run_id)s
    from origins_written
    returning 1
),

recovered_first as (
    insert into ops.cabinet_lead_recovery_audit as stored (
        lead_id, first_recovered_at, last_recovered_at, recovered_person_key, recovered_by, recovery_method
    )
    select lead_id, recovered_at, recovered_at, person_key, 'system', recovery_method
    from judged
    where is_recovered and kind <> 'settle' and (recovered).lead_id is null
    returning 'recovered' as event, null::jsonb as before, stored as after
),

recovered_again as (
    update ops.cabinet_lead_recovery_audit as stored
    set first_recovered_at = coalesce(stored.first_recovered_at, judged.recovered_at),
        last_recovered_at = judged.recovered_at,
        recovered_person_key = judged.person_key,
        recovered_by = 'system',
        recovery_method = judged.recovery_method,
        updated_at = statement_timestamp()
    from judged
    where stored.lead_id = judged.lead_id and judged.is_recovered and judged.kind <> 'settle'
        and (stored.last_recovered_at, stored.recovered_person_key)
            is distinct from (judged.recovered_at, judged.person_key)
    returning 'recovered_again' as event, to_jsonb(judged.recovered) as before, stored as after
),

recovery_events as (
    insert into ops.cabinet_lead_recovery_events (
        lead_id, event, recovery_method, person_key, recovered_at, recorded_by, before, after, run_id
    )
    select
        (after).lead_id, event, (after).recovery_method, (after).recovered_person_key, (after).last_recovered_at,
        %(actor)s, before, to_jsonb(after), %(run_id)s
    from (select * from recovered_first union all select * from recovered_again) as written
    returning event
),

jobs_written as (
    insert into ops.identity_matching_jobs as stored (
        source_type, source_id, status, attempt_count, last_attempt_at, matched_person_key, fail_reason, rules_version
    )
    select
        'cabinet', lead_id, outcome, attempts, case when tries = 1 then statement_timestamp() end,
        case when is_recovered then person_key end, fail_reason, %(rules)s
    from judged
    where tries = 1 or job_id is not null
    on conflict (source_type, source_id) do update set
        status = excluded.status,
        attempt_count = excluded.attempt_count,
        last_attempt_at = coalesce(excluded.last_attempt_at, stored.last_attempt_at),
        matched_person_key = excluded.matched_person_key,
        fail_reason = excluded.fail_reason,
        rules_version = excluded.rules_version,
        updated_at = statement_timestamp()
),

attempts as (
    insert into ops.identity_matching_attempts (lead_id, attempt, cause, outcome, fail_reason, run_id)
    select lead_id, attempts, coalesce(cause, 'lead_changed'), outcome, fail_reason, %(run_id)s
    from judged
    where tries = 1
    returning outcome
),

audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'set_origin', 'identity_origin', person_key::text, person_key,
        case when (before).person_key is not null then to_jsonb(before) end, to_jsonb(after)
    from origins_written
    returning 1
)

select jsonb_build_object(
    'matched', (select count(*) from attempts where outcome = 'matched'),
    'failed', (select count(*) from attempts where outcome = 'failed'),
    'pending', (select count(*) from attempts where outcome = 'pending'),
    'settled', (select count(*) from judged where tries = 0 and job_id is not null),
    'skipped_changed_since_plan', (select count(*) from picked) - (select count(*) from judged),
    'recovered', (select count(*) from judged where is_recovered and kind <> 'settle'),
    'links_created', (select count(*) from known where run_id = %(run_id)s),
    'origins_created', (select count(*) from origins_created),
    'origins_updated', (select count(*) from origins_changed),
    'audit_created', (select count(*) from recovery_events where event = 'recovered'),
    'audit_updated', (select count(*) from recovery_events where event = 'recovered_again'),
    'audit', (select count(*) from audited)
)
