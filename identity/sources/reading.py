"""Reading CSV files: the header, the formats of values, and two readers that agree.

``CleanBlocks`` hands blocks of bytes on to COPY as long as every value in them has an accepted format;
``records`` reads row by row, for files that have anything else. Both accept the same values (domain.md 2.8).
"""

from __future__ import annotations

import csv
import datetime
import functools
import io
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.utils.translation import gettext as _

BLOCK = 1 << 17  # also the longest field: a block without a line end goes to the slow reader, which refuses it
BOM = b"\xef\xbb\xbf"


class SourceFileRefused(Exception):
    """The file as a whole cannot be loaded; nothing of it was. ``line`` is the physical line, where known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(_("Line %(line)s: %(message)s") % {"line": line, "message": message} if line else message)


# --- formats ---------------------------------------------------------------------------------------

_DAY = r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})|(\d{1,2})([-/.])(\d{1,2})\6(\d{4})"
_CLOCK = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?"
_YES = ("true", "1", "yes", "t", "y")
_NO = ("false", "0", "no", "f", "n")

_DATE = re.compile(_DAY, re.ASCII)
_TIMESTAMP = re.compile(rf"(?:{_DAY})(?:[T ]({_CLOCK}))?", re.ASCII)
_TIME = re.compile(_CLOCK, re.ASCII)
_INTEGER = re.compile(r"([+-]?\d{1,19})(?:\.0+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def _day(match: re.Match[str]) -> str:
    year, __, month, day, day2, __, month2, year2 = match.groups()[:8]
    try:
        return datetime.date(int(year or year2), int(month or month2), int(day or day2)).isoformat()
    except ValueError:
        raise ValueError(_("no such day in the calendar")) from None


@functools.lru_cache(1 << 14)  # a feed of a million rows has a few thousand days
def _to_date(text: str) -> str:
    if match := _DATE.fullmatch(text):
        return _day(match)
    raise ValueError(_("not a date; write YYYY-MM-DD or DD-MM-YYYY"))


def _to_timestamp(text: str) -> str:
    if match := _TIMESTAMP.fullmatch(text):
        return f"{_day(match)} {match[9] or '00:00'}"
    raise ValueError(_("not a point in time; write YYYY-MM-DD HH:MM:SS, Lima time, without a zone"))


def _to_time(text: str) -> str:
    if _TIME.fullmatch(text):
        return text
    raise ValueError(_("not a time of day; write HH:MM:SS"))


def _to_boolean(text: str) -> str:
    word = text.lower()
    if word in _YES:
        return "t"
    if word in _NO:
        return "f"
    raise ValueError(_("neither true nor false"))


def _to_integer(bits: int) -> Callable[[str], str]:
    def convert(text: str) -> str:
        match = _INTEGER.fullmatch(text)
        if not match:
            raise ValueError(_("not a whole number"))
        if not -(1 << bits - 1) <= int(match[1]) < 1 << bits - 1:
            raise ValueError(_("number too large"))
        return match[1]

    return convert


def _to_number(text: str) -> str:
    if _NUMBER.fullmatch(text):
        return text
    raise ValueError(_("not a number; write it with a decimal point and without thousands separators"))


def _to_uuid(text: str) -> str:
    if _UUID.fullmatch(text):
        return text
    raise ValueError(_("not a UUID"))


@dataclass(frozen=True)
class Format:
    """The accepted spellings of a type. ``clean`` matches what COPY reads as ``convert`` does; it may match less.

    COPY alone would take more than we may: ``now``, ``infinity``, ``NaN``, ``20240105``, a time with a zone.
    """

    convert: Callable[[str], str]
    clean: str


_CLEAN_DAY = r"(?:\d{4}-\d\d-\d\d|\d\d-\d\d-\d{4}|\d{4}/\d\d/\d\d|\d\d/\d\d/\d{4})"
_CLEAN_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?"
_CLEAN_WORD = "|".join(sorted((*_YES, *_NO), key=len, reverse=True))

FORMATS: dict[str, Format] = {
    "date": Format(_to_date, _CLEAN_DAY),
    "timestamp": Format(_to_timestamp, rf"{_CLEAN_DAY}(?:[T ]{_CLEAN_CLOCK})?"),
    "time": Format(_to_time, _CLEAN_CLOCK),
    "bool": Format(_to_boolean, rf"(?i:{_CLEAN_WORD})"),
    "int2": Format(_to_integer(16), r"-?\d{1,19}"),
    "int4": Format(_to_integer(32), r"-?\d{1,19}"),
    "int8": Format(_to_integer(64), r"-?\d{1,19}"),
    "float4": Format(_to_number, r"-?\d+(?:\.\d+)?"),
    "float8": Format(_to_number, r"-?\d+(?:\.\d+)?"),
    "numeric": Format(_to_number, r"-?\d+(?:\.\d+)?"),
    "uuid": Format(_to_uuid, r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"),
}
TEXT_TYPES = frozenset({"varchar", "text", "bpchar"})
# A key is compared as it stands, so blanks around it must go; only the slow reader takes them off.
KEY = Format(str, r"[^\s,;\"]++")


# --- header ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    """The first line of a file: column names in lower case, the delimiter, where the rows begin."""

    names: tuple[str, ...]
    delimiter: str
    body: int

    @property
    def width(self) -> int:
        return len(self.names)


def read_header(path: Path, known: Collection[str]) -> Header:
    """Read the header of a CSV file.

    Takes the path and the column names that may occur; of comma and semicolon the one that shows more of them is the
    delimiter. Returns the header. Raises ``SourceFileRefused`` for an empty or unreadable header or a repeated name.
    """
    with path.open("rb") as file:
        start = file.read(2 * BLOCK)
    if not start.strip(BOM + b" \t\r\n"):
        raise SourceFileRefused(_("the file is empty"))
    end = re.search(rb"\r\n|\n|\r", start)
    if end is None and len(start) == 2 * BLOCK:
        raise SourceFileRefused(_("the header is too long"), 1)
    line = start[: end.start()] if end else start
    if b"\0" in line:
        raise SourceFileRefused(_("a NUL byte, so this is no text file"), 1)
    try:
        text = line.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError:
        raise SourceFileRefused(_("not UTF-8 text; save the file as UTF-8"), 1) from None

    splits = []
    for delimiter in ",;":
        try:  # with the wrong delimiter, quoted names look like text after a quote
            fields = next(csv.reader([text], delimiter=delimiter, strict=True))
        except csv.Error:
            continue
        splits.append((tuple(field.strip().lower() for field in fields), delimiter))
    if not splits:
        raise SourceFileRefused(_("the header has an unclosed quote"), 1)
    names, delimiter = max(splits, key=lambda split: len(set(split[0]) & set(known)))
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise SourceFileRefused(_("the header names a column twice: %(names)s") % {"names": ", ".join(repeated)}, 1)
    return Header(names, delimiter, end.end() if end else len(start))


# --- the fast reader -------------------------------------------------------------------------------


def _clean_rows(header: Header, columns: dict[int, tuple[Format, bool]]) -> re.Pattern[bytes]:
    """A pattern for whole rows. Everything in it is possessive: the text is passed over once, without going back."""
    text = rf'(?>"(?:[^"\n]++|"")*+"|[^{header.delimiter}"\n]*+)'
    cells = []
    for index in range(header.width):
        if index in columns:
            form, required = columns[index]
            nothing = "" if required else '|""|'
            cells.append(rf'(?>{form.clean}|"(?>{form.clean})"{nothing})')
        else:
            cells.append(text)
    return re.compile(rf"(?:{header.delimiter.join(cells)}\n)*+".encode(), re.ASCII)


class CleanBlocks:
    """The rows of a file as a stream for COPY, block by block, while every value is clean.

    Takes the file, its header, the columns that have a format, each with whether it is required, and a function told
    the rows so far. The first thing that is not clean ends the stream early and sets ``dirty``: the caller rolls back
    and reads row by row. Blocks with odd quotes, which PostgreSQL and Python read differently, are written again.
    """

    def __init__(
        self,
        file: BinaryIO,
        header: Header,
        columns: dict[int, tuple[Format, bool]],
        progress: Callable[[int], None],
    ) -> None:
        file.seek(header.body)
        self.file, self.header, self.progress = file, header, progress
        self.clean_rows = _clean_rows(header, columns)
        self.tail = b""
        self.ready = b""
        self.rows = 0
        self.dirty = False

    def read(self, size: int = -1) -> bytes:
        if not self.ready:
            self.ready = self._next()
        out, self.ready = (self.ready, b"") if size < 0 else (self.ready[:size], self.ready[size:])
        return out

    def _next(self) -> bytes:
        block = self.file.read(BLOCK)
        if block:
            cut = block.rfind(b"\n") + 1
            if not cut:
                self.dirty = len(self.tail) + len(block) >= BLOCK
                block, self.tail = self.tail + block + b"\n", b""
            else:
                self.dirty = len(self.tail) + block.find(b"\n") > BLOCK
                block, self.tail = self.tail + block[:cut], block[cut:]
        elif self.tail:
            block, self.tail = self.tail + b"\n", b""
        if not block or self.dirty:
            return b""
        clean = self._clean(block)
        self.dirty = clean is None
        return clean or b""

    def _clean(self, block: bytes) -> bytes | None:
        """The block as COPY may have it, or nothing when it is not clean."""
        if b"\0" in block or b"\\." in block:
            return None
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError:
            return None
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
            if b"\r" in block:
                return None
        count = block.count(b"\n")
        if not self.clean_rows.fullmatch(block):
            rewritten = self._rewritten(text, count) if b'"' in block else None
            if rewritten is None or not self.clean_rows.fullmatch(rewritten):
                return None
            block = rewritten
        self.rows += count
        self.progress(self.rows)
        return block

    def _rewritten(self, text: str, count: int) -> bytes | None:
        """The rows of a block with plain quotes, or nothing when a value spans lines or the quotes do not match up."""
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=self.header.delimiter, strict=True))
        except csv.Error:
            return None
        if len(rows) != count:
            return None
        written = io.StringIO(newline="")
        csv.writer(written, delimiter=self.header.delimiter, lineterminator="\n").writerows(rows)
        return written.getvalue().encode()


# --- the slow reader -------------------------------------------------------------------------------


def check_bytes(path: Path) -> None:
    """Refuse a file that is no UTF-8 text: raises ``SourceFileRefused`` with the line of the first such byte."""
    line = 1
    tail = b""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            block = tail + block
            nul = block.find(b"\0")
            if nul >= 0:
                raise SourceFileRefused(_("a NUL byte, so this is no text file"), line + _line_ends(block[:nul]))
            try:
                block.decode("utf-8")
                tail = b""
            except UnicodeDecodeError as error:
                if error.reason != "unexpected end of data":
                    raise _not_utf8(line + _line_ends(block[: error.start])) from None
                block, tail = block[: error.start], block[error.start :]
            if block.endswith(b"\r"):  # its line feed may be in the next block
                block, tail = block[:-1], b"\r" + tail
            line += _line_ends(block)
    if tail.strip(b"\r"):
        raise _not_utf8(line)


def _not_utf8(line: int) -> SourceFileRefused:
    return SourceFileRefused(_("not UTF-8 text; save the file as UTF-8"), line)


def _line_ends(block: bytes) -> int:
    return block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")


def records(path: Path, header: Header) -> Iterator[tuple[int, list[str]]]:
    """Yield ``(physical line, fields)`` for every row below the header; blank lines are no rows.

    Raises ``SourceFileRefused`` where the file has no rows to speak of: an unclosed quote, a field over 128 KB.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=header.delimiter, strict=True)
        line = 1
        try:
            for number, row in enumerate(reader):
                if number and row:
                    yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            reason = str(error)
            if "field larger" in reason:
                reason = _("a field of more than 128 KB")
            elif "end of data" in reason:
                reason = _("a quote is opened and never closed")
            raise SourceFileRefused(reason, line) from None
