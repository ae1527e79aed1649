-- chk_recovery_is_on_record
-- A recovered lead differs from what its last event says of it, an event speaks of a row that is not there, or an event
-- does not begin where the one before ended (RB2, domain.md 8.3): somebody wrote past the record.
-- Remedy: find out who; the events are the truth.
with last_events as (
    select distinct on (events.lead_id) events.lead_id, events.after -- per lead the last
    from ops.cabinet_lead_recovery_events as events
    order by events.lead_id, events.id desc
)

select
    coalesce(recovered.lead_id, last_events.lead_id) as subject,
    case
        when last_events.lead_id is null then 'no event'
        when recovered.lead_id is null then 'removed past the record'
        else 'changed past the record'
    end as problem
from ops.cabinet_lead_recovery_audit as recovered
full join last_events on last_events.lead_id = recovered.lead_id
where to_jsonb(recovered) is distinct from last_events.after
union all
select told.lead_id, 'event ' || told.id || ' does not follow the one before'
from (
    select
        events.id, events.lead_id, events.before,
        lag(events.after) over (partition by events.lead_id order by events.id) as former_after
    from ops.cabinet_lead_recovery_events as events
) as told
where told.before is distinct from told.former_after;
