-- canon.orphan_causes
-- Drivers without lead that wait for a person: in quarantine (domain.md 9.4), or purged and linked to a lead since,
-- which only a person may weigh against the purge (P7). Of a driver that is no longer linked the person it had counts.
-- Grain: one row per subject_key.
-- Read by: the queue of cases.
select
    quarantine.driver_id as subject_key,
    coalesce(links.person_key, quarantine.person_key) as person_key,
    quarantine.driver_id,
    case quarantine.status when 'purged' then 'purged_with_lead' else quarantine.detected_reason end as raised_by,
    case quarantine.status when 'purged' then links.linked_at else quarantine.detected_at end as since,
    concat_ws(
        '|', case quarantine.status when 'purged' then 'purged' end, quarantine.detected_reason,
        quarantine.creation_rule
    ) as signature,
    md5(concat_ws(
        '|', quarantine.status, quarantine.detected_reason, coalesce(links.person_key, quarantine.person_key),
        quarantine.evidence_json
    )) as cause_digest
from canon.driver_orphan_quarantine as quarantine
left join canon.identity_links as links -- 1 driver : 0..1 links
    on links.source_table = 'drivers' and links.source_pk = quarantine.driver_id
where quarantine.status = 'quarantined'
    or (
        quarantine.status = 'purged' and links.id is not null
        and exists (
            select 1 from canon.identity_links as leads
            where leads.person_key = links.person_key and leads.source_table <> 'drivers'
        )
    )
