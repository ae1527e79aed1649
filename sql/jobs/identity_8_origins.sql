-- Origin of every person who gets a record (domain.md 3.5, origin_rules_v1): cabinet before scouting before
-- migration; then score, confidence, earliest link. Decided over all links, so the order of arrival does not matter.
create temp table origins on commit drop as
with tagged as (
    select
        decisions.person_key, numbered.source_table, numbered.source_pk, numbered.snapshot_at,
        decisions.score, decisions.confidence, now() as linked_at
    from decisions
    inner join numbered on numbered.n = decisions.n
    union all
    select
        links.person_key, links.source_table, links.source_pk, links.snapshot_date,
        links.match_score, links.confidence_level, links.linked_at
    from canon.identity_links as links
    where links.source_table <> 'drivers'
        and links.person_key in (
            select decisions.person_key
            from decisions
            inner join match_drivers as drivers on drivers.driver_id = decisions.driver_id
            where not drivers.is_new
        )
),

weighed as (
    select
        person_key, source_table, source_pk, snapshot_at, score, linked_at,
        case source_table
            when 'module_ct_cabinet_leads' then 'cabinet_lead'
            when 'module_ct_scouting_daily' then 'scout_registration'
            when 'module_ct_migrations' then 'migration'
        end as origin_tag,
        case source_table
            when 'module_ct_cabinet_leads' then 1 when 'module_ct_scouting_daily' then 2 else 3
        end as priority,
        case confidence when 'HIGH' then 1 when 'MEDIUM' then 2 else 3 end as confidence_rank,
        round(score * case confidence when 'HIGH' then 1.0 when 'MEDIUM' then 0.85 else 0.70 end, 2)
            as origin_confidence
    from tagged
),

chosen as (
    select distinct on (person_key) *
    from weighed
    order by
        person_key, priority, score desc, confidence_rank, linked_at, snapshot_at, source_pk collate "C"
),

strong_tags as (
    select person_key from weighed where origin_confidence >= 85
    group by person_key having count(distinct origin_tag) > 1
)

select
    chosen.person_key, chosen.origin_tag, chosen.source_pk as origin_source_id, chosen.origin_confidence,
    chosen.snapshot_at as origin_created_at,
    case
        when chosen.origin_confidence >= 85 and strong_tags.person_key is not null then 'pending_review'
        else 'resolved_auto'
    end as resolution_status
from chosen
left join strong_tags on strong_tags.person_key = chosen.person_key;
create index on origins (person_key);
analyze origins
