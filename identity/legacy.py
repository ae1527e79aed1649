"""The predecessor's persons and links: loaded as they were, marked as history, taken back like any run.

Both files are read into temporary tables; a few set-based statements (sql/jobs/legacy_*.sql) decide what becomes of
each row, and write the rows that are new, with their audit, in one transaction (domain.md 3.1, 3.2, Q78).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from psycopg2 import sql

from ct4site.jobs import JobError, RunContext, counted, job, merge_counts, statement
from ct4site.models import JobType
from identity import signals
from identity.jobs import IDENTITY_STATISTICS, refresh_statistics, take_writer_lock
from identity.models import ConfidenceLevel, SourceTable
from identity.sources.loading import Rejects
from identity.sources.reading import FORMATS, Header, SourceFileRefused, check_bytes, read_header, records

BATCH = 5000
LONGEST_TEXT = 500  # keys are indexed, and an index entry has its limits

# --- values ----------------------------------------------------------------------------------------

_ZONED = re.compile(r"(.*:\d\d(?:\.\d+)?)\s?(Z|UTC|[+-](?:0\d|1[0-5])(?::?[0-5]\d)?)", re.ASCII | re.IGNORECASE)


def _to_text(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise ValueError(gettext("longer than %(count)s characters") % {"count": LONGEST_TEXT})
    return text


def _to_moment(text: str) -> str:
    """A point in time; without a zone it is Lima time."""
    zoned = _ZONED.fullmatch(text)
    try:
        return f"{FORMATS['timestamp'].convert(zoned[1] if zoned else text)} {zoned[2] if zoned else 'America/Lima'}"
    except ValueError:
        raise ValueError(
            gettext("not a point in time; write YYYY-MM-DD HH:MM:SS, Lima time, or with a zone such as -05:00")
        ) from None


def _to_object(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(gettext("not JSON")) from None
    if value is None:
        return ""
    if not isinstance(value, dict):
        raise ValueError(gettext("not a JSON object"))
    return text


def _to_score(text: str) -> str:
    number = FORMATS["int4"].convert(text)
    if not 0 <= int(number) <= 100:
        raise ValueError(gettext("not between 0 and 100"))
    return number


def _one_of(words: list[str], spelled: Callable[[str], str]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        word = spelled(text)
        if word not in words:
            raise ValueError(gettext("not one of %(words)s") % {"words": ", ".join(words)})
        return word

    return convert


_to_uuid = FORMATS["uuid"].convert
_to_confidence = _one_of(ConfidenceLevel.values, str.upper)
_to_source_table = _one_of(SourceTable.values, lambda text: text.lower().removeprefix("public.").strip())


@dataclass(frozen=True)
class _Column:
    """A column a file may bring; the staging table has one of the same name."""

    name: str
    convert: Callable[[str], str]
    required: bool = False


PERSON_COLUMNS = (
    _Column("person_key", _to_uuid, required=True),
    _Column("confidence_level", _to_confidence, required=True),
    _Column("primary_phone", _to_text),
    _Column("primary_document", _to_text),
    _Column("primary_license", _to_text),
    _Column("primary_full_name", _to_text),
    _Column("flags", _to_object),
    _Column("created_at", _to_moment),
    _Column("updated_at", _to_moment),
)
LINK_COLUMNS = (
    _Column("person_key", _to_uuid, required=True),
    _Column("source_table", _to_source_table, required=True),
    _Column("source_pk", _to_text, required=True),
    _Column("snapshot_date", _to_moment, required=True),
    _Column("match_rule", _to_text, required=True),
    _Column("match_score", _to_score, required=True),
    _Column("confidence_level", _to_confidence, required=True),
    _Column("evidence", _to_object),
    _Column("linked_at", _to_moment),
)

# Why a link that can be read is turned away: the column that is to blame, and the reason.
REASONS = {
    "unmapped": ("source_pk", _("no row of module_ct_scouting_daily gives this md5 key")),
    "ambiguous": ("source_pk", _("several rows of module_ct_scouting_daily give this md5 key")),
    "not_a_row": ("source_pk", _("not the id of a row")),
    "conflict": ("source_pk", _("this file links the record %(record)s to another person as well: %(other)s")),
    "unknown_person": ("person_key", _("this person is neither in the file of persons nor in the database")),
    "taken": ("source_pk", _("the record %(record)s is already linked to another person: %(other)s")),
    "set_aside": ("source_pk", _("a person decided to ignore this record")),
}


# --- one file --------------------------------------------------------------------------------------


@contextmanager
def _refused_whole(path: Path) -> Iterator[None]:
    """Let the job fail with a sentence that names the file."""
    try:
        yield
        return
    except SourceFileRefused as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise JobError(gettext("Nothing was loaded. %(file)s: %(reason)s") % {"file": path.name, "reason": reason})


class _File:
    """One of the two files: its header, its rows on their way to the staging table, its rejects."""

    def __init__(self, path: Path, stage: str, columns: tuple[_Column, ...], rejects_dir: Path) -> None:
        self.path, self.stage = path, stage
        self.rejects = Rejects(rejects_dir, stage, path.name)
        self.read = 0
        with _refused_whole(path):
            self.header: Header = read_header(path, [column.name for column in columns])
            names = self.header.names
            missing = [column.name for column in columns if column.required and column.name not in names]
            if missing:
                raise SourceFileRefused(
                    gettext("the header lacks the column %(columns)s") % {"columns": ", ".join(missing)}, 1
                )
            check_bytes(path)
        self.columns = [(column, names.index(column.name)) for column in columns if column.name in names]
        known = {column.name for column in columns}
        self.ignored = [name for name in names if name and name not in known]

    def copy(self, cursor: Any, progress: Callable[[int], None]) -> None:
        """Fill the staging table with the rows whose values can be read; reject the others."""
        batch: list[tuple[int, list[str], list[str]]] = []
        with _refused_whole(self.path):
            for line, row in records(self.path, self.header):
                self.read += 1
                values = self._values(line, row)
                if values is not None:
                    batch.append((line, row, values))
                if len(batch) == BATCH:
                    self._copy_batch(cursor, batch)
                    batch = []
                    progress(self.read)
            self._copy_batch(cursor, batch)
        progress(self.read)

    def _values(self, line: int, row: list[str]) -> list[str] | None:
        if len(row) != self.header.width:
            reason = gettext("%(count)s fields where the header has %(expected)s")
            self._reject(line, row, "", reason % {"count": len(row), "expected": self.header.width})
            return None
        values = []
        for column, index in self.columns:
            text = row[index].strip()
            try:
                text = column.convert(text) if text else ""
                if column.required and not text:
                    raise ValueError(gettext("must not be empty"))
            except ValueError as error:
                self._reject(line, row, column.name, str(error))
                return None
            values.append(text)
        return values

    def _copy_batch(self, cursor: Any, batch: list[tuple[int, list[str], list[str]]]) -> None:
        """COPY a batch; the database has the last word on a value, so halve what it refuses until the rows are found."""
        if not batch:
            return
        written = io.StringIO(newline="")
        csv.writer(written).writerows([line, *values] for line, __, values in batch)
        written.seek(0)
        statement = sql.SQL("copy pg_temp.{} ({}) from stdin (format csv)").format(
            sql.Identifier(self.stage),
            sql.SQL(", ").join(map(sql.Identifier, ["line", *(column.name for column, __ in self.columns)])),
        )
        try:
            with transaction.atomic(), connection.wrap_database_errors:
                cursor.copy_expert(statement.as_string(connection.connection), written)
        except (DataError, IntegrityError) as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                self._copy_batch(cursor, batch[:middle])
                self._copy_batch(cursor, batch[middle:])
                return
            line, row, __ = batch[0]
            diagnosis = getattr(error.__cause__, "diag", None)
            named = re.search(rf"COPY {self.stage}, line \d+, column (\w+)", getattr(diagnosis, "context", None) or "")
            reason = getattr(diagnosis, "message_primary", None) or str(error)
            self._reject(line, row, named[1] if named else "", reason.strip())

    def reject_lines(self, found: Mapping[int, tuple[str, str]]) -> None:
        """Reject rows that were read: line -> (column, reason). Their text is read from the file again."""
        if found:
            with _refused_whole(self.path):
                for line, row in records(self.path, self.header):
                    if line in found:
                        self._reject(line, row, *found[line])

    def _reject(self, line: int, row: list[str], column: str, reason: str) -> None:
        names = self.header.names
        value = row[names.index(column)] if column in names and len(row) == len(names) else ""
        self.rejects.add(line, column, value, reason, names, row)

    def tally(self, counts: dict[str, Any]) -> dict[str, Any]:
        """Complete the counts of accepted rows; every row must be accounted for."""
        if sum(counts.values()) + self.rejects.count != self.read:
            raise RuntimeError(f"{self.stage}: {self.read} rows read, accounted for {counts}, {self.rejects.count}")
        return {
            "read": self.read,
            **counts,
            "rejected": self.rejects.count,
            "rejects_file": self.rejects.keep(),
            "ignored_columns": self.ignored,
        }


# --- the job ---------------------------------------------------------------------------------------


@job(
    JobType.LEGACY_LOAD,
    purpose=_("Loads persons and links of the predecessor as history."),
    parameters=("persons", "links", "rejects_dir"),
    queueable=False,
)
def load_legacy_identity(context: RunContext) -> None:
    """Load the predecessor's persons and links in one transaction (Q78; domain.md 3.1, 3.2, 3.5, 3.12, 6.1; Q1, Q3, Q8).

    Parameters: ``persons`` and ``links``, the paths of the two files, and ``rejects_dir``. Keys, rules, scores and times
    stay as they were; every loaded person and link is marked ``"legacy": true``. A person or link that is there is kept,
    a person's blanks are filled. The tally holds for each file what became of its rows (accepted and rejected are all
    that were read). Loading the same files again changes nothing. Raises ``JobError`` when a file is refused as a whole:
    nothing is loaded then.
    """
    given = context.parameters
    rejects_dir = Path(given["rejects_dir"])
    persons = _File(Path(given["persons"]), "legacy_persons", PERSON_COLUMNS, rejects_dir)
    links = _File(Path(given["links"]), "legacy_links", LINK_COLUMNS, rejects_dir)
    try:
        with context.transaction():
            context.tally.update(_load(context, persons, links))
    except BaseException:
        persons.rejects.discard()
        links.rejects.discard()
        raise
    written = context.tally["links"]["inserted"] + context.tally["persons"]["inserted"]
    refresh_statistics(context, written, IDENTITY_STATISTICS)


def _load(context: RunContext, persons: _File, links: _File) -> dict[str, Any]:
    with connection.cursor() as cursor:
        statement("legacy_1_stage", {})
        persons.copy(cursor, lambda rows: context.progress("read", rows))
        links.copy(cursor, lambda rows: context.progress("read", persons.read + rows))
        context.progress("apply", 0)
        take_writer_lock()
        statement("legacy_2_records", {})
        statement("legacy_3_judge", {})
        cursor.execute(
            "select line, outcome, source_table || ' ' || record_pk, other_person_key from legacy_links"
            " where outcome = any(%s)",
            [list(REASONS)],
        )
        links.reject_lines(
            {
                line: (REASONS[outcome][0], str(REASONS[outcome][1]) % {"record": record, "other": other})
                for line, outcome, record, other in cursor.fetchall()
            }
        )
    tally = _write(context)
    tally |= counted("legacy_8_tally", {"source_limit": settings.PERSON_SOURCE_LIMIT})
    for name, file in (("persons", persons), ("links", links)):
        tally[name] = file.tally(tally[name])
    context.progress("apply", persons.read + links.read, persons.read + links.read)
    return tally


def _write(context: RunContext) -> dict[str, Any]:
    """Write what was decided, tell who must know of new lead links; return the counts of rows written."""
    run_id, actor = context.run_id, context.run.actor
    tally: dict[str, Any] = {}
    merge_counts(tally, counted("legacy_4_apply", {"run_id": run_id, "actor": actor}))
    merge_counts(tally, counted("legacy_5_events", {"run_id": run_id}))
    statement("legacy_6_persons", {"run_id": run_id})
    statement("identity_8_origins", {})
    of_origins = {"run_id": run_id, "actor": actor, "lead_system_start": settings.LEAD_SYSTEM_START_DATE}
    merge_counts(tally, counted("legacy_7_origins", of_origins))
    persons = sql.SQL(
        "select person_key from canon.identity_links where run_id = {} and source_table <> 'drivers'"
    ).format(sql.Literal(run_id))
    merge_counts(tally, signals.announce_lead_links(persons, run_id=run_id, actor=actor))
    return tally
