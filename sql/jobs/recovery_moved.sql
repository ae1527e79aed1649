-- Matched tries of leads that a person moved name the person of the link, as the invariant wants it. Looked for by the
-- persons that the leads left.
update ops.identity_matching_jobs as jobs
set matched_person_key = links.person_key, updated_at = now()
from canon.identity_links as links
where jobs.status = 'matched' and jobs.matched_person_key = any(%(persons)s)
    and links.source_table = 'module_ct_cabinet_leads' and links.source_pk = jobs.source_id
    and links.person_key <> jobs.matched_person_key
