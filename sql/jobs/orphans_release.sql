-- Releases quarantined drivers whose person got a lead link (domain.md 9.4): the link itself says they are no orphans.
-- {persons} is a query of the persons in question. What a person put into quarantine, or purged, stays (P7), and so
-- does a driver that somebody is deciding right now.
with released_before as materialized (
    select quarantine.*, links.person_key as person_now
    from ({persons}) as persons
    inner join canon.identity_links as links
        on links.person_key = persons.person_key and links.source_table = 'drivers'
    inner join canon.driver_orphan_quarantine as quarantine on quarantine.driver_id = links.source_pk
    where quarantine.status = 'quarantined' and quarantine.detected_reason <> 'manual_detection'
        and exists (
            select 1 from canon.identity_links as leads
            where leads.person_key = persons.person_key and leads.source_table <> 'drivers'
        )
        and not exists (
            select 1 from ops.held_cases as held where held.kind = 'orphan' and held.driver_id = quarantine.driver_id
        )
),

released as (
    update canon.driver_orphan_quarantine as quarantine
    set status = 'resolved_relinked',
        person_key = old.person_now,
        resolved_at = now(),
        resolution_notes = 'Released: a lead was linked to its person'
    from (select distinct driver_id, person_now from released_before) as old -- a query may name a person twice
    where quarantine.driver_id = old.driver_id
    returning quarantine.*
),

old_rows as (
    select distinct on (driver_id) driver_id, to_jsonb(released_before) - 'person_now' as state
    from released_before
    order by driver_id
),

history as (
    insert into canon.driver_orphan_quarantine_history (
        driver_id, status_old, status_new, detected_reason_old, detected_reason_new, change_reason, notes, changed_by,
        run_id
    )
    select
        driver_id, 'quarantined', status, detected_reason, detected_reason, 'released_by_link', resolution_notes,
        %(changed_by)s, %(run_id)s
    from released
    returning 1
),

audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'release_driver', 'driver_orphan_quarantine', released.driver_id, released.person_key,
        old_rows.state, to_jsonb(released)
    from released
    inner join old_rows on old_rows.driver_id = released.driver_id
    returning 1
)

select jsonb_build_object(
    'drivers_released', (select count(*) from released),
    'audit', (select count(*) from audited)
)
