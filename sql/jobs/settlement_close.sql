-- Closes the open settlement period: writes what is due as lines, freezes their counts, sums and digest, opens the next
-- period (domain.md 6.13, Q27). All in the caller's transaction. Returns the counts of what was written.
create temp table before on commit drop as
select periods.* from ops.settlement_periods as periods where periods.id = %(period_id)s and periods.status = 'open';

update ops.settlement_periods as periods set ends_on = %(ends_on)s
from before
where periods.id = before.id and periods.ends_on <> %(ends_on)s;

create temp table due on commit drop as
select due.* from ops.v_settlement_due as due where due.period_id = %(period_id)s;

create temp table waiting on commit drop as
select
    count(*) filter (where stated.block_reason is not null) as blocked,
    count(*) filter (where stated.block_reason is null and stated.payable_date > %(ends_on)s) as not_payable_yet
from ops.scout_statements as stated
where stated.owed_amount <> stated.settled_amount;

insert into ops.settlement_lines (
    period_id, run_id, kind, reason, payment_item_key, scout_id, person_key, driver_id, origin_tag, milestone_type,
    milestone_value, source_table, source_pk, lead_date, achieved_date, payable_date, rule_id, owed_amount,
    settled_before, amount, currency, current_scout_id, scout_source_table, scout_source_pk, attribution_date,
    scout_quality_bucket, ledger_rule, ledger_source
)
select
    due.period_id, %(run_id)s, due.kind, due.reason, due.payment_item_key, due.scout_id, due.person_key, due.driver_id,
    due.origin_tag, due.milestone_type, due.milestone_value, due.source_table, due.source_pk, due.lead_date,
    due.achieved_date, due.payable_date, due.rule_id, due.owed_amount, due.settled_before, due.amount, due.currency,
    due.current_scout_id, due.scout_source_table, due.scout_source_pk, due.attribution_date, due.scout_quality_bucket,
    due.ledger_rule, due.ledger_source
from due
order by due.scout_id, due.person_key, due.origin_tag, due.milestone_type, due.milestone_value, due.currency;

update ops.settlement_periods as periods
set
    status = 'closed',
    closed_at = now(),
    closed_by = %(actor)s,
    run_id = %(run_id)s,
    lines_count = digests.lines_count,
    adjustments_count = digests.adjustments_count,
    scouts_count = digests.scouts_count,
    persons_count = digests.persons_count,
    amounts = digests.amounts,
    digest = digests.digest
from ops.settlement_digests as digests, before
where periods.id = before.id and digests.period_id = %(period_id)s;

insert into ops.settlement_periods (name, starts_on, ends_on, amounts)
values (%(next_name)s, %(next_starts_on)s, %(next_ends_on)s, '{{}}');

with audited as (
    insert into ops.audit_log (run_id, actor, action, subject_table, subject_key, before, after)
    select
        %(run_id)s, %(actor)s, case when before.id is null then 'open_period' else 'close_period' end,
        'settlement_periods', periods.id::text, to_jsonb(before), to_jsonb(periods)
    from ops.settlement_periods as periods
    left join before on before.id = periods.id
    where before.id is not null or periods.status = 'open'
    order by periods.id
    returning 1
)

select jsonb_build_object(
    'lines', (select count(*) from due where due.kind = 'line'),
    'adjustments', (select count(*) from due where due.kind = 'adjustment'),
    'scouts', (select count(distinct due.scout_id) from due),
    'persons', (select count(distinct due.person_key) from due),
    'amounts', (select jsonb_object_agg(sums.currency, sums.amount) from (
        select due.currency, sum(due.amount)::text as amount from due group by due.currency
    ) as sums),
    'blocked', (select waiting.blocked from waiting),
    'not_payable_yet', (select waiting.not_payable_yet from waiting),
    'audit', (select count(*) from audited)
)
