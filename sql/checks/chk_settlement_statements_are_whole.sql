-- chk_settlement_statements_are_whole
-- The statements of all scouts together do not add up to the ledger of lines, or to what is due (domain.md 12.10).
-- Remedy: none by hand; a view multiplies or drops rows, report it with these figures.
with statements as (
    select
        rows.currency,
        sum(rows.settled_amount) as settled,
        sum(rows.due_amount) as due
    from ops.v_scout_statement as rows
    group by rows.currency
),

balances as (
    select balances.currency, sum(balances.settled_amount) as settled
    from ops.settlement_balances as balances
    group by balances.currency
),

due as (
    select scouts.currency, sum(scouts.amount) as due
    from (
        select due.scout_id, due.currency, sum(due.amount) as amount
        from ops.v_settlement_due as due
        group by due.scout_id, due.currency
    ) as scouts
    group by scouts.currency
)

select
    coalesce(statements.currency, balances.currency, due.currency) as subject,
    coalesce(statements.settled, 0) || ' settled in statements, ' || coalesce(balances.settled, 0) || ' in lines; '
    || coalesce(statements.due, 0) || ' due in statements, ' || coalesce(due.due, 0) || ' in all' as problem
from statements
full join balances on balances.currency = statements.currency -- 1 : 0..1
full join due on due.currency = coalesce(statements.currency, balances.currency) -- 1 : 0..1
where coalesce(statements.settled, 0) <> coalesce(balances.settled, 0)
    or coalesce(statements.due, 0) <> coalesce(due.due, 0);
