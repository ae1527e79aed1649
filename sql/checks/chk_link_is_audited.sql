-- chk_link_is_audited
-- A link that a job made lacks its entry in the audit log, or differs from the last one (I2, I4): it was written or
-- changed past the audit. Judged are the links of the newest 50 000 entries; older ones were when they were new.
-- Remedy: find out who wrote it; correct it through its screen, which audits.
with newest as materialized (
    select entries.id, entries.subject_key, entries.run_id, entries.after
    from ops.audit_log as entries
    where entries.subject_table = 'identity_links'
        and entries.id > (select coalesce(max(id), 0) - 50000 from ops.audit_log)
),

-- Runs all of whose entries are among the newest.
judged_runs as (
    select runs.id
    from ops.ingestion_runs as runs
    where runs.id in (select newest.run_id from newest)
        and not exists (
            select 1 from ops.audit_log as older
            where older.run_id = runs.id and older.id <= (select coalesce(max(id), 0) - 50000 from ops.audit_log)
        )
),

last_entries as (
    select distinct on (newest.subject_key) newest.subject_key::integer as link_id, newest.after -- per link the last
    from newest
    order by newest.subject_key, newest.id desc
),

judged as (
    select links.id from canon.identity_links as links inner join judged_runs on judged_runs.id = links.run_id
    union
    select last_entries.link_id from last_entries
)

select
    judged.id::text as subject,
    case
        when last_entries.link_id is null then 'no entry in the audit log'
        when links.id is null then 'removed past the audit'
        else 'changed past the audit'
    end as problem
from judged
left join last_entries on last_entries.link_id = judged.id -- 1 : 0..1
left join canon.identity_links as links on links.id = judged.id -- 1 : 0..1
where last_entries.after is distinct from to_jsonb(links);
