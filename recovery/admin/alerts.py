"""Unresolved leads that somebody should look at, the worst first (domain.md 7.3, Q36)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from ct4site.admin_base import CodeFilter, ReadOnlyAdmin, Section, link_to
from recovery.admin import labels
from recovery.admin.parts import (
    AlertTypeFilter,
    LeadSearchMixin,
    candidates_section,
    source_section,
    tries_section,
)
from recovery.models import SEVERITY_RANK, GapAlert, IdentityGap, Severity


class SeverityFilter(CodeFilter):
    """By severity."""

    title = gettext_lazy("severity")
    parameter_name = column = "severity"
    words = dict(Severity.choices)


@admin.register(GapAlert)
class GapAlertAdmin(LeadSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Unresolved leads that somebody should look at, and what to do: the worst and oldest first.")
    list_display = ("lead", "alert", "how_severe", "days_open", "to_do")
    list_filter = (AlertTypeFilter, SeverityFilter)
    ordering: ClassVar[Any] = (SEVERITY_RANK.desc(), "-days_open", "pk")
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("gap", "alert", "how_severe", "days_open", "to_do")
    readonly_fields = fields

    @admin.display(description=gettext_lazy("lead"))
    def gap(self, alert: GapAlert) -> SafeString | str:
        return link_to(IdentityGap(lead_id=alert.pk))

    @admin.display(description=gettext_lazy("alert"))
    def alert(self, alert: GapAlert) -> str:
        return alert.get_alert_type_display()

    @admin.display(description=gettext_lazy("severity"))
    def how_severe(self, alert: GapAlert) -> SafeString | str:
        return labels.coded(alert, "severity", labels.RISK_TONES)

    @admin.display(description=gettext_lazy("what to do"))
    def to_do(self, alert: GapAlert) -> str:
        return alert.get_suggested_action_display()

    def get_sections(self, request: HttpRequest, alert: GapAlert) -> Iterable[Section]:
        yield candidates_section(alert.pk)
        yield tries_section(alert.pk)
        yield source_section(alert.pk)
