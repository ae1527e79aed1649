"""Settlement periods: what the closed ones settled, by scout, and what closing the open one would (domain.md 6.13, Q27)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.contrib import admin
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Count, Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution import settlement
from attribution.admin import labels as attribution_labels
from attribution.admin.collection import labels
from attribution.admin.settlement import words
from attribution.admin.settlement.items import blocked_section, due_section, statement_link
from attribution.models import LineKind, PeriodStatus, SettlementLine, SettlementPeriod
from ct4site.admin import audit_section
from ct4site.admin_base import NOTHING, ReadOnlyAdmin, Section, lima_time, link_to, pill
from ct4site.models import AuditEntry

SCOUTS = 1000


@admin.register(SettlementPeriod)
class SettlementPeriodAdmin(ReadOnlyAdmin):
    purpose = gettext_lazy("The days scouts are settled for. One is open; a closed one never changes.")
    list_display = ("name", "state", "total", "lines", "scouts", "closed", "by")
    list_filter = ("status",)
    ordering = ("-starts_on",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = (
        "state", "days", "total", "lines", "scouts", "persons", "opened", "closed", "by", "run_link", "digest_shown",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=gettext_lazy("status"))
    def state(self, period: SettlementPeriod) -> SafeString | str:
        tone = "info" if period.status == PeriodStatus.OPEN else "plain"
        return pill(period.status, period.get_status_display(), tone)

    @admin.display(description=gettext_lazy("days"))
    def days(self, period: SettlementPeriod) -> SafeString:
        return format_html("{} – {}", lima_time(period.starts_on), lima_time(period.ends_on))

    @admin.display(description=gettext_lazy("amount"))
    def total(self, period: SettlementPeriod) -> str:
        return words.money(period.amounts) if period.status == PeriodStatus.CLOSED else NOTHING

    @admin.display(description=gettext_lazy("lines"))
    def lines(self, period: SettlementPeriod) -> SafeString | str:
        if period.status != PeriodStatus.CLOSED:
            return NOTHING
        numbers = {"new": intcomma(period.lines_count), "adjustments": intcomma(period.adjustments_count)}
        address = reverse("admin:attribution_settlementline_changelist")
        return format_html(
            '<a href="{}?period={}">{}</a>', address, period.pk, _("%(new)s new, %(adjustments)s adjustments") % numbers
        )

    @admin.display(description=gettext_lazy("scouts"))
    def scouts(self, period: SettlementPeriod) -> str:
        return intcomma(period.scouts_count) if period.status == PeriodStatus.CLOSED else NOTHING

    @admin.display(description=gettext_lazy("persons"))
    def persons(self, period: SettlementPeriod) -> str:
        return intcomma(period.persons_count) if period.status == PeriodStatus.CLOSED else NOTHING

    @admin.display(description=gettext_lazy("opened"))
    def opened(self, period: SettlementPeriod) -> SafeString | str:
        return lima_time(period.opened_at)

    @admin.display(description=gettext_lazy("closed"))
    def closed(self, period: SettlementPeriod) -> SafeString | str:
        return lima_time(period.closed_at)

    @admin.display(description=gettext_lazy("closed by"))
    def by(self, period: SettlementPeriod) -> str:
        return period.closed_by or NOTHING

    @admin.display(description=gettext_lazy("run"))
    def run_link(self, period: SettlementPeriod) -> SafeString | str:
        return link_to(period.run, f"#{period.run_id}")

    @admin.display(description=gettext_lazy("digest of the lines"))
    def digest_shown(self, period: SettlementPeriod) -> SafeString | str:
        return words.key(period.digest) if period.digest else NOTHING

    def get_sections(self, request: HttpRequest, period: SettlementPeriod) -> Iterable[Section]:
        if period.status == PeriodStatus.OPEN:
            yield due_section(settlement.due_of_scouts())
            yield blocked_section()
        else:
            yield by_scout(period)
        entries = AuditEntry.objects.filter(subject_table="settlement_periods", subject_key=str(period.pk))
        yield audit_section(entries)


def by_scout(period: SettlementPeriod) -> Section:
    """Return what a closed period settled for each scout, with the way to its lines and its statement."""
    is_line = Q(kind=LineKind.LINE)
    found = list(
        SettlementLine.objects.filter(period=period)
        .order_by("scout_id", "currency")
        .values_list("scout_id", "currency")
        .annotate(
            new=Count("pk", filter=is_line), new_amount=Sum("amount", filter=is_line),
            adjustments=Count("pk", filter=~is_line), adjusted=Sum("amount", filter=~is_line), amount=Sum("amount"),
        )[: SCOUTS + 1]
    )  # fmt: skip
    shown = found[:SCOUTS]
    names = attribution_labels.scouts_by_number(row[0] for row in shown)
    address = reverse("admin:attribution_settlementline_changelist")
    rows = [
        (
            attribution_labels.scout(scout, names), intcomma(new), labels.money(new_amount or words.NOTHING_OWED, currency),
            intcomma(adjustments), words.signed(adjusted or words.NOTHING_OWED, currency), labels.money(amount, currency),
            format_html('<a href="{}?period={}&amp;scout={}">{}</a>', address, period.pk, scout, _("Lines")),
            statement_link(scout, period.pk),
        )
        for scout, currency, new, new_amount, adjustments, adjusted, amount in shown
    ]  # fmt: skip
    columns = [_("Scout"), _("New"), _("Amount"), _("Adjustments"), _("Amount"), _("All"), "", ""]
    return Section(title=_("By scout"), columns=columns, rows=rows, has_more=len(found) > SCOUTS)
