"""Bad days of the orphan job: killed, doubled, repeated or taken back, it ends where an undisturbed run ends.

reliability.md F7, F8, F11, F12, F23. The world is a generated one with the predecessor's history, matched once; every
test begins with a copy of that database.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from django.conf import settings

from tests.faults.conftest import KILLED, Place, kill_tree

pytestmark = pytest.mark.faults

HISTORY_OF_LEADS = 1500
FIX = ("fix_drivers_without_leads", "--execute")
# The other strategy copies how far a sequence is ahead of its log: after a crash it would hand out ids again.
COPY = "create database {to} template {of} strategy file_copy"
SMALL = {"CT4_CHUNK_SIZE": "2"}
UNCLAIMED_AGE = "update ops.ingestion_runs set heartbeat_at = heartbeat_at - interval '1 day' where attempt = 0"
RUNS = "select status from ops.ingestion_runs where job_type = 'orphans_fix' order by id"


class Orphans:
    """A place whose drivers without leads are not decided yet, and what an undisturbed run makes of them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._administer(COPY.format(to="{copy}", of="{name}"))
        place.succeed(*FIX)
        place.undisturbed = place.state()
        (self.report,) = self.reports()

    def begin_again(self) -> None:
        self._administer("drop database if exists {name} with (force)", COPY.format(to="{name}", of="{copy}"))
        shutil.rmtree(self.place.home / "reports", ignore_errors=True)

    def reports(self, folder: str = ".") -> list[dict[str, Any]]:
        """What the reports say that decided somebody, without their time."""
        paths = sorted((self.place.home / "reports" / folder).glob("*.json"))
        found = [json.loads(path.read_text("utf-8")) for path in paths]
        for report in found:
            del report["timestamp"]
        return [report for report in found if report["drivers"]]

    def close(self) -> None:
        self._administer("drop database if exists {copy} with (force)")

    def _administer(self, *statements: str) -> None:
        if self.place.server is not None:
            self.place.server.ensure_running()
            name, options = "ct4", {"dbname": "postgres", **self.place.server.connection()}
        else:
            url = urlsplit(self.place.environment["DATABASE_URL"])
            name, options = url.path[1:], {"dsn": url._replace(path="/postgres").geturl()}
        with contextlib.closing(psycopg2.connect(**options)) as connection:
            connection.autocommit = True
            for statement in statements:
                connection.cursor().execute(statement.format(name=name, copy=f"{name}_before"))


@pytest.fixture(scope="module")
def prepared(place: Place) -> Iterator[Orphans]:
    orphans = Orphans(place)
    yield orphans
    orphans.close()


@pytest.fixture
def orphans(prepared: Orphans) -> Orphans:
    prepared.begin_again()
    return prepared


def test_the_world_has_something_to_lose(prepared: Orphans) -> None:
    stats = prepared.report["stats"]
    assert min(stats["resolved_relinked"], stats["quarantined"]) >= 5


# --- F7: the command is killed ------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["chunk:2:effected", "chunk:3:committed"])
def test_a_run_killed_at_a_named_point_is_finished_and_reported_by_the_next(orphans: Orphans, point: str) -> None:
    place = orphans.place
    code, _out, _err = place.run(*FIX, "--output-dir", "killed", CT4_FAULT=point, **SMALL)
    assert code == KILLED
    assert orphans.reports("killed") == []
    if point == "chunk:2:effected":  # a dry run finishes nothing, and must not say so
        place.succeed(FIX[0])
        assert [report["dry_run"] for report in orphans.reports("killed")] in ([], [True])
        shutil.rmtree(place.home / "reports")
    place.succeed(*FIX)
    assert place.is_sound()
    assert place.query(RUNS)[-1] == ("COMPLETED",)
    assert orphans.reports("killed") == [orphans.report]
    assert orphans.reports() == []


def test_a_run_killed_at_any_moment_again_and_again_ends_well(orphans: Orphans) -> None:
    seed = Random().randrange(10**6)
    print(f"seed {seed}")
    rng = Random(seed)
    for _kill in range(2):
        process = orphans.place.start(*FIX, CT4_CHUNK_SIZE="1")
        time.sleep(rng.uniform(0.9, 2.0))
        kill_tree(process)
        process.communicate()
    # One killed between its row and its claim is lost only after the lease: let that time pass.
    orphans.place.query(UNCLAIMED_AGE, rows=False)
    orphans.place.succeed(*FIX)
    assert orphans.place.is_sound(), f"seed {seed}"
    decided = [driver for report in orphans.reports() for driver in report["drivers"]]
    assert {driver["driver_id"]: driver for driver in decided} == {
        driver["driver_id"]: driver for driver in orphans.report["drivers"]
    }


# --- F8: the server is killed -------------------------------------------------------------------------


def test_a_server_killed_under_a_run_costs_nothing(orphans: Orphans) -> None:
    server = orphans.place.server
    if server is None:
        pytest.skip("DATABASE_URL is set: that server is not ours to kill")
    process = orphans.place.start(*FIX, CT4_CHUNK_SIZE="1")
    time.sleep(Random().uniform(1.0, 1.6))
    running = server._server_process()
    assert running is not None
    running.kill()
    process.communicate(timeout=60)
    server.ensure_running()
    orphans.place.query(UNCLAIMED_AGE, rows=False)
    orphans.place.succeed(*FIX)
    assert orphans.place.is_sound()


# --- F11: two at once, many times ---------------------------------------------------------------------


def test_commands_started_at_once_decide_everybody_once(orphans: Orphans) -> None:
    place = orphans.place
    processes = [place.start(*FIX, "--json", **SMALL) for _number in range(2)]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert all(code in (0, 1) and "Traceback" not in err for _out, err, code in ended)
    processed = [json.loads(out)["processed"] for out, _err, code in ended if code == 0]
    assert sorted(number for number in processed if number) == [orphans.report["stats"]["processed"]]
    assert orphans.reports() == [orphans.report]
    assert place.is_sound()


def test_the_same_command_many_times_changes_nothing_after_the_first(orphans: Orphans) -> None:
    place = orphans.place
    again = (
        "import django; django.setup()\nfrom django.core.management import call_command\n"
        "for _time in range(5): call_command('fix_drivers_without_leads', '--execute', '--json')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", again],
        cwd=settings.BASE_DIR, env=place.environment | {"DJANGO_SETTINGS_MODULE": "ct4site.settings"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [tally["processed"] for tally in told] == [orphans.report["stats"]["processed"], 0, 0, 0, 0]
    assert [tally["audit"] for tally in told[1:]] == [0] * 4
    written = "select count(distinct run_id) from ops.audit_log where run_id > {run_id}"
    assert place.query(written.format(run_id=told[0]["run_id"])) == [(0,)]
    assert place.is_sound()


def test_different_jobs_at_once_do_not_wait_for_each_other_in_a_circle(orphans: Orphans) -> None:
    place = orphans.place
    run = place.succeed(*FIX)["run_id"]
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    before = place.query(deadlocks)
    processes = [
        place.start("roll_back_run", str(run)),
        place.start(*FIX, **SMALL),
        place.start("run_identity"),
    ]
    for process in processes:
        _out, err = process.communicate(timeout=60)
        # A driver whose links moved between plan and apply is left to the next run, and that run says so.
        assert process.returncode in (0, 1), err
        assert "Traceback" not in err
    place.succeed(*FIX)
    assert place.query(deadlocks) == before
    assert {driver["driver_id"] for driver in orphans.report["drivers"]} == {
        row[0] for row in place.query("select driver_id from canon.driver_orphan_quarantine")
    }


# --- F23: taking a run back ---------------------------------------------------------------------------


def test_what_a_killed_run_left_is_taken_back_whole_though_the_roll_back_is_killed_too(orphans: Orphans) -> None:
    place = orphans.place
    before = _without_history(place.state())
    code, _out, _err = place.run(*FIX, CT4_FAULT="chunk:3:committed", **SMALL)
    assert code == KILLED
    half = place.state()
    assert _without_history(half) != before
    (run,) = place.query("select id from ops.ingestion_runs where job_type = 'orphans_fix'")[0]
    code, _out, _err = place.run("roll_back_run", str(run), CT4_FAULT="roll_back:effected")
    assert code == KILLED
    assert place.state() == half
    place.succeed("roll_back_run", str(run))
    assert _without_history(place.state()) == before
    place.succeed(*FIX)
    assert _without_history(place.state()) == _without_history(place.undisturbed)


def _without_history(state: list[str]) -> list[str]:
    """A history never shrinks, and the event of a record stays, as one of nobody's."""
    return [
        fact
        for fact in state
        if not fact.startswith("quarantine history|") and (not fact.startswith("event|") or fact.split("|")[4] != "-")
    ]
