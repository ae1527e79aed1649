-- ops.cabinet_lead_gaps
-- Dated cabinet leads and what is missing for them to count: a person, the origin of that person, the right origin
-- (domain.md 7.1, Q33). Leads without a date have no age and no window; the diagnosis counts them.
-- Grain: one row per lead_id.
-- Read by: the gap analysis, the recovery jobs, the daily figures.
select
    leads.*,
    case
        when leads.person_key is null then 'no_identity'
        when leads.origin_is_own then 'resolved'
        when leads.origin_tag = 'cabinet_lead' then 'inconsistent_origin'
        else 'no_origin'
    end as gap_reason
from ops.cabinet_lead_identity as leads
where leads.lead_date is not null
