-- Stores the new mappings with their audit; returns the counts.
with written as (
    insert into ops.lead_scout_mapping (source_key, scout_id)
    select source_key, scout_id from scout_mapping where outcome = 'inserted'
    returning *
),

audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, before, after)
    select %(run_id)s, %(actor)s, 'map_scout', 'lead_scout_mapping', source_key, null, to_jsonb(written)
    from written
    returning 1
)

select jsonb_build_object(
    'inserted', (select count(*) from written),
    'unchanged', (select count(*) from scout_mapping where outcome = 'unchanged'),
    'superseded', (select count(*) from scout_mapping where outcome = 'superseded'),
    'audit', (select count(*) from audited)
)
