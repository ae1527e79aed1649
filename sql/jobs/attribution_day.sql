-- Stores the metrics of today (Lima); the last refresh of a day stays (Q24). by_source_* count persons of the day:
-- whose scouting link was made, who have a cabinet event with a scout, whose ledger row with a scout changed
-- (domain.md 6.10).
with today as (
    select (now() at time zone 'America/Lima')::date as day
),

by_source as (
    select
        (
            select count(distinct links.person_key) from canon.identity_links as links, today
            where links.source_table = 'module_ct_scouting_daily'
                and links.linked_at >= today.day::timestamp at time zone 'America/Lima'
        ) as scouting,
        (
            select count(distinct events.person_key) from observational.scout_events as events, today
            where events.kind = 'cabinet' and events.scout_id is not null and events.event_date = today.day
        ) as cabinet,
        (
            select count(*) from observational.lead_ledger as ledger, today
            where ledger.attributed_scout_id is not null
                and ledger.updated_at >= today.day::timestamp at time zone 'America/Lima'
        ) as ledger
),

stored as (
    insert into ops.scout_attribution_days (
        metric_date, total_persons, satisfactory_count, missing_count, conflicts_count, open_conflicts_count, backlog,
        by_source_scouting_daily, by_source_cabinet_leads, by_source_lead_ledger
    )
    select
        today.day, metrics.total_persons, metrics.persons_with_scout_satisfactory, metrics.persons_missing_scout,
        metrics.conflicts_count, metrics.open_conflicts_count,
        jsonb_build_object(
            'a', metrics.backlog_a_events_without_scout,
            'b', metrics.backlog_b_ledger_without_scout,
            'c', metrics.backlog_c_legacy_no_events_no_ledger,
            'd', metrics.backlog_d_scout_in_events_not_in_ledger,
            'e', metrics.backlog_e_other
        ),
        by_source.scouting, by_source.cabinet, by_source.ledger
    from ops.v_scout_attribution_metrics_snapshot as metrics
    cross join today
    cross join by_source
    on conflict (metric_date) do update set
        total_persons = excluded.total_persons,
        satisfactory_count = excluded.satisfactory_count,
        missing_count = excluded.missing_count,
        conflicts_count = excluded.conflicts_count,
        open_conflicts_count = excluded.open_conflicts_count,
        backlog = excluded.backlog,
        by_source_scouting_daily = excluded.by_source_scouting_daily,
        by_source_cabinet_leads = excluded.by_source_cabinet_leads,
        by_source_lead_ledger = excluded.by_source_lead_ledger,
        computed_at = now()
    returning *
)

select jsonb_build_object(
    'total_persons', stored.total_persons,
    'with_scout', stored.satisfactory_count,
    'without_scout', stored.missing_count,
    'conflicts', stored.conflicts_count,
    'open_conflicts', stored.open_conflicts_count,
    'backlog', stored.backlog
)
from stored
