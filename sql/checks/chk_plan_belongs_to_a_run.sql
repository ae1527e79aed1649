-- chk_plan_belongs_to_a_run
-- A plan that no run will finish: a table ops.plan_N whose run is over, or a run that lacks the plan it should resume.
-- Remedy: take back the run with "manage.py roll_back_run"; that drops its plan.
select
    coalesce(tables.relname, 'run ' || runs.id) as subject,
    case when tables.relname is null then 'its plan is missing' else 'no run will finish it' end as problem
from (
    select classes.relname
    from pg_class as classes
    where classes.relnamespace = 'ops'::regnamespace and classes.relkind = 'r' and classes.relname ~ '^plan_[0-9]+$'
) as tables
full join (select id from ops.ingestion_runs where has_plan and status <> 'COMPLETED') as runs
    on 'plan_' || runs.id = tables.relname
where tables.relname is null or runs.id is null;
