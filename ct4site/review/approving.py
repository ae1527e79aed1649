"""Four eyes: what one person proposed another approves, exactly as proposed (promise P9, reliability F22)."""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from ct4site.jobs import JobError
from ct4site.models import Decision, Deed, Proposal, ProposalStatus, ReviewCase, Run
from ct4site.review import cases, deciding, kinds, many, reversing
from ct4site.review.deciding import Outcome, Overtaken, Wish
from ct4site.review.many import Report
from ct4site.review.reversing import Reversal, StandsFirm
from ct4site.rollback import refuse_decision, start_roll_back

APPROVE = "ct4site.approve_proposal"
# What the proposer must still be allowed to when it is done.
NEEDED = {
    Deed.DECIDE: deciding.DECIDE, Deed.DECIDE_MANY: deciding.DECIDE, Deed.REVERSE: deciding.DECIDE,
    Deed.ROLL_BACK: "ct4site.roll_back_run",
}  # fmt: skip


class NotAllowed(Exception):
    """This person may not answer this proposal; the message says why."""


def decide_or_propose(
    *, case_id: int, wish: Wish, actor: User, expected_version: int, shown: str
) -> Decision | Proposal | Outcome:
    """Decide a case; where that needs a second person propose it, and freeze the case for everybody and every job.

    Takes what ``deciding.decide`` takes. Returns the receipt, the proposal, or what the decision would do now when that
    is not what was shown. Raises as ``deciding.preview``.
    """
    asked: dict[str, Any] = {"case_id": case_id, "wish": wish, "actor": actor, "expected_version": expected_version}
    done = deciding.decide(**asked, shown=shown)
    if isinstance(done, Decision) or done.changed_since:
        return done
    return propose_decision(**asked, outcome=done)


def propose_decision(
    *, case_id: int, wish: Wish, actor: User, expected_version: int, outcome: Outcome
) -> Proposal:  # fmt: skip
    """Propose a decision with what it does (``outcome``, just looked at), and freeze its case until the answer.

    Raises ``Overtaken`` or ``HeldByOther`` as ``deciding.preview``.
    """
    with transaction.atomic():
        deciding.locked(case_id, actor, expected_version)
        proposal = Proposal.objects.create(
            deed=Deed.DECIDE,
            case_id=case_id,
            request={"choice": wish.choice, "target": wish.target, "version": expected_version},
            consequences=outcome.consequences,
            digest=outcome.digest,
            **deciding.proposed_by(wish, actor),
        )
        cases.freeze([case_id])
    return proposal


def propose_reversal(
    *, decision_id: int, wish: Wish, actor: User, shown: str, together: bool = False
) -> Proposal | Reversal:
    """Propose to take a decision back that needs a second person, and freeze the cases concerned that are open.

    Takes what ``reversing.reverse`` takes. Returns the proposal, or what taking back would do now when that is not what
    was shown. Raises as ``reversing.preview``.
    """
    with transaction.atomic():
        reversing.locked(decision_id)
        reversal = reversing.preview(decision_id=decision_id, wish=wish, actor=actor, together=together)
        if reversal.digest != shown:
            return reversal
        concerned = list(reversing.open_cases(reversal.decisions).order_by("pk").values_list("pk", "version"))
        proposal = Proposal.objects.create(
            deed=Deed.REVERSE,
            decision_id=decision_id,
            request={
                "together": together, "cases": concerned, "decisions": [decision.pk for decision in reversal.decisions]
            },
            consequences=[
                {"decision": decision.pk, "rows": outcome.audit, "consequences": outcome.consequences}
                for decision, outcome in zip(reversal.decisions, reversal.outcomes, strict=True)
            ],
            digest=reversal.digest,
            **deciding.proposed_by(wish, actor),
        )  # fmt: skip
        cases.freeze([case_id for case_id, _version in concerned])
    return proposal


def propose_roll_back(*, run: Run, wish: Wish, actor: User) -> Proposal:
    """Propose to take a run back. Raises ``NotAllowed`` for a decision's, and while a proposal for it waits."""
    try:
        refuse_decision(run)
        with transaction.atomic():
            return Proposal.objects.create(
                deed=Deed.ROLL_BACK,
                run=run,
                request={"run": run.pk},
                digest=_digest_of(run),
                **deciding.proposed_by(wish, actor),
            )
    except JobError as error:
        raise NotAllowed(str(error)) from error
    except IntegrityError:
        raise NotAllowed(_("Run %(id)s waits for approval of its roll-back already.") % {"id": run.pk}) from None


def _digest_of(run: Run) -> str:
    return hashlib.sha256(f"{run.pk} {run.job_type} {run.started_at.isoformat()} {run.stats}".encode()).hexdigest()


def may_answer(proposal: Proposal, user: User) -> str:
    """Return why a person may not approve or refuse a proposal; an empty text when they may."""
    if not user.has_perm(APPROVE):
        return _("Approving is for approvers.")
    if user.pk == proposal.proposed_by_id or (
        proposal.proposer_address and user.email.strip().lower() == proposal.proposer_address
    ):
        return _("Another person than the proposer has to approve.")
    return ""


def answer(*, proposal_id: int, approver: User, approve: bool, text: str = "") -> Proposal:
    """Approve or refuse a proposal; what is approved is done at once, as its proposer, if it is still what was proposed.

    Returns the proposal: APPROVED, REFUSED, or OUTDATED when it would not do any more what was proposed. Raises
    ``NotAllowed``: no right to approve, the proposer himself, a proposer who may not do it any more, a roll-back that
    cannot start, or an answer was given before.
    """
    with transaction.atomic():
        approver = User.objects.get(pk=approver.pk)  # rights may have gone since the page was opened
        proposal = _waiting(proposal_id)
        if refusal := may_answer(proposal, approver):
            raise NotAllowed(refusal)
        if approve and not proposal.proposed_by.has_perm(NEEDED[Deed(proposal.deed)]):
            raise NotAllowed(_("The proposer may not do this any more. Refuse the proposal."))
        if not approve:
            _close(proposal, ProposalStatus.REFUSED, approver, text)
        elif not _approved_and_done(proposal, approver, text):
            _close(proposal, ProposalStatus.OUTDATED, approver, text)
    if proposal.status == ProposalStatus.APPROVED and proposal.deed == Deed.DECIDE_MANY:
        # Each in a transaction of its own: many decisions in one would hold too many locks.
        _decide_many(proposal, set(cases.frozen_by(proposal)))
    return proposal


def carry_on() -> list[tuple[Proposal, Report]]:
    """Finish approved proposals of many that stopped half way, and free cases that wait for nobody.

    Returns the proposals with what was done of each now. A case is decided once: its version has grown since, or it is
    frozen no more. Must not run inside a transaction, or many decisions hold too many locks.
    """
    frozen = set(ReviewCase.objects.filter(is_frozen=True).values_list("pk", flat=True))
    for proposal in Proposal.objects.filter(status=ProposalStatus.WAITING):
        frozen.difference_update(cases.frozen_by(proposal))
    finished = []
    # The newest that names a case froze it: older ones were done with it when it was proposed again.
    approved = Proposal.objects.filter(status=ProposalStatus.APPROVED, deed=Deed.DECIDE_MANY).order_by("-pk")
    for proposal in approved if frozen else ():
        mine = frozen.intersection(cases.frozen_by(proposal))
        frozen -= mine
        if mine and proposal.proposed_by.has_perm(NEEDED[Deed.DECIDE_MANY]):
            finished.append((proposal, _decide_many(proposal, mine)))
        else:
            cases.thaw(mine)
    cases.thaw(frozen)
    return finished


def withdraw(*, proposal_id: int, actor: User) -> Proposal:
    """Take an own proposal back. Raises ``NotAllowed`` for somebody else's, or one that was answered."""
    with transaction.atomic():
        proposal = _waiting(proposal_id)
        if proposal.proposed_by_id != actor.pk:
            raise NotAllowed(_("Only who proposed it can withdraw it."))
        _close(proposal, ProposalStatus.WITHDRAWN, actor, "")
    return proposal


def _waiting(proposal_id: int) -> Proposal:
    proposal = Proposal.objects.select_for_update(of=("self",)).get(pk=proposal_id)
    if proposal.status != ProposalStatus.WAITING:
        raise NotAllowed(_("This proposal was answered already: %(what)s.") % {"what": proposal.get_status_display()})
    return proposal


def _close(proposal: Proposal, status: str, person: User, text: str) -> None:
    proposal.status = status
    proposal.decided_by = person
    proposal.decider_address = person.email.strip().lower()
    proposal.answer = text[: deciding.LONGEST_REASON]
    Proposal.objects.filter(pk=proposal.pk).update(
        status=status,
        decided_by=person,
        decider_address=proposal.decider_address,
        decided_at=Now(),
        answer=proposal.answer,
    )
    if status != ProposalStatus.APPROVED:
        cases.thaw(cases.frozen_by(proposal))


def _wish(proposal: Proposal) -> Wish:
    asked = proposal.request
    if proposal.deed == Deed.REVERSE:
        return Wish(reversing.REVERSE, {}, proposal.reason_code, proposal.reason_text)
    return Wish(asked["choice"], asked["target"], proposal.reason_code, proposal.reason_text)


def _approved_and_done(proposal: Proposal, approver: User, text: str) -> bool:
    """Approve a proposal and do what was proposed; return whether it still was that, else nothing is written."""
    try:
        with transaction.atomic():
            _close(proposal, ProposalStatus.APPROVED, approver, text)
            is_done = _done(proposal)
            transaction.set_rollback(not is_done)
    except (Overtaken, StandsFirm, kinds.Unacceptable):
        return False
    return is_done


def _done(proposal: Proposal) -> bool:
    """Do what was proposed; return whether it is that still. Many cases are only compared: they are decided later."""
    if proposal.deed == Deed.DECIDE_MANY:
        return many.digest_of(proposal.request["cases"], _wish(proposal)) == proposal.digest
    if proposal.deed == Deed.ROLL_BACK:
        assert proposal.run is not None
        return _digest_of(proposal.run) == proposal.digest and _roll_back_started(proposal)
    asked: dict[str, Any] = {
        "wish": _wish(proposal), "actor": proposal.proposed_by, "shown": proposal.digest, "proposal": proposal
    }  # fmt: skip
    done: Any
    if proposal.deed == Deed.REVERSE:
        cases.thaw(cases.frozen_by(proposal))
        together = proposal.request["together"]
        done = reversing.reverse(decision_id=proposal.decision_id, together=together, **asked)  # type: ignore[arg-type]
    else:
        version = proposal.request["version"]
        done = deciding.decide(case_id=proposal.case_id, expected_version=version, **asked)  # type: ignore[arg-type]
    return not isinstance(done, Outcome | Reversal)


def _roll_back_started(proposal: Proposal) -> bool:
    try:
        start_roll_back(run_id=proposal.request["run"], actor=proposal.proposed_by.get_username(), queue=True)
    except JobError as error:
        raise NotAllowed(str(error)) from error
    return True


def _decide_many(proposal: Proposal, wanted: set[int]) -> Report:
    chosen = [(case_id, version) for case_id, version in proposal.request["cases"] if case_id in wanted]
    report = many.decide_many(chosen=chosen, wish=_wish(proposal), actor=proposal.proposed_by, proposal=proposal)
    # Those that had changed since are free again.
    cases.thaw(wanted)
    return report
