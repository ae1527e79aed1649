"""Review: cases, leases, decisions that do what was shown, reversals at any depth, four eyes (P4 to P7, F21 to F23)."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from attribution.models import LedgerEntry
from ct4site.models import (
    AuditEntry,
    CaseKind,
    CaseStatus,
    ClosedBecause,
    Decision,
    JobType,
    Proposal,
    ProposalStatus,
    ReviewCase,
    Run,
)
from ct4site.review import approving, cases, deciding, many, reversing
from ct4site.review.deciding import HeldByOther, Outcome, Overtaken, Wish
from ct4site.roles import Role
from tests.attribution import stories
from tests.factories import run_job

pytestmark = pytest.mark.django_db

BACKEND = "django.contrib.auth.backends.ModelBackend"


def a_user(name: str, role: Role = Role.REVIEWER, **columns: Any) -> User:
    user = User.objects.create_user(name, is_staff=True, **columns)
    user.groups.set(Group.objects.filter(name=role))
    return User.objects.get(pk=user.pk)


def conflicts(number: int = 1) -> list[ReviewCase]:
    """Persons whom scouts 7 and 8 claim within a week, and their cases."""
    for _index in range(number):
        stories.a_claimed_person(("scouting", 7, 1), ("scouting", 8, 3))
    run_job(JobType.PROCESS_LEDGER)
    run_job(JobType.REVIEW_REFRESH)
    return list(ReviewCase.objects.filter(kind=CaseKind.CONFLICT).order_by("pk"))


def scout(number: int, text: str = "") -> Wish:
    return Wish("choose_scout", {"scout_id": number}, "first_claim", text)


def decided(case: ReviewCase, wish: Wish, actor: User) -> Decision:
    """Decide a case as its page does: see what would happen, then confirm exactly that."""
    case.refresh_from_db()
    asked = {"case_id": case.pk, "wish": wish, "actor": actor, "expected_version": case.version}
    seen = deciding.preview(**asked)
    done = deciding.decide(**asked, shown=seen.digest)
    assert isinstance(done, Decision)
    return done


def taken_back(decision: Decision, actor: User, *, together: bool = False) -> list[Decision]:
    asked = {"decision_id": decision.pk, "wish": Wish("reverse", {}, "mistake"), "actor": actor, "together": together}
    seen = reversing.preview(**asked)
    done = reversing.reverse(**asked, shown=seen.digest)
    assert isinstance(done, list)
    return done


def ledger(case: ReviewCase) -> tuple[int | None, str | None, str]:
    return LedgerEntry.objects.values_list("attributed_scout_id", "attribution_rule", "decision_status").get(
        person=case.person_key
    )


# --- cases ------------------------------------------------------------------------------------------------


def test_a_cause_opens_one_case_and_a_second_look_changes_nothing() -> None:
    (case,) = conflicts()
    assert (case.status, case.version, case.subject_key) == (CaseStatus.OPEN, 1, str(case.person_key))
    tally = run_job(JobType.REVIEW_REFRESH)
    assert (tally["opened"], tally["changed"], tally["closed"]) == (0, 0, 0)
    assert ReviewCase.objects.count() == 1


def test_a_case_whose_cause_is_gone_closes_by_itself_and_says_so() -> None:
    (case,) = conflicts()
    LedgerEntry.objects.filter(person=case.person_key).update(
        attribution_rule="RESOLVED_MANUAL_CONFLICT", evidence_json={"conflict_scout_ids": [7, 8]}
    )
    assert run_job(JobType.REVIEW_REFRESH)["closed"] == 1
    case.refresh_from_db()
    assert (case.status, case.closed_because, case.version) == (CaseStatus.CLOSED, ClosedBecause.CAUSE_GONE, 2)


def test_a_run_that_opens_many_cases_spreads_them_over_working_days(settings: Any) -> None:
    settings.REVIEW_CASES_PER_DAY, settings.REVIEW_DUE_DAYS = 2, 1
    days = sorted(case.due_on for case in conflicts(5))
    assert [len({*days}), *Counter(days).values()] == [3, 2, 2, 1]
    assert all(day.isoweekday() <= 5 for day in days)


@pytest.mark.parametrize(
    ("day", "days", "then"),
    [
        ("2026-11-20", 1, "2026-11-23"), ("2026-11-20", 5, "2026-11-27"), ("2026-11-21", 1, "2026-11-23"),
        ("2026-11-22", 0, "2026-11-20"), ("2026-11-16", 4, "2026-11-20"), ("2026-11-16", 5, "2026-11-23"),
        ("2026-11-19", 11, "2026-12-04"),
    ],
)  # fmt: skip
def test_working_days_are_monday_to_friday(day: str, days: int, then: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select canon.add_business_days(%s::date, %s)::text", [day, days])
        assert cursor.fetchone()[0] == then


# --- leases -----------------------------------------------------------------------------------------------


def test_a_held_case_is_seen_by_others_and_decided_by_its_holder_only() -> None:
    (case,) = conflicts()
    ana, luis = a_user("ana"), a_user("luis")
    assert cases.lease(case.pk, ana)
    assert not cases.lease(case.pk, luis)
    with pytest.raises(HeldByOther) as refusal:
        deciding.preview(case_id=case.pk, wish=scout(7), actor=luis, expected_version=1)
    assert "ana" in str(refusal.value)
    assert isinstance(decided(case, scout(7), ana), Decision)


def test_a_lease_that_ran_out_is_taken_over_and_one_let_go_is_free() -> None:
    (case,) = conflicts()
    ana, luis = a_user("ana"), a_user("luis")
    cases.lease(case.pk, ana)
    with connection.cursor() as cursor:
        cursor.execute("update ops.review_cases set leased_until = now() - interval '1 second'")
    assert cases.lease(case.pk, luis)
    assert not cases.lease(case.pk, ana)
    cases.release(case.pk, luis)
    assert cases.lease(case.pk, ana)


def test_nobody_holds_more_cases_than_the_cap(settings: Any) -> None:
    settings.REVIEW_LEASES_PER_USER = 2
    ana = a_user("ana")
    first, second, third = conflicts(3)
    assert [cases.lease(case.pk, ana) for case in (first, second, third, first)] == [True, True, False, True]


# --- decisions --------------------------------------------------------------------------------------------


def test_a_preview_leaves_nothing_and_the_decision_does_what_it_showed() -> None:
    (case,) = conflicts()
    ana = a_user("ana")
    before = ledger(case), AuditEntry.objects.count(), Run.objects.count()
    seen = deciding.preview(case_id=case.pk, wish=scout(7), actor=ana, expected_version=1)
    assert (ledger(case), AuditEntry.objects.count(), Run.objects.count()) == before
    assert seen.consequences["ledger"]
    done = deciding.decide(case_id=case.pk, wish=scout(7), actor=ana, expected_version=1, shown=seen.digest)
    assert isinstance(done, Decision)
    assert done.consequences == seen.consequences
    assert ledger(case) == (7, "RESOLVED_MANUAL_CONFLICT", "assigned")
    case.refresh_from_db()
    assert (case.status, case.closed_because, case.version) == (CaseStatus.CLOSED, ClosedBecause.DECIDED, 2)
    entry = AuditEntry.objects.get(run=done.run, subject_table="lead_ledger")
    assert (entry.actor, entry.reason) == ("ana", "first_claim")


def test_what_changed_since_the_preview_is_shown_again_instead_of_applied() -> None:
    (case,) = conflicts()
    ana = a_user("ana")
    seen = deciding.preview(case_id=case.pk, wish=scout(7), actor=ana, expected_version=1)
    LedgerEntry.objects.filter(person=case.person_key).update(attribution_score="0.11")
    again = deciding.decide(case_id=case.pk, wish=scout(7), actor=ana, expected_version=1, shown=seen.digest)
    assert isinstance(again, Outcome)
    assert again.changed_since
    assert not Decision.objects.exists()
    done = deciding.decide(case_id=case.pk, wish=scout(7), actor=ana, expected_version=1, shown=again.digest)
    assert isinstance(done, Decision)


def test_a_case_that_a_job_closed_meanwhile_cannot_be_decided() -> None:
    (case,) = conflicts()
    ana = a_user("ana")
    seen = deciding.preview(case_id=case.pk, wish=scout(7), actor=ana, expected_version=1)
    ReviewCase.objects.update(cause_digest="another question")
    run_job(JobType.REVIEW_REFRESH)
    with pytest.raises(Overtaken):
        deciding.decide(case_id=case.pk, wish=scout(7), actor=ana, expected_version=1, shown=seen.digest)


@pytest.mark.django_db(transaction=True)
def test_of_twenty_reviewers_who_decide_one_case_at_once_one_wins_and_the_others_see_who() -> None:
    (case,) = conflicts()
    people = [a_user(f"reviewer {number}") for number in range(20)]
    start = threading.Barrier(len(people))
    ends: list[Any] = []

    def decide(number: int) -> None:
        try:
            start.wait()
            wish = scout(7 if number % 2 else 8)
            with transaction.atomic():
                seen = deciding.preview(case_id=case.pk, wish=wish, actor=people[number], expected_version=1)
            ends.append(
                deciding.decide(case_id=case.pk, wish=wish, actor=people[number], expected_version=1, shown=seen.digest)
            )
        except (Overtaken, HeldByOther) as refusal:
            ends.append(refusal)
        finally:
            connection.close()

    threads = [threading.Thread(target=decide, args=[number]) for number in range(len(people))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(isinstance(end, Decision) for end in ends) == {True: 1, False: 19}
    decision = Decision.objects.get()
    case.refresh_from_db()
    assert case.version == 2
    assert AuditEntry.objects.filter(run=decision.run, subject_table="lead_ledger").count() == 1
    with pytest.raises(Overtaken) as refusal:
        deciding.preview(case_id=case.pk, wish=scout(7), actor=people[0], expected_version=1)
    assert refusal.value.decision == decision


def test_receipts_refuse_every_change() -> None:
    (case,) = conflicts()
    decided(case, scout(7), a_user("ana"))
    for statement in ("update ops.review_decisions set choice = 'x'", "delete from ops.review_decisions"):
        with pytest.raises(Exception, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_opening_and_deciding_cost_the_same_with_three_cases_and_with_sixty() -> None:
    ana = a_user("ana")
    client = Client()
    client.force_login(ana, backend=BACKEND)
    statements = []
    for number in (3, 57):
        case = conflicts(number)[-1]
        address = reverse("admin:ct4site_reviewcase_decide", args=[case.pk])
        with CaptureQueriesContext(
            connection,
        ) as opened:
            assert client.get(address).status_code == 200
        cases.lease(case.pk, ana)
        seen = deciding.preview(case_id=case.pk, wish=scout(7), actor=ana, expected_version=1)
        with CaptureQueriesContext(connection) as done:
            deciding.decide(case_id=case.pk, wish=scout(7), actor=ana, expected_version=1, shown=seen.digest)
        statements.append((len(opened), len(done)))
    assert statements[0] == statements[1]


# --- reversals ----------------------------------------------------------------------------------------------


def test_a_decision_taken_back_leaves_everything_as_it_was_and_its_case_open_again() -> None:
    (case,) = conflicts()
    ana, luis = a_user("ana"), a_user("luis")
    before = ledger(case)
    decision = decided(case, scout(7), ana)
    (receipt,) = taken_back(decision, luis)
    assert ledger(case) == before
    assert (receipt.reverses, receipt.actor) == (decision, luis)
    assert ReviewCase.objects.filter(subject_key=case.subject_key, status=CaseStatus.OPEN).count() == 1
    with pytest.raises(Overtaken):
        taken_back(decision, luis)


def test_a_reversal_can_be_taken_back_too() -> None:
    (case,) = conflicts()
    ana = a_user("ana")
    (receipt,) = taken_back(decided(case, scout(7), ana), ana)
    taken_back(receipt, ana)
    assert ledger(case) == (7, "RESOLVED_MANUAL_CONFLICT", "assigned")


@pytest.mark.slow
def test_later_decisions_that_stand_on_one_are_named_and_taken_back_with_it() -> None:
    (case,) = conflicts()
    ana = a_user("ana")
    before = ledger(case)
    first = decided(case, scout(7), ana)
    stories.events_of(LedgerEntry.objects.get(person=case.person_key).person, ("scouting", 9, 4))
    run_job(JobType.REVIEW_REFRESH)
    again = ReviewCase.objects.get(status=CaseStatus.OPEN)
    second = decided(again, scout(9), ana)
    with pytest.raises(reversing.StandsFirm) as refusal:
        taken_back(first, ana)
    assert refusal.value.decisions == [second]
    receipts = taken_back(first, ana, together=True)
    assert [receipt.reverses for receipt in receipts] == [second, first]
    assert ledger(case) == before


# --- four eyes ----------------------------------------------------------------------------------------------


def a_proposal(proposer: User) -> tuple[Proposal, list[ReviewCase]]:
    """Many cases that shall be decided alike wait for a second person."""
    found = conflicts(3)
    chosen = many.chosen_of(ReviewCase.objects.all())
    wish = Wish("no_scout", {}, "no_evidence", "nobody can tell")
    return many.propose_many(chosen=chosen, wish=wish, actor=proposer), found


def test_nobody_approves_what_he_proposed_himself_not_even_a_superuser() -> None:
    root = User.objects.create_superuser("root")
    proposal, _cases = a_proposal(root)
    with pytest.raises(approving.NotAllowed):
        approving.answer(proposal_id=proposal.pk, approver=root, approve=True)
    with pytest.raises(IntegrityError, match="approver_is_another_person"), transaction.atomic():
        Proposal.objects.filter(pk=proposal.pk).update(status=ProposalStatus.APPROVED, decided_by=root)


def test_nobody_approves_with_a_second_account_of_the_same_address() -> None:
    proposal, _cases = a_proposal(a_user("ana", email="ana@example.org"))
    other = a_user("ana2", Role.APPROVER, email="Ana@Example.org")
    with pytest.raises(approving.NotAllowed):
        approving.answer(proposal_id=proposal.pk, approver=other, approve=True)


def test_an_approver_who_lost_the_right_cannot_approve() -> None:
    proposal, _cases = a_proposal(a_user("ana"))
    eva = a_user("eva", Role.APPROVER)
    assert eva.has_perm(approving.APPROVE)
    eva.groups.clear()
    with pytest.raises(approving.NotAllowed):
        approving.answer(proposal_id=proposal.pk, approver=eva, approve=True)


def test_what_was_proposed_cannot_be_changed() -> None:
    proposal, _cases = a_proposal(a_user("ana"))
    for change in ({"request": {}}, {"digest": "x"}, {"reason_text": "x"}):
        with pytest.raises(Exception, match="keeps what was proposed"), transaction.atomic():
            Proposal.objects.filter(pk=proposal.pk).update(**change)


def test_cases_that_wait_for_approval_are_left_alone_and_decided_once_approved() -> None:
    ana, eva = a_user("ana"), a_user("eva", Role.APPROVER)
    proposal, found = a_proposal(ana)
    with pytest.raises(Overtaken):
        deciding.preview(case_id=found[0].pk, wish=scout(7), actor=ana, expected_version=1)
    ended = approving.answer(proposal_id=proposal.pk, approver=eva, approve=True, text="seen")
    assert ended.status == ProposalStatus.APPROVED
    decisions = Decision.objects.all()
    assert {(decision.actor, decision.proposal) for decision in decisions} == {(ana, proposal)}
    assert len(decisions) == 3
    assert {ledger(case)[0] for case in found} == {None}
    with pytest.raises(approving.NotAllowed):
        approving.answer(proposal_id=proposal.pk, approver=eva, approve=False)


@pytest.mark.parametrize("way", ["refused", "withdrawn"])
def test_a_proposal_that_is_refused_or_withdrawn_frees_its_cases(way: str) -> None:
    ana, eva = a_user("ana"), a_user("eva", Role.APPROVER)
    proposal, _found = a_proposal(ana)
    if way == "refused":
        approving.answer(proposal_id=proposal.pk, approver=eva, approve=False, text="no")
    else:
        with pytest.raises(approving.NotAllowed):
            approving.withdraw(proposal_id=proposal.pk, actor=eva)
        approving.withdraw(proposal_id=proposal.pk, actor=ana)
    assert not ReviewCase.objects.filter(is_frozen=True).exists()
    assert not Decision.objects.exists()


def test_many_cases_are_decided_as_they_were_chosen_and_changed_ones_are_left_out() -> None:
    conflicts(3)
    ana = a_user("ana")
    chosen = many.chosen_of(ReviewCase.objects.all())
    ReviewCase.objects.filter(pk=chosen[1][0]).update(version=5)
    report = many.decide_many(chosen=chosen, wish=Wish("no_scout", {}, "no_evidence"), actor=ana)
    assert (report.done, report.changed, report.held) == (2, 1, 0)


def test_the_roll_back_of_a_run_waits_for_a_second_person() -> None:
    conflicts()
    run = Run.objects.filter(job_type=JobType.PROCESS_LEDGER).latest("pk")
    omar, eva = a_user("omar", Role.OPERATOR), a_user("eva", Role.APPROVER)
    client = Client()
    client.force_login(omar, backend=BACKEND)
    answer = client.post(reverse("admin:ct4site_run_roll_back", args=[run.pk]), {"reason_code": "mistake"})
    proposal = Proposal.objects.get()
    assert answer["Location"] == reverse("admin:ct4site_proposal_change", args=[proposal.pk])
    assert not Run.objects.filter(reverses=run).exists()
    client.force_login(eva, backend=BACKEND)
    client.post(reverse("admin:ct4site_proposal_answer", args=[proposal.pk]), {"approve": "yes"})
    assert Run.objects.filter(reverses=run, actor="omar").count() == 1


# --- the pages ----------------------------------------------------------------------------------------------


@pytest.fixture
def ana(db: None) -> User:
    return a_user("ana")


@pytest.fixture
def browser(ana: User) -> Client:
    client = Client()
    client.cookies["django_language"] = "en"
    client.force_login(ana, backend=BACKEND)
    return client


def test_a_case_is_decided_from_its_page_and_the_next_one_opens(browser: Client) -> None:
    first, second = conflicts(2)
    address = reverse("admin:ct4site_reviewcase_decide", args=[first.pk])
    page = browser.get(address)
    assert page.status_code == 200
    sent = {"pick": "candidate-0", "reason_code": "first_claim", "reason_text": "seen the papers", "version": "1"}
    seen = browser.post(address, sent | {"preview": ""})
    assert "Consequences" in seen.content.decode()
    assert not Decision.objects.exists()
    done = browser.post(address, sent | {"shown": seen.context["outcome"].digest, "confirm": "yes"})
    assert done["Location"] == reverse("admin:ct4site_reviewcase_decide", args=[second.pk])
    receipt = browser.get(reverse("admin:ct4site_decision_change", args=[Decision.objects.get().pk]))
    assert "seen the papers" in receipt.content.decode()


def test_cases_alike_are_decided_together_each_with_its_receipt(browser: Client) -> None:
    first, second, third = conflicts(3)
    address = reverse("admin:ct4site_reviewcase_decide", args=[first.pk])
    also = [f"{case.pk}:{case.version}" for case in (second, third)]
    ReviewCase.objects.filter(pk=third.pk).update(version=9)
    sent = {"pick": "candidate-0", "reason_code": "first_claim", "version": "1", "also": also}
    seen = browser.post(address, sent | {"preview": ""})
    assert seen.content.decode().count('name="also"') == 2
    browser.post(address, sent | {"shown": seen.context["outcome"].digest, "confirm": "yes"})
    assert [decision.case for decision in Decision.objects.order_by("pk")] == [first, second]
    assert ledger(first)[0] == ledger(second)[0] is not None
    third.refresh_from_db()
    assert third.status == CaseStatus.OPEN


def test_a_decision_needs_a_choice_and_a_reason(browser: Client) -> None:
    (case,) = conflicts()
    address = reverse("admin:ct4site_reviewcase_decide", args=[case.pk])
    for sent in ({"reason_code": "called"}, {"pick": "candidate-0"}, {"pick": "nonsense", "reason_code": "called"}):
        assert browser.post(address, sent | {"version": "1"}).status_code == 422
    assert not Decision.objects.exists()


def test_who_comes_too_late_reads_who_decided_and_keeps_his_text(browser: Client) -> None:
    (case,) = conflicts()
    luis = a_user("luis")
    address = reverse("admin:ct4site_reviewcase_decide", args=[case.pk])
    decided(case, scout(8), luis)
    sent = {"pick": "candidate-0", "reason_code": "called", "reason_text": "a text of an hour", "version": "1"}
    late = browser.post(address, sent | {"confirm": "yes", "shown": "x"})
    assert late.status_code == 409
    assert "luis" in late.content.decode()
    assert "a text of an hour" in late.content.decode()


def test_a_page_that_is_fetched_ahead_holds_nothing(browser: Client) -> None:
    (case,) = conflicts()
    address = reverse("admin:ct4site_reviewcase_decide", args=[case.pk])
    browser.get(address, headers={"sec-purpose": "prefetch"})
    case.refresh_from_db()
    assert case.leased_to is None
    browser.get(address)
    case.refresh_from_db()
    assert case.leased_to is not None


def test_the_queue_shows_the_most_money_first_and_a_decision_is_taken_back_from_its_receipt(browser: Client) -> None:
    first, second = conflicts(2)
    ReviewCase.objects.filter(pk=second.pk).update(money_at_risk="90.00")
    listed = browser.get(reverse("admin:ct4site_reviewcase_changelist"))
    assert [case.pk for case in listed.context["cl"].result_list] == [second.pk, first.pk]
    decision = decided(first, scout(7), User.objects.get(username="ana"))
    address = reverse("admin:ct4site_decision_reverse", args=[decision.pk])
    seen = browser.get(address)
    sent = {"reason_code": "mistake", "shown": seen.context["reversal"].digest, "confirm": "yes"}
    assert browser.post(address, sent).status_code == 302
    assert Decision.objects.filter(reverses=decision).exists()
