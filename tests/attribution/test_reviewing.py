"""A conflict of scouts is decided by a person, stays decided, and is open again when another scout appears (6.7, F30)."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from attribution.following import follow
from attribution.models import LedgerEntry, PersonScout, ScoutConflict
from ct4site import invariants
from ct4site.models import AuditEntry, CaseKind, ClosedBecause, JobType, Proposal, ReviewCase
from ct4site.review import approving, cases, deciding, kinds
from ct4site.review.deciding import Outcome, Wish
from ct4site.review.kinds import Unacceptable
from identity.models import Person
from tests.attribution.stories import a_claimed_person, a_registration_of, a_run, a_scout, an_entry, events_of
from tests.attribution.test_following import a_driving_recruit, registered, settled_world
from tests.factories import changes, run_job
from tests.reviewers import a_reviewer, case_of, decided, everything, is_open, previewed, refresh, taken_back

pytestmark = pytest.mark.django_db

KIND = CaseKind.CONFLICT
JOBS = (
    JobType.PROCESS_LEDGER, JobType.SCOUT_REFRESH, JobType.LEDGER_BACKFILL, JobType.EVENTS_BACKFILL,
    JobType.COLLECTION_REFRESH, JobType.REVIEW_REFRESH,
)  # fmt: skip


def a_conflict(*events: tuple[str, int | None, int]) -> tuple[Person, ReviewCase]:
    """A person whom two scouts registered within a week, and its case."""
    person = a_claimed_person(*(events or (("scouting", 7, 1), ("scouting", 9, 5))))
    run_job(JobType.PROCESS_LEDGER)
    refresh()
    return person, case_of(KIND, person.pk)


def entry(person: Person) -> LedgerEntry:
    return LedgerEntry.objects.get(pk=person.pk)


def all_jobs() -> None:
    for job in JOBS:
        run_job(job)


def complaints() -> dict[str, int]:
    found = {finding.name: finding.count for finding in invariants.check() if finding.count}
    found.pop("chk_event_person_is_link_person", None)  # the stories' events have no records
    return found


def test_a_conflict_is_a_case_of_its_person() -> None:
    person, case = a_conflict()
    assert (case.person_key, case.raised_by) == (person.pk, "within_window")
    assert case.signature == "7,9|observational.lead_events"
    assert kinds.cause_label(case) != case.raised_by


def test_a_conflict_that_the_ledger_decided_long_ago_is_no_case() -> None:
    person = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 30))
    run_job(JobType.PROCESS_LEDGER)
    refresh()
    assert ScoutConflict.objects.get(pk=person.pk).conflict_type == "HISTORICAL"
    assert not is_open(KIND, person.pk)


def test_the_chosen_scout_gets_the_person() -> None:
    person, case = a_conflict()

    receipt = decided(case, "choose_scout", scout_id=7)

    found = entry(person)
    assert (found.attributed_scout_id, found.attribution_rule, found.decision_status, found.attributed_source) == (
        7, "RESOLVED_MANUAL_CONFLICT", "assigned", "scouting",
    )  # fmt: skip
    assert found.evidence_json == {
        "conflict_resolution": True,
        "conflict_resolution_date": timezone.localdate().isoformat(),
        "conflict_scout_ids": [7, 9],
        "resolved_scout_id": 7,
        "previous_rule": "C",
    }
    case.refresh_from_db()
    assert case.closed_because == ClosedBecause.DECIDED
    logged = AuditEntry.objects.get(run=receipt.run_id, action="decide_conflict")
    assert (logged.action, logged.actor, logged.person_key) == ("decide_conflict", a_reviewer().username, person.pk)
    assert "Seen with my own eyes" in logged.reason
    assert logged.before is not None and logged.after is not None
    assert (logged.before["attribution_rule"], logged.after["attributed_scout_id"]) == ("C", 7)
    assert not complaints()


def test_nobody_gets_the_person_when_a_person_says_so() -> None:
    person, case = a_conflict()
    decided(case, "no_scout")
    found = entry(person)
    assert (found.attributed_scout_id, found.attribution_rule, found.decision_status) == (
        None, "RESOLVED_MANUAL_CONFLICT", "unassigned",
    )  # fmt: skip
    assert found.evidence_json["resolved_scout_id"] is None
    all_jobs()
    # The events still name scouts, and settlement pays none of them.
    assert not PersonScout.objects.filter(person_key=person.pk, scout_id__isnull=False).exists()
    assert not complaints()


def test_a_person_whom_the_ledger_does_not_know_is_decided_too() -> None:
    person = a_claimed_person(("scouting", 7, 1), ("migration", 9, 5))
    refresh()
    decided(case_of(KIND, person.pk), "choose_scout", scout_id=9)
    found = entry(person)
    assert (found.attributed_scout_id, found.attributed_source) == (9, "fleet_migration")
    assert found.evidence_json["previous_rule"] is None


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)  # so many jobs in one transaction hold too many locks
def test_no_job_changes_what_a_person_decided() -> None:
    person, case = a_conflict()
    decided(case, "choose_scout", scout_id=9)
    other, case = a_conflict()
    decided(case, "no_scout")
    all_jobs()
    before = everything()
    for _number in range(10):
        all_jobs()
    assert everything() == before
    assert {entry(one).attribution_rule for one in (person, other)} == {"RESOLVED_MANUAL_CONFLICT"}
    assert not is_open(KIND, person.pk) and not is_open(KIND, other.pk)


@pytest.mark.parametrize("day", [6, 90])
@pytest.mark.parametrize("choice", [{"choice": "choose_scout", "scout_id": 9}, {"choice": "no_scout"}], ids=str)
@pytest.mark.slow
def test_a_new_scout_opens_the_conflict_again(choice: dict[str, Any], day: int) -> None:
    person, case = a_conflict()
    decided(case, **choice)
    before = entry(person)

    events_of(person, ("scouting", 11, day))
    all_jobs()

    assert entry(person).evidence_json == before.evidence_json
    again = case_of(KIND, person.pk)
    assert again.pk != case.pk
    assert again.raised_by == "scout_after_decision"
    decided(again, "choose_scout", scout_id=11)
    assert entry(person).evidence_json["conflict_scout_ids"] == [7, 9, 11]
    assert not is_open(KIND, person.pk)


def test_more_claims_of_scouts_decided_on_open_nothing() -> None:
    person, case = a_conflict()
    decided(case, "choose_scout", scout_id=9)
    events_of(person, ("scouting", 7, 40), ("migration", 9, 50))
    all_jobs()
    assert not is_open(KIND, person.pk)
    assert entry(person).attributed_scout_id == 9


@pytest.mark.slow
def test_taking_a_decision_back_restores_everything_and_opens_the_case() -> None:
    person, case = a_conflict()
    before = everything()
    decision = decided(case, "choose_scout", scout_id=9)
    reversal = taken_back(decision)
    assert everything() == before
    assert is_open(KIND, person.pk)
    taken_back(reversal)
    assert entry(person).attributed_scout_id == 9
    assert not is_open(KIND, person.pk)
    assert not complaints()


def test_taking_back_the_first_word_about_a_person_leaves_it_to_the_rules() -> None:
    person = a_claimed_person(("scouting", 7, 1), ("migration", 9, 5))
    refresh()
    taken_back(decided(case_of(KIND, person.pk), "no_scout"))
    assert entry(person).attribution_rule == "A_FLEET"


@pytest.mark.parametrize("target", [{"scout_id": 8}, {"scout_id": "7"}, {"scout_id": True}, {}], ids=str)
def test_a_scout_without_claim_cannot_be_chosen(target: dict[str, Any]) -> None:
    _person, case = a_conflict()
    with pytest.raises(Unacceptable):
        previewed(case, "choose_scout", **target)


def test_a_conflict_that_is_gone_cannot_be_decided() -> None:
    person, case = a_conflict()
    an = entry(person)
    LedgerEntry.objects.filter(pk=an.pk).update(
        attribution_rule="RESOLVED_MANUAL_CONFLICT", evidence_json={"conflict_scout_ids": [7, 9]}
    )
    with pytest.raises(Unacceptable):
        previewed(case, "no_scout")


def test_a_new_claim_while_somebody_looks_makes_it_another_question() -> None:
    person, case = a_conflict()
    refresh()
    version = case.version
    events_of(person, ("scouting", 11, 6))
    refresh()
    case.refresh_from_db()
    assert case.version == version + 1
    refresh()
    case.refresh_from_db()
    assert case.version == version + 1


def test_what_the_ledger_says_meanwhile_is_not_another_question() -> None:
    person, case = a_conflict()
    LedgerEntry.objects.filter(pk=person.pk).update(updated_at=timezone.now() + timezone.timedelta(days=1))
    refresh()
    case.refresh_from_db()
    assert case.version == 1


def test_the_form_offers_the_scouts_in_conflict() -> None:
    a_scout(7, "ROJAS ANA")
    _person, case = a_conflict()
    (choice,) = [found for found in kinds.kind_of(case).choices(case) if found.code == "choose_scout"]
    assert choice.form is not None
    form = choice.form({"scout_id": "9"}, case=case)
    assert [value for value, _label in form.fields["scout_id"].choices] == [7, 9]  # type: ignore[attr-defined]
    assert form.is_valid()
    assert form.target() == {"scout_id": 9}
    assert not choice.form({"scout_id": "8"}, case=case).is_valid()


def test_every_scout_is_a_candidate_with_a_sentence() -> None:
    a_scout(7, "ROJAS ANA")
    _person, case = a_conflict()
    first, second = kinds.kind_of(case).candidates(case)
    assert (first.choice, dict(first.target), dict(second.target)) == ("choose_scout", {"scout_id": 7}, {"scout_id": 9})
    assert "4 " in second.sentence
    assert first.sentence != second.sentence
    decided(case, first.choice, **first.target)


def test_the_page_of_a_case_costs_a_few_questions_however_many_there_are() -> None:
    person, case = a_conflict()
    a_registration_of(person, 7, 2)
    for number in range(20):
        a_claimed_person(("scouting", 20 + number, 1), ("scouting", 50 + number, 2))
    refresh()
    case.refresh_from_db()
    kind = kinds.kind_of(case)
    with CaptureQueriesContext(connection) as asked:
        assert kind.title(case) and kind.why(case)
        assert [section.title for section in kind.evidence(case)]
        assert kind.candidates(case) and kind.choices(case)
    assert len(asked) <= 20


def test_conflicts_of_the_same_scouts_are_siblings_decided_one_by_one() -> None:
    persons = [a_claimed_person(("scouting", 7, 1), ("scouting", 9, number)) for number in (2, 3, 4)]
    other = a_claimed_person(("scouting", 7, 1), ("scouting", 8, 2))
    run_job(JobType.PROCESS_LEDGER)
    refresh()
    first = case_of(KIND, persons[0].pk)
    assert {case.person_key for case in cases.siblings(first)} == {persons[1].pk, persons[2].pk}
    assert not cases.siblings(case_of(KIND, other.pk)).exists()
    decided(first, "choose_scout", scout_id=7)
    assert is_open(KIND, persons[1].pk) and is_open(KIND, persons[2].pk)


def test_a_case_is_found_by_its_person_alone() -> None:
    person, _case = a_conflict()
    a_conflict()
    with transaction.atomic():
        counted = cases.refresh(KIND, [str(person.pk)])
    assert (counted["causes"], counted["opened"]) == (1, 0)


# --- jobs while somebody holds the case ----------------------------------------------------------------


def test_the_ledger_waits_for_whoever_looks_at_the_case() -> None:
    person, case = a_conflict()
    assert cases.lease(case.pk, a_reviewer())
    events_of(person, ("migration", 9, 6))
    other = a_claimed_person(("scouting", 7, 1))

    tally = run_job(JobType.PROCESS_LEDGER)

    assert entry(person).evidence_json["counts"]["fleet_migration"] == 0
    assert entry(other).attributed_scout_id == 7
    assert tally["skipped_changed_since_plan"] == 1
    cases.release(case.pk, a_reviewer())
    assert run_job(JobType.PROCESS_LEDGER)["skipped_changed_since_plan"] == 0
    assert entry(person).evidence_json["counts"]["fleet_migration"] == 1
    assert not changes(run_job(JobType.PROCESS_LEDGER))


def test_what_follows_from_a_decision_waits_for_nobody() -> None:
    person, case = a_conflict()
    assert cases.lease(case.pk, a_reviewer("ben"))
    events_of(person, ("migration", 9, 6))
    run = a_run(JobType.REVIEW_DECISION, actor="ana")
    with transaction.atomic():
        follow(persons=[person.pk], run_id=run.pk, actor="ana")
    assert entry(person).evidence_json["counts"]["fleet_migration"] == 1


def test_the_backfill_waits_for_a_proposal() -> None:
    person = a_claimed_person(("scouting", 7, 1))
    an_entry(person, None, "B", attributed_source="cabinet")
    ReviewCase.objects.create(
        kind=CaseKind.UNMATCHED, subject_key="x:1", person_key=person.pk, due_on=timezone.localdate(), is_frozen=True
    )
    run_job(JobType.LEDGER_BACKFILL)
    assert entry(person).attributed_scout_id is None
    ReviewCase.objects.update(is_frozen=False)
    run_job(JobType.LEDGER_BACKFILL)
    assert entry(person).attributed_scout_id == 7


def test_giving_a_person_to_another_scout_after_one_was_settled_needs_a_second_person() -> None:
    recruit = a_driving_recruit(scout=7)
    settled_world()
    registered(recruit.person, 9, days_ago=44)
    refresh()
    run_job(JobType.PROCESS_LEDGER)
    case = case_of(KIND, recruit.person)
    reviewer, approver = (User.objects.create_superuser(name) for name in ("lola", "eva"))
    asked = {
        "case_id": case.pk,
        "wish": Wish("choose_scout", {"scout_id": 9}, "documents"),
        "actor": reviewer,
        "expected_version": case.version,
    }
    seen = deciding.preview(**asked)
    assert seen.needs_approval
    again = deciding.decide(**asked, shown=seen.digest)
    assert isinstance(again, Outcome)
    assert (again.needs_approval, again.changed_since) == (True, False)
    proposal = approving.decide_or_propose(**asked, shown=seen.digest)
    assert isinstance(proposal, Proposal)
    approving.answer(proposal_id=proposal.pk, approver=approver, approve=True)
    assert LedgerEntry.objects.get(person=recruit.person).attributed_scout_id == 9
    assert proposal.decisions.get().actor == reviewer
