"""Many cases decided alike, by query: each on the version that was chosen, or skipped because it changed (F21)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from ct4site.models import CaseStatus, Deed, Proposal, ReviewCase
from ct4site.review import deciding, kinds
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
        except Overtaken:
            report.changed += 1
        except HeldByOther:
            report.held += 1
        except kinds.Unacceptable:
            report.refused += 1
    return report


def propose_many(*, chosen: Chosen, wish: Wish, actor: User) -> Proposal:
    """Propose to decide cases alike, and freeze them until the answer; returns the proposal."""
    with transaction.atomic():
        proposal = Proposal.objects.create(
            deed=Deed.DECIDE_MANY,
            request={"choice": wish.choice, "target": wish.target, "cases": chosen},
            digest=digest_of(chosen, wish),
            **deciding.proposed_by(wish, actor),
        )
        keys = [case_id for case_id, _version in chosen]
        ReviewCase.objects.filter(pk__in=keys, status=CaseStatus.OPEN).update(
            is_frozen=True, leased_to=None, leased_since=None, leased_until=None
        )
    return proposal


def digest_of(chosen: Sequence[Sequence[int]], wish: Wish) -> str:
    """Return what binds an approval to these cases, on these versions, and this wish."""
    text = json.dumps([[list(pair) for pair in chosen], wish.choice, wish.target], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
