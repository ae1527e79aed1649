-- Adds to the plan of a retry what needs no matching: leads that lack only the origin of their person, tries of leads
-- that were settled otherwise or whose link moved, and of leads that are no longer in the feed. Returns how many rows
-- the plan has.
with unheard_of as (
    select
        jobs.source_id, jobs.fail_reason, links.person_key, links.id is not null as is_linked,
        leads.lead_id is not null as is_in_feed, leads.lead_date is not null as is_dated
    from ops.identity_matching_jobs as jobs
    left join canon.identity_links as links -- 1 lead : 0..1
        on links.source_table = 'module_ct_cabinet_leads' and links.source_pk = jobs.source_id
    left join ops.cabinet_lead_identity as leads on leads.lead_id = jobs.source_id -- 1 : 0..1
    where (jobs.status <> 'matched' or links.person_key <> jobs.matched_person_key)
        and not exists (select 1 from recovery_standing as standing where standing.lead_id = jobs.source_id)
),

rest as (
    select scope.lead_id, scope.person_key, 'origin' as kind, scope.cause
    from recovery_scope as scope
    where scope.kind = 'origin'
        and not exists (select 1 from recovery_companions where recovery_companions.person_key = scope.person_key)
    union all
    select source_id, person_key, 'settle', null
    from unheard_of
    -- A dated lead without gap has its origin; another one whose origin a person holds would be settled for ever.
    where is_linked and (is_dated or fail_reason is distinct from 'manual_origin_conflict')
    union all
    select source_id, null, 'gone', null
    from unheard_of
    where not is_linked and not is_in_feed and fail_reason is distinct from 'lead_not_found'
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
