-- ops.unmatched_causes
-- Open lead records that no rule can decide: several candidates, something against the only one, or a cabinet lead that
-- was tried too often (domain.md 5.4, 7.5, Q7, Q38).
-- Grain: one row per subject_key.
-- Read by: the refresh of cases.
select
    unmatched.source_table || ':' || unmatched.source_pk as subject_key,
    null::uuid as person_key,
    unmatched.driver_id,
    case
        when unmatched.reason_code in (
                'MULTIPLE_CANDIDATES', 'KEY_MATCH_NAME_CONTRADICTS', 'SHARED_IDENTIFIER', 'WEAK_MATCH_ONLY',
                'PERSON_TOO_LARGE', 'AMBIGUOUS'
            ) then unmatched.reason_code
        else 'GIVEN_UP'
    end as raised_by,
    unmatched.created_at as since,
    unmatched.source_table || '|' || unmatched.reason_code as signature,
    md5(concat_ws('|', unmatched.record_digest, unmatched.reason_code, unmatched.candidates_preview)) as cause_digest,
    unmatched.source_table,
    unmatched.source_pk
from canon.identity_unmatched as unmatched
left join ops.identity_matching_jobs as jobs -- 1 : 0..1
    on unmatched.source_table = 'module_ct_cabinet_leads' and jobs.source_type = 'cabinet'
    and jobs.source_id = unmatched.source_pk and jobs.status = 'failed'
where unmatched.status = 'OPEN'
    and (
        unmatched.reason_code in (
            'MULTIPLE_CANDIDATES', 'KEY_MATCH_NAME_CONTRADICTS', 'SHARED_IDENTIFIER', 'WEAK_MATCH_ONLY',
            'PERSON_TOO_LARGE', 'AMBIGUOUS'
        )
        or jobs.id is not null
    )
