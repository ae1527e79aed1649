"""Many cases decided alike, by query: each on the version that was chosen, or skipped because it changed (F21)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from ct4site.models import CaseStatus, Deed, Proposal, ReviewCase
from ct4site.review import cases, deciding, kinds
from ct4site.review.deciding import HeldByOther, Overtaken, Wish

MOST = 500  # of one go; a query of more is done in several

Chosen = list[tuple[int, int]]  # (case, version)


@dataclass
class Report:
    """How many cases were decided, how many were left out because they changed, were held or could not be decided so."""

    done: int = 0
    changed: int = 0
    held: int = 0
    refused: int = 0


def mark(case: ReviewCase) -> str:
    """Return a case on its version as a form names it; ``read_marks`` reads it."""
    return f"{case.pk}:{case.version}"


def read_marks(marks: Iterable[str]) -> Chosen:
    """Return the cases and versions that marks name. Raises ``ValueError`` for a mark that is none."""
    pairs = [text.split(":") for text in marks]
    return [(int(case_id), int(version)) for case_id, version in pairs]


def chosen_of(queryset: QuerySet[ReviewCase]) -> Chosen:
    """Return the open cases of a query with their versions, the most money first; at most ``MOST``."""
    free = queryset.filter(status=CaseStatus.OPEN, is_frozen=False)
    return list(free.order_by("-money_at_risk", "opened_at", "pk").values_list("pk", "version")[:MOST])


def needs_approval(chosen: Chosen, choice: kinds.Choice) -> bool:
    """Return whether a second person has to approve: many at once, or a choice that always needs it."""
    return choice.needs_approval or len(chosen) >= settings.REVIEW_BULK_LIMIT


def decide_many(*, chosen: Chosen, wish: Wish, actor: User, proposal: Proposal | None = None) -> Report:
    """Decide cases one by one, each in its own step; what changed since it was chosen is left out and counted.

    Takes the cases with the versions that were chosen, one wish without a target for all, and the approved proposal
    that is carried out, if it needed one. Raises ``kinds.Unacceptable`` for more than may be done without one.
    """
    if proposal is None and len(chosen) >= settings.REVIEW_BULK_LIMIT:
        raise kinds.Unacceptable(_("So many cases at once need a second person."))
    report = Report()
    for case_id, version in chosen:
        try:
            with transaction.atomic():
                deciding.decide_unseen(
                    case_id=case_id, wish=wish, actor=actor, expected_version=version, proposal=proposal
                )
            report.done += 1
        except (Overtaken, ReviewCase.DoesNotExist):
            report.changed += 1
        except HeldByOther:
            report.held += 1
        except kinds.Unacceptable:
            report.refused += 1
    return report


def propose_many(*, chosen: Chosen, wish: Wish, actor: User) -> Proposal:
    """Propose to decide cases alike, and freeze them until the answer; returns the proposal.

    Cases that changed since they were chosen, wait for an answer already or are held by somebody else are left out.
    Raises ``kinds.Unacceptable`` when none is left.
    """
    with transaction.atomic():
        free = cases.free_for(actor).select_for_update().filter(pk__in=[case_id for case_id, _version in chosen])
        versions = dict(free.order_by("pk").values_list("pk", "version"))
        free_now = [[case_id, version] for case_id, version in chosen if versions.pop(case_id, None) == version]
        if not free_now:
            raise kinds.Unacceptable(_("None of these cases is free any more. Look at the queue again."))
        proposal = Proposal.objects.create(
            deed=Deed.DECIDE_MANY,
            request={"choice": wish.choice, "target": wish.target, "cases": free_now},
            digest=digest_of(free_now, wish),
            **deciding.proposed_by(wish, actor),
        )
        cases.freeze([case_id for case_id, _version in free_now])
    return proposal


def digest_of(chosen: Sequence[Sequence[int]], wish: Wish) -> str:
    """Return what binds an approval to these cases, on these versions, and this wish."""
    text = json.dumps([[list(pair) for pair in chosen], wish.choice, wish.target], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
