"""Taking back what one person alone may not take back: proposed, then approved by another (P6, P9; F22, F23)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from attribution.models import LedgerEntry
from ct4site import invariants
from ct4site.models import (
    CaseKind,
    CaseStatus,
    Decision,
    Deed,
    JobType,
    Proposal,
    ProposalStatus,
    ReviewCase,
    Run,
    RunStatus,
)
from ct4site.review import approving, deciding, reversing
from ct4site.review.deciding import Overtaken, Wish
from ct4site.review.reversing import Reversal
from ct4site.roles import Role
from tests.attribution import stories
from tests.attribution.test_following import a_driving_recruit, registered, settled_world, whole_refresh
from tests.ct4site.test_review import a_user, conflicts, decided, ledger, scout, taken_back
from tests.ct4site.test_review_breaks import proposed, site
from tests.factories import refresh, run_job
from tests.reviewers import everything

pytestmark = pytest.mark.django_db

BACK = Wish(reversing.REVERSE, {}, "mistake", "it was somebody else")


def asked(decision: Decision, actor: User, *, together: bool = False) -> dict[str, Any]:
    return {"decision_id": decision.pk, "wish": BACK, "actor": actor, "together": together}


def proposed_back(decision: Decision, actor: User, *, together: bool = False) -> Proposal:
    """Propose to take a decision back, as its page does; before, one person alone is refused."""
    wanted = asked(decision, actor, together=together)
    before = everything()
    seen = reversing.preview(**wanted)
    assert seen.needs_approval
    alone = reversing.reverse(**wanted, shown=seen.digest)
    assert isinstance(alone, Reversal), "one person alone took it back"
    assert everything() == before
    proposal = approving.propose_reversal(**wanted, shown=seen.digest)
    assert isinstance(proposal, Proposal)
    assert everything() == before
    return proposal


def approved(proposal: Proposal, approver: User) -> Proposal:
    return approving.answer(proposal_id=proposal.pk, approver=approver, approve=True)


def a_settled_choice(ana: User) -> tuple[Decision, dict[str, Any]]:
    """A person given to scout 7, for whom that scout was settled since; and all as it was before the decision."""
    recruit = a_driving_recruit(scout=7)
    registered(recruit.person, 9, days_ago=44)
    refresh()
    whole_refresh()
    run_job(JobType.REVIEW_REFRESH)
    case = ReviewCase.objects.get(kind=CaseKind.CONFLICT)
    before = everything()
    decision = decided(case, scout(7), ana)
    settled_world()
    return decision, before


@pytest.fixture
def ana(db: None) -> User:
    return a_user("ana", email="ana@example.org")


@pytest.fixture
def eva(db: None) -> User:
    return a_user("eva", Role.APPROVER, email="eva@example.org")


@pytest.fixture
def undone(ana: User, eva: User) -> Decision:
    """The reversal of a decision that a second person approved: only two may do that decision again."""
    (case,) = conflicts()
    assert approved(proposed(case, ana), eva).status == ProposalStatus.APPROVED
    (receipt,) = taken_back(Decision.objects.get(), ana)
    return receipt


def faults() -> list[str]:
    return [finding.name for finding in invariants.check(names=["chk_decision_is_approved"]) if finding.count]


def test_what_changes_a_settled_amount_is_taken_back_by_two(ana: User, eva: User) -> None:
    decision, before = a_settled_choice(ana)
    proposal = proposed_back(decision, ana)
    assert (proposal.deed, proposal.decision, proposal.case) == (Deed.REVERSE, decision, None)
    assert proposal.consequences[0]["consequences"]["sums"]
    with pytest.raises(approving.NotAllowed):
        approved(proposal, ana)
    assert not Decision.objects.filter(reverses=decision).exists()
    assert approved(proposal, eva).status == ProposalStatus.APPROVED
    receipt = Decision.objects.get(reverses=decision)
    assert (receipt.actor, receipt.proposal, receipt.reason_text) == (ana, proposal, BACK.reason_text)
    assert everything() == before
    assert ReviewCase.objects.get(kind=CaseKind.CONFLICT, status=CaseStatus.OPEN).is_frozen is False
    # At any depth: done again, and taken back again.
    assert approved(proposed_back(receipt, ana), eva).status == ProposalStatus.APPROVED
    again = Decision.objects.get(reverses=receipt)
    assert LedgerEntry.objects.get(person=decision.case.person_key).attributed_scout_id == 7
    assert approved(proposed_back(again, ana), eva).status == ProposalStatus.APPROVED
    assert everything() == before
    assert faults() == []


@pytest.mark.slow
def test_the_database_refuses_who_takes_back_with_himself(undone: Decision) -> None:
    root = User.objects.create_superuser("root")
    proposal = proposed_back(undone, root)
    with pytest.raises(approving.NotAllowed):
        approved(proposal, root)
    with pytest.raises(IntegrityError, match="approver_is_another_person"), transaction.atomic():
        Proposal.objects.filter(pk=proposal.pk).update(status=ProposalStatus.APPROVED, decided_by=root)


@pytest.mark.slow
def test_what_a_second_person_approved_is_done_again_by_two(undone: Decision, ana: User, eva: User) -> None:
    proposal = proposed_back(undone, ana)
    case = ReviewCase.objects.get(status=CaseStatus.OPEN)
    assert case.is_frozen
    run_job(JobType.REVIEW_REFRESH)
    case.refresh_from_db()
    assert case.is_frozen
    assert approved(proposal, eva).status == ProposalStatus.APPROVED
    assert ledger(case)[1] == "RESOLVED_MANUAL_CONFLICT"
    redone = Decision.objects.get(reverses=undone)
    assert redone.proposal == proposal
    assert not ReviewCase.objects.filter(status=CaseStatus.OPEN).exists()
    # Taking it back once more is nobody's second deed; doing it a third time is.
    (once_more,) = taken_back(redone, ana)
    assert reversing.preview(**asked(once_more, ana)).needs_approval
    assert faults() == []


@pytest.mark.slow
def test_a_reversal_that_would_do_something_else_by_now_is_outdated(undone: Decision, ana: User, eva: User) -> None:
    proposal = proposed_back(undone, ana)
    before = LedgerEntry.objects.get(person=undone.case.person_key)
    LedgerEntry.objects.filter(pk=before.pk).update(attributed_scout_id=9)
    assert approved(proposal, eva).status == ProposalStatus.OUTDATED
    assert not Decision.objects.filter(reverses=undone).exists()
    assert not ReviewCase.objects.filter(is_frozen=True).exists()


@pytest.mark.parametrize("way", ["refused", "withdrawn"])
@pytest.mark.slow
def test_a_refused_or_withdrawn_reversal_leaves_the_decision_and_frees_its_case(
    way: str, undone: Decision, ana: User, eva: User
) -> None:
    proposal = proposed_back(undone, ana)
    if way == "refused":
        approving.answer(proposal_id=proposal.pk, approver=eva, approve=False, text="no")
    else:
        approving.withdraw(proposal_id=proposal.pk, actor=ana)
    assert not ReviewCase.objects.filter(is_frozen=True).exists()
    assert not Decision.objects.filter(reverses=undone).exists()
    assert approved(proposed_back(undone, ana), eva).status == ProposalStatus.APPROVED


@pytest.mark.slow
def test_what_waits_for_a_second_person_is_neither_proposed_again_nor_taken_back(undone: Decision, ana: User) -> None:
    proposal = proposed_back(undone, ana)
    for actor in (ana, a_user("luis")):
        with pytest.raises(Overtaken):
            reversing.preview(**asked(undone, actor))
        with pytest.raises(Overtaken):
            approving.propose_reversal(**asked(undone, actor), shown=proposal.digest)
    twice = Proposal(
        deed=Deed.REVERSE, decision=undone, digest="x", reason_code="mistake", proposed_by=ana, request={}
    )  # fmt: skip
    with pytest.raises(IntegrityError, match="one_waiting_proposal_per_decision"), transaction.atomic():
        twice.save()
    with pytest.raises(Exception, match="keeps what was proposed"), transaction.atomic():
        Proposal.objects.filter(pk=proposal.pk).update(decision=undone.reverses)


@pytest.mark.slow
def test_later_decisions_are_proposed_with_it_and_none_of_them_is_taken_back_meanwhile(ana: User, eva: User) -> None:
    first, _before = a_settled_choice(ana)
    stories.events_of(LedgerEntry.objects.get(person=first.case.person_key).person, ("scouting", 3, 2))
    run_job(JobType.REVIEW_REFRESH)
    case = ReviewCase.objects.get(kind=CaseKind.CONFLICT, status=CaseStatus.OPEN)
    wanted: dict[str, Any] = {"case_id": case.pk, "wish": scout(3), "actor": ana, "expected_version": case.version}
    proposal = approving.decide_or_propose(**wanted, shown=deciding.preview(**wanted).digest)
    assert isinstance(proposal, Proposal)
    assert approved(proposal, eva).status == ProposalStatus.APPROVED
    second = Decision.objects.latest("pk")
    with pytest.raises(reversing.StandsFirm):
        reversing.preview(**asked(first, ana))

    together = proposed_back(first, ana, together=True)
    assert together.request["decisions"] == [second.pk, first.pk]
    with pytest.raises(Overtaken):
        reversing.preview(**asked(second, ana))
    page = site(eva).get(reverse("admin:ct4site_proposal_change", args=[together.pk])).content.decode()
    for decision in (first, second):
        assert reverse("admin:ct4site_decision_change", args=[decision.pk]) in page
        assert f"#{decision.pk}: Ledger" in page
    assert approved(together, eva).status == ProposalStatus.APPROVED
    receipts = Decision.objects.filter(proposal=together).order_by("pk")
    assert [receipt.reverses for receipt in receipts] == [second, first]
    assert "MANUAL" not in str(ledger(case)[1])


@pytest.mark.slow
def test_from_page_to_page_a_reversal_is_proposed_and_approved(undone: Decision, ana: User, eva: User) -> None:
    mine, address = site(ana), reverse("admin:ct4site_decision_reverse", args=[undone.pk])
    seen = mine.get(address)
    assert "Another person has to approve this" in seen.content.decode()
    assert "Propose for approval" in seen.content.decode()
    sent = {"reason_code": "mistake", "reason_text": "seen again", "confirm": "yes"}
    stale = mine.post(address, sent | {"shown": "something else"})
    assert stale.status_code == 409
    assert not Proposal.objects.filter(deed=Deed.REVERSE).exists()
    assert mine.post(address, sent | {"shown": seen.context["reversal"].digest}).status_code == 302
    proposal = Proposal.objects.get(deed=Deed.REVERSE)
    for page in (mine.get(address), mine.get(reverse("admin:ct4site_decision_change", args=[undone.pk]))):
        assert reverse("admin:ct4site_proposal_change", args=[proposal.pk]) in page.content.decode()
        assert 'name="confirm"' not in page.content.decode()
    listed = site(eva).get(reverse("admin:ct4site_proposal_changelist")).content.decode()
    assert "Taking a decision back" in listed
    spanish = Client()
    spanish.force_login(eva, backend="django.contrib.auth.backends.ModelBackend")
    assert "Deshacer una decisión" in spanish.get(reverse("admin:ct4site_proposal_changelist")).content.decode()
    site(eva).post(reverse("admin:ct4site_proposal_answer", args=[proposal.pk]), {"approve": "yes"})
    assert Decision.objects.get(reverses=undone).reason_text == "seen again"


@pytest.mark.parametrize("lost", ["right", "account"])
@pytest.mark.slow
def test_a_reversal_of_somebody_who_may_not_decide_any_more_is_not_done(
    lost: str, undone: Decision, ana: User, eva: User
) -> None:
    proposal = proposed_back(undone, ana)
    if lost == "right":
        ana.groups.clear()
    else:
        User.objects.filter(pk=ana.pk).update(is_active=False)
    with pytest.raises(approving.NotAllowed):
        approved(proposal, eva)
    assert not Decision.objects.filter(reverses=undone).exists()


@pytest.mark.slow
def test_only_whoever_decides_proposes_and_only_whoever_approves_answers(
    undone: Decision, ana: User, eva: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "django.request")
    address = reverse("admin:ct4site_decision_reverse", args=[undone.pk])
    shown = reversing.preview(**asked(undone, ana)).digest
    sent = {"reason_code": "mistake", "confirm": "yes", "shown": shown}
    answers = {role: site(a_user(f"some {role}", Role(role))).post(address, sent).status_code for role in Role.values}
    allowed = {role for role, status in answers.items() if status != 403}
    assert allowed == {Role.REVIEWER, Role.ADMIN}
    proposal = Proposal.objects.get(deed=Deed.REVERSE)
    for role in Role.values:
        person = User.objects.get(username=f"some {role}")
        if person != proposal.proposed_by:
            said = site(person).post(
                reverse("admin:ct4site_proposal_answer", args=[proposal.pk]), {"answer": "hm", "refuse": "yes"}
            )
            assert (said.status_code == 403) is (role not in (Role.APPROVER, Role.ADMIN)), role
    proposal.refresh_from_db()
    assert proposal.status == ProposalStatus.REFUSED


def test_a_decision_that_nobody_approved_is_found(undone: Decision, ana: User) -> None:
    run = Run.objects.create(job_type=JobType.ROLL_BACK, actor="ana", status=RunStatus.COMPLETED, completed_at=Now())
    Decision.objects.create(
        case=undone.case, case_version=1, choice=reversing.REVERSE, reason_code="mistake", actor=ana, run=run, reverses=undone
    )  # fmt: skip
    assert faults() == ["chk_decision_is_approved"]
