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

-- By key, one by one, whatever the statistics say of tables that are just being filled.
linked as materialized (
    select picked.*, links.person_key, links.linked_at, links.run_id
    from picked
    left join lateral ( -- 1 : 0..1
        select known.person_key, known.linked_at, known.run_id
        from canon.identity_links as known
        where known.source_table = 'module_ct_cabinet_leads' and known.source_pk = picked.lead_id
        limit 1
    ) as links on true
),

persons as materialized (
    select distinct linked.person_key -- several leads of one person
    from linked
    where linked.person_key is not null
),

standing as materialized (
    select
        persons.person_key,
        origins.stored,
        own.source_pk is not null as is_right,
        (origins.stored).person_key is not null and own.source_pk is null and (
            (origins.stored).decided_by = 'manual'
            or (origins.stored).resolution_status in ('resolved_manual', 'marked_legacy', 'discarded')
        ) as is_held
    from persons
    left join lateral ( -- 1 : 0..1
        select known as stored from canon.identity_origin as known where known.person_key = persons.person_key limit 1
    ) as origins on true
    left join lateral ( -- 1 : 0..1
        select leads.source_pk
        from canon.identity_links as leads
        where (origins.stored).origin_tag = 'cabinet_lead' and leads.source_table = 'module_ct_cabinet_leads'
            and leads.source_pk = (origins.stored).origin_source_id and leads.person_key = persons.person_key
        limit 1
    ) as own on true
),

-- The earliest cabinet lead of the person, so that persons with two leads come to rest (domain.md 7.2).
origins_written as (
    insert into canon.identity_origin (
        person_key, origin_tag, origin_source_id, origin_confidence, origin_created_at, resolution_status, evidence
    )
    select
        standing.person_key, 'cabinet_lead', earliest.source_pk, 95.00, earliest.snapshot_date, 'resolved_auto',
        jsonb_build_object('run_id', %(run_id)s, 'recovered', true)
    from standing
    cross join lateral ( -- 1 : 1
        select leads.source_pk, leads.snapshot_date
        from canon.identity_links as leads
        where leads.person_key = standing.person_key and leads.source_table = 'module_ct_cabinet_leads'
        order by leads.snapshot_date, leads.source_pk collate "C"
        limit 1
    ) as earliest
    where not standing.is_right and not standing.is_held
    on conflict (person_key) do update set
        origin_tag = excluded.origin_tag,
        origin_source_id = excluded.origin_source_id,
        origin_confidence = excluded.origin_confidence,
        origin_created_at = excluded.origin_created_at,
        resolution_status = excluded.resolution_status,
        evidence = excluded.evidence,
        decided_at = statement_timestamp(),
        updated_at = statement_timestamp()
    returning *
),

origin_history as (
    insert into canon.identity_origin_history (
        person_key, origin_tag_old, origin_tag_new, origin_source_id_old, origin_source_id_new,
        origin_confidence_old, origin_confidence_new, resolution_status_old, resolution_status_new,
        ruleset_version_old, ruleset_version_new, changed_by, change_reason, run_id
    )
    select
        new.person_key, (standing.stored).origin_tag, new.origin_tag, (standing.stored).origin_source_id,
        new.origin_source_id, (standing.stored).origin_confidence, new.origin_confidence,
        (standing.stored).resolution_status, new.resolution_status, (standing.stored).ruleset_version,
        new.ruleset_version, 'system', 'lead recovered', %(run_id)s
    from origins_written as new
    inner join standing on standing.person_key = new.person_key
    returning origin_tag_old
),

judged as materialized (
    select
        linked.lead_id,
        linked.kind,
        linked.cause,
        linked.person_key,
        linked.person_key is not null and not standing.is_held as is_recovered,
        case
            when standing.is_held then 'manual_origin_conflict'
            when linked.kind = 'gone' then 'lead_not_found'
            when linked.person_key is null then linked.reason_code
        end as fail_reason,
        -- The moment the lead had both its person and the right origin (domain.md 8.3).
        greatest(
            linked.linked_at,
            case when standing.is_right then (standing.stored).created_at else statement_timestamp() end
        ) as recovered_at,
        case
            when linked.kind = 'match' and linked.run_id = %(run_id)s then 'retry_matching'
            when linked.kind = 'origin' then 'origin_backfill'
            else 'identity_link'
        end as recovery_method
    from linked
    left join standing on standing.person_key = linked.person_key -- 1 : 0..1
    -- Planned to be linked, and left out because something changed since: the next run takes it up again.
    where linked.person_key is not null or linked.reason_code is not null or linked.kind = 'gone'
),

audit_before as materialized (
    select known.*
    from judged
    inner join ops.cabinet_lead_recovery_audit as known on known.lead_id = judged.lead_id
    where judged.is_recovered and judged.kind <> 'settle'
),

audit_written as (
    insert into ops.cabinet_lead_recovery_audit as stored (
        lead_id, first_recovered_at, last_recovered_at, recovered_person_key, recovered_by, recovery_method
    )
    select lead_id, recovered_at, recovered_at, person_key, 'system', recovery_method
    from judged
    where is_recovered and kind <> 'settle'
    on conflict (lead_id) do update set
        first_recovered_at = coalesce(stored.first_recovered_at, excluded.first_recovered_at),
        last_recovered_at = excluded.last_recovered_at,
        recovered_person_key = excluded.recovered_person_key,
        recovered_by = excluded.recovered_by,
        recovery_method = excluded.recovery_method,
        updated_at = statement_timestamp()
    where (stored.last_recovered_at, stored.recovered_person_key)
        is distinct from (excluded.last_recovered_at, excluded.recovered_person_key)
    returning *
),

recovery_events as (
    insert into ops.cabinet_lead_recovery_events (
        lead_id, event, recovery_method, person_key, recovered_at, recorded_by, before, after, run_id
    )
    select
        new.lead_id, case when old.lead_id is null then 'recovered' else 'recovered_again' end, new.recovery_method,
        new.recovered_person_key, new.last_recovered_at, %(actor)s, to_jsonb(old), to_jsonb(new), %(run_id)s
    from audit_written as new
    left join audit_before as old on old.lead_id = new.lead_id -- 1 : 0..1
    returning event
),

jobs_before as materialized (
    select judged.*, jobs.id as job_id, coalesce(jobs.attempt_count, 0) + judged.tries as attempt_count
    from (
        select judged.*, case when %(is_retry)s and judged.kind <> 'settle' then 1 else 0 end as tries from judged
    ) as judged
    left join lateral ( -- 1 : 0..1
        select known.id, known.attempt_count
        from ops.identity_matching_jobs as known
        where known.source_type = 'cabinet' and known.source_id = judged.lead_id
        limit 1
    ) as jobs on true
    where judged.tries = 1 or jobs.id is not null
),

jobs_written as (
    insert into ops.identity_matching_jobs as stored (
        source_type, source_id, status, attempt_count, last_attempt_at, matched_person_key, fail_reason, rules_version
    )
    select
        'cabinet', lead_id,
        case
            when is_recovered then 'matched'
            when fail_reason in ('manual_origin_conflict', 'lead_not_found') or attempt_count >= %(max_attempts)s
                then 'failed'
            else 'pending'
        end,
        attempt_count, case when tries = 1 then statement_timestamp() end, case when is_recovered then person_key end, fail_reason,
        %(rules)s
    from jobs_before
    on conflict (source_type, source_id) do update set
        status = excluded.status,
        attempt_count = excluded.attempt_count,
        last_attempt_at = coalesce(excluded.last_attempt_at, stored.last_attempt_at),
        matched_person_key = excluded.matched_person_key,
        fail_reason = excluded.fail_reason,
        rules_version = excluded.rules_version,
        updated_at = statement_timestamp()
    returning source_id, status, attempt_count, fail_reason
),

attempts as (
    insert into ops.identity_matching_attempts (lead_id, attempt, cause, outcome, fail_reason, run_id)
    select
        jobs.source_id, jobs.attempt_count, coalesce(before.cause, 'lead_changed'), jobs.status, jobs.fail_reason,
        %(run_id)s
    from jobs_written as jobs
    inner join jobs_before as before on before.lead_id = jobs.source_id -- 1 : 1
    where before.tries = 1
    returning outcome
),

audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'set_origin', 'identity_origin', new.person_key::text, new.person_key,
        case when (standing.stored).person_key is not null then to_jsonb(standing.stored) end, to_jsonb(new)
    from origins_written as new
    inner join standing on standing.person_key = new.person_key
    returning 1
)

select jsonb_build_object(
    'matched', (select count(*) from attempts where outcome = 'matched'),
    'failed', (select count(*) from attempts where outcome = 'failed'),
    'pending', (select count(*) from attempts where outcome = 'pending'),
    'settled', (select count(*) from jobs_before where tries = 0),
    'skipped_changed_since_plan', (select count(*) from picked) - (select count(*) from judged),
    'recovered', (select count(*) from judged where is_recovered and kind <> 'settle'),
    'links_created', (select count(*) from linked where run_id = %(run_id)s),
    'origins_created', (select count(*) from origin_history where origin_tag_old is null),
    'origins_updated', (select count(*) from origin_history where origin_tag_old is not null),
    'audit_created', (select count(*) from recovery_events where event = 'recovered'),
    'audit_updated', (select count(*) from recovery_events where event = 'recovered_again'),
    'audit', (select count(*) from audited)
)
