-- chk_quarantined_driver_claims_nothing
-- An account in quarantine, or purged, appears among claims, debts or milestones (domain.md 9.7, Q55).
-- Remedy: none by hand; a view reads past canon.operational_drivers, report it.
with shown as (
    select 'claims' as place, claims.driver_id from ops.v_yango_cabinet_claims_for_collection as claims
    union
    select 'financial', owed.driver_id from ops.v_cabinet_financial_14d as owed
    union
    select 'reconciliation', sides.driver_id from ops.v_cabinet_milestones_reconciled as sides
    union
    select 'payments', payments.driver_id from ops.v_yango_cabinet_payments_reportamos as payments
    union
    select 'funnel', steps.driver_id from ops.v_cabinet_funnel_status as steps
)

select
    shown.driver_id as subject,
    'in quarantine, and in ' || shown.place as problem
from shown
inner join canon.driver_orphan_quarantine as quarantine on quarantine.driver_id = shown.driver_id -- 1 : 0..1
where quarantine.status in ('quarantined', 'purged');
