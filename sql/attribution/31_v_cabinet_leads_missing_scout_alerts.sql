-- ops.v_cabinet_leads_missing_scout_alerts
-- Cabinet leads whose event names no scout (domain.md 6.11 (3), Q28), with the scout who may be theirs: the mapped one,
-- else the only one whom other events of the same person name. cabinet_lead_id is the lead's source_pk.
-- Grain: one row per cabinet_lead_id.
-- Read by: whoever brings the mapping of leads to scouts, the backlog.
with leads as (
    select leads.source_pk, min(leads.snapshot_at) as lead_created_at -- a feed may hold a lead twice
    from canon.stg_cabinet_leads as leads
    group by leads.source_pk
),

scouts as (
    select
        events.person_key,
        case when min(events.scout_id) = max(events.scout_id) then min(events.scout_id) end as only_scout_id,
        count(events.scout_id) > 0 as has_scout
    from observational.scout_events as events
    where events.person_key is not null
    group by events.person_key
)

select
    events.source_pk as cabinet_lead_id,
    nullif(btrim(told.payload_json ->> 'external_id'), '') as external_id,
    leads.lead_created_at,
    events.event_date,
    events.source_table,
    events.event_id as lead_event_id,
    events.person_key,
    coalesce(mapping.scout_id, scouts.only_scout_id) as potential_scout_id,
    mapping.scout_id is not null as has_mapping,
    coalesce(scouts.has_scout, false) as has_scout_in_events
from observational.scout_events as events
inner join observational.lead_events as told on told.id = events.event_id -- 1 : 1
left join leads on leads.source_pk = events.source_pk -- 1 : 0..1
left join scouts on scouts.person_key = events.person_key -- 1 : 0..1
left join ops.lead_scout_mapping as mapping on mapping.source_key = events.source_pk -- 1 : 0..1
where events.kind = 'cabinet' and events.scout_id is null
