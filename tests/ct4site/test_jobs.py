"""A run is started once, claimed once, written by one, finished or closed; its plan is applied exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django_q.models import OrmQ

from ct4site import faults, jobs
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from identity.models import Link
from tests import factories

pytestmark = pytest.mark.django_db

several_connections = pytest.mark.django_db(transaction=True)


@pytest.fixture
def a_job(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[jobs.RunContext], None]], None]:
    """Put a function of the test in the place of the drivers index refresh."""

    def put(function: Callable[[jobs.RunContext], None], queueable: bool = True) -> None:
        job = jobs.Job(JobType.DRIVERS_INDEX_REFRESH, function, "test", frozenset({"colour"}), queueable)
        monkeypatch.setitem(jobs._JOBS, JobType.DRIVERS_INDEX_REFRESH, job)

    put(lambda context: None)
    return put


def start(**arguments: Any) -> Run:
    return jobs.start(job_code=JobType.DRIVERS_INDEX_REFRESH, actor="tests", **arguments)


def elsewhere(function: Callable[[], Any]) -> Any:
    """Call it on a connection of its own."""

    def call() -> Any:
        try:
            return function()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(call).result()


def at_once(function: Callable[[], Any], count: int) -> list[Any]:
    """Call it from several threads at the same moment; return results and errors."""
    barrier = threading.Barrier(count)

    def call() -> Any:
        try:
            connection.ensure_connection()
            barrier.wait()
            return function()
        except jobs.JobError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as executor:
        return [future.result() for future in [executor.submit(call) for _number in range(count)]]


# --- start --------------------------------------------------------------------------------------------


def test_a_started_run_says_who_asked_for_what(a_job: Any) -> None:
    run = start(parameters={"colour": "red", "unset": None}, dry_run=True)
    assert (run.status, run.attempt, run.actor, run.dry_run) == (RunStatus.RUNNING, 0, "tests", True)
    assert run.parameters == {"colour": "red"}
    assert run.is_queued


def test_an_unknown_job_or_parameter_is_refused_and_leaves_no_run(a_job: Any) -> None:
    with pytest.raises(jobs.JobError, match="no_such_job"):
        jobs.start(job_code="no_such_job", actor="tests")
    with pytest.raises(jobs.JobError, match="taste"):
        start(parameters={"taste": "sweet"})
    a_job(lambda context: None, queueable=False)
    with pytest.raises(jobs.JobError):
        start(queue=True)
    assert not Run.objects.exists()


def test_a_second_run_of_a_job_is_refused_with_the_number_of_the_first(a_job: Any) -> None:
    first = start()
    with pytest.raises(jobs.AlreadyRunning, match=str(first.pk)) as refusal:
        start()
    assert refusal.value.run == first
    jobs.start(job_code=JobType.IDENTITY_RUN, actor="tests")


@several_connections
def test_twenty_starts_at_once_make_one_run(a_job: Any) -> None:
    results = at_once(start, 20)
    (run,) = [result for result in results if isinstance(result, Run)]
    assert [result.run for result in results if isinstance(result, jobs.AlreadyRunning)] == [run] * 19
    assert list(Run.objects.all()) == [run]


def test_a_queued_run_and_its_task_come_together_or_not_at_all(a_job: Any) -> None:
    run = start(queue=True)
    (task,) = OrmQ.objects.all()
    assert (task.task["func"], task.task["args"]) == (jobs.QUEUED_PATH, (run.pk,))
    jobs.execute(run.pk)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        start(queue=True)
        raise ZeroDivisionError
    assert (Run.objects.count(), OrmQ.objects.count()) == (1, 1)


# --- claim and fence ----------------------------------------------------------------------------------


@several_connections
def test_a_run_offered_to_many_workers_is_performed_by_one(a_job: Any) -> None:
    performed = []
    at_work, leave = threading.Event(), threading.Event()

    def perform(context: jobs.RunContext) -> None:
        performed.append(context.attempt)
        at_work.set()
        leave.wait(timeout=20)

    a_job(perform)
    run = start()
    with ThreadPoolExecutor(1) as executor:
        results = executor.submit(at_once, lambda: jobs.run_queued(run.pk), 6)
        assert at_work.wait(timeout=20)
        # Redelivered while it is at work: acknowledged, not repeated.
        assert jobs.run_queued(run.pk) == RunStatus.RUNNING
        leave.set()
        assert sorted(results.result()).count(RunStatus.COMPLETED) >= 1
    assert performed == [1]
    assert jobs.run_queued(run.pk) == RunStatus.COMPLETED
    assert performed == [1]
    assert jobs.run_queued(999_999) == "unknown run"


@several_connections
def test_a_run_that_lost_its_place_writes_nothing_more(a_job: Any) -> None:
    def perform(context: jobs.RunContext) -> None:
        with context.transaction():
            context.count({"steps": 1})
        closed = Run.objects.filter(pk=context.run_id)
        elsewhere(lambda: closed.update(status=RunStatus.FAILED, completed_at=Now(), error_message="closed"))
        with context.transaction():
            AuditEntry.objects.create(run=context.run, actor="tests", action="late", subject_table="t", subject_key="1")
            context.count({"steps": 1})

    a_job(perform)
    run = jobs.execute(start().pk)
    assert (run.status, run.error_message, run.stats) == (RunStatus.FAILED, "closed", {"steps": 1})
    assert not AuditEntry.objects.exists()


def test_a_run_that_keeps_killing_its_worker_is_given_up(a_job: Any) -> None:
    performed = []
    a_job(lambda context: performed.append(1))
    run = start()
    Run.objects.filter(pk=run.pk).update(attempt=jobs.MAX_ATTEMPTS)
    ended = jobs.execute(run.pk)
    assert (ended.status, ended.attempt, performed) == (RunStatus.FAILED, jobs.MAX_ATTEMPTS + 1, [])
    assert str(jobs.MAX_ATTEMPTS) in ended.error_message


# --- the end ------------------------------------------------------------------------------------------


def test_a_failed_run_says_why_without_quoting_rows(a_job: Any, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(context: jobs.RunContext) -> None:
        raise jobs.JobError("The file is missing.")

    def break_a_rule(context: jobs.RunContext) -> None:
        with context.transaction():
            Run.objects.create(job_type="secret 987654321")

    a_job(refuse)
    assert jobs.execute(start().pk).error_message == "The file is missing."
    a_job(break_a_rule)
    run = jobs.execute(start().pk)
    assert "run_has_a_known_job" in run.error_message
    assert "987654321" not in run.error_message + caplog.text


def test_a_queued_run_of_a_job_that_no_longer_exists_fails_and_is_acknowledged(
    a_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(queue=True)
    monkeypatch.delitem(jobs._JOBS, JobType.DRIVERS_INDEX_REFRESH)
    assert jobs.run_queued(run.pk) == RunStatus.FAILED
    run.refresh_from_db()
    assert "drivers_index_refresh" in run.error_message


def test_an_interrupted_run_is_closed_and_the_interruption_goes_on(a_job: Any) -> None:
    def interrupt(context: jobs.RunContext) -> None:
        raise KeyboardInterrupt

    a_job(interrupt)
    run = start()
    with pytest.raises(KeyboardInterrupt):
        jobs.execute(run.pk)
    run.refresh_from_db()
    assert run.status == RunStatus.FAILED


def test_counts_of_a_step_that_failed_are_not_in_the_tally(a_job: Any) -> None:
    def perform(context: jobs.RunContext) -> None:
        with context.transaction():
            context.count({"rows": {"made": 2}})
        with context.transaction():
            context.count({"rows": {"made": 5}})
            raise jobs.JobError("stop")

    a_job(perform)
    assert jobs.execute(start().pk).stats == {"rows": {"made": 2}}


@pytest.mark.parametrize(
    ("is_lost", "fields"),
    [
        (True, {"attempt": 1, "backend_pid": 1, "backend_started_at": "2020-01-01T00:00Z"}),
        (False, {"attempt": 0}),
        (True, {"attempt": 0, "heartbeat_at": "2020-01-01T00:00Z"}),
    ],
    ids=["its connection is gone", "just started", "started long ago, never claimed"],
)
def test_a_run_without_a_worker_is_closed(a_job: Any, is_lost: bool, fields: dict[str, Any]) -> None:
    run = start()
    Run.objects.filter(pk=run.pk).update(**fields)
    assert jobs.close_lost_runs() == ([run.pk] if is_lost else [])
    run.refresh_from_db()
    assert run.status == (RunStatus.FAILED if is_lost else RunStatus.RUNNING)
    if is_lost:
        assert start().pk > run.pk


def test_a_run_that_waits_in_the_queue_is_not_lost(a_job: Any) -> None:
    run = start(queue=True)
    Run.objects.filter(pk=run.pk).update(heartbeat_at="2020-01-01T00:00Z")
    assert jobs.close_lost_runs() == []
    OrmQ.objects.all().delete()
    assert jobs.close_lost_runs() == [run.pk]


# --- plans --------------------------------------------------------------------------------------------


def some_people() -> None:
    for name in (factories.JUAN, factories.ROSA, factories.PEDRO):
        factories.a_recruited_driver(name)
        factories.a_lead_known_by_its_car(name)
    phone = factories.a_phone(9)
    factories.a_driver(phone=phone)
    for _number in range(3):
        factories.a_registration(phone=phone)
    factories.a_registration("NADIE CONOCIDO AQUI")
    factories.refresh()


def undone(function: Callable[[], Any]) -> Any:
    """Return what it returns, and leave the database as it was."""
    before = transaction.savepoint()
    result = function()
    transaction.savepoint_rollback(before)
    return result


def matched() -> tuple[dict[str, Any], str]:
    return factories.run_job(JobType.IDENTITY_RUN), factories.state_hash()


def test_chunks_of_one_and_of_a_thousand_give_the_same(settings: Any) -> None:
    some_people()
    settings.CHUNK_SIZE = 1000
    large = undone(matched)
    settings.CHUNK_SIZE = 1
    assert matched() == large


def test_a_dry_run_has_the_numbers_of_the_run_and_changes_nothing() -> None:
    some_people()
    before = factories.state_hash()
    dry = factories.run_job(JobType.IDENTITY_RUN, dry_run=True)
    assert (factories.state_hash(), AuditEntry.objects.count()) == (before, 0)
    assert not Run.objects.latest("pk").has_plan
    assert dry == factories.run_job(JobType.IDENTITY_RUN)


@pytest.mark.slow
def test_a_limit_takes_that_many_and_the_next_run_takes_the_rest() -> None:
    some_people()
    full = undone(lambda: (matched(), factories.state_facts()))[1]
    assert factories.run_job(JobType.IDENTITY_RUN, limit=2)["scouting_daily"]["processed"] <= 2
    factories.a_day_passes()
    while factories.changes(factories.run_job(JobType.IDENTITY_RUN, limit=2)):
        factories.a_day_passes()
    assert factories.state_facts() == full


@pytest.mark.parametrize("place", ["picked", "effected", "committed"])
@pytest.mark.parametrize("number", [1, 3])
def test_the_next_run_finishes_an_interrupted_plan(
    place: str, number: int, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    some_people()
    tally, state = undone(matched)
    settings.CHUNK_SIZE = 2

    def interrupt(name: str) -> None:
        if name == f"chunk:{number}:{place}":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(faults, "point", interrupt)
        jobs.perform(job_code=JobType.IDENTITY_RUN, actor="tests")
    interrupted = Run.objects.latest("pk")
    assert interrupted.has_plan
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    rest = factories.run_job(JobType.IDENTITY_RUN)
    assert factories.state_hash() == state
    assert interrupted.stats["audit"] + rest["audit"] == tally["audit"] == AuditEntry.objects.count()
    interrupted.refresh_from_db()
    assert not interrupted.has_plan


def test_a_plan_that_kills_every_run_is_given_up_and_made_anew(settings: Any) -> None:
    some_people()
    run = jobs.start(job_code=JobType.IDENTITY_RUN, actor="tests")
    Run.objects.filter(pk=run.pk).update(
        status=RunStatus.FAILED, completed_at=Now(), has_plan=True, attempt=jobs.MAX_ATTEMPTS, progress_total=9
    )
    with connection.cursor() as cursor:
        cursor.execute(f"create table ops.plan_{run.pk} (seq bigint, group_no bigint)")
    factories.run_job(JobType.IDENTITY_RUN)
    assert Link.objects.exists()
    assert str(run.pk) in Run.objects.latest("pk").log[0]
    run.refresh_from_db()
    assert not run.has_plan


@several_connections
@pytest.mark.slow
def test_several_connections_give_what_one_gives(settings: Any) -> None:
    some_people()
    settings.CHUNK_SIZE = 1
    settings.APPLY_CONNECTIONS = 1
    factories.run_job(JobType.IDENTITY_RUN)
    alone = factories.state_hash()
    audited = AuditEntry.objects.count()
    run = Run.objects.latest("pk")
    from ct4site.rollback import start_roll_back

    assert jobs.execute(start_roll_back(run_id=run.pk, actor="tests").pk).status == RunStatus.COMPLETED
    settings.APPLY_CONNECTIONS = 3
    tally = factories.run_job(JobType.IDENTITY_RUN)
    assert factories.state_hash() == alone
    assert tally["audit"] == audited
