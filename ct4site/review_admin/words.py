"""Words of review: amounts, states and consequences as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site import privacy
from ct4site.admin_base import NOTHING, Section, pill
from ct4site.models import CaseStatus, ClosedBecause, Decision, ReviewCase
from ct4site.review import kinds, reversing

SHOWN = 100
REFUSED = 409  # somebody or something was quicker


def money(amount: Any) -> str:
    """Return an amount in soles."""
    return f"S/ {amount:,.2f}"


SECTIONS = {
    "links": gettext_lazy("Links"),
    "ledger": gettext_lazy("Ledger"),
    "scouts": gettext_lazy("Scout in force"),
    "claims": gettext_lazy("Claims to the partner"),
    "money": gettext_lazy("Amounts of scouts"),
    "sums": gettext_lazy("Change per scout"),
}
FACTS = {
    "source_table": gettext_lazy("source"),
    "source_pk": gettext_lazy("source record"),
    "person_key": gettext_lazy("person"),
    "match_rule": gettext_lazy("rule"),
    "scout_id": gettext_lazy("scout"),
    "source": gettext_lazy("source"),
    "rule": gettext_lazy("rule"),
    "quality": gettext_lazy("quality"),
    "is_disputed": gettext_lazy("disputed"),
    "decision_status": gettext_lazy("decision"),
    "has_open_conflict": gettext_lazy("open conflict"),
    "driver_id": gettext_lazy("driver"),
    "milestone": gettext_lazy("milestone"),
    "status": gettext_lazy("status"),
    "amount": gettext_lazy("amount"),
    "currency": gettext_lazy("currency"),
    "owed": gettext_lazy("owed"),
    "settled": gettext_lazy("settled"),
    "due": gettext_lazy("payable now"),
    "blocked": gettext_lazy("blocked"),
    "block_reasons": gettext_lazy("why blocked"),
    "lead_date": gettext_lazy("date"),
    "full_name": gettext_lazy("name"),
    "phone": gettext_lazy("phone"),
    "plate": gettext_lazy("plate"),
}


def consequence_sections(consequences: Mapping[str, Any]) -> list[Section]:
    """Return a section per kind of consequence: what, before, after. Sections without a change are left out."""
    found = []
    for name, changes in consequences.items():
        if not changes:
            continue
        shown = changes[:SHOWN]
        if "before" in changes[0]:
            columns = [_("What"), _("Before"), _("After")]
            rows = [[in_words(change[part]) for part in ("key", "before", "after")] for change in shown]
        else:
            columns = [str(FACTS.get(fact, fact)).capitalize() for fact in changes[0]]
            rows = [[in_words(value, fact) for fact, value in change.items()] for change in shown]
        found.append(
            Section(title=str(SECTIONS.get(name, name)), columns=columns, rows=rows, has_more=len(changes) > SHOWN)
        )
    return found


def in_words(value: Any, fact: str = "") -> SafeString | str:
    """Return a value of a consequence: stored codes in words, keys of persons short, the rest as it is."""
    if value is None or value == "" or value == {} or value == []:
        return NOTHING
    if isinstance(value, dict):
        lines = (
            (FACTS.get(name, name), in_words(privacy.named(name, item), name))
            for name, item in value.items()
            if item is not None
        )
        return format_html_join("", "<div>{}: {}</div>", lines)
    if isinstance(value, list):
        return format_html_join("", "<div>{}</div>", ((in_words(item, fact),) for item in value))
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    text = kinds.code_in_words(fact, str(value))
    if fact == "person_key":
        return format_html('<span class="key" title="{}">{}</span>', text, text[-12:])
    return text


def state_pill(case: ReviewCase) -> SafeString | str:
    """Return what a case is doing now as a pill: closed and why, waiting for approval, held by somebody, open."""
    if case.status == CaseStatus.CLOSED:
        return pill("closed", ClosedBecause(case.closed_because).label, "good")
    if case.is_frozen:
        return pill("frozen", _("Waits for approval"), "warn")
    if (holder := case.holder) is not None:
        return pill("held", _("Held by %(who)s") % {"who": holder.get_username()}, "info")
    return pill("open", _("Open"), "plain")


def last_decision(request: HttpRequest) -> Decision | None:
    return Decision.objects.filter(actor=user_of(request)).order_by("-pk").first()


def user_of(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def choice_label(decision: Decision) -> str:
    """Return what was decided in words."""
    if decision.choice == reversing.REVERSE:
        return _("Taken back: %(decision)s") % {"decision": decision.reverses}
    return kinds.choice_label(decision.case, decision.choice)
