-- The floor of the retry of lost leads, beyond the identity floor that runs before it: one insert ... select per table,
-- for every lead that has a link and every one that was left open. No plan, no causes, no origins of others.

insert into ops.identity_matching_jobs (
    source_id, status, attempt_count, last_attempt_at, matched_person_key, fail_reason
)
select
    coalesce(nullif(leads.external_id, ''), leads.id::text),
    case when links.id is not null then 'matched' else 'pending' end,
    1, now(), links.person_key, unmatched.reason_code
from public.module_ct_cabinet_leads as leads
left join canon.identity_links as links
    on links.source_table = 'module_ct_cabinet_leads'
    and links.source_pk = coalesce(nullif(leads.external_id, ''), leads.id::text)
left join canon.identity_unmatched as unmatched
    on unmatched.source_table = 'module_ct_cabinet_leads'
    and unmatched.source_pk = coalesce(nullif(leads.external_id, ''), leads.id::text);

insert into ops.identity_matching_attempts (lead_id, attempt, cause, outcome, fail_reason)
select source_id, attempt_count, 'first', status, fail_reason from ops.identity_matching_jobs;

insert into ops.cabinet_lead_recovery_audit (
    lead_id, first_recovered_at, last_recovered_at, recovered_person_key, recovery_method
)
select source_id, now(), now(), matched_person_key, 'retry_matching'
from ops.identity_matching_jobs
where status = 'matched';

insert into ops.cabinet_lead_recovery_events (
    lead_id, event, recovery_method, person_key, recovered_at, recorded_by, after
)
select lead_id, 'recovered', recovery_method, recovered_person_key, first_recovered_at, 'floor', to_jsonb(recovered)
from ops.cabinet_lead_recovery_audit as recovered
