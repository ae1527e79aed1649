"""Persons whom several scouts claim, decided by people (domain.md 6.7 "Manual resolution", Q13, Q17, Q18)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.models import ConflictType, DecisionStatus, ScoutConflict
from attribution.undo import SETTLED
from ct4site.admin_base import Section
from ct4site.jobs import statement
from ct4site.models import CaseKind, ReviewCase
from ct4site.review import kinds, leftovers
from ct4site.review.kinds import Candidate, Choice, Deciding, Kind, TargetForm, Unacceptable, person_key_of
from identity.models import Person

if TYPE_CHECKING:
    from attribution.admin.dossier import Dossier

CAUSES = {
    "within_window": gettext_lazy("Several scouts registered the person within a few days"),
    "several_sources": gettext_lazy("The sources name different scouts"),
    "scout_after_decision": gettext_lazy("Another scout appeared after a person had decided"),
}


leftovers.WHY[SETTLED] = gettext_lazy("A scout was paid for this person.")


def _scouts_of(case: ReviewCase) -> list[int]:
    """Return the scouts in open conflict about the person of a case, in order; none when the conflict is gone."""
    found = ScoutConflict.objects.filter(pk=person_key_of(case), conflict_type=ConflictType.OPEN)
    return sorted(found.order_by().values_list("scout_ids", flat=True).first() or [])


def _read(case: ReviewCase) -> Dossier:
    """Return the dossier of the person of a case; read once for a page."""
    from attribution.admin import dossier  # screens; they need all apps

    def read() -> Dossier:
        # A roll-back may have taken the person away since; the closed case can still be read.
        key = person_key_of(case)
        return dossier.of(Person.objects.filter(pk=key).first() or Person(pk=key))

    return kinds.once(case, "dossier", read)


class ScoutForm(TargetForm):
    """Which of the scouts in conflict gets the person."""

    scout_id = forms.TypedChoiceField(label=gettext_lazy("Scout"), coerce=int)

    def __init__(self, *args: Any, case: ReviewCase, **kwargs: Any) -> None:
        from attribution.admin import labels

        super().__init__(*args, case=case, **kwargs)
        scouts = _scouts_of(case)
        names = labels.scouts_by_number(scouts)
        self.fields["scout_id"].choices = [(scout, labels.scout_text(scout, names)) for scout in scouts]  # type: ignore[attr-defined]


def _decide(deciding: Deciding, scout_id: int | None) -> Collection[uuid.UUID]:
    scouts = _scouts_of(deciding.case)
    if not scouts:
        raise Unacceptable(_("The conflict is gone: nothing is left to decide."))
    if scout_id is not None and scout_id not in scouts:
        raise Unacceptable(
            _("Scout %(scout)s is not one of those who claim this person: %(scouts)s.")
            % {"scout": scout_id, "scouts": ", ".join(map(str, scouts))}
        )
    statement(
        "review_conflict",
        {
            "person_key": person_key_of(deciding.case),
            "scout_id": scout_id,
            "scout_ids": scouts,
            "decision_status": DecisionStatus.UNASSIGNED if scout_id is None else DecisionStatus.ASSIGNED,
            **deciding.by,
        },
    )
    return ()


def _choose(deciding: Deciding) -> Collection[uuid.UUID]:
    scout_id = deciding.target.get("scout_id")
    if isinstance(scout_id, bool) or not isinstance(scout_id, int):
        raise Unacceptable(_("Say which scout gets the person."))
    return _decide(deciding, scout_id)


CHOICES = (
    Choice(
        code="choose_scout",
        label=gettext_lazy("Give the person to a scout"),
        help=gettext_lazy("The scout is credited from now on. No job changes that; a scout not known today raises the case again."),
        apply=_choose,
        persons=kinds.persons_of,
        form=ScoutForm,
        holds_for_alike=True,
    ),
    Choice(
        code="no_scout",
        label=gettext_lazy("Give the person to no scout"),
        help=gettext_lazy("Nobody is credited or paid for the person. A scout not known today raises the case again."),
        apply=lambda deciding: _decide(deciding, None),
        persons=kinds.persons_of,
    ),
)  # fmt: skip


def _why(case: ReviewCase) -> str:
    from attribution.admin import claims, labels

    read = _read(case)
    proof = claims.evidence(read.claims)
    scouts = sorted({claim.scout_id for claim in read.claims})
    values = {"scouts": labels.enumeration(labels.scout_text(scout, read.names) for scout in scouts)}
    dates = [claim.date for claim in proof if claim.date]
    if not dates or min(dates) == max(dates):
        return _("%(scouts)s claim this person.") % values
    values["days"] = claims.days_text((max(dates) - min(dates)).days)
    return _("%(scouts)s claim this person; the first and the last claim lie %(days)s apart.") % values


def _evidence(case: ReviewCase) -> Iterable[Section]:
    from attribution.admin import dossier

    return dossier.sections(_read(case))


def _candidates(case: ReviewCase) -> Sequence[Candidate]:
    """Return one candidate per scout: what speaks for it, and what against."""
    from attribution.admin import claims, labels
    from ct4site.admin_base import NOTHING, lima_time, words

    read = _read(case)
    start = claims.first_date(read.claims)
    found = []
    for scout in sorted({claim.scout_id for claim in read.claims}):
        own = [claim for claim in claims.evidence(read.claims) if claim.scout_id == scout]
        dates = [claim.date for claim in own if claim.date]
        first, last = min(dates, default=None), max(dates, default=None)
        is_winner = scout == read.verdict.winner
        against = read.verdict.sentence if is_winner else read.verdict.lost.get(scout, "")
        sources = sorted({words(labels.SOURCES, claim.source_table) for claim in own})
        found.append(
            Candidate(
                title=labels.scout(scout, read.names),
                sentence=f"{_claimed(first, start, bool(own))} {against}".strip(),
                facts={
                    _("First claim"): (lima_time(start), lima_time(first)),
                    _("Last claim"): (
                        lima_time(max((claim.date for claim in claims.evidence(read.claims) if claim.date), default=None)),
                        lima_time(last),
                    ),
                    _("Claims"): (len(claims.evidence(read.claims)), len(own)),
                    _("Sources"): ("", labels.enumeration(sources) or NOTHING),
                    _("Ledger"): (
                        labels.decision(read.entry.decision_status, read.entry.attributed_scout_id) if read.entry else NOTHING,
                        _("names it") if read.entry and read.entry.attributed_scout_id == scout else NOTHING,
                    ),
                },
                choice="choose_scout",
                target={"scout_id": scout},
                is_likely=is_winner,
            )
        )  # fmt: skip
    return found


def _claimed(first: Any, start: Any, is_claimed: bool) -> str:
    from attribution.admin import claims, labels

    if not is_claimed:
        return _("No source names it, only the ledger.")
    if first is None:
        return _("Its claim has no date.")
    values = {"date": labels.day(first)}
    if first == start:
        return _("Claimed the person first, on %(date)s.") % values
    return _("Claimed the person on %(date)s, %(days)s after the first claim.") % (
        values | {"days": claims.days_text((first - start).days)}
    )


KIND = Kind(
    code=CaseKind.CONFLICT,
    causes="ops.conflict_causes",
    choices=lambda case: CHOICES,
    title=lambda case: str(_read(case).person),
    why=_why,
    evidence=_evidence,
    candidates=_candidates,
    causes_in_words=CAUSES,
    changes_links=False,
    # The claims of a person are found by the person; all of them are weighed for a question by text.
    narrowed_by="person_key = any({keys}::uuid[])",
)
kinds.register(KIND)
