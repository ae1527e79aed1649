"""``load_source``: what gets in, what is turned away, and that doing it twice is doing it once."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from identity.management.commands import load_source as load_source_command
from identity.models import CabinetLead, DailyTrips, Driver, ScoutingRegistration
from identity.sources import SOURCE_TABLES, LoadTally, SourceFileRefused, load_source, loading, reading

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _english():
    with translation.override("en"):
        yield


@pytest.fixture
def load(tmp_path, db, empty_source_tables):
    """Load text or bytes into a table; rejects go below the test's folder. Tables begin empty, their ids at 1."""
    empty_source_tables()

    def _load(table: str, content: str | bytes, *, name: str = "feed.csv", **options) -> LoadTally:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load_source(table=table, path=path, rejects_dir=tmp_path / "rejects", actor="ana", **options)

    return _load


@pytest.fixture
def readers(monkeypatch):
    """Which reader took each file: a list of the words fast and slow."""
    taken: list[str] = []
    fast, slow = loading._Load._copy_file, loading._Load._copy_records

    def watched_fast(self):
        rows = fast(self)
        if rows is not None:
            taken.append("fast")
        return rows

    def watched_slow(self):
        taken.append("slow")
        return slow(self)

    monkeypatch.setattr(loading._Load, "_copy_file", watched_fast)
    monkeypatch.setattr(loading._Load, "_copy_records", watched_slow)
    return taken


def counts(tally: LoadTally) -> tuple[int, ...]:
    return tally.inserted, tally.updated, tally.unchanged, tally.superseded, tally.rejected


def rejects(tally: LoadTally) -> list[dict[str, str]]:
    with Path(tally.rejects_file).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rows(table: str, *columns: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(f"select {', '.join(columns)} from public.{table} order by {', '.join(columns)}")
        return cursor.fetchall()


# --- formats ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", SOURCE_TABLES)
def test_every_table_takes_a_file_with_nothing_but_its_keys(load, table):
    key = {"driver_id": "d1", "date_file": "05-01-2024", "external_id": "e1"}
    source = SOURCE_TABLES[table]
    line = ",".join(key.get(name, "7") for name in source.key)
    assert counts(load(table, f"{','.join(source.key)}\n{line}\n")) == (1, 0, 0, 0, 0)
    assert counts(load(table, f"{','.join(source.key)}\n{line}\n")) == (0, 0, 1, 0, 0)


def test_columns_a_file_lacks_take_the_default_of_the_table(load):
    load("module_ct_cabinet_leads", "external_id\ne1\n")
    lead = CabinetLead.objects.get()
    assert lead.id is not None
    assert lead.lead_created_at is None
    with connection.cursor() as cursor:
        cursor.execute("select created_at = now() at time zone 'America/Lima' from public.module_ct_cabinet_leads")
        assert cursor.fetchone() == (True,)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_a_file_reads_the_same_whatever_program_wrote_it(load, bom, delimiter, line_end, quoting):
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writerows([["Driver_ID", "FULL_NAME", "active"], ["d1", "Ñato, José; (h)", "true"], ["d2", "", "no"]])
    assert counts(load("drivers", bom + written.getvalue().encode())) == (2, 0, 0, 0, 0)
    assert rows("drivers", "driver_id", "full_name", "active") == [("d1", "Ñato, José; (h)", True), ("d2", None, False)]


@pytest.mark.parametrize(
    ("column", "written", "stored"),
    [
        *[("active", word, "true") for word in ("true", "TRUE", "1", "yes", "Yes", "t", "y", "Y", " true ")],
        *[("active", word, "false") for word in ("false", "False", "0", "no", "NO", "f", "n")],
        *[
            ("hire_date", day, "2024-03-09")
            for day in ("2024-03-09", "09-03-2024", "2024/03/09", "09/03/2024", "2024.03.09", "09.03.2024", "9/3/2024")
        ],
        ("created_at", "2024-03-09", "2024-03-09 00:00:00"),
        ("created_at", "2024-03-09T10:11:12", "2024-03-09 10:11:12"),
        ("created_at", "2024-03-09 10:11:12.5", "2024-03-09 10:11:12.5"),
        ("created_at", "09-03-2024 10:11", "2024-03-09 10:11:00"),
        ("rating", "4.95", "4.95"),
        ("rating", "-1e3", "-1000"),
        ("account_balance", "-12.50", "-12.50"),
        ("account_balance", " 3 ", "3"),
    ],
)
def test_each_written_form_of_a_value_is_stored_as_what_it_means(load, column, written, stored):
    assert counts(load("drivers", f"driver_id,{column}\nd1,{written}\n")) == (1, 0, 0, 0, 0)
    assert rows("drivers", f"{column}::text") == [(stored,)]


@pytest.mark.parametrize(
    ("column", "written"),
    [
        ("active", "perhaps"),
        ("active", "on"),
        *[("hire_date", day) for day in ("today", "infinity", "20240105", "31-02-2024", "2024-13-01", "Jan 5 2024")],
        *[("created_at", moment) for moment in ("now", "epoch", "2024-01-05T10:00:00Z", "2024-01-05 25:00:00")],
        ("rating", "NaN"),
        ("rating", "1e400"),
        ("rating", "4,95"),
        ("account_balance", "Infinity"),
        ("id", "99999999999999999999"),
        ("id", "0x10"),
        ("id", "1_000"),
    ],
)
def test_a_value_of_no_accepted_form_rejects_its_row_alone(load, column, written):
    written_line = f'd2,"{written}"'
    tally = load("drivers", f"driver_id,{column}\nd1,\n{written_line}\nd3,\n")
    assert counts(tally) == (2, 0, 0, 0, 1)
    [reject] = rejects(tally)
    assert (reject["file"], reject["line"], reject["column"]) == ("feed.csv", "3", column)
    assert reject["value"] == written
    assert reject["reason"]
    assert json.loads(reject["row"]) == {"driver_id": "d2", column: written}
    assert rows("drivers", "driver_id") == [("d1",), ("d3",)]


def test_a_column_nobody_knows_is_ignored_and_named(load):
    tally = load("drivers", "driver_id,colour_of_eyes,full_name\nd1,brown,ANA\n")
    assert tally.ignored_columns == ("colour_of_eyes",)
    assert rows("drivers", "full_name") == [("ANA",)]


def test_a_late_row_is_kept_however_old_it_is(load):
    load("module_ct_cabinet_leads", "external_id,lead_created_at\ne1,2024-05-01\n")
    assert counts(load("module_ct_cabinet_leads", "external_id,lead_created_at\ne2,2019-01-01\n")) == (1, 0, 0, 0, 0)


# --- broken files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"driver_id,full_name\nd1,ANA\nd2,JO\x00SE\n", 3),
        ("driver_id,full_name\nd1,ANA\nd2,JOS\u00c9\n".encode("latin-1"), 3),
        ("driver_id,full_name\nd1,JOS\u00c9".encode("latin-1"), 2),
        ("driver_id,full_name\nd1,ANA\n".encode("utf-16"), 1),
        (b'driver_id,full_name\nd1,ANA\nd2,"JOSE\nd3,EVA\n', 3),
        (b'driver_id,full_name\nd1,ANA\nd2,"JO"SE\n', 3),
        (b"driver_id,full_name\nd1,ANA\nd2," + b"x" * 140_000 + b"\n", 3),
        (b"full_name\nANA\n", 1),
        (b"driver_id,full_name,Driver_Id\nd1,ANA,d1\n", 1),
        (b"", None),
        (b"\xef\xbb\xbf\n", None),
    ],
    ids=[
        "NUL",
        "latin-1",
        "latin-1 at the end",
        "utf-16",
        "unclosed quote",
        "text after a quote",
        "huge field",
        "no key column",
        "column twice",
        "empty",
        "BOM only",
    ],
)
def test_a_broken_file_is_refused_whole(load, tmp_path, content, line):
    with pytest.raises(SourceFileRefused) as refusal:
        load("drivers", content)
    assert refusal.value.line == line
    assert not Driver.objects.exists()
    assert not (tmp_path / "rejects").exists()


def test_a_file_that_breaks_after_a_rejected_row_leaves_no_rejects_file(load, tmp_path):
    with pytest.raises(SourceFileRefused):
        load("drivers", 'driver_id,active\nd1,perhaps\nd2,"\n')
    assert list((tmp_path / "rejects").iterdir()) == []


def test_a_fault_far_into_a_file_is_reported_on_its_line(load):
    lines = [f"d{number},ÑANDÚ {number}".encode() for number in range(40_000)]
    lines[30_000] = b"d,\xd1ANDU"
    with pytest.raises(SourceFileRefused) as refusal:
        load("drivers", b"driver_id,full_name\r\n" + b"\r\n".join(lines))
    assert refusal.value.line == 30_002


def test_a_file_with_only_a_header_loads_nothing(load):
    assert load("drivers", "driver_id,full_name\n").read == 0
    assert load("drivers", "driver_id").read == 0


def test_an_unknown_table_is_refused_with_the_list_of_tables(load):
    with pytest.raises(SourceFileRefused, match="summary_daily"):
        load("auth_user", "id\n1\n")


# --- bad rows --------------------------------------------------------------------------------------


def test_a_row_of_the_wrong_width_is_rejected_on_its_physical_line(load):
    content = 'driver_id,full_name\nd1,"two\nlines"\n\nd2,ANA,extra\nd3\nd4,EVA\n'
    tally = load("drivers", content)
    assert counts(tally) == (2, 0, 0, 0, 2)
    assert [reject["line"] for reject in rejects(tally)] == ["5", "6"]
    assert json.loads(rejects(tally)[0]["row"]) == ["d2", "ANA", "extra"]


def test_rows_too_long_and_too_short_by_turns_are_not_shifted_into_each_other(load):
    tally = load("drivers", "driver_id,full_name\nd1,ANA,d2\nEVA\nd3,LUZ\n")
    assert counts(tally) == (1, 0, 0, 0, 2)


def test_accepted_and_rejected_rows_add_up_to_the_rows_read(load):
    lines = [f"d{number % 50},{'x' if number % 7 == 0 else number}" for number in range(200)]
    tally = load("drivers", "driver_id,rating\n" + "\n".join(lines) + "\n")
    assert tally.read == 200 == sum(counts(tally))
    assert tally.rejected == 29 == len(rejects(tally))


@pytest.mark.parametrize(
    ("table", "content"),
    [
        ("drivers", "driver_id,full_name\n,ANA\n"),
        ("drivers", "driver_id,full_name\n   ,ANA\n"),
        ("summary_daily", "driver_id,date_file\nd1,\n"),
        ("summary_daily", "driver_id,date_file\nd1,yesterday\n"),
        ("module_ct_scouting_daily", "id,driver_name\n,ANA\n"),
        ("module_ct_scouts_list", "scout_id\nseven\n"),
        ("module_ct_cabinet_leads", "external_id,id,first_name\n,,ANA\n"),
        ("module_ct_cabinet_leads", 'external_id,first_name\n"",ANA\n'),
    ],
)
def test_a_row_without_its_key_is_rejected(load, table, content):
    tally = load(table, content)
    assert (tally.read, tally.rejected) == (1, 1)
    assert rows(table, *SOURCE_TABLES[table].key) == []


def test_a_value_the_table_itself_refuses_rejects_its_row_alone(load):
    with connection.cursor() as cursor:
        cursor.execute("drop table public.drivers cascade")
        cursor.execute("create table public.drivers (driver_id varchar not null, park_id varchar(4))")
    lines = [f"d{number},{'much too long' if number == 61 else 'p'}" for number in range(100)]
    tally = load("drivers", "driver_id,park_id\n" + "\n".join(lines) + "\n")
    assert counts(tally) == (99, 0, 0, 0, 1)
    [reject] = rejects(tally)
    assert (reject["line"], reject["column"], reject["value"]) == ("63", "park_id", "much too long")


@pytest.mark.parametrize("value", ["=1+1", "+51987654321x", "@SUM(1)", "-2+3x", "\t=1", "|x", "%x", "＝1"])
def test_a_rejected_value_is_no_formula_in_a_spreadsheet(load, value):
    [reject] = rejects(load("drivers", f"driver_id,rating\nd1,{value}\n"))
    assert reject["value"] == f"'{value}"
    assert reject["row"].startswith("{")


# --- twice -----------------------------------------------------------------------------------------


def test_loading_a_file_again_changes_nothing(load):
    content = "driver_id,full_name,rating,hire_date\nd1,ANA,4.9,2024-01-05\nd2,,,\n"
    load("drivers", content)
    before = rows("drivers", "driver_id", "full_name", "xmin::text", "ctid::text")
    assert counts(load("drivers", content)) == (0, 0, 2, 0, 0)
    assert rows("drivers", "driver_id", "full_name", "xmin::text", "ctid::text") == before


def test_only_rows_that_differ_are_updated_and_only_in_the_columns_given(load):
    load("drivers", "driver_id,full_name,phone\nd1,ANA,51900000001\nd2,EVA,51900000002\n")
    assert counts(load("drivers", "driver_id,phone\nd1,51911111111\nd2,51900000002\nd3,51900000003\n")) == (
        1,
        1,
        1,
        0,
        0,
    )
    assert rows("drivers", "driver_id", "full_name", "phone") == [
        ("d1", "ANA", "51911111111"),
        ("d2", "EVA", "51900000002"),
        ("d3", None, "51900000003"),
    ]


def test_a_value_that_became_empty_is_emptied(load):
    load("drivers", "driver_id,full_name\nd1,ANA\n")
    assert counts(load("drivers", "driver_id,full_name\nd1,\n")) == (0, 1, 0, 0, 0)
    assert rows("drivers", "full_name") == [(None,)]


def test_of_several_lines_with_one_key_the_last_one_wins(load):
    content = "driver_id,full_name\nd1,FIRST\nd2,EVA\nd1,SECOND\nd1,LAST\n"
    assert counts(load("drivers", content)) == (2, 0, 0, 2, 0)
    assert rows("drivers", "driver_id", "full_name") == [("d1", "LAST"), ("d2", "EVA")]
    assert counts(load("drivers", content)) == (0, 0, 2, 2, 0)


def test_a_dry_run_counts_the_same_and_keeps_nothing(load):
    content = "driver_id,full_name\nd1,ANA\nd2,EVA\nd2,EVA\n"
    dry = load("drivers", content, dry_run=True)
    assert not Driver.objects.exists()
    assert load("drivers", content) == dry


def test_driver_ids_that_differ_in_case_are_different_drivers(load):
    assert counts(load("drivers", "driver_id\nabc\nABC\n")) == (2, 0, 0, 0, 0)


# --- trips: one day, two spellings -----------------------------------------------------------------


def test_one_day_in_two_spellings_is_one_row(load):
    content = "driver_id,date_file,count_orders_completed\nd1,05-01-2024,3\nd1,2024-01-05,4\n"
    assert counts(load("summary_daily", content)) == (1, 0, 0, 1, 0)
    assert rows("summary_daily", "date_file", "count_orders_completed") == [("05-01-2024", 4)]
    assert counts(load("summary_daily", "driver_id,date_file,count_orders_completed\nd1,2024/01/05,5\n")) == (
        0,
        1,
        0,
        0,
        0,
    )
    assert DailyTrips.objects.get().count_orders_completed == 5


@pytest.mark.parametrize(
    "stored", ["05-01-2024", "2024-01-05", "2024/01/05", "05/01/2024", "05.01.2024", " 2024-01-05 "]
)
def test_a_stored_day_is_recognised_in_any_spelling_and_keeps_it(load, stored):
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into public.summary_daily (driver_id, date_file) values ('d1', %s), ('d1', 'x')", [stored]
        )
    tally = load("summary_daily", "driver_id,date_file,count_orders_completed\nd1,05-01-2024,9\n")
    assert counts(tally) == (0, 1, 0, 0, 0)
    assert (stored, 9) in rows("summary_daily", "date_file", "count_orders_completed")


# --- cabinet: external_id, else id (Q68) -------------------------------------------------------------


def test_a_lead_sent_with_another_id_keeps_the_id_it_has(load):
    load("module_ct_cabinet_leads", "id,external_id,first_name\n5,e1,ANA\n")
    assert counts(load("module_ct_cabinet_leads", "id,external_id,first_name\n9,e1,EVA\n")) == (0, 1, 0, 0, 0)
    assert rows("module_ct_cabinet_leads", "id", "external_id", "first_name") == [(5, "e1", "EVA")]


def test_a_lead_whose_id_belongs_to_another_external_id_gets_an_id_of_its_own(load):
    load("module_ct_cabinet_leads", "id,external_id\n5,e1\n")
    content = "id,external_id,park_phone\n6,e3,1\n5,e2,2\n"
    assert counts(load("module_ct_cabinet_leads", content)) == (2, 0, 0, 0, 0)
    assert rows("module_ct_cabinet_leads", "id", "external_id") == [(5, "e1"), (6, "e3"), (7, "e2")]
    assert counts(load("module_ct_cabinet_leads", content)) == (0, 0, 2, 0, 0)


def test_a_driver_whose_id_belongs_to_another_driver_is_kept(load):
    load("drivers", "id,driver_id\n1,d1\n")
    assert counts(load("drivers", "id,driver_id\n1,d2\n2,d3\n")) == (2, 0, 0, 0, 0)
    assert {driver for (driver,) in rows("drivers", "driver_id")} == {"d1", "d2", "d3"}


def test_of_two_leads_of_one_file_with_one_id_the_first_keeps_it(load):
    content = "id,external_id\n5,e1\n5,e2\n5,\n"
    tally = load("module_ct_cabinet_leads", content)
    assert counts(tally) == (2, 0, 0, 0, 1)
    [reject] = rejects(tally)
    assert (reject["line"], reject["column"], reject["value"]) == ("4", "id", "5")
    assert json.loads(reject["row"]) == {"id": "5", "external_id": ""}
    assert counts(load("module_ct_cabinet_leads", content)) == (0, 0, 2, 0, 1)


def test_a_lead_without_external_id_is_known_by_its_id(load):
    load("module_ct_cabinet_leads", "id,external_id,first_name\n5,,ANA\n6,e6,EVA\n")
    assert counts(load("module_ct_cabinet_leads", "id,external_id,first_name\n5,,ANITA\n6,,EVITA\n")) == (0, 2, 0, 0, 0)
    assert rows("module_ct_cabinet_leads", "id", "external_id", "first_name") == [
        (5, None, "ANITA"),
        (6, "e6", "EVITA"),
    ]


def test_a_big_file_of_leads_may_bring_their_ids_alone(load, monkeypatch):
    monkeypatch.setattr(loading, "ANALYZE_FROM", 1)
    assert counts(load("module_ct_cabinet_leads", "id,first_name\n5,Rosa\n6,Luis\n")) == (2, 0, 0, 0, 0)
    assert list(CabinetLead.objects.order_by("id").values_list("id", "first_name")) == [(5, "Rosa"), (6, "Luis")]


def test_a_lead_may_get_its_external_id_later(load):
    load("module_ct_cabinet_leads", "id,external_id\n5,\n")
    assert counts(load("module_ct_cabinet_leads", "id,external_id\n5,e5\n")) == (0, 1, 0, 0, 0)
    assert rows("module_ct_cabinet_leads", "id", "external_id") == [(5, "e5")]


def test_two_lines_that_mean_one_stored_lead_count_once(load):
    load("module_ct_cabinet_leads", "id,external_id,first_name\n5,e5,ANA\n")
    content = "id,external_id,first_name\n,e5,FIRST\n5,,LAST\n"
    assert counts(load("module_ct_cabinet_leads", content)) == (0, 1, 0, 1, 0)
    assert counts(load("module_ct_cabinet_leads", content)) == (0, 0, 1, 1, 0)
    assert rows("module_ct_cabinet_leads", "id", "first_name") == [(5, "LAST")]


def test_an_external_id_that_looks_like_an_id_is_not_one(load):
    assert counts(load("module_ct_cabinet_leads", "id,external_id\n42,\n43,42\n")) == (2, 0, 0, 0, 0)


def test_generated_ids_go_on_after_the_highest_id_a_file_brought(load):
    load("module_ct_cabinet_leads", "id,external_id\n,e1\n70,e2\n,e3\n")
    load("module_ct_cabinet_leads", "external_id\ne4\n")
    assert rows("module_ct_cabinet_leads", "id", "external_id") == [(70, "e2"), (71, "e1"), (72, "e3"), (73, "e4")]


# --- tables of other systems -------------------------------------------------------------------------


def test_a_table_without_unique_index_is_merged_all_the_same(load):
    with connection.cursor() as cursor:
        cursor.execute("drop table public.drivers cascade")
        cursor.execute("create table public.drivers (driver_id text, full_name text, hire_date date, extra integer)")
        cursor.execute("insert into public.drivers values ('d1', 'OLD', null, 1), ('d1', 'OLD', null, 2)")
    content = "driver_id,full_name,hire_date,phone\nd1,NEW,05-01-2024,1\nd2,EVA,,2\n"
    tally = load("drivers", content)
    assert counts(tally) == (1, 1, 0, 0, 0)
    assert tally.ignored_columns == ("phone",)
    assert counts(load("drivers", content)) == (0, 0, 2, 0, 0)
    assert rows("drivers", "driver_id", "full_name", "extra") == [
        ("d1", "NEW", 1),
        ("d1", "NEW", 2),
        ("d2", "EVA", None),
    ]


def test_a_column_the_table_demands_and_the_file_lacks_refuses_the_file(load):
    with connection.cursor() as cursor:
        cursor.execute("alter table public.module_ct_scouting_daily alter column driver_name set not null")
    with pytest.raises(SourceFileRefused, match="driver_name"):
        load("module_ct_scouting_daily", "id,scout_id\n1,7\n")
    tally = load("module_ct_scouting_daily", "id,driver_name\n1,ANA\n2,\n")
    assert counts(tally) == (1, 0, 0, 0, 1)


def test_a_missing_table_is_said_to_be_missing(load):
    with connection.cursor() as cursor:
        cursor.execute("drop table public.module_ct_scouts_list cascade")
    with pytest.raises(SourceFileRefused, match="module_ct_scouts_list"):
        load("module_ct_scouts_list", "scout_id\n1\n")


# --- the two readers agree -----------------------------------------------------------------------------


def test_a_clean_file_takes_the_fast_reader_and_a_dirty_one_the_slow(load, readers):
    load("drivers", 'driver_id,full_name,active,hire_date,note\nd1,"ANA, EVA",TRUE,05-01-2024,\nd2,,,,"say ""x"""\n')
    load("drivers", "driver_id,full_name,hire_date\nd1,ANA,5.1.2024\n")
    assert readers == ["fast", "slow"]


@pytest.mark.parametrize(
    "text", ['AN"A', '"AN""A"', "\\.", "\\N", "AN\\A", "  ANA ", "NULL", '"two\nlines"', "José\u2028x"]
)
def test_odd_text_is_stored_as_the_csv_rules_read_it(load, text):
    content = f"driver_id,full_name\nd1,{text}\nd2,EVA\n"
    expected = list(csv.reader(io.StringIO(content, newline="")))[1][1]
    assert counts(load("drivers", content)) == (2, 0, 0, 0, 0)
    assert rows("drivers", "full_name")[:2].count((expected,)) == 1


_text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=12)
_days = st.builds(
    datetime.date.strftime,
    st.dates(min_value=datetime.date(1900, 1, 1)),
    st.sampled_from(["%Y-%m-%d", "%d-%m-%Y", "%Y/%m/%d", "%d/%m/%Y"]),
)
_moments = st.builds(
    "{}{}{}".format, _days, st.sampled_from("T "), st.sampled_from(["01:02", "23:59:59", "00:00:00.123456"])
)
_row = st.tuples(
    st.integers(0, 30).map("d{}".format),
    _text,
    st.one_of(st.just(""), st.sampled_from(["true", "F", "yes", "0", "No", "t"])),
    st.one_of(st.just(""), _days),
    st.one_of(st.just(""), _moments),
    st.one_of(st.just(""), st.floats(-1e6, 1e6).map(lambda number: f"{number:.4f}")),
    st.one_of(st.just(""), st.decimals(-(10**6), 10**6, places=2).map(str)),
)
NAMES = ("driver_id", "full_name", "active", "hire_date", "updated_at", "rating", "account_balance")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(feed=st.lists(_row, max_size=25), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
@pytest.mark.slow
def test_both_readers_store_the_same_and_a_bad_row_spoils_no_other(load, readers, feed, quoting):
    def state(bad: bool) -> tuple[list[tuple], tuple[int, ...]]:
        written = io.StringIO(newline="")
        writer = csv.writer(written, quoting=quoting, lineterminator="\n")
        writer.writerows([NAMES, *feed, *([("d1", "", "perhaps", "", "", "", "")] if bad else [])])
        with connection.cursor() as cursor:
            cursor.execute("delete from public.drivers")
        tally = load("drivers", written.getvalue())
        return rows("drivers", *NAMES), counts(tally)

    readers.clear()
    clean, clean_counts = state(bad=False)
    if not any("\n" in row[1] or "\\." in row[1] for row in feed):
        assert readers == ["fast"]
    readers.clear()
    spoiled, spoiled_counts = state(bad=True)
    assert readers == ["slow"]
    assert spoiled == clean
    assert spoiled_counts == (*clean_counts[:4], 1)


@pytest.mark.parametrize("block", [40, 97, 1024])
def test_the_size_of_a_block_makes_no_difference(load, readers, monkeypatch, block):
    monkeypatch.setattr(reading, "BLOCK", block)
    content = "driver_id,full_name\n" + "".join(f'd{number},"ÑU, {number}"\n' for number in range(50)) + "last,ANA"
    assert counts(load("drivers", content)) == (51, 0, 0, 0, 0)
    assert readers == ["fast"]
    assert {name for (name,) in rows("drivers", "full_name")} == {f"ÑU, {number}" for number in range(50)} | {"ANA"}


# --- stopped half way ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", "d1,perhaps\n"])
def test_a_load_that_is_stopped_half_way_leaves_nothing(load, tmp_path, ending):
    def stop(rows_read: int) -> None:
        raise RuntimeError("stopped")

    load("drivers", "driver_id,active\nd0,true\n")
    with pytest.raises(Exception, match="stopped"):
        load("drivers", "driver_id,active\nd0,false\nd1,true\n" + ending, progress=stop)
    assert rows("drivers", "driver_id", "active") == [("d0", True)]
    assert not list((tmp_path / "rejects").glob("*"))


# --- the command -----------------------------------------------------------------------------------


def run(*arguments, **options) -> tuple[str, str, CommandError | None]:
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("load_source", *map(str, arguments), stdout=out, stderr=err, **options)
    except CommandError as error:
        return out.getvalue(), err.getvalue(), error
    return out.getvalue(), err.getvalue(), None


def test_the_command_prints_one_json_line_on_stdout_and_words_on_stderr(tmp_path):
    path = tmp_path / "drivers.csv"
    path.write_text("driver_id,unheard_of\nd1,x\n", encoding="utf-8")
    out, err, error = run("drivers", path, "--json")
    assert error is None
    assert json.loads(out)["inserted"] == 1
    assert out.count("\n") == 1
    assert "unheard_of" in err


def test_the_command_exits_with_3_when_rows_were_rejected_and_1_when_the_file_was_refused(tmp_path):
    path = tmp_path / "drivers.csv"
    path.write_text("driver_id,rating\nd1,x\nd2,1\n", encoding="utf-8")
    out, __, error = run("drivers", path, "--json", "--rejects", tmp_path / "rejects")
    assert error.returncode == 3
    assert json.loads(out)["rejects_file"] == str(next((tmp_path / "rejects").iterdir()))
    assert Driver.objects.count() == 1
    path.write_bytes(b"driver_id\n\xff\n")
    __, __, error = run("drivers", path)
    assert error.returncode == 1
    __, __, error = run("drivers", tmp_path / "nowhere.csv")
    assert error.returncode == 1


def test_the_command_reads_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("id,driver_name\n1,MUÑOZ\n".encode())))
    __, __, error = run("module_ct_scouting_daily", "-")
    assert error is None
    assert ScoutingRegistration.objects.get().driver_name == "MUÑOZ"


def test_the_command_names_the_tables_it_knows():
    __, __, error = run("leads", "-")
    assert "module_ct_cabinet_leads" in str(error)


def test_the_help_explains_the_exit_codes():
    text = load_source_command.Command().create_parser("manage.py", "load_source").format_help()
    assert "Exit code 0" in text
    assert "summary_daily" in text


# --- two at once -----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_loads_of_one_table_at_once_add_each_row_once(tmp_path):
    path = tmp_path / "drivers.csv"
    path.write_text("driver_id,full_name\n" + "".join(f"d{n},N{n}\n" for n in range(3000)), encoding="utf-8")
    with connection.cursor() as cursor:
        cursor.execute("alter table public.drivers drop constraint drivers_one_row_per_driver_id")
    tallies, start = [], threading.Barrier(2)

    def work() -> None:
        try:
            start.wait()
            tallies.append(load_source(table="drivers", path=path, rejects_dir=tmp_path, actor="ana"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for __ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(counts(tally) for tally in tallies) == [(0, 0, 3000, 0, 0), (3000, 0, 0, 0, 0)]
        assert Driver.objects.count() == 3000
    finally:
        with connection.cursor() as cursor:
            cursor.execute("truncate public.drivers")
            cursor.execute("alter table public.drivers add constraint drivers_one_row_per_driver_id unique (driver_id)")


# --- killed ----------------------------------------------------------------------------------------

LOADER = """
import sys
from pathlib import Path
import django
django.setup()
from django.db import connection
connection.settings_dict["NAME"] = sys.argv[1]
from identity.sources import load_source

def wait_to_be_killed(rows):
    print(rows, flush=True)
    sys.stdin.read()

load_source(table="drivers", path=Path(sys.argv[2]), rejects_dir=Path(sys.argv[3]), actor="ana",
            progress=wait_to_be_killed)
"""


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
def test_a_killed_load_leaves_nothing_and_the_next_one_is_complete(tmp_path):
    path = tmp_path / "drivers.csv"
    path.write_text("driver_id,full_name\n" + "".join(f"d{n},N{n}\n" for n in range(20_000)), encoding="utf-8")
    name = connection.settings_dict["NAME"]
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "ct4site.settings"}
    command = [sys.executable, "-c", LOADER, name, str(path), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as loader:
        rows_read = int(loader.stdout.readline())
        loader.kill()
    assert 0 < rows_read < 20_000
    try:
        assert not Driver.objects.exists()
        tally = load_source(table="drivers", path=path, rejects_dir=tmp_path, actor="ana")
        assert counts(tally) == (20_000, 0, 0, 0, 0)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("truncate public.drivers")
