-- Plan of the ledger: persons whose events changed since they were decided, decided anew over all their events
-- (domain.md 6.2, Q11 to Q13). What a person or a backfill decided is left out: evidence against it shows as a
-- conflict. {plan} is the run's plan table, one row per person.
create table {plan} as
with evidence as materialized (
    select
        events.person_key,
        bit_xor(hashtextextended(
            concat_ws('|', events.source_table, events.source_pk, events.event_date, events.scout_id), 0
        )) as digest
    from observational.scout_events as events
    where events.person_key is not null
    group by events.person_key
),

affected as materialized (
    select
        coalesce(evidence.person_key, ledger.person_key) as person_key,
        coalesce(evidence.digest, 0) as digest
    from evidence
    full join observational.lead_ledger as ledger on ledger.person_key = evidence.person_key
    -- A row from before this ledger whose events are not here gives nothing to decide on.
    where (ledger.person_key is null or coalesce(ledger.evidence_digest, 0) <> coalesce(evidence.digest, 0))
        and (
            ledger.attribution_rule is null
            or (ledger.attribution_rule <> 'RESOLVED_MANUAL_CONFLICT' and ledger.attribution_rule not like 'BACKFILL%%')
        )
    {limited}
),

claims as materialized (
    select
        events.*,
        -- The newest that names a scout; of one day the highest key, so that no plan decides.
        row_number() over (
            partition by events.person_key, events.kind
            order by
                events.scout_id is null, events.event_date desc, length(events.source_pk) desc,
                events.source_pk collate "C" desc
        ) as place
    from affected
    inner join observational.scout_events as events on events.person_key = affected.person_key
),

summed as (
    select
        claims.person_key,
        count(*) filter (where claims.kind = 'fleet_migration') as migrations,
        count(*) filter (where claims.kind = 'scouting') as registrations,
        count(*) filter (where claims.kind = 'cabinet') as leads,
        min(claims.scout_id) filter (where claims.kind = 'scouting')
        <> max(claims.scout_id) filter (where claims.kind = 'scouting') as has_several_scouts,
        max(claims.event_date) filter (where claims.kind = 'scouting' and claims.scout_id is not null)
        - min(claims.event_date) filter (where claims.kind = 'scouting' and claims.scout_id is not null) as days_apart
    from claims
    group by claims.person_key
),

ruled as (
    select
        affected.person_key,
        affected.digest,
        coalesce(summed.migrations, 0) as migrations,
        coalesce(summed.registrations, 0) as registrations,
        coalesce(summed.leads, 0) as leads,
        case
            when summed.has_several_scouts and summed.days_apart <= %(window)s
                and (%(conflict_beats_fleet)s or summed.migrations = 0) then 'C'
            when summed.migrations > 0 then 'A_FLEET'
            when summed.registrations > 0 then 'A'
            when summed.leads > 0 then 'B'
            else 'U'
        end as rule
    from affected
    left join summed on summed.person_key = affected.person_key
),

in_conflict as (
    select
        scouts.person_key,
        jsonb_agg(
            jsonb_build_object(
                'scout_id', scouts.scout_id,
                'first_date', scouts.first_date,
                'last_date', scouts.last_date,
                'count_events', scouts.count_events
            )
            order by scouts.scout_id
        ) as scouts
    from (
        select
            claims.person_key, claims.scout_id, min(claims.event_date) as first_date,
            max(claims.event_date) as last_date, count(*) as count_events
        from claims
        inner join ruled on ruled.person_key = claims.person_key and ruled.rule = 'C'
        where claims.kind in ('scouting', 'fleet_migration') and claims.scout_id is not null
        group by claims.person_key, claims.scout_id
    ) as scouts
    group by scouts.person_key
),

decided as (
    select
        ruled.*,
        chosen.event_id,
        chosen.event_date,
        case when ruled.rule in ('A_FLEET', 'A') then chosen.scout_id end as scout_id,
        in_conflict.scouts
    from ruled
    left join claims as chosen
        on chosen.person_key = ruled.person_key and chosen.place = 1
        and chosen.kind = case ruled.rule
            when 'A_FLEET' then 'fleet_migration' when 'A' then 'scouting' when 'B' then 'cabinet' else 'none'
        end
    left join in_conflict on in_conflict.person_key = ruled.person_key
)

select
    row_number() over (order by decided.person_key) as seq,
    row_number() over (order by decided.person_key) as group_no,
    decided.person_key,
    decided.digest,
    decided.rule,
    case decided.rule
        when 'A_FLEET' then 'fleet_migration' when 'A' then 'scouting' when 'C' then 'scouting' else 'cabinet'
    end
        as attributed_source,
    decided.scout_id,
    case decided.rule when 'C' then 0.50 when 'A_FLEET' then 0.95 when 'A' then 0.95 when 'B' then 0.80 else 0.00 end
        as score,
    case decided.rule when 'A_FLEET' then 'high' when 'A' then 'high' when 'B' then 'medium' else 'low' end
        as confidence,
    case decided.rule when 'C' then 'conflict' when 'U' then 'unassigned' else 'assigned' end as decision_status,
    jsonb_build_object('counts', jsonb_build_object(
        'fleet_migration', decided.migrations, 'scouting', decided.registrations, 'cabinet', decided.leads
    )) || case decided.rule
        when 'C' then jsonb_build_object(
            'scouts_in_conflict', decided.scouts,
            'conflict_window_days', %(window)s,
            'chosen_policy', 'no_assignment_due_to_conflict'
        )
        when 'U' then jsonb_build_object('chosen_policy', 'no_events')
        else jsonb_build_object(
            'origin_tag_chosen',
            case decided.rule when 'A_FLEET' then 'fleet_migration' when 'A' then 'scouting' else 'cabinet' end,
            'event_id', decided.event_id,
            'event_date', decided.event_date,
            'chosen_policy', 'origin_priority'
        )
    end as evidence
from decided
