"""Leads that were matched again, how often and with what outcome (domain.md 7.5, Q38)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from ct4site.admin_base import ReadOnlyAdmin, Section, lima_time, link_to
from recovery.admin import labels
from recovery.admin.parts import FailReasonFilter, LeadSearchMixin, candidates_section, source_section, tries_section
from recovery.models import IdentityGap, MatchingJob


@admin.register(MatchingJob)
class MatchingJobAdmin(LeadSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Leads that were matched again: how often, when last, and what came of it.")
    lead_column = "source_id"
    list_display = ("lead", "state", "why", "attempt_count", "tried", "who")
    list_filter = ("status", FailReasonFilter)
    list_select_related = ("matched_person",)
    ordering = ("-last_attempt_at", "-pk")
    sortable_by: ClassVar[tuple[str, ...] | None] = ("tried",)
    fields = ("of_gap", "state", "why", "attempt_count", "tried", "who", "created", "changed")
    readonly_fields = fields

    @admin.display(description=gettext_lazy("lead"))
    def of_gap(self, job: MatchingJob) -> SafeString | str:
        return link_to(IdentityGap(lead_id=job.source_id))

    @admin.display(description=gettext_lazy("status"))
    def state(self, job: MatchingJob) -> SafeString | str:
        return labels.coded(job, "status", labels.RETRY_TONES)

    @admin.display(description=gettext_lazy("reason"))
    def why(self, job: MatchingJob) -> str:
        return labels.fail_reason(job.fail_reason)

    @admin.display(description=gettext_lazy("last try"), ordering="last_attempt_at")
    def tried(self, job: MatchingJob) -> SafeString | str:
        return lima_time(job.last_attempt_at)

    @admin.display(description=gettext_lazy("person"))
    def who(self, job: MatchingJob) -> SafeString | str:
        return link_to(job.matched_person)

    @admin.display(description=gettext_lazy("created"))
    def created(self, job: MatchingJob) -> SafeString | str:
        return lima_time(job.created_at)

    @admin.display(description=gettext_lazy("changed"))
    def changed(self, job: MatchingJob) -> SafeString | str:
        return lima_time(job.updated_at)

    def get_sections(self, request: HttpRequest, job: MatchingJob) -> Iterable[Section]:
        yield tries_section(job.source_id)
        yield candidates_section(job.source_id)
        yield source_section(job.source_id)
