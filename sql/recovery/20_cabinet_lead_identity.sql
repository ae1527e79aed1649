-- ops.cabinet_lead_identity
-- Every cabinet lead with its person and with the origin of that person. The gap is per lead, the origin per person:
-- an origin is right for all cabinet leads of its person when it names any one of them (domain.md 7.2, Q33).
-- Grain: one row per lead_id.
-- Read by: gaps, recovery impact, the jobs of recovery.
select
    leads.lead_id,
    leads.lead_date,
    links.person_key,
    links.linked_at,
    links.run_id as link_run_id,
    origins.origin_tag,
    origins.origin_source_id,
    origins.decided_at as origin_decided_at,
    own.id is not null as origin_is_own,
    origins.person_key is not null and own.id is null and (
        origins.decided_by = 'manual' or origins.resolution_status in ('resolved_manual', 'marked_legacy', 'discarded')
    ) as origin_is_held
from (
    select
        records.source_pk as lead_id,
        (min(records.snapshot_at) at time zone 'America/Lima')::date as lead_date -- never the time of the load
    from canon.stg_cabinet_leads as records
    group by records.source_pk -- a feed may hold a record twice
) as leads
left join canon.identity_links as links -- 1 lead : 0..1 links
    on links.source_table = 'module_ct_cabinet_leads' and links.source_pk = leads.lead_id
left join canon.identity_origin as origins on origins.person_key = links.person_key -- 1 : 0..1
left join canon.identity_links as own -- 1 : 0..1
    on origins.origin_tag = 'cabinet_lead' and own.source_table = 'module_ct_cabinet_leads'
    and own.source_pk = origins.origin_source_id and own.person_key = origins.person_key
