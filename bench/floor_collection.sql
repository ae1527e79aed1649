-- The floor of the refresh of collection: what leads came to, their milestones, the claims, what was paid; one statement
-- per table, with no audit, no plan, no comparison with what is stored.
insert into ops.yango_payment_status_ledger (
    source_table, source_pk, pay_date, pay_time, raw_driver_name, driver_name_normalized, milestone_type,
    milestone_value, is_paid, paid_flag_source, driver_id, match_rule, match_confidence, payment_key, state_hash
)
select
    flags.source_table, flags.source_pk, flags.pay_date, flags.pay_time, flags.raw_driver_name,
    flags.driver_name_normalized, 'trips', flags.milestone_value, flags.is_paid, flags.paid_flag_source,
    bearers.driver_id, case when bearers.driver_id is null then 'none' else 'driver_name_unique' end, 'medium',
    flags.payment_key, flags.state_hash
from ops.yango_payment_flags as flags
left join (
    select name_key, min(driver_id) as driver_id
    from (
        select
            driver_id, (select string_agg(word, ' ' order by word collate "C") from unnest(name_tokens) as word) as name_key
        from canon.drivers_index
    ) as named
    group by name_key
    having count(*) = 1
) as bearers on bearers.name_key = flags.driver_name_normalized;

insert into ops.yango_payment_states (
    payment_key, ledger_id, source_pk, pay_date, milestone_value, is_paid, driver_id, identity_status, match_rule,
    match_confidence, is_newest_paid
)
select
    payment_key, id, source_pk, pay_date, milestone_value, is_paid, driver_id, 'enriched', match_rule, match_confidence,
    is_paid and driver_id is not null
from ops.yango_payment_status_ledger;

create temp table floor_leads on commit drop as
select
    records.source_table, records.source_pk, links.person_key, operational.driver_id,
    (records.snapshot_at at time zone 'America/Lima')::date as lead_date,
    'cabinet' as origin_tag
from canon.stg_cabinet_leads as records
left join canon.identity_links as links
    on links.source_table = 'module_ct_cabinet_leads' and links.source_pk = records.source_pk
left join canon.operational_drivers as operational on operational.driver_id = links.evidence ->> 'driver_id'
where records.snapshot_at is not null
union all
select
    records.source_table, records.source_pk, links.person_key, operational.driver_id, records.event_date,
    'fleet_migration'
from canon.stg_migrations as records
left join canon.identity_links as links
    on links.source_table = 'module_ct_migrations' and links.source_pk = records.source_pk
left join canon.operational_drivers as operational on operational.driver_id = links.evidence ->> 'driver_id'
where records.event_date is not null;

create temp table floor_days on commit drop as
select
    leads.source_table, leads.source_pk, leads.origin_tag, leads.lead_date, summaries.day - leads.lead_date as place,
    summaries.trips, summaries.seconds,
    sum(summaries.trips) over (partition by leads.source_table, leads.source_pk order by summaries.day) as total
from floor_leads as leads
inner join observational.stg_summary_daily as summaries
    on summaries.driver_id = leads.driver_id and summaries.day >= leads.lead_date;

insert into observational.lead_trips (
    source_table, source_pk, lead_date, person_key, driver_id, first_connection_date, first_trip_date, trips_7d, trips_14d,
    trips_30d, is_best_of_driver
)
select
    leads.source_table, leads.source_pk, leads.lead_date, leads.person_key, leads.driver_id,
    leads.lead_date + (min(days.place) filter (where days.seconds > 0)),
    leads.lead_date + (min(days.place) filter (where days.trips > 0)),
    coalesce(sum(days.trips) filter (where days.place < 7), 0),
    coalesce(sum(days.trips) filter (where days.place < 14), 0),
    coalesce(sum(days.trips) filter (where days.place < 30), 0),
    false
from floor_leads as leads
left join floor_days as days on days.source_table = leads.source_table and days.source_pk = leads.source_pk
group by leads.source_table, leads.source_pk, leads.lead_date, leads.person_key, leads.driver_id;

insert into observational.lead_milestones (
    source_table, source_pk, window_days, milestone_trips, achieved_date, trips_in_window
)
select
    days.source_table, days.source_pk, rules.window_days, rules.milestone_trips, min(days.lead_date + days.place),
    max(days.total)
from floor_days as days
inner join (
    select origin_tag, window_days, milestone_trips from ops.payment_rules where milestone_type = 'trips'
    group by origin_tag, window_days, milestone_trips
) as rules
    on rules.origin_tag = days.origin_tag and days.place < rules.window_days and days.total >= rules.milestone_trips
group by days.source_table, days.source_pk, rules.window_days, rules.milestone_trips;

insert into ops.person_scouts (
    person_key, scout_id, scout_quality_bucket, source_table, source_pk, origin_tag, attribution_date, priority,
    has_open_conflict
)
select
    scouts.person_key, scouts.scout_id, scouts.scout_quality_bucket, scouts.source_table, scouts.source_pk,
    scouts.origin_tag, scouts.attribution_date, scouts.priority, false
from ops.v_scout_attribution as scouts;

insert into canon.claims_yango_cabinet_14d (
    person_key, driver_id, lead_source_pk, lead_date, milestone, amount_expected, achieved_date, rule_id, status, expected_at
)
select
    achieved.person_key, achieved.driver_id, achieved.lead_source_pk, achieved.lead_date, achieved.milestone_value,
    achieved.amount, achieved.achieved_date, achieved.rule_id,
    case when paid.driver_id is null then 'expected' else 'paid' end, now()
from observational.cabinet_achievements as achieved
left join (
    select driver_id, milestone_value from ops.yango_payment_states where is_newest_paid group by driver_id, milestone_value
) as paid on paid.driver_id = achieved.driver_id and paid.milestone_value = achieved.milestone_value
on conflict do nothing;

insert into ops.settlement_items (
    person_key, driver_id, origin_tag, milestone_type, milestone_value, source_table, source_pk, lead_date, achieved_date,
    payable_date, window_days, rule_id, amount, currency
)
select distinct on (reached.person_key, reached.origin_tag, reached.milestone_type, reached.milestone_trips) reached.*
from (
    select
        leads.person_key, leads.driver_id, rules.origin_tag, rules.milestone_type, rules.milestone_trips,
        leads.source_table, leads.source_pk, leads.lead_date, milestones.achieved_date,
        milestones.achieved_date + rules.window_days, rules.window_days, rules.rule_id, rules.amount, rules.currency
    from observational.lead_milestones as milestones
    inner join ops.payment_rules as rules
        on rules.rule_scope = 'scout' and rules.milestone_type = 'trips' and rules.window_days = milestones.window_days
        and rules.milestone_trips = milestones.milestone_trips
        and (rules.origin_tag = 'fleet_migration') = (milestones.source_table = 'module_ct_migrations')
    inner join observational.lead_trips as leads
        on leads.source_table = milestones.source_table and leads.source_pk = milestones.source_pk
        and leads.lead_date >= rules.valid_from and (rules.valid_to is null or leads.lead_date <= rules.valid_to)
    where leads.person_key is not null and leads.driver_id is not null
    union all
    select
        leads.person_key, leads.driver_id, rules.origin_tag, rules.milestone_type, rules.milestone_trips,
        leads.source_table, leads.source_pk, leads.lead_date, leads.first_connection_date,
        leads.first_connection_date + rules.window_days, rules.window_days, rules.rule_id, rules.amount, rules.currency
    from observational.lead_trips as leads
    inner join ops.payment_rules as rules
        on rules.rule_scope = 'scout' and rules.milestone_type = 'connection'
        and (rules.origin_tag = 'fleet_migration') = (leads.source_table = 'module_ct_migrations')
        and leads.first_connection_date < leads.lead_date + rules.window_days
        and leads.lead_date >= rules.valid_from and (rules.valid_to is null or leads.lead_date <= rules.valid_to)
    where leads.person_key is not null and leads.driver_id is not null
) as reached
order by
    reached.person_key, reached.origin_tag, reached.milestone_type, reached.milestone_trips, reached.lead_date,
    reached.source_pk;
analyze ops.settlement_items;
analyze ops.person_scouts;

insert into ops.scout_statements (
    payment_item_key, currency, scout_id, person_key, person_name, driver_id, origin_tag, milestone_type, milestone_value,
    source_table, source_pk, lead_date, achieved_date, payable_date, rule_id, owed_amount, settled_amount, due_amount,
    payment_status, block_reason, current_scout_id, scout_quality_bucket, scout_source_table, scout_source_pk,
    attribution_date, ledger_rule, ledger_source, line_kind, line_reason, last_period_id
)
select
    payment_item_key, currency, scout_id, person_key, person_name, driver_id, origin_tag, milestone_type, milestone_value,
    source_table, source_pk, lead_date, achieved_date, payable_date, rule_id, owed_amount, settled_amount, due_amount,
    payment_status, block_reason, current_scout_id, scout_quality_bucket, scout_source_table, scout_source_pk,
    attribution_date, ledger_rule, ledger_source, line_kind, line_reason, last_period_id
from ops.v_scout_statement
