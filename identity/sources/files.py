"""A CSV file with a few known columns on its way into a temporary table, its rejects beside it.

For files that only we read, such as persons of the predecessor; feeds have ``load_source``.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import DataError, IntegrityError, connection, transaction
from django.utils.translation import gettext
from psycopg2 import sql

from ct4site.jobs import JobError
from identity.sources.loading import BATCH, Rejects
from identity.sources.reading import FORMATS, Header, SourceFileRefused, check_bytes, read_header, records

LONGEST_TEXT = 500  # keys are indexed, and an index entry has its limits


def to_text(text: str) -> str:
    """Return a text as it is; raises ``ValueError`` for one that is too long."""
    if len(text) > LONGEST_TEXT:
        raise ValueError(gettext("longer than %(count)s characters") % {"count": LONGEST_TEXT})
    return text


_ZONED = re.compile(r"(.*:\d\d(?:\.\d+)?)\s?(Z|UTC|[+-](?:0\d|1[0-5])(?::?[0-5]\d)?)", re.ASCII | re.IGNORECASE)


def to_moment(text: str) -> str:
    """Return a point in time with its zone, Lima where none is told; raises ``ValueError`` for anything else."""
    zoned = _ZONED.fullmatch(text)
    try:
        return f"{FORMATS['timestamp'].convert(zoned[1] if zoned else text)} {zoned[2] if zoned else 'America/Lima'}"
    except ValueError:
        raise ValueError(
            gettext("not a point in time; write YYYY-MM-DD HH:MM:SS, Lima time, or with a zone such as -05:00")
        ) from None


def one_of(words: list[str], spelled: Callable[[str], str]) -> Callable[[str], str]:
    """Return what converts a text, once spelled as the words are, to one of them."""

    def convert(text: str) -> str:
        word = spelled(text)
        if word not in words:
            raise ValueError(gettext("not one of %(words)s") % {"words": ", ".join(words)})
        return word

    return convert


@dataclass(frozen=True)
class Column:
    """A column a file may bring; the staging table has one of the same name."""

    name: str
    convert: Callable[[str], str]
    required: bool = False


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


class CsvFile:
    """A file: its header, its rows on their way to the staging table, its rejects.

    Takes the file, the name of the staging table (which has a column ``line`` too), the columns that the file may bring,
    and the folder of rejects. Raises ``JobError`` when the file cannot be loaded at all.
    """

    def __init__(self, path: Path, stage: str, columns: tuple[Column, ...], rejects_dir: Path) -> None:
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
