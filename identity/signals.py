"""What identity tells the rooms that build on it (docs/architecture.md: an earlier room declares, a later one listens)."""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal
from psycopg2 import sql

from ct4site.jobs import merge_counts

lead_links_made = Signal()
"""Lead records were linked. Sent inside the transaction that linked them, with ``persons`` (SQL of a query that yields
``person_key``), ``run_id`` (or None) and ``actor``. A receiver does its part set-based, in that transaction, and returns
counts of what it changed for the run's tally."""

lead_links_moved = Signal()
"""Lead records went from one person to another. Sent inside the transaction that moved them, with ``persons``, the list
of the persons they left."""


def persons_of(plan: sql.Composable, first: int, last: int) -> sql.Composable:
    """Return the query of the persons in rows ``first < seq <= last`` of a plan, for ``announce_lead_links``."""
    return sql.SQL("select person_key from {} as rows where seq > {} and seq <= {} and person_key is not null").format(
        plan, sql.Literal(first), sql.Literal(last)
    )


def announce_lead_links(persons: sql.Composable, *, run_id: int | None, actor: str) -> dict[str, Any]:
    """Tell all listeners that persons got lead links; return their counts, added up.

    Takes a query of the persons, the run and the actor to put the consequences down to. Must run in the transaction
    that made the links; whatever a listener raises takes the links back.
    """
    counts: dict[str, Any] = {}
    answers: list[tuple[Any, Any]] = lead_links_made.send(None, persons=persons, run_id=run_id, actor=actor)
    for _receiver, changed in answers:
        merge_counts(counts, changed or {})
    return counts
