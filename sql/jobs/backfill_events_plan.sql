-- Plan of the events backfill: events of cabinet leads that name no scout and have a mapped one (domain.md 6.11 (3),
-- Q28). {plan} is the run's plan table, one row per event.
create table {plan} as
with found as (
    select events.event_id, events.source_table, events.source_pk, events.person_key, mapping.scout_id
    from ops.lead_scout_mapping as mapping
    inner join observational.scout_events as events -- 1 : 0..1
        on events.source_table = 'module_ct_cabinet_leads' and events.source_pk = mapping.source_key
    where events.scout_id is null
    {limited}
)

select
    row_number() over (order by found.event_id) as seq,
    row_number() over (order by found.event_id) as group_no,
    found.*
from found
