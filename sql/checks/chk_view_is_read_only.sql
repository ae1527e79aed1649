-- chk_view_is_read_only
-- A row can be written through a view, past the audit (I10).
-- Remedy: run "manage.py sync_views"; our views are made read-only there. A view of someone else belongs elsewhere.
select
    schemas.nspname || '.' || views.relname as subject,
    'can be written through' as problem
from pg_class as views
inner join pg_namespace as schemas on schemas.oid = views.relnamespace
where views.relkind = 'v' and schemas.nspname in ('canon', 'observational', 'ops')
    and pg_relation_is_updatable(views.oid, true) & 28 <> 0;
