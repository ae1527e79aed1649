-- The floor of the refresh of attribution: registrations with a key of their own found a person, the ledger is decided
-- and filled, the day is counted; one insert ... select per table, with no audit, no plan, and none of the questions
-- about whom else a key may mean.
create temp table founded on commit drop as
with loose as (
    select
        records.source_pk, records.snapshot_at, records.name_norm, records.phone_norm, records.license_norm,
        coalesce(
            case when records.license_is_clean then records.license_norm end,
            case when not records.phone_is_weak then records.phone_norm end
        ) as key
    from canon.stg_scouting_daily as records
    where records.scout_id is not null and records.snapshot_at is not null
        and not exists (
            select 1 from canon.identity_links as links
            where links.source_table = 'module_ct_scouting_daily' and links.source_pk = records.source_pk
        )
        and exists (
            select 1 from canon.identity_unmatched as unmatched
            where unmatched.source_table = 'module_ct_scouting_daily' and unmatched.source_pk = records.source_pk
                and unmatched.reason_code = 'NO_CANDIDATES'
        )
),

persons as (
    select key, gen_random_uuid() as person_key from loose where key is not null group by key
)

select loose.*, persons.person_key from loose inner join persons on persons.key = loose.key;

insert into canon.identity_registry (person_key, confidence_level, primary_phone, primary_license, primary_full_name)
select distinct on (person_key) person_key, 'LOW', phone_norm, license_norm, name_norm from founded order by person_key;

insert into canon.identity_links (
    person_key, source_table, source_pk, snapshot_date, match_rule, match_score, confidence_level, evidence
)
select
    person_key, 'module_ct_scouting_daily', source_pk, snapshot_at, 'BACKFILL_NEW_PERSON', 50, 'LOW',
    jsonb_build_object('key', key)
from founded;

update observational.lead_events as events
set person_key = founded.person_key
from founded
where events.source_table = 'module_ct_scouting_daily' and events.source_pk = founded.source_pk;

update canon.identity_unmatched as unmatched
set status = 'RESOLVED', resolved_at = now()
from founded
where unmatched.source_table = 'module_ct_scouting_daily' and unmatched.source_pk = founded.source_pk;

with origins as (
    insert into canon.identity_origin (
        person_key, origin_tag, origin_source_id, origin_confidence, origin_created_at, resolution_status
    )
    select distinct on (person_key) person_key, 'scout_registration', source_pk, 50, snapshot_at, 'pending_review'
    from founded
    order by person_key, snapshot_at
    returning *
)

insert into canon.identity_origin_history (
    person_key, origin_tag_new, origin_source_id_new, origin_confidence_new, resolution_status_new, changed_by
)
select person_key, origin_tag, origin_source_id, origin_confidence, resolution_status, 'system' from origins;

with ranked as (
    select
        events.*,
        row_number() over (
            partition by person_key, kind order by scout_id is null, event_date desc, source_pk desc
        ) as place
    from observational.scout_events as events
    where person_key is not null
),

summed as (
    select
        person_key,
        bool_or(kind = 'fleet_migration') as has_migration,
        bool_or(kind = 'scouting') as has_registration,
        min(scout_id) filter (where kind = 'scouting') <> max(scout_id) filter (where kind = 'scouting')
        and max(event_date) filter (where kind = 'scouting' and scout_id is not null)
        - min(event_date) filter (where kind = 'scouting' and scout_id is not null) <= 7 as in_conflict,
        jsonb_agg(jsonb_build_object('scout_id', scout_id, 'date', event_date)) as told
    from ranked
    group by person_key
)

insert into observational.lead_ledger (
    person_key, attributed_source, attributed_scout_id, attribution_rule, attribution_score, confidence_level,
    evidence_json, decision_status
)
select
    summed.person_key,
    case when in_conflict then 'scouting' when has_migration then 'fleet_migration' when has_registration then 'scouting'
        else 'cabinet' end,
    case when not coalesce(in_conflict, false) and (has_migration or has_registration) then chosen.scout_id end,
    case when in_conflict then 'C' when has_migration then 'A_FLEET' when has_registration then 'A' else 'B' end,
    case when in_conflict then 0.50 when has_migration or has_registration then 0.95 else 0.80 end,
    case when in_conflict then 'low' when has_migration or has_registration then 'high' else 'medium' end,
    summed.told,
    case when in_conflict then 'conflict' else 'assigned' end
from summed
left join ranked as chosen
    on chosen.person_key = summed.person_key and chosen.place = 1
    and chosen.kind = case when has_migration then 'fleet_migration' when has_registration then 'scouting' else 'cabinet' end;

update observational.lead_ledger as ledger
set attributed_scout_id = found.scout_id, attribution_rule = 'BACKFILL_SINGLE_SCOUT_FROM_EVENTS'
from (
    select person_key, min(scout_id) as scout_id
    from observational.scout_events
    where person_key is not null
    group by person_key
    having min(scout_id) = max(scout_id)
) as found
where found.person_key = ledger.person_key and ledger.attributed_scout_id is null
    and ledger.decision_status <> 'conflict';

-- Who may be one human under two scouts: similar names, a phone or licence a slip apart.
create temp table parts on commit drop as
with claims as (
    select * from observational.scout_events
    where kind in ('scouting', 'fleet_migration') and scout_id is not null and person_key is not null
),

keys as (
    select claims.event_id, claims.person_key, claims.scout_id, claims.event_date, keys.kind, keys.key
    from claims
    left join canon.identity_links as links on links.person_key = claims.person_key and links.source_table = 'drivers'
    left join canon.drivers_index as drivers on drivers.driver_id = links.source_pk
    cross join lateral (
        values
        ('phone', claims.phone_norm), ('license', claims.license_norm), ('phone', drivers.phone_norm),
        ('license', drivers.license_norm), ('plate', drivers.plate_norm)
    ) as keys (kind, key)
    where keys.key is not null
)

select keys.*, hashtextextended(kind || parts.part, 0) as part
from keys
cross join lateral (
    values ('<' || left(key, 5)), ('>' || right(key, 5)), (left(key, 3) || '-' || right(key, 3))
) as parts (part);

insert into canon.possible_same_persons (person_a_id, person_b_id, evidence_json)
select distinct our_event.person_key, their_event.person_key, '{}'::jsonb
from (select part from parts group by part having count(*) between 2 and 500) as shared
inner join parts as ours on ours.part = shared.part
inner join parts as theirs
    on theirs.part = shared.part and theirs.kind = ours.kind and theirs.person_key > ours.person_key
    and theirs.scout_id <> ours.scout_id and abs(theirs.event_date - ours.event_date) <= 7
inner join observational.lead_events as our_event on our_event.id = ours.event_id
inner join observational.lead_events as their_event on their_event.id = theirs.event_id
where canon.within_one_slip(ours.key, theirs.key)
    and canon.name_likeness(canon.name_tokens(our_event.name_norm), canon.name_tokens(their_event.name_norm)) >= 0.66;

insert into ops.scout_attribution_days (
    metric_date, total_persons, satisfactory_count, missing_count, conflicts_count, open_conflicts_count, backlog,
    by_source_scouting_daily, by_source_cabinet_leads, by_source_lead_ledger
)
select
    current_date, total_persons, persons_with_scout_satisfactory, persons_missing_scout, conflicts_count,
    open_conflicts_count, '{}', 0, 0, 0
from ops.v_scout_attribution_metrics_snapshot
on conflict (metric_date) do nothing
