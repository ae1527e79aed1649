-- ops.settlement_digests
-- A digest of all lines of a settlement period, and their counts and sums: stored when the period closes, compared ever
-- after.
-- Grain: one row per period_id.
-- Read by: the closing, the checks.
with amounts as (
    select
        sums.period_id,
        jsonb_object_agg(sums.currency, sums.amount::text) as amounts
    from (
        select lines.period_id, lines.currency, sum(lines.amount) as amount
        from ops.settlement_lines as lines
        group by lines.period_id, lines.currency
    ) as sums
    group by sums.period_id
),

digests as (
    select
        lines.period_id,
        count(*) filter (where lines.kind = 'line') as lines_count,
        count(*) filter (where lines.kind = 'adjustment') as adjustments_count,
        count(distinct lines.scout_id) as scouts_count,
        count(distinct lines.person_key) as persons_count,
        md5(string_agg(
            jsonb_build_array(
                lines.id, lines.run_id, lines.kind, lines.reason, lines.payment_item_key, lines.scout_id,
                lines.person_key, lines.driver_id, lines.origin_tag, lines.milestone_type, lines.milestone_value,
                lines.source_table, lines.source_pk, lines.lead_date, lines.achieved_date, lines.payable_date,
                lines.rule_id, lines.owed_amount, lines.settled_before, lines.amount, lines.currency,
                lines.current_scout_id, lines.scout_source_table, lines.scout_source_pk, lines.attribution_date,
                lines.scout_quality_bucket, lines.ledger_rule, lines.ledger_source
            )::text, '' order by lines.id
        )) as digest
    from ops.settlement_lines as lines
    group by lines.period_id
)

select
    periods.id as period_id,
    coalesce(digests.lines_count, 0) as lines_count,
    coalesce(digests.adjustments_count, 0) as adjustments_count,
    coalesce(digests.scouts_count, 0) as scouts_count,
    coalesce(digests.persons_count, 0) as persons_count,
    coalesce(amounts.amounts, '{}'::jsonb) as amounts,
    coalesce(digests.digest, md5('')) as digest
from ops.settlement_periods as periods
left join digests on digests.period_id = periods.id -- 1 : 0..1
left join amounts on amounts.period_id = periods.id -- 1 : 0..1
