"""When the attribution of scouts is well, needs attention, or fails (Q25)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from attribution.health import Thresholds, health, percent, standing
from ct4site.models import JobType, Run, RunStatus
from tests.attribution.stories import TODAY, a_day, a_run

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
HOUR, SECOND = dt.timedelta(hours=1), dt.timedelta(seconds=1)
WELL: dict[str, Any] = {
    "total_persons": 1000, "pct_satisfactory": 95.0, "conflicts": 0, "refreshed_at": NOW - HOUR, "last_refresh_failed": False,
}  # fmt: skip


def judged(**given: Any) -> tuple[str, dict[str, str]]:
    """The status, and each reason with its own."""
    found = health(**WELL | given, now=NOW)
    return str(found.status), {reason.code: str(reason.status) for reason in found.reasons}


def test_what_is_well_needs_no_reason():
    assert judged() == ("OK", {})


@pytest.mark.parametrize(
    ("given", "reason", "status"),
    [
        ({"pct_satisfactory": 100.0}, "", "OK"),
        ({"pct_satisfactory": 80.01}, "", "OK"),
        ({"pct_satisfactory": 80.0}, "pct_low", "WARN"),
        ({"pct_satisfactory": 50.0}, "pct_low", "WARN"),
        ({"pct_satisfactory": 49.99}, "pct_low", "FAIL"),
        ({"pct_satisfactory": 0.0}, "pct_low", "FAIL"),
        ({"pct_satisfactory": 0.0, "total_persons": 0}, "", "OK"),
        ({"conflicts": 49}, "", "OK"),
        ({"conflicts": 50}, "conflicts_many", "WARN"),
        ({"conflicts": 100}, "conflicts_many", "WARN"),
        ({"conflicts": 101}, "conflicts_many", "FAIL"),
        ({"refreshed_at": NOW - 5 * HOUR}, "", "OK"),
        ({"refreshed_at": NOW - 5 * HOUR - SECOND}, "refresh_late", "WARN"),
        ({"refreshed_at": NOW - 12 * HOUR}, "refresh_late", "WARN"),
        ({"refreshed_at": NOW - 12 * HOUR - SECOND}, "refresh_late", "FAIL"),
        ({"refreshed_at": NOW + HOUR}, "", "OK"),
        ({"refreshed_at": None}, "never_refreshed", "FAIL"),
        ({"last_refresh_failed": True}, "refresh_failed", "FAIL"),
    ],
)
def test_each_bound_is_on_the_side_that_was_agreed(given, reason, status):
    assert judged(**given) == (status, {reason: status} if reason else {})


def test_the_worst_reason_decides_and_every_reason_is_named():
    assert judged(pct_satisfactory=60.0, conflicts=101, refreshed_at=NOW - 6 * HOUR, last_refresh_failed=True) == (
        "FAIL",
        {"pct_low": "WARN", "conflicts_many": "FAIL", "refresh_failed": "FAIL", "refresh_late": "WARN"},
    )


def test_the_bounds_can_be_set():
    strict = Thresholds(pct_ok=99, pct_fail=98, conflicts_warn=1, conflicts_fail=1, late=SECOND, stopped=HOUR * 2)
    found = health(**WELL | {"conflicts": 1}, now=NOW, thresholds=strict)
    assert [(reason.code, str(reason.status)) for reason in found.reasons] == [
        ("pct_low", "FAIL"), ("conflicts_many", "WARN"), ("refresh_late", "WARN"),
    ]  # fmt: skip


@pytest.mark.django_db
class TestStanding:
    def test_before_the_first_refresh_nothing_is_well(self):
        found = standing(NOW)
        assert (found.day, found.last_run, found.pct_satisfactory) == (None, None, 0.0)
        assert [reason.code for reason in found.health.reasons] == ["never_refreshed"]

    def test_it_is_the_newest_day_and_the_last_run_that_ended(self):
        a_day(TODAY - dt.timedelta(days=1), total_persons=10, satisfactory_count=1, computed_at=NOW - 24 * HOUR)
        newest = a_day(TODAY, computed_at=NOW - HOUR)
        run = a_run()
        a_run(JobType.PROCESS_LEDGER, RunStatus.FAILED)
        a_run(status=RunStatus.FAILED, dry_run=True)
        Run.objects.create(job_type=JobType.SCOUT_REFRESH, attempt=1)
        found = standing(NOW)
        assert (found.day, found.last_run, str(found.health.status)) == (newest, run, "OK")
        assert found.pct_satisfactory == 90.0

    def test_a_refresh_that_failed_after_a_good_one_is_told(self):
        a_day(computed_at=NOW - HOUR)
        a_run()
        a_run(status=RunStatus.FAILED)
        assert [reason.code for reason in standing(NOW).health.reasons] == ["refresh_failed"]

    def test_conflicts_of_both_kinds_count(self):
        a_day(computed_at=NOW - HOUR, conflicts_count=101, open_conflicts_count=0)
        assert [reason.code for reason in standing(NOW).health.reasons] == ["conflicts_many"]

    def test_a_day_of_an_empty_installation_is_zero_percent_and_well(self):
        day = a_day(total_persons=0, satisfactory_count=0, missing_count=0, conflicts_count=0, computed_at=NOW - HOUR)
        assert percent(day) == 0.0
        assert str(standing(NOW).health.status) == "OK"
