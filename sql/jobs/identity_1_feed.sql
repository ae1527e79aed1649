-- Candidates of the identity run from one feed: records without link that are new, changed since they
-- were last tried, marked to be tried again, or all open ones with --full. {view} is the staging view.
select
    records.source_table, records.source_pk, records.snapshot_at, records.recorded_at, records.event_date,
    records.phone_norm, records.phone_is_weak, records.license_norm, records.license_is_clean,
    records.plate_norm, records.name_norm, records.brand_norm, records.model_norm,
    records.driver_id, records.scout_id, records.record_digest, records.payload
from {view} as records
left join canon.identity_unmatched as unmatched -- 1 record : 0..1 unmatched
    on unmatched.source_table = {source_table} and unmatched.source_pk = records.source_pk
where not exists (
        select 1 from canon.identity_links as links
        where links.source_table = {source_table} and links.source_pk = records.source_pk
    )
    and (
        unmatched.id is null
        or unmatched.status = 'RESOLVED' -- its link was taken away since
        or (unmatched.status = 'OPEN' and (
            %(full)s or unmatched.is_stale or unmatched.record_digest is distinct from records.record_digest
        ))
    )
