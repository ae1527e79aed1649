-- Roll-back of a run: every recovery that was taken back, or came back with a roll-back that was itself taken back, has
-- its line, and tries whose link is gone are open again (table undo, kept is null). The next retry takes them up. A try
-- whose link went back to another person names that one.
with told_of as (
    insert into ops.cabinet_lead_recovery_events (
        lead_id, event, recovery_method, person_key, recovered_at, recorded_by, before, after, run_id
    )
    select
        undo.subject_key, case when undo.after is null then 'recovered' else 'undone' end,
        told.row ->> 'recovery_method', undo.person_key, (told.row ->> 'last_recovered_at')::timestamptz, %(actor)s,
        undo.after, undo.before, %(run_id)s
    from undo
    cross join lateral (select coalesce(undo.after, undo.before) as row) as told
    where undo.subject_table = 'cabinet_lead_recovery_audit' and undo.kept is null
    returning 1
)

update ops.identity_matching_jobs as jobs
set status = 'pending', matched_person_key = null, fail_reason = 'rolled_back', updated_at = now()
from undo
where undo.subject_table = 'identity_links' and undo.kept is null
    and coalesce(undo.after, undo.before) ->> 'source_table' = 'module_ct_cabinet_leads'
    and jobs.source_type = 'cabinet' and jobs.status = 'matched'
    and jobs.source_id = coalesce(undo.after, undo.before) ->> 'source_pk'
    and not exists (
        select 1 from canon.identity_links as links
        where links.source_table = 'module_ct_cabinet_leads' and links.source_pk = jobs.source_id
    );

update ops.identity_matching_jobs as jobs
set matched_person_key = links.person_key, updated_at = now()
from undo
inner join canon.identity_links as links on links.id = undo.subject_key::integer
where undo.subject_table = 'identity_links' and undo.kept is null
    and links.source_table = 'module_ct_cabinet_leads'
    and jobs.source_type = 'cabinet' and jobs.status = 'matched' and jobs.source_id = links.source_pk
    and jobs.matched_person_key <> links.person_key
