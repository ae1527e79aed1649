-- canon.operational_drivers
-- Drivers that may count in funnel, claims, payments and reports: linked to a person who has a lead, and neither
-- quarantined nor purged (domain.md 9.7, Q55).
-- Grain: one row per driver_id.
-- Read by: every view that shows drivers at work.
select
    links.source_pk as driver_id,
    links.person_key,
    links.linked_at
from canon.identity_links as links
where links.source_table = 'drivers'
    and exists (
        select 1 from canon.identity_links as leads
        where leads.person_key = links.person_key and leads.source_table <> 'drivers'
    )
    and not exists (
        select 1 from canon.driver_orphan_quarantine as quarantine
        where quarantine.driver_id = links.source_pk and quarantine.status in ('quarantined', 'purged')
    )
