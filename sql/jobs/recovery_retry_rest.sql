-- Adds to the plan of a retry what needs no matching: leads that lack only the origin of their person, tries of leads
-- that were settled otherwise, and of leads that are no longer in the feed. Returns how many rows the plan has.
with rest as (
    select scope.lead_id, scope.person_key, 'origin' as kind, scope.cause
    from recovery_scope as scope
    where scope.kind = 'origin'
        and not exists (select 1 from recovery_companions where recovery_companions.person_key = scope.person_key)
    union all
    select jobs.source_id, gaps.person_key, 'settle', null
    from ops.identity_matching_jobs as jobs
    inner join ops.cabinet_lead_gaps as gaps on gaps.lead_id = jobs.source_id -- 1 : 1
    where jobs.status <> 'matched' and gaps.gap_reason = 'resolved'
    union all
    select jobs.source_id, null, 'gone', null
    from ops.identity_matching_jobs as jobs
    where jobs.status <> 'matched' and jobs.fail_reason is distinct from 'lead_not_found'
        and not exists (select 1 from ops.cabinet_lead_identity as leads where leads.lead_id = jobs.source_id)
),

placed as (
    select count(*) as rows, coalesce(max(seq), 0) as seq, coalesce(max(group_no), 0) as group_no from {plan}
),

added as (
    insert into {plan} (seq, group_no, source_table, source_pk, person_key, kind, cause)
    select
        placed.seq + row_number() over (order by rest.person_key, rest.lead_id collate "C"),
        placed.group_no + dense_rank() over (order by coalesce(rest.person_key::text, rest.lead_id)),
        'module_ct_cabinet_leads', rest.lead_id, rest.person_key, rest.kind, rest.cause
    from rest
    cross join placed
    returning 1
)

select placed.rows + (select count(*) from added) from placed
