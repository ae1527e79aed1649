"""How scout attribution stands, as one report (runbook RB0, scripts 00, 01 and 03)."""

from __future__ import annotations

from typing import Any

from ct4site.jobs import diagnosed

SECTIONS = ("inventory", "coverage", "categories", "rules", "buckets", "conflicts", "warnings")


def diagnose() -> dict[str, Any]:
    """Return the figures of the diagnosis; reads only, and all of one moment.

    Sections: ``inventory`` (per source: rows, with_scout, scouts, first_date, last_date), ``coverage``, ``categories``
    (A to E), ``rules``, ``buckets``, ``conflicts``, ``warnings``.
    """
    figures = diagnosed("diagnose_scouts")
    return {section: figures[section] for section in SECTIONS}
