"""Excel workbooks: sheets of typed cells, written row by row, so that a hundred thousand rows cost no memory."""

from __future__ import annotations

import datetime as dt
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError

CONTENT_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
LIMA = ZoneInfo("America/Lima")
MOST_ROWS = 1_048_575  # Excel's own, less the headings
MOST_CHARACTERS = 32_767
FIRST_YEAR = 1900  # Excel knows no earlier day
MONEY, DAY, MOMENT = "#,##0.00", "yyyy-mm-dd", "yyyy-mm-dd h:mm:ss"
WIDEST = 60
NO_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True)
class Sheet:
    """A sheet of a workbook: its title, its headings, its rows (one pass, may be a generator)."""

    title: str
    headings: Sequence[str]
    rows: Iterable[Sequence[Any]]


def write_xlsx(target: Path | IO[bytes], sheets: Iterable[Sheet]) -> None:
    """Write a workbook.

    Takes a path or an open binary file, and the sheets. A Decimal becomes a number shown with two decimals, a date a
    date, an aware moment Lima's wall clock; True and False stay, None is an empty cell; any other value is text, and
    text is never a formula. Rows that one sheet cannot hold go on in another. A file at a path is complete or absent,
    and readable by its owner only. Raises ``OSError`` when it cannot be written.
    """
    if isinstance(target, Path):
        part = target.with_suffix(f"{target.suffix}.part")
        part.unlink(missing_ok=True)
        part.touch(0o600)
        try:
            with part.open("wb") as file:
                write_xlsx(file, sheets)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return
    with tempfile.TemporaryDirectory() as folder:
        book = Workbook(
            target, {"constant_memory": True, "tmpdir": folder, "use_zip64": True, "nan_inf_to_errors": True}
        )
        try:
            writer = _Writer(book)
            for sheet in sheets:
                rows = iter(sheet.rows)
                number = 1
                while not writer.fill(sheet, rows, number):
                    number += 1
            book.close()
        except FileCreateError as error:
            raise error.args[0] from None  # the OSError that it wraps
        finally:
            for (
                page
            ) in book.worksheets():  # its rows lie in the folder, which Windows does not remove under an open file
                page._opt_close()


class _Writer:
    """Fills the sheets of one workbook."""

    def __init__(self, book: Workbook) -> None:
        self.book = book
        self.bold = book.add_format({"bold": True})
        self.money, self.day, self.moment = (book.add_format({"num_format": shown}) for shown in (MONEY, DAY, MOMENT))

    def fill(self, sheet: Sheet, rows: Iterator[Sequence[Any]], number: int) -> bool:
        """Fill one sheet; return whether that were all the rows."""
        title = re.sub(r"[\[\]:*?/\\']", " ", sheet.title)[:25]
        page = self.book.add_worksheet(f"{title} ({number})" if number > 1 else title)
        page.freeze_panes(1, 0)
        for place, heading in enumerate(sheet.headings):
            page.set_column(place, place, min(WIDEST, max(12, len(heading) + 2)))
            page.write_string(0, place, _text(heading), self.bold)
        for written, row in enumerate(rows, 1):
            for place, value in enumerate(row):
                self._write(page, written, place, value)
            if written == MOST_ROWS:
                return False
        return True

    def _write(self, page: Any, row: int, place: int, value: Any) -> None:
        if value is None or value == "":
            return
        if isinstance(value, str):
            page.write_string(row, place, _text(value))
        elif isinstance(value, bool):
            page.write_boolean(row, place, value)
        elif isinstance(value, int | float):
            page.write_number(row, place, value)
        elif isinstance(value, Decimal):
            page.write_number(row, place, value, self.money)
        elif isinstance(value, dt.date) and value.year >= FIRST_YEAR:
            if isinstance(value, dt.datetime):
                moment = value.astimezone(LIMA).replace(tzinfo=None) if value.tzinfo else value
                page.write_datetime(row, place, moment, self.moment)
            else:
                page.write_datetime(row, place, value, self.day)
        else:
            page.write_string(row, place, _text(value))


def _text(value: Any) -> str:
    text = str(value)
    return (text if text.isprintable() else NO_XML.sub("", text))[:MOST_CHARACTERS]
