"""What somebody hostile, hasty or unlucky may do to review: nothing breaks, nothing is half done (F5, F6, F14, F21 to F23)."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from attribution.models import LedgerEntry
from ct4site.jobs import JobError
from ct4site.models import CaseKind, CaseStatus, Decision, JobType, Proposal, ProposalStatus, ReviewCase, Run
from ct4site.review import approving, cases, deciding, many, reversing
from ct4site.review.deciding import Outcome, Wish
from ct4site.review.kinds import Unacceptable
from ct4site.roles import Role
from ct4site.rollback import start_roll_back
from identity.models import LeadEvent, Person
from tests.attribution import stories
from tests.ct4site.test_review import BACKEND, a_user, conflicts, decided, ledger, scout, taken_back
from tests.factories import (
    JUAN,
    ROSA,
    a_driver,
    a_family_phone,
    a_lead,
    an_orphan,
    fix_orphans,
    match,
    refresh,
    run_job,
)

pytestmark = pytest.mark.django_db


def site(user: User) -> Client:
    client = Client()
    client.cookies["django_language"] = "en"
    client.force_login(user, backend=BACKEND)
    return client


def decide_address(case: ReviewCase) -> str:
    return reverse("admin:ct4site_reviewcase_decide", args=[case.pk])


NOBODY = Wish("no_scout", {}, "no_evidence", "nobody can tell")


def gone(case: ReviewCase) -> None:
    """A job decided the conflict meanwhile."""
    LedgerEntry.objects.filter(person=case.person_key).update(
        attribution_rule="RESOLVED_MANUAL_CONFLICT", evidence_json={"conflict_scout_ids": [7, 8, 9]}
    )


def proposed(case: ReviewCase, actor: User) -> Proposal:
    case.refresh_from_db()
    asked = {"case_id": case.pk, "wish": NOBODY, "actor": actor, "expected_version": case.version}
    return approving.propose_decision(**asked, outcome=deciding.preview(**asked))


# --- four eyes


def test_a_proposal_whose_cause_is_gone_is_outdated() -> None:
    (case,) = conflicts()
    proposal = proposed(case, a_user("ana"))
    gone(case)
    run_job(JobType.REVIEW_REFRESH)
    case.refresh_from_db()
    assert case.status == CaseStatus.OPEN
    answer = site(a_user("eva", Role.APPROVER)).post(
        reverse("admin:ct4site_proposal_answer", args=[proposal.pk]), {"approve": "yes"}
    )
    assert answer.status_code == 302
    proposal.refresh_from_db()
    assert proposal.status == ProposalStatus.OUTDATED
    assert not Decision.objects.exists()


def test_a_proposal_of_other_scouts_is_outdated() -> None:
    (case,) = conflicts()
    proposal = proposed(case, a_user("ana"))
    stories.events_of(LedgerEntry.objects.get(person=case.person_key).person, ("scouting", 9, 4))
    ended = approving.answer(proposal_id=proposal.pk, approver=a_user("eva", Role.APPROVER), approve=True)
    assert ended.status == ProposalStatus.OUTDATED


@pytest.mark.parametrize("lost", ["right", "account"])
def test_what_was_proposed_by_somebody_who_may_not_decide_any_more_is_not_done(lost: str) -> None:
    ana = a_user("ana")
    (case,) = conflicts()
    proposal = proposed(case, ana)
    if lost == "right":
        ana.groups.clear()
    else:
        User.objects.filter(pk=ana.pk).update(is_active=False)
    with pytest.raises(approving.NotAllowed):
        approving.answer(proposal_id=proposal.pk, approver=a_user("eva", Role.APPROVER), approve=True)
    assert not Decision.objects.exists()


def test_a_nul_in_an_answer_is_refused() -> None:
    (case,) = conflicts()
    proposal = proposed(case, a_user("ana"))
    answer = site(a_user("eva", Role.APPROVER)).post(
        reverse("admin:ct4site_proposal_answer", args=[proposal.pk]), {"approve": "yes", "answer": "a\x00b"}
    )
    assert answer.status_code == 302
    proposal.refresh_from_db()
    assert proposal.status == ProposalStatus.WAITING


def test_a_roll_back_that_cannot_start_is_said() -> None:
    conflicts()
    run = Run.objects.filter(job_type=JobType.PROCESS_LEDGER).latest("pk")
    proposal = approving.propose_roll_back(
        run=run, wish=Wish("roll_back", {}, "mistake"), actor=a_user("omar", Role.OPERATOR)
    )
    other = Run.objects.filter(job_type=JobType.REVIEW_REFRESH).latest("pk")
    start_roll_back(run_id=other.pk, actor="x", queue=True)
    answer = site(a_user("eva", Role.APPROVER)).post(
        reverse("admin:ct4site_proposal_answer", args=[proposal.pk]), {"approve": "yes"}
    )
    assert answer.status_code < 500
    proposal.refresh_from_db()
    assert proposal.status == ProposalStatus.WAITING


def test_a_case_waits_for_one_proposal_only() -> None:
    ana, luis = a_user("ana"), a_user("luis")
    conflicts(3)
    chosen = many.chosen_of(ReviewCase.objects.all())
    first = many.propose_many(chosen=chosen, wish=NOBODY, actor=ana)
    with pytest.raises(Unacceptable):
        many.propose_many(chosen=chosen, wish=NOBODY, actor=luis)
    for other in Proposal.objects.exclude(pk=first.pk):
        approving.withdraw(proposal_id=other.pk, actor=luis)
    assert ReviewCase.objects.filter(is_frozen=True).count() == 3


def test_a_proposal_of_many_leaves_out_what_others_hold_or_what_changed() -> None:
    ana, luis = a_user("ana"), a_user("luis")
    held, changed, free = conflicts(3)
    chosen = many.chosen_of(ReviewCase.objects.all())
    assert cases.lease(held.pk, luis)
    ReviewCase.objects.filter(pk=changed.pk).update(version=5)
    proposal = many.propose_many(chosen=[*chosen, (10**30, 1), (-4, 1)], wish=NOBODY, actor=ana)
    assert proposal.request["cases"] == [[free.pk, 1]]
    held.refresh_from_db()
    assert held.leased_to == luis


def test_many_with_cases_that_do_not_exist_are_left_out() -> None:
    (case,) = conflicts()
    report = many.decide_many(
        chosen=[(10**30, 1), (-4, 1), (987654, 1), (case.pk, 1)], wish=NOBODY, actor=a_user("ana")
    )
    assert (report.done, report.changed) == (1, 3)


def test_many_whose_cause_changed_since_they_were_listed_are_left_out() -> None:
    (case,) = conflicts()
    stories.events_of(LedgerEntry.objects.get(person=case.person_key).person, ("scouting", 9, 4))
    report = many.decide_many(chosen=[(case.pk, 1)], wish=NOBODY, actor=a_user("ana"))
    assert (report.done, report.changed) == (0, 1)


def test_a_scout_who_appears_between_preview_and_decision_is_shown_first() -> None:
    (case,) = conflicts()
    ana = a_user("ana")
    asked = {"case_id": case.pk, "wish": scout(7), "actor": ana, "expected_version": 1}
    seen = deciding.preview(**asked)
    stories.events_of(LedgerEntry.objects.get(person=case.person_key).person, ("scouting", 9, 4))
    done = deciding.decide(**asked, shown=seen.digest)
    assert isinstance(done, Outcome)
    assert done.changed_since


def test_more_open_cases_than_one_may_hold_are_said_in_words(settings: Any) -> None:
    settings.REVIEW_LEASES_PER_USER = 1
    first, second = conflicts(2)
    ana = a_user("ana")
    page = site(ana)
    page.get(decide_address(first))
    answer = page.post(decide_address(second), {"pick": "candidate-0", "reason_code": "called", "version": "1"})
    assert answer.status_code == 409
    assert "You hold as many cases as one person may" in answer.content.decode()


@pytest.mark.slow
def test_a_decision_and_its_reversal_do_not_stand_in_the_way_of_the_first_one() -> None:
    (case,) = conflicts()
    ana = a_user("ana")
    before = ledger(case)
    first = decided(case, scout(7), ana)
    person = LedgerEntry.objects.get(person=case.person_key).person

    def once_more(number: int) -> Decision:
        run_job(JobType.REVIEW_REFRESH)
        return decided(ReviewCase.objects.get(status=CaseStatus.OPEN), scout(number), ana)

    stories.events_of(person, ("scouting", 9, 4))
    second = once_more(9)
    taken_back(second, ana)
    third = once_more(8)
    assert reversing.dependent(first) == [third]
    receipts = taken_back(first, ana, together=True)
    assert [receipt.reverses for receipt in receipts] == [third, first]
    assert ledger(case) == before


@pytest.mark.slow
def test_a_redone_decision_is_taken_back_with_the_one_it_stands_on() -> None:
    (case,) = conflicts()
    ana = a_user("ana")
    before = ledger(case)
    first = decided(case, scout(7), ana)
    stories.events_of(LedgerEntry.objects.get(person=case.person_key).person, ("scouting", 9, 4))
    run_job(JobType.REVIEW_REFRESH)
    second = decided(ReviewCase.objects.get(status=CaseStatus.OPEN), scout(9), ana)
    (undone,) = taken_back(second, ana)
    (redone,) = taken_back(undone, ana)
    assert reversing.dependent(first) == [redone]
    taken_back(first, ana, together=True)
    assert ledger(case) == before


def test_the_run_of_a_decision_is_taken_back_as_a_decision_only() -> None:
    (case,) = conflicts()
    decision = decided(case, scout(7), a_user("ana"))
    with pytest.raises(JobError):
        start_roll_back(run_id=decision.run_id, actor="omar")
    with pytest.raises(approving.NotAllowed):
        approving.propose_roll_back(
            run=decision.run, wish=Wish("roll_back", {}, "mistake"), actor=a_user("omar", Role.OPERATOR)
        )
    assert not Proposal.objects.exists()


# --- addresses and forms


@pytest.mark.parametrize(
    "query",
    [
        "due=",
        "due=x",
        "alike=%00",
        "alike='%3B--",
        "held=me'",
        "status=%27",
        "kind__exact=%F0%9F%98%80",
        "o=99",
        "p=-1",
        "e=1",
        "after=x",
        "after=99999999999999999999999",
        "q=%00",
        "q=%25",
        "kind__in=,,",
        "foo=bar",
        "pk=abc",
        "kind__regex=(",
    ],
)
@pytest.mark.parametrize("page", ["changelist", "many"])
@pytest.mark.slow
def test_no_address_of_a_list_breaks_it(query: str, page: str) -> None:
    conflicts()
    answer = site(a_user("ana")).get(reverse(f"admin:ct4site_reviewcase_{page}") + "?" + query)
    assert answer.status_code < 500


@pytest.mark.parametrize("number", ["0", "-1", str(10**30), "9" * 5000, "1e3", "%00", "abc"])
@pytest.mark.parametrize("verb", ["decide", "lease", "next"])
def test_no_number_in_an_address_breaks_it(number: str, verb: str) -> None:
    page = site(a_user("ana"))
    address = reverse("admin:ct4site_reviewcase_changelist") + f"{number}/{verb}/"
    assert page.get(address).status_code < 500
    assert page.post(address, {"version": "1"}).status_code < 500
    assert page.get(reverse("admin:ct4site_decision_changelist") + f"{number}/reverse/").status_code < 500
    assert (
        page.post(reverse("admin:ct4site_proposal_changelist") + f"{number}/answer/", {"approve": "1"}).status_code
        < 500
    )


@pytest.mark.parametrize(
    "sent",
    [
        {"pick": "candidate-99"},
        {"pick": "candidate-0\x00"},
        {"pick": "no_scout", "reason_text": "a\x00b"},
        {"pick": "choose_scout", "choose_scout-scout_id": "9" * 60},
        {"pick": "choose_scout", "choose_scout-scout_id": "-7"},
        {"pick": "choose_scout", "choose_scout-scout_id": "7\x00"},
        {"pick": "choose_scout", "choose_scout-scout_id": "7.0"},
        {"pick": "purge"},
        {"pick": "relink"},
        {"pick": "reverse"},
        {"pick": "no_scout", "version": "9" * 5000},
        {"pick": "no_scout", "version": "-1"},
        {"pick": "no_scout", "version": str(10**30)},
        {"pick": "no_scout", "version": "١"},
        {"pick": "no_scout", "reason_code": "nonsense"},
        {"pick": "no_scout", "shown": "x" * 5000, "confirm": "1"},
        {"pick": "no_scout", "shown": "x\x00", "confirm": "1"},
        {"pick": "no_scout", "shown": "0" * 64, "confirm": "1"},
        {"pick": "no_scout", "reason_text": "x" * 100_000, "confirm": "1"},
        {
            "pick": "no_scout",
            "status": "CLOSED",
            "actor": "1",
            "person_key": "x",
            "is_superuser": "1",
            "confirm": "1",
            "shown": "z",
        },
    ],
    ids=str,
)
@pytest.mark.slow
def test_nothing_that_is_sent_decides_a_case_by_accident(sent: dict[str, str]) -> None:
    (case,) = conflicts()
    page = site(a_user("ana"))
    answer = page.post(decide_address(case), {"reason_code": "called", "version": "1"} | sent)
    assert answer.status_code < 500
    assert not Decision.objects.exists()
    case.refresh_from_db()
    assert (case.status, case.version) == ("OPEN", 1)


@pytest.mark.parametrize("text", ["", "x", "1:x", f"{10**30}:1", "1:1:1", "-1:1", "1:1\x00", "9" * 5000 + ":1"])
def test_no_list_of_cases_breaks_deciding_many(text: str) -> None:
    conflicts()
    page = site(a_user("ana"))
    answer = page.post(
        reverse("admin:ct4site_reviewcase_many") + "?kind__exact=conflict",
        {"choice_code": "no_scout", "reason_code": "called", "reason_text": "x", "cases": text},
    )
    assert answer.status_code < 500


def test_the_closed_case_of_a_person_who_is_gone_can_be_read() -> None:
    (case,) = conflicts()
    key = case.person_key
    LedgerEntry.objects.filter(person=key).delete()
    LeadEvent.objects.filter(person=key).update(person=None)
    Person.objects.filter(pk=key).delete()
    assert site(a_user("luz", Role.VIEWER)).get(decide_address(case)).status_code == 200
    run_job(JobType.REVIEW_REFRESH)
    page = site(a_user("ana"))
    assert page.get(decide_address(case)).status_code == 200


@pytest.mark.parametrize(
    "key", ["50%", "%s", "%(x)s", "{}", "{keys}", "a:b'c\\", '"><img src=x onerror=alert(1)>', "ñ\u202e\U0001f600"]
)
@pytest.mark.slow
def test_a_record_of_any_name_is_a_case_like_any_other(key: str) -> None:
    phone, _drivers = a_family_phone(f"{JUAN} {key}", ROSA)
    lead = a_lead("<script>alert(1)</script>", phone=phone, external_id=key)
    match()
    run_job(JobType.REVIEW_REFRESH)
    case = ReviewCase.objects.get(kind=CaseKind.UNMATCHED)
    assert case.subject_key == f"{lead.source_table}:{lead.source_pk}"
    page = site(a_user("ana"))
    sent = {
        "pick": "create_person",
        "reason_code": "called",
        "reason_text": "50% %s {x} <script>alert(1)</script>",
        "version": "1",
    }
    seen = page.post(decide_address(case), sent)
    assert seen.status_code == 200
    done = page.post(decide_address(case), sent | {"shown": seen.context["outcome"].digest, "confirm": "yes"})
    assert done.status_code == 302
    decision = Decision.objects.get()
    for address in (
        decide_address(case), reverse("admin:ct4site_decision_change", args=[decision.pk]),
        reverse("admin:ct4site_decision_reverse", args=[decision.pk]), reverse("admin:ct4site_reviewcase_changelist") + "?status=all",
        reverse("admin:ct4site_reviewcase_many") + f"?alike={quote(case.signature)}",
    ):  # fmt: skip
        answer = page.get(address)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.content.decode() and "<img src=x" not in answer.content.decode()
    taken_back(decision, User.objects.get(username="ana"))


@pytest.mark.slow
def test_a_driver_of_any_name_is_a_case_like_any_other() -> None:
    driver = a_driver("<script>alert(1)</script> JUAN", phone=None, plate=None, licence=None, driver_id="50%s'{}")
    refresh()
    an_orphan("<script>alert(1)</script>", driver_id=driver)
    match()
    fix_orphans()
    run_job(JobType.REVIEW_REFRESH)
    case = ReviewCase.objects.get(kind=CaseKind.ORPHAN)
    page = site(a_user("ana"))
    for sent in (
        {"pick": "relink", "relink-lead": "module_ct_scouting_daily:99999999999999999999999"},
        {"pick": "relink", "relink-lead": "module_ct_scouting_daily:abc"},
        {"pick": "relink", "relink-lead": "module_ct_migrations:-1"},
        {"pick": "relink", "relink-lead": "module_ct_cabinet_leads:manual:99999999999999999999999999"},
        {"pick": "relink", "relink-lead": "module_ct_cabinet_leads:row:99999999999999999999999999"},
        {"pick": "relink", "relink-lead": "drivers:50%s'{}"},
        {"pick": "relink", "relink-lead": "99999999999999999999999999"},
        {"pick": "relink", "relink-lead": "x\x00"},
        {"pick": "relink", "relink-lead": "%' or 1=1 --"},
        {
            "pick": "create_lead",
            "create_lead-lead_date": "0001-01-01",
            "create_lead-full_name": "A B",
            "create_lead-phone": "987111222",
        },
        {
            "pick": "create_lead",
            "create_lead-lead_date": "9999-12-31",
            "create_lead-full_name": "A B",
            "create_lead-phone": "987111222",
        },
        {
            "pick": "create_lead",
            "create_lead-lead_date": "2026-01-01",
            "create_lead-full_name": "A B",
            "create_lead-phone": "987111222",
            "create_lead-scout_id": str(10**30),
        },
        {
            "pick": "create_lead",
            "create_lead-lead_date": "2026-01-01",
            "create_lead-full_name": "A B",
            "create_lead-phone": "987111222",
            "create_lead-scout_id": "-1",
        },
        {
            "pick": "create_lead",
            "create_lead-lead_date": "2026-01-01",
            "create_lead-full_name": "50% %s {x} <script>alert(1)</script>",
            "create_lead-plate": "%s{}99",
        },
    ):
        answer = page.post(decide_address(case), {"reason_code": "called", "version": str(case.version)} | sent)
        assert answer.status_code < 500
        assert "<script>alert" not in answer.content.decode()
        assert not Decision.objects.exists()


@pytest.fixture
def stopped_half_way(monkeypatch: pytest.MonkeyPatch) -> Proposal:
    """An approved proposal of four cases: one was decided, then the process died."""
    conflicts(4)
    ana, eva = a_user("ana"), a_user("eva", Role.APPROVER)
    proposal = many.propose_many(chosen=many.chosen_of(ReviewCase.objects.all()), wish=NOBODY, actor=ana)
    decide_unseen, calls = deciding.decide_unseen, []

    def dies(**asked: Any) -> Decision:
        calls.append(asked)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return decide_unseen(**asked)

    with monkeypatch.context() as patched:
        patched.setattr(deciding, "decide_unseen", dies)
        with pytest.raises(KeyboardInterrupt):
            approving.answer(proposal_id=proposal.pk, approver=eva, approve=True)
    proposal.refresh_from_db()
    assert (proposal.status, Decision.objects.count()) == (ProposalStatus.APPROVED, 1)
    assert ReviewCase.objects.filter(is_frozen=True).count() == 3
    return proposal


def test_what_was_approved_and_stopped_half_way_is_finished_once(stopped_half_way: Proposal) -> None:
    first = Decision.objects.get()
    run_job(JobType.REVIEW_REFRESH, dry_run=True)
    assert Decision.objects.get() == first
    changed = ReviewCase.objects.filter(is_frozen=True)[0]
    stories.events_of(LedgerEntry.objects.get(person=changed.person_key).person, ("scouting", 9, 4))
    for _again in range(2):
        run_job(JobType.REVIEW_REFRESH)
        decisions = Decision.objects.all()
        assert {(decision.actor.username, decision.proposal) for decision in decisions} == {("ana", stopped_half_way)}
        assert len({decision.case_id for decision in decisions}) == len(decisions) == 3
    # What had changed since was not approved: it waits for an answer of its own.
    (case,) = ReviewCase.objects.filter(status=CaseStatus.OPEN)
    assert (case.pk, case.is_frozen) == (changed.pk, False)
    page = site(User.objects.get(username="eva")).get(
        reverse("admin:ct4site_proposal_change", args=[stopped_half_way.pk])
    )
    assert "3 of 4 cases decided" in page.content.decode()


def test_what_was_approved_is_not_finished_for_somebody_who_may_not_decide_any_more(
    stopped_half_way: Proposal,
) -> None:
    stopped_half_way.proposed_by.groups.clear()
    run_job(JobType.REVIEW_REFRESH)
    assert Decision.objects.count() == 1
    assert not ReviewCase.objects.filter(is_frozen=True).exists()


def test_cases_that_wait_for_another_proposal_by_now_are_not_decided_for_the_old_one(
    stopped_half_way: Proposal,
) -> None:
    ReviewCase.objects.update(is_frozen=False)
    luis = a_user("luis")
    again = many.propose_many(chosen=many.chosen_of(ReviewCase.objects.all()), wish=NOBODY, actor=luis)
    run_job(JobType.REVIEW_REFRESH)
    assert Decision.objects.count() == 1
    assert ReviewCase.objects.filter(is_frozen=True).count() == 3
    approving.answer(proposal_id=again.pk, approver=User.objects.get(username="eva"), approve=True)
    assert list(Decision.objects.values_list("proposal", flat=True)) == [again.pk] * 3 + [stopped_half_way.pk]


@pytest.mark.django_db(transaction=True)
def test_of_two_approvers_at_once_one_approves() -> None:
    (case,) = conflicts()
    proposal = proposed(case, a_user("ana"))
    people = [a_user(f"eva{number}", Role.APPROVER, email=f"eva{number}@example.org") for number in range(6)]
    start = threading.Barrier(len(people))
    ends: list[Any] = []

    def answer(user: User) -> None:
        try:
            start.wait()
            ends.append(approving.answer(proposal_id=proposal.pk, approver=user, approve=user.pk % 3 > 0).status)
        except approving.NotAllowed:
            ends.append("late")
        except Exception as error:
            ends.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=answer, args=[user]) for user in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    proposal.refresh_from_db()
    assert sorted(map(str, ends)) == sorted([proposal.status, *["late"] * 5])
    assert Decision.objects.count() == (proposal.status == ProposalStatus.APPROVED)
