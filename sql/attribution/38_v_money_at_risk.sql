-- ops.v_money_at_risk
-- Money that hangs on who a person is: claims that the partner has not paid, and what is open between scouts and us, be
-- it owed to them or theirs to give back. To rank cases by, so currencies are added up as they are.
-- Grain: one row per person_key.
-- Read by: lists of cases to decide, the most money first.
select
    money.person_key,
    sum(money.claims_amount) as claims_amount,
    sum(money.scouts_amount) as scouts_amount,
    sum(money.claims_amount + money.scouts_amount) as amount
from (
    select
        claims.person_key,
        claims.amount_expected as claims_amount,
        0.00 as scouts_amount
    from canon.claims_yango_cabinet_14d as claims
    where claims.status in ('expected', 'generated') and claims.person_key is not null
    union all
    select
        stated.person_key,
        0.00,
        abs(stated.owed_amount - stated.settled_amount)
    from ops.scout_statements as stated
    where stated.owed_amount <> stated.settled_amount
) as money
group by money.person_key
having sum(money.claims_amount + money.scouts_amount) <> 0
