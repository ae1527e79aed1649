"""``load_source``: a CSV file into a source table, whole or not at all, at the speed of COPY.

The file goes into a temporary table with the types of the target, in one COPY when every value is clean and row by
row when not; then a few set-based statements decide for each row whether it is new, changed, the same, superseded by
a later line, or in conflict, and write the target. Target tables belong to other systems and may lack unique indexes,
so identity is decided here, under a lock, and not by ``on conflict``.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import DataError, IntegrityError, OperationalError, connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from psycopg2 import sql

from ct4site.reports import safe_cell
from identity.sources.reading import (
    BLOCK,
    FORMATS,
    KEY,
    TEXT_TYPES,
    CleanBlocks,
    Header,
    SourceFileRefused,
    check_bytes,
    read_header,
    records,
)
from identity.sources.tables import DAY_AS_TEXT, SOURCE_TABLES, SourceTable

BATCH = 5000
ANALYZE_FROM = 10_000
STAGE = sql.SQL("pg_temp.load_source_rows")
MATCHED = sql.SQL("pg_temp.load_source_matched")
LINE = sql.Identifier("load_source_line")

logger = logging.getLogger("ct4.load_source")


@dataclass
class LoadTally:
    """What became of the rows of a file. ``read`` is the sum of the five counts below it."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    rejected: int = 0
    rejects_file: str | None = None
    ignored_columns: tuple[str, ...] = ()


def load_source(
    *,
    table: str,
    path: Path,
    rejects_dir: Path,
    actor: str,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> LoadTally:
    """Load a CSV file into a source table, in one transaction.

    Takes the plain name of one of the seven source tables, the file, the folder for rejected rows, who asks for it,
    whether to roll everything back at the end, and a function told the rows read so far. Columns the file lacks keep
    their value in old rows and take the table's default in new ones. Returns the tally. Raises ``SourceFileRefused``
    with nothing loaded when the file, or the table, cannot do. Loading the same file again changes nothing.
    Rules: domain.md 2 and 3.12, Q68, Q75; late rows are never dropped (13.1 #28).
    """
    if table not in SOURCE_TABLES:
        raise SourceFileRefused(
            _("%(table)s is not a source table. Choose one of: %(tables)s.")
            % {"table": table, "tables": ", ".join(SOURCE_TABLES)}
        )
    source = SOURCE_TABLES[table]
    header = read_header(path, source.columns)
    rejects = Rejects(rejects_dir, table, path.name)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("set local statement_timeout = 0")
            cursor.execute("set local lock_timeout = '60s'")
            cursor.execute("set local datestyle = 'ISO, DMY'")
            load = _Load(cursor, source, header, path, rejects, progress or (lambda rows: None))
            try:
                tally = load.run()
            except OperationalError as error:
                if getattr(error.__cause__, "pgcode", None) == "55P03":  # lock_not_available
                    raise SourceFileRefused(_("the table is in use by somebody else; try again later")) from error
                raise
            except (DataError, IntegrityError) as error:
                raise SourceFileRefused(
                    _("the table refused the rows: %(reason)s") % {"reason": str(error).strip()}
                ) from error
            if dry_run:
                transaction.set_rollback(True)
    except BaseException:
        rejects.discard()
        raise
    tally.rejects_file = rejects.keep()
    logger.debug("%s loaded %s into %s: %s", actor, path.name, table, tally)
    return tally


# --- rejects ---------------------------------------------------------------------------------------


class Rejects:
    """The file of rejected rows, made with the first of them; named for good only when the load is through."""

    def __init__(self, folder: Path, table: str, source: str) -> None:
        stamp = timezone.localtime().strftime("%Y%m%dT%H%M%S")
        self.path = folder / f"{table}-{stamp}-{secrets.token_hex(4)}.csv"
        self.part = self.path.with_suffix(".part")
        self.source = source
        self.count = 0
        self._file: Any = None
        self._writer: Any = None

    def add(self, line: int, column: str, value: str, reason: str, names: tuple[str, ...], row: list[str]) -> None:
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Rejected rows are personal data: nobody else on the machine may read them.
            descriptor = os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(("file", "line", "column", "value", "reason", "row"))
        raw: Any = dict(zip(names, row, strict=True)) if len(row) == len(names) else row
        cells = (self.source, str(line), column, value, reason, json.dumps(raw, ensure_ascii=False))
        self._writer.writerow([safe_cell(cell) for cell in cells])
        self.count += 1

    def keep(self) -> str | None:
        if self._file is None:
            return None
        self._file.close()
        self.part.replace(self.path)
        return str(self.path)

    def discard(self) -> None:
        if self._file is not None:
            self._file.close()
            self.part.unlink(missing_ok=True)
        self._file = self._writer = None
        self.count = 0


# --- the load --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """A column of the target that the file brings."""

    name: str
    index: int
    type_sql: str
    type_name: str
    required: bool

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.name)


class _Load:
    """One load, step by step; all steps inside the caller's transaction."""

    def __init__(
        self,
        cursor: Any,
        source: SourceTable,
        header: Header,
        path: Path,
        rejects: Rejects,
        progress: Callable[[int], None],
    ) -> None:
        self.cursor, self.source, self.header, self.path = cursor, source, header, path
        self.rejects, self.progress = rejects, progress
        self.target = sql.Identifier("public", source.name)
        self.tally = LoadTally()
        self.columns = self._plan_columns()
        self.given = {column.name: column for column in self.columns}
        self.has_surrogate = source.surrogate in self.given
        self.fields = [
            (
                column,
                column.index,
                FORMATS.get(column.type_name) or (KEY if column.name in source.key else None),
                column.required,
            )
            for column in self.columns
        ]

    def run(self) -> LoadTally:
        tally = self.tally
        tally.read = self._stage()
        # Readers go on; other writers, a second load among them, wait.
        self._execute("lock table {target} in share row exclusive mode")
        tally.superseded = self._drop_superseded()
        if self.has_surrogate:
            natural = self.given.get(self.source.natural)
            if natural and not self.given[self.source.surrogate].required:
                self._redraw_surrogates()
            if not natural or not natural.required or self.given[self.source.surrogate].required:
                self._reject_surrogates_used_twice()
            self._reject_surrogates_of_others()
        self._match()
        tally.updated, tally.unchanged = self._update()
        tally.inserted = self._insert()
        tally.rejected = self.rejects.count
        if tally.inserted + tally.updated >= ANALYZE_FROM:
            # The keys are what later statements join on; sampling all columns would take as long as a part of the load.
            keys = (*self.source.key, self.source.surrogate)
            names = sql.SQL(", ").join(sql.Identifier(name) for name in keys if name in self.given)
            self._execute("analyze {target} ({names})", names=names)
        self._execute("drop table {stage}, {matched}")
        accepted = tally.inserted + tally.updated + tally.unchanged + tally.superseded
        if accepted + tally.rejected != tally.read:
            raise RuntimeError(f"rows read and rows accounted for differ: {tally}")
        return tally

    def _execute(self, statement: str, parameters: Iterable[Any] | None = None, **parts: sql.Composable) -> int:
        composed = sql.SQL(statement).format(
            target=self.target, stage=STAGE, matched=MATCHED, line=LINE, **self._key_parts(), **parts
        )
        self.cursor.execute(composed, parameters)
        return int(self.cursor.rowcount)

    def _key_parts(self) -> dict[str, sql.Composable]:
        return {
            "natural": sql.Identifier(self.source.natural),
            "surrogate": sql.Identifier(self.source.surrogate or self.source.natural),
        }

    # columns

    def _plan_columns(self) -> list[_Column]:
        """Which columns of the file go where. Refuses a file without its keys, or one the table cannot take."""
        self.cursor.execute(
            """
            select attname, format_type(atttypid, atttypmod), typname,
                   attnotnull, atthasdef or attidentity <> '', attgenerated <> ''
            from pg_attribute
            join pg_type on pg_type.oid = atttypid
            where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
            order by attnum
            """,
            [f"public.{self.source.name}"],
        )
        found = {row[0]: row[1:] for row in self.cursor.fetchall()}
        if not found:
            raise SourceFileRefused(_("this database has no table %(table)s") % {"table": self.source.name})
        source, names = self.source, self.header.names
        known = [name for name in names if name in source.columns and name in found and not found[name][4]]
        missing = [name for name in source.key if name not in known]
        if missing and not (source.surrogate_identifies and source.surrogate in known):
            raise SourceFileRefused(_("the header lacks the column %(columns)s") % {"columns": ", ".join(missing)}, 1)
        self.tally.ignored_columns = tuple(name for name in names if name and name not in known)
        demanded = [
            name
            for name, (__, __, not_null, default, generated) in found.items()
            if not_null and not default and not generated and name not in known
        ]
        if demanded:
            raise SourceFileRefused(
                _("the table demands a value in %(columns)s, and the file has no such column")
                % {"columns": ", ".join(demanded)},
                1,
            )
        columns = []
        for name in known:
            type_sql, type_name, not_null, default, __ = found[name]
            if (source.name, name) == DAY_AS_TEXT:
                type_sql = type_name = "date"
            if type_name not in FORMATS and type_name not in TEXT_TYPES:
                raise SourceFileRefused(
                    _("the column %(column)s of the table has the type %(type)s, which cannot be loaded")
                    % {"column": name, "type": type_sql}
                )
            # An empty surrogate is drawn from the table's own sequence; an empty key may be replaced by the surrogate.
            is_key = name in source.key
            required = (is_key and not (source.surrogate_identifies and source.surrogate in known)) or (
                not_null and not (name == source.surrogate and default)
            )
            if source.surrogate_identifies and name == source.surrogate and source.natural not in known:
                required = True
            columns.append(_Column(name, names.index(name), type_sql, type_name, required))
        return columns

    @property
    def _needs_either_key(self) -> bool:
        return self.source.surrogate_identifies and self.has_surrogate and self.source.natural in self.given

    # staging

    def _stage(self) -> int:
        """Fill the staging table; returns the rows read, rejected ones included."""
        try:
            with transaction.atomic():
                rows = self._copy_file()
                if rows is not None:
                    return rows
                raise _NotClean
        except (_NotClean, DataError, IntegrityError):
            return self._copy_records()

    def _create_stage(self, ignored: Iterable[int] = ()) -> None:
        parts = [sql.SQL("{} bigint generated by default as identity (start with 2)").format(LINE)]
        for column in self.columns:
            constraint = sql.SQL(" not null" if column.required else "")
            parts.append(sql.SQL("{} {}{}").format(column.identifier, sql.SQL(column.type_sql), constraint))
        parts += [sql.SQL("{} text").format(_ignored(index)) for index in ignored]
        if self._needs_either_key:
            parts.append(sql.SQL("check (num_nonnulls({natural}, {surrogate}) > 0)").format(**self._key_parts()))
        self._execute("drop table if exists {stage}, {matched}")
        self._execute("create temporary table load_source_rows ({parts})", parts=sql.SQL(", ").join(parts))

    def _copy_file(self) -> int | None:
        """The whole file in one COPY; nothing when the file is not clean. Line = position, as no value spans lines."""
        by_index = {column.index: column for column in self.columns}
        order = [
            by_index[index].identifier if index in by_index else _ignored(index) for index in range(self.header.width)
        ]
        self._create_stage(index for index in range(self.header.width) if index not in by_index)
        formats = {index: (form, required) for __, index, form, required in self.fields if form}
        with self.path.open("rb") as file:
            blocks = CleanBlocks(file, self.header, formats, self.progress)
            self._copy(order, blocks, self.header.delimiter)
        return None if blocks.dirty else blocks.rows

    def _copy(self, order: list[sql.Identifier], file: Any, delimiter: str = ",") -> None:
        # With force_null a quoted nothing is nothing too: the feeds do not tell one from the other (Q68).
        columns = sql.SQL(", ").join(order)
        statement = sql.SQL("copy {} ({}) from stdin (format csv, delimiter {}, force_null ({}))").format(
            STAGE, columns, sql.Literal(delimiter), columns
        )
        with connection.wrap_database_errors:
            self.cursor.copy_expert(statement.as_string(connection.connection), file, BLOCK)

    def _copy_records(self) -> int:
        """Row by row: bad rows to the rejects file, good ones to the staging table in batches."""
        check_bytes(self.path)
        self._create_stage()
        read, batch = 0, []
        for line, row in records(self.path, self.header):
            read += 1
            values = self._values(line, row)
            if values is not None:
                batch.append((line, row, values))
            if len(batch) == BATCH:
                self._copy_batch(batch)
                batch = []
                self.progress(read)
        self._copy_batch(batch)
        self.progress(read)
        return read

    def _values(self, line: int, row: list[str]) -> list[str] | None:
        """The row's values as COPY takes them, or nothing after rejecting the row."""
        names = self.header.names
        if len(row) != len(names):
            reason = _("%(count)s fields where the header has %(expected)s")
            self.rejects.add(line, "", "", reason % {"count": len(row), "expected": len(names)}, names, row)
            return None
        values = []
        for column, index, form, required in self.fields:
            text = row[index]
            reason = ""
            if form is not None:
                text = text.strip()
                if text:
                    try:
                        text = form.convert(text)
                    except ValueError as error:
                        reason = str(error)
            if required and not text:
                reason = _("must not be empty")
            if reason:
                self.rejects.add(line, column.name, row[index], reason, names, row)
                return None
            values.append(text)
        if self._needs_either_key:
            keys = (self.source.natural, self.source.surrogate)
            if not any(row[self.given[key].index].strip() for key in keys):
                reason = _("%(first)s and %(second)s must not both be empty")
                self.rejects.add(
                    line,
                    keys[0],
                    row[self.given[keys[0]].index],
                    reason % dict(zip(("first", "second"), keys, strict=True)),
                    names,
                    row,
                )
                return None
        return values

    def _copy_batch(self, batch: list[tuple[int, list[str], list[str]]]) -> None:
        """COPY a batch; the table has the last word on a value, so halve what it refuses until the rows are found."""
        if not batch:
            return
        written = io.StringIO(newline="")
        csv.writer(written).writerows([line, *values] for line, __, values in batch)
        order = [LINE, *(column.identifier for column in self.columns)]
        try:
            with transaction.atomic():
                self._copy(order, io.BytesIO(written.getvalue().encode()))
        except (DataError, IntegrityError) as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                self._copy_batch(batch[:middle])
                self._copy_batch(batch[middle:])
                return
            line, row, __ = batch[0]
            diagnosis = getattr(error.__cause__, "diag", None)
            reason = (getattr(diagnosis, "message_primary", None) or str(error)).strip()
            context = re.search(r"load_source_rows, \w+ \d+, \w+ (\w+)", getattr(diagnosis, "context", None) or "")
            column = self.given.get(context[1]) if context else None
            value = row[column.index] if column else ""
            self.rejects.add(line, column.name if column else "", value, reason, self.header.names, row)

    # which rows count

    def _keys(self) -> list[sql.Composable]:
        """What two rows of the file have in common when they mean the same row."""
        parts = self._key_parts()
        if self._needs_either_key:
            return [sql.SQL("coalesce('natural ' || {natural}, 'surrogate ' || {surrogate})").format(**parts)]
        return [sql.Identifier(name) for name in self.source.key if name in self.given] or [parts["surrogate"]]

    def _drop_superseded(self) -> int:
        """Of several lines with one key the last one wins."""
        keys = self._keys()
        aliases = [sql.Identifier(f"key_{number}") for number in range(len(keys))]
        named = zip(keys, aliases, strict=True)
        return self._execute(
            """
            delete from {stage} rows using (
                select {named}, max({line}) as last_line from {stage} group by {positions} having count(*) > 1
            ) repeated
            where ({keys}) = ({aliases}) and {line} < last_line
            """,
            named=sql.SQL(", ").join(sql.SQL("{} as {}").format(key, alias) for key, alias in named),
            positions=sql.SQL(", ").join(sql.SQL(str(number + 1)) for number in range(len(keys))),
            keys=sql.SQL(", ").join(keys),
            aliases=sql.SQL(", ").join(aliases),
        )

    def _used_twice(self) -> sql.Composed:
        """The ids several staged rows share, each with the first of their lines."""
        return sql.SQL(
            """(
                select {surrogate} as twice, min({line}) as first_line
                from {stage} where {surrogate} is not null group by 1 having count(*) > 1
            ) repeated"""
        ).format(stage=STAGE, line=LINE, **self._key_parts())

    def _redraw_surrogates(self) -> None:
        """A row known by its natural key whose id is taken gets an id of its own: late rows are always kept."""
        self._execute(
            """
            update {stage} rows set {surrogate} = null
            from {twice}
            where rows.{surrogate} = twice and rows.{line} > first_line and rows.{natural} is not null
            """,
            twice=self._used_twice(),
        )
        self._execute(
            """
            update {stage} rows set {surrogate} = null
            from {target} taken
            where taken.{surrogate} = rows.{surrogate} and rows.{natural} is not null
                and nullif(taken.{natural}, '') <> rows.{natural}
            """
        )

    def _reject_surrogates_used_twice(self) -> None:
        """Two different rows of the file with one id: the first keeps it."""
        self._execute(
            """
            delete from {stage} rows using {twice}
            where {surrogate} = twice and {line} > first_line
            returning {line}
            """,
            twice=self._used_twice(),
        )
        self._reject_lines(_("another row of this file has this %(surrogate)s"))

    def _reject_surrogates_of_others(self) -> None:
        """A new row whose id the table already gave to another natural key."""
        if self.source.natural not in self.given:
            return
        self._execute(
            """
            delete from {stage} rows using {target} taken
            where rows.{surrogate} = taken.{surrogate} and nullif(taken.{natural}, '') <> rows.{natural}
                and not exists (select from {target} own where own.{natural} = rows.{natural})
            returning rows.{line}
            """
        )
        self._reject_lines(_("this %(surrogate)s belongs to another %(natural)s"))

    def _reject_lines(self, reason: str) -> None:
        """Reject the lines just deleted from the staging table; their text is read from the file again."""
        lines = {row[0] for row in self.cursor.fetchall()}
        if not lines:
            return
        names, column = self.header.names, self.given[self.source.surrogate]
        reason = reason % {"surrogate": self.source.surrogate, "natural": self.source.natural}
        for line, row in records(self.path, self.header):
            if line in lines:
                self.rejects.add(line, column.name, row[column.index], reason, names, row)

    # into the target

    def _value(self, column: _Column) -> sql.Composable:
        """A staged value as the target stores it."""
        form = "to_char(rows.{}, 'DD-MM-YYYY')" if (self.source.name, column.name) == DAY_AS_TEXT else "rows.{}"
        return sql.SQL(form).format(column.identifier)

    def _stored_key(self, name: str) -> sql.Composable:
        """A key column of the target, a day in the spelling of ``_value``."""
        stored = sql.SQL("stored.{}").format(sql.Identifier(name))
        if (self.source.name, name) != DAY_AS_TEXT:
            return stored
        return sql.SQL(
            r"""case when {0} like '__-__-____' then {0}
                else regexp_replace(translate(btrim({0}), '/.', '--'), '^(\d{{4}})-(\d\d)-(\d\d)$', '\3-\2-\1') end"""
        ).format(stored)

    def _changeable(self) -> list[tuple[sql.Identifier, sql.Composable]]:
        """Columns an update may set, with their new value. A row keeps its id, and the external_id it has."""
        source = self.source
        fixed = {source.surrogate, *source.key}
        changes = [(column.identifier, self._value(column)) for column in self.columns if column.name not in fixed]
        if self._needs_either_key:
            natural = sql.Identifier(source.natural)
            changes.append((natural, sql.SQL("coalesce(rows.{0}, stored.{0})").format(natural)))
        return changes

    def _match(self) -> None:
        """Which staged row means which stored row, and whether they differ."""
        source = self.source
        changes = self._changeable()
        differs = (
            sql.SQL("({}) is distinct from ({})").format(
                sql.SQL(", ").join(value for __, value in changes),
                sql.SQL(", ").join(sql.SQL("stored.{}").format(name) for name, __ in changes),
            )
            if changes
            else sql.SQL("false")
        )
        same_key = [
            sql.SQL("{} = {}").format(self._value(self.given[name]), self._stored_key(name))
            for name in source.key
            if name in self.given
        ]
        matches = [sql.SQL(" and ").join(same_key)] if same_key else []
        if source.surrogate_identifies and self.has_surrogate:
            by_surrogate = "rows.{surrogate} = stored.{surrogate}"
            if self._needs_either_key:
                # A lead that had no external_id yet is still the lead of this id.
                by_surrogate += """ and (rows.{natural} is null or (coalesce(stored.{natural}, '') = ''
                    and not exists (select from {target} own where own.{natural} = rows.{natural})))"""
            matches.append(sql.SQL(by_surrogate).format(target=self.target, **self._key_parts()))
        select = """
            select rows.{line}, stored.tableoid as stored_part, stored.ctid as stored_row, {differs} as differs
            from {stage} rows join {target} stored on {match}
        """
        parts = {"line": LINE, "stage": STAGE, "target": self.target, "differs": differs}
        queries = [sql.SQL(select).format(match=match, **parts) for match in matches]
        self._execute(
            "create temporary table load_source_matched as {query}", query=sql.SQL(" union all ").join(queries)
        )
        if self._needs_either_key:
            # One line by external_id and one by id may mean the same stored row.
            self.tally.superseded += self._execute(
                """
                delete from {stage} where {line} in (
                    select earlier.{line} from {matched} earlier
                    join {matched} later using (stored_part, stored_row)
                    where earlier.{line} < later.{line}
                )
                """
            )
            self._execute("delete from {matched} m where not exists (select from {stage} s where s.{line} = m.{line})")
        self._execute("analyze {matched}")

    def _update(self) -> tuple[int, int]:
        """Write the rows that differ; returns how many staged rows changed something and how many did not."""
        self._execute(
            """
            select count(*) filter (where differs), count(*) filter (where not differs)
            from (select {line}, bool_or(differs) as differs from {matched} group by 1) lines
            """
        )
        updated, unchanged = self.cursor.fetchone()
        if updated:
            changes = [sql.SQL("{} = {}").format(name, value) for name, value in self._changeable()]
            self._execute(
                """
                update {target} stored set {changes}
                from {matched} m join {stage} rows using ({line})
                where m.differs and stored.ctid = m.stored_row and stored.tableoid = m.stored_part
                """,
                changes=sql.SQL(", ").join(changes),
            )
        return updated, unchanged

    def _insert(self) -> int:
        """Add the rows the target does not have. Rows without an id come after those with one, past the highest."""
        surrogate = self.source.surrogate
        if not self.has_surrogate or self.given[surrogate].required:
            self._advance_sequence()
            inserted = self._insert_columns(self.columns, "true")
            self._advance_sequence()
            return inserted
        inserted = self._insert_columns(self.columns, "rows.{surrogate} is not null")
        self._advance_sequence()
        rest = [column for column in self.columns if column.name != surrogate]
        return inserted + self._insert_columns(rest, "rows.{surrogate} is null")

    def _insert_columns(self, columns: list[_Column], condition: str) -> int:
        return self._execute(
            """
            insert into {target} ({names}) overriding system value
            select {values} from {stage} rows
            where {condition} and not exists (select from {matched} m where m.{line} = rows.{line})
            order by {line}
            """,
            names=sql.SQL(", ").join(column.identifier for column in columns),
            values=sql.SQL(", ").join(self._value(column) for column in columns),
            condition=sql.SQL(condition).format(**self._key_parts()),
        )

    def _advance_sequence(self) -> None:
        """Let the id sequence, where the table has one, go on after the highest id: files bring ids of their own."""
        self.cursor.execute(
            """
            select pg_get_serial_sequence(%(table)s, attname) from pg_attribute
            where attrelid = to_regclass(%(table)s) and attname = 'id' and not attisdropped
            """,
            {"table": f"public.{self.source.name}"},
        )
        sequence = (self.cursor.fetchone() or [None])[0]
        if sequence:
            self._execute(
                """
                select setval(%(sequence)s::regclass, highest) from (select max(id) as highest from {target}) ids
                where highest > coalesce(pg_sequence_last_value(%(sequence)s::regclass), 0)
                """,
                {"sequence": sequence},
            )


class _NotClean(Exception):
    """The file is not for the fast path."""


def _ignored(index: int) -> sql.Identifier:
    return sql.Identifier(f"load_source_ignored_{index}")
