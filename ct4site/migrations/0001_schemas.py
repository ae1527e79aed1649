"""Schemas, the search path, and the register of functions and views made from files."""

from django.db import migrations

# "create schema if not exists" asks for the privilege even where the schema exists already.
CREATE_SCHEMAS = """
do $$
declare
    wanted text;
begin
    foreach wanted in array array['canon', 'observational', 'ops'] loop
        if to_regnamespace(wanted) is null then
            execute format('create schema %I', wanted);
        end if;
    end loop;
end
$$
"""

# For tools that do not come through our settings. A path someone has chosen for the database stays.
SET_SEARCH_PATH = """
do $$
begin
    if not exists (
        select from pg_db_role_setting as chosen
        inner join pg_database as db on db.oid = chosen.setdatabase
        where db.datname = current_database() and chosen.setrole = 0
            and exists (select from unnest(chosen.setconfig) as item where item like 'search_path=%')
    ) then
        execute format('alter database %I set search_path = public, canon, observational, ops', current_database());
    end if;
exception
    when insufficient_privilege then null;
end
$$
"""

CREATE_SQL_OBJECTS = """
create table ops.sql_objects (
    kind text not null,
    name text not null,
    file_digest text not null,
    database_digest text not null,
    synced_at timestamptz not null default now(),
    constraint sql_objects_are_named_once_per_kind primary key (kind, name),
    constraint sql_object_is_a_function_or_a_view check (kind in ('function', 'view'))
);
comment on table ops.sql_objects is 'Functions and views made from the files under sql/, with digests that show drift.'
"""

# What is registered goes with the register, or the next migrate would find strangers with our names.
DROP_SQL_OBJECTS = """
do $$
declare
    registered record;
begin
    for registered in
        select 'view' as kind, classes.oid::regclass::text as name
        from ops.sql_objects as objects
        inner join pg_class as classes on classes.oid = to_regclass(objects.name)
        where objects.kind = 'view' and classes.relkind = 'v'
        union all
        select 'function', functions.oid::regprocedure::text
        from ops.sql_objects as objects
        inner join pg_proc as functions on functions.proname = split_part(objects.name, '.', 2)
        inner join pg_namespace as schemas
            on schemas.oid = functions.pronamespace and schemas.nspname = split_part(objects.name, '.', 1)
        where objects.kind = 'function'
    loop
        execute format('drop %s if exists %s cascade', registered.kind, registered.name);
    end loop;
end
$$;
drop table ops.sql_objects
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.RunSQL(CREATE_SCHEMAS, migrations.RunSQL.noop),
        migrations.RunSQL(SET_SEARCH_PATH, migrations.RunSQL.noop),
        migrations.RunSQL(CREATE_SQL_OBJECTS, DROP_SQL_OBJECTS),
    ]
