-- The decision of a person about a conflict of scouts, with its audit: one of them, or nobody, gets the person
-- (domain.md 6.7). No job overrules it, and the conflict stays closed until a scout appears who is not among those
-- decided on.
with claimed as (
    select claims.underlying_table
    from ops.v_scout_attribution_raw as claims
    where claims.person_key = %(person_key)s and claims.scout_id = %(scout_id)s and claims.priority > 1
    order by
        claims.priority, claims.attribution_date desc nulls last, claims.source_table collate "C",
        claims.source_pk collate "C"
    limit 1
),

before as materialized (
    select ledger.* from observational.lead_ledger as ledger where ledger.person_key = %(person_key)s
),

written as (
    insert into observational.lead_ledger (
        person_key, attributed_source, attributed_scout_id, attribution_rule, attribution_score, confidence_level,
        evidence_json, decision_status
    )
    select
        %(person_key)s,
        coalesce(
            (
                select
                    case claimed.underlying_table
                        when 'module_ct_migrations' then 'fleet_migration'
                        when 'module_ct_scouting_daily' then 'scouting'
                        else 'cabinet'
                    end
                from claimed
            ),
            (select before.attributed_source from before)
        ),
        %(scout_id)s,
        'RESOLVED_MANUAL_CONFLICT',
        1.00,
        'high',
        jsonb_build_object(
            'conflict_resolution', true,
            'conflict_resolution_date', (now() at time zone 'America/Lima')::date,
            'conflict_scout_ids', to_jsonb(%(scout_ids)s::integer[]),
            'resolved_scout_id', %(scout_id)s::integer,
            'previous_rule', (select before.attribution_rule from before)
        ),
        %(decision_status)s
    on conflict (person_key) do update set
        attributed_source = excluded.attributed_source,
        attributed_scout_id = excluded.attributed_scout_id,
        attribution_rule = excluded.attribution_rule,
        attribution_score = excluded.attribution_score,
        confidence_level = excluded.confidence_level,
        evidence_json = excluded.evidence_json,
        decision_status = excluded.decision_status,
        updated_at = now()
    returning *
)

insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, person_key, before, after)
select
    %(run_id)s, %(actor)s, 'decide_conflict', %(reason)s, 'lead_ledger', new.person_key::text, new.person_key,
    to_jsonb(old), to_jsonb(new)
from written as new
left join before as old on old.person_key = new.person_key -- 1 : 0..1
