"""What a roll-back adds for recovery: a lead that loses its link again is open again, and was not recovered."""

from __future__ import annotations

from django.db import connection

from ct4site import audit, sqlfiles


def prepare(run_id: int) -> None:
    """Add the recoveries of the run, which are on record as events, to what is undone, each under its person."""
    with connection.cursor() as cursor:
        cursor.execute(sqlfiles.load("recovery_undo_prepare"), {"run_id": run_id})


def follow(run_id: int, actor: str) -> None:
    """Write down which recoveries were taken back, and open the tries of leads whose link is gone."""
    with connection.cursor() as cursor:
        cursor.execute(sqlfiles.load("recovery_undo_follow"), {"run_id": run_id, "actor": actor})


HOOKS = audit.UndoHooks(prepare, follow, frozenset({("ops", "identity_matching_jobs")}))
