-- chk_link_is_audited
-- A link that a job made lacks its entry in the audit log, or differs from the last one (I2, I4): it was written or
-- changed past the audit. Judged are the links of the newest 200 000 entries; older ones were when they were new.
-- Remedy: find out who wrote it; correct it through its screen, which audits.
with newest as materialized (
    select entries.id, entries.subject_key, entries.run_id, entries.after
    from ops.audit_log as entries
    where entries.subject_table = 'identity_links'
        and entries.id > (select coalesce(max(id), 0) - 200000 from ops.audit_log)
),

-- Runs all of whose entries are among the newest.
judged_runs as (
    select runs.id
    from ops.ingestion_runs as runs
    where runs.id in (select newest.run_id from newest)
        and not exists (
            select 1 from ops.audit_log as older
            where older.run_id = runs.id and older.id <= (select coalesce(max(id), 0) - 200000 from ops.audit_log)
        )
),

last_entries as (
    select distinct on (newest.subject_key) newest.subject_key, newest.after -- the last entry of every link
    from newest
    order by newest.subject_key, newest.id desc
)

select
    coalesce(links.id::text, last_entries.subject_key) as subject,
    case
        when last_entries.subject_key is null then 'no entry in the audit log'
        when links.id is null then 'removed past the audit'
        else 'changed past the audit'
    end as problem
from last_entries
full join (
    select rows.id, to_jsonb(rows) as state
    from canon.identity_links as rows
    where rows.run_id in (select id from judged_runs)
        or rows.id in (select subject_key::integer from last_entries)
) as links on links.id::text = last_entries.subject_key
where last_entries.after is distinct from links.state;
