-- chk_money_is_to_the_cent
-- An account's money does not add up: parts and sum differ, or an amount has more than two decimals.
-- Remedy: none by hand; a view or a rule is wrong, report the account.
select
    owed.driver_id as subject,
    owed.expected_total_yango || ' expected, ' || owed.total_paid_yango || ' paid, ' || owed.amount_due_yango || ' due'
        as problem
from ops.v_cabinet_financial_14d as owed
where owed.amount_due_yango <> owed.expected_total_yango - owed.total_paid_yango
    or owed.expected_total_yango <> owed.expected_amount_m1 + owed.expected_amount_m5 + owed.expected_amount_m25
    or owed.total_paid_yango <> owed.paid_amount_m1 + owed.paid_amount_m5 + owed.paid_amount_m25
    or owed.amount_due_yango <> round(owed.amount_due_yango, 2);
