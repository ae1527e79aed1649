-- ops.conflict_causes
-- Open conflicts of scouts, as what needs a person (domain.md 6.7, Q13, Q17).
-- Grain: one row per subject_key.
-- Read by: the refresh of cases.
select
    conflicts.person_key::text as subject_key,
    conflicts.person_key,
    null::text as driver_id,
    case conflicts.ledger_rule
        when 'C' then 'within_window' when 'RESOLVED_MANUAL_CONFLICT' then 'scout_after_decision' else 'several_sources'
    end as raised_by,
    conflicts.first_created_at as since,
    array_to_string(conflicts.scout_ids, ',') || '|' || array_to_string(conflicts.source_tables, ',') as signature,
    -- What the ledger says is no evidence, and it is dated anew with every decision.
    md5(conflicts.scout_ids::text || coalesce((
        select
            string_agg(
                concat_ws(
                    '|', details.claim ->> 'source_table', details.claim ->> 'source_pk', details.claim ->> 'scout_id',
                    details.claim ->> 'attribution_date'
                ),
                ',' order by details.claim ->> 'source_table' collate "C", details.claim ->> 'source_pk' collate "C"
            )
        from jsonb_array_elements(conflicts.conflict_details) as details (claim)
        where (details.claim ->> 'priority')::integer > 1
    ), '')) as cause_digest
from ops.v_scout_attribution_conflicts as conflicts
where conflicts.conflict_type = 'OPEN'
