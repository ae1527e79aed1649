-- ops.settlement_persons
-- Every person with the scout it belongs to, why, and the first reason why nothing may be settled for it
-- (domain.md 6.13, Q13, Q79). Scout and conflict are those of the last refresh.
-- Grain: one row per person_key.
-- Read by: settlement.
select
    persons.person_key,
    persons.primary_full_name as person_name,
    scouts.scout_id,
    scouts.scout_quality_bucket,
    scouts.source_table as scout_source_table,
    scouts.source_pk as scout_source_pk,
    scouts.attribution_date,
    ledger.attribution_rule as ledger_rule,
    ledger.attributed_source as ledger_source,
    case
        when scouts.scout_id is null then 'NO_SCOUT'
        when scouts.has_open_conflict then 'CONFLICT'
        when persons.person_key in (
                select pairs.person_a_id from canon.possible_same_persons as pairs where pairs.status = 'open'
                union all
                select pairs.person_b_id from canon.possible_same_persons as pairs where pairs.status = 'open'
            ) then 'POSSIBLE_SAME_PERSON'
        when not exists (
                select 1 from canon.identity_links as links where links.person_key = persons.person_key
            ) then 'NO_IDENTITY'
        when exists (
                select 1 from canon.identity_links as links
                where links.person_key = persons.person_key and links.source_table = 'drivers'
            ) and not exists (
                select 1 from canon.operational_drivers as operational
                where operational.person_key = persons.person_key
            ) then 'QUARANTINED'
    end as block_reason
from canon.identity_registry as persons
left join ops.person_scouts as scouts on scouts.person_key = persons.person_key -- 1 : 0..1
left join observational.lead_ledger as ledger on ledger.person_key = persons.person_key -- 1 : 0..1
