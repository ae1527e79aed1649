-- ops.cabinet_lead_identity
-- Every cabinet lead with its person and with the origin of that person. The gap is per lead, the origin per person:
-- an origin is right for all cabinet leads of its person when it names any one of them (domain.md 7.2, Q33).
-- Grain: one row per lead_id.
-- Read by: gaps, recovery impact, the jobs of recovery.
select
    found.lead_id, found.lead_date, found.person_key, found.linked_at, found.link_run_id, found.origin_tag,
    found.origin_source_id, found.origin_decided_at, found.origin_is_own,
    found.is_decided and not found.origin_is_own as origin_is_held,
    found.first_row, found.last_row, found.has_more_rows
from (
    select
        leads.lead_id,
        leads.lead_date,
        links.person_key,
        links.linked_at,
        links.run_id as link_run_id,
        origins.origin_tag,
        origins.origin_source_id,
        origins.decided_at as origin_decided_at,
        case
            when origins.origin_tag is distinct from 'cabinet_lead' then false
            when origins.origin_source_id = leads.lead_id then true -- nearly always; only the others are looked up
            else ( -- one by one: as a question whether any exists, all links would be hashed for it
                select true from canon.identity_links as own
                where own.source_table = 'module_ct_cabinet_leads' and own.source_pk = origins.origin_source_id
                    and own.person_key = origins.person_key
            ) is not null
        end as origin_is_own,
        coalesce(origins.decided_by = 'manual', false)
        or coalesce(origins.resolution_status in ('resolved_manual', 'marked_legacy', 'discarded'), false)
            as is_decided,
        leads.first_row, leads.last_row, leads.has_more_rows
    from (
        select
            records.source_pk as lead_id,
            -- Never the time of the load.
            min(case when records.snapshot_at is not null then records.event_date end) as lead_date,
            -- By these an index finds the record, unless there are more.
            min(records.row_id) as first_row, max(records.row_id) as last_row, count(*) > 2 as has_more_rows
        from canon.stg_cabinet_leads as records
        group by records.source_pk -- a feed may hold a record twice
    ) as leads
    left join canon.identity_links as links -- 1 lead : 0..1 links
        on links.source_table = 'module_ct_cabinet_leads' and links.source_pk = leads.lead_id
    left join canon.identity_origin as origins on origins.person_key = links.person_key -- 1 : 0..1
) as found
