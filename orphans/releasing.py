"""A quarantined driver whose person gets a lead is released by that link itself (domain.md 9.4, Q53)."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver
from psycopg2 import sql

from ct4site.jobs import counted
from identity.signals import lead_links_made


def release_drivers(*, persons: sql.Composable, run_id: int | None, actor: str) -> dict[str, Any]:
    """Release the quarantined drivers of persons who have a lead link; must run inside a transaction.

    Takes a query that yields ``person_key``, and the run and actor to put it down to. Drivers that a person put into
    quarantine, or purged, stay. Returns ``drivers_released`` and ``audit``.
    """
    parameters = {"run_id": run_id, "actor": actor, "changed_by": "system"}
    return counted("orphans_release", parameters, persons=persons)


@receiver(lead_links_made)
def release_on_lead_link(
    sender: Any, *, persons: sql.Composable, run_id: int | None, actor: str, **_kwargs: Any
) -> dict[str, Any]:
    """Listen to new lead links and release whom they concern."""
    return release_drivers(persons=persons, run_id=run_id, actor=actor)
