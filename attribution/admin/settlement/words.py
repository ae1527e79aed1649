"""Items and lines of settlement in plain words: why they are a scout's, how they stand, what would unblock them (6.13)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.admin import labels as attribution_labels
from attribution.admin.claims import days_text
from attribution.admin.collection import labels
from attribution.models import (
    LineKind,
    LineReason,
    MilestoneType,
    OriginTag,
    PaymentStatus,
    Scout,
    ScoutPaymentRule,
    ScoutQuality,
    SettlementLine,
    SettlementPeriod,
    StatementItem,
)
from ct4site.admin_base import pill, words
from identity.models import Person

Item = StatementItem | SettlementLine
Periods = Mapping[int, SettlementPeriod]
NOTHING_OWED = Decimal("0.00")

# Why a person is a scout's: by the ledger's rule where the ledger decided, else by the only source (6.2, 6.9, 6.11).
BY_RULE: dict[str, Promise] = {
    "A_FLEET": gettext_lazy("The newest migration of the person names the scout"),
    "A": gettext_lazy("The newest registration of the person names the scout"),
    "RESOLVED_MANUAL_CONFLICT": gettext_lazy("Several scouts claimed the person, and somebody decided for this one"),
    "BACKFILL_SINGLE_SCOUT_FROM_EVENTS": gettext_lazy("The events of the person name this scout and no other"),
}
BY_QUALITY: dict[str, Promise] = {
    ScoutQuality.LEDGER: gettext_lazy("The ledger gives the person to the scout"),
    ScoutQuality.EVENTS: gettext_lazy("An event of the person names the scout; the ledger names none"),
    ScoutQuality.MIGRATIONS: gettext_lazy("A migration of the person names the scout; the ledger names none"),
    ScoutQuality.SCOUTING: gettext_lazy("A registration of the person names the scout; the ledger names none"),
    ScoutQuality.PAYMENTS: gettext_lazy("A payment of the person names the scout; the ledger names none"),
}
# Why a line was written, or would be.
REASONS: dict[str, Promise] = {
    LineReason.REACHED: gettext_lazy("The milestone was reached and had not been settled before."),
    LineReason.SCOUT_CHANGED: gettext_lazy(
        "%(settled)s had been settled; the person is of %(scout)s now, so it is taken back."
    ),
    LineReason.MILESTONE_GONE: gettext_lazy(
        "%(settled)s had been settled; the milestone is not reached any more, so it is taken back."
    ),
    LineReason.AMOUNT_CHANGED: gettext_lazy(
        "%(settled)s had been settled and %(owed)s is owed: this is the difference."
    ),
    LineReason.OWED_AGAIN: gettext_lazy("What had been settled was taken back; it is owed again."),
}
SCOUT_GONE = gettext_lazy("%(settled)s had been settled; the person has no scout now, so it is taken back.")
# Read once: what a model says of its own codes costs more than all the rest of a row.
STATUSES, ORIGINS, KINDS = dict(PaymentStatus.choices), dict(OriginTag.choices), dict(LineKind.choices)
KIND_TONES = {LineKind.LINE: "plain", LineKind.ADJUSTMENT: "warn"}


def signed(amount: Decimal, currency: str) -> str:
    """Return an amount to the cent with its sign, also where it is positive: what an adjustment gives or takes."""
    shown = labels.money(amount, currency)
    return shown.replace(" ", " +", 1) if amount > 0 else shown


def money(amounts: Mapping[str, Decimal | str]) -> str:
    """Return sums by currency (numbers or their text) as one text; nothing owed is zero of the usual currency."""
    found = [labels.money(Decimal(amount), currency) for currency, amount in sorted(amounts.items())]
    return " · ".join(found) or labels.money(NOTHING_OWED)


def milestone(item: Item) -> str:
    """Return the milestone of an item; for a person without any that there is none."""
    if item.milestone_type is None:
        return _("None yet")
    if item.milestone_type == MilestoneType.CONNECTION:
        reached = _("Connection")
    else:
        reached = labels.trips(item.milestone_value or 0)
    if item.origin_tag == OriginTag.CABINET:
        return reached
    return f"{reached} · {words(ORIGINS, item.origin_tag)}"


def status_text(item: StatementItem) -> str:
    """Return how an item stands, and that closing now would adjust it, as plain text."""
    told = words(STATUSES, item.payment_status)
    return f"{told} · {kind_text(item)}" if item.line_kind == LineKind.ADJUSTMENT else told


def kind_text(item: Item) -> str:
    """Return whether a line settles for the first time or adjusts, as plain text."""
    return words(KINDS, item.kind if isinstance(item, SettlementLine) else item.line_kind)


def status(item: StatementItem) -> SafeString | str:
    """Return how an item stands as a pill."""
    return pill(item.payment_status, words(STATUSES, item.payment_status))


def kind(item: Item) -> SafeString | str:
    """Return whether a line settles for the first time or adjusts, as a pill."""
    code = item.kind if isinstance(item, SettlementLine) else item.line_kind
    return pill(code, kind_text(item), KIND_TONES.get(code, "plain"))  # type: ignore[call-overload]


def why(item: Item, names: attribution_labels.Names) -> str:
    """Return in one sentence why the person is this scout's, or that it is no longer."""
    if item.current_scout_id is None:
        return _("It was settled while the person was of this scout; now the person has no scout.")
    if item.current_scout_id != item.scout_id:
        values = {"scout": attribution_labels.scout_text(item.current_scout_id, names)}
        return _("It was settled while the person was of this scout; now the person is of %(scout)s.") % values
    quality = item.scout_quality_bucket or ""
    cause = BY_QUALITY.get(quality, BY_QUALITY[ScoutQuality.LEDGER])
    if quality == ScoutQuality.LEDGER:
        cause = BY_RULE.get(item.ledger_rule or "", cause)
    if item.attribution_date is None:
        return f"{cause}."
    return f"{cause} ({attribution_labels.day(item.attribution_date)})."


def reason(item: Item, names: attribution_labels.Names) -> str:
    """Return in one sentence why a line was written, or would be; empty for an item without one."""
    if isinstance(item, SettlementLine):
        code, settled, owed = item.reason, item.settled_before, item.owed_amount
    else:
        code, settled, owed = item.line_reason or "", item.settled_amount, item.settled_amount + item.due_amount
    if code == LineReason.REACHED:
        return str(REASONS[code])
    values = {
        "settled": labels.money(settled, item.currency), "owed": labels.money(owed, item.currency),
        "scout": attribution_labels.scout_text(item.current_scout_id, names) if item.current_scout_id else "",
    }  # fmt: skip
    is_gone = code == LineReason.SCOUT_CHANGED and not values["scout"]
    return str(SCOUT_GONE if is_gone else REASONS.get(code, "")) % values


def standing(item: StatementItem, names: attribution_labels.Names, periods: Periods, is_open: bool = True) -> str:
    """Return in plain words how an item stands: what blocks it and what would unblock it, since when, till when.

    ``is_open`` says whether a period is open that would take it.
    """
    if item.payment_status == PaymentStatus.BLOCKED and item.block is not None:
        return f"{item.block.reason} {item.block.remedy}"
    if item.payment_status == PaymentStatus.PAID:
        period = periods.get(item.last_period_id or 0)
        if period is None:
            return _("It was on record as paid before it was ever settled.")
        return _("Settled in %(period)s.") % {"period": period.name}
    if item.due_amount:
        return reason(item, names)
    if item.payment_status == PaymentStatus.ELIGIBLE:
        values = {"day": attribution_labels.day(item.payable_date)}
        if not is_open:
            return _("Payable from %(day)s, and no settlement period is open.") % values
        return _("Payable from %(day)s, after the end of the open period.") % values
    if item.milestone_type is None:
        return _("No milestone was reached that a rule pays for.")
    if item.settled_amount == 0 and item.owed_amount == 0:
        return _("The rule pays nothing for this milestone.")
    return ""


def reached(item: Item, name: str, rule: ScoutPaymentRule | None) -> Iterator[str]:
    """Return the sentences that say what was reached, by which lead, and what the rule gives for it."""
    if item.milestone_type is None or item.achieved_date is None:
        return
    values = {
        "person": name, "trips": labels.trips(item.milestone_value or 0), "date": attribution_labels.day(item.achieved_date),
        "lead": attribution_labels.day(item.lead_date), "payable": attribution_labels.day(item.payable_date),
        "window": days_text(rule.window_days) if rule else "", "amount": labels.money(rule.amount, rule.currency) if rule else "",
    }  # fmt: skip
    is_connection = item.milestone_type == MilestoneType.CONNECTION
    if rule is not None and item.lead_date is not None:
        yield (
            _("%(person)s connected on %(date)s, within the %(window)s that begin with the lead of %(lead)s.")
            if is_connection
            else _("%(person)s reached %(trips)s on %(date)s, within the %(window)s that begin with the lead of %(lead)s.")
        ) % values  # fmt: skip
        yield _("By the rule valid on the day of that lead a scout gets %(amount)s for it, once per person.") % values
    else:
        yield (
            _("%(person)s connected on %(date)s.") if is_connection else _("%(person)s reached %(trips)s on %(date)s.")
        ) % values
    if item.payable_date is not None:
        yield _("It is payable from %(payable)s.") % values


def paragraphs(sentences: Iterable[SafeString | str]) -> SafeString:
    """Return sentences one per line, empty ones left out."""
    return format_html_join("", "<div>{}</div>", ((sentence,) for sentence in sentences if sentence))


def person_name(person: Person | None, key: object) -> str:
    """Return the name of a person, its key where it has none."""
    return str((person.primary_full_name if person else None) or key)


def scout_name(number: int, names: attribution_labels.Names) -> str:
    """Return a scout's number with its name, as plain text."""
    known = names.get(number)
    return f"{number} · {known.scout_name_normalized}" if known else str(number)


def scouts_of(items: Iterable[Item], known: attribution_labels.Names | None = None) -> dict[int, Scout]:
    """Return the names of all scouts that items speak of; one query, none when all are known."""
    found = dict(known or {})
    wanted = {number for item in items for number in (item.scout_id, item.current_scout_id)} - set(found)
    return found | attribution_labels.scouts_by_number(wanted)


def periods_by_number(numbers: Iterable[int | None], known: Periods | None = None) -> dict[int, SettlementPeriod]:
    """Return periods by number; one query, none when all are known."""
    found = dict(known or {})
    wanted = {number for number in numbers if number} - set(found)
    return found | (SettlementPeriod.objects.in_bulk(wanted) if wanted else {})


def key(text: object) -> SafeString:
    """Return a key or a digest in the face of keys."""
    return format_html('<span class="key">{}</span>', text)


def source(item: Item) -> str:
    """Return the source that named the scout, with its record."""
    shown = attribution_labels.words(attribution_labels.SOURCES, item.scout_source_table)
    return f"{shown} {item.scout_source_pk}" if item.scout_source_pk else shown
