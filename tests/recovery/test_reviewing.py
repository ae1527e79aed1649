"""Contested origins, and records that no rule can link, are decided by people and stay decided (Q34, F30)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from ct4site.models import AuditEntry, CaseKind, ClosedBecause, JobType, ReviewCase
from ct4site.review import cases, kinds
from ct4site.review.kinds import Unacceptable
from identity.models import CabinetLead, Link, Origin, OriginChange, Unmatched
from recovery.models import MatchingJob
from tests.factories import (
    JUAN,
    ROSA,
    Record,
    a_driver,
    a_family_phone,
    a_lead,
    a_name,
    a_phone,
    a_registration,
    link_of,
    match,
    run_job,
)
from tests.recovery.stories import PHONE, a_linked_lead, complaints, impact, origin_of, retry
from tests.reviewers import case_of, decided, everything, is_open, previewed, refresh, taken_back

pytestmark = pytest.mark.django_db

KIND = CaseKind.ORIGIN


def a_contested_origin(**held: Any) -> tuple[Record, ReviewCase]:
    """A lead whose person came, as somebody decided, by a migration; and its case."""
    lead = a_linked_lead()
    match()
    link = link_of(lead)
    assert link is not None
    Origin.objects.filter(person=link.person_id).update(
        origin_tag="migration", origin_source_id="12", **(held or {"decided_by": "manual"})
    )
    retry()
    refresh()
    return lead, case_of(KIND, lead.source_pk)


def all_jobs() -> None:
    match(full=True)
    retry()
    impact()
    run_job(JobType.REVIEW_REFRESH)


def origin(lead: Record) -> Origin:
    found = origin_of(lead)
    assert found is not None
    return found


# --- contested origins ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "held",
    [
        {"decided_by": "manual"},
        {"resolution_status": "resolved_manual"},
        {"resolution_status": "marked_legacy"},
        {"resolution_status": "discarded"},
    ],
    ids=str,
)
def test_a_lead_that_contradicts_a_decided_origin_is_a_case(held: dict[str, str]) -> None:
    lead, case = a_contested_origin(**held)
    assert case.person_key == origin(lead).pk
    kind = kinds.kind_of(case)
    assert "12" in kind.why(case)
    assert kinds.cause_label(case) != case.raised_by
    assert kind.title(case) == str(origin(lead).person)


def test_an_origin_that_a_rule_set_is_no_case() -> None:
    a_linked_lead()
    match()
    Origin.objects.update(origin_tag="migration", origin_source_id="12")
    retry()
    refresh()
    assert not ReviewCase.objects.filter(kind=KIND).exists()


def test_the_accepted_lead_becomes_the_origin() -> None:
    lead, case = a_contested_origin()
    receipt = decided(case, "accept_lead")

    found = origin(lead)
    link = link_of(lead)
    assert link is not None
    assert (found.origin_tag, found.origin_source_id, found.decided_by, found.resolution_status) == (
        "cabinet_lead", lead.source_pk, "manual", "resolved_manual",
    )  # fmt: skip
    assert found.origin_created_at == link.snapshot_date
    change = OriginChange.objects.latest("pk")
    assert (change.origin_tag_old, change.origin_tag_new, change.run_id) == (
        "migration",
        "cabinet_lead",
        receipt.run_id,
    )
    logged = AuditEntry.objects.get(run=receipt.run_id, action="decide_origin")
    assert (logged.action, logged.person_key) == ("decide_origin", found.pk)
    assert logged.before is not None and logged.before["origin_source_id"] == "12"
    case.refresh_from_db()
    assert case.closed_because == ClosedBecause.DECIDED
    assert not complaints(by_hand=True)


def test_a_kept_origin_stays_and_is_not_asked_about_again() -> None:
    lead, case = a_contested_origin()
    changes = OriginChange.objects.count()
    decided(case, "keep_origin")
    found = origin(lead)
    assert (found.origin_tag, found.origin_source_id, found.decided_by) == ("migration", "12", "manual")
    assert list(found.evidence["kept_against"]) == [lead.source_pk]
    assert OriginChange.objects.count() == changes
    assert not is_open(KIND, lead.source_pk)
    assert not complaints(by_hand=True)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)  # so many jobs in one transaction hold too many locks
def test_no_job_changes_what_a_person_decided() -> None:
    lead, other = a_linked_lead(), a_linked_lead(ROSA, a_phone(803))
    match()
    Origin.objects.update(origin_tag="migration", origin_source_id="12", decided_by="manual")
    retry()
    refresh()
    decided(case_of(KIND, lead.source_pk), "keep_origin")
    decided(case_of(KIND, other.source_pk), "accept_lead")
    all_jobs()
    before = everything()
    for _number in range(10):
        all_jobs()
    assert everything() == before
    assert not is_open(KIND, lead.source_pk) and not is_open(KIND, other.source_pk)


def test_a_kept_origin_is_asked_about_again_when_it_becomes_another_one() -> None:
    lead, case = a_contested_origin()
    decided(case, "keep_origin")
    Origin.objects.filter(pk=case.person_key).update(origin_source_id="13")
    refresh()
    assert is_open(KIND, lead.source_pk)


def test_another_lead_of_the_person_is_another_question() -> None:
    lead, case = a_contested_origin()
    decided(case, "keep_origin")
    other = a_lead(JUAN, phone=PHONE)
    retry()
    refresh()
    again = case_of(KIND, other.source_pk)
    decided(again, "keep_origin")
    assert set(origin(lead).evidence["kept_against"]) == {lead.source_pk, other.source_pk}


def test_accepting_one_lead_settles_the_others_of_its_person() -> None:
    _lead, case = a_contested_origin()
    other = a_lead(JUAN, phone=PHONE)
    retry()
    refresh()
    assert is_open(KIND, other.source_pk)
    decided(case, "accept_lead")
    assert not is_open(KIND, other.source_pk)
    closed = ReviewCase.objects.get(kind=KIND, subject_key=other.source_pk)
    assert closed.closed_because == ClosedBecause.CAUSE_GONE


@pytest.mark.parametrize("choice", ["keep_origin", "accept_lead"])
@pytest.mark.parametrize("then", [lambda: None, all_jobs], ids=["at once", "after the jobs"])
@pytest.mark.slow
def test_taking_a_decision_back_restores_the_origin_and_opens_the_case(choice: str, then: Any) -> None:
    lead, case = a_contested_origin()
    before = Origin.objects.values().get()
    decision = decided(case, choice)
    then()
    reversal = taken_back(decision)
    assert Origin.objects.values().get() == before
    assert is_open(KIND, lead.source_pk)
    taken_back(reversal)
    assert not is_open(KIND, lead.source_pk)
    assert not complaints(by_hand=True)


def test_a_contradiction_that_is_gone_cannot_be_decided() -> None:
    lead, case = a_contested_origin()
    Origin.objects.filter(pk=case.person_key).update(origin_tag="cabinet_lead", origin_source_id=lead.source_pk)
    for choice in ("keep_origin", "accept_lead"):
        with pytest.raises(Unacceptable):
            previewed(case, choice)


def test_both_answers_are_candidates_with_a_sentence() -> None:
    _lead, case = a_contested_origin()
    kept, accepted = kinds.kind_of(case).candidates(case)
    assert (kept.choice, accepted.choice) == ("keep_origin", "accept_lead")
    assert kept.sentence and accepted.sentence
    decided(case, accepted.choice, **accepted.target)


def test_the_pages_of_cases_cost_a_few_questions() -> None:
    _lead, case = a_contested_origin()
    phone, _drivers = a_family_phone(a_name(1), a_name(2))
    a_lead(None, phone=phone)
    match()
    refresh()
    for found in (case, ReviewCase.objects.get(kind=CaseKind.UNMATCHED)):
        kind = kinds.kind_of(found)
        with CaptureQueriesContext(connection) as asked:
            assert kind.title(found) and kind.why(found)
            assert [section.title for section in kind.evidence(found)]
            list(kind.candidates(found))
        assert len(asked) <= 20


# --- records that no rule can link ----------------------------------------------------------------------


def of_kind(kind: str) -> set[tuple[str, str]]:
    return set(ReviewCase.objects.filter(kind=kind, status="OPEN").values_list("subject_key", "raised_by"))


def key_of(record: Record) -> str:
    return f"{record.source_table}:{record.source_pk}"


def test_records_with_doubtful_candidates_of_every_feed_are_cases() -> None:
    phone, _drivers = a_family_phone(a_name(1), a_name(2))
    lead, registration = a_lead(None, phone=phone), a_registration(None, phone=phone)
    a_lead("NADIE NUNCA JAMAS", phone=a_phone(77))
    match()
    refresh()
    assert of_kind(CaseKind.UNMATCHED) == {
        (
            key_of(record),
            Unmatched.objects.get(source_pk=record.source_pk, source_table=record.source_table).reason_code,
        )
        for record in (lead, registration)
    }


def test_a_lead_that_was_tried_too_often_is_a_case() -> None:
    lead = a_lead("NADIE NUNCA JAMAS", phone=a_phone(77))
    retry()
    refresh()
    assert not of_kind(CaseKind.UNMATCHED)
    MatchingJob.objects.filter(source_id=lead.source_pk).update(status="failed", attempt_count=5)
    refresh()
    assert of_kind(CaseKind.UNMATCHED) == {(key_of(lead), "GIVEN_UP")}
    case = case_of(CaseKind.UNMATCHED, key_of(lead))
    assert kinds.kind_of(case).why(case)


def test_a_record_that_a_rule_links_after_all_closes_its_case() -> None:
    a_driver(JUAN, phone=PHONE)
    lead = a_lead(ROSA, phone=PHONE)
    match()
    refresh()
    case = case_of(CaseKind.UNMATCHED, key_of(lead))
    CabinetLead.objects.filter(external_id=lead.source_pk).update(first_name=JUAN)
    match()
    refresh()
    assert link_of(lead) is not None
    version = case.version
    case.refresh_from_db()
    assert (case.closed_because, case.version) == (ClosedBecause.CAUSE_GONE, version + 1)


def test_a_record_that_was_set_aside_is_no_case() -> None:
    phone, _drivers = a_family_phone(JUAN, ROSA)
    lead = a_lead(None, phone=phone)
    match()
    Unmatched.objects.filter(source_pk=lead.source_pk).update(status="IGNORED")
    refresh()
    assert not of_kind(CaseKind.UNMATCHED)


def test_a_case_is_found_by_its_record_alone() -> None:
    phone, _drivers = a_family_phone(JUAN, ROSA)
    lead = a_lead(None, phone=phone, external_id="with:colon")
    a_registration(None, phone=phone)
    match()
    refresh()
    with transaction.atomic():
        counted = cases.refresh(CaseKind.UNMATCHED, [key_of(lead)])
    assert (counted["causes"], counted["opened"], counted["closed"]) == (1, 0, 0)


def test_records_left_for_the_same_reason_are_siblings() -> None:
    for number in range(3):
        phone, _drivers = a_family_phone(a_name(number), a_name(number + 10))
        a_lead(None, phone=phone, on=dt.date(2026, 1, 3))
    match()
    refresh()
    first, *others = ReviewCase.objects.filter(kind=CaseKind.UNMATCHED)
    assert set(cases.siblings(first)) == set(others)
    assert len(others) == 2


# --- deciding such a record -------------------------------------------------------------------------------


def an_open_record() -> tuple[Record, list[str], ReviewCase]:
    """A lead whose phone two drivers have, who they are, and the lead's case."""
    phone, drivers = a_family_phone(JUAN, ROSA)
    lead = a_lead(None, phone=phone)
    match()
    retry()
    refresh()
    return lead, drivers, case_of(CaseKind.UNMATCHED, key_of(lead))


def test_a_record_is_linked_to_the_driver_a_person_chose() -> None:
    lead, drivers, case = an_open_record()
    first = kinds.kind_of(case).candidates(case)[0]
    decided(case, first.choice, **first.target)
    link = link_of(lead)
    assert link is not None
    assert link.match_rule == "MANUAL"
    assert first.target["driver_id"] in drivers
    assert not is_open(CaseKind.UNMATCHED, key_of(lead))
    all_jobs()
    again = link_of(lead)
    assert again is not None and (again.pk, again.person_id) == (link.pk, link.person_id)
    assert not complaints()


@pytest.mark.parametrize("choice", ["link_driver", "create_person", "set_aside"])
@pytest.mark.slow
def test_taking_a_decision_about_a_record_back_opens_its_case(choice: str) -> None:
    lead, drivers, case = an_open_record()
    before = everything()
    decision = decided(case, choice, **({"driver_id": drivers[0]} if choice == "link_driver" else {}))
    assert not is_open(CaseKind.UNMATCHED, key_of(lead))
    taken_back(decision)
    assert everything() == before
    assert is_open(CaseKind.UNMATCHED, key_of(lead))
    assert not complaints()


@pytest.mark.slow
def test_never_this_one_leaves_the_case_to_the_other_candidate() -> None:
    lead, drivers, case = an_open_record()
    decided(case, "refuse", driver_id=drivers[0])
    assert is_open(CaseKind.UNMATCHED, key_of(lead))
    case.refresh_from_db()
    assert drivers[0] not in [dict(found.target).get("driver_id") for found in kinds.kind_of(case).candidates(case)]
    for _number in range(3):
        all_jobs()
    link = link_of(lead)
    assert link is None or drivers[0] not in Link.objects.filter(person=link.person_id).values_list(
        "source_pk", flat=True
    )


def test_a_record_is_called_by_its_feed_not_by_its_table() -> None:
    phone, _drivers = a_family_phone(JUAN, ROSA)
    lead = a_lead(None, phone=phone)
    match()
    refresh()
    case = case_of(CaseKind.UNMATCHED, f"{lead.source_table}:{lead.source_pk}")
    assert str(case).endswith(f"Lead de cabinet {lead.source_pk}")
