-- chk_claim_is_achieved_or_disputed
-- A claim whose milestone no lead of its account has reached is not marked as disputed (Q59): the money is demanded
-- without ground.
-- Remedy: run "manage.py refresh_collection"; when it stays, report the claim.
select
    'claim ' || claims.claim_id as subject,
    'no lead of its account reached milestone ' || claims.milestone as problem
from canon.claims_yango_cabinet_14d as claims
where not claims.eligibility_disputed
    and not exists (
        select 1
        from observational.lead_trips as leads
        inner join observational.lead_milestones as reached
            on reached.source_table = leads.source_table and reached.source_pk = leads.source_pk
        where leads.driver_id = claims.driver_id and leads.source_table = 'module_ct_cabinet_leads'
            and reached.milestone_trips = claims.milestone
    );
