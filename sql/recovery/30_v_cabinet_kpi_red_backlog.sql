-- ops.v_cabinet_kpi_red_backlog
-- The red figure: dated cabinet leads that are nobody, so that nothing can be claimed for them (domain.md 8.5).
-- Grain: one row per lead_source_pk.
-- Read by: operators of recovery.
select
    gaps.lead_id as lead_source_pk,
    gaps.lead_date,
    case
        when exists (select 1 from canon.claims_yango_cabinet_14d as claims where claims.lead_source_pk = gaps.lead_id)
            then 'no_identity'
        else 'both'
    end as reason_bucket,
    (now() at time zone 'America/Lima')::date - gaps.lead_date as age_days
from ops.cabinet_lead_gaps as gaps
where gaps.gap_reason = 'no_identity'
