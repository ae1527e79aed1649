"""The floor: what the same links cost in hand-written SQL and nothing else.

``floor_identity.sql`` is the floor the targets speak of: one insert ... select per output table. ``leanest_identity.sql``
computes what these have in common once, in temporary tables; it is shown beside the floor, without a target.
``floor_orphans.sql`` is the floor of the orphan job, ``floor_scouts.sql`` that of the refresh of attribution,
``floor_collection.sql`` that of the refresh of collection. ``floor_recovery.sql`` is what the retry of lost leads writes
beyond the identity floor.
"""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

FLOOR = ("floor_identity.sql",)
LEANEST = ("leanest_identity.sql",)
ORPHANS = ("floor_orphans.sql",)
SCOUTS = ("floor_scouts.sql",)
COLLECTION = ("floor_collection.sql",)
RECOVERY = (*FLOOR, "floor_recovery.sql")
OUTPUT_TABLES = (
    "canon.identity_registry",
    "canon.identity_links",
    "canon.identity_unmatched",
    "canon.identity_origin",
    "canon.identity_origin_history",
    "observational.lead_events",
)


def run(names: tuple[str, ...] = FLOOR) -> None:
    """Run a floor on the present database in one transaction, with the memory the product's steps get."""
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("set local statement_timeout = 0; set local work_mem = '256MB'; set constraints all deferred")
        for name in names:
            cursor.execute(
                Path(__file__).with_name(name).read_text("utf-8"),
                {
                    "park": settings.PARK_ID_OBJETIVO,
                    "threshold": settings.NAME_SIMILARITY_THRESHOLD,
                    "gap": settings.NAME_SIMILARITY_GAP,
                    "days_before": settings.R3_DAYS_BEFORE,
                    "days_after": settings.R3_DAYS_AFTER,
                },
            )
