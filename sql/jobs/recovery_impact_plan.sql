-- The plan of the recovery impact job (RB2, domain.md 8.3, Q44, Q48): leads with a person whose origin is missing or
-- wrong, and leads that a later run linked more than a day after matching had left them open, without their recovery on
-- record. Newest leads first; leads of one person stay together. Leads without person, and those whose origin a
-- person decided, are left out before the limit.
create table {plan} as
with due as (
    select
        leads.lead_id, leads.lead_date, leads.person_key,
        case when leads.origin_is_own then 'sweep' else 'origin' end as kind
    from ops.cabinet_lead_identity as leads
    where leads.person_key is not null and not leads.origin_is_held
        and (
            not leads.origin_is_own
            or (
                (leads.linked_at at time zone 'America/Lima')::date > leads.lead_date + 1
                and exists (
                    select 1 from canon.identity_unmatched as unmatched
                    where unmatched.source_table = 'module_ct_cabinet_leads' and unmatched.source_pk = leads.lead_id
                        and unmatched.status = 'RESOLVED' and unmatched.created_at < leads.linked_at
                )
                and not exists (
                    select 1 from ops.cabinet_lead_recovery_audit as known where known.lead_id = leads.lead_id
                )
            )
        )
),

-- The origin is one for all leads of a person: who goes along is recovered with it, whatever the limit.
picked as (
    select due.person_key
    from due
    order by due.lead_date desc nulls last, due.lead_id collate "C"
    {limited}
)

select
    row_number() over (order by due.person_key, due.lead_id collate "C") as seq,
    dense_rank() over (order by due.person_key) as group_no,
    'module_ct_cabinet_leads' as source_table,
    due.lead_id as source_pk,
    due.person_key,
    due.kind,
    null::text as cause,
    null::text as reason_code,
    null::text[] as companions
from due
where due.person_key in (select picked.person_key from picked)
