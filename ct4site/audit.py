"""The audit log and how it is undone.

An app registers the tables whose rows its jobs and decisions change. Whoever changes such a row
writes ``ops.audit_log`` in the same transaction: whole row before, whole row after. From that
alone ``restore_run`` puts rows back, for every table alike (docs/adr/0004).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connection
from psycopg2 import sql

from ct4site import sqlfiles


@dataclass(frozen=True)
class AuditedTable:
    """A table under audit: where it is, its key, its place in an undo (low goes first).

    ``key_type`` is PostgreSQL's name of the key's type. ``derived`` names columns that carry no
    decision, such as marks of other jobs: a change of them alone is not a change of the row.
    """

    schema: str
    name: str
    key: str
    key_type: str
    undo_order: int
    derived: tuple[str, ...] = ()


@dataclass(frozen=True)
class UndoHooks:
    """What an app adds to every undo, inside its transaction, by the temporary table ``undo``.

    ``prepare(run_id)`` comes before rows are compared: it takes the app's lock, gives rows without person the person
    they belong to, and adds rows whose change is on record elsewhere; it raises ``JobError`` for a run that must stay.
    ``follow(reversal_id, actor)`` comes after rows are back, and brings up to date what is derived from them.
    ``followers`` are (schema, table) whose references ``follow`` looks after.
    """

    prepare: Callable[[int], None]
    follow: Callable[[int, str], None]
    followers: frozenset[tuple[str, str]] = frozenset()


_TABLES: dict[str, AuditedTable] = {}
_HOOKS: list[UndoHooks] = []

# What became of a row; all but the first are left as they are.
RESTORED = "restored"
ALREADY = "already_restored"
CHANGED = "changed_since"
USED = "person_used_since"
REFERRED = "still_referred_to"
TAKEN = "place_taken"
WITH_PERSON = "kept_with_person"
# What a person decided about a row that was left.
ACCEPTED = "accepted"
OUTCOMES = (RESTORED, ALREADY, CHANGED, USED, REFERRED, TAKEN, WITH_PERSON)


def register(
    schema: str, name: str, *, key: str, key_type: str, undo_order: int, derived: tuple[str, ...] = ()
) -> None:
    """Declare a table whose rows are audited; called from an app's ``ready()``."""
    _TABLES[name] = AuditedTable(schema, name, key, key_type, undo_order, derived)


def register_hooks(hooks: UndoHooks) -> None:
    """Declare what an app adds to every undo; called from its ``ready()``."""
    if hooks not in _HOOKS:
        _HOOKS.append(hooks)


def audited_tables() -> list[AuditedTable]:
    """Return the registered tables in the order in which an undo treats them."""
    return sorted(_TABLES.values(), key=lambda table: (table.undo_order, table.name))


# What the run left, row by row: the state before its first change and after its last one.
_COLLECT = """
drop table if exists pg_temp.undo;
create temp table undo on commit drop as
select
    entries.subject_table,
    entries.subject_key,
    (array_agg(entries.person_key order by entries.id desc))[1] as person_key,
    (array_agg(entries.before order by entries.id))[1] as before,
    (array_agg(entries.after order by entries.id desc))[1] as after,
    max(entries.id) as last_id,
    null::text as kept
from ops.audit_log as entries
where entries.run_id = %(run_id)s
group by entries.subject_table, entries.subject_key;
create index on undo (subject_table, subject_key);
create index on undo (person_key);
analyze undo
"""

# In key order, so that two undos, or an undo and a decision, cannot wait for each other.
_LOCK = """
select count(*) from (
    select 1 from {table} as rows
    inner join undo on undo.subject_table = {name} and rows.{key} = undo.subject_key::{key_type}
    order by rows.{key} for update of rows
) as locked
"""

_MARK_CHANGED = """
update undo
set kept = case
    when present.state is not distinct from undo.before - {derived} then 'already_restored'
    else 'changed_since'
end
from (
    select subjects.subject_key, to_jsonb(rows) - {derived} as state
    from undo as subjects
    left join {table} as rows on rows.{key} = subjects.subject_key::{key_type}
    where subjects.subject_table = {name}
) as present
where undo.subject_table = {name} and undo.subject_key = present.subject_key
    and present.state is distinct from undo.after - {derived}
"""

# Newer work on another row of a person, whoever did it, unless it was undone in the meantime.
_MARK_USED = """
with persons as (
    select person_key, max(last_id) as last_id from undo where person_key is not null group by person_key
),

newer as (
    select
        entries.person_key,
        (array_agg(entries.before order by entries.id))[1] as before,
        (array_agg(entries.after order by entries.id desc))[1] as after
    from persons
    inner join ops.audit_log as entries
        on entries.person_key = persons.person_key and entries.id > persons.last_id
    where not exists (
            select 1 from undo
            where undo.subject_table = entries.subject_table and undo.subject_key = entries.subject_key
        )
    group by entries.person_key, entries.subject_table, entries.subject_key
)

update undo
set kept = 'person_used_since'
from newer
where undo.kept is null and undo.person_key = newer.person_key and newer.before is distinct from newer.after
"""

# One row of a person that stays keeps the whole person: half a decision is not a decision.
_KEEP_PERSONS = """
update undo
set kept = 'kept_with_person'
where undo.kept is null and undo.person_key in (
    select stays.person_key from undo as stays where stays.kept not in ('already_restored', 'kept_with_person')
)
"""

_REFERENCES = """
select schemas.nspname, tables.relname, columns.attname
from pg_constraint as links
inner join pg_class as tables on tables.oid = links.conrelid
inner join pg_namespace as schemas on schemas.oid = tables.relnamespace
inner join pg_attribute as columns on columns.attrelid = links.conrelid and columns.attnum = links.conkey[1]
where links.contype = 'f' and links.confrelid = %(table)s::regclass and cardinality(links.conkey) = 1
order by schemas.nspname, tables.relname, columns.attname
"""

_MARK_REFERRED = """
update undo
set kept = 'still_referred_to'
where undo.subject_table = {name} and undo.kept is null and undo.before is null
    and exists (
        select 1 from {other} as others
        where others.{column} = undo.subject_key::{key_type} and {other_stays}
    )
"""

_OTHER_STAYS = """
not exists (
    select 1 from undo as gone
    where gone.subject_table = {other_name} and gone.subject_key = others.{other_key}::text
        and gone.before is null and gone.kept is null
)
"""

_UNIQUE_KEYS = """
select array(
    select columns.attname
    from unnest(indexes.indkey::smallint[]) with ordinality as keys (number, place)
    inner join pg_attribute as columns on columns.attrelid = indexes.indrelid and columns.attnum = keys.number
    order by keys.place
)
from pg_index as indexes
where indexes.indrelid = %(table)s::regclass and indexes.indisunique and not indexes.indisprimary
    and indexes.indpred is null and indexes.indexprs is null
order by indexes.indexrelid
"""

_MARK_TAKEN = """
update undo
set kept = 'place_taken'
from undo as mine
cross join lateral jsonb_populate_record(null::{table}, mine.before) as old
inner join {table} as rows on {same}
where undo.subject_table = {name} and undo.kept is null and undo.before is not null and undo.after is null
    and mine.subject_table = {name} and mine.subject_key = undo.subject_key
"""

_LOG = """
insert into ops.audit_log (run_id, actor, action, reason, subject_table, subject_key, person_key, before, after)
select
    %(reversal_id)s, %(actor)s, 'roll_back', %(reason)s, undo.subject_table, undo.subject_key, undo.person_key,
    undo.after, undo.before
from undo
where undo.subject_table = %(table)s and undo.kept is null
"""

_DELETE = """
delete from {table} as rows using undo
where undo.subject_table = {name} and undo.kept is null and undo.before is null
    and rows.{key} = undo.subject_key::{key_type}
"""

_UPDATE = """
update {table} as rows set ({columns}) = (
    select {restored} from jsonb_populate_record(null::{table}, undo.before) as old
)
from undo
where undo.subject_table = {name} and undo.kept is null and undo.before is not null and undo.after is not null
    and rows.{key} = undo.subject_key::{key_type}
"""

_INSERT = """
insert into {table}
select old.* from undo cross join lateral jsonb_populate_record(null::{table}, undo.before) as old
where undo.subject_table = {name} and undo.kept is null and undo.before is not null and undo.after is null
"""


# One row and, if it has a person, all of that person: half a decision is not a decision.
_NARROW = """
delete from undo
where not (undo.subject_table = %(table)s and undo.subject_key = %(key)s)
    and undo.person_key is distinct from coalesce(%(person)s, (
        select wanted.person_key from undo as wanted
        where wanted.subject_table = %(table)s and wanted.subject_key = %(key)s
    ))
"""


@dataclass(frozen=True)
class Row:
    """One row under audit: its table's name, its key as text, and the person it belongs to, if any."""

    table: str
    key: str
    person_key: uuid.UUID | None = None


def restore_run(
    *, run_id: int, reversal_id: int, actor: str, reason: str, only: Row | None = None
) -> dict[str, Any]:  # fmt: skip
    """Put back every row that is still as run ``run_id`` left it; must run inside a transaction.

    Takes the run to undo, the id of the run that undoes it, who and why, and, with ``only``, the row to which it is
    confined, along with the other rows of its person. Returns per table how many
    rows had each of ``OUTCOMES``, and under ``audit`` how many entries were written. A person on
    whose rows newer work stands is left alone as a whole. Never forces; doing it again changes
    nothing; history grows (promises P5 and P6, reliability F23).
    """
    parts = {table.name: _parts(table) for table in audited_tables()}
    with connection.cursor() as cursor:
        cursor.execute(_COLLECT, {"run_id": run_id})
        for hooks in _HOOKS:
            hooks.prepare(run_id)
        if only is not None:
            cursor.execute(_NARROW, {"table": only.table, "key": only.key, "person": only.person_key})
        for part in parts.values():
            cursor.execute(sql.SQL(_LOCK).format(**part))
        for part in parts.values():
            cursor.execute(sql.SQL(_MARK_CHANGED).format(**part))
        cursor.execute(_MARK_USED)
        for table in audited_tables():
            _mark_taken(cursor, table, parts[table.name])
        cursor.execute(_KEEP_PERSONS)
        for table in audited_tables():
            _mark_referred(cursor, table, parts[table.name])
        cursor.execute(_KEEP_PERSONS)
        # Rows refer to each other; whether all fits is asked once, when all are in place.
        cursor.execute("set constraints all deferred")
        written = 0
        for table in audited_tables():
            cursor.execute(_LOG, {"reversal_id": reversal_id, "actor": actor, "reason": reason, "table": table.name})
            written += cursor.rowcount
            for statement in (_DELETE, _UPDATE, _INSERT):
                cursor.execute(sql.SQL(statement).format(**parts[table.name], **_columns(cursor, table)))
        for hooks in _HOOKS:
            hooks.follow(reversal_id, actor)
        cursor.execute("set constraints all immediate")
        tally: dict[str, Any] = {table.name: dict.fromkeys(OUTCOMES, 0) for table in audited_tables()}
        cursor.execute("select subject_table, coalesce(kept, 'restored'), count(*) from undo group by 1, 2")
        for name, outcome, count in cursor.fetchall():
            tally.setdefault(name, dict.fromkeys(OUTCOMES, 0))[outcome] = count
    return tally | {"audit": written}


def kept_rows(shown: int) -> list[tuple[str, str, int, list[str]]]:
    """Return (table, outcome, how many, up to ``shown`` keys) of what the last ``restore_run`` left alone.

    Must run in the transaction of that ``restore_run``.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select subject_table, kept, max(rows), array_agg(subject_key order by place)
            from (
                select
                    subject_table, kept, subject_key,
                    row_number() over (partition by subject_table, kept order by last_id) as place,
                    count(*) over (partition by subject_table, kept) as rows
                from undo
                where kept <> 'already_restored'
            ) as numbered
            where place <= %s
            group by subject_table, kept
            order by subject_table, kept
            """,
            [shown],
        )
        return list(cursor.fetchall())


def undone_persons() -> list[uuid.UUID]:
    """Return the persons of the rows of the last ``restore_run``; must run in its transaction."""
    with connection.cursor() as cursor:
        cursor.execute("select distinct person_key from undo where person_key is not null")
        return [row[0] for row in cursor.fetchall()]


def tell_leftovers(*, run_id: int, reversal_id: int) -> int:
    """Write down which rows the last ``restore_run`` left alone, and what became of those left before; return how many.

    Takes the run that was undone and the run that undid it. Must run in the transaction of that ``restore_run``.
    """
    with connection.cursor() as cursor:
        cursor.execute(sqlfiles.load("undo_leftovers"), {"run_id": run_id, "reversal_id": reversal_id})
        return int(cursor.rowcount)


def _parts(table: AuditedTable) -> dict[str, sql.Composable]:
    return {
        "table": sql.Identifier(table.schema, table.name),
        "name": sql.Literal(table.name),
        "key": sql.Identifier(table.key),
        "key_type": sql.Identifier(table.key_type),
        "derived": sql.SQL("{}::text[]").format(sql.Literal(list(table.derived))),
    }


def _columns(cursor: Any, table: AuditedTable) -> dict[str, sql.Composable]:
    cursor.execute(
        "select column_name from information_schema.columns where table_schema = %s and table_name = %s"
        " and column_name <> %s order by ordinal_position",
        [table.schema, table.name, table.key],
    )
    names = [row[0] for row in cursor.fetchall()]
    return {
        "columns": sql.SQL(", ").join(map(sql.Identifier, names)),
        "restored": sql.SQL(", ").join(sql.Identifier("old", name) for name in names),
    }


def _mark_taken(cursor: Any, table: AuditedTable, part: dict[str, sql.Composable]) -> None:
    """A removed row stays away when another one stands in its place by now."""
    cursor.execute(_UNIQUE_KEYS, {"table": f"{table.schema}.{table.name}"})
    for (names,) in cursor.fetchall():
        same = sql.SQL(" and ").join(
            sql.SQL("{} = {}").format(sql.Identifier("rows", name), sql.Identifier("old", name)) for name in names
        )
        cursor.execute(sql.SQL(_MARK_TAKEN).format(**part, same=same))


def _mark_referred(cursor: Any, table: AuditedTable, part: dict[str, sql.Composable]) -> None:
    """A created row stays while a row that stays refers to it."""
    followers = frozenset().union(*(hooks.followers for hooks in _HOOKS))
    cursor.execute(_REFERENCES, {"table": f"{table.schema}.{table.name}"})
    for schema, name, column in cursor.fetchall():
        if (schema, name) in followers:
            continue
        other = _TABLES.get(name)
        stays: sql.Composable = sql.SQL("true")
        if other is not None and other.schema == schema:
            stays = sql.SQL(_OTHER_STAYS).format(other_name=sql.Literal(name), other_key=sql.Identifier(other.key))
        cursor.execute(
            sql.SQL(_MARK_REFERRED).format(
                **part, other=sql.Identifier(schema, name), column=sql.Identifier(column), other_stays=stays
            )
        )
