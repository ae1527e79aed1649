"""Rows that a roll-back left alone are raised, and can be put back or accepted."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from ct4site import jobs
from ct4site.models import CaseKind, CaseStatus, ClosedBecause, JobType, ReviewCase, Run, RunStatus, UndoLeftover
from ct4site.review import cases, kinds, leftovers
from ct4site.review.kinds import Unacceptable
from ct4site.rollback import start_roll_back
from identity.models import Link, Person
from tests import factories
from tests.factories import PEDRO, Record
from tests.reviewers import case_of, decided, everything, is_open, previewed, refresh, taken_back

pytestmark = pytest.mark.django_db

KIND = CaseKind.NOT_RESTORED


def match() -> int:
    factories.match()
    return int(Run.objects.filter(job_type=JobType.IDENTITY_RUN).latest("pk").pk)


def roll_back(run_id: int, *, dry_run: bool = False) -> Run:
    run = jobs.execute(start_roll_back(run_id=run_id, actor="tests", dry_run=dry_run).pk)
    assert run.status == RunStatus.COMPLETED, run.error_message
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    return run


def a_person_of_two_runs() -> tuple[int, int, Record]:
    """A registration linked by a first run, and a lead of the same driver by a second one; both runs, and the former."""
    driver, first = factories.a_recruited_driver(PEDRO)
    former = match()
    factories.a_migration(driver)
    latter = match()
    return former, latter, first


def left() -> list[ReviewCase]:
    return list(ReviewCase.objects.filter(kind=KIND, status=CaseStatus.OPEN))


def outcomes(case: ReviewCase) -> list[str]:
    _run, table, key = leftovers.subject_of(case)
    found = UndoLeftover.objects.filter(subject_table=table, subject_key=key).order_by("id")
    return list(found.values_list("outcome", flat=True))


def a_case() -> tuple[ReviewCase, int, Record]:
    """The case of a link which stayed because newer work stands on its person; the run of that work, the record."""
    former, latter, record = a_person_of_two_runs()
    roll_back(former)
    refresh()
    link = factories.link_of(record)
    assert link is not None
    return case_of(KIND, f"{former}:identity_links:{link.pk}"), latter, record


def test_a_row_that_a_roll_back_left_is_raised_with_its_reason() -> None:
    case, _latter, record = a_case()
    link = factories.link_of(record)
    assert link is not None
    assert (case.person_key, case.raised_by) == (link.person_id, "person_used_since")
    kind = kinds.kind_of(case)
    assert kind.why(case) == kinds.cause_label(case) == str(leftovers.WHY["person_used_since"])
    assert "identity_links" in kind.title(case)
    assert [len(section.rows) > 0 for section in kind.evidence(case)] == [True, True]


def test_a_dry_run_leaves_no_line() -> None:
    former, _latter, _record = a_person_of_two_runs()
    roll_back(former, dry_run=True)
    assert not UndoLeftover.objects.exists()


def test_a_roll_back_that_restores_everything_raises_nothing() -> None:
    _former, latter, _record = a_person_of_two_runs()
    roll_back(latter)
    refresh()
    assert not UndoLeftover.objects.exists()
    assert not left()


def test_trying_again_says_what_stands_in_the_way() -> None:
    case, _latter, _record = a_case()
    with pytest.raises(Unacceptable) as refused:
        previewed(case, "try_again")
    assert str(leftovers.WHY["person_used_since"]) in str(refused.value)


@pytest.mark.slow
def test_trying_again_puts_the_person_back_when_the_way_is_free() -> None:
    case, latter, record = a_case()
    roll_back(latter)

    decided(case, "try_again")

    assert factories.link_of(record) is None
    assert not Person.objects.filter(pk=case.person_key).exists()
    assert not left()


@pytest.mark.slow
def test_trying_again_touches_only_the_person_asked_for() -> None:
    other_driver, other = factories.a_recruited_driver(factories.JUAN)
    case, latter, record = a_case()
    factories.a_migration(other_driver)
    match()
    roll_back(latter)
    decided(case, "try_again")
    assert factories.link_of(record) is None
    assert factories.link_of(other) is not None


def of_identity() -> dict[Any, Any]:
    """Rows of identity; the ledger follows them."""
    return {key: row for key, row in everything().items() if key[0].startswith("identity_")}


@pytest.mark.slow
def test_taking_back_a_try_raises_the_row_again() -> None:
    case, latter, record = a_case()
    roll_back(latter)
    before = of_identity()
    decision = decided(case, "try_again")

    reversal = taken_back(decision)

    assert of_identity() == before
    assert factories.link_of(record) is not None
    assert is_open(KIND, case.subject_key)
    taken_back(reversal)
    assert factories.link_of(record) is None
    assert not is_open(KIND, case.subject_key)


@pytest.mark.slow
def test_a_later_roll_back_of_the_run_closes_the_case() -> None:
    case, latter, record = a_case()
    roll_back(latter)
    roll_back(leftovers.subject_of(case)[0])
    assert factories.link_of(record) is None
    refresh()
    case.refresh_from_db()
    assert (case.status, case.closed_because) == (CaseStatus.CLOSED, ClosedBecause.CAUSE_GONE)


@pytest.mark.slow
def test_what_was_accepted_is_not_raised_again() -> None:
    case, _latter, _record = a_case()
    before = everything()

    decision = decided(case, "accept")

    assert everything() == before
    assert outcomes(case)[-1] == "accepted"
    assert [refresh()["opened"] for _ in range(10)] == [0] * 10
    assert not is_open(KIND, case.subject_key)
    taken_back(decision)
    assert outcomes(case)[-2:] == ["accepted", "person_used_since"]
    assert is_open(KIND, case.subject_key)


@pytest.mark.slow
def test_a_roll_back_asked_for_again_raises_what_was_accepted() -> None:
    case, _latter, _record = a_case()
    decided(case, "accept")
    roll_back(leftovers.subject_of(case)[0])
    refresh()
    assert is_open(KIND, case.subject_key)


def test_a_row_that_only_followed_its_person_is_no_question_of_its_own() -> None:
    driver, record = factories.a_recruited_driver(PEDRO)
    run = match()
    link = factories.link_of(record)
    assert link is not None
    Link.objects.filter(pk=link.pk).update(match_score=1)
    roll_back(run)
    refresh()
    assert [case.subject_key for case in left()] == [f"{run}:identity_links:{link.pk}"]
    assert UndoLeftover.objects.filter(outcome="kept_with_person").exists()
    del driver


@pytest.mark.slow
def test_rows_left_for_the_same_reason_are_siblings() -> None:
    for number in range(3):
        driver, _record = factories.a_recruited_driver(factories.a_name(number))
        factories.a_driver(driver)
    former = match()
    Link.objects.filter(source_table="module_ct_scouting_daily").update(match_score=1)
    roll_back(former)
    refresh()
    first, *others = left()
    assert len(others) == 2
    assert set(cases.siblings(first)) == set(others)


def test_one_case_is_found_by_its_key_alone() -> None:
    case, _latter, _record = a_case()
    counted: dict[str, Any] = cases.refresh(case.kind, [case.subject_key])
    assert (counted["causes"], counted["opened"], counted["closed"]) == (1, 0, 0)
    assert cases.refresh(case.kind, ["7:identity_links:8"])["causes"] == 0


# --- the command ----------------------------------------------------------------------------------------


def refreshed_by_command(*flags: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("refresh_review_cases", "--json", *flags, stdout=out, stderr=io.StringIO())
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def test_the_command_opens_cases_and_a_dry_run_of_it_does_not() -> None:
    former, _latter, _record = a_person_of_two_runs()
    roll_back(former)
    tried = refreshed_by_command("--dry-run")
    assert tried["opened"] > 0
    assert not left()
    done = refreshed_by_command()
    assert (done["opened"], done["status"]) == (tried["opened"], "COMPLETED")
    assert len(left()) == done["opened"]
    assert [refreshed_by_command()[name] for name in ("opened", "changed", "closed")] == [0, 0, 0]


def test_the_command_hands_its_run_to_the_worker() -> None:
    assert refreshed_by_command("--queue")["status"] == "QUEUED"
    assert Run.objects.get(job_type=JobType.REVIEW_REFRESH).is_queued
