-- Applies driver rows of the orphan plan: quarantine, history and audit, in one statement, after the records of the
-- same persons were linked (domain.md 9.4). A driver that is not as the plan saw it is left alone, with an error in the
-- plan for the report; the next run decides anew. So it does with a driver that somebody is deciding right
-- now, itself or its person: it is skipped, which is no error. Returns the counts.
with picked as materialized (
    select * from {plan} where is_driver and seq > %(first)s and seq <= %(last)s
),

before as materialized (
    select quarantine.*
    from picked
    cross join lateral (
        select quarantine.* from canon.driver_orphan_quarantine as quarantine
        where quarantine.driver_id = picked.driver_id
        limit 1
    ) as quarantine
),

held as materialized (
    select picked.seq
    from picked
    where picked.driver_id in (select cases.driver_id from ops.held_cases as cases)
        or picked.person_key in (select cases.person_key from ops.held_cases as cases)
),

todo as materialized (
    select
        picked.*,
        before.detected_at as detected_before
    from picked
    inner join canon.identity_links as links
        on links.id = picked.link_id and links.source_table = 'drivers' and links.source_pk = picked.driver_id
        and links.person_key = picked.person_key
    left join before on before.driver_id = picked.driver_id
    where before.status is not distinct from picked.status_before
        and not exists (select 1 from held where held.seq = picked.seq)
        and (picked.new_status = 'resolved_relinked') = exists (
            select 1 from canon.identity_links as leads
            where leads.person_key = picked.person_key and leads.source_table <> 'drivers'
        )
),

left_alone as (
    update {plan} as rows
    set error = 'changed since the plan was made'
    from picked
    where rows.seq = picked.seq and not exists (select 1 from todo where todo.seq = picked.seq)
        and not exists (select 1 from held where held.seq = picked.seq)
    returning 1
),

skipped as (
    update {plan} as rows
    set action = 'skipped_in_review', new_status = null, links_created = 0, links_skipped = 0
    from held
    where rows.seq = held.seq
    returning 1
),

written as (
    insert into canon.driver_orphan_quarantine (
        driver_id, person_key, detected_reason, creation_rule, evidence_json, status, resolved_at, resolution_notes,
        lead_events_count
    )
    select
        driver_id, person_key, new_reason, creation_rule, new_evidence, new_status,
        case when new_status <> 'quarantined' then now() end, notes, lead_events_count
    from todo
    where not is_unchanged
    on conflict (driver_id) do update set
        person_key = excluded.person_key,
        -- A resolved driver that is an orphan again was detected again; one in quarantine keeps its day.
        detected_at = case
            when driver_orphan_quarantine.status = 'quarantined' then driver_orphan_quarantine.detected_at
            else excluded.detected_at
        end,
        detected_reason = excluded.detected_reason,
        creation_rule = excluded.creation_rule,
        evidence_json = excluded.evidence_json,
        status = excluded.status,
        resolved_at = excluded.resolved_at,
        resolution_notes = excluded.resolution_notes,
        lead_events_count = excluded.lead_events_count
    returning *
),

history as (
    insert into canon.driver_orphan_quarantine_history (
        driver_id, status_old, status_new, detected_reason_old, detected_reason_new, change_reason, notes, changed_by,
        run_id
    )
    select
        new.driver_id, old.status, new.status, old.detected_reason, new.detected_reason,
        case
            when new.status = 'resolved_relinked' then 'relinked'
            when old.driver_id is null then 'detected'
            when old.status = 'quarantined' then 'reprocessed'
            else 'detected_again'
        end,
        new.resolution_notes, 'system', %(run_id)s
    from written as new
    left join before as old on old.driver_id = new.driver_id
    returning 1
),

audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s,
        case when new.status = 'quarantined' then 'quarantine_driver' else 'relink_driver' end,
        'driver_orphan_quarantine', new.driver_id, new.person_key, to_jsonb(old), to_jsonb(new)
    from written as new
    left join before as old on old.driver_id = new.driver_id
    returning 1
)

select jsonb_build_object(
    'processed', (select count(*) from picked),
    'with_events', (select count(*) from picked where lead_events_count > 0),
    'without_events', (select count(*) from picked where lead_events_count = 0),
    'links_skipped', (select coalesce(sum(links_skipped), 0) from todo),
    'quarantined', (select count(*) from todo where new_status = 'quarantined'),
    'resolved_relinked', (select count(*) from todo where new_status = 'resolved_relinked'),
    'unchanged', (select count(*) from todo where is_unchanged),
    'errors', (select count(*) from left_alone),
    'skipped_in_review', (select count(*) from skipped),
    'audit', (select count(*) from audited)
)
