-- ops.v_scout_attribution_conflicts
-- Persons whom several scouts claim, by any source (domain.md 6.7, Q13, Q17, Q21). HISTORICAL: the ledger gives the
-- person to one of them and the claims lie more than seven days apart; OPEN otherwise. A conflict that a person
-- decided is out until a scout appears whom that decision did not know; then it is open again, however late.
-- Grain: one row per person_key.
-- Read by: reviewers, settlement, the metrics.
with claims as (
    select * from ops.v_scout_attribution_raw as raw where raw.person_key is not null
),

persons as (
    select
        claims.person_key,
        count(distinct claims.scout_id) as distinct_scout_count,
        array_agg(distinct claims.scout_id order by claims.scout_id) as scout_ids,
        array_agg(distinct claims.source_table order by claims.source_table) as source_tables,
        array_agg(distinct claims.origin_tag order by claims.origin_tag) filter (where claims.origin_tag is not null)
            as origin_tags,
        min(claims.attribution_date) as first_attribution_date,
        max(claims.attribution_date) as last_attribution_date,
        min(claims.created_at) as first_created_at,
        max(claims.created_at) as last_created_at,
        count(*) as total_records,
        max(claims.attribution_date) filter (where claims.priority > 1)
            - min(claims.attribution_date) filter (where claims.priority > 1) as days_apart,
        jsonb_agg(
            jsonb_build_object(
                'scout_id', claims.scout_id,
                'source_table', claims.source_table,
                'source_pk', claims.source_pk,
                'attribution_date', claims.attribution_date,
                'created_at', claims.created_at,
                'priority', claims.priority
            )
            order by
                claims.priority, claims.attribution_date desc nulls last, claims.source_table collate "C",
                claims.source_pk collate "C"
        ) as conflict_details
    from claims
    group by claims.person_key
    having min(claims.scout_id) <> max(claims.scout_id)
)

select
    persons.person_key,
    persons.distinct_scout_count,
    persons.scout_ids,
    persons.source_tables,
    persons.source_tables as sources,
    persons.origin_tags,
    persons.first_attribution_date,
    persons.first_attribution_date as first_event_date,
    persons.last_attribution_date,
    persons.last_attribution_date as last_event_date,
    persons.first_created_at,
    persons.last_created_at,
    persons.total_records,
    persons.total_records as total_sources,
    persons.conflict_details,
    case
        when ledger.decision_status = 'assigned' and ledger.attributed_scout_id is not null and persons.days_apart > 7
            and ledger.attribution_rule is distinct from 'RESOLVED_MANUAL_CONFLICT'
            then 'HISTORICAL'
        else 'OPEN'
    end as conflict_type,
    ledger.attributed_scout_id as ledger_scout_id,
    ledger.attribution_rule as ledger_rule
from persons
left join observational.lead_ledger as ledger on ledger.person_key = persons.person_key -- 1 : 0..1
where ledger.attribution_rule is distinct from 'RESOLVED_MANUAL_CONFLICT'
    or not to_jsonb(persons.scout_ids) <@ coalesce(ledger.evidence_json -> 'conflict_scout_ids', '[]')
