-- Plan of the claims: milestones without one, claims the list says are paid, claims whose achievement is gone or back
-- (domain.md 3.7, Q59, Q62). A claim stays as it was made; each account of a person claims for itself (Q10).
-- {plan} is the run's plan table, one row per claim.
create table {plan} as
with achieved as materialized (
    select found.* from observational.cabinet_achievements as found
),

paid as materialized (
    select
        states.driver_id,
        states.milestone_value,
        coalesce(
            (states.pay_date + coalesce(ledger.pay_time, time '00:00')) at time zone 'America/Lima', ledger.snapshot_at
        ) as paid_at
    from ops.yango_payment_states as states
    inner join ops.yango_payment_status_ledger as ledger on ledger.id = states.ledger_id
    where states.is_newest_paid
),

missing as (
    select achieved.*
    from achieved
    where not exists (
            select 1 from canon.claims_yango_cabinet_14d as claims
            where claims.driver_id = achieved.driver_id and claims.milestone = achieved.milestone_value
        )
),

todo as (
    select
        null::integer as claim_id,
        null::timestamptz as seen_updated_at,
        missing.person_key,
        missing.driver_id,
        missing.lead_source_pk,
        missing.lead_date,
        missing.milestone_value as milestone,
        missing.amount,
        missing.achieved_date,
        missing.rule_id,
        case when paid.driver_id is not null then 'paid' else 'expected' end as status,
        paid.paid_at,
        false as is_disputed
    from missing
    left join paid on paid.driver_id = missing.driver_id and paid.milestone_value = missing.milestone_value
    union all
    select
        claims.claim_id,
        claims.updated_at,
        claims.person_key,
        claims.driver_id,
        claims.lead_source_pk,
        claims.lead_date,
        claims.milestone,
        claims.amount_expected,
        claims.achieved_date,
        claims.rule_id,
        case when claims.status = 'expected' and paid.driver_id is not null then 'paid' else claims.status end,
        case when claims.status = 'expected' and paid.driver_id is not null then paid.paid_at else claims.paid_at end,
        achieved.driver_id is null
    from canon.claims_yango_cabinet_14d as claims
    left join achieved on achieved.driver_id = claims.driver_id and achieved.milestone_value = claims.milestone
    left join paid on paid.driver_id = claims.driver_id and paid.milestone_value = claims.milestone
    where (claims.status = 'expected' and paid.driver_id is not null)
        or claims.eligibility_disputed <> (achieved.driver_id is null)
)

select
    row_number() over (
        order by todo.lead_date, todo.lead_source_pk collate "C", todo.driver_id collate "C", todo.milestone
    ) as seq,
    row_number() over (
        order by todo.lead_date, todo.lead_source_pk collate "C", todo.driver_id collate "C", todo.milestone
    ) as group_no,
    todo.*
from todo
