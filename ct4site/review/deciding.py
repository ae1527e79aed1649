"""Decisions of persons: previewed, then applied exactly as shown, or shown again (promises P4, P5; reliability F21).

A preview is the decision itself inside a savepoint that is taken back, so the two cannot differ. The digest of what it
did binds the confirmation to what was shown.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from ct4site.models import CaseStatus, ClosedBecause, Decision, JobType, Proposal, ReviewCase, Run, RunStatus
from ct4site.review import cases, kinds

DECIDE = "ct4site.decide_case"
LONGEST_REASON = 2000


class Overtaken(Exception):
    """The case is not what it was when the person saw it: somebody decided it, or its cause changed or is gone."""

    def __init__(self, case: ReviewCase) -> None:
        self.case = case
        self.decision = case.decisions.order_by("-id").select_related("actor").first()
        super().__init__(_("This case has changed since you opened it."))


class HeldByOther(Exception):
    """Somebody else is looking at the case, or the person at too many others."""

    def __init__(self, case: ReviewCase) -> None:
        self.case = case
        if (holder := case.holder) is not None:
            super().__init__(_("%(who)s holds this case.") % {"who": holder.get_username()})
        else:
            super().__init__(_("You hold as many cases as one person may. Decide or leave another one first."))


@dataclass(frozen=True)
class Wish:
    """What a person wants to decide, and why."""

    choice: str
    target: dict[str, Any]
    reason_code: str
    reason_text: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a decision does: its consequences by section, how many rows it changed, the digest of all that, to whom."""

    consequences: dict[str, Any]
    audit: int
    digest: str
    run: Run | None = None
    needs_approval: bool = False
    changed_since: bool = False
    persons: tuple[uuid.UUID, ...] = ()


# The rows as they were, and what is done to them; keys of rows that are made now are not known before. The run is over
# with this, so that it gets the digest of its entries, as ``seal_entries`` gives it to others.
_DONE = """
with told as materialized (
    select distinct on (entries.subject_table, entries.subject_key)
        entries.action, entries.subject_table, entries.before,
        count(*) over (partition by entries.subject_table, entries.subject_key) as entries
    from ops.audit_log as entries
    where entries.run_id = %(run)s
    order by entries.subject_table, entries.subject_key, entries.id
),

sealed as (
    select
        encode(sha256(coalesce(string_agg(hashes.row_hash, ''::bytea order by hashes.id), '')), 'hex') as digest,
        min(hashes.id) as audit_from
    from ops.audit_hashes() as hashes
    where hashes.run_id = %(run)s
),

counted as (
    update ops.ingestion_runs as runs
    set stats = jsonb_build_object('audit', (select coalesce(sum(told.entries), 0) from told)),
        digest = sealed.digest,
        audit_from = sealed.audit_from
    from sealed
    where runs.id = %(run)s
    returning runs.stats
)

select
    (select (counted.stats ->> 'audit')::bigint from counted),
    coalesce(md5(string_agg(concat_ws('|', told.action, told.subject_table, told.before::text), chr(10) order by
        told.action collate "C", told.subject_table collate "C", told.before::text collate "C")), '')
from told
"""


def measured(
    *, job_type: str, actor: str, reverses: Run | None, persons: Callable[[], Collection[uuid.UUID]],
    work: Callable[[Run], Collection[uuid.UUID]], bound_to: Mapping[str, Any], changes_links: bool = True,
) -> Outcome:  # fmt: skip
    """Do a piece of work of one person as a run of its own, and say what it did; inside a transaction.

    Takes the run's kind, who, what it takes back, whose consequences are told, and the work: it gets the run, writes
    with audit and returns further persons it touched. ``bound_to`` goes into the digest. ``changes_links`` says whether
    links or origins may change. Everything is read and written in the turn of all writers. What is derived of the
    persons is brought up to date before the consequences are told.
    """
    declared = kinds.declared_consequences()
    if declared:
        declared.take_turns(links=changes_links)
    known = sorted(set(persons()))
    before = declared.snapshot(known) if declared else {}
    run = Run.objects.create(
        job_type=job_type, actor=actor, status=RunStatus.COMPLETED, completed_at=Now(), attempt=1, reverses=reverses
    )
    touched = sorted(set(known) | set(work(run)))
    if declared:
        declared.follow(persons=touched, run_id=run.pk, actor=actor)
    with connection.cursor() as cursor:
        cursor.execute(_DONE, {"run": run.pk})
        audit, done = cursor.fetchone()
    consequences = declared.difference(before, declared.snapshot(touched)) if declared else {}
    text = json.dumps([bound_to, consequences, done], sort_keys=True, default=str)
    return Outcome(
        consequences=consequences,
        audit=audit,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        run=run,
        needs_approval=bool(declared and declared.needs_approval(consequences)),
        persons=tuple(touched),
    )


def locked(case_id: int, actor: User, expected_version: int, *, approving: bool = False) -> ReviewCase:
    """Return a case, locked until the transaction ends, on the version and with the lease of the actor.

    For an approved decision (``approving``) the case is frozen instead. Raises ``Overtaken`` or ``HeldByOther``.
    """
    case = None if approving else cases.leased(case_id, actor)
    if case is None:
        case = ReviewCase.objects.select_for_update(of=("self",)).select_related("leased_to").get(pk=case_id)
    if case.status != CaseStatus.OPEN or case.version != expected_version or case.is_frozen != approving:
        raise Overtaken(case)
    if not approving and case.leased_to_id != actor.pk:
        raise HeldByOther(case)
    return case


def preview(*, case_id: int, wish: Wish, actor: User, expected_version: int) -> Outcome:
    """Return what a decision would do; nothing stays written.

    Raises ``Overtaken``, ``HeldByOther``, or ``kinds.Unacceptable`` for something that cannot be done.
    """
    with transaction.atomic():
        case = locked(case_id, actor, expected_version)
        with transaction.atomic():
            outcome = _done(case, wish, actor)
            transaction.set_rollback(True)
    return outcome


def decide(
    *, case_id: int, wish: Wish, actor: User, expected_version: int, shown: str, proposal: Proposal | None = None
) -> Decision | Outcome:
    """Decide a case if that does what was shown, else return what it would do now, with ``changed_since``.

    Takes the digest of the preview the person saw as ``shown``; ``proposal`` is the approved one that is carried out,
    for its proposer. Returns the receipt, or the outcome when it is not what was shown or needs a second person
    (``needs_approval``). Raises as ``preview``.
    """
    with transaction.atomic():
        case = locked(case_id, actor, expected_version, approving=proposal is not None)
        outcome = _done(case, wish, actor)
        if outcome.digest != shown or (outcome.needs_approval and proposal is None):
            transaction.set_rollback(True)
            return replace(outcome, run=None, changed_since=outcome.digest != shown)
        return receive(case, wish, actor, outcome, proposal)


def decide_unseen(
    *, case_id: int, wish: Wish, actor: User, expected_version: int, proposal: Proposal | None
) -> Decision:
    """Decide one of many cases without a preview of its own; inside a transaction. Returns the receipt.

    Raises as ``preview``, ``Overtaken`` also when the cause is not what it was at that version, and
    ``kinds.Unacceptable`` for one that needs a second person of its own.
    """
    case = locked(case_id, actor, expected_version, approving=proposal is not None)
    if cases.cause_digest(case) != case.cause_digest:
        raise Overtaken(case)
    outcome = _done(case, wish, actor)
    if outcome.needs_approval and proposal is None:
        raise kinds.Unacceptable(_("This needs a second person."))
    return receive(case, wish, actor, outcome, proposal)


def receive(
    case: ReviewCase, wish: Wish, actor: User, outcome: Outcome, proposal: Proposal | None = None,
    reverses: Decision | None = None,
) -> Decision:  # fmt: skip
    """Write the receipt of work that was done, and end the case if it is decided; inside its transaction."""
    assert outcome.run is not None
    choice = kinds.choice_of(case, wish.choice) if reverses is None else None
    decision = Decision.objects.create(
        case=case,
        case_version=case.version,
        choice=wish.choice,
        target=wish.target,
        reason_code=wish.reason_code,
        reason_text=wish.reason_text[:LONGEST_REASON],
        actor=actor,
        proposal=proposal,
        run=outcome.run,
        consequences=outcome.consequences,
        reverses=reverses,
        **(cases.put_off(case) if choice and choice.puts_off else {}),
    )
    if choice:
        ended = {"status": CaseStatus.CLOSED, "closed_at": Now(), "closed_because": ClosedBecause.DECIDED}
        ReviewCase.objects.filter(pk=case.pk).update(
            version=case.version + 1,
            is_frozen=False,
            **cases.NO_LEASE,
            **(ended if choice.closes else {}),
        )
    # What was decided may end other cases of these persons, or raise this one again.
    cases.refresh_of_persons(outcome.persons)
    if reverses is not None:
        cases.restore_due_day(case)
        cases.refresh(case.kind, [case.subject_key])
    return decision


def _done(case: ReviewCase, wish: Wish, actor: User) -> Outcome:
    choice = kinds.choice_of(case, wish.choice)

    def work(run: Run) -> Collection[uuid.UUID]:
        return choice.apply(
            kinds.Deciding(
                case=case,
                target=wish.target,
                run_id=run.pk,
                actor=actor.get_username(),
                reason=reason_of(wish),
                new_person_key=uuid.uuid5(uuid.NAMESPACE_OID, f"ct4 case {case.pk} version {case.version}"),
            )
        )

    outcome = measured(
        job_type=JobType.REVIEW_DECISION,
        actor=actor.get_username(),
        reverses=None,
        persons=lambda: choice.persons(case, wish.target),
        work=work,
        changes_links=kinds.kind_of(case).changes_links,
        # The cause as it is now: what a refresh of the cases has not seen yet, nobody has weighed.
        bound_to={
            "case": case.pk, "version": case.version, "cause": cases.cause_digest(case), "choice": wish.choice,
            "target": wish.target,
        },
    )  # fmt: skip
    if choice.needs_approval:
        outcome = replace(outcome, needs_approval=True)
    return outcome


def reason_of(wish: Wish) -> str:
    """Return the reason of a decision as one line of the audit."""
    return f"{wish.reason_code}: {wish.reason_text}" if wish.reason_text else wish.reason_code


def proposed_by(wish: Wish, actor: User) -> dict[str, Any]:
    """Return the columns of a proposal that say who proposes it and why."""
    return {
        "reason_code": wish.reason_code,
        "reason_text": wish.reason_text[:LONGEST_REASON],
        "proposed_by": actor,
        "proposer_address": actor.email.strip().lower(),
    }
