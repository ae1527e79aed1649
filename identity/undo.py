"""What a roll-back adds for identity: its lock, records beside their links, events and origin history."""

from __future__ import annotations

from django.db import connection

from ct4site import audit, sqlfiles
from identity.jobs import take_writer_lock


def prepare(run_id: int) -> None:
    """Wait for the turn to write, let unmatched records share the fate of their links, add the origins run ``run_id`` set first."""
    take_writer_lock()
    with connection.cursor() as cursor:
        cursor.execute(sqlfiles.load("identity_undo_prepare"), {"run_id": run_id})


def follow(run_id: int, actor: str) -> None:
    """Bring lead events, open records and the origin history after the rows that were put back."""
    with connection.cursor() as cursor:
        cursor.execute(sqlfiles.load("identity_undo_follow"), {"run_id": run_id, "actor": actor})


HOOKS = audit.UndoHooks(prepare, follow, frozenset({("observational", "lead_events")}))
