"""Settlement of scouts: periods, what is due, statements (domain.md 6.12, 6.13; Q26, Q27, Q79; docs/settlement.es.md).

The rules are SQL: sql/jobs/settlement_*.sql, sql/attribution/*settlement*, sql/attribution/38_v_scout_statement.sql. What
was settled is a ledger of lines; what is owed now less the sum of an item's lines is due. Nothing here executes a payment.
"""

from __future__ import annotations

import calendar
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Count, F, QuerySet, Sum, Value
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from psycopg2 import sql

from attribution.collection import derive_leads, take_derivers_lock
from attribution.settlement_models import PaymentStatus, PeriodStatus, SettlementLine, SettlementPeriod, StatementItem
from ct4site import audit
from ct4site.jobs import JobError, RunContext, counted, job, merge_counts, statement
from ct4site.models import PHASES, AuditEntry, JobType, Run, RunStatus
from ct4site.sealing import write_without_run

COUNTS = ("lines", "adjustments", "scouts", "persons", "blocked", "not_payable_yet", "audit")
LONGEST_NAME = 100
PHASES |= {
    "items": gettext_lazy("working out what scouts are owed"),
    "statements": gettext_lazy("writing the statements of scouts"),
    "close": gettext_lazy("closing the period"),
}


@dataclass(frozen=True)
class DueOfScout:
    """What closing the open period now would write for one scout, in one currency."""

    scout_id: int
    currency: str
    lines: int
    adjustments: int
    persons: int
    amount: Decimal


@dataclass(frozen=True)
class Due:
    """What closing the open period now would write. ``fingerprint`` changes when any of it does."""

    period: SettlementPeriod | None
    scouts: list[DueOfScout]
    amounts: dict[str, Decimal]
    fingerprint: str


@dataclass(frozen=True)
class Total:
    """What the rows of a statement of one status (of a closed period: of one kind) come to, in one currency.

    ``amount`` is what is open, owed less settled; of a closed period what it settled. ``due`` is what closing the open
    period would write of it.
    """

    code: str
    currency: str
    number: int
    owed: Decimal
    settled: Decimal
    amount: Decimal
    due: Decimal


@dataclass(frozen=True)
class Statement:
    """Everything of a scout as it stands, or what a closed period settled for it."""

    scout_id: int
    rows: QuerySet[Any]
    totals: list[Total]

    @property
    def sums(self) -> dict[str, dict[str, Decimal]]:
        """By currency ``owed``, ``settled``, ``due``, ``blocked``."""
        sums: dict[str, dict[str, Decimal]] = {}
        for total in self.totals:
            blocked = total.amount if total.code == PaymentStatus.BLOCKED else Decimal("0.00")
            parts = {"owed": total.owed, "settled": total.settled, "due": total.due, "blocked": blocked}
            merge_counts(sums.setdefault(total.currency, {}), parts)
        return sums


# --- reading ----------------------------------------------------------------------------------------

_DUE = """
select scout_id, currency, count(*) filter (where line_kind = 'line'),
    count(*) filter (where line_kind = 'adjustment'), count(distinct person_key), sum(due_amount)
from ops.scout_statements
where due_amount <> 0
group by scout_id, currency
order by scout_id, currency
"""
_FINGERPRINT = """
select md5(coalesce(string_agg(
    concat_ws(' ', payment_item_key, currency, {amount}), ',' order by payment_item_key, currency
), '')) from {relation} where {amount} <> 0
"""
_STATED = {"relation": sql.Identifier("ops", "scout_statements"), "amount": sql.Identifier("due_amount")}
_TRUE = {"relation": sql.Identifier("ops", "v_settlement_due"), "amount": sql.Identifier("amount")}


def open_settlement_period() -> SettlementPeriod | None:
    """Return the period that is open, or None before the first one was opened."""
    return SettlementPeriod.objects.filter(status=PeriodStatus.OPEN).first()


def due() -> Due:
    """Return what closing the open period would write: per scout and currency, in all, and a fingerprint of it.

    As of the last refresh or closing; a closing refreshes first. Give the fingerprint to the job (parameter ``expected``)
    and it closes only if this is still what is due. The rows: ``StatementItem`` with a ``due_amount`` that is not 0.
    """
    scouts = due_of_scouts()
    amounts: dict[str, Decimal] = {}
    for part in scouts:
        amounts[part.currency] = amounts.get(part.currency, Decimal("0.00")) + part.amount
    return Due(open_settlement_period(), scouts, amounts, _fingerprint(_STATED))


def due_of_scouts() -> list[DueOfScout]:
    """Return what closing the open period would write for each scout and currency, as of the last refresh or closing."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE)
        return [DueOfScout(*row) for row in cursor.fetchall()]


def _fingerprint(parts: Mapping[str, sql.Composable]) -> str:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(_FINGERPRINT).format(**parts))
        return str(cursor.fetchone()[0])


def statement_of(scout_id: int) -> Statement:
    """Return how everything stands that a scout is owed or was settled (6.13): one row per item, and one per person who
    has reached nothing yet; by name, then milestone. As of the last refresh or closing.

    Costs one look over the scout's own rows; the rows are not read yet. What one closed period wrote is
    ``closed_statement_of``.
    """
    rows = StatementItem.objects.filter(scout_id=scout_id).order_by(*(StatementItem._meta.ordering or ()))
    sums = {
        "number": Count("pk"), "owed": Sum("owed_amount"), "settled": Sum("settled_amount"),
        "amount": Sum(F("owed_amount") - F("settled_amount")), "due": Sum("due_amount"),
    }  # fmt: skip
    return Statement(scout_id, rows, _totals(rows, "payment_status", sums))


def closed_statement_of(scout_id: int, period_id: int) -> Statement:
    """Return what a closed period settled for a scout: its frozen lines, by name, then milestone, as they were written."""
    rows = period_lines(period_id=period_id, scout_id=scout_id)
    sums = {
        "number": Count("pk"), "owed": Sum("owed_amount"), "settled": Sum("settled_before"), "amount": Sum("amount"),
        "due": Value(Decimal("0.00")),
    }  # fmt: skip
    return Statement(scout_id, rows, _totals(rows, "kind", sums))


def _totals(rows: QuerySet[Any], code: str, sums: Mapping[str, Any]) -> list[Total]:
    counted = rows.order_by().values_list(code, "currency").annotate(**sums).order_by(code, "currency")
    return [Total(*row) for row in counted]


def period_lines(*, period_id: int, scout_id: int | None = None) -> QuerySet[SettlementLine]:
    """Return the frozen lines of a closed period as a queryset, of one scout if told, in the order of a statement."""
    lines = SettlementLine.objects.filter(period_id=period_id).select_related("person", "rule")
    if scout_id is not None:
        lines = lines.filter(scout_id=scout_id)
    return lines.order_by(
        "scout_id", "person__primary_full_name", "person_id", "origin_tag", "milestone_type", "milestone_value", "id"
    )


# --- periods ----------------------------------------------------------------------------------------


def period_name(starts_on: dt.date, ends_on: dt.date) -> str:
    """Return the name that a period has unless it is given one."""
    return f"{starts_on:%Y-%m-%d} – {ends_on:%Y-%m-%d}"


def next_period(starts_on: dt.date, ends_on: dt.date) -> tuple[dt.date, dt.date]:
    """Return first and last day of the period after one: a month after a month, else as many days."""
    first = ends_on + dt.timedelta(days=1)
    if starts_on.day == 1 and first.day == 1 and (starts_on.year, starts_on.month) == (ends_on.year, ends_on.month):
        return first, first.replace(day=calendar.monthrange(first.year, first.month)[1])
    return first, first + (ends_on - starts_on)


def open_period(*, starts_on: dt.date, ends_on: dt.date, actor: str, name: str = "") -> SettlementPeriod:
    """Open a settlement period; later ones are opened by the closing of the one before.

    Takes its days, who opens it, a name. Returns the period. Raises ``JobError`` when one is open, when the days do not
    follow the last period, when they are in the wrong order, or when the name is too long for a heading.
    """
    name = name.strip()
    if len(name) > LONGEST_NAME:
        raise JobError(_("The name of a period has at most %(number)s characters.") % {"number": LONGEST_NAME})
    if ends_on < starts_on:
        raise JobError(_("The last day of a period is not before its first."))
    last = SettlementPeriod.objects.order_by("-ends_on").first()
    if last is not None and last.status == PeriodStatus.OPEN:
        raise JobError(_("The period %(name)s is open. Close it; that opens the next.") % {"name": last.name})
    if last is not None and starts_on != last.ends_on + dt.timedelta(days=1):
        raise JobError(
            _("The last period ended on %(day)s; the next begins on the day after.") % {"day": last.ends_on.isoformat()}
        )
    try:
        with transaction.atomic():
            take_derivers_lock()
            period = SettlementPeriod.objects.create(
                name=name or period_name(starts_on, ends_on), starts_on=starts_on, ends_on=ends_on
            )
            with connection.cursor() as cursor:
                cursor.execute(
                    "select to_jsonb(periods)::text from ops.settlement_periods as periods where id = %s", [period.pk]
                )
                after = json.loads(cursor.fetchone()[0])
            write_without_run(actor)
            AuditEntry.objects.create(
                actor=actor, action="open_period", subject_table="settlement_periods", subject_key=str(period.pk),
                after=after,
            )  # fmt: skip
            with connection.cursor() as cursor:
                cursor.execute("set local statement_timeout = 0")
            statement("settlement_statements", {})
    except IntegrityError as error:
        raise JobError(_("Another period is open, or has this name or some of these days.")) from error
    return SettlementPeriod.objects.get(pk=period.pk)


@job(
    JobType.SETTLEMENT_CLOSE,
    purpose=gettext_lazy("Writes what scouts are due as lines of the open period, closes it and opens the next."),
    parameters=("ends_on", "next_ends_on", "expected"),
    queueable=False,  # a closed period stays: whoever closes it looks at what is due first
)
def close_settlement(context: RunContext) -> None:
    """Close the open settlement period: exactly what ``ops.v_settlement_due`` says becomes its lines (6.13, Q27, Q79).

    Brings leads, scouts and items up to date first. The closing itself is one transaction: the ledger of lines takes
    nothing back, so a kill must leave nothing half closed. Parameters: ``ends_on`` closes up to another day than the
    period's last, ``next_ends_on`` is the last day of the next one, ``expected`` the fingerprint of what was previewed.
    """
    context.count(dict.fromkeys(COUNTS, 0))
    with context.transaction():
        if Run.objects.filter(job_type=JobType.COLLECTION_REFRESH, status=RunStatus.RUNNING).exists():
            raise JobError(_("Collection is being refreshed. Close the period when that has ended."))
        _days(context, _lock_open_period())
    derive_leads(context)
    context.progress("close", 0)
    with context.transaction():
        take_derivers_lock()
        period = _lock_open_period()
        days = _days(context, period)
        if (expected := context.parameters.get("expected")) and expected != _fingerprint(_TRUE):
            raise JobError(_("What is due has changed since it was looked at. Nothing was closed; look again."))
        counts = counted(
            "settlement_close", {"period_id": period.pk, "run_id": context.run_id, "actor": context.run.actor, **days}
        )
        statement("settlement_statements", {})
        amounts = counts.pop("amounts") or {}
        context.count(counts)
        context.tally["amounts"] = amounts
        context.note(_("The period %(name)s is closed.") % {"name": period.name})
        context.progress("close", counts["lines"] + counts["adjustments"], counts["lines"] + counts["adjustments"])


def _lock_open_period() -> SettlementPeriod:
    period = SettlementPeriod.objects.select_for_update().filter(status=PeriodStatus.OPEN).first()
    if period is None:
        raise JobError(_("No settlement period is open. Open the first one with open_settlement_period."))
    return period


def _days(context: RunContext, period: SettlementPeriod) -> dict[str, Any]:
    """The days a closing writes: the period's last, and the next period. Raises ``JobError`` when they cannot be."""
    ends_on = _day(context, "ends_on") or period.ends_on
    if ends_on < period.starts_on:
        raise JobError(_("The period begins on %(day)s; it cannot end before.") % {"day": period.starts_on.isoformat()})
    if ends_on > timezone.localdate():
        raise JobError(
            _(
                "The period ends on %(day)s and cannot be closed before. To end it sooner, say up to which day (--until)."
            )
            % {"day": ends_on.isoformat()}
        )
    starts, ends = next_period(period.starts_on, ends_on)
    ends = _day(context, "next_ends_on") or ends
    if ends < starts:
        raise JobError(_("The next period begins on %(day)s; it cannot end before.") % {"day": starts.isoformat()})
    return {"ends_on": ends_on, "next_starts_on": starts, "next_ends_on": ends, "next_name": period_name(starts, ends)}


def _day(context: RunContext, name: str) -> dt.date | None:
    text = context.parameters.get(name)
    try:
        return dt.date.fromisoformat(text) if text else None
    except (TypeError, ValueError) as error:
        raise JobError(_("%(text)s is not a day (YYYY-MM-DD).") % {"text": text}) from error


# --- roll-back --------------------------------------------------------------------------------------


def _refuse(run_id: int) -> None:
    """A closed period stays as it is; raises ``JobError`` when the run to take back closed one."""
    if period := SettlementPeriod.objects.filter(run_id=run_id, status=PeriodStatus.CLOSED).first():
        raise JobError(
            _(
                "This run closed the settlement period %(name)s, and a closed period stays as it is. Correct what was wrong "
                "(attribution, links, rules); the next closing writes the difference as adjustments."
            )
            % {"name": period.name}
        )


def _nothing(run_id: int, actor: str) -> None:
    pass


HOOKS = audit.UndoHooks(_refuse, _nothing)
