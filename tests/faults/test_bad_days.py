"""Bad days: whatever is killed, whenever, running again ends where an undisturbed run ends, and no invariant breaks.

reliability.md F7, F8, F11, F12, F14, F23. Commands are real processes; moments are named points or drawn at random.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from random import Random

import psycopg2
import pytest
from django.conf import settings

from tests.faults.conftest import KILLED, Place, kill_tree

pytestmark = pytest.mark.faults


# --- F7: the command is killed ------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["chunk:1:picked", "chunk:2:effected", "chunk:4:committed"])
def test_a_run_killed_at_a_named_point_is_finished_by_the_next(fresh: Place, point: str) -> None:
    code, _out, _err = fresh.run("run_identity", CT4_FAULT=point)
    assert code == KILLED
    fresh.succeed("run_identity")
    assert fresh.is_sound()
    statuses = fresh.query("select status from ops.ingestion_runs where job_type = 'identity_run' order by id")
    assert statuses == [("FAILED",), ("COMPLETED",)]


def test_a_run_killed_at_any_moment_again_and_again_ends_well(fresh: Place) -> None:
    seed = Random().randrange(10**6)
    print(f"seed {seed}")
    rng = Random(seed)
    for _kill in range(4):
        process = fresh.start("run_identity", CT4_CHUNK_SIZE="10")
        time.sleep(rng.uniform(0.9, 2.2))
        kill_tree(process)
        process.communicate()
    fresh.succeed("run_identity")
    assert fresh.is_sound(), f"seed {seed}"


def test_an_index_refresh_killed_in_the_middle_is_finished_by_the_next(place: Place) -> None:
    place.empty()
    place.query("update canon.drivers_index set record_digest = '', phone_norm = null", rows=False)
    code, _out, _err = place.run("refresh_drivers_index", CT4_FAULT="chunk:3:effected")
    assert code == KILLED
    place.succeed("refresh_drivers_index")
    place.succeed("run_identity")
    assert place.is_sound()


# --- F8: the server is killed -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "immediate"])
def test_a_server_killed_under_a_run_costs_nothing(fresh: Place, how: str) -> None:
    if fresh.server is None:
        pytest.skip("DATABASE_URL is set: that server is not ours to kill")
    rng = Random(how)
    for _cut in range(2 if how == "kill" else 1):
        process = fresh.start("run_identity", CT4_CHUNK_SIZE="5")
        time.sleep(rng.uniform(1.2, 2.0))
        if how == "kill":
            server = fresh.server._server_process()
            assert server is not None
            server.kill()
        else:
            fresh.server.stop("immediate")
        process.communicate(timeout=60)
    fresh.server.ensure_running()
    fresh.succeed("run_identity")
    assert fresh.is_sound()


# --- F11: two at once, many times ---------------------------------------------------------------------


def test_commands_started_at_once_make_one_run_and_the_others_say_so(fresh: Place) -> None:
    processes = [fresh.start("run_identity", "--json", CT4_CHUNK_SIZE="5") for _number in range(3)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    completed = [json.loads(out) for (out, _err), code in ended if code == 0]
    refused = [err for (_out, err), code in ended if code != 0]
    assert sum(tally["persons_created"] > 0 for tally in completed) == 1
    assert all(code in (0, 1) for _output, code in ended)
    assert all("Traceback" not in err for err in refused)
    assert fresh.is_sound()


def test_the_same_command_ten_times_changes_nothing_after_the_first(fresh: Place) -> None:
    fresh.succeed("run_identity")
    audited = fresh.query("select count(*), max(id) from ops.audit_log")
    again = (
        "import django; django.setup()\nfrom django.core.management import call_command\n"
        "for _time in range(9): call_command('run_identity', '--json')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", again],
        cwd=settings.BASE_DIR, env=fresh.environment | {"DJANGO_SETTINGS_MODULE": "ct4site.settings"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [json.loads(line)["audit"] for line in ended.stdout.splitlines()] == [0] * 9
    assert fresh.query("select count(*), max(id) from ops.audit_log") == audited
    assert fresh.is_sound()


def test_different_jobs_at_once_do_not_wait_for_each_other_in_a_circle(fresh: Place) -> None:
    run = fresh.succeed("run_identity")["run_id"]
    before = fresh.query("select deadlocks from pg_stat_database where datname = current_database()")
    processes = [
        fresh.start("roll_back_run", str(run)),
        fresh.start("run_identity", CT4_CHUNK_SIZE="10"),
        fresh.start("refresh_drivers_index", CT4_CHUNK_SIZE="10"),
    ]
    for process in processes:
        _out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    fresh.succeed("run_identity")
    assert fresh.is_sound()
    assert fresh.query("select deadlocks from pg_stat_database where datname = current_database()") == before


# --- F12, F9: the queue -------------------------------------------------------------------------------


def test_a_queued_run_is_performed_by_the_worker_and_survives_its_death(fresh: Place) -> None:
    queued = fresh.run("run_identity", "--queue", "--json")
    assert json.loads(queued[1])["status"] == "QUEUED"
    doomed = fresh.start("qcluster", CT4_FAULT="chunk:2:effected", CT4_WORKERS="1")
    identity_runs = "select count(*) from ops.ingestion_runs as runs where job_type = 'identity_run'"
    died = (
        " and attempt = 1 and not exists (select 1 from pg_stat_activity as activity"
        " where activity.pid = runs.backend_pid and activity.backend_start = runs.backend_started_at)"
    )
    try:
        _until(fresh, identity_runs + died)
    finally:
        kill_tree(doomed)
        doomed.communicate()
    fresh.succeed("run_identity", "--queue")
    worker = fresh.start("qcluster", CT4_WORKERS="1")
    try:
        _until(fresh, identity_runs + " and status = 'COMPLETED'")
        _until(fresh, "select 1 - count(*) from public.django_q_ormq having count(*) = 0")
    finally:
        kill_tree(worker)
        worker.communicate()
    assert fresh.is_sound()


def _until(place: Place, question: str) -> None:
    """Wait until the database answers with a number over zero."""
    for _attempt in range(150):
        answer = place.query(question)
        if answer and answer[0][0]:
            return
        time.sleep(0.2)
    raise AssertionError(f"still not: {question}")


# --- F23: taking a run back ---------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["roll_back:effected", "roll_back:committed"])
def test_a_roll_back_killed_in_the_middle_is_whole_or_not_at_all(fresh: Place, point: str) -> None:
    run = str(fresh.succeed("run_identity")["run_id"])
    code, _out, _err = fresh.run("roll_back_run", run, CT4_FAULT=point)
    assert code == KILLED
    links = fresh.query("select count(*) from canon.identity_links")[0][0]
    assert (links == 0) == (point == "roll_back:committed")
    fresh.succeed("roll_back_run", run)
    left = fresh.query(
        "select (select count(*) from canon.identity_links), (select count(*) from canon.identity_registry)"
    )
    assert left == [(0, 0)]
    fresh.succeed("run_identity")
    assert fresh.is_sound()


# --- F14: the audit log -------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["ops.audit_log", "canon.identity_origin_history"])
@pytest.mark.parametrize("verb", ["delete from {}", "truncate {}", "truncate {} cascade"])
@pytest.mark.parametrize("setting", ["", "set session_replication_role = replica; "])
def test_history_cannot_be_emptied(place: Place, table: str, verb: str, setting: str) -> None:
    if place.server is None and "truncate" in verb:
        pytest.skip("a test database on a server of others lets TRUNCATE through, so that tests can empty it")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        place.query(setting + verb.format(table), rows=False)
