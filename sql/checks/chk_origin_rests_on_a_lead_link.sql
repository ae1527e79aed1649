-- chk_origin_rests_on_a_lead_link
-- A person with leads has no origin, or its origin as decided by rule names a record that is not the person's
-- (domain.md 3.5). What a person decided may rest on something else.
-- Remedy: run "manage.py run_identity --full"; when it stays, report the person.
with leads as (
    select links.person_key, count(*) as leads
    from canon.identity_links as links
    where links.source_table <> 'drivers'
    group by links.person_key
),

fitting as (
    select origins.person_key
    from canon.identity_origin as origins
    inner join canon.identity_links as links
        on links.source_pk = origins.origin_source_id
        and links.source_table = case origins.origin_tag
            when 'cabinet_lead' then 'module_ct_cabinet_leads'
            when 'scout_registration' then 'module_ct_scouting_daily'
            when 'migration' then 'module_ct_migrations'
            else 'no lead table'
        end
        and links.person_key = origins.person_key
)

select
    coalesce(leads.person_key, origins.person_key)::text as subject,
    case when origins.person_key is null then 'has leads and no origin' else 'its origin is not one of its leads' end
        as problem
from leads
full join canon.identity_origin as origins on origins.person_key = leads.person_key
left join fitting on fitting.person_key = origins.person_key
where origins.person_key is null
    or (fitting.person_key is null and origins.decided_by = 'system' and origins.origin_tag <> 'legacy_external');
