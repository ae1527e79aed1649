"""A job command is a thin door: one JSON line for programs, sentences for people, an honest exit code."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django_q.models import OrmQ

from ct4site import commands, jobs
from ct4site.models import JobType, Run, RunStatus
from tests import factories

pytestmark = pytest.mark.django_db


def call(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_json_is_one_line_on_stdout_and_the_rest_goes_to_stderr() -> None:
    factories.a_driver()
    out, err = call("refresh_drivers_index", "--json")
    (line,) = out.splitlines()
    told = json.loads(line)
    assert (told["status"], told["inserted"], told["vanished"], told["dry_run"]) == ("COMPLETED", 1, 0, False)
    assert "inserted: 1" in err
    assert "vanished: 0" in err


def test_without_json_stdout_stays_empty() -> None:
    assert call("refresh_drivers_index")[0] == ""


def test_a_dry_run_says_so_and_changes_nothing() -> None:
    factories.a_recruited_driver()
    call("refresh_drivers_index")
    before = factories.state_hash()
    out, _err = call("run_identity", "--dry-run", "--json")
    told = json.loads(out)
    assert (told["dry_run"], told["persons_created"]) == (True, 1)
    assert factories.state_hash() == before
    assert json.loads(call("run_identity", "--json")[0])["persons_created"] == 1


def test_a_queued_run_is_handed_over_and_not_performed() -> None:
    out, _err = call("run_identity", "--queue", "--json", "--limit", "3")
    told = json.loads(out)
    run = Run.objects.get(pk=told["run_id"])
    assert (told["status"], run.attempt, run.parameters, OrmQ.objects.count()) == ("QUEUED", 0, {"limit": 3}, 1)
    assert jobs.run_queued(run.pk) == RunStatus.COMPLETED


def test_a_failed_run_ends_the_command_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(context: jobs.RunContext) -> None:
        raise jobs.JobError("The drivers feed is empty.")

    job = jobs.Job(JobType.DRIVERS_INDEX_REFRESH, refuse, "test", frozenset(), True)
    monkeypatch.setitem(jobs._JOBS, JobType.DRIVERS_INDEX_REFRESH, job)
    out = io.StringIO()
    with pytest.raises(CommandError, match=r"The drivers feed is empty\.") as failure:
        call_command("refresh_drivers_index", "--json", stdout=out, stderr=io.StringIO())
    assert failure.value.returncode == 1
    assert json.loads(out.getvalue())["status"] == "FAILED"


def test_a_command_beside_a_running_one_is_refused() -> None:
    running = jobs.start(job_code=JobType.IDENTITY_RUN, actor="tests")
    with pytest.raises(CommandError, match=str(running.pk)):
        call("run_identity")


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--limit", "-1"], ["--limit", "x"], ["--date-from", "soon"]])
def test_an_unusable_argument_starts_nothing(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call("run_identity", *arguments)
    assert not Run.objects.exists()


def test_nested_counts_are_shown_flat_with_their_zeros() -> None:
    assert commands.flatten({"a": 1, "b": {"c": 0, "d": {"e": 2}}}) == [("a", 1), ("b.c", 0), ("b.d.e", 2)]
