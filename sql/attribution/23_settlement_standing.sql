-- ops.settlement_standing
-- Every item that is owed to a scout or was settled: what is owed now, what was settled, the difference that closing
-- the open period would write and why; nothing of a person who is blocked, and no more before an item is payable.
-- Grain: one row per payment_item_key, currency.
-- Read by: what is due, the statements of scouts.
with persons as materialized ( -- what blocks a person is asked once, not once per item
    select settled.* from ops.settlement_persons as settled
),

owed as (
    select
        scouts.scout_id,
        items.*
    from ops.settlement_items as items
    inner join ops.person_scouts as scouts on scouts.person_key = items.person_key -- 1 : 0..1
    where scouts.scout_id is not null
),

standing as (
    select
        coalesce(balances.payment_item_key, ops.payment_item_key(
            owed.scout_id, owed.person_key, owed.origin_tag, owed.milestone_type, owed.milestone_value
        )) as payment_item_key,
        coalesce(owed.currency, balances.currency) as currency,
        coalesce(owed.scout_id, balances.scout_id) as scout_id,
        coalesce(owed.person_key, balances.person_key) as person_key,
        coalesce(owed.origin_tag, balances.origin_tag) as origin_tag,
        coalesce(owed.milestone_type, balances.milestone_type) as milestone_type,
        coalesce(owed.milestone_value, balances.milestone_value) as milestone_value,
        -- Of what is no longer owed the facts are those it was settled by.
        coalesce(owed.driver_id, lines.driver_id, payments.driver_id) as driver_id,
        coalesce(owed.source_table, lines.source_table) as source_table,
        coalesce(owed.source_pk, lines.source_pk) as source_pk,
        coalesce(owed.lead_date, lines.lead_date) as lead_date,
        coalesce(owed.achieved_date, lines.achieved_date, payments.achieved_date) as achieved_date,
        coalesce(owed.payable_date, lines.payable_date, payments.payable_date) as payable_date,
        coalesce(owed.rule_id, lines.rule_id) as rule_id,
        coalesce(owed.amount, 0.00) as owed_amount,
        coalesce(balances.settled_amount, 0.00) as settled_amount,
        lines.period_id as last_period_id,
        balances.payment_item_key is not null as is_known,
        owed.person_key is not null as is_owed
    from owed
    full join ops.settlement_balances as balances -- 0..1 : 0..1
        on balances.scout_id = owed.scout_id and balances.person_key = owed.person_key
        and balances.origin_tag = owed.origin_tag and balances.milestone_type = owed.milestone_type
        and balances.milestone_value = owed.milestone_value and balances.currency = owed.currency
    left join ops.settlement_lines as lines on lines.id = balances.last_line_id -- 1 : 0..1
    left join ops.scout_liquidation_ledger as payments on payments.id = balances.payment_id -- 1 : 0..1
    where owed.person_key is not null or balances.settled_amount <> 0
),

-- Settled for a person whose account is another person's by now, and not taken back, because the former is blocked.
kept as materialized (
    select standing.driver_id, standing.origin_tag, standing.milestone_type, standing.milestone_value
    from standing
    inner join persons on persons.person_key = standing.person_key -- 1 : 1
    where not standing.is_owed and standing.settled_amount > 0 and persons.block_reason is not null
        and standing.driver_id is not null
),

judged as materialized (
    select
        standing.*,
        persons.person_name,
        persons.scout_id as current_scout_id,
        persons.scout_quality_bucket,
        persons.scout_source_table,
        persons.scout_source_pk,
        persons.attribution_date,
        persons.ledger_rule,
        persons.ledger_source,
        coalesce(persons.block_reason, case
            when exists ( -- of a person with several accounts
                    select 1 from canon.driver_orphan_quarantine as quarantine
                    where quarantine.driver_id = standing.driver_id and quarantine.status in ('quarantined', 'purged')
                ) then 'QUARANTINED'
            when standing.is_owed and not standing.is_known and exists (
                    select 1 from kept
                    where kept.driver_id = standing.driver_id and kept.origin_tag = standing.origin_tag
                        and kept.milestone_type = standing.milestone_type
                        and kept.milestone_value = standing.milestone_value
                ) then 'ALREADY_SETTLED'
        end) as block_reason,
        periods.ends_on as period_ends_on
    from standing
    inner join persons on persons.person_key = standing.person_key -- 1 : 1
    left join ops.settlement_periods as periods on periods.status = 'open' -- 1 : 0..1
)

select
    judged.*,
    case when judged.is_known then 'adjustment' else 'line' end as line_kind,
    case
        when not judged.is_known then 'REACHED'
        when not judged.is_owed and judged.current_scout_id is distinct from judged.scout_id then 'SCOUT_CHANGED'
        when not judged.is_owed then 'MILESTONE_GONE'
        when judged.settled_amount = 0 then 'OWED_AGAIN'
        else 'AMOUNT_CHANGED'
    end as line_reason,
    case
        when judged.block_reason is not null or judged.period_ends_on is null then 0.00
        when judged.payable_date <= judged.period_ends_on or not judged.is_owed
            then judged.owed_amount - judged.settled_amount
        else least(judged.owed_amount - judged.settled_amount, 0.00)
    end as due_amount
from judged
