-- ops.v_persons_without_scout_categorized
-- Persons whose ledger has no scout, in five disjoint categories (domain.md 6.8, Q14, Q21, Q22): A events without
-- scout, D a scout in the events that the ledger lacks, C neither events nor ledger, B a ledger row without events, E
-- the rest.
-- Grain: one row per person_key.
-- Read by: the backlog, the ledger backfill, the metrics.
with events as (
    select
        events.person_key,
        count(*) as lead_events_count,
        count(events.scout_id) as events_with_scout_count,
        max(events.scout_id) as scout_id_from_events,
        array_agg(distinct events.source_table order by events.source_table) as source_tables,
        min(events.event_date) as first_event_date,
        max(events.event_date) as last_event_date
    from observational.scout_events as events
    where events.person_key is not null
    group by events.person_key
),

persons as (
    select
        registry.person_key,
        registry.primary_full_name,
        registry.primary_phone,
        registry.primary_license,
        registry.created_at as identity_created_at,
        ledger.person_key is not null as has_lead_ledger,
        ledger.attribution_rule as ledger_attribution_rule,
        events.person_key is not null as has_lead_events,
        coalesce(events.events_with_scout_count, 0) > 0 as has_scout_in_events,
        coalesce(events.lead_events_count, 0) as lead_events_count,
        coalesce(events.events_with_scout_count, 0) as events_with_scout_count,
        events.scout_id_from_events,
        events.source_tables,
        events.first_event_date,
        events.last_event_date
    from canon.identity_registry as registry
    left join observational.lead_ledger as ledger on ledger.person_key = registry.person_key -- 1 : 0..1
    left join events on events.person_key = registry.person_key -- 1 : 0..1
    where ledger.attributed_scout_id is null
),

categorized as (
    select
        persons.*,
        case
            when persons.has_lead_events and not persons.has_scout_in_events then 'A'
            when persons.has_scout_in_events then 'D'
            when not persons.has_lead_ledger then 'C'
            when persons.ledger_attribution_rule is not null then 'B'
            else 'E'
        end as category
    from persons
)

select
    categorized.person_key,
    categorized.primary_full_name,
    categorized.primary_phone,
    categorized.primary_license,
    categorized.identity_created_at,
    case categorized.category
        when 'A' then 'A: Tiene lead_events pero sin scout_id'
        when 'B' then 'B: Tiene lead_ledger sin scout (attribution_rule indica unassigned/bucket)'
        when 'C' then 'C: Sin events ni ledger (legacy/externo)'
        when 'D' then 'D: Scout en events pero no en ledger'
        else 'E: Otros (verificar manualmente)'
    end as categoria,
    categorized.has_scout_in_events,
    categorized.has_lead_events,
    categorized.has_lead_ledger,
    false as has_scout_in_ledger,
    categorized.lead_events_count,
    categorized.events_with_scout_count,
    categorized.scout_id_from_events,
    categorized.ledger_attribution_rule,
    categorized.identity_created_at as sample_date,
    categorized.category,
    case categorized.category
        when 'A' then 'EVENTOS_SIN_SCOUT'
        when 'B' then 'LEDGER_SIN_SCOUT'
        when 'C' then 'LEGACY'
        when 'D' then 'SCOUT_EN_EVENTOS_NO_PROPAGADO'
        else 'OTROS'
    end as category_label,
    case when categorized.category = 'D' then categorized.scout_id_from_events end as scout_id,
    categorized.source_tables,
    null::text[] as origin_tags,
    categorized.first_event_date,
    categorized.last_event_date,
    categorized.lead_events_count as event_count
from categorized
