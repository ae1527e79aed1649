-- ops.v_cabinet_identity_recovery_impact_14d
-- What became of every cabinet lead: identified, with the right origin, recovered in time or late, claimed (RB2,
-- domain.md 8.2, Q33, Q42, Q46, Q47). A claim is one of the lead itself. The last day of the window counts as in time.
-- A lead without date has no window: it is neither in time nor late.
-- Grain: one row per lead_id.
-- Read by: operators of recovery, the daily figures.
select
    judged.lead_id,
    judged.lead_date,
    judged.lead_date + 14 as window_end_14d,
    judged.person_key as person_key_effective,
    judged.person_key is not null as identity_effective,
    judged.origin_is_own as origin_ok,
    judged.claims is not null as has_claim,
    case
        when judged.person_key is null then 'unidentified'
        when not judged.origin_is_own then 'identified_no_origin'
        when judged.claims is null then 'identified_origin_no_claim'
        else 'identified_origin_claim'
    end as claim_status_bucket,
    judged.first_recovered_at as recovered_at,
    judged.is_in_time as recovered_within_14d,
    case
        when judged.person_key is null then 'still_unidentified'
        when judged.is_in_time and judged.claims is null then 'recovered_within_14d_but_no_claim'
        when judged.is_in_time then 'recovered_within_14d_and_claim'
        when not judged.is_in_time then 'recovered_late'
        when not judged.origin_is_own then 'identified_but_missing_origin'
        when judged.claims is null then 'identified_origin_no_claim'
        else 'identified_origin_claim'
    end as impact_bucket,
    judged.claimed_amount
from (
    select
        leads.*,
        recovered.first_recovered_at,
        (recovered.first_recovered_at at time zone 'America/Lima')::date <= leads.lead_date + 14 as is_in_time,
        claimed.claims,
        coalesce(claimed.amount, 0.00) as claimed_amount
    from ops.cabinet_lead_identity as leads
    left join ops.cabinet_lead_recovery_audit as recovered on recovered.lead_id = leads.lead_id -- 1 : 0..1
    left join ( -- 1 lead : 0..1
        select claims.lead_source_pk, count(*) as claims, sum(claims.amount_expected) as amount
        from canon.claims_yango_cabinet_14d as claims
        where claims.milestone in (1, 5, 25) and claims.driver_id is not null
        group by claims.lead_source_pk
    ) as claimed on claimed.lead_source_pk = leads.lead_id
) as judged
