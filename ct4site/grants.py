"""What the application may do in the database when it is not the owner of the tables (reliability F14).

The owner migrates and grants; site, worker and commands then connect as a role that can read what they read, write what
they write, and neither change a history nor put its guards to sleep.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.apps import apps
from django.db import connection, transaction
from django.utils.translation import gettext as _
from psycopg2 import sql

from ct4site.schemas import SCHEMAS, TABLES


class GrantError(Exception):
    """The rights could not be given; the message is a sentence for the person who asked."""


# What can do more than it is given, or is needed to do more.
_ROLE = """
select
    roles.rolcanlogin,
    roles.rolsuper,
    exists (
        select 1
        from pg_class as tables
        inner join pg_namespace as schemas on schemas.oid = tables.relnamespace
        where schemas.nspname = any(%(schemas)s) and pg_has_role(roles.oid, tables.relowner, 'member')
            and tables.relname = any(%(tables)s)
    ),
    (
        select pg_has_role(current_user, tables.relowner, 'usage')
        from pg_class as tables
        where tables.oid = to_regclass('ops.audit_log')
    )
from pg_roles as roles
where roles.rolname = %(role)s
"""

# The list of chk_history_is_guarded as the database has it: by the trigger that refuses every change of a whole table.
_HISTORIES = """
select schemas.nspname || '.' || tables.relname
from pg_trigger as triggers
inner join pg_class as tables on tables.oid = triggers.tgrelid
inner join pg_namespace as schemas on schemas.oid = tables.relnamespace
where triggers.tgfoid = to_regproc('ops.refuse_change') and triggers.tgtype & 59 = 58
"""

# The sequences that belong to tables, with the schema and name of both.
_SEQUENCES = """
select owners.nspname || '.' || tables.relname, schemas.nspname, sequences.relname
from pg_depend as links
inner join pg_class as sequences on sequences.oid = links.objid and sequences.relkind = 'S'
inner join pg_namespace as schemas on schemas.oid = sequences.relnamespace
inner join pg_class as tables on tables.oid = links.refobjid
inner join pg_namespace as owners on owners.oid = tables.relnamespace
where links.classid = 'pg_class'::regclass and links.refclassid = 'pg_class'::regclass and links.deptype in ('a', 'i')
"""

READ, ADD, WRITE = "select", "select, insert", "select, insert, update, delete"
LOADED = "select, insert, update"


def histories() -> set[str]:
    """Return the append-only tables, schema and name, that the database guards."""
    with connection.cursor() as cursor:
        cursor.execute(_HISTORIES)
        return {row[0] for row in cursor.fetchall()}


def rights() -> dict[str, str]:
    """Return what the application needs of each table and view: name with schema, and the privileges as SQL."""
    needed = {}
    for model in apps.get_models(include_auto_created=True):
        name = model._meta.db_table
        if model._meta.managed:
            needed[f"{TABLES.get(name, 'public')}.{name}"] = WRITE
        elif name not in TABLES and _is_table(f"public.{name}"):
            needed[f"public.{name}"] = LOADED
    needed |= dict.fromkeys(histories(), ADD)
    with connection.cursor() as cursor:
        cursor.execute("select name from ops.sql_objects where kind = 'view'")
        needed |= {row[0]: READ for row in cursor.fetchall()}
    return needed | {"ops.sql_objects": READ, "public.django_migrations": READ}


def grant_to(role: str) -> int:
    """Give a role exactly what the application needs, and take what else it was given; return how many tables and views.

    Raises ``GrantError`` for a role that does not exist, cannot log in, is a superuser or the owner, and for a
    connection that is not the owner's.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        needed = rights()
        tables = [name.partition(".")[2] for name in needed]
        cursor.execute(_ROLE, {"role": role, "schemas": [*SCHEMAS, "public"], "tables": tables})
        _check(role, cursor.fetchone())
        cursor.execute("select current_database()")
        database = sql.Identifier(cursor.fetchone()[0])
        cursor.execute(_SEQUENCES)
        sequences = [(f"{schema}.{name}", table) for table, schema, name in cursor.fetchall()]
        cursor.execute("select name from ops.sql_objects where kind = 'function'")
        functions = [row[0] for row in cursor.fetchall()]
        for statement in _statements(sql.Identifier(role), database, needed, sequences, functions):
            cursor.execute(statement)
    return len(needed)


def _check(role: str, found: tuple[bool, bool, bool, bool] | None) -> None:
    if found is None:
        raise GrantError(_("There is no role %(role)s. Make it first: create role … login.") % {"role": role})
    can_log_in, is_super, is_owner, by_owner = found
    if not can_log_in:
        raise GrantError(_("The role %(role)s cannot log in, so nobody can work as it.") % {"role": role})
    if is_super:
        raise GrantError(
            _("The role %(role)s is a superuser: no right is missing, none can be taken.") % {"role": role}
        )
    if is_owner:
        raise GrantError(
            _("The role %(role)s owns the tables, or is a member of the role that does. Name another one.")
            % {"role": role}
        )
    if not by_owner:
        raise GrantError(_("Only the owner of the tables can give these rights. Connect as the role that migrates."))


def _statements(
    role: sql.Identifier,
    database: sql.Identifier,
    needed: dict[str, str],
    sequences: Iterable[tuple[str, str]],
    functions: Iterable[str],
) -> Iterable[sql.Composed]:
    schemas = [*SCHEMAS, "public"]
    places = sql.SQL(", ").join(map(sql.Identifier, schemas))
    # By name: plans, and what others keep in public, are not ours to grant or revoke.
    yield sql.SQL("revoke all on {} from {}").format(sql.SQL(", ").join(map(_qualified, sorted(needed))), role)
    yield sql.SQL("grant connect, temporary on database {} to {}").format(database, role)
    yield sql.SQL("grant usage on schema {} to {}").format(places, role)
    # The plan of a run is a table of its own.
    yield sql.SQL("grant create on schema ops to {}").format(role)
    for privileges in sorted(set(needed.values())):
        names = [name for name, wanted in sorted(needed.items()) if wanted == privileges]
        yield sql.SQL("grant {} on {} to {}").format(
            sql.SQL(privileges), sql.SQL(", ").join(map(_qualified, names)), role
        )
    for sequence, table in sequences:
        if table in needed and needed[table] != READ:
            # A file may bring numbers of its own; then the sequence goes on behind them.
            more = ", update" if needed[table] == LOADED else ""
            yield sql.SQL("grant usage, select{} on sequence {} to {}").format(
                sql.SQL(more), _qualified(sequence), role
            )
    if connection.pg_version >= 170000:  # type: ignore[attr-defined]
        own = [name for name, wanted in sorted(needed.items()) if wanted != READ]
        yield sql.SQL("grant maintain on {} to {}").format(sql.SQL(", ").join(map(_qualified, own)), role)
    yield sql.SQL("grant execute on function {} to {}").format(sql.SQL(", ").join(map(_qualified, functions)), role)
    for schema in map(sql.Identifier, SCHEMAS):
        # A sync makes the views anew.
        yield sql.SQL("alter default privileges in schema {} grant select on tables to {}").format(schema, role)


def _qualified(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))


def _is_table(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select exists (select 1 from pg_class where oid = to_regclass(%s) and relkind = 'r')", [name])
        return bool(cursor.fetchone()[0])
