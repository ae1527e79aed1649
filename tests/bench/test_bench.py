"""The bench runs, measures everything it promises, and its floor is no straw man."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from bench import floor, quality, rival
from bench.child import peak_memory
from bench.pages import PAGES
from bench.report import Report
from bench.review_pages import CHOICES, STEPS
from bench.worlds import Lead, Truth, hold_back, many_drivers
from identity.demo import generate
from tests import factories

pytestmark = pytest.mark.slow

ROWS = [
    "drivers index, first refresh",
    "drivers index, second refresh",
    "identity run over floor",
    "identity run over shared tables",
    "links the floor makes too",
    "second run, nothing new",
    "run with 1 % new leads",
    "drivers index, 1 % new drivers",
    "precision, cabinet",
    "recall, cabinet",
    "precision, scouting",
    "recall, scouting",
    "orphan job over floor",
    "repairs the floor makes too",
    "orphan job, nothing new",
    "refresh of attribution over floor",
    "scouts the floor gives too",
    "refresh of attribution, nothing new",
    "persons given to a wrong scout",
    "disputed persons given to a scout",
    "recall of undisputed scouts",
    "the same, of all that is true",
    "refresh of collection over floor",
    "claims the floor makes too",
    "refresh of collection, nothing new",
    *(f"a case is {step}, {kind}: long queue over short" for step, kind in product(STEPS, CHOICES)),
    "statements of opening or deciding a case",
    "retry of lost leads over floor",
    "lost leads the floor finds too",
    "retry, nothing new",
    "retry, 1 % new drivers",
    "precision beside Splink, cabinet",
    "recall beside Splink, cabinet",
    "precision beside Splink, scouting",
    "recall beside Splink, scouting",
    *(f"page over a tenth: {name}" for name in PAGES),
    "statements of a page",
    "growth exponent, identity run",
    "growth exponent, orphan job",
    "growth exponent, refresh of attribution",
    "growth exponent, retry of lost leads",
    "Python memory, small to big",
    "run_identity of the big world as a command",
    "load_source over COPY",
]


@pytest.fixture(scope="module")
def finished() -> Iterator[subprocess.CompletedProcess[str]]:
    """A bench of the smallest sizes, on a database of its own name beside that of a real bench."""
    command = [sys.executable, "-m", "bench", "--leads", "300", "--small", "100", "--big", "300", "--load", "300"]
    environment = os.environ | {"BENCH_DATABASE": "ct4_bench_smoke", "CT4_HOME": str(settings.CT4_HOME)}
    yield subprocess.run(
        [*command, "--repetitions", "1"],
        cwd=settings.BASE_DIR, env=environment, capture_output=True, encoding="utf-8", timeout=600, check=False,
    )  # fmt: skip


def _cells(output: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in output.splitlines()[2:]]


def test_a_bench_prints_every_measurement_once(finished: subprocess.CompletedProcess[str]) -> None:
    assert finished.returncode in (0, 1), finished.stderr
    assert [row[0] for row in _cells(finished.stdout)] == ROWS


def test_a_bench_that_misses_a_target_says_which_and_exits_with_1(finished: subprocess.CompletedProcess[str]) -> None:
    missed = [row[0] for row in _cells(finished.stdout) if row[5] == "MISSED"]
    assert finished.returncode == (1 if missed else 0)
    assert all(name in finished.stderr.splitlines()[-1] for name in missed)


def test_a_bench_measures_splink_or_says_how_to_install_it(finished: subprocess.CompletedProcess[str]) -> None:
    beside = [row for row in _cells(finished.stdout) if "beside Splink" in row[0]]
    assert all((row[5] == "skipped") == (not rival.is_installed()) for row in beside)
    assert all("requirements/bench.txt" in row[4] for row in beside if row[5] == "skipped")


@pytest.mark.django_db
def test_a_bench_leaves_no_database_behind(finished: subprocess.CompletedProcess[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(r"select count(*) from pg_database where datname like 'ct4\_bench\_smoke%'")
        assert cursor.fetchone()[0] == 0


@pytest.mark.django_db
def test_the_floor_fills_every_output_table_with_the_links_of_the_product() -> None:
    plain = factories.a_recruited_driver()
    by_car = factories.a_lead_known_by_its_car()
    migrated = factories.a_migrated_driver()
    stranger = factories.a_registration("SOLIS PRADO MIGUEL", phone=factories.a_phone(999))
    factories.refresh()
    floor.run()
    assert quality.stored_links() == {tuple(story.lead): story.driver_id for story in (plain, by_car, migrated)}
    assert factories.unmatched_of(stranger).reason_code == "NO_CANDIDATES"
    with connection.cursor() as cursor:
        for table in floor.OUTPUT_TABLES:
            cursor.execute(f"select count(*) from {table}")
            assert cursor.fetchone()[0] > 0, f"{table} is empty"


@pytest.mark.django_db
def test_the_floor_keeps_the_scope_of_the_rules() -> None:
    phone = factories.a_phone(501)
    factories.a_driver(phone=phone, park=factories.OTHER_PARK)
    in_park = factories.a_driver(phone=phone)
    scoped = factories.a_registration(phone=phone)
    shared, _drivers = factories.a_family_phone(factories.JUAN, factories.JUAN)
    ambiguous = factories.a_registration(phone=shared)
    late = factories.a_lead_known_by_its_car(hired=factories.LEAD_DATE.replace(year=2024))
    factories.refresh()
    floor.run()
    assert quality.stored_links() == {tuple(scoped): in_park}
    assert factories.unmatched_of(ambiguous) and factories.unmatched_of(late.lead)


def test_a_score_counts_a_link_as_right_when_driver_and_lead_are_one_person() -> None:
    cabinet, scouting = quality.CABINET, quality.SCOUTING
    truth = Truth(
        {
            (cabinet, "right"): Lead("ana", True),
            (cabinet, "wrong"): Lead("ana", True),
            (cabinet, "lost"): Lead("ana", True),
            (cabinet, "lucky"): Lead("ana", False),
            (scouting, "other"): Lead("eva", True),
        },
        {"d1": "ana", "d2": "ana", "d3": "eva"},
    )
    links = {(cabinet, "right"): "d2", (cabinet, "wrong"): "d3", (cabinet, "lucky"): "d1"}
    assert quality.score(links, truth, cabinet) == (2 / 3, 1 / 3)
    assert quality.score(links, truth, scouting) == (0, 0)


def test_a_report_judges_by_the_figure_and_not_by_how_it_is_printed() -> None:
    report = Report()
    report.at_most("speed", 1.5001, 1.5)
    report.at_least("quality", 0.95, 0.95)
    report.skip("rival", "not installed")
    assert report.missed == ["speed"]
    assert [row[5] for row in report.rows] == ["MISSED", "met", "skipped"]


def test_what_is_held_back_is_whole_and_its_drivers_are_led_to_by_nobody_else(tmp_path: Path) -> None:
    generate(leads=400, seed=3, directory=tmp_path)
    tables = ("drivers", "module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations")
    before = {table: _rows(tmp_path / f"{table}.csv") for table in tables}
    hold_back(tmp_path, 40)
    early = {table: _rows(tmp_path / f"{table}.csv") for table in tables}
    late = {table: _rows(tmp_path / "later" / f"{table}.csv") for table in tables}
    assert {table: sorted(early[table] + late[table]) for table in tables} == {
        table: sorted(rows) for table, rows in before.items()
    }
    assert abs(sum(len(late[table]) for table in tables[1:]) - 40) <= 2
    assert 0 < len(late["drivers"]) <= 40


def test_a_renumbered_drivers_file_repeats_no_account(tmp_path: Path) -> None:
    generate(leads=100, seed=3, directory=tmp_path)
    many_drivers(tmp_path / "drivers.csv", tmp_path / "many.csv", 250)
    rows = [row.split(",", 3)[:3] for row in _rows(tmp_path / "many.csv")]
    assert len(rows) == len({row[0] for row in rows}) == len({row[1] for row in rows}) == 250


def test_a_process_knows_the_peak_of_its_memory() -> None:
    before = peak_memory()
    block = bytearray(before + 50_000_000)
    assert peak_memory() > len(block)


def _rows(path: Path) -> list[str]:
    """The rows of a file whose fields hold no line breaks, without its header and its quoting."""
    return path.read_text("utf-8").replace('"', "").split("\n")[1:-1]
