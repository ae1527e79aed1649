-- ops.v_cabinet_leads_missing_scout_daily
-- Cabinet leads without scout, by the day of the lead (domain.md 6.11 (3)), with up to five of them.
-- Grain: one row per event_date, source_table.
-- Read by: whoever brings the mapping of leads to scouts.
with ranked as (
    select
        leads.*,
        row_number() over (
            partition by leads.event_date, leads.source_table order by leads.cabinet_lead_id collate "C"
        ) as place
    from ops.v_cabinet_leads_missing_scout_alerts as leads
)

select
    ranked.event_date,
    ranked.source_table,
    count(*) as events_without_scout,
    count(distinct ranked.person_key) as distinct_persons,
    count(*) as distinct_source_pks,
    array_agg(ranked.cabinet_lead_id order by ranked.place) filter (where ranked.place <= 5) as sample_source_pks
from ranked
group by ranked.event_date, ranked.source_table
