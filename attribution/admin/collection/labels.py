"""Stored codes of collection in words (domain.md 12, 14.4), the colours of their pills, money."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.humanize.templatetags.humanize import intcomma
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from attribution.admin import labels
from attribution.models import (
    Claim,
    ClaimInCollection,
    ClaimStatus,
    Currency,
    OverdueBucket,
    PartnerPaymentRule,
    PaymentState,
    Scout,
    ScoutPaymentRule,
    YangoPayment,
)
from ct4site.admin import ACTIONS
from ct4site.admin_base import NOTHING, link_to, pill, words
from identity.models import DriverIndexEntry

ACTIONS |= {
    "refresh_claims": gettext_lazy("Claim brought up to date"),
    "add_rule": gettext_lazy("Version of a rule added"),
    "change_rule": gettext_lazy("Version of a rule changed"),
    "open_period": gettext_lazy("Settlement period opened"),
    "close_period": gettext_lazy("Settlement period closed"),
}

# Values of identity_status, match_rule and match_confidence (domain.md 12.3).
IDENTITIES: dict[str, Promise] = {
    "confirmed": gettext_lazy("Account named"),
    "enriched": gettext_lazy("Name of one driver"),
    "ambiguous": gettext_lazy("Name of several or none"),
    "no_match": gettext_lazy("No name"),
}
IDENTITY_TONES = {"confirmed": "good", "enriched": "good", "ambiguous": "warn", "no_match": "bad"}
MATCH_RULES: dict[str, Promise] = {
    "source_upstream": gettext_lazy("Named by the list"),
    "driver_id_direct": gettext_lazy("Named by the list"),
    "name_unique": gettext_lazy("Name of one driver"),
    "driver_name_unique": gettext_lazy("Name of one driver"),
    "ambiguous": gettext_lazy("Name of several or none"),
    "no_match": gettext_lazy("No name"),
    "none": gettext_lazy("Nobody found"),
}
CONFIDENCES: dict[str, Promise] = {
    "high": gettext_lazy("High"),
    "medium": gettext_lazy("Medium"),
    "low": gettext_lazy("Low"),
    "unknown": gettext_lazy("Unknown"),
}

# Values of yango_payment_status, the predecessor's words (domain.md 12.5, Q60).
PARTNER_WORDS: dict[str, Promise] = {
    "PAID": gettext_lazy("Paid"),
    "PAID_MISAPPLIED": gettext_lazy("Another milestone is paid"),
    "UNPAID": gettext_lazy("Not paid"),
}

STATUS_TONES = {
    ClaimStatus.EXPECTED: "info",
    ClaimStatus.GENERATED: "info",
    ClaimStatus.PAID: "good",
    ClaimStatus.REJECTED: "bad",
    ClaimStatus.EXPIRED: "plain",
}
BUCKET_TONES = {
    OverdueBucket.NOT_DUE: "plain",
    OverdueBucket.DAYS_1_7: "info",
    OverdueBucket.DAYS_8_14: "info",
    OverdueBucket.DAYS_15_30: "warn",
    OverdueBucket.DAYS_31_60: "warn",
    OverdueBucket.DAYS_60_PLUS: "bad",
}

LIMA = ZoneInfo("America/Lima")


def today() -> datetime.date:
    """Return the date in Lima, by which things are due."""
    return timezone.localdate(timezone=LIMA)


def money(amount: Decimal | None, currency: str = Currency.PEN) -> str:
    """Return an amount to the cent with its currency; a dash for none."""
    if amount is None:
        return NOTHING
    return f"{dict(Currency.choices).get(currency, currency)} {number_format(amount, 2, force_grouping=True)}"


def trips(number: int) -> str:
    """Return a number of trips in words."""
    return ngettext("%(number)s trip", "%(number)s trips", number) % {"number": intcomma(number)}


def milestone(number: int) -> SafeString:
    """Return a milestone under its short name."""
    return format_html('<span class="key">M{}</span>', number)


def status(claim: Claim) -> SafeString | str:
    """Return the stored status of a claim as a pill; a disputed one says so too."""
    shown = pill(claim.status, claim.get_status_display(), STATUS_TONES.get(claim.status, "plain"))  # type: ignore[call-overload]
    return format_html("{} {}", shown, disputed()) if claim.eligibility_disputed else shown


def disputed() -> SafeString | str:
    """Return the pill of a claim whose achievement is gone."""
    return pill("disputed", _("Disputed"), "warn")


def payment(row: ClaimInCollection) -> SafeString | str:
    """Return whether a claim is paid, may be collected, or neither, as a pill."""
    if row.is_paid:
        return pill("PAID", _("Paid"), "good")
    if row.is_collectable:
        return pill("collectable", _("To collect"), "warn")
    return pill("not", _("Not collectable"), "plain")


def bucket(row: ClaimInCollection) -> SafeString | str:
    """Return how long a claim is overdue as a pill; a dash for a paid one."""
    if row.is_paid:
        return NOTHING
    return pill(row.bucket_overdue, row.get_bucket_overdue_display(), BUCKET_TONES.get(row.bucket_overdue, "plain"))  # type: ignore[call-overload]


def is_paid(value: bool) -> SafeString | str:
    """Return what the partner's list says of a milestone as a pill."""
    return pill("PAID", _("Paid"), "good") if value else pill("not", _("Not paid"), "plain")


def identity(code: Any) -> SafeString | str:
    """Return how sure it is whose a payment is, as a pill in words."""
    return pill(code, words(IDENTITIES, code), IDENTITY_TONES.get(str(code), "plain"))


def match(item: YangoPayment | PaymentState) -> str:
    """Return by which rule, and how surely, a payment was taken for a driver."""
    rule = words(MATCH_RULES, item.match_rule)
    return f"{rule} · {words(CONFIDENCES, item.match_confidence)}"


def driver(driver_id: str | None, name: str | None = None) -> SafeString | str:
    """Return an account as a link to its page, with the name if there is one; a dash for none."""
    if not driver_id:
        return NOTHING
    link = link_to(DriverIndexEntry(driver_id=driver_id), format_html('<span class="key">{}</span>', driver_id))
    return format_html('{} <span class="small">{}</span>', name, link) if name else link


def scout_of(row: ClaimInCollection) -> SafeString | str:
    """Return the scout of a row of the collection view, whose name the row has."""
    if row.scout_id is None:
        return NOTHING
    name = row.scout_name_normalized
    known = {row.scout_id: Scout(scout_id=row.scout_id, scout_name_normalized=name)} if name else {}
    return labels.scout(row.scout_id, known)


def validity(rule: PartnerPaymentRule | ScoutPaymentRule) -> str:
    """Return the days of the leads a version of a rule pays for, in words."""
    values = {"first": labels.day(rule.valid_from), "last": labels.day(rule.valid_to)}
    return _("%(first)s to %(last)s") % values if rule.valid_to else _("from %(first)s on") % values
