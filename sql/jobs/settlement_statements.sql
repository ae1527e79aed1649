-- The statements of scouts, copied from the view that says what is true, so that a page of a list costs the page.
-- Writes only what differs from what is stored.
drop table if exists pg_temp.fresh_statements; -- one transaction may do this twice
create temp table fresh_statements on commit drop as
select rows.* from ops.v_scout_statement as rows;
analyze fresh_statements (payment_item_key, currency);

with gone as (
    delete from ops.scout_statements as stored
    where not exists (
            select 1 from fresh_statements as fresh
            where fresh.payment_item_key = stored.payment_item_key and fresh.currency = stored.currency
        )
    returning 1
),

written as (
    insert into ops.scout_statements as stored (
        payment_item_key, currency,
        scout_id, person_key, person_name, driver_id, origin_tag, milestone_type, milestone_value, source_table,
        source_pk, lead_date, achieved_date, payable_date, rule_id, owed_amount, settled_amount, due_amount,
        payment_status, block_reason, current_scout_id, scout_quality_bucket, scout_source_table, scout_source_pk,
        attribution_date, ledger_rule, ledger_source, line_kind, line_reason,
        last_period_id
    )
    select
        fresh.payment_item_key, fresh.currency,
        fresh.scout_id, fresh.person_key, fresh.person_name, fresh.driver_id, fresh.origin_tag, fresh.milestone_type,
        fresh.milestone_value, fresh.source_table, fresh.source_pk, fresh.lead_date, fresh.achieved_date,
        fresh.payable_date, fresh.rule_id, fresh.owed_amount, fresh.settled_amount, fresh.due_amount,
        fresh.payment_status, fresh.block_reason, fresh.current_scout_id, fresh.scout_quality_bucket,
        fresh.scout_source_table, fresh.scout_source_pk, fresh.attribution_date, fresh.ledger_rule,
        fresh.ledger_source, fresh.line_kind, fresh.line_reason,
        fresh.last_period_id
    from fresh_statements as fresh
    where not exists (
            select 1 from ops.scout_statements as same
            where same.payment_item_key = fresh.payment_item_key and same.currency = fresh.currency
                and (
                    same.scout_id, same.person_key, same.person_name, same.driver_id, same.origin_tag,
                    same.milestone_type, same.milestone_value, same.source_table, same.source_pk, same.lead_date,
                    same.achieved_date, same.payable_date, same.rule_id, same.owed_amount, same.settled_amount,
                    same.due_amount, same.payment_status, same.block_reason, same.current_scout_id,
                    same.scout_quality_bucket, same.scout_source_table, same.scout_source_pk, same.attribution_date,
                    same.ledger_rule, same.ledger_source, same.line_kind, same.line_reason,
                    same.last_period_id
                ) is not distinct from (
                    fresh.scout_id, fresh.person_key, fresh.person_name, fresh.driver_id, fresh.origin_tag,
                    fresh.milestone_type, fresh.milestone_value, fresh.source_table, fresh.source_pk, fresh.lead_date,
                    fresh.achieved_date, fresh.payable_date, fresh.rule_id, fresh.owed_amount, fresh.settled_amount,
                    fresh.due_amount, fresh.payment_status, fresh.block_reason, fresh.current_scout_id,
                    fresh.scout_quality_bucket, fresh.scout_source_table, fresh.scout_source_pk,
                    fresh.attribution_date, fresh.ledger_rule, fresh.ledger_source, fresh.line_kind, fresh.line_reason,
                    fresh.last_period_id
                )
        )
    order by fresh.scout_id, fresh.person_key
    on conflict (payment_item_key, currency) do update set
        scout_id = excluded.scout_id,
        person_key = excluded.person_key,
        person_name = excluded.person_name,
        driver_id = excluded.driver_id,
        origin_tag = excluded.origin_tag,
        milestone_type = excluded.milestone_type,
        milestone_value = excluded.milestone_value,
        source_table = excluded.source_table,
        source_pk = excluded.source_pk,
        lead_date = excluded.lead_date,
        achieved_date = excluded.achieved_date,
        payable_date = excluded.payable_date,
        rule_id = excluded.rule_id,
        owed_amount = excluded.owed_amount,
        settled_amount = excluded.settled_amount,
        due_amount = excluded.due_amount,
        payment_status = excluded.payment_status,
        block_reason = excluded.block_reason,
        current_scout_id = excluded.current_scout_id,
        scout_quality_bucket = excluded.scout_quality_bucket,
        scout_source_table = excluded.scout_source_table,
        scout_source_pk = excluded.scout_source_pk,
        attribution_date = excluded.attribution_date,
        ledger_rule = excluded.ledger_rule,
        ledger_source = excluded.ledger_source,
        line_kind = excluded.line_kind,
        line_reason = excluded.line_reason,
        last_period_id = excluded.last_period_id
    returning 1
)

select jsonb_build_object(
    'statement_rows', (select count(*) from fresh_statements),
    'statement_rows_changed', (select count(*) from written) + (select count(*) from gone)
)
