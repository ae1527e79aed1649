-- ops.v_scout_payment_base
-- What settlement starts from: every person with the scout, the milestones reached inside the scouts' windows and what
-- they are worth, or the first reason why nothing may be paid (domain.md 6.13, Q27, Q79). Nothing is paid here.
-- Grain: one row per person_key.
-- Read by: settlement, the liquidation page.
select
    judged.person_key,
    judged.driver_id,
    judged.scout_id,
    judged.origin_tag,
    judged.source_table,
    judged.source_pk,
    judged.attribution_date,
    judged.milestone_reached,
    judged.milestone_date,
    judged.eligible_7d,
    judged.amount_payable,
    case
        when judged.block_reason is not null then 'BLOCKED'
        when judged.amount_payable > 0 and judged.amount_payable = judged.settled_amount then 'PAID'
        when judged.amount_payable > 0 then 'ELIGIBLE'
        else 'PENDING'
    end as payment_status,
    judged.block_reason
from (
    select
        persons.person_key,
        coalesce(worth.driver_id, accounts.driver_id) as driver_id,
        scouts.scout_id,
        scouts.origin_tag,
        scouts.source_table,
        scouts.source_pk,
        scouts.attribution_date,
        coalesce(worth.milestone_trips, 0) as milestone_reached,
        worth.achieved_date as milestone_date,
        coalesce(worth.achieved_date < worth.lead_date + 7, false) as eligible_7d,
        coalesce(worth.amount_payable, 0.00) as amount_payable,
        settled.settled_amount,
        case
            when scouts.scout_id is null then 'NO_SCOUT'
            when scouts.has_open_conflict then 'CONFLICT'
            when exists (
                    select 1 from canon.possible_same_persons as pairs
                    where pairs.status = 'open'
                        and (pairs.person_a_id = persons.person_key or pairs.person_b_id = persons.person_key)
                    offset 0 -- looked up person by person: a page must not read all
                ) then 'POSSIBLE_SAME_PERSON'
            when not exists (
                    select 1 from canon.identity_links as links where links.person_key = persons.person_key offset 0
                ) then 'NO_IDENTITY'
            when accounts.driver_id is null and exists (
                    select 1 from canon.identity_links as links
                    where links.person_key = persons.person_key and links.source_table = 'drivers'
                    offset 0
                ) then 'QUARANTINED'
        end as block_reason
    from canon.identity_registry as persons
    left join ops.person_scouts as scouts on scouts.person_key = persons.person_key -- 1 : 0..1
    left join lateral ( -- 1 : 0..1, the newest account
        select operational.driver_id
        from canon.operational_drivers as operational
        where operational.person_key = persons.person_key
        order by operational.linked_at desc, operational.driver_id collate "C" desc
        limit 1
    ) as accounts on true
    left join lateral ( -- 1 : 0..1, the highest milestone, and what all of them are worth
        select
            reached.driver_id,
            reached.lead_date,
            reached.milestone_trips,
            reached.achieved_date,
            sum(reached.amount) over () as amount_payable
        from (
            select distinct on (rules.origin_tag, rules.milestone_trips) -- a milestone pays once per person
                leads.driver_id,
                leads.lead_date,
                rules.origin_tag,
                rules.milestone_trips,
                rules.amount,
                milestones.achieved_date
            from observational.lead_trips as leads
            inner join observational.lead_milestones as milestones -- 1 lead : n milestones
                on milestones.source_table = leads.source_table and milestones.source_pk = leads.source_pk
            inner join ops.payment_rules as rules -- 1 milestone : 0..1 rule of a day
                on rules.rule_scope = 'scout' and rules.milestone_type = 'trips'
                and rules.origin_tag
                = case leads.source_table when 'module_ct_migrations' then 'fleet_migration' else 'cabinet' end
                and rules.window_days = milestones.window_days
                and rules.milestone_trips = milestones.milestone_trips
                and leads.lead_date >= rules.valid_from
                and (rules.valid_to is null or leads.lead_date <= rules.valid_to)
            inner join canon.operational_drivers as operational on operational.driver_id = leads.driver_id -- 1 : 1
            where leads.person_key = persons.person_key
            order by
                rules.origin_tag, rules.milestone_trips, leads.lead_date, leads.source_pk collate "C",
                rules.window_days, rules.rule_id
        ) as reached
        order by reached.milestone_trips desc, reached.achieved_date, reached.origin_tag
        limit 1
    ) as worth on true
    left join lateral ( -- 1 : 1, what its scout was settled for it
        select sum(balances.settled_amount) as settled_amount
        from ops.settlement_balances as balances
        where balances.person_key = persons.person_key and balances.scout_id = scouts.scout_id
    ) as settled on true
) as judged
