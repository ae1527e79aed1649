"""The list of drivers without lead, the one page that shows all evidence of one, and the history of the quarantine."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site.admin import OfRunMixin, RunFilter, audit_section
from ct4site.admin_base import (
    LIMA,
    NOTHING,
    OpenFirstFilter,
    ReadOnlyAdmin,
    SearchMixin,
    Section,
    json_table,
    key_search,
    lima_time,
    link_to,
    words,
)
from ct4site.models import AuditEntry, CaseKind, CaseStatus, ReviewCase
from identity.admin import finding as identity_finding
from identity.admin import labels as identity_labels
from identity.admin.matching import RuleFilter
from identity.models import Link
from orphans.admin import evidence, finding, labels, nearest
from orphans.models import OrphanReason, OrphanStatus, QuarantineChange, QuarantinedDriver

SHOWN = 100


class QuarantinedFirstFilter(OpenFirstFilter):
    """Those in quarantine unless asked otherwise: they are what is left to do."""

    codes, first = OrphanStatus, OrphanStatus.QUARANTINED


class CreationRuleFilter(RuleFilter):
    """By the rule that linked the driver; a rule and the runbooks' misspelling of it are one (decision Q4)."""

    def value(self) -> str | None:
        value = super().value()
        return identity_labels.RULE_ALIASES.get(value, value) if value else value

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        if not value:
            return queryset
        aliases = [alias for alias, rule in identity_labels.RULE_ALIASES.items() if rule == value]
        return queryset.filter(creation_rule__in=[value, *aliases])


class AgeFilter(admin.SimpleListFilter):
    """By how long ago the driver was found without a lead, in days of Lima."""

    title = gettext_lazy("detected")
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("today", gettext_lazy("Today")),
            ("7", gettext_lazy("Last 7 days")),
            ("30", gettext_lazy("Last 30 days")),
            ("older", gettext_lazy("More than 30 days ago")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        today = timezone.now().astimezone(LIMA).replace(hour=0, minute=0, second=0, microsecond=0)
        days = {"today": 0, "7": 6, "30": 29, "older": 29}.get(self.value() or "")
        if days is None:
            return queryset
        first = today - datetime.timedelta(days=days)
        return queryset.filter(**{"detected_at__lt" if self.value() == "older" else "detected_at__gte": first})


class HasEventsFilter(admin.SimpleListFilter):
    """Drivers to which some lead record pointed, or none."""

    title = gettext_lazy("lead events")
    parameter_name = "has_events"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", gettext_lazy("Some")), ("no", gettext_lazy("None"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        wanted = {"yes": Q(lead_events_count__gt=0), "no": Q(lead_events_count=0)}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(wanted)


@admin.register(QuarantinedDriver)
class QuarantinedDriverAdmin(SearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy(
        "Drivers found without a lead. Shown are those in quarantine, which count nowhere; the others are under Filter."
    )
    change_form_template = "admin/orphans/quarantined_driver.html"
    list_display = ("driver", "who", "state", "reason", "rule", "lead_events_count", "detected")
    list_filter = (QuarantinedFirstFilter, "detected_reason", CreationRuleFilter, AgeFilter, HasEventsFilter)
    list_select_related = ("person",)
    ordering = ("-detected_at",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ("driver", "detected")
    search_help_text = gettext_lazy("Driver, person, plate or name")
    finds_personal = True
    searches = (lambda keys: None,)
    fields = (
        "driver_id", "who", "state", "reason", "rule", "lead_events_count", "detected", "resolved", "notes", "as_stored",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # The evidence is by far the largest column; only the page of one driver reads it.
        return super().get_queryset(request).defer("evidence_json")

    def meant(self, request: HttpRequest, keys: Mapping[str, Any]) -> Q:
        found = finding.driver_ids(keys)
        identity_finding.say_if_vague(request, found)
        return Q(pk__in=found)

    @admin.display(description=gettext_lazy("driver"), ordering="driver_id")
    def driver(self, driver: QuarantinedDriver) -> SafeString:
        return format_html('<span class="key">{}</span>', driver.driver_id)

    @admin.display(description=gettext_lazy("person"))
    def who(self, driver: QuarantinedDriver) -> SafeString | str:
        return link_to(driver.person)

    @admin.display(description=gettext_lazy("status"))
    def state(self, driver: QuarantinedDriver) -> SafeString | str:
        return labels.status_pill(driver)

    @admin.display(description=gettext_lazy("reason"))
    def reason(self, driver: QuarantinedDriver) -> str:
        return driver.get_detected_reason_display()

    @admin.display(description=gettext_lazy("linked by rule"))
    def rule(self, driver: QuarantinedDriver) -> SafeString | str:
        return identity_labels.rule(driver.creation_rule)

    @admin.display(description=gettext_lazy("detected"), ordering="detected_at")
    def detected(self, driver: QuarantinedDriver) -> SafeString | str:
        return lima_time(driver.detected_at)

    @admin.display(description=gettext_lazy("resolved"))
    def resolved(self, driver: QuarantinedDriver) -> SafeString | str:
        return lima_time(driver.resolved_at)

    @admin.display(description=gettext_lazy("notes"))
    def notes(self, driver: QuarantinedDriver) -> str:
        return driver.resolution_notes or NOTHING

    @admin.display(description=gettext_lazy("evidence as stored"))
    def as_stored(self, driver: QuarantinedDriver) -> SafeString | str:
        if not driver.evidence_json:
            return NOTHING
        return format_html("<details><summary>{}</summary>{}</details>", _("Show"), json_table(driver.evidence_json))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["decide_at"] = self._decide_at(request, kwargs.get("obj"))
        return super().render_change_form(request, context, *args, **kwargs)

    def _decide_at(self, request: HttpRequest, driver: QuarantinedDriver | None) -> str:
        """Return the address where the driver's case is decided; nothing without a case, or for those who may not."""
        if driver is None or not request.user.has_perm("ct4site.decide_case"):
            return ""
        cases = ReviewCase.objects.filter(kind=CaseKind.ORPHAN, subject_key=driver.pk, status=CaseStatus.OPEN)
        case = cases.values_list("pk", flat=True).first()
        return reverse("admin:ct4site_reviewcase_decide", args=[case]) if case is not None else ""

    def get_sections(self, request: HttpRequest, driver: QuarantinedDriver) -> Iterable[Section]:
        entry, link = evidence.known_of(driver)
        found = list(evidence.sections(driver, entry, link))
        # What is near comes right after what was found.
        yield from found[:2]
        yield nearest.section(nearest.keys_of(driver, entry, link))
        yield from found[2:]
        yield self._audit(driver, link)

    def _audit(self, driver: QuarantinedDriver, link: Link | None) -> Section:
        """What was written of the driver and its person; the log is indexed by person."""
        persons = {driver.person_id, link.person_id if link else None} - {None}
        of_other_drivers = Q(subject_table=QuarantinedDriver._meta.db_table) & ~Q(subject_key=driver.driver_id)
        return audit_section(AuditEntry.objects.filter(person_key__in=persons).exclude(of_other_drivers), SHOWN)


@admin.register(QuarantineChange)
class QuarantineChangeAdmin(OfRunMixin, SearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Every change of the quarantine, the first entry included. Nothing here can be changed.")
    list_display = ("id", "when", "driver", "what", "change", "changed_by", "notes", "of_run")
    list_filter = (RunFilter,)
    list_select_related = ("run",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ("id",)
    search_help_text = gettext_lazy("Driver")
    searches = (key_search("driver_id", "text"),)
    fields = ("driver", "what", "change", "reason_before", "reason_after", "notes", "changed_by", "when", "run")
    readonly_fields = fields

    @admin.display(description=gettext_lazy("when"))
    def when(self, change: QuarantineChange) -> SafeString | str:
        return lima_time(change.changed_at)

    @admin.display(description=gettext_lazy("driver"))
    def driver(self, change: QuarantineChange) -> SafeString | str:
        label = format_html('<span class="key">{}</span>', change.driver_id)
        return link_to(QuarantinedDriver(driver_id=change.driver_id), label)

    @admin.display(description=gettext_lazy("what"))
    def what(self, change: QuarantineChange) -> str:
        return words(labels.CHANGES, change.change_reason)

    @admin.display(description=gettext_lazy("change"))
    def change(self, change: QuarantineChange) -> str:
        return str(change)

    @admin.display(description=gettext_lazy("reason before"))
    def reason_before(self, change: QuarantineChange) -> str:
        return words(dict(OrphanReason.choices), change.detected_reason_old)

    @admin.display(description=gettext_lazy("reason after"))
    def reason_after(self, change: QuarantineChange) -> str:
        return words(dict(OrphanReason.choices), change.detected_reason_new)
