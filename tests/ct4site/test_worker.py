"""The queue worker performs runs and nothing else, stops when told, and survives being killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.core import signing
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from ct4site import jobs
from ct4site.queue import GuardedBroker, objection, release_tasks_of_the_dead, schedules_queue_runs_only
from identity.jobs import WRITER_LOCK
from tests.ct4site.installation import Installation, descendants, eventually, new_installation, signal_group
from tests.guards import unguarded

LEADS = 300
STATUS = "select status, attempt, coalesce(error_message, '') from ops.ingestion_runs where id = %s"
only_posix = pytest.mark.skipif(os.name == "nt", reason="process groups and kill -9 are POSIX")

# --- what may be in the queue -----------------------------------------------------------------------


def test_only_a_run_id_for_our_function_passes() -> None:
    good = {"func": jobs.QUEUED_PATH, "args": (7,), "kwargs": {}}
    assert objection(good) is None
    for change in (
        {"func": "os.system"}, {"func": os.getcwd}, {"func": None}, {"args": ("7",)}, {"args": (True,)},
        {"args": (7, 8)}, {"args": ()}, {"args": None}, {"kwargs": {"run_id": 7}}, {"hook": "os.system"},
        {"chain": [("os.system", ("true",))]},
    ):  # fmt: skip
        assert objection({**good, **change}), change
    assert objection(["os.system"])


@pytest.mark.django_db
def test_a_task_for_another_function_is_rejected_and_removed(caplog: pytest.LogCaptureFixture) -> None:
    async_task("os.mkdir", "never-made")
    allowed = async_task(jobs.QUEUED_PATH, 7)
    broker = GuardedBroker()
    handed_out = [task for _round in range(2) for task in broker.dequeue() or []]
    assert [key for key, _payload in handed_out] == list(OrmQ.objects.values_list("pk", flat=True))
    assert [queued.task["id"] for queued in OrmQ.objects.all()] == [allowed]
    assert "another function" in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize(
    "payload",
    ["", "nonsense", signing.dumps({"func": jobs.QUEUED_PATH}, key="k" * 50)],
    ids=["empty", "nonsense", "another key"],
)
def test_a_task_that_is_not_signed_by_us_is_rejected_and_removed(payload: str) -> None:
    GuardedBroker().enqueue(payload)
    assert GuardedBroker().dequeue() == []
    assert not OrmQ.objects.exists()


@pytest.mark.django_db
def test_a_schedule_for_another_function_is_a_system_check_error() -> None:
    Schedule.objects.create(func=jobs.QUEUED_PATH, args="(1,)")
    assert schedules_queue_runs_only(databases=["default"]) == []
    foreign = Schedule.objects.create(func="os.system", args="('true',)")
    hooked = Schedule.objects.create(func=jobs.QUEUED_PATH, hook="os.system")
    found = schedules_queue_runs_only(databases=["default"])
    assert [error.id for error in found] == ["ct4.E002"] * 2
    assert str(foreign.pk) in found[0].msg
    assert str(hooked.pk) in found[1].msg
    assert schedules_queue_runs_only(databases=None) == []


@pytest.mark.django_db
def test_tasks_that_a_dead_worker_held_are_offered_again() -> None:
    async_task(jobs.QUEUED_PATH, 7)
    assert GuardedBroker().dequeue()
    assert not GuardedBroker().dequeue()
    assert release_tasks_of_the_dead() == 1
    assert GuardedBroker().dequeue()


# --- the command ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with new_installation() as made:
        done = made.manage("demo", "--leads", str(LEADS), "--no-serve")
        assert done.returncode == 0, done.stderr
        yield made


def start_worker(installation: Installation, **extra: str) -> subprocess.Popen[str]:
    """Start a worker; return when its parts are there: sentinel, workers, monitor, pusher."""
    worker = installation.start("worker", CT4_WORKERS="1", **extra)
    eventually(lambda: len(descendants(worker.pid)) == 4 or worker.poll())
    assert worker.poll() is None, installation.output(worker)
    return worker


def stop(installation: Installation, worker: subprocess.Popen[str]) -> None:
    worker.terminate()
    assert worker.wait(60) == 0, installation.output(worker)


def queue(installation: Installation, *command: str) -> int:
    """Queue a run; return its id."""
    done = installation.manage(*command, "--queue")
    assert done.returncode == 0, done.stderr
    return int(installation.ask("select max(id) from ops.ingestion_runs")[0][0])


def wait_for(installation: Installation, run_id: int, status: str) -> str:
    """Wait until the run has the status; return its error message."""
    eventually(lambda: installation.ask(STATUS, [run_id])[0][0] == status)
    return str(installation.ask(STATUS, [run_id])[0][2])


def forget_people(installation: Installation) -> None:
    """Back to before the first matching, so that a run has work in every chunk."""
    installation.ask(
        unguarded(
            "truncate canon.identity_links, canon.identity_unmatched, canon.identity_origin, canon.identity_registry,"
            " observational.lead_events cascade"
        )
    )


def decided(installation: Installation) -> int:
    """How many lead records are linked or open; each is one or the other."""
    return int(
        installation.ask(
            "select (select count(*) from canon.identity_links where source_table <> 'drivers')"
            " + (select count(*) from canon.identity_unmatched where status = 'OPEN')"
        )[0][0]
    )


def test_a_queued_run_is_performed_and_foreign_tasks_are_not(installation: Installation, tmp_path: Path) -> None:
    target = tmp_path / "made-by-the-queue"
    code = f"from django_q.tasks import async_task; async_task('os.mkdir', {str(target)!r})"
    assert installation.manage("shell", "-c", code).returncode == 0
    run = queue(installation, "run_identity", "--full")
    worker = start_worker(installation)
    wait_for(installation, run, "COMPLETED")
    eventually(lambda: installation.ask("select count(*) from django_q_ormq") == [(0,)])
    stop(installation, worker)
    assert not target.exists()
    assert "another function" in installation.output(worker)
    assert installation.ask(STATUS, [run])[0][1] == 1


@only_posix
@pytest.mark.faults
def test_a_run_whose_worker_is_killed_is_closed_and_the_next_run_finishes_it(installation: Installation) -> None:
    forget_people(installation)
    worker = start_worker(installation, CT4_FAULT="chunk:2:committed", CT4_CHUNK_SIZE="50")
    lost = queue(installation, "run_identity")
    assert wait_for(installation, lost, "FAILED")
    assert 0 < decided(installation) < LEADS
    stop(installation, worker)
    worker = start_worker(installation, CT4_CHUNK_SIZE="50")
    finishing = queue(installation, "run_identity")
    wait_for(installation, finishing, "COMPLETED")
    stop(installation, worker)
    assert decided(installation) == LEADS
    assert installation.ask("select count(*) from django_q_ormq") == [(0,)]
    assert installation.ask(STATUS, [lost])[0][0] == "FAILED"


@only_posix
@pytest.mark.faults
def test_a_termination_signal_to_the_whole_group_ends_the_worker_every_time(installation: Installation) -> None:
    for _round in range(3):
        worker = start_worker(installation)
        parts = descendants(worker.pid)
        signal_group(worker, signal.SIGTERM)
        assert worker.wait(60) == 0, installation.output(worker)
        assert not [part for part in parts if part.is_running()]
        assert "ERROR" not in installation.output(worker)  # a connection shared over a fork breaks now and then


@only_posix
@pytest.mark.faults
def test_a_worker_told_to_stop_ends_although_its_run_hangs(installation: Installation) -> None:
    forget_people(installation)
    holder = installation.connect()
    try:
        holder.cursor().execute("select pg_advisory_lock(%s)", [WRITER_LOCK])
        worker = start_worker(installation)
        hanging = queue(installation, "run_identity")
        eventually(lambda: installation.ask("select 1 from pg_locks where locktype = 'advisory' and not granted"))
        stop(installation, worker)
    finally:
        holder.close()
    done = installation.manage("run_identity")
    assert done.returncode == 0, done.stderr
    assert installation.ask(STATUS, [hanging])[0][0] == "FAILED"
    assert decided(installation) == LEADS


@only_posix
@pytest.mark.faults
@pytest.mark.parametrize("victim", ["command", "sentinel"])
def test_a_killed_worker_leaves_no_process_behind(installation: Installation, victim: str) -> None:
    worker = start_worker(installation)
    parts = descendants(worker.pid)
    (psutil.Process(worker.pid) if victim == "command" else psutil.Process(worker.pid).children()[0]).kill()
    assert worker.wait(60) == (-signal.SIGKILL if victim == "command" else 1)
    eventually(lambda: not [part for part in parts if part.is_running()])


def test_a_worker_ends_with_its_parent(installation: Installation) -> None:
    parent = subprocess.Popen(["sleep" if os.name != "nt" else "timeout", "600"])
    worker = installation.start("worker", "--parent", str(parent.pid), CT4_WORKERS="1")
    eventually(lambda: len(descendants(worker.pid)) == 4 or worker.poll())
    assert worker.poll() is None
    parent.kill()
    parent.wait()
    assert worker.wait(60) == 0, installation.output(worker)
