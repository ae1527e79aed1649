"""SQL is code: functions and views are made from the files under ``sql/``, never by hand and never in migrations.

``sync`` brings the database to what the files say, ``out_of_date`` says what differs without touching anything. What was
made is registered in ``ops.sql_objects`` with two digests: of the file's statement and of what the database made of it, so
that a changed file, a view changed or dropped by hand and a view whose file is gone are all noticed (docs/adr/0002).
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext as _
from psycopg2 import errors, sql

from ct4site.schemas import APPS, SCHEMAS

VIEW_APPS = APPS[1:]
LOCK_TIMEOUT = "3s"
_ONE_SYNC_AT_A_TIME = 4_002_001  # key of an advisory lock: arbitrary, searchable
_FILE_NAME = re.compile(r"(?P<layer>[1-4])[0-9]_(?P<relation>[a-z][a-z0-9_]*)")
_FUNCTION = re.compile(r"\bcreate\s+or\s+replace\s+function\s+([a-z0-9_.]+)\s*\(", re.IGNORECASE)
_GRAIN = re.compile(r"^Grain: one row per ([a-z0-9_]+(?:, [a-z0-9_]+)*)\b", re.MULTILINE)


class SyncError(Exception):
    """The files cannot be read, or the database refused them. Nothing was changed."""


@dataclass(frozen=True)
class SqlFile:
    """One function or view file: where it is, what it is called, its header and its body."""

    path: Path
    kind: str
    name: str
    app: str
    layer: int
    header: str
    body: str

    @property
    def where(self) -> str:
        """The path as people say it: ``identity/10_stg_leads.sql``."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def grain(self) -> tuple[str, ...]:
        """The columns of ``Grain: one row per a, b.``; empty when the header has no such line."""
        found = _GRAIN.search(self.header)
        return tuple(found[1].split(", ")) if found else ()

    @cached_property
    def statement(self) -> str:
        """The statement that creates it.

        The body of a view is joined with one empty row: a plain single-table view would be auto-updatable and a form
        over it would rewrite the base row past the audit (architecture.md, "SQL is code"). The planner removes the
        empty row and sees through the view, so that expensive columns are computed only for rows that are left.
        """
        if self.kind == "function":
            return self.body
        return f"create view {self.name} as\nselect result.* from (\n{self.body}\n) as result cross join (select) as read_only"

    @property
    def digest(self) -> str:
        text = f"{self.header}\n{self.statement}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class SyncReport:
    """What a sync did. All zero but ``unchanged``: there was nothing to do."""

    functions: int = 0
    views: int = 0
    removed: int = 0
    unchanged: int = 0


@dataclass(frozen=True)
class Check:
    """An invariant of ``sql/checks/``: every row its query returns is a failure."""

    name: str
    description: str
    sql: str


@dataclass(frozen=True)
class _State:
    """Of one (kind, name): what the register holds and what the database has now."""

    file_digest: str | None = None
    synced_digest: str | None = None
    live_digest: str | None = None

    def difference(self, file: SqlFile | None) -> str:
        """One sentence, empty when the file, the register and the database agree."""
        if self.file_digest is None:
            return _("not made yet") if self.live_digest is None else _("exists already, but was not made from a file")
        if file is None:
            return _("its file is gone")
        if self.live_digest is None:
            return _("is missing in the database")
        if self.file_digest != file.digest:
            return _("its file has changed")
        if self.synced_digest != self.live_digest:
            return _("was changed in the database, not in its file")
        return ""

    @property
    def is_foreign(self) -> bool:
        return self.file_digest is None and self.live_digest is not None


# --- files ----------------------------------------------------------------------------------------


def read(root: Path | None = None) -> list[SqlFile]:
    """Read ``sql/functions`` and the view folders of the apps, in the order in which they are created.

    Functions come first, each after the functions it calls; then views by app, number and name. Raises SyncError for a file
    that breaks a rule of sql/README.md.
    """
    root = root or default_root()
    functions = [_read_file(path, "function") for path in sorted((root / "functions").glob("*.sql"))]
    views = [_read_file(path, "view") for app in VIEW_APPS for path in sorted((root / app).glob("*.sql"))]
    relations: dict[str, SqlFile] = {}
    for file in views:
        # Table names are plain in models, so the part after the schema has to be unique too.
        other = relations.setdefault(file.name.partition(".")[2], file)
        if other is not file:
            raise SyncError(_("%(file)s: %(other)s has the same name") % {"file": file.where, "other": other.where})
    return [*_callees_first(functions), *views]


def default_root() -> Path:
    return Path(settings.BASE_DIR) / "sql"


def load(name: str) -> str:
    """Text of ``sql/jobs/<name>.sql``, a statement with ``%(named)s`` parameters; comments stay. Raises FileNotFoundError."""
    return (default_root() / "jobs" / f"{name}.sql").read_text(encoding="utf-8")


def checks(root: Path | None = None) -> list[Check]:
    """The invariants ``sql/checks/chk_*.sql`` by name; the header comment is the description (reliability.md 4)."""
    found = []
    for path in sorted(((root or default_root()) / "checks").glob("chk_*.sql")):
        comments, body = _split_header(path.read_text(encoding="utf-8"))
        if comments[:1] == [path.stem]:
            comments = comments[1:]
        found.append(Check(path.stem, " ".join(comments), body))
    return found


def _read_file(path: Path, kind: str) -> SqlFile:
    where = f"{path.parent.name}/{path.name}"

    def wrong(reason: str) -> SyncError:
        return SyncError(f"{where}: {reason}")

    comments, body = _split_header(path.read_text(encoding="utf-8"))
    name = comments[0] if comments else ""
    schema, _dot, relation = name.partition(".")
    if schema not in SCHEMAS or not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", relation):
        raise wrong(_("the first line must be a comment with the name, such as “-- canon.stg_leads”"))
    layer = 0
    expected = path.stem
    if kind == "view":
        numbered = _FILE_NAME.fullmatch(path.stem)
        if numbered is None:
            raise wrong(_("the file name must read NN_relation.sql, NN from 10 to 49"))
        layer, expected = int(numbered["layer"]) * 10, numbered["relation"]
    elif _FUNCTION.findall(body) != [name]:
        raise wrong(_("must hold one “create or replace function %(name)s(”") % {"name": name})
    if relation != expected:
        raise wrong(_("the file is called %(file)s, its first line %(name)s") % {"file": expected, "name": relation})
    file = SqlFile(path, kind, name, path.parent.name, layer, "\n".join(comments[1:]), body)
    if not file.header:
        raise wrong(_("the header does not say what it is"))
    if kind == "view" and not file.grain:
        raise wrong(_("the header needs a line “Grain: one row per column, column.”"))
    return file


def _split_header(text: str) -> tuple[list[str], str]:
    """The leading comment lines without their dashes, and the rest without its final semicolon."""
    lines = text.strip().splitlines()
    size = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
    comments = [line.removeprefix("--").strip() for line in lines[:size]]
    return comments, "\n".join(lines[size:]).strip().removesuffix(";").rstrip()


def _callees_first(functions: list[SqlFile]) -> list[SqlFile]:
    """PostgreSQL checks the body of a function when it is created, so the functions it calls have to exist."""
    by_name = {file.name: file for file in functions}
    called = {
        file.name: sorted(
            by_name.keys() & set(re.findall(r"\b[a-z0-9_]+\.[a-z0-9_]+(?=\s*\()", file.body)) - {file.name}
        )
        for file in functions
    }
    try:
        return [by_name[name] for name in TopologicalSorter(called).static_order()]
    except CycleError as error:
        raise SyncError(
            _("functions call each other in a circle: %(names)s") % {"names": ", ".join(error.args[1])}
        ) from error


# --- database -------------------------------------------------------------------------------------


def out_of_date(root: Path | None = None, connection: BaseDatabaseWrapper | None = None) -> list[str]:
    """One line per function or view where files and database differ; empty when they agree. Changes nothing.

    Raises SyncError for a broken file or when the register ``ops.sql_objects`` is missing (migrations not applied).
    """
    connection = connection or connections[DEFAULT_DB_ALIAS]
    files = read(root)
    with _session(connection) as cursor:
        states = _states(cursor, files)
    known = {(file.kind, file.name): file for file in files}
    differences = {key: state.difference(known.get(key)) for key, state in states.items()}
    return [f"{name}: {difference}" for (_kind, name), difference in sorted(differences.items()) if difference]


def sync(*, root: Path | None = None, connection: BaseDatabaseWrapper | None = None) -> SyncReport:
    """Make functions and views as the files say, in one transaction.

    With nothing to do it takes no lock and runs no DDL. Otherwise all our views are dropped in one statement without CASCADE,
    changed functions are replaced (an unchanged function is never touched: an index may stand on it), all views are created
    again, and the register is brought up to date.

    Raises SyncError, with everything as it was, for a broken file, for an object of someone else that is in the way or stands
    on a view of ours, and when a reader keeps a view locked for more than ``LOCK_TIMEOUT``.
    """
    connection = connection or connections[DEFAULT_DB_ALIAS]
    files = read(root)
    if not out_of_date(root, connection):
        return SyncReport(unchanged=len(files))
    with _session(connection) as cursor:
        cursor.execute("select pg_catalog.pg_advisory_xact_lock(%s)", [_ONE_SYNC_AT_A_TIME])
        states = _states(cursor, files)
        known = {(file.kind, file.name): file for file in files}
        strangers = [name for (_kind, name), state in sorted(states.items()) if state.is_foreign]
        if strangers:
            raise SyncError(
                _("not made from a file, rename or drop by hand first: %(names)s") % {"names": ", ".join(strangers)}
            )
        changed = {key for key, state in states.items() if state.difference(known.get(key))}
        if not changed:  # another sync was faster
            return SyncReport(unchanged=len(files))

        _drop_views(cursor, states)
        gone = sorted(states.keys() - known.keys())
        for kind, name in gone:
            if kind == "function":
                _drop_function(cursor, name)
        made = [file for file in files if file.kind == "view" or (file.kind, file.name) in changed]
        for file in made:
            if file.kind == "function":
                _make_function(connection, cursor, file)
            else:
                _execute(cursor, file.statement, file.where)
                _execute(cursor, _comment("view", file.name, file.header), file.where)
        _register(cursor, files, gone)
    functions = sum(file.kind == "function" for file in made)
    return SyncReport(functions, len(made) - functions, len(gone), len(files) - len(made))


def drop_views(connection: BaseDatabaseWrapper | None = None) -> int:
    """Drop the views that came from files, so that a migration may alter the tables under them; the next sync brings them back.

    PostgreSQL refuses ``alter column type`` under a view. Returns how many; raises SyncError if one is in use by a view of
    someone else. Does nothing in an empty database.
    """
    connection = connection or connections[DEFAULT_DB_ALIAS]
    with _session(connection) as cursor:
        if not has_register(cursor):
            return 0
        return _drop_views(cursor, _states(cursor, []))


@contextmanager
def _session(connection: BaseDatabaseWrapper) -> Iterator[Any]:
    """A transaction with a lock timeout in which only qualified names are found, so that a file cannot rely on a search path.

    Inside an outer transaction the settings are put back at the end: releasing a savepoint would keep them. Errors of the
    database leave as SyncError.
    """
    wanted = {"search_path": "pg_catalog", "lock_timeout": LOCK_TIMEOUT}
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            before = {}
            for setting, value in wanted.items():
                cursor.execute("select pg_catalog.current_setting(%s)", [setting])
                before[setting] = cursor.fetchone()[0]
                cursor.execute("select pg_catalog.set_config(%s, %s, true)", [setting, value])
            yield cursor
            for setting, value in before.items():
                cursor.execute("select pg_catalog.set_config(%s, %s, true)", [setting, value])
    except DatabaseError as error:
        raise _explained(error, _("asking the database")) from error


def has_register(cursor: Any) -> bool:
    """Whether ``ops.sql_objects`` exists, that is, whether the first migration of the kernel is applied."""
    cursor.execute("select to_regclass('ops.sql_objects') is not null")
    return cursor.fetchone()[0]


def _states(cursor: Any, files: list[SqlFile]) -> dict[tuple[str, str], _State]:
    """Register and database side by side, for every name in the files or in the register."""
    if not has_register(cursor):
        raise SyncError(_("the register ops.sql_objects is missing; run manage.py migrate"))
    cursor.execute(
        """
        with wanted as (
            select kind, name from unnest(%(kinds)s::text[], %(names)s::text[]) as files (kind, name)
            union
            select kind, name from ops.sql_objects
        ),

        live as (
            select
                'view' as kind,
                wanted.name,
                md5(
                    case when classes.relkind = 'v' then pg_get_viewdef(classes.oid) else classes.relkind::text end
                    || coalesce(obj_description(classes.oid, 'pg_class'), '')
                ) as digest
            from wanted
            inner join pg_class as classes on classes.oid = to_regclass(wanted.name)
            where wanted.kind = 'view'
            union all
            select
                'function',
                wanted.name,
                md5(string_agg(
                    pg_get_functiondef(functions.oid) || coalesce(obj_description(functions.oid, 'pg_proc'), ''),
                    ';' order by functions.oid
                ))
            from wanted
            inner join pg_proc as functions
                on functions.pronamespace = to_regnamespace(split_part(wanted.name, '.', 1))
                and functions.proname = split_part(wanted.name, '.', 2)
                and functions.prokind in ('f', 'p')
            where wanted.kind = 'function'
            group by wanted.name
        )

        select wanted.kind, wanted.name, objects.file_digest, objects.database_digest, live.digest
        from wanted
        left join ops.sql_objects as objects on objects.kind = wanted.kind and objects.name = wanted.name
        left join live on live.kind = wanted.kind and live.name = wanted.name
        """,
        {"kinds": [file.kind for file in files], "names": [file.name for file in files]},
    )
    return {(kind, name): _State(*digests) for kind, name, *digests in cursor.fetchall()}


def _drop_views(cursor: Any, states: dict[tuple[str, str], _State]) -> int:
    """All in one statement: PostgreSQL then finds the order itself, and only views of someone else can be in the way."""
    ours = [name for (kind, name), state in sorted(states.items()) if kind == "view" and state.live_digest is not None]
    if ours:
        _execute(
            cursor,
            sql.SQL("drop view {}").format(sql.SQL(", ").join(map(_identifier, ours))),
            _("dropping the old views"),
        )
    return len(ours)


def _drop_function(cursor: Any, name: str) -> None:
    """Every function of this name, without CASCADE: an index or a view of someone else on it is an error, not a loss."""
    cursor.execute(
        """
        select oid::regprocedure::text from pg_proc
        where pronamespace = to_regnamespace(split_part(%(name)s, '.', 1)) and proname = split_part(%(name)s, '.', 2)
        """,
        {"name": name},
    )
    for (signature,) in cursor.fetchall():
        # The signature is PostgreSQL's own quoted spelling; it has no other form that DROP FUNCTION takes.
        _execute(cursor, sql.SQL("drop function {}").format(sql.SQL(signature)), name)


def _make_function(connection: BaseDatabaseWrapper, cursor: Any, file: SqlFile) -> None:
    """Replace in place; where PostgreSQL cannot (other parameters or return type), drop and create."""
    try:
        with transaction.atomic(using=connection.alias):
            cursor.execute(file.statement)
            cursor.execute(
                """
                select count(*) from pg_proc
                where pronamespace = to_regnamespace(split_part(%(name)s, '.', 1)) and proname = split_part(%(name)s, '.', 2)
                """,
                {"name": file.name},
            )
            replaced = cursor.fetchone()[0] == 1
    except DatabaseError as error:
        if not isinstance(error.__cause__, errors.InvalidFunctionDefinition):
            raise _explained(error, file.where) from error
        replaced = False
    if not replaced:  # other parameters make a second function beside the first, and every call ambiguous
        _drop_function(cursor, file.name)
        _execute(cursor, file.statement, file.where)
    _execute(cursor, _comment("function", file.name, file.header), file.where)


def _register(cursor: Any, files: list[SqlFile], gone: list[tuple[str, str]]) -> None:
    """Write what was made; rows that stay as they are are not touched."""
    for kind, name in gone:
        cursor.execute("delete from ops.sql_objects where kind = %s and name = %s", [kind, name])
    states = _states(cursor, files)
    cursor.executemany(
        """
        insert into ops.sql_objects as objects (kind, name, file_digest, database_digest)
        values (%s, %s, %s, %s)
        on conflict (kind, name) do update
        set file_digest = excluded.file_digest, database_digest = excluded.database_digest, synced_at = now()
        where (objects.file_digest, objects.database_digest) is distinct from (excluded.file_digest, excluded.database_digest)
        """,
        [(file.kind, file.name, file.digest, states[file.kind, file.name].live_digest) for file in files],
    )


def _identifier(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))


def _comment(kind: str, name: str, text: str) -> sql.Composed:
    statement = sql.SQL("comment on {} {} is {}")
    return statement.format(sql.SQL(kind), _identifier(name), sql.Literal(text))


def _execute(cursor: Any, statement: str | sql.Composable, where: str) -> None:
    try:
        cursor.execute(statement)
    except DatabaseError as error:
        raise _explained(error, where) from error


def _explained(error: DatabaseError, where: str) -> SyncError:
    cause = error.__cause__
    diagnosis = getattr(cause, "diag", None)
    parts = [getattr(diagnosis, "message_primary", None) or str(error), getattr(diagnosis, "message_detail", None)]
    if isinstance(cause, errors.LockNotAvailable):
        parts.append(_("Someone is using the views; nothing was changed, try again."))
    elif isinstance(cause, errors.DependentObjectsStillExist):
        parts.append(_("Nothing was changed; what depends on it has to be dropped first."))
    return SyncError(f"{where}: " + " ".join(part.rstrip(".") + "." for part in parts if part))
