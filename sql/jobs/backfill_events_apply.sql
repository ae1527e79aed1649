-- Applies rows of the events backfill with their audit, in one statement (domain.md 6.11 (3), Q28). An event that got a
-- scout since the plan stays. Returns the counts.
with picked as materialized (
    select * from {plan} where seq > %(first)s and seq <= %(last)s
),

written as (
    update observational.lead_events as events
    set scout_id = picked.scout_id
    from picked
    inner join ops.lead_scout_mapping as mapping
        on mapping.source_key = picked.source_pk and mapping.scout_id = picked.scout_id
    where events.id = picked.event_id and events.scout_id is null
    returning events.*
),

told as (
    insert into ops.lead_events_scout_backfill_audit (
        lead_event_id, source_table, source_pk, person_key, old_scout_id, new_scout_id, mapping_method,
        mapping_confidence, evidence_json, action_type, backfill_method, ingestion_run_id
    )
    select
        id, source_table, source_pk, person_key, null, scout_id, 'lead_scout_mapping', 'high',
        jsonb_build_object('source_key', source_pk, 'scout_id', scout_id), 'UPDATED', %(method)s, %(run_id)s
    from written
    returning 1
)

select jsonb_build_object(
    'total', (select count(*) from picked),
    'updated', (select count(*) from written),
    'skipped', (select count(*) from picked) - (select count(*) from written),
    'backfill_audit', (select count(*) from told)
)
