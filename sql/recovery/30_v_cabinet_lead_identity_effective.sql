-- ops.v_cabinet_lead_identity_effective
-- Whose every cabinet lead is, by its link (RB2, domain.md 8.1).
-- Grain: one row per lead_id.
-- Read by: operators of recovery.
select
    leads.lead_id,
    leads.lead_date,
    leads.person_key as person_key_effective,
    case when leads.person_key is not null then 'existing_link' else 'none' end as identity_link_source,
    leads.person_key is not null as identity_effective
from ops.cabinet_lead_identity as leads
