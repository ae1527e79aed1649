-- chk_gaps_are_whole
-- Gaps or impact buckets do not add up to all cabinet leads, or hold a value that is none (domain.md 7.1, 8.2, Q42).
-- Remedy: none by hand; a rule is wrong. Report it.
with leads as (
    select count(distinct records.source_pk) as leads,
        count(distinct records.source_pk) filter (where records.snapshot_at is not null) as dated
    from canon.stg_cabinet_leads as records
),

gaps as (
    select count(*) as leads, count(*) filter (
        where gaps.gap_reason in ('no_identity', 'no_origin', 'inconsistent_origin', 'resolved')
    ) as known
    from ops.cabinet_lead_gaps as gaps
),

buckets as (
    select
        count(*) as leads,
        count(*) filter (where impact.impact_bucket in (
            'still_unidentified', 'recovered_within_14d_but_no_claim', 'recovered_within_14d_and_claim',
            'recovered_late', 'identified_but_missing_origin', 'identified_origin_no_claim', 'identified_origin_claim'
        )) as known
    from ops.v_cabinet_identity_recovery_impact_14d as impact
)

select
    'gaps' as subject,
    leads.dated || ' dated leads, ' || gaps.leads || ' gaps, ' || gaps.known || ' known' as problem
from leads
cross join gaps
where gaps.leads <> leads.dated or gaps.known <> gaps.leads
union all
select 'impact', leads.leads || ' leads, ' || buckets.leads || ' in buckets, ' || buckets.known || ' known'
from leads
cross join buckets
where buckets.leads <> leads.leads or buckets.known <> buckets.leads;
