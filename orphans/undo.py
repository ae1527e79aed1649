"""What a roll-back adds for orphans: every change of the quarantine has its line in the history."""

from __future__ import annotations

from django.db import connection

from ct4site import audit, sqlfiles


def prepare(run_id: int) -> None:
    """Nothing: quarantine rows name their person themselves."""


def follow(run_id: int, actor: str) -> None:
    """Write the history of the quarantine rows that were put back."""
    with connection.cursor() as cursor:
        cursor.execute(sqlfiles.load("orphans_undo_follow"), {"run_id": run_id, "actor": actor})


HOOKS = audit.UndoHooks(prepare, follow)
