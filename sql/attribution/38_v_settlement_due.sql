-- ops.v_settlement_due
-- The lines that closing the open settlement period now would write, signed (6.13, Q27). Nothing is paid here.
-- Grain: one row per payment_item_key, currency.
-- Read by: the closing, people who preview it.
select
    standing.payment_item_key,
    standing.currency,
    periods.id as period_id,
    standing.scout_id,
    standing.person_key,
    standing.person_name,
    standing.driver_id,
    standing.origin_tag,
    standing.milestone_type,
    standing.milestone_value,
    standing.source_table,
    standing.source_pk,
    standing.lead_date,
    standing.achieved_date,
    standing.payable_date,
    standing.rule_id,
    standing.line_kind as kind,
    standing.line_reason as reason,
    standing.settled_amount + standing.due_amount as owed_amount,
    standing.settled_amount as settled_before,
    standing.due_amount as amount,
    standing.current_scout_id,
    standing.scout_quality_bucket,
    standing.scout_source_table,
    standing.scout_source_pk,
    standing.attribution_date,
    standing.ledger_rule,
    standing.ledger_source
from ops.settlement_standing as standing
inner join ops.settlement_periods as periods on periods.status = 'open' -- 1 : 0..1
where standing.due_amount <> 0
