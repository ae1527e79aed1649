"""Leads that matching gave back to people: the list, and one lead beside its candidates (domain.md 5.4, 7.5, Q34)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from ct4site.admin_base import CodeFilter, ReadOnlyAdmin, Section, lima_time, link_to
from identity.admin.persons import origin_history
from identity.models import OriginChange
from recovery.admin import labels
from recovery.admin.parts import (
    FailReasonFilter,
    LeadSearchMixin,
    candidates_section,
    recoveries_section,
    source_section,
    tries_section,
)
from recovery.models import GapCase, GapReason, IdentityGap, RetryStatus


class GapReasonFilter(CodeFilter):
    """By what a lead lacks."""

    title = gettext_lazy("gap")
    parameter_name = column = "gap_reason"
    words = {code: name for code, name in GapReason.choices if code != GapReason.RESOLVED}


class CaseStatusFilter(CodeFilter):
    """Given up, or still tried when something changes."""

    title = gettext_lazy("status")
    parameter_name = column = "status"
    words = {code: name for code, name in RetryStatus.choices if code != RetryStatus.MATCHED}


@admin.register(GapCase)
class GapCaseAdmin(LeadSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy(
        "Leads that matching cannot decide: given up, several candidates, or something speaks against the only one."
    )
    list_display = ("lead", "lead_day", "gap", "why", "state", "attempt_count", "candidate_count")
    list_filter = (FailReasonFilter, CaseStatusFilter, GapReasonFilter)
    ordering = ("lead_date", "pk")
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("of_gap", "gap", "missing", "lead_day", "who", "why", "state", "attempt_count", "tried")
    readonly_fields = fields

    @admin.display(description=gettext_lazy("lead"))
    def of_gap(self, case: GapCase) -> SafeString | str:
        return link_to(IdentityGap(lead_id=case.pk))

    @admin.display(description=gettext_lazy("lead date"))
    def lead_day(self, case: GapCase) -> SafeString | str:
        return lima_time(case.lead_date)

    @admin.display(description=gettext_lazy("gap"))
    def gap(self, case: GapCase) -> SafeString | str:
        return labels.coded(case, "gap_reason", labels.GAP_TONES)

    @admin.display(description=gettext_lazy("what is missing"))
    def missing(self, case: GapCase) -> str:
        return str(labels.MISSING[case.gap_reason])

    @admin.display(description=gettext_lazy("person"))
    def who(self, case: GapCase) -> SafeString | str:
        return link_to(case.person)

    @admin.display(description=gettext_lazy("reason"))
    def why(self, case: GapCase) -> str:
        return labels.fail_reason(case.fail_reason)

    @admin.display(description=gettext_lazy("status"))
    def state(self, case: GapCase) -> SafeString | str:
        return labels.coded(case, "status", labels.RETRY_TONES)

    @admin.display(description=gettext_lazy("last try"))
    def tried(self, case: GapCase) -> SafeString | str:
        return lima_time(case.last_attempt_at)

    def get_sections(self, request: HttpRequest, case: GapCase) -> Iterable[Section]:
        yield candidates_section(case.pk)
        if case.person_id is not None:
            yield origin_history(OriginChange.objects.filter(person_id=case.person_id))
        yield tries_section(case.pk)
        yield recoveries_section(case.pk)
        yield source_section(case.pk)
