"""What tests of review share: somebody who decides, and what the database looked like before."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction

from ct4site import audit
from ct4site.models import CaseStatus, Decision, ReviewCase
from ct4site.review import cases, deciding, reversing
from ct4site.review.deciding import Outcome, Wish


def a_reviewer(name: str = "ana") -> User:
    return User.objects.get_or_create(username=name)[0]


def refresh() -> dict[str, Any]:
    """Bring the queue up to date; return the counts."""
    with transaction.atomic():
        return cases.refresh()


def case_of(kind: str, subject_key: Any) -> ReviewCase:
    """The open case of a subject; it must exist once."""
    return ReviewCase.objects.get(kind=kind, subject_key=str(subject_key), status=CaseStatus.OPEN)


def is_open(kind: str, subject_key: Any) -> bool:
    return ReviewCase.objects.filter(kind=kind, subject_key=str(subject_key), status=CaseStatus.OPEN).exists()


def previewed(case: ReviewCase, choice: str, **target: Any) -> Outcome:
    return deciding.preview(
        case_id=case.pk, wish=_wish(choice, target), actor=a_reviewer(), expected_version=case.version
    )


def decided(case: ReviewCase, choice: str, **target: Any) -> Decision:
    """Decide a case as its preview showed; nothing but what was shown may come of it."""
    before = everything()
    shown = previewed(case, choice, **target)
    assert everything() == before, "a preview changed something"
    receipt = deciding.decide(
        case_id=case.pk, wish=_wish(choice, target), actor=a_reviewer(), expected_version=case.version,
        shown=shown.digest,
    )  # fmt: skip
    assert isinstance(receipt, Decision), "the decision did something else than its preview"
    assert receipt.consequences == shown.consequences
    return receipt


def taken_back(decision: Decision) -> Decision:
    """Take a decision back as the preview of that showed."""
    asked: dict[str, Any] = {"decision_id": decision.pk, "wish": _wish(reversing.REVERSE, {}), "actor": a_reviewer()}
    before = everything()
    shown = reversing.preview(**asked)
    assert everything() == before, "a preview changed something"
    receipts = reversing.reverse(**asked, shown=shown.digest)
    assert isinstance(receipts, list), "the reversal did something else than its preview"
    return receipts[0]


def everything() -> dict[str, Any]:
    """All rows under audit, without marks of jobs."""
    state = {}
    with connection.cursor() as cursor:
        for table in audit.audited_tables():
            cursor.execute(
                f"select {table.key}::text, (to_jsonb(rows) - %s::text[])::text from {table.schema}.{table.name} as rows",
                [list(table.derived)],
            )
            state |= {(table.name, key): json.loads(row) for key, row in cursor.fetchall()}
    return state


def _wish(choice: str, target: dict[str, Any]) -> Wish:
    return Wish(choice, target, "documents", "Seen with my own eyes")
