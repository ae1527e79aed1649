-- The digest of the entries of every run that ended without one: whoever ends a run does not know its entries.
update ops.ingestion_runs as runs
set digest = found.digest, audit_from = found.audit_from
from (
    select ended.id, entries.digest, entries.audit_from
    from ops.ingestion_runs as ended
    cross join lateral (
        select
            encode(sha256(coalesce(string_agg(hashes.row_hash, ''::bytea order by hashes.id), '')), 'hex') as digest,
            min(hashes.id) as audit_from
        -- The fence keeps whole entries out of the sorting: only their hashes are put in order.
        from (
            select whole.id, whole.row_hash from ops.audit_hashes() as whole where whole.run_id = ended.id offset 0
        ) as hashes
    ) as entries
    where ended.status <> 'RUNNING' and ended.digest is null
) as found
where runs.id = found.id
