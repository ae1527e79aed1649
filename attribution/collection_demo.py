"""Collection's part of the demo: what the partner owes and paid, then the claims beside the truth."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.models import Claim, ClaimStatus, LeadTrips
from ct4site import demo
from ct4site.demo import Demo, Line
from ct4site.models import JobType

_BY_MILESTONE = """
select
    milestone_value,
    count(*),
    count(*) filter (where yango_payment_status = 'PAID'),
    coalesce(sum(expected_amount) filter (where is_collectable), 0)
from ops.v_yango_collection_with_scout
group by milestone_value
order by milestone_value
"""
_OVERALL = """
select
    coalesce(sum(expected_amount), 0),
    coalesce(sum(expected_amount) filter (where yango_payment_status = 'PAID'), 0),
    coalesce(sum(expected_amount) filter (where is_collectable), 0),
    coalesce(sum(expected_amount) filter (where is_collectable and days_overdue_yango > 0), 0),
    coalesce(round(100.0 * count(scout_id) / nullif(count(*), 0), 1), 0)
from ops.v_yango_collection_with_scout
"""


@demo.step(320, gettext_lazy("Work out what the partner owes"))
def collect(context: Demo) -> Iterable[Line]:
    """Refresh collection; say what is claimed, what is paid and what can be demanded."""
    stats = context.run_job(JobType.COLLECTION_REFRESH).stats
    expected, paid, collectable, overdue, coverage = _rows(_OVERALL)[0]
    lines: list[Line] = [
        (_("claims made in this run"), stats["claims_made"]),
        (_("expected"), f"S/ {expected:.2f}"),
        (_("paid"), f"S/ {paid:.2f}"),
        (_("can be demanded"), f"S/ {collectable:.2f}"),
        (_("of it overdue"), f"S/ {overdue:.2f}"),
        (_("claims whose person has a scout"), f"{coverage} %"),
        (_("By milestone: claims, paid, to be demanded"), None),
    ]
    lines += [(f"M{row[0]}", f"{row[1]}, {row[2]}, S/ {row[3]:.2f}") for row in _rows(_BY_MILESTONE)]
    lines.append((_("Stored claims, by status"), None))
    stored = Counter(Claim.objects.values_list("status", flat=True))
    lines += [(str(status.label), stored[status]) for status in ClaimStatus if stored[status]]
    return lines


@demo.step(330, gettext_lazy("Compare the claims with the truth"))
def compare_with_truth(context: Demo) -> Iterable[Line]:
    """Compare with the file that says who reached what by which lead (it is never loaded).

    The file knows nothing of links: only claims whose lead is linked to the account are compared.
    """
    linked = set(
        LeadTrips.objects.filter(source_table="module_ct_cabinet_leads", driver_id__isnull=False).values_list(
            "source_pk", "driver_id"
        )
    )
    claims = {
        (driver, milestone): (lead, str(lead_date), str(achieved), status == ClaimStatus.PAID)
        for driver, milestone, lead, lead_date, achieved, status in Claim.objects.values_list(
            "driver_id", "milestone", "lead_source_pk", "lead_date", "achieved_date", "status"
        )
    }
    with (context.folder / "truth_claims.csv").open(encoding="utf-8", newline="") as file:
        truth = list(csv.DictReader(file))
    known = {(row["driver_id"], int(row["milestone"])) for row in truth}
    compared = [row for row in truth if (row["lead_source_pk"], row["driver_id"]) in linked]
    counts: Counter[Any] = Counter()
    for row in compared:
        claim = claims.get((row["driver_id"], int(row["milestone"])))
        if claim is None:
            counts["missing"] += 1
            continue
        counts[
            "exact" if claim[:3] == (row["lead_source_pk"], row["lead_date"], row["achieved_date"]) else "other"
        ] += 1
        counts[row["is_paid"] == "true", claim[3]] += 1
    return [
        (_("owed, by the right lead and day"), counts["exact"]),
        (_("owed, by another lead or day"), counts["other"]),
        (_("owed and not claimed"), counts["missing"]),
        (_("owed by a lead that is not linked"), len(truth) - len(compared)),
        (_("claimed and not owed"), len(claims.keys() - known)),
        (_("paid, and seen as paid"), counts[True, True]),
        (_("paid, and not seen (names of several drivers)"), counts[True, False]),
        (_("not paid, and seen as paid"), counts[False, True]),
    ]


def _rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())
