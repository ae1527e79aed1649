"""The commands of recovery as an operator calls them: limits, filters, slips, JSON, exit codes (RB2, RB4)."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ct4site.models import JobType, Run, RunStatus
from recovery.models import MatchingJob
from tests.factories import JUAN, ROSA, a_driver, a_lead, a_phone, refresh

pytestmark = pytest.mark.django_db

PHONE = a_phone(850)
RETRY, IMPACT = "retry_identity_matching", "cabinet_recovery_impact"


def told(name: str, *arguments: Any) -> dict[str, Any]:
    """Call a command with --json; return what it prints."""
    out = io.StringIO()
    call_command(name, *arguments, "--json", stdout=out, stderr=io.StringIO())
    (line,) = out.getvalue().splitlines()
    return dict(json.loads(line))


def test_the_limit_is_the_first_word_as_in_the_runbooks() -> None:
    a_driver(JUAN, phone=PHONE)
    a_lead(JUAN, phone=PHONE)
    a_lead(ROSA)
    refresh()
    tally = told(RETRY, "1", "--gap-reason", "no_identity", "--risk-level", "high", "--date-from", "2026-01-01", "--date-to", "2026-02-01")  # fmt: skip
    assert (tally["status"], tally["matched"] + tally["pending"], tally["errors"]) == ("COMPLETED", 1, [])
    assert told(IMPACT, "5")["processed"] == 0
    parameters = Run.objects.filter(job_type=JobType.GAP_RECOVERY).latest("pk").parameters
    assert parameters == {
        "limit": 1, "gap_reason": "no_identity", "risk_level": "high", "date_from": "2026-01-01",
        "date_to": "2026-02-01",
    }  # fmt: skip


def test_a_dry_run_says_so_and_leaves_nothing() -> None:
    a_lead(JUAN)
    tally = told(RETRY, "--dry-run")
    assert (tally["dry_run"], tally["pending"]) == (True, 1)
    assert not MatchingJob.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["0"], "0 no es un número entero desde 1"),
        (["-3"], "-3"),
        (["muchos"], "muchos no es un número entero desde 1"),
        (["--risk-level", "urgent"], "urgent"),
        (["--gap-reason", "resolved"], "resolved"),
        (["--date-from", "31/01/2026"], "31/01/2026 no es un día"),
    ],
)
def test_a_slip_is_named_and_starts_nothing(arguments: list[str], named: str) -> None:
    with pytest.raises(CommandError, match=named):
        call_command(RETRY, *arguments)
    assert not Run.objects.exists()


@pytest.mark.parametrize("name", [RETRY, IMPACT])
def test_a_run_that_is_at_work_is_not_started_twice(name: str) -> None:
    code = JobType.GAP_RECOVERY if name == RETRY else JobType.RECOVERY_IMPACT
    Run.objects.create(job_type=code, actor="tests", status=RunStatus.RUNNING)
    with pytest.raises(CommandError, match="ya está en curso"):
        call_command(name)


@pytest.mark.parametrize("name", [RETRY, IMPACT])
def test_it_can_be_left_to_the_worker(name: str) -> None:
    tally = told(name, "--queue")
    assert tally["status"] == "QUEUED"
    assert Run.objects.get(pk=tally["run_id"]).is_queued
