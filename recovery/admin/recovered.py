"""Leads that were lost and came back: when first and last, how, and every change of that record (domain.md 8.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from ct4site.admin_base import ReadOnlyAdmin, Section, lima_time, link_to
from recovery.admin.parts import LeadSearchMixin, persons_of, recoveries_section, source_section, tries_section
from recovery.models import RecoveredLead, RecoveryImpact


@admin.register(RecoveredLead)
class RecoveredLeadAdmin(LeadSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Leads that were lost and came back: when, how, and by whom.")
    list_display = ("lead", "first", "last", "how", "who", "recovered_by")
    list_filter = ("recovery_method",)
    ordering = ("-first_recovered_at", "pk")
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("of_impact", "first", "last", "how", "who", "recovered_by", "changed")
    readonly_fields = fields

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        rows = list(changes.result_list)
        persons = persons_of(row.recovered_person_key for row in rows)
        for row in rows:
            row.person = persons.get(row.recovered_person_key)
        changes.result_list = rows
        return changes

    @admin.display(description=gettext_lazy("lead"))
    def of_impact(self, lead: RecoveredLead) -> SafeString | str:
        return link_to(RecoveryImpact(lead_id=lead.pk))

    @admin.display(description=gettext_lazy("first recovered"))
    def first(self, lead: RecoveredLead) -> SafeString | str:
        return lima_time(lead.first_recovered_at)

    @admin.display(description=gettext_lazy("last recovered"))
    def last(self, lead: RecoveredLead) -> SafeString | str:
        return lima_time(lead.last_recovered_at)

    @admin.display(description=gettext_lazy("how"))
    def how(self, lead: RecoveredLead) -> str:
        return lead.get_recovery_method_display() or ""

    @admin.display(description=gettext_lazy("person"))
    def who(self, lead: RecoveredLead) -> SafeString | str:
        if not hasattr(lead, "person"):
            return link_to(persons_of([lead.recovered_person_key]).get(lead.recovered_person_key))
        return link_to(lead.person)

    @admin.display(description=gettext_lazy("changed"))
    def changed(self, lead: RecoveredLead) -> SafeString | str:
        return lima_time(lead.updated_at)

    def get_sections(self, request: HttpRequest, lead: RecoveredLead) -> Iterable[Section]:
        yield recoveries_section(lead.pk)
        yield tries_section(lead.pk)
        yield source_section(lead.pk)
