"""Batch jobs of attribution: the ledger's decision and the recurring refresh (runbooks RB0 and RB1, domain.md 6).

The rules are the SQL files sql/jobs/ledger_*.sql and sql/attribution/*.sql; this module gives them their order.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from psycopg2 import sql

from attribution.models import AttributionDay
from ct4site.jobs import RunContext, applied_by, apply_plan, counted, finish_interrupted, job, store_plan
from ct4site.models import JobType
from ct4site.turns import Turn
from identity.jobs import refresh_statistics

LEDGER_COUNTS = (
    "processed_events", "processed_person_keys", "assigned_count", "conflict_count", "unassigned_count",
    "changed_count", "skipped_changed_since_plan", "audit",
)  # fmt: skip
SAME_PERSON_COUNTS = ("same_persons_raised", "same_persons_closed")
STATISTICS = {"observational.lead_ledger": "person_key, attributed_scout_id, attribution_rule, evidence_digest"}

# Deciders of the ledger take turns; they never wait for matching.
DECIDERS = Turn(4_005_002)
take_ledger_lock, hold_ledger_lock = DECIDERS.take, DECIDERS.hold

apply_ledger = applied_by("ledger_apply")


@job(
    JobType.PROCESS_LEDGER,
    purpose=_("Decides for every person whose evidence changed which source and which scout get the person."),
    parameters=("limit",),
)
def process_ledger(context: RunContext) -> None:
    """Decide the ledger of persons whose events changed, over all their events (domain.md 6.2, Q11 to Q13).

    Parameter: ``limit`` (at most this many persons). What a person or a backfill decided is never overwritten.
    """
    decide_ledger(context)


def decide_ledger(context: RunContext) -> None:
    """Plan and apply the ledger's decision as a part of a run."""
    with hold_ledger_lock():
        finish_interrupted(context, apply_ledger)
    context.progress("plan", 0)
    with context.transaction():
        context.count(dict.fromkeys(LEDGER_COUNTS, 0))
        limit = context.parameters.get("limit")
        limited = sql.SQL("order by 1 limit {}").format(sql.Literal(limit)) if limit else sql.SQL("offset 0")
        store_plan(context, "ledger_plan", ledger_parameters(), limited=limited)
    with hold_ledger_lock():
        apply_plan(context, context.run, apply_ledger(context))
    refresh_statistics(context, context.tally["changed_count"], STATISTICS)


def ledger_parameters() -> dict[str, Any]:
    """Return the settings that the ledger's decision goes by (Q12, Q13)."""
    return {
        "window": settings.CONFLICT_WINDOW_DAYS,
        "conflict_beats_fleet": settings.LEDGER_CONFLICT_BEATS_FLEET,
    }


def raise_same_persons(context: RunContext) -> None:
    """Raise persons who are probably one human under two scouts, as a part of a run (Q79)."""
    with context.transaction():
        take_ledger_lock()
        parameters = {
            "window": settings.CONFLICT_WINDOW_DAYS,
            "threshold": settings.NAME_SIMILARITY_THRESHOLD,
            "run_id": context.run_id,
            "actor": context.run.actor,
        }
        context.count(counted("same_persons", parameters))


def store_day(*, is_unchanged: bool = False) -> dict[str, Any]:
    """Store how attribution stands now as the metrics of today (Lima); return them. Must run inside a transaction.

    ``is_unchanged``: nothing was written since the last time, so the figures of today still hold if there are any.
    """
    today = AttributionDay.objects.filter(metric_date=timezone.localdate()) if is_unchanged else None
    if today and today.update(computed_at=Now()):
        return dict(
            today.values(
                "total_persons", "backlog", with_scout=F("satisfactory_count"),
                without_scout=F("missing_count"), conflicts=F("conflicts_count"),
                open_conflicts=F("open_conflicts_count"),
            ).get()
        )  # fmt: skip
    return counted("attribution_day", {})
