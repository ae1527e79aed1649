"""The orphans' part of the demo: repair or set aside drivers without leads, then compare with the truth."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable

from django.db.models import Count
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site import demo
from ct4site.demo import Demo, Line
from ct4site.models import JobType
from identity.models import Link
from identity.models.tables import LEAD_TABLES
from orphans.models import OrphanReason, OrphanStatus, QuarantinedDriver


@demo.step(200, gettext_lazy("Repair drivers without leads, or set them aside"))
def repair(context: Demo) -> Iterable[Line]:
    """Run the orphan job; say what became of the drivers, and why those in quarantine are there."""
    stats = context.run_job(JobType.ORPHANS_FIX).stats
    cases = QuarantinedDriver.objects
    lines: list[Line] = [
        (_("drivers decided in this run"), stats["processed"]),
        (_("leads linked in this run"), stats["links_created"]),
        (_("Drivers without lead, by status"), None),
    ]
    by_status = dict(cases.values_list("status").annotate(Count("pk")).order_by())
    lines += [(str(status.label), by_status.get(status.value, 0)) for status in OrphanStatus]
    lines.append((_("In quarantine, by reason"), None))
    quarantined = cases.filter(status=OrphanStatus.QUARANTINED)
    by_reason = dict(quarantined.values_list("detected_reason").annotate(Count("pk")).order_by())
    lines += [(str(reason.label), by_reason.get(reason.value, 0)) for reason in OrphanReason]
    return lines


@demo.step(210, gettext_lazy("Compare the repairs with the truth"))
def compare_with_truth(context: Demo) -> Iterable[Line]:
    """Compare with the file that says which orphans can be repaired (it is never loaded)."""
    with (context.folder / "truth_orphans.csv").open(encoding="utf-8", newline="") as file:
        repairable = {row["driver_id"]: row["repairable"] == "true" for row in csv.DictReader(file)}
    persons = dict(
        Link.objects.filter(source_table="drivers", source_pk__in=list(repairable)).values_list(
            "source_pk", "person_id"
        )
    )
    with_lead = set(
        Link.objects.filter(person_id__in=set(persons.values()), source_table__in=LEAD_TABLES)
        .values_list("person_id", flat=True)
        .distinct()
    )
    counts = Counter((is_repairable, persons.get(driver) in with_lead) for driver, is_repairable in repairable.items())
    return [
        (_("that can be repaired: repaired"), counts[True, True]),
        (_("that can be repaired: not repaired"), counts[True, False]),
        (_("that cannot be repaired: linked to a lead all the same"), counts[False, True]),
        (_("that cannot be repaired: set aside"), counts[False, False]),
    ]


demo.look_at(
    150, gettext_lazy("Drivers without lead: what was found, and why it did or did not suffice"), QuarantinedDriver
)
