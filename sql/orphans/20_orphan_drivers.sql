-- canon.orphan_drivers
-- Drivers linked to a person who has no lead link at all, quarantined or not (domain.md 9.1). A migration is a lead
-- (Q9).
-- Grain: one row per driver_id.
-- Read by: the orphan job, the checks.
select
    links.source_pk as driver_id,
    links.id as link_id,
    links.person_key,
    links.match_rule as creation_rule,
    links.snapshot_date,
    links.linked_at,
    links.evidence,
    quarantine.status,
    quarantine.detected_reason,
    quarantine.lead_events_count
from canon.identity_links as links
left join canon.driver_orphan_quarantine as quarantine -- 1 driver : 0..1 rows
    on quarantine.driver_id = links.source_pk
where links.source_table = 'drivers'
    and not exists (
        select 1 from canon.identity_links as leads
        where leads.person_key = links.person_key and leads.source_table <> 'drivers'
    )
