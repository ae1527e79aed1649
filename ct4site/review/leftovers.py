"""Rows that a roll-back left alone: accepted as they are, or put back once more (reliability F23)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site import audit
from ct4site.admin_base import Section, link_to, words
from ct4site.jobs import JobError
from ct4site.models import AuditEntry, CaseKind, ReviewCase, UndoLeftover
from ct4site.review import kinds
from ct4site.review.kinds import Choice, Deciding, Kind, Unacceptable

SHOWN = 5

# Why a row stayed, as a sentence; a room adds its own.
WHY: dict[str, str | Promise] = {
    audit.CHANGED: gettext_lazy("The row was changed again after that run."),
    audit.USED: gettext_lazy("Newer work stands on another row of the same person."),
    audit.REFERRED: gettext_lazy("Another row still refers to it."),
    audit.TAKEN: gettext_lazy("Another row stands in its place by now."),
    audit.WITH_PERSON: gettext_lazy("Another row of the same person stays, and a person is put back whole or not at all."),
}  # fmt: skip


def subject_of(case: ReviewCase) -> tuple[int, str, str]:
    """Return what a case is about: the run that was taken back, the table and the key of the row."""
    run, table, key = case.subject_key.split(":", 2)
    return int(run), table, key


def _subject_in_words(case: ReviewCase) -> str:
    run, table, key = subject_of(case)
    return _("%(table)s %(key)s (run %(run)s)") % {"table": table, "key": key, "run": run}


def _title(case: ReviewCase) -> str:
    run, table, key = subject_of(case)
    return _("%(table)s %(key)s, left by the roll-back of run %(run)s") % {"table": table, "key": key, "run": run}


def _why(case: ReviewCase) -> str:
    return words(WHY, case.raised_by)


def _evidence(case: ReviewCase) -> Iterable[Section]:
    from ct4site.admin import audit_section  # a screen's module; it needs all apps

    run, table, key = subject_of(case)
    left = UndoLeftover.objects.filter(undone_run=run, subject_table=table, subject_key=key)
    yield Section.of(
        _("What became of the row"),
        {
            _("When"): lambda line: line.left_at,
            _("What"): lambda line: outcome_in_words(line.outcome),
            _("Run"): lambda line: link_to(line.run, f"#{line.run_id}"),
        },
        left.select_related("run").order_by("-id"),
    )
    # A run's entries lie together, a person's are found by index; those of a row alone would be searched for.
    entries = AuditEntry.objects.filter(run=run, subject_table=table, subject_key=key)
    if case.person_key is not None:
        entries = AuditEntry.objects.filter(person_key=case.person_key)
    yield audit_section(entries)


def outcome_in_words(outcome: str) -> str:
    """Return what became of a row in words."""
    if outcome == audit.RESTORED:
        return _("Put back.")
    if outcome == audit.ACCEPTED:
        return _("Accepted as it is.")
    return words(WHY, outcome)


def _accept(deciding: Deciding) -> Collection[uuid.UUID]:
    run, table, key = subject_of(deciding.case)
    UndoLeftover.objects.create(
        run_id=deciding.run_id, undone_run_id=run, subject_table=table, subject_key=key,
        person_key=deciding.case.person_key, outcome=audit.ACCEPTED,
    )  # fmt: skip
    return ()


def _try_again(deciding: Deciding) -> Collection[uuid.UUID]:
    run, table, key = subject_of(deciding.case)
    try:
        audit.restore_run(
            run_id=run,
            reversal_id=deciding.run_id,
            actor=deciding.actor,
            reason=deciding.reason,
            only=audit.Row(table, key, deciding.case.person_key),
        )
    except JobError as error:
        raise Unacceptable(str(error)) from error
    if kept := audit.kept_rows(SHOWN):
        told = " ".join(
            _("%(table)s %(keys)s: %(why)s") % {"table": name, "keys": ", ".join(keys), "why": words(WHY, outcome)}
            for name, outcome, _count, keys in kept
            if outcome != audit.WITH_PERSON or len(kept) == 1
        )
        raise Unacceptable(_("This still stands in the way. %(what)s") % {"what": told})
    audit.tell_leftovers(run_id=run, reversal_id=deciding.run_id)
    return audit.undone_persons()


CHOICES = (
    Choice(
        code="try_again",
        label=gettext_lazy("Try again"),
        help=gettext_lazy("Puts the row back, and the other rows of its person with it, if nothing stands in the way."),
        apply=_try_again,
        persons=kinds.persons_of,
    ),
    Choice(
        code="accept",
        label=gettext_lazy("Leave it as it is"),
        help=gettext_lazy("The row stays as it is now; nobody is asked again unless the run is rolled back once more."),
        apply=_accept,
        persons=kinds.nobody,
    ),
)

KIND = Kind(
    code=CaseKind.NOT_RESTORED,
    causes="ops.not_restored_causes",
    choices=lambda case: CHOICES,
    title=_title,
    why=_why,
    evidence=_evidence,
    causes_in_words=WHY,
    subject_in_words=_subject_in_words,
    narrowed_by="""
        (undone_run_id, left_table, left_key) in (
            select
                split_part(wanted, ':', 1)::integer, split_part(wanted, ':', 2),
                substr(wanted, length(split_part(wanted, ':', 1) || split_part(wanted, ':', 2)) + 3)
            from unnest({keys}) as keys (wanted)
        )
    """,
)
kinds.register(KIND)
