-- observational.cabinet_achievements
-- What the partner owes by trips: milestones of an account that a rule valid on the day of the lead pays for, by the
-- earliest lead in whose window the milestone was reached (Q61, Q62).
-- Grain: one row per driver_id, milestone_value.
-- Read by: the claims of the refresh, the checks.
select distinct on (leads.driver_id, reached.milestone_trips) -- per account and milestone the earliest lead
    leads.driver_id,
    reached.milestone_trips as milestone_value,
    leads.person_key,
    leads.source_pk as lead_source_pk,
    leads.lead_date,
    reached.achieved_date,
    rules.rule_id,
    rules.window_days,
    rules.amount
from observational.lead_milestones as reached
inner join observational.lead_trips as leads -- 1 : 1
    on leads.source_table = reached.source_table and leads.source_pk = reached.source_pk
inner join ops.payment_rules as rules -- 1 milestone : 0..1 rule of a day
    on rules.rule_scope = 'partner' and rules.origin_tag = 'cabinet'
    and rules.window_days = reached.window_days and rules.milestone_trips = reached.milestone_trips
    and leads.lead_date >= rules.valid_from and (rules.valid_to is null or leads.lead_date <= rules.valid_to)
where reached.source_table = 'module_ct_cabinet_leads'
    and leads.driver_id is not null and leads.person_key is not null
order by
    leads.driver_id, reached.milestone_trips, leads.lead_date, leads.source_pk collate "C", rules.window_days,
    rules.rule_id
