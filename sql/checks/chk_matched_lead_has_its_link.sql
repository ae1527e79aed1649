-- chk_matched_lead_has_its_link
-- A retry counts as matched, but its lead is linked to nobody or to somebody else (RB4). The database itself refuses
-- a matched retry without any link.
-- Remedy: run "manage.py retry_identity_matching"; when it stays, report the lead.
select
    jobs.source_id as subject,
    case when links.id is null then 'matched without link' else 'matched to another person than its link' end as problem
from ops.identity_matching_jobs as jobs
left join canon.identity_links as links -- 1 lead : 0..1
    on links.source_table = 'module_ct_cabinet_leads' and links.source_pk = jobs.source_id
where jobs.status = 'matched' and links.person_key is distinct from jobs.matched_person_key;
