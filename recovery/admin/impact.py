"""What became of every cabinet lead, and the sums of it (domain.md 8.2, Q42, Q46, Q47)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.humanize.templatetags.humanize import intcomma
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet, Sum, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.admin.collection import labels as claim_labels
from attribution.models import Claim
from ct4site.admin_base import CodeFilter, ReadOnlyAdmin, Section, YesNoFilter, json_table, lima_time, link_to
from recovery.admin import labels
from recovery.admin.parts import LeadSearchMixin, recoveries_section, source_section, tries_section
from recovery.models import ClaimStatusBucket, ImpactBucket, RecoveryImpact

Sums = dict[tuple[str, str], tuple[int, Decimal]]


class ImpactFilter(CodeFilter):
    """By what became of the lead."""

    title = gettext_lazy("impact")
    parameter_name = column = "impact_bucket"
    words = dict(ImpactBucket.choices)


class ClaimStatusFilter(CodeFilter):
    """By how far the lead is on its way to a claim."""

    title = gettext_lazy("on its way to a claim")
    parameter_name = column = "claim_status_bucket"
    words = dict(ClaimStatusBucket.choices)


class InTimeFilter(YesNoFilter):
    """Recovered within its window, or later."""

    title = gettext_lazy("recovered in time")
    parameter_name = "in_time"
    column = "recovered_within_14d"


@admin.register(RecoveryImpact)
class RecoveryImpactAdmin(LeadSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("What became of every cabinet lead: found, recovered in time or late, claimed.")
    change_list_template = "admin/recovery/impact_list.html"
    list_display = ("lead", "lead_day", "became", "recovered", "amount", "who")
    list_filter = (ImpactFilter, ClaimStatusFilter, InTimeFilter)
    list_select_related = ("person_effective",)
    # Newest first; leads without a date last.
    ordering: ClassVar[Any] = (Coalesce("lead_date", Value(datetime.date.min)).desc(), "pk")
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("lead", "lead_day", "window_end", "who", "origin_ok", "became", "claim_status", "recovered", "in_time", "amount")  # fmt: skip
    readonly_fields = fields

    def get_paginator(self, request: HttpRequest, queryset: Any, per_page: int, *args: Any, **kwargs: Any) -> Paginator:
        paginator: Any = super().get_paginator(request, queryset, per_page, *args, **kwargs)
        if queryset.model is not RecoveryImpact:  # the log of an object's changes, which is asked for here too
            return paginator
        sums = sums_of(queryset)
        # The sums above the list count its rows too; the view reads all leads each time it is asked.
        paginator.counted = sum(number for number, _amount in sums.values())
        request.impact_sums = sums  # type: ignore[attr-defined]
        return paginator

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            changes = response.context_data["cl"]
            sums: Sums = request.impact_sums  # type: ignore[attr-defined]
            response.context_data["tables"] = [
                _table(changes, ImpactFilter, ImpactBucket, 0, sums),
                _table(changes, ClaimStatusFilter, ClaimStatusBucket, 1, sums),
            ]
        return response

    @admin.display(description=gettext_lazy("lead date"))
    def lead_day(self, item: RecoveryImpact) -> SafeString | str:
        return lima_time(item.lead_date)

    @admin.display(description=gettext_lazy("window ends"))
    def window_end(self, item: RecoveryImpact) -> SafeString | str:
        return lima_time(item.window_end_14d)

    @admin.display(description=gettext_lazy("impact"))
    def became(self, item: RecoveryImpact) -> SafeString | str:
        return labels.coded(item, "impact_bucket", labels.IMPACT_TONES)

    @admin.display(description=gettext_lazy("on its way to a claim"))
    def claim_status(self, item: RecoveryImpact) -> SafeString | str:
        return labels.coded(item, "claim_status_bucket", labels.CLAIM_TONES)

    @admin.display(description=gettext_lazy("recovered"))
    def recovered(self, item: RecoveryImpact) -> SafeString | str:
        return lima_time(item.recovered_at)

    @admin.display(description=gettext_lazy("in time"))
    def in_time(self, item: RecoveryImpact) -> SafeString | str:
        return json_table(item.recovered_within_14d)

    @admin.display(description=gettext_lazy("claimed"))
    def amount(self, item: RecoveryImpact) -> str:
        return claim_labels.money(item.claimed_amount)

    @admin.display(description=gettext_lazy("person"))
    def who(self, item: RecoveryImpact) -> SafeString | str:
        return link_to(item.person_effective)

    def get_sections(self, request: HttpRequest, item: RecoveryImpact) -> Iterable[Section]:
        columns = {
            _("Milestone"): lambda claim: link_to(claim, claim_labels.milestone(claim.milestone)),
            _("Amount"): lambda claim: claim_labels.money(claim.amount_expected),
            _("Status"): lambda claim: claim_labels.status(claim),
            _("Driver"): lambda claim: claim.driver_id,
        }
        yield Section.of(_("Claims"), columns, Claim.objects.filter(lead_source_pk=item.pk).order_by("milestone", "pk"))
        yield recoveries_section(item.pk)
        yield tries_section(item.pk)
        yield source_section(item.pk)


def sums_of(rows: QuerySet[RecoveryImpact]) -> Sums:
    """Return leads and claimed amount of some leads per impact bucket and claim status bucket, in one statement."""
    found = rows.order_by().values_list("impact_bucket", "claim_status_bucket")
    counted = found.annotate(number=Count("pk"), amount=Sum("claimed_amount"))
    return {(impact, status): (number, amount) for impact, status, number, amount in counted}


def _table(changes: Any, by: type[CodeFilter], codes: Any, place: int, sums: Sums) -> dict[str, Any]:
    """One table of sums: each bucket leads to its leads, under the same other filters; zeros are shown."""
    rows = []
    for code, words in codes.choices:
        of_code = [figures for key, figures in sums.items() if key[place] == code]
        address = changes.get_query_string({by.parameter_name: code})
        rows.append((format_html('<a href="{}">{}</a>', address, words), *_sum(of_code)))
    return {"title": by.title, "rows": rows, "total": _sum(list(sums.values()))}


def _sum(figures: list[tuple[int, Decimal]]) -> tuple[str, str]:
    leads, amount = sum(number for number, _amount in figures), sum((item for _number, item in figures), Decimal())
    return intcomma(leads), claim_labels.money(amount)
