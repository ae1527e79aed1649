-- chk_quarantine_is_released
-- A driver is in quarantine though its person has a lead (domain.md 9.4): whoever linked the lead told nobody. Drivers
-- that a person put into quarantine stay there, and so do those that somebody is deciding right now.
-- Remedy: run "manage.py fix_drivers_without_leads --execute"; it releases such drivers first.
select
    'drivers ' || quarantine.driver_id as subject,
    'in quarantine, its person has a lead' as problem
from canon.driver_orphan_quarantine as quarantine
inner join canon.identity_links as links
    on links.source_table = 'drivers' and links.source_pk = quarantine.driver_id
where quarantine.status = 'quarantined' and quarantine.detected_reason <> 'manual_detection'
    and exists (
        select 1 from canon.identity_links as leads
        where leads.person_key = links.person_key and leads.source_table <> 'drivers'
    )
    and not exists (
        select 1 from ops.held_cases as held where held.kind = 'orphan' and held.driver_id = quarantine.driver_id
    );
