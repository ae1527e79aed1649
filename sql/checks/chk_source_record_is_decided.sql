-- chk_source_record_is_decided
-- A lead record is neither linked nor in the list of unmatched records, though a complete identity run has read it (I1:
-- nothing is lost). Judged are records older than the newest complete run with nothing loaded or rolled back after it:
-- what came in since waits for the next run. A link whose source record has gone is history, not a failure.
-- Remedy: run "manage.py run_identity"; when the record is still here afterwards, report it with its key.
with judged as (
    select runs.started_at
    from ops.ingestion_runs as runs
    where runs.job_type = 'identity_run' and runs.status = 'COMPLETED' and not runs.dry_run
        and not runs.parameters ?| array['source', 'date_from', 'date_to', 'limit']
        and coalesce((runs.stats ->> 'skipped_changed_since_plan')::bigint, 0) = 0
        and not exists (
            select 1 from ops.ingestion_runs as later
            where later.job_type in ('source_load', 'roll_back') and not later.dry_run
                and (later.id > runs.id or coalesce(later.completed_at, 'infinity') > runs.started_at)
        )
    order by runs.id desc
    limit 1
),

records as (
    select source_table, source_pk, recorded_at from canon.stg_cabinet_leads
    union all
    select source_table, source_pk, recorded_at from canon.stg_scouting_daily
    union all
    select source_table, source_pk, recorded_at from canon.stg_migrations
)

select
    records.source_table || ' ' || records.source_pk as subject,
    'read by a complete run and not decided' as problem
from records
inner join judged on records.recorded_at < judged.started_at
where not exists (
        select 1 from canon.identity_links as links
        where links.source_table = records.source_table and links.source_pk = records.source_pk
    )
    and not exists (
        select 1 from canon.identity_unmatched as unmatched
        where unmatched.source_table = records.source_table and unmatched.source_pk = records.source_pk
    );
