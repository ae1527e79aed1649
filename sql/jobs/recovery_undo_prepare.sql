-- Roll-back of a run: the recoveries it wrote, from their events; of several of one lead the state before the first and
-- after the last. They stay or go with the person that was recovered. Completes the temporary table undo.
insert into undo (subject_table, subject_key, person_key, before, after, last_id)
select
    'cabinet_lead_recovery_audit',
    events.lead_id,
    (array_agg(events.person_key order by events.id desc))[1],
    (array_agg(events.before order by events.id))[1],
    (array_agg(events.after order by events.id desc))[1],
    coalesce((select max(entries.last_id) from undo as entries), 0)
from ops.cabinet_lead_recovery_events as events
where events.run_id = %(run_id)s and events.event <> 'undone'
group by events.lead_id
