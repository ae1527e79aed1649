"""What a roll-back adds for attribution: audits of the backfills grow, mapped scouts leave their events, and what was
settled stays (domain.md 6.11, "Rollback")."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import connection
from django.utils.translation import gettext
from psycopg2 import sql

from attribution.backfills import LEAD_SCOUT_MAPPING, SINGLE_SCOUT
from attribution.jobs import take_ledger_lock
from attribution.models import BackfillAudit, EventsBackfillEntry, LedgerBackfillEntry, LinksBackfillEntry
from ct4site import audit, jobs
from ct4site.models import Run, RunStatus
from ct4site.rollback import start_roll_back

SETTLED = "settled"
SETTLEMENT = "ops.scout_liquidation_ledger"

# One method's part of a run: (method, run to take back). Set for the length of one roll-back in this thread.
_only: ContextVar[tuple[str, int] | None] = ContextVar("only", default=None)


@contextmanager
def only(method: str, target: int) -> Iterator[None]:
    """Let roll-backs inside the block take back one method's part of run ``target``: links, ledger or events."""
    token = _only.set((method, target))
    try:
        yield
    finally:
        _only.reset(token)


def settled_persons() -> sql.Composable:
    """Return a query of the persons for whom a scout was paid; of nobody while there is no settlement."""
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass(%s) is not null", [SETTLEMENT])
        if not cursor.fetchone()[0]:
            return sql.SQL("select null::uuid as person_key where false")
    return sql.SQL("select person_key from {} where person_key is not null group by person_key").format(
        sql.Identifier(*SETTLEMENT.split("."))
    )


# A scout was paid for the person: what he was paid for stays, and people decide.
_KEEP_SETTLED = """
update undo set kept = {kept}
from ({settled}) as settled
where undo.person_key = settled.person_key
    and (
        undo.subject_table = 'lead_ledger'
        or (undo.subject_table = 'identity_links' and undo.after ->> 'match_rule' like 'BACKFILL%')
    )
"""


def prepare(run_id: int) -> None:
    """Wait for the turn to write the ledger, keep what was settled, narrow the undo to the part that was asked for."""
    take_ledger_lock()
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(_KEEP_SETTLED).format(settled=settled_persons(), kept=sql.Literal(SETTLED)))
    if (part := _only.get()) is not None:
        jobs.statement("backfill_undo_restrict", {"method": part[0], "target": part[1]})


def follow(run_id: int, actor: str) -> None:
    """Put back the scouts of events, and write into the audits of the backfills what was put back."""
    del actor  # those audits name the run, and the run its actor
    target = Run.objects.filter(pk=run_id).values_list("reverses", flat=True).first()
    if target is None:
        return
    parameters = {"run_id": run_id, "target": target}
    if (part := _only.get()) is None or part[0] == "events":
        jobs.statement("backfill_undo_events", parameters, settled=settled_persons())
    jobs.statement("backfill_undo_told", parameters)


HOOKS = audit.UndoHooks(prepare, follow)


# --- by method and time -----------------------------------------------------------------------------

# Per backfill, by our word and by the runbook's: its part, its audit, and the rows that count.
_LINKS = ("links", LinksBackfillEntry, {"match_result": "created"}, "identity_links")
_LEDGER = ("ledger", LedgerBackfillEntry, {"backfill_method": SINGLE_SCOUT}, "lead_ledger")
_EVENTS = ("events", EventsBackfillEntry, {"backfill_method": LEAD_SCOUT_MAPPING}, "lead_events_scout")
BACKFILLS: dict[str, tuple[str, type[BackfillAudit], dict[str, str], str]] = {
    "links": _LINKS,
    "ledger": _LEDGER,
    "events": _EVENTS,
    SINGLE_SCOUT: _LEDGER,
    LEAD_SCOUT_MAPPING: _EVENTS,
}


def roll_back_backfill(
    *, method: str, since: dt.datetime, until: dt.datetime | None, actor: str, execute: bool
) -> list[dict[str, Any]]:
    """Take back a backfill's part of every run that wrote in a span of time, newest run first (RB0, "Rollback").

    Takes one of ``BACKFILLS``, the span, who asks, and whether to keep the outcome: without ``execute`` each roll-back
    is a dry run, so that the preview says what the roll-back would do. A run's part goes back whole; what other steps
    of the run did stays. Returns per run ``run_id``, ``roll_back_run_id``, how many of the backfill's rows were
    ``untouched``, ``changed`` since, ``settled`` and ``already_restored``, and the ``log``. Raises ``JobError`` when a
    roll-back cannot start or fails.
    """
    part, audited, filters, table = BACKFILLS[method]
    entries = audited._default_manager.filter(**filters, backfill_timestamp__gte=since, run__isnull=False)
    if until is not None:
        entries = entries.filter(backfill_timestamp__lte=until)
    runs = sorted(set(entries.order_by().values_list("run_id", flat=True)), reverse=True)
    return [_roll_back_part(part, run_id, table, actor=actor, execute=execute) for run_id in runs]


def _roll_back_part(part: str, run_id: int, table: str, *, actor: str, execute: bool) -> dict[str, Any]:
    with only(part, run_id):
        ended = jobs.execute(start_roll_back(run_id=run_id, actor=actor, dry_run=not execute).pk)
    if ended.status != RunStatus.COMPLETED:
        raise jobs.JobError(
            gettext("The roll-back of run %(id)s failed. %(why)s") % {"id": run_id, "why": ended.error_message or ""}
        )
    outcomes = dict(ended.stats.get(table, {}))
    told = {
        "run_id": run_id,
        "roll_back_run_id": ended.pk,
        "untouched": outcomes.pop(audit.RESTORED, 0),
        "already_restored": outcomes.pop(audit.ALREADY, 0),
        "settled": outcomes.pop(SETTLED, 0),
        "log": ended.log,
    }
    return told | {"changed": sum(outcomes.values())}
