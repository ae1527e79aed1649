-- Whether anything was written that could change how scouts are attributed since the last refresh that was
-- completed: by another run, by a person, into the feed of registrations, or by anybody into a table that claims
-- come from. Returns the id of that refresh when nothing was, else null.
with last_run as (
    select runs.id, runs.started_at, runs.stats ->> 'seen' as seen
    from ops.ingestion_runs as runs
    where runs.job_type in ('scout_attribution_refresh', 'scout_attribution_fix') and runs.status = 'COMPLETED'
        and not runs.dry_run and runs.id <> %(run_id)s
    order by runs.id desc
    limit 1
)

select
    case
        when last_run.seen is distinct from %(seen)s then null
        when exists (
                select 1 from ops.ingestion_runs as runs
                where runs.id not in (%(run_id)s, last_run.id) and not runs.dry_run
                    and (runs.id > last_run.id or runs.completed_at is null or runs.completed_at >= last_run.started_at)
            ) then null
        when exists (
                select 1 from ops.audit_log as entries
                -- More than that many are the work of runs. A transaction of then may have been committed since.
                where entries.id > (select max(id) - 100000 from ops.audit_log) and entries.run_id is null
                    -- Whoever looked at personal data changed nothing.
                    and entries.action <> 'reveal_personal_data'
                    and entries.at >= last_run.started_at - interval '10 minutes'
            ) then null
        when exists (
                select 1
                from canon.stg_scouting_daily as records
                where records.scout_id is not null
                    and not exists (
                        select 1 from canon.identity_links as links
                        where links.source_table = 'module_ct_scouting_daily' and links.source_pk = records.source_pk
                    )
                    and not exists (
                        select 1 from canon.identity_unmatched as unmatched
                        where unmatched.source_table = 'module_ct_scouting_daily'
                            and unmatched.source_pk = records.source_pk
                            and unmatched.record_digest = records.record_digest
                    )
            ) then null
        else last_run.id
    end
from last_run
