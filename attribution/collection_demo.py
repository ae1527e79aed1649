"""Collection's part of the demo: what the partner owes and paid, then the claims beside the truth."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.comparing import group_totals
from attribution.models import Claim, ClaimComparison, ClaimStatus, DisappearReason, LeadTrips
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


@demo.step(340, gettext_lazy("Compare an invented list of existing claims with ours"))
def compare_existing(context: Demo) -> Iterable[Line]:
    """Write a list as the predecessor might have left it and compare it; say what would become of its claims (Q59)."""
    path = context.folder / "existing_claims.csv"
    _write_existing(path, context.seed)
    stats = context.run_job(
        JobType.CLAIMS_COMPARISON, file=str(path), rejects_dir=str(context.folder / "rejects"), output_dir="demo"
    ).stats
    comparison = ClaimComparison.objects.get(pk=stats["comparison_id"])
    lines: list[Line] = [(_("Claims, in the list, by CT4; of them paid"), None)]
    for row in group_totals(comparison):
        told = (
            f"{row['rows']}, S/ {row['listed']:.2f}, S/ {row['claimed']:.2f}; {row['paid_rows']}, S/ {row['paid']:.2f}"
        )
        lines.append((str(row["group"].label) if row["group"] else _("Total"), told))
    lines.append((_("Why claims would disappear: claims, amount"), None))
    reasons = comparison.figures["reasons"]
    lines += [
        (str(reason.label), f"{reasons[reason]['rows']}, S/ {reasons[reason]['listed']}")
        for reason in DisappearReason
        if reason in reasons
    ]
    return [*lines, (_("list"), str(path)), (_("report"), stats["reports"][-1])]


def _write_existing(path: Path, seed: int) -> None:
    columns = ("driver_id", "milestone", "amount_expected", "status", "lead_source_pk", "lead_date")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(_existing(Random(seed)))


def _existing(chance: Random) -> Iterator[dict[str, Any]]:
    """Our claims with the predecessor's faults: missing, twice by two leads, wrong amounts, trips counted once per rule."""
    higher = {1: (5, 35), 5: (25, 100)}
    reached = set(Claim.objects.values_list("driver_id", "milestone"))
    for claim in Claim.objects.order_by("driver_id", "milestone"):
        paid = claim.status == ClaimStatus.PAID
        row: dict[str, Any] = {
            "driver_id": claim.driver_id, "milestone": claim.milestone, "amount_expected": claim.amount_expected,
            "status": "paid" if paid else "generated", "lead_source_pk": claim.lead_source_pk, "lead_date": claim.lead_date,
        }  # fmt: skip
        if chance.random() < 0.04:
            continue
        if chance.random() < 0.03:
            yield row | {"amount_expected": claim.amount_expected + 10}
        elif chance.random() < 0.02:
            yield row | {"status": "generated" if paid else "paid"}
        else:
            yield row
        if chance.random() < 0.05:
            later = claim.lead_date + timedelta(days=chance.randint(1, 5))
            yield row | {"lead_source_pk": f"{claim.lead_source_pk}-2", "lead_date": later, "status": "generated"}
        milestone, amount = higher.get(claim.milestone, (0, 0))
        if milestone and (claim.driver_id, milestone) not in reached and chance.random() < 0.25:
            status = "paid" if chance.random() < 0.2 else "generated"
            yield row | {"milestone": milestone, "amount_expected": amount, "status": status}


def _rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


demo.look_at(
    330,
    gettext_lazy("Comparisons of existing claims with ours, and why each would appear or disappear"),
    ClaimComparison,
)
