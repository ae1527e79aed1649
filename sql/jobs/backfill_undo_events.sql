-- Roll-back of a run: events that its events backfill gave a scout. Their own audit says what was before, so that only
-- the scout comes back, whatever else became of the event since. Adds its rows to the table undo, for the tally, and
-- puts back those that are as the run left them.
insert into undo (subject_table, subject_key, person_key, before, after, last_id, kept)
select
    'lead_events_scout',
    entries.lead_event_id::text,
    null,
    jsonb_build_object('scout_id', entries.old_scout_id),
    jsonb_build_object('scout_id', entries.new_scout_id),
    0,
    case
        when events.scout_id is not distinct from entries.old_scout_id then 'already_restored'
        when events.scout_id is distinct from entries.new_scout_id then 'changed_since'
        when settled.person_key is not null then 'settled'
    end
from (
    select distinct on (lead_event_id) *
    from ops.lead_events_scout_backfill_audit
    where ingestion_run_id = %(target)s and action_type = 'UPDATED'
    order by lead_event_id, id desc
) as entries
left join observational.lead_events as events on events.id = entries.lead_event_id
left join ({settled}) as settled on settled.person_key = events.person_key;

with restored as (
    update observational.lead_events as events
    set scout_id = (undo.before ->> 'scout_id')::integer
    from undo
    where undo.subject_table = 'lead_events_scout' and undo.kept is null and events.id = undo.subject_key::integer
    returning events.*
)

insert into ops.lead_events_scout_backfill_audit (
    lead_event_id, source_table, source_pk, person_key, old_scout_id, new_scout_id, mapping_method, evidence_json,
    action_type, backfill_method, ingestion_run_id, notes
)
select
    restored.id, restored.source_table, restored.source_pk, restored.person_key,
    (undo.after ->> 'scout_id')::integer, restored.scout_id, 'lead_scout_mapping',
    jsonb_build_object('rolled_back_run', %(target)s::integer), 'ROLLED_BACK', 'ROLL_BACK', %(run_id)s, 'rolled back'
from restored
inner join undo on undo.subject_table = 'lead_events_scout' and undo.subject_key = restored.id::text
