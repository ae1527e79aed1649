-- What milestones of a person are worth to a scout, whoever the scout is: by the earliest lead in whose window a
-- milestone was reached, once per person, by the rule valid on the day of that lead (domain.md 1.5, 6.13, Q27).
-- Writes only what differs from what is stored.
create temp table scout_rules on commit drop as
select
    rules.*,
    case rules.origin_tag when 'fleet_migration' then 'module_ct_migrations' else 'module_ct_cabinet_leads' end
        as source_table
from ops.payment_rules as rules
where rules.rule_scope = 'scout';
analyze scout_rules;

create temp table fresh_items on commit drop as
with reached as (
    select
        leads.person_key, leads.driver_id, rules.origin_tag, rules.milestone_type,
        rules.milestone_trips as milestone_value, leads.source_table, leads.source_pk, leads.lead_date,
        milestones.achieved_date, rules.window_days, rules.rule_id, rules.amount, rules.currency
    from observational.lead_milestones as milestones
    inner join scout_rules as rules
        on rules.milestone_type = 'trips' and rules.source_table = milestones.source_table
        and rules.window_days = milestones.window_days and rules.milestone_trips = milestones.milestone_trips
    inner join observational.lead_trips as leads
        on leads.source_table = milestones.source_table and leads.source_pk = milestones.source_pk
        and leads.lead_date >= rules.valid_from and (rules.valid_to is null or leads.lead_date <= rules.valid_to)
    where leads.person_key is not null and leads.driver_id is not null
    union all
    select
        leads.person_key, leads.driver_id, rules.origin_tag, rules.milestone_type, rules.milestone_trips,
        leads.source_table, leads.source_pk, leads.lead_date, leads.first_connection_date, rules.window_days,
        rules.rule_id, rules.amount, rules.currency
    from observational.lead_trips as leads
    inner join scout_rules as rules
        on rules.milestone_type = 'connection' and rules.source_table = leads.source_table
        and leads.first_connection_date < leads.lead_date + rules.window_days
        and leads.lead_date >= rules.valid_from and (rules.valid_to is null or leads.lead_date <= rules.valid_to)
    where leads.person_key is not null and leads.driver_id is not null
)

select distinct on (reached.person_key, reached.origin_tag, reached.milestone_type, reached.milestone_value)
    reached.*,
    reached.achieved_date + reached.window_days as payable_date
from reached
order by
    reached.person_key, reached.origin_tag, reached.milestone_type, reached.milestone_value, reached.lead_date,
    reached.source_pk collate "C", reached.window_days, reached.rule_id;
analyze fresh_items (person_key, origin_tag, milestone_type, milestone_value);

with gone as (
    delete from ops.settlement_items as stored
    where not exists (
            select 1 from fresh_items as fresh
            where fresh.person_key = stored.person_key and fresh.origin_tag = stored.origin_tag
                and fresh.milestone_type = stored.milestone_type and fresh.milestone_value = stored.milestone_value
        )
    returning 1
),

written as (
    insert into ops.settlement_items as stored (
        person_key, driver_id, origin_tag, milestone_type, milestone_value, source_table, source_pk, lead_date,
        achieved_date, payable_date, window_days, rule_id, amount, currency
    )
    select
        fresh.person_key, fresh.driver_id, fresh.origin_tag, fresh.milestone_type, fresh.milestone_value,
        fresh.source_table, fresh.source_pk, fresh.lead_date, fresh.achieved_date, fresh.payable_date,
        fresh.window_days, fresh.rule_id, fresh.amount, fresh.currency
    from fresh_items as fresh
    where not exists (
            select 1 from ops.settlement_items as same
            where same.person_key = fresh.person_key and same.origin_tag = fresh.origin_tag
                and same.milestone_type = fresh.milestone_type and same.milestone_value = fresh.milestone_value
                and (
                    same.driver_id, same.source_table, same.source_pk, same.lead_date, same.achieved_date,
                    same.payable_date, same.window_days, same.rule_id, same.amount, same.currency
                ) is not distinct from (
                    fresh.driver_id, fresh.source_table, fresh.source_pk, fresh.lead_date, fresh.achieved_date,
                    fresh.payable_date, fresh.window_days, fresh.rule_id, fresh.amount, fresh.currency
                )
        )
    on conflict (person_key, origin_tag, milestone_type, milestone_value) do update set
        driver_id = excluded.driver_id,
        source_table = excluded.source_table,
        source_pk = excluded.source_pk,
        lead_date = excluded.lead_date,
        achieved_date = excluded.achieved_date,
        payable_date = excluded.payable_date,
        window_days = excluded.window_days,
        rule_id = excluded.rule_id,
        amount = excluded.amount,
        currency = excluded.currency
    returning 1
)

select jsonb_build_object(
    'items_owed', (select count(*) from fresh_items),
    'items_changed', (select count(*) from written),
    'items_gone', (select count(*) from gone)
)
