"""Attribution's part of the demo: give every person a scout or a named conflict, then compare with the truth."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable

from django.db.models import Count
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.models import DecisionStatus, LedgerEntry, PossibleSamePerson, SamePersonStatus
from ct4site import demo
from ct4site.demo import Demo, Line
from ct4site.models import JobType
from identity.models import Link


@demo.step(300, gettext_lazy("Decide which scout gets whom"))
def attribute(context: Demo) -> Iterable[Line]:
    """Refresh the attribution of scouts; say how the ledger decided, and how it stands."""
    stats = context.run_job(JobType.SCOUT_REFRESH).stats
    metrics = stats["metrics"]
    lines: list[Line] = [
        (_("persons decided in this run"), stats["processed_person_keys"]),
        (_("persons with scout"), metrics["with_scout"]),
        (_("persons without scout"), metrics["without_scout"]),
        (_("conflicts, of them open"), f"{metrics['conflicts']}, {metrics['open_conflicts']}"),
        (_("possible same persons"), PossibleSamePerson.objects.filter(status=SamePersonStatus.OPEN).count()),
        (_("Decisions, by status and rule"), None),
    ]
    words = dict(DecisionStatus.choices)
    decided = LedgerEntry.objects.values("decision_status", "attribution_rule").annotate(number=Count("pk"))
    lines += [
        (f"{words[row['decision_status']]} · {row['attribution_rule']}", row["number"])
        for row in decided.order_by("decision_status", "attribution_rule")
    ]
    return lines


@demo.step(310, gettext_lazy("Compare the scouts with the truth"))
def compare_with_truth(context: Demo) -> Iterable[Line]:
    """Compare with the files that say who claims whom and who wins (they are never loaded)."""
    humans: dict[tuple[str, str], str] = {}
    for name in ("truth_leads", "truth_drivers"):
        with (context.folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                table, key = row.get("source_table", "drivers"), row.get("source_pk") or row["driver_id"]
                humans[table, key] = row["person_id"]
    with (context.folder / "truth_scouts.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["person_id"]: row for row in csv.DictReader(file)}
    owners: dict[object, set[str]] = defaultdict(set)
    for person, table, key in Link.objects.values_list("person_id", "source_table", "source_pk").iterator():
        if (table, key) in humans:
            owners[person].add(humans[table, key])
    suspected = {
        person
        for pair in PossibleSamePerson.objects.filter(status=SamePersonStatus.OPEN).values_list("person_a", "person_b")
        for person in pair
    }
    given: dict[str, set[str]] = defaultdict(set)
    for person, scout in LedgerEntry.objects.exclude(attributed_scout_id=None).values_list(
        "person_id", "attributed_scout_id"
    ):
        for human in owners[person] if person not in suspected else ():
            given[human].add(str(scout))
    undisputed = {human: row["winner"] for human, row in truth.items() if row["within_7_days"] != "true"}
    disputed = truth.keys() - undisputed.keys()
    return [
        (_("undisputed: the right scout"), sum(given[human] == {winner} for human, winner in undisputed.items())),
        (_("undisputed: no scout yet"), sum(not given[human] for human in undisputed)),
        (_("undisputed: a wrong scout"), sum(bool(given[human] - {winner}) for human, winner in undisputed.items())),
        (_("two scouts within seven days: left to people"), sum(not given[human] for human in disputed)),
        (_("two scouts within seven days: a scout all the same"), sum(bool(given[human]) for human in disputed)),
    ]
