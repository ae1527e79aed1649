-- chk_collection_sums_are_whole
-- Collection counts a claim twice or not at all, or its weeks do not add up to the whole (domain.md 12.10).
-- Remedy: none by hand; a view multiplies or drops rows, report it with these figures.
with claims as (
    select count(*) as number, coalesce(sum(claims.amount_expected), 0) as amount
    from canon.claims_yango_cabinet_14d as claims
    inner join canon.operational_drivers as operational on operational.driver_id = claims.driver_id -- 1 : 0..1
),

weeks_of_claims as (
    select sum(weeks.number) as number, sum(weeks.amount) as amount
    from (
        select count(*) as number, sum(listed.expected_amount) as amount
        from ops.v_yango_collection_with_scout as listed
        group by listed.week_start
    ) as weeks
),

accounts as (
    select count(distinct leads.driver_id) as number
    from observational.lead_trips as leads
    inner join canon.operational_drivers as operational on operational.driver_id = leads.driver_id -- 1 : 0..1
    where leads.source_table = 'module_ct_cabinet_leads'
),

owed as (
    select count(*) as number, coalesce(sum(debts.amount_due_yango), 0) as amount
    from ops.v_cabinet_financial_14d as debts
),

weeks_of_owed as (
    select sum(weeks.number) as number, sum(weeks.amount) as amount
    from (
        select count(*) as number, sum(debts.amount_due_yango) as amount
        from ops.v_cabinet_financial_14d as debts
        group by debts.week_start
    ) as weeks
)

select
    'claims' as subject,
    claims.number || ' claims of ' || claims.amount || ', listed ' || coalesce(weeks_of_claims.number, 0) || ' of '
    || coalesce(weeks_of_claims.amount, 0) as problem
from claims
cross join weeks_of_claims
where (claims.number, claims.amount)
    is distinct from (coalesce(weeks_of_claims.number, 0), coalesce(weeks_of_claims.amount, 0))
union all
select
    'accounts',
    accounts.number || ' accounts, listed ' || owed.number || ' that owe ' || owed.amount || ', by week '
    || coalesce(weeks_of_owed.number, 0) || ' that owe ' || coalesce(weeks_of_owed.amount, 0)
from accounts
cross join owed
cross join weeks_of_owed
where accounts.number <> owed.number
    or (owed.number, owed.amount)
    is distinct from (coalesce(weeks_of_owed.number, 0), coalesce(weeks_of_owed.amount, 0));
