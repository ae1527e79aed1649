-- Scouting rows with a scout and without a link (domain.md 6.11 (1)), for identity_1_numbered. What a person set aside
-- stays set aside (P7). {source_table} is their table; a row that was never told, or has changed since, is fresh.
select
    records.source_table, records.source_pk, records.snapshot_at, records.recorded_at, records.event_date,
    records.phone_norm, records.phone_is_weak, records.license_norm, records.license_is_clean,
    records.plate_norm, records.name_norm, records.brand_norm, records.model_norm,
    records.driver_id, records.scout_id, records.record_digest, records.payload,
    told.match_result as told_result,
    told.reason as told_reason,
    told.digest is distinct from records.record_digest as is_fresh,
    case when unmatched.status = 'OPEN' then unmatched.reason_code end as open_reason
from canon.stg_scouting_daily as records
left join canon.identity_unmatched as unmatched -- 1 record : 0..1 unmatched
    on unmatched.source_table = {source_table} and unmatched.source_pk = records.source_pk
left join (
    select distinct on (entries.source_pk) -- per record the last
        entries.source_pk, entries.match_result, entries.reason, entries.evidence_json ->> 'record_digest' as digest
    from ops.identity_links_backfill_audit as entries
    where entries.source_table = {source_table}
    order by entries.source_pk, entries.id desc
) as told on told.source_pk = records.source_pk
where records.scout_id is not null
    and (unmatched.id is null or unmatched.status <> 'IGNORED')
    and not exists (
        select 1 from canon.identity_links as links
        where links.source_table = {source_table} and links.source_pk = records.source_pk
    )
