"""The statement of a scout: one account in words, told alike by the page, the print view and the spreadsheet (6.13)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from attribution import settlement
from attribution.admin import labels as attribution_labels
from attribution.admin.collection import labels
from attribution.admin.settlement import words
from attribution.models import LineKind, PaymentStatus, PeriodStatus, SettlementLine, SettlementPeriod
from ct4site.admin_base import link_to
from ct4site.spreadsheets import Sheet
from identity.models import Person

# Rows whose scouts and periods are looked up at once.
BATCH = 500
# Periods offered for choice: five years of months.
PERIODS = 60


@dataclass(frozen=True)
class Row:
    """One row in words. ``amount`` is what is open, or of a closed period what it settled, with its sign."""

    item: words.Item
    person: str
    why: str
    milestone: str
    status: str
    note: str
    owed: Decimal
    settled: Decimal
    amount: Decimal

    @property
    def person_link(self) -> SafeString | str:
        return link_to(Person(pk=self.item.person_id), self.person)

    @property
    def milestone_link(self) -> SafeString | str:
        return link_to(self.item, self.milestone)

    @property
    def pill(self) -> SafeString | str:
        return words.kind(self.item) if isinstance(self.item, SettlementLine) else words.status(self.item)

    @property
    def money(self) -> Sequence[str]:
        """Owed, settled and amount, each with its currency; the amount of an adjustment always has its sign."""
        shown = [labels.money(amount, self.item.currency) for amount in (self.owed, self.settled)]
        return [*shown, (words.signed if self.is_adjustment else labels.money)(self.amount, self.item.currency)]

    @property
    def is_adjustment(self) -> bool:
        """Whether the row corrects, or closing now would correct, what an earlier period settled."""
        return (self.item.kind if isinstance(self.item, SettlementLine) else self.item.line_kind) == LineKind.ADJUSTMENT

    @property
    def adjusts(self) -> SafeString | str:
        return words.kind(self.item) if self.is_adjustment else ""


@dataclass(frozen=True)
class Sum:
    """What the rows of one status come to; ``code`` is empty for all of them together."""

    code: str
    words: str
    number: int
    money: Sequence[str]


@dataclass(frozen=True)
class Account:
    """A statement in words. ``closed`` is the period it is of, None where it tells how everything stands now.

    ``names`` and ``periods`` are those known already; of others a row speaks of, they are looked up.
    """

    told: settlement.Statement
    closed: SettlementPeriod | None
    names: attribution_labels.Names
    periods: words.Periods

    @property
    def scout(self) -> str:
        return words.scout_name(self.told.scout_id, self.names)

    @property
    def title(self) -> str:
        values = {"scout": self.scout, "period": self.closed.name if self.closed else ""}
        return (_("Statement of %(scout)s, %(period)s") if self.closed else _("Statement of %(scout)s")) % values

    @property
    def open(self) -> SettlementPeriod | None:
        return open_among(self.periods)

    @property
    def columns(self) -> list[str]:
        """The headings of the three amounts."""
        if self.closed:
            return [_("Owed"), _("Settled before"), _("Settled in the period")]
        return [_("Owed"), _("Settled"), _("To settle")]

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The codes that rows may be narrowed to, in words."""
        if self.closed:
            return [(LineKind.LINE, _("New")), (LineKind.ADJUSTMENT, _("Adjustments of earlier periods"))]
        return [(str(code), str(label)) for code, label in PaymentStatus.choices]

    def rows_of(self, code: str = "") -> Any:
        """Return the rows as a queryset, of one status or kind if told."""
        column = "kind" if self.closed else "payment_status"
        return self.told.rows.filter(**{column: code}) if code else self.told.rows

    def sums(self) -> list[Sum]:
        """Return what each status comes to, zeros included, and all of them together; exact to the cent."""
        parts = [
            (code, shown, [total for total in self.told.totals if total.code == code]) for code, shown in self.choices
        ]
        return [_sum(*part) for part in (*parts, ("", _("All"), self.told.totals))]

    def due(self) -> str:
        """Return what closing the open period would settle, as text; empty where none would."""
        due = {currency: parts["due"] for currency, parts in self.told.sums.items()}
        if self.closed or self.open is None:
            return ""
        values = {"amount": words.money(due), "period": self.open.name}
        return _("Closing the open period %(period)s now would settle %(amount)s.") % values

    def in_words(self, items: Iterable[Any]) -> Iterator[Row]:
        """Return rows in words; scouts and periods they speak of are looked up by the hundreds."""
        pending = iter(items)
        while batch := list(islice(pending, BATCH)):
            names = words.scouts_of(batch, self.names)
            periods = words.periods_by_number((getattr(item, "last_period_id", None) for item in batch), self.periods)
            for item in batch:
                yield self._row(item, names, periods)

    def _row(self, item: words.Item, names: attribution_labels.Names, periods: words.Periods) -> Row:
        if isinstance(item, SettlementLine):
            return Row(
                item, words.person_name(item.person, item.person_id), words.why(item, names), words.milestone(item),
                words.kind_text(item), words.reason(item, names), item.owed_amount, item.settled_before,
                item.amount,
            )  # fmt: skip
        return Row(
            item, item.person_name or str(item.person_id), words.why(item, names), words.milestone(item),
            words.status_text(item), words.standing(item, names, periods, self.open is not None),
            item.owed_amount, item.settled_amount, item.owed_amount - item.settled_amount,
        )  # fmt: skip

    def sheets(self) -> Iterator[Sheet]:
        """Return the workbook: the sums, then every row."""
        amounts = self.columns
        yield Sheet(_("Sums"), [_("Status"), _("Currency"), _("Rows"), *amounts], self._sums_in_cells())
        headings = [
            _("Scout"), _("Person"), _("Name"), _("Why this scout"), _("Driver"), _("Milestone"), _("Lead"), _("Reached"),
            _("Payable from"), _("Status"), _("Why"), _("Currency"), *amounts,
        ]  # fmt: skip
        yield Sheet(_("Statement"), headings, self._rows_in_cells())

    def _sums_in_cells(self) -> Iterator[Sequence[Any]]:
        shown = dict(self.choices)
        for total in self.told.totals:
            yield (
                shown.get(total.code, total.code), total.currency, total.number, total.owed, total.settled, total.amount,
            )  # fmt: skip

    def _rows_in_cells(self) -> Iterator[Sequence[Any]]:
        for row in self.in_words(self.told.rows.iterator(chunk_size=BATCH)):
            item = row.item
            yield (
                self.scout, str(item.person_id), row.person, row.why, item.driver_id, row.milestone, item.lead_date,
                item.achieved_date, item.payable_date, row.status, row.note, item.currency, row.owed, row.settled, row.amount,
            )  # fmt: skip

    def file_name(self) -> str:
        """Return the name of the downloaded workbook: plain characters whatever the scout is called."""
        day = self.closed.ends_on if self.closed else labels.today()
        return f"scout_{self.told.scout_id}_{day.isoformat()}.xlsx"


def newest_periods() -> dict[int, SettlementPeriod]:
    """Return the newest periods by number, the open one first."""
    return {period.pk: period for period in SettlementPeriod.objects.order_by("-starts_on")[:PERIODS]}


def open_among(periods: words.Periods) -> SettlementPeriod | None:
    """Return the period that is open, among the newest ones."""
    return next((period for period in periods.values() if period.status == PeriodStatus.OPEN), None)


def account_of(scout_id: int, period: int | None = None) -> Account:
    """Return the statement of a scout: of a closed period if told, else how everything stands. Three statements.

    Raises ``SettlementPeriod.DoesNotExist`` for a period that is not there.
    """
    periods = newest_periods()
    chosen = None if period is None else periods.get(period) or SettlementPeriod.objects.get(pk=period)
    closed = chosen if chosen is not None and chosen.status == PeriodStatus.CLOSED else None
    told = settlement.closed_statement_of(scout_id, closed.pk) if closed else settlement.statement_of(scout_id)
    return Account(told, closed, attribution_labels.scouts_by_number([scout_id]), periods)


def _sum(code: str, shown: str, totals: Sequence[settlement.Total]) -> Sum:
    columns: list[dict[str, Decimal]] = [{}, {}, {}]
    for total in totals:
        for sums, amount in zip(columns, (total.owed, total.settled, total.amount), strict=True):
            sums[total.currency] = sums.get(total.currency, words.NOTHING_OWED) + amount
    return Sum(code, shown, sum(total.number for total in totals), [words.money(sums) for sums in columns])
