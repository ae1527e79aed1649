-- Applies rows of the ledger backfill with both audits, in one statement (domain.md 6.11 (2), Q15, Q16). Whatever got
-- a scout, a conflict or a person's decision since the plan stays, and so does a person whose case somebody holds.
-- Returns the counts.
with picked as materialized (
    select * from {plan} where seq > %(first)s and seq <= %(last)s
),

held as materialized (
    select cases.person_key from ops.held_cases as cases where cases.person_key is not null
),

before as materialized (
    select ledger.*
    from picked
    inner join observational.lead_ledger as ledger on ledger.person_key = picked.person_key
),

written as (
    insert into observational.lead_ledger as ledger (
        person_key, attributed_source, attributed_scout_id, attribution_rule, attribution_score, confidence_level,
        evidence_json, decision_status, evidence_digest
    )
    select
        picked.person_key, picked.attributed_source, picked.scout_id, %(method)s, 0.95, 'high',
        coalesce(before.evidence_json, '{{}}') || jsonb_build_object(
            'previous_rule', before.attribution_rule,
            'backfill_method', %(method)s,
            'backfill_timestamp', now(),
            'attribution_source', 'lead_events',
            'source_tables', picked.source_tables,
            'origin_tags', picked.origin_tags,
            'total_events', picked.total_events,
            'first_event_date', picked.first_event_date,
            'last_event_date', picked.last_event_date
        ),
        'assigned', picked.digest
    from picked
    left join before on before.person_key = picked.person_key
    -- Its person, or its scout, was taken back.
    where exists (
            select 1 from observational.scout_events as events
            where events.person_key = picked.person_key and events.scout_id = picked.scout_id
        )
        and not exists (select 1 from held where held.person_key = picked.person_key)
    on conflict (person_key) do update set
        attributed_source = excluded.attributed_source,
        attributed_scout_id = excluded.attributed_scout_id,
        attribution_rule = excluded.attribution_rule,
        attribution_score = excluded.attribution_score,
        confidence_level = excluded.confidence_level,
        evidence_json = excluded.evidence_json,
        decision_status = excluded.decision_status,
        evidence_digest = excluded.evidence_digest,
        updated_at = now()
    where ledger.attributed_scout_id is null
        and ledger.decision_status <> 'conflict'
        and (ledger.attribution_rule is null or ledger.attribution_rule not like 'RESOLVED_MANUAL%%')
    returning *
),

told as (
    insert into ops.lead_ledger_scout_backfill_audit (
        person_key, old_attributed_scout_id, new_attributed_scout_id, attribution_rule_old, attribution_rule_new,
        attribution_confidence_old, attribution_confidence_new, attribution_source, evidence_json_old,
        evidence_json_new, backfill_method, ingestion_run_id, notes
    )
    select
        new.person_key, old.attributed_scout_id, new.attributed_scout_id, old.attribution_rule, new.attribution_rule,
        old.confidence_level, new.confidence_level, 'lead_events', old.evidence_json, new.evidence_json, %(method)s,
        %(run_id)s, case when old.person_key is null then 'ledger entry created' else 'ledger entry updated' end
    from written as new
    left join before as old on old.person_key = new.person_key
    returning 1
),

audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'backfill_ledger', 'lead_ledger', new.person_key::text, new.person_key,
        to_jsonb(old), to_jsonb(new)
    from written as new
    left join before as old on old.person_key = new.person_key
    returning 1
)

select jsonb_build_object(
    'total', (select count(*) from picked),
    'updated', (select count(*) from written inner join before on before.person_key = written.person_key),
    'inserted', (
        select count(*) from written
        where not exists (select 1 from before where before.person_key = written.person_key)
    ),
    'skipped', (select count(*) from picked) - (select count(*) from written),
    'backfill_audit', (select count(*) from told),
    'audit', (select count(*) from audited)
)
