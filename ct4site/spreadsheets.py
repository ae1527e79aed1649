"""Excel workbooks: sheets of typed cells, written row by row, so that a hundred thousand rows cost no memory."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

CONTENT_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
LIMA = ZoneInfo("America/Lima")
MOST_ROWS = 1_048_575  # Excel's own, less the headings
MOST_CHARACTERS = 32_767
FIRST_YEAR = 1900  # Excel knows no earlier day
MONEY = "#,##0.00"
WIDEST = 60


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
    book = Workbook(write_only=True)
    try:
        for sheet in sheets:
            rows = iter(sheet.rows)
            number = 1
            while not _fill(book, sheet, rows, number):
                number += 1
        book.save(target)
    except BaseException:
        for page in book.worksheets:  # its rows lie in a temporary file of its own until they are saved
            with suppress(Exception):
                page.close()
                page._writer.cleanup()  # type: ignore[attr-defined]
        raise


def _fill(book: Workbook, sheet: Sheet, rows: Iterator[Sequence[Any]], number: int) -> bool:
    """Fill one sheet; return whether that were all the rows."""
    title = re.sub(r"[\[\]:*?/\\']", " ", sheet.title)[:25]
    page = book.create_sheet(f"{title} ({number})" if number > 1 else title)
    page.freeze_panes = "A2"
    for place, heading in enumerate(sheet.headings, 1):
        page.column_dimensions[get_column_letter(place)].width = min(WIDEST, max(12, len(heading) + 2))
    headings = [WriteOnlyCell(page, _text(heading)) for heading in sheet.headings]
    for cell in headings:
        cell.data_type, cell.font = "s", Font(bold=True)
    page.append(headings)
    for written, row in enumerate(rows, 1):
        page.append([_cell(page, value) for value in row])
        if written == MOST_ROWS:
            return False
    return True


def _cell(page: Any, value: Any) -> Any:
    """The value as openpyxl takes it; a cell object only where its type or its format would be guessed wrongly."""
    if value is None or value == "":
        return None
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Decimal):
        cell = WriteOnlyCell(page, value)  # type: ignore[arg-type]  # it takes a Decimal
        cell.number_format = MONEY
        return cell
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        value = value.astimezone(LIMA).replace(tzinfo=None)
    if isinstance(value, dt.date):
        return value if value.year >= FIRST_YEAR else value.isoformat()
    text = _text(value)
    if text[:1] not in ("=", "#"):
        return text
    cell = WriteOnlyCell(page, text)
    cell.data_type = "s"  # and no formula, no error value
    return cell


def _text(value: Any) -> str:
    return ILLEGAL_CHARACTERS_RE.sub("", str(value))[:MOST_CHARACTERS]
