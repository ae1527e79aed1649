"""Turns of writers: advisory locks of the database by which writers of the same rows keep each other away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError, connection

PATIENCE = "lock_timeout = '120s'"


@dataclass(frozen=True)
class Turn:
    """What writers of the same rows take one after the other, by the number of its lock.

    Whoever waits too long gets the database's ``OperationalError``.
    """

    key: int

    def take(self) -> None:
        """Wait for the turn; held until the transaction ends."""
        self._ask(f"set local {PATIENCE}; select pg_advisory_xact_lock(%s)")

    def share(self) -> None:
        """The same, but beside others that share it: they write no row of each other's."""
        self._ask(f"set local {PATIENCE}; select pg_advisory_xact_lock_shared(%s)")

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep others away while several connections of this run write; it ends with the block or the process."""
        if connection.in_atomic_block:  # a dry run: one connection, one transaction
            self.take()
            yield
            return
        self._ask(f"set {PATIENCE}; select pg_advisory_lock(%s); reset lock_timeout")
        try:
            yield
        finally:
            with suppress(InterfaceError, OperationalError):
                self._ask("select pg_advisory_unlock(%s)")

    def _ask(self, statements: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statements, [self.key])


def take_in_order(*turns: Turn) -> None:
    """Wait for several turns, one after the other as they are given; held until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"set local {PATIENCE}; select {', '.join(['pg_advisory_xact_lock(%s)'] * len(turns))}",
            [turn.key for turn in turns],
        )
