"""Seals of the audit log: a chain of digests that tells when somebody changed it past the database (reliability I8).

A run gets the digest of its entries when it ends, a decision with its own last statement. Every end of a job adds what
has a digest to the chain, and the entries that belong to no run. So decisions wait for nobody (docs/adr/0012).
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection, transaction

from ct4site import invariants, sqlfiles
from ct4site.invariants import Finding
from ct4site.models import AuditSeal
from ct4site.turns import Turn

_SEALERS = Turn(4_001_001)
# Shared by whoever writes an entry without run, from before it has a number until it is committed.
_WITHOUT_RUN = 4_001_002
CHECK = "chk_audit_is_sealed"
_ALL = "9000000000000000000"


@dataclass(frozen=True)
class Verdict:
    """What the whole audit log was found to be: its finding, its newest seal, whether it holds the expected digest."""

    finding: Finding
    head: AuditSeal | None
    is_expected: bool


def write_without_run(actor: str) -> None:
    """Say who writes the entries without run of this transaction; comes before the first of them, or that is refused."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select set_config('ct4.actor', %s, true), pg_advisory_xact_lock_shared(%s)", [actor, _WITHOUT_RUN]
        )


def seal() -> int:
    """Add every run that ended, and every entry without run, to the chain; return how many seals that took.

    Entries without run wait for the next time while somebody writes one: one that is committed later could have a lower
    number than one that is there.
    """
    with transaction.atomic():
        _SEALERS.take()
        with connection.cursor() as cursor:
            cursor.execute("set local statement_timeout = 0; set local work_mem = '256MB'")
            cursor.execute(sqlfiles.load("seal_entries"))
            cursor.execute("select pg_try_advisory_xact_lock(%s)", [_WITHOUT_RUN])
            cursor.execute(sqlfiles.load("seal_link"), {"quiet": cursor.fetchone()[0]})
            return int(cursor.rowcount)


def verify(*, expected: str | None = None, shown: int = 20) -> Verdict:
    """Seal what is not sealed yet, and compare the whole audit log with its seals.

    ``expected`` is a digest that a former call showed as the head; the chain must still hold it.
    """
    seal()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("select set_config('ct4.audit_judged', %s, true)", [_ALL])
        (finding,) = invariants.check(shown, names=[CHECK])
        head = AuditSeal.objects.order_by("no").last()
        is_expected = expected is None or AuditSeal.objects.filter(digest=expected.strip().lower()).exists()
    return Verdict(finding, head, is_expected)
