-- ops.payment_rules
-- Rules of both scopes that are in force: what the partner owes, what scouts are owed (domain.md 1.5, 3.11).
-- Grain: one row per rule_scope, rule_id.
-- Read by: eligibility, claims, settlement.
select
    'partner' as rule_scope,
    rules.id as rule_id,
    rules.origin_tag,
    rules.window_days,
    'trips' as milestone_type,
    rules.milestone_trips,
    rules.amount,
    rules.currency,
    rules.valid_from,
    rules.valid_to
from ops.partner_payment_rules as rules
where rules.is_active
union all
select
    'scout',
    rules.id,
    rules.origin_tag,
    rules.window_days,
    rules.milestone_type,
    rules.milestone_trips,
    rules.amount,
    rules.currency,
    rules.valid_from,
    rules.valid_to
from ops.scout_payment_rules as rules
where rules.is_active
