-- Applies rows of the ledger plan with their audit (domain.md 6.2). A row that a person or a backfill decided since
-- the plan was made stays (P7); so does one whose person's case somebody holds, until the next run. A decision that
-- comes out as it was is marked as seen, not changed. Returns the counts.
with picked as materialized (
    select * from {plan} where seq > %(first)s and seq <= %(last)s
),

-- What follows from a decision follows at once, whoever looks at the person.
held as materialized (
    select cases.person_key
    from ops.held_cases as cases
    where cases.person_key is not null
        and not exists (
            select 1 from ops.ingestion_runs as runs
            where runs.id = %(run_id)s and runs.job_type in ('review_decision', 'roll_back')
        )
),

before as materialized (
    select ledger.*
    from picked
    inner join observational.lead_ledger as ledger on ledger.person_key = picked.person_key
),

todo as materialized (
    select
        picked.*,
        before.person_key is null or (
            before.attributed_source, before.attributed_scout_id, before.attribution_rule, before.attribution_score,
            before.confidence_level, before.decision_status, before.evidence_json
        ) is distinct from (
            picked.attributed_source, picked.scout_id, picked.rule, picked.score, picked.confidence,
            picked.decision_status, picked.evidence
        )
        -- A scout assigned before this ledger stays until his evidence changes; who else claims shows as a conflict
        -- (Q12).
        and not (
            before.decision_status = 'assigned' and before.attributed_scout_id is not null
            and before.evidence_digest is null
        )
            as is_changed
    from picked
    left join before on before.person_key = picked.person_key
    where (
            before.attribution_rule is null
            or (before.attribution_rule <> 'RESOLVED_MANUAL_CONFLICT' and before.attribution_rule not like 'BACKFILL%%')
        )
        and not exists (select 1 from held where held.person_key = picked.person_key)
),

seen as (
    update observational.lead_ledger as ledger
    set evidence_digest = todo.digest
    from todo
    where ledger.person_key = todo.person_key and not todo.is_changed
    returning 1
),

written as (
    insert into observational.lead_ledger (
        person_key, attributed_source, attributed_scout_id, attribution_rule, attribution_score, confidence_level,
        evidence_json, decision_status, evidence_digest
    )
    select
        person_key, attributed_source, scout_id, rule, score, confidence, evidence, decision_status, digest
    from todo
    where is_changed
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
    returning *
),

audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, person_key, before, after)
    select
        %(run_id)s, %(actor)s, 'decide_ledger', 'lead_ledger', new.person_key::text, new.person_key,
        to_jsonb(old), to_jsonb(new)
    from written as new
    left join before as old on old.person_key = new.person_key
    returning 1
)

select jsonb_build_object(
    'processed_person_keys', (select count(*) from picked),
    'processed_events', (
        select coalesce(sum(
            (picked.evidence #>> array['counts', 'fleet_migration'])::integer
            + (picked.evidence #>> array['counts', 'scouting'])::integer
            + (picked.evidence #>> array['counts', 'cabinet'])::integer
        ), 0)
        from picked
    ),
    'assigned_count', (select count(*) from todo where decision_status = 'assigned'),
    'conflict_count', (select count(*) from todo where decision_status = 'conflict'),
    'unassigned_count', (select count(*) from todo where decision_status = 'unassigned'),
    'changed_count', (select count(*) from written),
    'skipped_changed_since_plan', (select count(*) from picked) - (select count(*) from todo),
    'audit', (select count(*) from audited)
)
