-- Roll-back of a run: the audits of the backfills say what was put back (table undo, kept is null; domain.md 6.11,
-- "Rollback").
insert into ops.identity_links_backfill_audit (
    source_table, source_pk, person_key, driver_id, match_method, match_result, action_type, evidence_json, reason,
    ingestion_run_id, notes
)
select
    undo.after ->> 'source_table', undo.after ->> 'source_pk', undo.person_key,
    undo.after -> 'evidence' ->> 'driver_id', 'none', 'rolled_back', 'ROLLED_BACK',
    jsonb_build_object('rolled_back_run', %(target)s::integer), 'rolled back', %(run_id)s, 'rolled back'
from undo
where undo.subject_table = 'identity_links' and undo.kept is null and undo.before is null
    and undo.after ->> 'match_rule' like 'BACKFILL%%';

insert into ops.lead_ledger_scout_backfill_audit (
    person_key, old_attributed_scout_id, new_attributed_scout_id, attribution_rule_old, attribution_rule_new,
    attribution_confidence_old, attribution_confidence_new, attribution_source, evidence_json_old, evidence_json_new,
    backfill_method, ingestion_run_id, notes
)
select
    undo.subject_key::uuid, (undo.after ->> 'attributed_scout_id')::integer,
    (undo.before ->> 'attributed_scout_id')::integer, undo.after ->> 'attribution_rule',
    undo.before ->> 'attribution_rule', undo.after ->> 'confidence_level', undo.before ->> 'confidence_level',
    'roll_back', nullif(undo.after -> 'evidence_json', 'null'), nullif(undo.before -> 'evidence_json', 'null'),
    'ROLL_BACK', %(run_id)s, 'rolled back'
from undo
where undo.subject_table = 'lead_ledger' and undo.kept is null
    and undo.after ->> 'attribution_rule' like 'BACKFILL%%'
