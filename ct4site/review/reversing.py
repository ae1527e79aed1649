"""Taking decisions back, at any depth: what stands on a decision is named, and can be taken back with it (P6, F23)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from ct4site import audit
from ct4site.models import CaseStatus, Decision, JobType, Proposal, ProposalStatus, ReviewCase, Run
from ct4site.review import deciding
from ct4site.review.deciding import Outcome, Wish

REVERSE = "reverse"


class StandsFirm(Exception):
    """A decision cannot be taken back by itself: later work stands on it.

    ``decisions`` are the later ones that could be taken back with it, newest first; ``rows`` tells what else keeps it:
    (table, why, how many, keys).
    """

    def __init__(self, decisions: list[Decision], rows: list[tuple[str, str, int, list[str]]]) -> None:
        self.decisions, self.rows = decisions, rows
        super().__init__(_("Later work stands on this decision."))


@dataclass(frozen=True)
class Reversal:
    """What taking back does: one outcome per decision, the newest first, and the digest of all."""

    decisions: list[Decision]
    outcomes: list[Outcome]

    @property
    def digest(self) -> str:
        return "-".join(outcome.digest[:32] for outcome in self.outcomes)

    @property
    def needs_approval(self) -> bool:
        """Whether a second person has to approve it."""
        return any(outcome.needs_approval for outcome in self.outcomes)


# Later decisions, not taken back yet, on a row or person of this one. A decision and its reversal that are both later
# cancel each other out: a reversal at an odd depth above a later decision stands in nobody's way.
_DEPENDENT = """
with recursive mine as (
    select entries.subject_table, entries.subject_key, entries.person_key, max(entries.id) as last_id
    from ops.audit_log as entries
    where entries.run_id = %(run)s
    group by entries.subject_table, entries.subject_key, entries.person_key
),

found as (
    select distinct decisions.id
    from mine
    inner join ops.audit_log as later
        on later.id > mine.last_id
        and (later.person_key = mine.person_key
            or (later.subject_table = mine.subject_table and later.subject_key = mine.subject_key))
    inner join ops.review_decisions as decisions on decisions.run_id = later.run_id
    where decisions.id > %(decision)s
        and not exists (select 1 from ops.review_decisions as undone where undone.reverses_id = decisions.id)
),

chains as (
    select found.id, found.id as first_id, 0 as depth from found
    union all
    select chains.id, decisions.reverses_id, chains.depth + 1
    from chains
    inner join ops.review_decisions as decisions on decisions.id = chains.first_id and decisions.reverses_id is not null
)

select chains.id
from chains
group by chains.id
having max(chains.depth) %% 2 = 0 or min(chains.first_id) < %(oldest)s
"""


def dependent(decision: Decision) -> list[Decision]:
    """Return the later decisions that stand on one, or on one of those, the newest first."""
    found: dict[int, Decision] = {}
    waiting = [decision]
    with connection.cursor() as cursor:
        while waiting:
            one = waiting.pop()
            asked = {"run": one.run_id, "decision": one.pk, "oldest": decision.pk}
            cursor.execute(_DEPENDENT, asked)
            keys = {row[0] for row in cursor.fetchall()} - found.keys()
            waiting += Decision.objects.filter(pk__in=keys).select_related("case", "actor", "run", "reverses")
            found |= {later.pk: later for later in waiting}
    return sorted(found.values(), key=lambda later: -later.pk)


def preview(*, decision_id: int, wish: Wish, actor: User, together: bool = False) -> Reversal:
    """Return what taking a decision back would do; nothing stays written. Raises as ``reverse``."""
    with transaction.atomic():
        reversal, _receipts = _taken_back(decision_id, wish, actor, together, None)
        transaction.set_rollback(True)
    return reversal


def reverse(
    *, decision_id: int, wish: Wish, actor: User, shown: str, together: bool = False, proposal: Proposal | None = None
) -> list[Decision] | Reversal:
    """Take a decision back, with ``together`` also the later ones that stand on it, the newest first.

    Takes the digest of the preview as ``shown``; ``proposal`` is the approved one that is carried out, for its
    proposer. Returns the receipts, or what it would do now when that is not what was shown or needs a second person
    (``needs_approval``). Raises ``StandsFirm`` when something stays in the way, ``deciding.Overtaken`` when it was taken
    back already, or it or its case waits for a second person.
    """
    with transaction.atomic():
        reversal, receipts = _taken_back(decision_id, wish, actor, together, proposal)
        if reversal.digest != shown or (reversal.needs_approval and proposal is None):
            transaction.set_rollback(True)
            return reversal
    return receipts


def locked(decision_id: int) -> Decision:
    """Return a decision, its case locked: whoever takes it back or proposes to is alone; inside a transaction."""
    decision = Decision.objects.select_related("case", "run", "reverses").get(pk=decision_id)
    ReviewCase.objects.select_for_update().filter(pk=decision.case_id).first()
    return decision


def open_cases(decisions: Collection[Decision]) -> QuerySet[ReviewCase]:
    """Return the open cases of what decisions were about."""
    about = Q(pk=None)
    for decision in decisions:
        about |= Q(kind=decision.case.kind, subject_key=decision.case.subject_key)
    return ReviewCase.objects.filter(about, status=CaseStatus.OPEN)


def proposals(decision: Decision) -> QuerySet[Proposal]:
    """Return the waiting proposals to take a decision back, by itself or with others."""
    return Proposal.objects.filter(status=ProposalStatus.WAITING, request__decisions__contains=[decision.pk])


def _taken_back(
    decision_id: int, wish: Wish, actor: User, together: bool, proposal: Proposal | None
) -> tuple[Reversal, list[Decision]]:
    decision = locked(decision_id)
    wanted = [*(dependent(decision) if together else []), decision]
    outcomes, receipts = [], []
    for one in wanted:
        outcome = _one(one, actor, proposal)
        outcomes.append(outcome)
        receipts.append(deciding.receive(one.case, wish, actor, outcome, proposal, reverses=one))
    return Reversal(wanted, outcomes), receipts


def _one(decision: Decision, actor: User, proposal: Proposal | None) -> Outcome:
    others = proposals(decision).exclude(pk=proposal.pk if proposal else 0)
    is_frozen = open_cases([decision]).filter(is_frozen=True)
    if Decision.objects.filter(reverses=decision).exists() or is_frozen.exists() or others.exists():
        raise deciding.Overtaken(decision.case)

    def work(run: Run) -> Collection[uuid.UUID]:
        audit.restore_run(
            run_id=decision.run_id,
            reversal_id=run.pk,
            actor=actor.get_username(),
            reason=_("Decision %(id)s taken back") % {"id": decision.pk},
        )
        if kept := audit.kept_rows(20):
            raise StandsFirm(dependent(decision), kept)
        audit.tell_leftovers(run_id=decision.run_id, reversal_id=run.pk)
        return audit.undone_persons()

    outcome = deciding.measured(
        job_type=JobType.ROLL_BACK,
        actor=actor.get_username(),
        reverses=decision.run,
        persons=lambda: _persons(decision),
        work=work,
        bound_to={"decision": decision.pk},
    )
    # What a second person approved is not done again by one alone, also not by way of taking something back (P9).
    does_again = decision.reverses is not None and decision.reverses.proposal_id is not None
    return replace(outcome, needs_approval=True) if does_again else outcome


def _persons(decision: Decision) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select distinct person_key from ops.audit_log where run_id = %s and person_key is not null",
            [decision.run_id],
        )
        found = {row[0] for row in cursor.fetchall()}
    return sorted(found | ({decision.case.person_key} - {None}))
