-- ops.v_scout_statement
-- How everything stands that a scout is owed or was settled, item by item, and persons who have reached nothing yet:
-- why the person is the scout's, milestone, amounts, what blocks it (domain.md 6.13, Q27). Nothing is paid here.
-- Grain: one row per payment_item_key, currency.
-- Read by: its stored copy, which lists and statements of scouts read; the checks.
with rows as (
    select
        standing.payment_item_key,
        standing.currency,
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
        standing.owed_amount,
        standing.settled_amount,
        standing.due_amount,
        standing.block_reason,
        standing.current_scout_id,
        standing.scout_quality_bucket,
        standing.scout_source_table,
        standing.scout_source_pk,
        standing.attribution_date,
        standing.ledger_rule,
        standing.ledger_source,
        case when standing.due_amount <> 0 then standing.line_kind end as line_kind,
        case when standing.due_amount <> 0 then standing.line_reason end as line_reason,
        standing.last_period_id
    from ops.settlement_standing as standing
    union all
    select
        ops.payment_item_key(persons.scout_id, persons.person_key, '', '', 0), -- of no milestone
        'PEN',
        persons.scout_id,
        persons.person_key,
        persons.person_name,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        0.00,
        0.00,
        0.00,
        persons.block_reason,
        persons.scout_id,
        persons.scout_quality_bucket,
        persons.scout_source_table,
        persons.scout_source_pk,
        persons.attribution_date,
        persons.ledger_rule,
        persons.ledger_source,
        null,
        null,
        null
    from ops.settlement_persons as persons
    where persons.scout_id is not null
        and not exists (select 1 from ops.settlement_items as items where items.person_key = persons.person_key)
)

select
    rows.payment_item_key,
    rows.currency,
    rows.scout_id,
    rows.person_key,
    rows.person_name,
    rows.driver_id,
    rows.origin_tag,
    rows.milestone_type,
    rows.milestone_value,
    rows.source_table,
    rows.source_pk,
    rows.lead_date,
    rows.achieved_date,
    rows.payable_date,
    rows.rule_id,
    rows.owed_amount,
    rows.settled_amount,
    rows.due_amount,
    case
        when rows.settled_amount <> 0 and rows.owed_amount = rows.settled_amount then 'PAID'
        when rows.block_reason is not null then 'BLOCKED'
        when rows.owed_amount <> rows.settled_amount then 'ELIGIBLE'
        else 'PENDING'
    end as payment_status,
    rows.block_reason,
    rows.current_scout_id,
    rows.scout_quality_bucket,
    rows.scout_source_table,
    rows.scout_source_pk,
    rows.attribution_date,
    rows.ledger_rule,
    rows.ledger_source,
    rows.line_kind,
    rows.line_reason,
    rows.last_period_id
from rows
