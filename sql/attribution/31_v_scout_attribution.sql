-- ops.v_scout_attribution
-- The scout of a person: the claim of the highest priority, of those the newest (domain.md 6.6, Q18, Q19). Nobody
-- where a person decided for nobody.
-- Grain: one row per person_key.
-- Read by: settlement, collection, the person page.
select distinct on (claims.person_key) -- per person the first
    claims.person_key,
    claims.driver_id,
    claims.driver_license,
    claims.driver_phone,
    claims.scout_id,
    claims.acquisition_method,
    claims.source_table,
    claims.source_pk,
    claims.attribution_date,
    claims.created_at,
    claims.priority,
    claims.origin_tag,
    case claims.priority
        when 1 then 'SATISFACTORY_LEDGER'
        when 2 then 'EVENTS_ONLY'
        when 3 then 'MIGRATIONS_ONLY'
        when 4 then 'SCOUTING_DAILY_ONLY'
        when 5 then 'CABINET_PAYMENTS_ONLY'
        else 'UNKNOWN'
    end as scout_quality_bucket
from ops.v_scout_attribution_raw as claims
where claims.person_key is not null
    and not exists (
        select 1 from observational.lead_ledger as ledger
        where ledger.person_key = claims.person_key and ledger.attributed_scout_id is null
            and ledger.attribution_rule = 'RESOLVED_MANUAL_CONFLICT'
    )
order by
    claims.person_key, claims.priority, claims.attribution_date desc nulls last, claims.created_at desc nulls last,
    claims.source_table collate "C", length(claims.source_pk) desc, claims.source_pk collate "C" desc
