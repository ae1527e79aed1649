-- ops.origin_conflict_causes
-- Cabinet leads of a person whose origin somebody decided, and decided otherwise (domain.md 7.6, Q34). Whoever
-- decided to keep the origin against a lead is not asked again until the origin or its person is another one.
-- Grain: one row per subject_key.
-- Read by: the refresh of cases, the decision about the origin.
select
    jobs.source_id as subject_key,
    links.person_key,
    null::text as driver_id,
    'manual_origin_conflict' as raised_by,
    coalesce(jobs.last_attempt_at, jobs.updated_at) as since,
    concat_ws('|', origins.origin_tag, origins.decided_by, origins.resolution_status) as signature,
    md5(concat_ws('|', links.person_key, origins.origin_tag, origins.origin_source_id)) as cause_digest
from ops.identity_matching_jobs as jobs
inner join canon.identity_links as links -- 1 lead : 0..1
    on links.source_table = 'module_ct_cabinet_leads' and links.source_pk = jobs.source_id
inner join canon.identity_origin as origins on origins.person_key = links.person_key -- 1 : 0..1
where jobs.source_type = 'cabinet'
    -- Was matched, and the origin was decided, or a decision taken back, since.
    and (jobs.fail_reason = 'manual_origin_conflict' or jobs.status = 'matched')
    and (
        origins.decided_by = 'manual' or origins.resolution_status in ('resolved_manual', 'marked_legacy', 'discarded')
    )
    and not exists (
        select 1 from canon.identity_links as own
        where origins.origin_tag = 'cabinet_lead' and own.source_table = 'module_ct_cabinet_leads'
            and own.source_pk = origins.origin_source_id and own.person_key = origins.person_key
    )
    and origins.evidence -> 'kept_against' ->> jobs.source_id is distinct from
    md5(concat_ws('|', links.person_key, origins.origin_tag, origins.origin_source_id))
