"""What a decision changes: how its persons stand before and after it, and the difference, for people to read first.

A preview is the decision itself in a savepoint that is taken back, with ``attribution.following`` in it; two looks at
the same decision give equal JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils.functional import Promise

from ct4site.jobs import counted

Row = dict[str, Any]
Snapshot = dict[str, list[Row]]

# What names a row of each section.
KEYS = {
    "links": ("source_table", "source_pk"),
    "ledger": ("person_key",),
    "scouts": ("person_key",),
    "claims": ("driver_id", "milestone"),
    "money": ("scout_id", "currency"),
}
AMOUNTS = ("owed", "settled", "due", "blocked")
ADDED, CHANGED, REMOVED = "added", "changed", "removed"


def snapshot(persons: Sequence[UUID], *, drivers: Sequence[str] = ()) -> Snapshot:
    """Return how some persons stand: ``links``, ``ledger``, ``scouts``, ``claims``, ``money`` per scout and currency.

    Takes all persons whom the decision concerns, and the accounts that it links or moves; the same before and after.
    Each section is a list of rows in a stable order, without times and serial ids; amounts are text. Derived rows are
    those stored: after a decision, follow it first.
    """
    found = counted("consequences", {"persons": [str(person) for person in persons], "drivers": list(drivers)})
    return {section: found[section] or [] for section in KEYS}


def difference(before: Snapshot, after: Snapshot) -> dict[str, list[Row]]:
    """Return what changed between two snapshots: per section ``{what, key, before, after}``, by key.

    ``what`` is added, changed or removed; ``before`` and ``after`` are the rows without their key. Beside the sections,
    ``sums`` holds per scout and currency what the money changed by: ``owed``, ``settled``, ``due``, ``blocked``, as text.
    """
    changes = {section: _changes(before[section], after[section], KEYS[section]) for section in KEYS}
    return changes | {"sums": [_sum(change) for change in changes["money"]]}


def _changes(before: list[Row], after: list[Row], key: tuple[str, ...]) -> list[Row]:
    old, new = ({tuple(row[name] for name in key): row for row in rows} for rows in (before, after))
    return [
        {
            "what": ADDED if place not in old else REMOVED if place not in new else CHANGED,
            "key": dict(zip(key, place, strict=True)),
            "before": _facts(old.get(place), key),
            "after": _facts(new.get(place), key),
        }
        for place in sorted({*old, *new})
        if old.get(place) != new.get(place)
    ]


def _facts(row: Row | None, key: tuple[str, ...]) -> Row | None:
    return None if row is None else {name: value for name, value in row.items() if name not in key}


def _sum(change: Row) -> Row:
    before, after = change["before"] or {}, change["after"] or {}
    sums = {name: str(Decimal(after.get(name, "0.00")) - Decimal(before.get(name, "0.00"))) for name in AMOUNTS}
    return change["key"] | sums


def touches_settled(changes: dict[str, list[Row]]) -> bool:
    """Return whether a difference changes what a scout is owed who was settled already: that needs a second person."""
    return any(
        Decimal((change["before"] or {}).get("settled", "0.00")) != 0
        and (change["before"] or {}).get("owed") != (change["after"] or {}).get("owed")
        for change in changes["money"]
    )


def words() -> Mapping[str, Mapping[str, str | Promise]]:
    """Return the stored codes of the facts of a snapshot in words, by fact."""
    from attribution.admin import labels
    from attribution.models import ClaimStatus, DecisionStatus, ScoutQuality
    from attribution.settlement_models import BLOCKS
    from identity.admin import labels as identity_labels
    from identity.models import SourceTable

    return {
        "rule": labels.RULES,
        "source": labels.SOURCES,
        "decision_status": dict(DecisionStatus.choices),
        "quality": dict(ScoutQuality.choices),
        "status": dict(ClaimStatus.choices),
        "source_table": dict(SourceTable.choices),
        "match_rule": identity_labels.RULES,
        "block_reasons": {code: block.reason for code, block in BLOCKS.items()},
    }
