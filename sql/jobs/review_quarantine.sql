-- A person's decision about one driver of the quarantine: status, reason, person and notes, with history and audit
-- (domain.md 9.4, Q54). A null reason stays as it is. Nothing is written when all is so already.
with before as materialized (
    select quarantine as stored
    from canon.driver_orphan_quarantine as quarantine
    where quarantine.driver_id = %(driver_id)s
    for update
),

written as (
    update canon.driver_orphan_quarantine as quarantine
    set status = %(status)s,
        detected_reason = coalesce(%(detected_reason)s, quarantine.detected_reason),
        person_key = %(person_key)s,
        resolved_at = case when %(status)s <> 'quarantined' then now() end,
        resolution_notes = case when %(status)s <> 'quarantined' then %(notes)s end
    from before
    where quarantine.driver_id = (before.stored).driver_id
        and (quarantine.status, quarantine.detected_reason, quarantine.person_key) is distinct from (
            %(status)s, coalesce(%(detected_reason)s, quarantine.detected_reason), %(person_key)s
        )
    returning before.stored as before, quarantine as after
),

-- That somebody looked and left it as it is, is history too.
history as (
    insert into canon.driver_orphan_quarantine_history (
        driver_id, status_old, status_new, detected_reason_old, detected_reason_new, change_reason, notes, changed_by,
        run_id
    )
    select
        (before.stored).driver_id, (before.stored).status, coalesce((written.after).status, (before.stored).status),
        (before.stored).detected_reason, coalesce((written.after).detected_reason, (before.stored).detected_reason),
        'decided', %(notes)s, %(actor)s, %(run_id)s
    from before
    left join written on true
    returning 1
),

audited as (
    insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'decide_driver', %(notes)s, 'driver_orphan_quarantine', (written.after).driver_id,
        (written.after).person_key, to_jsonb(written.before), to_jsonb(written.after)
    from written
    returning 1
)

select jsonb_build_object(
    'drivers', (select count(*) from before),
    'changed', (select count(*) from written),
    'history', (select count(*) from history),
    'audit', (select count(*) from audited)
)
