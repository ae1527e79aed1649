-- ops.v_driver_orphans
-- Drivers found without a lead, whatever became of them, with their person (domain.md 9.7). lead_events_count is the
-- evidence found when the driver was last decided (Q51).
-- Grain: one row per driver_id.
-- Read by: reports and the orphans API.
select
    quarantine.driver_id,
    quarantine.person_key,
    quarantine.detected_at,
    quarantine.detected_reason,
    quarantine.creation_rule,
    quarantine.evidence_json,
    quarantine.status,
    quarantine.resolved_at,
    quarantine.resolution_notes,
    persons.primary_phone,
    persons.primary_license,
    persons.primary_full_name,
    persons.confidence_level,
    (
        select count(*) from canon.identity_links as links
        where links.person_key = quarantine.person_key and links.source_table = 'drivers'
    ) as driver_links_count,
    quarantine.lead_events_count,
    greatest(quarantine.detected_at, quarantine.resolved_at) as last_updated_at
from canon.driver_orphan_quarantine as quarantine
left join canon.identity_registry as persons on persons.person_key = quarantine.person_key -- 1 row : 0..1 persons
