"""Report files stay below their root, are whole or absent, private, and harmless in a spreadsheet (F1, F17)."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from ct4site.jobs import JobError
from ct4site.reports import report_folder, safe_cell, write_reports

NOON = dt.datetime(2026, 1, 20, 12, 0, 0, tzinfo=ZoneInfo("America/Lima"))
COLUMNS = ("driver_id", "count", "found")


@pytest.fixture(autouse=True)
def root(settings: Any, tmp_path: Path) -> Path:
    settings.REPORTS_ROOT = tmp_path / "reports"
    return settings.REPORTS_ROOT


def write(folder: Path, *rows: tuple[Any, ...], prefix: str = "orphans_report") -> Path:
    content = [(json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False), row) for row in rows]
    return write_reports(folder, prefix, {"dry_run": True}, "drivers", COLUMNS, content)


def read_back(path: Path) -> list[list[str]]:
    with path.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


# --- where --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, "", ".", "a", "a/b", "a/../b", "-rf", "--execute", "~", "a b", "ñandú", "..."])
def test_a_folder_below_the_root_is_returned_and_not_yet_made(given: str | None, root: Path) -> None:
    folder = report_folder(given)
    assert folder.is_relative_to(root)
    assert not root.exists()


@pytest.mark.parametrize(
    "given",
    ["..", "../", "../reports2", "a/../..", "/", "/etc/cron.d", "reports/../../x", "\0", "a\0/b", "x" * 300, "a/" + "y" * 300],
)  # fmt: skip
def test_a_folder_outside_the_root_or_impossible_is_refused(given: str, root: Path) -> None:
    with pytest.raises(JobError):
        report_folder(given)
    assert not root.exists()


def test_a_neighbour_whose_name_begins_like_the_root_is_outside(root: Path) -> None:
    with pytest.raises(JobError):
        report_folder(str(root) + "-of-others")


def test_a_file_in_the_way_is_refused(root: Path) -> None:
    root.mkdir()
    (root / "taken").write_text("", encoding="utf-8")
    with pytest.raises(JobError):
        report_folder("taken/deeper")


def test_links_are_followed_before_the_question(root: Path, tmp_path: Path) -> None:
    (root / "inside").mkdir(parents=True)
    try:
        (root / "out").symlink_to(tmp_path, target_is_directory=True)
        (root / "in").symlink_to(root / "inside", target_is_directory=True)
        (root / "circle").symlink_to(root / "circle", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no symbolic links for us")
    assert report_folder("in/deeper") == (root / "inside" / "deeper").resolve()
    for given in ("out", "out/deeper", "circle"):
        with pytest.raises(JobError):
            report_folder(given)


def test_a_root_behind_a_link_is_still_the_root(settings: Any, root: Path, tmp_path: Path) -> None:
    root.mkdir()
    try:
        (tmp_path / "alias").symlink_to(root, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no symbolic links for us")
    settings.REPORTS_ROOT = tmp_path / "alias"
    assert report_folder("a") == (root / "a").resolve()


# --- what ---------------------------------------------------------------------------------------------


def test_both_files_hold_the_same_rows(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "localtime", lambda: NOON)
    path = write(root / "deep" / "folder", ("d1", 3, "[1, null]"), ("d2", None, None))
    assert path == root / "deep" / "folder" / "orphans_report_20260120_120000.json"
    assert json.loads(path.read_text("utf-8")) == {
        "timestamp": "20260120_120000",
        "dry_run": True,
        "drivers": [{"driver_id": "d1", "count": 3, "found": "[1, null]"}, {"driver_id": "d2", "count": None, "found": None}],
    }  # fmt: skip
    assert read_back(path) == [list(COLUMNS), ["d1", "3", "[1, null]"], ["d2", "", ""]]


def test_a_report_without_rows_is_still_a_report(root: Path) -> None:
    path = write(root)
    assert json.loads(path.read_text("utf-8"))["drivers"] == []
    assert read_back(path) == [list(COLUMNS)]


def test_names_carry_the_time_of_lima(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = dt.datetime(2026, 1, 21, 3, 4, 5, tzinfo=dt.UTC)
    monkeypatch.setattr(timezone, "now", lambda: night)
    assert write(root).name == "orphans_report_20260120_220405.json"


def test_two_reports_of_one_second_do_not_overwrite_each_other(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "localtime", lambda: NOON)
    first, second = write(root, ("d1", 1, None)), write(root, ("d2", 2, None))
    assert (first.name, second.name) == ("orphans_report_20260120_120000.json", "orphans_report_20260120_120001.json")
    assert json.loads(second.read_text("utf-8"))["timestamp"] == "20260120_120001"
    assert read_back(first)[1][0] == "d1"


@pytest.mark.parametrize("value", ["José Ñahui", '"quoted", and\nbroken', "a\tb", "😀", "x" * 100_000, " -"])
def test_any_text_survives_both_files(value: str, root: Path) -> None:
    path = write(root, (value, 1, None))
    assert json.loads(path.read_text("utf-8"))["drivers"][0]["driver_id"] == value
    assert read_back(path)[1][0] in (value, f"'{value}")


@pytest.mark.parametrize(
    "value", ["=1+1", "+51987", "-1", "@SUM(A1)", "|calc", "%0A=1", " =1", "\t=1", "\r=1", "\ufeff=1", "＝1"]
)
def test_a_formula_becomes_a_text(value: str, root: Path) -> None:
    cell = read_back(write(root, (value, 1, None)))[1][0]
    assert cell == safe_cell(value) == f"'{value}"


@pytest.mark.parametrize("value", ["", "QUISPE", "2026-01-20", "a=b", "resolved_relinked"])
def test_a_harmless_text_stays_as_it_is(value: str) -> None:
    assert safe_cell(value) == value


def test_numbers_are_numbers_in_both_files(root: Path) -> None:
    path = write(root, ("d1", -3, None))
    assert json.loads(path.read_text("utf-8"))["drivers"][0]["count"] == -3
    assert read_back(path)[1][1] == "-3"


# --- whole or absent ----------------------------------------------------------------------------------


def test_a_report_that_fails_in_the_middle_is_absent(root: Path) -> None:
    def rows() -> Iterator[tuple[str, tuple[Any, ...]]]:
        yield "{}", ("d1", 1, None)
        raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError):
        write_reports(root, "orphans_report", {}, "drivers", COLUMNS, rows())
    assert not list(root.glob("*.json")) + list(root.glob("*.csv"))
    path = write(root, ("d1", 1, None))
    assert len(read_back(path)) == 2


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(root: Path) -> None:
    root.mkdir()
    (root / "taken").write_text("", encoding="utf-8")
    with pytest.raises(JobError):
        write(root / "taken")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_files_are_private_whatever_the_umask(root: Path) -> None:
    before = os.umask(0)
    try:
        path = write(root)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (path, path.with_suffix(".csv"))} == {0o600}
