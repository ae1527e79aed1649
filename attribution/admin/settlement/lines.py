"""Lines of closed settlements: what was written, when, and where each comes from (domain.md 6.13, Q27)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.admin.collection import labels
from attribution.admin.finding import LARGEST_ID
from attribution.admin.parts import names_of
from attribution.admin.settlement import words
from attribution.admin.settlement.items import ItemScoutFilter, ItemScreen, lines_section, payments_section
from attribution.models import SettlementLine, SettlementPeriod, StatementItem
from ct4site.admin_base import Section, lima_time, link_to, whole_number

PERIODS = 24


class PeriodFilter(admin.SimpleListFilter):
    """By settlement period; offers the last ones."""

    title = gettext_lazy("period")
    parameter_name = "period"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        newest = SettlementPeriod.objects.order_by("-starts_on").values_list("pk", "name")[:PERIODS]
        return [(str(number), name) for number, name in newest]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        if not value:
            return queryset
        number = whole_number(value, LARGEST_ID)
        if number is None:
            raise IncorrectLookupParameters
        return queryset.filter(period_id=number)


@admin.register(SettlementLine)
class SettlementLineAdmin(ItemScreen):
    purpose = gettext_lazy("What closed settlements gave scouts or took back, line by line. A line never changes.")
    list_display = ("who", "scout", "which", "reached", "entry", "amount_signed", "period_name")
    list_filter = (PeriodFilter, ItemScoutFilter, "kind")
    list_select_related = ("person", "period")
    ordering = ("-id",)
    fields = (
        "in_words", "entry", "amount_signed", "settled", "owed", "period_link", "scout", "why", "person_link", "account",
        "which", "lead", "reached", "payable", "rule_link", "source", "run_link", "written",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=gettext_lazy("person"))
    def who(self, line: SettlementLine) -> str:
        return words.person_name(line.person, line.person_id)

    @admin.display(description=gettext_lazy("entry"))
    def entry(self, line: SettlementLine) -> SafeString:
        return format_html("{} {}", words.kind(line), line.get_reason_display())

    @admin.display(description=gettext_lazy("amount"))
    def amount_signed(self, line: SettlementLine) -> str:
        return words.signed(line.amount, line.currency)

    @admin.display(description=gettext_lazy("settled before"))
    def settled(self, line: SettlementLine) -> str:
        return labels.money(line.settled_before, line.currency)

    @admin.display(description=gettext_lazy("period"))
    def period_name(self, line: SettlementLine) -> str:
        return line.period.name

    @admin.display(description=gettext_lazy("period"))
    def period_link(self, line: SettlementLine) -> SafeString | str:
        return link_to(line.period)

    @admin.display(description=gettext_lazy("rule"))
    def rule_link(self, line: SettlementLine) -> SafeString | str:
        return link_to(line.rule)

    @admin.display(description=gettext_lazy("source of the scout"))
    def source(self, line: SettlementLine) -> str:
        return words.source(line)

    @admin.display(description=gettext_lazy("run"))
    def run_link(self, line: SettlementLine) -> SafeString | str:
        return link_to(line.run, f"#{line.run_id}")

    @admin.display(description=gettext_lazy("written"))
    def written(self, line: SettlementLine) -> SafeString | str:
        return lima_time(line.created_at)

    @admin.display(description=gettext_lazy("in words"))
    def in_words(self, line: SettlementLine) -> SafeString:
        names = names_of(line, self.scouts_of(line))
        closing = {"period": line.period.name, "amount": words.signed(line.amount, line.currency)}
        return words.paragraphs(
            [
                *words.reached(line, self.who(line), line.rule),
                _("The closing of the period %(period)s settled %(amount)s for it.") % closing,
                words.reason(line, names),
                words.why(line, names),
            ]
        )

    def get_sections(self, request: HttpRequest, line: SettlementLine) -> Iterable[Section]:
        yield lines_section(line.payment_item_key, but=line.pk)
        now = StatementItem.objects.filter(payment_item_key=line.payment_item_key, currency=line.currency).first()
        rows = [] if now is None else [
            (words.status(now), labels.money(now.owed_amount, now.currency), labels.money(now.settled_amount, now.currency), link_to(now, _("Item")))
        ]  # fmt: skip
        columns = [_("Status"), _("Owed"), _("Settled"), _("Page")]
        yield Section(title=_("How the item stands now"), columns=columns, rows=rows, is_list=False)
        yield payments_section(line)
