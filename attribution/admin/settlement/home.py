"""What settlement adds to the start page: the open period, what is due, what is blocked, the last period closed."""

from __future__ import annotations

from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Count, F, Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from attribution.admin.settlement import words
from attribution.models import PaymentStatus, PeriodStatus, SettlementPeriod, StatementItem
from ct4site import home
from ct4site.admin import may_view
from ct4site.admin_base import link_to


@home.panel(place=14)
def settlement(request: HttpRequest) -> home.Panel | None:
    """The periods, what closing would settle and what is held back: three statements, each by an index."""
    if not may_view(request, StatementItem):
        return None
    opened = SettlementPeriod.objects.filter(status=PeriodStatus.OPEN).first()
    closed = SettlementPeriod.objects.filter(status=PeriodStatus.CLOSED).order_by("-starts_on").first()
    due = _sums(StatementItem.objects.filter(~Q(due_amount=0)), "due_amount")
    held = _sums(
        StatementItem.objects.filter(block_reason__isnull=False, payment_status=PaymentStatus.BLOCKED),
        F("owed_amount") - F("settled_amount"),
    )
    address = reverse("admin:attribution_statementitem_changelist")
    rows: list[tuple[Any, ...]] = [
        (_("Open period"), link_to(opened) if opened else _("None is open.")),
        (format_html('<a href="{}">{}</a>', reverse("admin:attribution_statement"), _("Due now")), _amount(*due)),
        (format_html('<a href="{}?payment_status__exact=BLOCKED">{}</a>', address, _("Blocked")), _amount(*held)),
    ]
    if closed is not None:
        rows.append((_("Last closed"), format_html("{} · {}", link_to(closed), words.money(closed.amounts))))
    return home.Panel(_("Settlement of scouts"), rows)


def _sums(items: Any, amount: Any) -> tuple[dict[str, Any], int]:
    found = items.order_by().values_list("currency").annotate(number=Count("pk"), amount=Sum(amount))
    rows = list(found)
    return {currency: total for currency, _number, total in rows}, sum(row[1] for row in rows)


def _amount(amounts: dict[str, Any], number: int) -> Any:
    return format_html('{} <span class="quiet small">{}</span>', words.money(amounts), intcomma(number))
