"""Lost cabinet leads: what each lacks, since when, and all that was tried (domain.md 7.1, 7.2, Q41)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.admin.collection.filters import WeekFilter
from attribution.admin.collection.story import WINDOW, days_of
from ct4site.admin_base import NOTHING, CodeFilter, OpenFirstFilter, ReadOnlyAdmin, Section, lima_time, link_to
from identity.models import DriverIndexEntry, Link, SourceTable
from recovery.admin import labels
from recovery.admin.parts import (
    SHOWN,
    AlertTypeFilter,
    LeadSearchMixin,
    candidates_section,
    recoveries_section,
    source_section,
    tries_section,
)
from recovery.models import GapAlert, GapReason, IdentityGap, RiskLevel


class UnresolvedFirstFilter(OpenFirstFilter):
    """The unresolved ones unless asked otherwise (Q41)."""

    title = gettext_lazy("gap")
    parameter_name = column = "gap_reason"
    codes, first = GapReason, "unresolved"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(self.first, gettext_lazy("Unresolved")), *super().lookups(request, model_admin)]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if (self.value() or self.first) == self.first:
            return queryset.exclude(gap_reason=GapReason.RESOLVED)
        return super().queryset(request, queryset)


class RiskFilter(CodeFilter):
    """By risk."""

    title = gettext_lazy("risk")
    parameter_name = column = "risk_level"
    words = dict(RiskLevel.choices)


@admin.register(IdentityGap)
class IdentityGapAdmin(LeadSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy(
        "Cabinet leads that cannot count yet, and what each lacks. Shown are the unresolved ones, the oldest first."
    )
    list_display = ("lead", "lead_day", "days", "gap", "risk", "who")
    list_filter = (UnresolvedFirstFilter, RiskFilter, AlertTypeFilter, WeekFilter)
    list_select_related = ("person",)
    ordering = ("lead_date", "pk")
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("lead", "gap", "missing", "lead_day", "days", "risk", "alert", "who")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # A join over all days of all accounts; the page of one lead asks for its accounts' days alone.
        return super().get_queryset(request).defer("trips_14d")

    @admin.display(description=gettext_lazy("lead date"), ordering="lead_date")
    def lead_day(self, gap: IdentityGap) -> SafeString | str:
        return lima_time(gap.lead_date)

    @admin.display(description=gettext_lazy("days"))
    def days(self, gap: IdentityGap) -> int:
        return gap.gap_age_days

    @admin.display(description=gettext_lazy("gap"))
    def gap(self, gap: IdentityGap) -> SafeString | str:
        return labels.coded(gap, "gap_reason", labels.GAP_TONES)

    @admin.display(description=gettext_lazy("what is missing"))
    def missing(self, gap: IdentityGap) -> str:
        return str(labels.MISSING[gap.gap_reason])

    @admin.display(description=gettext_lazy("risk"))
    def risk(self, gap: IdentityGap) -> SafeString | str:
        return labels.coded(gap, "risk_level", labels.RISK_TONES)

    @admin.display(description=gettext_lazy("alert"))
    def alert(self, gap: IdentityGap) -> SafeString | str:
        return link_to(GapAlert(lead_id=gap.pk), gap.get_alert_type_display()) if gap.alert_type else NOTHING

    @admin.display(description=gettext_lazy("person"))
    def who(self, gap: IdentityGap) -> SafeString | str:
        return link_to(gap.person)

    def get_sections(self, request: HttpRequest, gap: IdentityGap) -> Iterable[Section]:
        yield candidates_section(gap.pk)
        if gap.person_id is not None:
            yield _trips_section(gap)
        yield tries_section(gap.pk)
        yield recoveries_section(gap.pk)
        yield source_section(gap.pk)


def _trips_section(gap: IdentityGap) -> Section:
    """The trips that the analysis adds up, account by account (domain.md 7.1, Q32)."""
    drivers = Link.objects.filter(person=gap.person_id, source_table=SourceTable.DRIVERS).order_by("source_pk")
    rows: list[tuple[Any, ...]] = []
    total = 0
    for driver_id in drivers.values_list("source_pk", flat=True)[:SHOWN]:
        trips = days_of(driver_id, gap.lead_date, WINDOW)[-1].total
        total += trips
        rows.append((link_to(DriverIndexEntry(driver_id=driver_id), driver_id), intcomma(trips)))
    note = _("Together %(trips)s in the %(days)d days from the lead on.") % {"trips": intcomma(total), "days": WINDOW}
    return Section(title=_("Trips of its person"), columns=[_("Driver"), _("Trips")], rows=rows, note=note)
