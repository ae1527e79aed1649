"""Recovery's part of the demo: match again what is open, record what came back, say what it was worth."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Count, Sum
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site import demo
from ct4site.demo import Demo, Line
from ct4site.models import JobType
from recovery.models import GapReason, IdentityGap, ImpactBucket, RecoveryImpact


@demo.step(500, gettext_lazy("Match the open leads again"))
def retry(context: Demo) -> Iterable[Line]:
    """Run both jobs of recovery; say which gaps are left."""
    tried = context.run_job(JobType.GAP_RECOVERY).stats
    impact = context.run_job(JobType.RECOVERY_IMPACT).stats
    lines: list[Line] = [
        (_("leads tried in this run"), tried["matched"] + tried["failed"] + tried["pending"]),
        (_("leads recovered in this run"), tried["recovered"] + impact["processed"]),
        (_("Gaps, by what is missing"), None),
    ]
    gaps = dict(IdentityGap.objects.values_list("gap_reason").annotate(Count("pk")).order_by())
    lines += [(str(reason.label), gaps.get(reason.value, 0)) for reason in GapReason]
    lines.append((_("Impact: leads and what was claimed for them"), None))
    buckets = {
        bucket: (leads, amount)
        for bucket, leads, amount in RecoveryImpact.objects.values_list("impact_bucket")
        .annotate(Count("pk"), Sum("claimed_amount"))
        .order_by()
    }
    for bucket in ImpactBucket:
        leads, amount = buckets.get(bucket.value, (0, 0))
        lines.append((str(bucket.label), f"{leads} · {amount or 0:.2f}"))
    return lines


demo.look_at(170, gettext_lazy("Identity gaps: which leads are lost, since when, and what was tried"), IdentityGap)
