-- ops.v_payment_calculation
-- Eligibility (C2): every dated lead with a person under every rule valid on its day, and whether the milestone was
-- reached inside the rule's window (domain.md 12.2). Trips are counted once per lead, whatever the number of rules
-- (Q59); the view is per lead, claims take the earliest (Q62).
-- Grain: one row per lead_source_table, lead_source_pk, rule_scope, rule_id.
-- Read by: people who ask why something is or is not owed.
select
    eligible.person_key,
    eligible.origin_tag,
    migrations.scout_id,
    eligible.driver_id,
    eligible.source_table as lead_source_table,
    eligible.source_pk as lead_source_pk,
    eligible.lead_date,
    eligible.rule_id,
    eligible.rule_scope,
    eligible.milestone_type,
    eligible.milestone_trips,
    eligible.window_days,
    eligible.currency,
    eligible.amount,
    eligible.valid_from as rule_valid_from,
    eligible.valid_to as rule_valid_to,
    eligible.achieved_date is not null as milestone_achieved,
    eligible.achieved_date,
    eligible.trips_in_window as achieved_trips_in_window,
    eligible.achieved_date is not null as is_payable,
    eligible.achieved_date + eligible.window_days as payable_date,
    case
        when eligible.rule_scope = 'partner' then 'yango'
        when eligible.origin_tag = 'fleet_migration' then 'migration'
        else eligible.origin_tag
    end || '_' || eligible.window_days || 'd_' || eligible.milestone_trips || 'trips' as payment_scheme
from (
    select
        leads.*,
        rules.rule_id,
        rules.rule_scope,
        rules.origin_tag,
        rules.milestone_type,
        rules.milestone_trips,
        rules.window_days,
        rules.currency,
        rules.amount,
        rules.valid_from,
        rules.valid_to,
        case rules.milestone_type
            when 'trips' then reached.achieved_date
            else case when leads.first_connection_date < leads.lead_date + rules.window_days
                then leads.first_connection_date end
        end as achieved_date,
        case rules.window_days
            when 7 then leads.trips_7d
            when 14 then leads.trips_14d
            when 30 then leads.trips_30d
            else reached.trips_in_window
        end as trips_in_window
    from observational.lead_trips as leads
    inner join ops.payment_rules as rules -- 1 lead : n rules
        on rules.origin_tag
        = case leads.source_table when 'module_ct_migrations' then 'fleet_migration' else 'cabinet' end
        and leads.lead_date >= rules.valid_from and (rules.valid_to is null or leads.lead_date <= rules.valid_to)
    left join observational.lead_milestones as reached -- 1 lead and rule : 0..1
        on reached.source_table = leads.source_table and reached.source_pk = leads.source_pk
        and reached.window_days = rules.window_days and reached.milestone_trips = rules.milestone_trips
    left join canon.operational_drivers as operational on operational.driver_id = leads.driver_id -- 1 : 0..1
    where leads.person_key is not null and (leads.driver_id is null or operational.driver_id is not null)
) as eligible
left join observational.scout_events as migrations -- 1 lead : 0..1 event
    on migrations.source_table = eligible.source_table and migrations.source_pk = eligible.source_pk
    and migrations.kind = 'fleet_migration'
