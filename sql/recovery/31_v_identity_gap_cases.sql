-- ops.v_identity_gap_cases
-- Leads that matching gave back to people: given up, several candidates, something against the only one, or an origin
-- that a person decided (domain.md 5.4, 7.5, Q34). Candidates and what each lacked are those of the last attempt.
-- Grain: one row per lead_id.
-- Read by: reviewers.
select
    jobs.source_id as lead_id,
    gaps.lead_date,
    gaps.person_key,
    gaps.gap_reason,
    jobs.status,
    jobs.fail_reason,
    jobs.attempt_count,
    jobs.last_attempt_at,
    unmatched.id as unmatched_id,
    coalesce(jsonb_array_length(unmatched.candidates_preview -> 'candidates'), 0) as candidate_count
from ops.identity_matching_jobs as jobs
inner join ops.cabinet_lead_gaps as gaps on gaps.lead_id = jobs.source_id and gaps.gap_reason <> 'resolved' -- 1 : 1
left join canon.identity_unmatched as unmatched -- 1 lead : 0..1
    on unmatched.source_table = 'module_ct_cabinet_leads' and unmatched.source_pk = jobs.source_id
    and unmatched.status = 'OPEN'
where jobs.status = 'failed'
    or (
        jobs.status = 'pending'
        and jobs.fail_reason in (
            'MULTIPLE_CANDIDATES', 'KEY_MATCH_NAME_CONTRADICTS', 'SHARED_IDENTIFIER', 'WEAK_MATCH_ONLY',
            'PERSON_TOO_LARGE', 'AMBIGUOUS'
        )
    )
