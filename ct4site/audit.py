"""The audit log and how it is undone.

An app registers the tables whose rows its jobs and decisions change. Whoever changes such a row
writes ``ops.audit_log`` in the same transaction: whole row before, whole row after. From that
alone ``restore_run`` puts rows back, for every table alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection
from psycopg2 import sql


@dataclass(frozen=True)
class AuditedTable:
    """A table under audit: schema, name, key column, and its place in an undo (low goes first)."""

    schema: str
    name: str
    key: str
    undo_order: int


_TABLES: dict[str, AuditedTable] = {}

# Said once per row that a roll-back leaves alone.
KEPT_CHANGED = "changed_since"
KEPT_USED = "used_by_newer_run"


def register(schema: str, name: str, *, key: str, undo_order: int) -> None:
    """Declare a table whose rows are audited; called from an app's ``ready()``."""
    _TABLES[name] = AuditedTable(schema, name, key, undo_order)


def audited_tables() -> list[AuditedTable]:
    """Return the registered tables in the order in which an undo treats them."""
    return sorted(_TABLES.values(), key=lambda table: (table.undo_order, table.name))


# What the run left, row by row: the state before its first change and after its last one.
_COLLECT = """
create temp table undo on commit drop as
select
    entries.subject_table,
    entries.subject_key,
    entries.person_key,
    (array_agg(entries.before order by entries.id))[1] as before,
    (array_agg(entries.after order by entries.id desc))[1] as after,
    null::text as kept
from ops.audit_log as entries
where entries.run_id = %(run_id)s
    and not exists (
        select 1 from ops.audit_log as undone
        inner join ops.ingestion_runs as reversals on reversals.id = undone.run_id
        where reversals.reverses_id = %(run_id)s
            and undone.subject_table = entries.subject_table
            and undone.subject_key = entries.subject_key
    )
group by entries.subject_table, entries.subject_key, entries.person_key;
create index on undo (subject_table, subject_key);
create index on undo (person_key);
analyze undo
"""

# A person whom newer runs or people worked on since is left alone as a whole, and listed.
_MARK_USED = """
update undo
set kept = %(kept)s
where person_key in (
    select newer.person_key
    from ops.audit_log as newer
    where newer.person_key in (select person_key from undo)
        and newer.id > (select max(id) from ops.audit_log where run_id = %(run_id)s)
        and not exists (
            select 1 from ops.audit_log as undone
            inner join ops.ingestion_runs as reversals on reversals.id = undone.run_id
            where reversals.reverses_id = newer.run_id
                and undone.subject_table = newer.subject_table
                and undone.subject_key = newer.subject_key
        )
        and not exists (select 1 from ops.ingestion_runs as self where self.id = newer.run_id and self.reverses_id is not null)
)
"""

_MARK_CHANGED = """
update undo
set kept = {reason}
where undo.subject_table = {name} and undo.kept is null
    and to_jsonb((select rows from {table} as rows where rows.{key}::text = undo.subject_key))
        is distinct from undo.after
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
    and rows.{key}::text = undo.subject_key
"""

_UPDATE = """
update {table} as rows set ({columns}) = (select {restored} from jsonb_populate_record(null::{table}, undo.before) as old)
from undo
where undo.subject_table = {name} and undo.kept is null and undo.before is not null and undo.after is not null
    and rows.{key}::text = undo.subject_key
"""

_INSERT = """
insert into {table}
select old.* from undo cross join lateral jsonb_populate_record(null::{table}, undo.before) as old
where undo.subject_table = {name} and undo.kept is null and undo.before is not null and undo.after is null
"""


def restore_run(*, run_id: int, reversal_id: int, actor: str, reason: str) -> dict[str, dict[str, int]]:
    """Put back every row that is still as run ``run_id`` left it; must run inside a transaction.

    Takes the run to undo, the id of the run that undoes it, who and why. Returns per table how
    many rows were ``restored``, ``changed_since`` and ``used_by_newer_run``; the temporary table
    ``undo`` names the rows kept until the transaction ends. History grows: every row put back is
    audited (promise P6, reliability F23). Never forces.
    """
    tally: dict[str, dict[str, int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_COLLECT, {"run_id": run_id})
        cursor.execute(_MARK_USED, {"run_id": run_id, "kept": KEPT_USED})
        parts = {
            table.name: {
                "table": sql.Identifier(table.schema, table.name),
                "name": sql.Literal(table.name),
                "key": sql.Identifier(table.key),
            }
            for table in audited_tables()
        }
        for table in audited_tables():
            cursor.execute(sql.SQL(_MARK_CHANGED).format(**parts[table.name], reason=sql.Literal(KEPT_CHANGED)))
        # One changed row of a person keeps the whole person: half a decision is not a decision.
        cursor.execute(
            "update undo set kept = %s where kept is null and person_key in (select person_key from undo where kept = %s)",
            [KEPT_USED, KEPT_CHANGED],
        )
        for table in audited_tables():
            part = parts[table.name]
            cursor.execute(_LOG, {"reversal_id": reversal_id, "actor": actor, "reason": reason, "table": table.name})
            cursor.execute(
                "select column_name from information_schema.columns where table_schema = %s and table_name = %s"
                " and column_name <> %s order by ordinal_position",
                [table.schema, table.name, table.key],
            )
            names = [row[0] for row in cursor.fetchall()]
            columns = sql.SQL(", ").join(map(sql.Identifier, names))
            restored = sql.SQL(", ").join(sql.Identifier("old", name) for name in names)
            cursor.execute(sql.SQL(_DELETE).format(**part))
            cursor.execute(sql.SQL(_UPDATE).format(**part, columns=columns, restored=restored))
            cursor.execute(sql.SQL(_INSERT).format(**part))
        cursor.execute(
            "select subject_table, coalesce(kept, 'restored'), count(*) from undo group by 1, 2 order by 1, 2"
        )
        for name, outcome, count in cursor.fetchall():
            tally.setdefault(name, {})[outcome] = count
    return tally
