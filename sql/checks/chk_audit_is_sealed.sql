-- chk_audit_is_sealed
-- Entries of the audit log are not those that were sealed when their run ended, or the chain of seals is broken (I8):
-- somebody changed, added or removed entries past the database's guards. Judged are all seals, and the newest 50 000
-- entries; verify_audit judges all.
-- Remedy: none by hand. Compare with a backup; find out who had the owner's rights, and what else was changed.
with boundary as materialized (
    select
        coalesce(max(entries.id), 0) - coalesce(nullif(current_setting('ct4.audit_judged', true), ''), '50000')::bigint
            as id
    from ops.audit_log as entries
),

newest as materialized (
    select hashes.id, hashes.run_id, hashes.row_hash
    from ops.audit_hashes() as hashes
    where hashes.id > (select boundary.id from boundary)
),

entries_of_runs as (
    select
        newest.run_id,
        encode(sha256(string_agg(newest.row_hash, ''::bytea order by newest.id)), 'hex') as digest
    from newest
    where newest.run_id is not null
    group by newest.run_id
),

chain as (
    select
        seals.no, seals.run_id, seals.first_after, seals.last_entry, seals.entries, seals.digest,
        lag(seals.no, 1, 0::bigint) over (order by seals.no) as former_no,
        lag(seals.digest, 1, '') over (order by seals.no) as former_digest
    from ops.audit_seals as seals
)

select 'run ' || runs.id as subject, 'its entries are not those that were sealed' as problem
from ops.ingestion_runs as runs
left join entries_of_runs on entries_of_runs.run_id = runs.id -- 1 : 0..1
where runs.digest <> ''
    and (runs.audit_from is null or runs.audit_from > (select boundary.id from boundary))
    and runs.digest <> coalesce(entries_of_runs.digest, encode(sha256(''), 'hex'))
union all
select 'seal ' || chain.no, 'its entries without run are not those that were sealed'
from chain
where chain.last_entry is not null and chain.first_after >= (select boundary.id from boundary)
    and chain.entries is distinct from (
        select encode(sha256(string_agg(newest.row_hash, ''::bytea order by newest.id)), 'hex')
        from newest
        where newest.run_id is null and newest.id > chain.first_after and newest.id <= chain.last_entry
    )
union all
select 'seal ' || chain.no, 'does not follow from the seal before it'
from chain
where chain.no <> chain.former_no + 1
    or chain.digest <> ops.audit_link(
        chain.former_digest, chain.no, chain.run_id, chain.first_after, chain.last_entry, chain.entries
    )
union all
select 'run ' || chain.run_id, 'has another digest than its seal'
from chain
inner join ops.ingestion_runs as runs on runs.id = chain.run_id
where runs.digest is distinct from chain.entries
