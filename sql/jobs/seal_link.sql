-- Adds to the chain what is not in it yet: runs by their digest, then the entries without run since those sealed last,
-- when nobody is writing one (%(quiet)s).
with recursive head as materialized (
    select seals.no, seals.digest from ops.audit_seals as seals order by seals.no desc limit 1
),

sealed_to as materialized (
    select coalesce((
        select seals.last_entry from ops.audit_seals as seals
        where seals.last_entry is not null
        order by seals.no desc
        limit 1
    ), 0) as id
),

without_run as materialized (
    select
        max(hashes.id) as last_entry,
        encode(sha256(string_agg(hashes.row_hash, ''::bytea order by hashes.id)), 'hex') as entries
    from ops.audit_hashes() as hashes
    where hashes.run_id is null and hashes.id > (select sealed_to.id from sealed_to)
),

waiting as materialized (
    select
        row_number() over (order by rows.run_id nulls last) as place,
        rows.run_id, rows.first_after, rows.last_entry, rows.entries
    from (
        select runs.id as run_id, null::bigint as first_after, null::bigint as last_entry, runs.digest as entries
        from ops.ingestion_runs as runs
        where runs.digest <> '' and not exists (select 1 from ops.audit_seals as seals where seals.run_id = runs.id)
        union all
        select null, sealed_to.id, without_run.last_entry, without_run.entries
        from without_run
        cross join sealed_to
        where %(quiet)s and without_run.last_entry is not null
    ) as rows
),

links as (
    select
        0::bigint as place, coalesce((select head.no from head), 0) as no,
        coalesce((select head.digest from head), '') as digest,
        null::integer as run_id, null::bigint as first_after, null::bigint as last_entry, null::text as entries
    union all
    select
        waiting.place, links.no + 1,
        ops.audit_link(
            links.digest, links.no + 1, waiting.run_id, waiting.first_after, waiting.last_entry, waiting.entries
        ),
        waiting.run_id, waiting.first_after, waiting.last_entry, waiting.entries
    from links
    inner join waiting on waiting.place = links.place + 1
)

insert into ops.audit_seals (no, run_id, first_after, last_entry, entries, digest)
select links.no, links.run_id, links.first_after, links.last_entry, links.entries, links.digest
from links
where links.place > 0
order by links.no
