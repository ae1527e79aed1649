-- How scout attribution stands: where scouts come from, how far they got, what is wrong (RB0 steps 00, 01 and 03).
-- Reads only. Returns one JSON object; every count is there, zero included.
with inventory as (
    select 'public.module_ct_scouting_daily' as source, count(*) as rows, count(records.scout_id) as with_scout,
        count(distinct records.scout_id) as scouts, min(records.event_date) as first_date,
        max(records.event_date) as last_date
    from canon.stg_scouting_daily as records
    union all
    select 'public.module_ct_migrations', count(*), count(records.scout_id), count(distinct records.scout_id),
        min(records.event_date), max(records.event_date)
    from canon.stg_migrations as records
    union all
    select 'public.module_ct_cabinet_payments', count(*), count(payments.scout_id), count(distinct payments.scout_id),
        min(payments.payment_date), max(payments.payment_date)
    from ops.stg_cabinet_payments as payments
    union all
    select 'observational.lead_events', count(*), count(events.scout_id), count(distinct events.scout_id),
        min(events.event_date), max(events.event_date)
    from observational.scout_events as events
    union all
    select 'observational.lead_ledger', count(*), count(ledger.attributed_scout_id),
        count(distinct ledger.attributed_scout_id), min((ledger.updated_at at time zone 'America/Lima')::date),
        max((ledger.updated_at at time zone 'America/Lima')::date)
    from observational.lead_ledger as ledger
    union all
    select 'ops.lead_scout_mapping', count(*), count(mapping.scout_id), count(distinct mapping.scout_id), null, null
    from ops.lead_scout_mapping as mapping
),

scouting as (
    select
        count(*) as rows,
        count(links.id) as linked,
        count(ledger.person_key) as with_ledger_scout
    from canon.stg_scouting_daily as records
    left join canon.identity_links as links -- 1 record : 0..1 links
        on links.source_table = 'module_ct_scouting_daily' and links.source_pk = records.source_pk
    left join observational.lead_ledger as ledger -- 1 person : 0..1 rows
        on ledger.person_key = links.person_key and ledger.attributed_scout_id is not null
    where records.scout_id is not null
),

rules as (
    select coalesce(ledger.attribution_rule, 'none') as rule, count(*) as persons
    from observational.lead_ledger as ledger
    group by coalesce(ledger.attribution_rule, 'none')
),

buckets as (
    select attribution.scout_quality_bucket as bucket, count(*) as persons
    from ops.v_scout_attribution as attribution
    group by attribution.scout_quality_bucket
),

unknown_scouts as (
    select count(distinct claims.scout_id) as scouts
    from ops.v_scout_attribution_raw as claims
    where not exists (select 1 from ops.v_dim_scouts as known where known.scout_id = claims.scout_id)
)

select jsonb_build_object(
    'inventory', (
        select jsonb_object_agg(
            inventory.source,
            jsonb_build_object(
                'rows', inventory.rows, 'with_scout', inventory.with_scout, 'scouts', inventory.scouts,
                'first_date', inventory.first_date, 'last_date', inventory.last_date
            )
        )
        from inventory
    ),
    'coverage', (
        select jsonb_build_object(
            'total_persons', metrics.total_persons,
            'persons_with_scout', metrics.persons_with_scout_satisfactory,
            'pct_scout_satisfactory', metrics.pct_scout_satisfactory,
            'scouting_daily_with_scout', scouting.rows,
            'scouting_daily_with_links', scouting.linked,
            'scouting_daily_with_ledger_scout', scouting.with_ledger_scout
        )
        from ops.v_scout_attribution_metrics_snapshot as metrics cross join scouting
    ),
    'categories', (
        select jsonb_build_object(
            'A', metrics.backlog_a_events_without_scout,
            'B', metrics.backlog_b_ledger_without_scout,
            'C', metrics.backlog_c_legacy_no_events_no_ledger,
            'D', metrics.backlog_d_scout_in_events_not_in_ledger,
            'E', metrics.backlog_e_other
        )
        from ops.v_scout_attribution_metrics_snapshot as metrics
    ),
    'rules', (select coalesce(jsonb_object_agg(rules.rule, rules.persons), '{{}}') from rules),
    'buckets', (select coalesce(jsonb_object_agg(buckets.bucket, buckets.persons), '{{}}') from buckets),
    'conflicts', (
        select jsonb_build_object(
            'total', metrics.conflicts_count,
            'open', metrics.open_conflicts_count,
            'historical', metrics.conflicts_count - metrics.open_conflicts_count
        )
        from ops.v_scout_attribution_metrics_snapshot as metrics
    ),
    'warnings', jsonb_build_object(
        'scouts_not_in_the_list', (select unknown_scouts.scouts from unknown_scouts),
        'possible_same_persons', (
            select count(*) from canon.possible_same_persons as suspected where suspected.status = 'open'
        ),
        'events_without_person_with_scout', (
            select count(*) from observational.scout_events as events
            where events.person_key is null and events.scout_id is not null
        )
    )
)
