"""Workbooks: what a cell becomes, that text stays text, that a file is whole or absent."""

from __future__ import annotations

import datetime as dt
import io
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ct4site import spreadsheets
from ct4site.spreadsheets import Sheet, write_xlsx


def written(*rows: list[Any], title: str = "Rows") -> Any:
    file = io.BytesIO()
    write_xlsx(file, [Sheet(title, ["first", "second"], rows)])
    return openpyxl.load_workbook(file)


def test_amounts_are_numbers_with_two_decimals_and_days_are_days():
    sheet = written([Decimal("1234.50"), dt.date(2026, 1, 31)], [Decimal("-0.01"), dt.date(1, 1, 1)]).active
    assert [(cell.value, cell.data_type, cell.number_format) for cell in sheet["A"][1:]] == [
        (1234.5, "n", "#,##0.00"), (-0.01, "n", "#,##0.00"),
    ]  # fmt: skip
    assert sheet["B2"].is_date
    assert sheet["B2"].value == dt.datetime(2026, 1, 31)  # noqa: DTZ001  Excel knows no zones
    assert sheet["B3"].value == "0001-01-01"


def test_a_moment_is_limas_wall_clock():
    sheet = written([dt.datetime(2026, 3, 1, 3, 30, tzinfo=dt.UTC)]).active
    assert sheet["A2"].value == dt.datetime(2026, 2, 28, 22, 30)  # noqa: DTZ001


@pytest.mark.parametrize(
    "text", ["=1+1", "=", "#N/A", "#DIV/0!", "+1", "@sum(a1)", "2026-01-01", "1e5", "007", " =1", "TRUE"]
)
def test_text_stays_text(text):
    cell = written([text]).active["A2"]
    assert (cell.value, cell.data_type) == (text, "s")


def test_headings_are_text_as_well_and_stay_in_sight():
    file = io.BytesIO()
    write_xlsx(file, [Sheet("=a[b]:c*d?e/f\\g", ["=1+1", "#N/A"], [])])
    sheet = openpyxl.load_workbook(file).active
    assert [cell.data_type for cell in sheet[1]] == ["s", "s"]
    assert sheet.freeze_panes == "A2"


def test_what_a_file_cannot_hold_is_left_out_and_the_rest_stays():
    key = uuid.uuid4()
    sheet = written([None, True], ["a\x00b\x0bc\nd", "x" * 40_000], [key, 7]).active
    assert [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)] == [
        [None, True], ["abc\nd", "x" * 32_767], [str(key), 7],
    ]  # fmt: skip


def test_rows_that_a_sheet_cannot_hold_go_on_in_another_one(monkeypatch):
    monkeypatch.setattr(spreadsheets, "MOST_ROWS", 2)
    book = written(["a"], ["b"], ["c"], title="A title that is much longer than a sheet may be called")
    assert [len(sheet["A"]) - 1 for sheet in book.worksheets] == [2, 1]
    assert {sheet["A1"].value for sheet in book.worksheets} == {"first"}


def test_a_file_that_was_not_finished_is_not_there(tmp_path: Path):
    def rows() -> Any:
        yield ["a"]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_xlsx(tmp_path / "report.xlsx", [Sheet("Rows", ["first"], rows())])
    assert list(tmp_path.iterdir()) == []
    write_xlsx(tmp_path / "report.xlsx", [Sheet("Rows", ["first"], [["a"]])])
    assert [path.name for path in tmp_path.iterdir()] == ["report.xlsx"]
    assert (tmp_path / "report.xlsx").stat().st_mode & 0o077 == 0
