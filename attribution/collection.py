"""The refresh of collection: what the partner paid, what leads have come to, what the partner owes (domain.md 12).

The rules are the SQL files sql/jobs/collection_*.sql and sql/attribution/*.sql; this module gives them their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from ct4site.jobs import RunContext, applied_by, apply_plan, counted, finish_interrupted, job, store_plan
from ct4site.models import PHASES, JobType
from ct4site.turns import Turn
from identity.jobs import refresh_statistics

PAYMENT_COUNTS = ("payment_flags_read", "payment_states_added", "payments_with_driver", "payments_changed")
TRIP_COUNTS = (
    "leads_read", "leads_with_driver", "leads_changed", "leads_gone", "milestones_reached", "milestones_changed",
    "milestones_gone",
)  # fmt: skip
SCOUT_COUNTS = ("persons_with_scout", "scouts_changed")
ITEM_COUNTS = ("items_owed", "items_changed", "items_gone", "statement_rows", "statement_rows_changed")
CLAIM_COUNTS = (
    "claims_made", "claims_paid", "claims_disputed", "claims_undisputed", "skipped_changed_since_plan", "audit",
)  # fmt: skip
PHASES |= {
    "payments": _("reading what was paid"),
    "trips": _("counting trips"),
    "scouts": _("looking up scouts"),
}
STATISTICS = {
    "payments_changed": {
        "ops.yango_payment_status_ledger": "source_pk, milestone_value, payment_key",
        "ops.yango_payment_states": "payment_key, driver_id, milestone_value, person_key, is_paid, is_newest_paid",
    },
    "leads_changed": {
        "observational.lead_trips": "source_table, source_pk, driver_id, person_key, lead_date, is_best_of_driver"
    },
    "milestones_changed": {
        "observational.lead_milestones": "source_table, source_pk, window_days, milestone_trips, achieved_date"
    },
    "scouts_changed": {"ops.person_scouts": "person_key, scout_id"},
    "items_changed": {"ops.settlement_items": "person_key, origin_tag, milestone_type, milestone_value, driver_id"},
    "statement_rows_changed": {
        "ops.scout_statements": "payment_item_key, currency, scout_id, person_key, payment_status"
    },
    "claims_made": {"canon.claims_yango_cabinet_14d": "claim_id, person_key, driver_id, milestone, lead_date, status"},
}

_apply_claims = applied_by("collection_4_claims_apply")

# What derives takes turns with what follows a decision: each reads what the other wrote, and writes the same rows.
DERIVERS = Turn(4_005_003)
take_derivers_lock = DERIVERS.take


@job(
    JobType.COLLECTION_REFRESH,
    purpose=_("Reads what the partner paid and what drivers drove, and brings the claims up to date."),
)
def refresh_collection(context: RunContext) -> None:
    """Bring payments, milestones and claims up to date (domain.md 3.7, 12; Q59 to Q62).

    Payments and trips are derived: each is one transaction that writes what differs. Claims are planned and applied
    with their audit; none is removed, and what a person set is never overwritten. A second run changes nothing.
    """
    finish_interrupted(context, _apply_claims)
    with context.transaction():
        context.count(dict.fromkeys((*PAYMENT_COUNTS, *TRIP_COUNTS, *SCOUT_COUNTS, *ITEM_COUNTS, *CLAIM_COUNTS), 0))
    _derive(context, "collection_1_payments", {})
    derive_leads(context)
    context.progress("plan", 0)
    with context.transaction():
        store_plan(context, "collection_4_claims_plan", {})
    apply_plan(context, context.run, _apply_claims(context))
    _refresh_statistics(context, "claims_made")


def derive_leads(context: RunContext) -> None:
    """Bring up to date what leads have come to, whose persons are, and what scouts are owed for them."""
    _derive(context, "collection_2_trips", {"park": settings.PARK_ID_OBJETIVO})
    _derive(context, "collection_3_scouts", {})
    _derive(context, "settlement_items", {})
    derive_statements(context)


def derive_statements(context: RunContext) -> None:
    """Bring the stored statements of scouts up to date."""
    _derive(context, "settlement_statements", {})


def _derive(context: RunContext, name: str, parameters: Mapping[str, Any]) -> None:
    """Run one derivation in a transaction of its own, and tell the planner of what it filled."""
    context.progress(name.rpartition("_")[2], 0)
    with context.transaction():
        take_derivers_lock()
        counts = counted(name, parameters)
        context.count(counts)
    for count in counts:
        _refresh_statistics(context, count)


def _refresh_statistics(context: RunContext, count: str) -> None:
    if count in STATISTICS:
        refresh_statistics(context, context.tally[count], STATISTICS[count])
