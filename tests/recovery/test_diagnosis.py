"""What the diagnosis of the identity gap says, and when recovery is well (RB4, domain.md 7.7)."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.models import F
from django.utils import translation

from ct4site.models import JobType, Run, RunStatus
from identity.models import CabinetLead, Link
from recovery.diagnosis import TITLES, diagnose
from recovery.health import Signs, alerts, freshness, recovery_state, standing
from recovery.models import GapDay, MatchingAttempt, MatchingJob, RecoveredLead
from tests.collection.stories import a_cabinet_lead, a_person, ago, fresh_name
from tests.factories import (
    a_day_passes,
    a_driver,
    a_lead,
    an_origin,
    match,
    retry_leads,
    rolled_back,
    run_job,
)

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
HOUR, SECOND = dt.timedelta(hours=1), dt.timedelta(seconds=1)


# --- health -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last_run_at", "expected"),
    [
        (None, "NUNCA"),
        (NOW + HOUR, "OK"),
        (NOW, "OK"),
        (NOW - 24 * HOUR, "OK"),
        (NOW - 24 * HOUR - SECOND, "STALE"),
    ],
)
def test_the_job_is_fresh_for_a_day(last_run_at: dt.datetime | None, expected: str) -> None:
    assert freshness(Signs(last_run_at=last_run_at), NOW) == expected


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        (Signs(matched_24h=1, unresolved=3, last_run_at=NOW), "ACTIVO"),
        (Signs(matched_24h=1), "ACTIVO"),
        (Signs(unresolved=3), "NO CONFIGURADO"),
        (Signs(), "NO CONFIGURADO"),
        (Signs(unresolved=1, last_run_at=NOW), "SIN SEÑAL"),
        (Signs(last_run_at=NOW), "COMPLETO"),
        (Signs(last_run_at=NOW - 500 * HOUR), "COMPLETO"),
    ],
)
def test_the_state_is_the_first_that_holds(signs: Signs, expected: str) -> None:
    assert recovery_state(signs) == expected


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        (Signs(), ["never_run"]),
        (Signs(unresolved=9), ["never_run"]),
        (Signs(unresolved=9, last_run_failed=True), ["never_run", "run_failed"]),
        (Signs(first_run_at=NOW, last_run_at=NOW, unresolved=9), []),
        (Signs(first_run_at=NOW, last_run_at=NOW, last_run_failed=True), ["run_failed"]),
        (Signs(first_run_at=NOW - 24 * HOUR, last_run_at=NOW - 24 * HOUR, unresolved=9), []),
        (Signs(first_run_at=NOW - 25 * HOUR, last_run_at=NOW - 25 * HOUR), ["run_late"]),
        # nothing matched: since the last match, or since the first run
        (Signs(first_run_at=NOW - 48 * HOUR, last_run_at=NOW, unresolved=9), []),
        (Signs(first_run_at=NOW - 48 * HOUR - SECOND, last_run_at=NOW, unresolved=9), ["nothing_matched"]),
        (Signs(first_run_at=NOW - 99 * HOUR, last_run_at=NOW), []),
        (Signs(NOW - 99 * HOUR, NOW, last_matched_at=NOW - 48 * HOUR, unresolved=9), []),
        (Signs(NOW - 99 * HOUR, NOW, last_matched_at=NOW - 49 * HOUR, unresolved=9), ["nothing_matched"]),
        (Signs(NOW - 99 * HOUR, NOW, last_matched_at=NOW - 49 * HOUR), []),
        (
            Signs(NOW - 99 * HOUR, NOW - 50 * HOUR, True, NOW - 50 * HOUR, unresolved=9),
            ["run_late", "run_failed", "nothing_matched"],
        ),
    ],
)
def test_the_job_raises_its_alerts_after_the_agreed_hours(signs: Signs, expected: list[str]) -> None:
    assert [alert.code for alert in alerts(signs, NOW)] == expected
    assert all(str(alert.text).endswith(".") for alert in alerts(signs, NOW))


def a_run_of_the_job(hours_ago: int, status: str = RunStatus.COMPLETED, *, dry_run: bool = False) -> Run:
    ended = database_clock() - hours_ago * HOUR
    return Run.objects.create(
        job_type=JobType.GAP_RECOVERY, status=status, attempt=1, started_at=ended, completed_at=ended, dry_run=dry_run
    )


def database_clock() -> dt.datetime:
    with connection.cursor() as cursor:
        cursor.execute("select now()")
        found: dt.datetime = cursor.fetchone()[0]
    return found


@pytest.mark.django_db
def test_the_standing_is_told_by_the_runs_and_the_last_stored_day() -> None:
    assert (standing().day, standing().freshness, standing().state, standing().pct_unresolved) == (
        None, "NUNCA", "NO CONFIGURADO", 0.0,
    )  # fmt: skip
    a_lead(on=ago(9))
    a_lead(on=ago(9))
    an_account_less = a_person()
    an_origin(an_account_less, a_cabinet_lead(an_account_less, ago(9)).source_pk)
    match()
    retry_leads()
    found = standing(database_clock())
    assert (found.freshness, found.state, found.alerts, found.pct_unresolved) == ("OK", "SIN SEÑAL", (), 66.67)
    late = standing(database_clock() + 49 * HOUR)
    assert (late.freshness, [alert.code for alert in late.alerts]) == ("STALE", ["run_late", "nothing_matched"])


@pytest.mark.django_db
def test_the_standing_costs_the_same_with_many_leads(django_assert_num_queries: Any) -> None:
    a_run_of_the_job(1)
    with django_assert_num_queries(5):
        standing()


# --- the diagnosis ------------------------------------------------------------------------------------


def the_world() -> None:
    """Six dated leads and one without: three tried and open, two matched again two days apart, one with a wrong origin."""
    names = [fresh_name(), fresh_name()]
    for number, name in enumerate(names, 1):
        a_lead(name, plate=f"ABA{number}11", on=ago(20))
    a_lead(fresh_name(), plate="ABA444", on=ago(9))
    a_lead(fresh_name(), plate="ABA555", on=ago(3))
    a_lead(None, on=ago(1))
    match()
    a_driver(names[0], plate="ABA111", hired=ago(20))
    retry_leads()
    for _day in range(2):
        a_day_passes()
    MatchingJob.objects.update(last_attempt_at=F("last_attempt_at") - 48 * HOUR)
    RecoveredLead.objects.update(first_recovered_at=F("first_recovered_at") - 48 * HOUR)
    yesterday = GapDay.objects.get()
    GapDay.objects.filter(pk=yesterday.pk).update(snapshot_date=ago(2), taken_at=yesterday.taken_at - 48 * HOUR)
    a_driver(names[1], plate="ABA211", hired=ago(20))
    retry_leads()
    person = a_person()
    a_cabinet_lead(person, ago(5))
    an_origin(person, "no such lead")
    a_lead(None, on=None)


@pytest.mark.django_db
def test_every_section_says_what_is_known_of_a_small_world() -> None:
    the_world()
    told = diagnose()
    assert list(told) == list(TITLES)
    moment = told["metrics"].pop("taken_at")
    assert dt.datetime.fromisoformat(moment) == database_clock()
    assert told["metrics"] == {
        "total_leads": 6, "unresolved": 4, "resolved": 2, "pct_unresolved": 66.67, "leads_without_date": 1,
    }  # fmt: skip
    assert told["breakdown"] == {
        "no_identity": {"high": 1, "medium": 1, "low": 1},
        "no_origin": {"high": 0, "medium": 0, "low": 0},
        "inconsistent_origin": {"high": 1, "medium": 0, "low": 0},
        "resolved": {"high": 0, "medium": 0, "low": 2},
    }
    ran = Run.objects.filter(job_type=JobType.GAP_RECOVERY)
    first, last = ran.earliest("pk").completed_at, ran.latest("pk").completed_at
    moments = {name: told["freshness"].pop(name) for name in ("first_run_at", "last_run_at", "last_matched_at")}
    assert {name: dt.datetime.fromisoformat(value) for name, value in moments.items()} == {
        "first_run_at": first, "last_run_at": last, "last_matched_at": MatchingJob.objects.filter(status="matched").latest("last_attempt_at").last_attempt_at,
    }  # fmt: skip
    assert told["freshness"] == {
        "last_run_failed": False, "jobs_24h": 1, "matched_24h": 1, "freshness": "OK", "state": "ACTIVO",
    }  # fmt: skip
    assert told["alerts"] == []
    assert told["fail_reasons"] == [
        {"reason": "NO_CANDIDATES", "leads": 2, "average_tries": 1.0, "most_tries": 1, "stuck": 0},
        {"reason": "MISSING_KEYS", "leads": 1, "average_tries": 1.0, "most_tries": 1, "stuck": 0},
    ]
    # Of the tries nothing was put back, they are append-only: five first ones, one again.
    assert told["volume_24h"] == {"tries": 6, "leads": 5, "matched": 2, "pending": 4, "failed": 0}
    assert told["links"] == {"links_24h": 1, "links_7d": 2, "recovered_24h": 1, "recovered_7d": 2}
    assert told["integrity"] == {"matched_without_link": 0, "links_without_origin": 0, "stuck": 0}
    assert told["evolution"] == {
        "day_before": str(ago(2)),
        "unresolved": {"before": 4, "now": 4, "change": 0},
        "no_identity": {"before": 4, "now": 3, "change": -1},
        "no_origin": {"before": 0, "now": 0, "change": 0},
        "inconsistent_origin": {"before": 0, "now": 1, "change": 1},
    }


@pytest.mark.django_db
def test_the_reasons_are_the_ten_most_frequent_with_those_that_are_stuck() -> None:
    tries = [1, 4, 5, 7]
    for number in range(12):
        leads = len(tries) if number == 11 else 1
        for which in range(leads):
            MatchingJob.objects.create(
                source_id=f"{number}-{which}", status="failed" if tries[which] >= 5 else "pending",
                attempt_count=tries[which], fail_reason=f"reason {number:02d}",
            )  # fmt: skip
    told = diagnose()
    assert [row["reason"] for row in told["fail_reasons"]] == [
        "reason 11", *(f"reason {number:02d}" for number in range(9))
    ]  # fmt: skip
    assert told["fail_reasons"][0] == {
        "reason": "reason 11", "leads": 4, "average_tries": 4.3, "most_tries": 7, "stuck": 2,
    }  # fmt: skip
    assert told["integrity"]["stuck"] == 2


@pytest.mark.django_db
def test_what_should_not_be_is_counted() -> None:
    person = a_person()
    a_cabinet_lead(person, ago(5))
    with rolled_back():
        with connection.cursor() as cursor:
            cursor.execute("set constraints all deferred")  # else the database refuses it on the spot
        MatchingJob.objects.create(source_id="nobody's", status="matched", attempt_count=9)
        assert diagnose()["integrity"] == {"matched_without_link": 1, "links_without_origin": 1, "stuck": 0}
    an_origin(person, "4711", "migration")
    assert diagnose()["integrity"] == {"matched_without_link": 0, "links_without_origin": 0, "stuck": 0}


@pytest.mark.django_db
def test_a_run_with_nothing_to_do_is_fresh_and_a_dry_run_is_none() -> None:
    run_job(JobType.GAP_RECOVERY, dry_run=True)
    run_job(JobType.RECOVERY_IMPACT)
    assert (diagnose()["freshness"]["freshness"], diagnose()["alerts"]) == ("NUNCA", ["never_run"])
    retry_leads()
    told = diagnose()
    assert (told["freshness"]["freshness"], told["freshness"]["state"]) == ("OK", "COMPLETO")
    assert (told["freshness"]["jobs_24h"], told["alerts"]) == (0, [])


@pytest.mark.django_db
def test_a_run_that_failed_does_not_make_the_job_fresh() -> None:
    a_lead(on=ago(9))
    a_run_of_the_job(60)
    a_run_of_the_job(1, RunStatus.FAILED)
    a_run_of_the_job(0, dry_run=True)
    told = diagnose()
    assert told["freshness"]["last_run_failed"] is True
    assert (told["freshness"]["freshness"], told["freshness"]["state"]) == ("STALE", "SIN SEÑAL")
    assert told["alerts"] == ["run_late", "run_failed", "nothing_matched"]
    signs = standing(database_clock()).signs
    assert (signs.first_run_at, signs.last_run_at, signs.last_run_failed) == (
        *(database_clock() - 60 * HOUR,) * 2, True,
    )  # fmt: skip


@pytest.mark.django_db
def test_the_evolution_compares_with_a_day_before_never_with_today() -> None:
    a_lead(on=ago(9))
    retry_leads()
    nothing = {"before": None, "change": None}
    assert diagnose()["evolution"] == {
        "day_before": None, "unresolved": {"now": 1} | nothing, "no_identity": {"now": 1} | nothing,
        "no_origin": {"now": 0} | nothing, "inconsistent_origin": {"now": 0} | nothing,
    }  # fmt: skip


# --- the command --------------------------------------------------------------------------------------


def called(*arguments: str) -> str:
    out = io.StringIO()
    call_command("diagnose_identity_gap", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_the_command_changes_nothing_and_says_the_same_in_words_and_json() -> None:
    the_world()
    tables = (MatchingJob, MatchingAttempt, RecoveredLead, GapDay, Run, Link, CabinetLead)
    before = [list(table.objects.order_by("pk").values()) for table in tables]
    figures = json.loads(called("--json"))
    assert sorted(figures) == sorted(TITLES)
    with translation.override("en"):
        told = called()
    for line in (
        "Identity gap", "  unresolved, percent: 66.67", "  Nobody (no_identity): High 1, Medium 1, Low 1",
        "  freshness: Up to date (OK)", "  state: Active: leads are being recovered (ACTIVO)",
        "  the last run failed: no", "  leads without a date, in no other figure: 1",
        "  No driver with that key (NO_CANDIDATES): 2 leads, 1.0 tries on average, 1 at most, 0 stuck",
        f"  day compared with: {ago(2)}", "  without person: 4 → 3 (-1)", "  wrong origin: 0 → 1 (+1)",
    ):  # fmt: skip
        assert f"{line}\n" in told
    assert [list(table.objects.order_by("pk").values()) for table in tables] == before


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["es", "en"])
def test_the_command_speaks_the_language_of_the_operator(language: str) -> None:
    the_world()
    a_run_of_the_job(0, RunStatus.FAILED)
    with translation.override(language):
        told = called()
        titles = [str(title) for title in TITLES.values()]
    assert [line for line in told.splitlines() if not line.startswith("  ")] == titles
    in_spanish = "  estado: Activo: se recuperan leads (ACTIVO)\n" in told
    assert in_spanish == (language == "es") == ("run_failed: La última ejecución del trabajo falló." in told)
    assert "None" not in told


@pytest.mark.django_db
def test_the_diagnosis_of_an_empty_database_is_all_zeros() -> None:
    told = json.loads(called("--json"))
    assert told["metrics"] | {"taken_at": ""} == {
        "taken_at": "", "total_leads": 0, "unresolved": 0, "resolved": 0, "pct_unresolved": 0, "leads_without_date": 0,
    }  # fmt: skip
    assert {count for risks in told["breakdown"].values() for count in risks.values()} == {0}
    assert (told["fail_reasons"], told["alerts"]) == ([], ["never_run"])
    assert {*told["volume_24h"].values(), *told["links"].values(), *told["integrity"].values()} == {0}
    with translation.override("en"):
        assert "  last completed run (Lima): –\n" in called()


@pytest.mark.django_db
def test_a_database_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_args: Any) -> None:
        raise OperationalError

    monkeypatch.setattr("recovery.management.commands.diagnose_identity_gap.diagnose", gone)
    with translation.override("en"), pytest.raises(CommandError, match="cannot be reached"):
        called()
