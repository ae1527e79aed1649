-- Plan of the ledger backfill: persons of category D whose events name exactly one scout (domain.md 6.11 (2), Q15).
-- A conflict, and what a person decided, is left alone. {plan} is the run's plan table, one row per person.
create table {plan} as
with events as (
    select
        events.person_key,
        min(events.scout_id) as scout_id,
        case
            when bool_or(events.kind = 'fleet_migration' and events.scout_id is not null) then 'fleet_migration'
            when bool_or(events.kind = 'scouting' and events.scout_id is not null) then 'scouting'
            else 'cabinet'
        end as attributed_source,
        array_agg(distinct events.source_table order by events.source_table) as source_tables,
        array_agg(distinct events.kind order by events.kind) as origin_tags,
        count(*) as total_events,
        min(events.event_date) as first_event_date,
        max(events.event_date) as last_event_date,
        bit_xor(hashtextextended(
            concat_ws('|', events.source_table, events.source_pk, events.event_date, events.scout_id), 0
        )) as digest
    from observational.scout_events as events
    where events.person_key is not null
    group by events.person_key
    having min(events.scout_id) = max(events.scout_id)
),

found as (
    select events.*
    from events
    left join observational.lead_ledger as ledger on ledger.person_key = events.person_key -- 1 : 0..1
    where ledger.attributed_scout_id is null
        and ledger.decision_status is distinct from 'conflict'
        and (ledger.attribution_rule is null or ledger.attribution_rule not like 'RESOLVED_MANUAL%%')
    {limited}
)

select
    row_number() over (order by found.person_key) as seq,
    row_number() over (order by found.person_key) as group_no,
    found.*
from found
