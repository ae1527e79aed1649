-- ops.settlement_balances
-- What was settled of every item so far: its lines, and what was on record as paid before it was ever settled. Payments
-- for persons whom we do not know count nowhere.
-- Grain: one row per payment_item_key, currency.
-- Read by: settlement.
with entries as (
    select
        lines.payment_item_key,
        lines.currency,
        lines.scout_id,
        lines.person_key,
        lines.origin_tag,
        lines.milestone_type,
        lines.milestone_value,
        lines.amount,
        lines.id as line_id,
        null::integer as payment_id
    from ops.settlement_lines as lines
    union all
    select
        keyed.payment_item_key,
        keyed.currency,
        keyed.scout_id,
        keyed.person_key,
        keyed.lead_origin,
        keyed.milestone_type,
        keyed.milestone_value,
        keyed.amount,
        null,
        keyed.id
    from (
        select
            payments.id,
            payments.currency,
            payments.scout_id,
            payments.person_key,
            payments.lead_origin,
            payments.milestone_type,
            payments.milestone_value,
            payments.amount,
            payments.created_at,
            ops.payment_item_key( -- of its fields: another program may have made the stored key of others
                payments.scout_id, payments.person_key, payments.lead_origin, payments.milestone_type,
                payments.milestone_value
            ) as payment_item_key
        from ops.scout_liquidation_ledger as payments
        inner join canon.identity_registry as persons on persons.person_key = payments.person_key -- 1 : 0..1
    ) as keyed
    where keyed.payment_item_key is not null
        and not exists (
            select 1 from ops.settlement_lines as lines
            where lines.payment_item_key = keyed.payment_item_key and lines.created_at <= keyed.created_at
        )
)

select
    entries.payment_item_key,
    entries.currency,
    entries.scout_id,
    entries.person_key,
    entries.origin_tag,
    entries.milestone_type,
    entries.milestone_value,
    sum(entries.amount) as settled_amount,
    max(entries.line_id) as last_line_id,
    max(entries.payment_id) as payment_id
from entries
group by
    entries.payment_item_key, entries.currency, entries.scout_id, entries.person_key, entries.origin_tag,
    entries.milestone_type, entries.milestone_value
