-- chk_orphan_is_quarantined
-- A driver may operate though its person has no lead (RB3, domain.md 9.8): never decided, or repaired and without lead
-- again.
-- Remedy: run "manage.py fix_drivers_without_leads --execute"; it repairs the driver or puts it into quarantine.
select
    'drivers ' || orphans.driver_id as subject,
    'no lead, linked by ' || orphans.creation_rule || ', ' || coalesce(orphans.status, 'never decided') as problem
from canon.orphan_drivers as orphans
where orphans.status is null or orphans.status <> 'quarantined';
