"""Screens of matching: links, unmatched records, drivers index, origins and their history, lead events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site.admin import OfRunMixin, RunFilter
from ct4site.admin_base import (
    NOTHING,
    OpenFirstFilter,
    ReadOnlyAdmin,
    SearchMixin,
    Section,
    json_table,
    key_search,
    lima_time,
    link_to,
    pill,
)
from identity.admin import finding, labels, records
from identity.admin.comparing import comparison
from identity.admin.persons import confidence, origin_history, resolution
from identity.models import (
    DailyTrips,
    Driver,
    DriverIndexEntry,
    LeadEvent,
    Link,
    Origin,
    OriginChange,
    Person,
    SourceTable,
    Unmatched,
    UnmatchedStatus,
)


class RecordScreen(OfRunMixin, SearchMixin, ReadOnlyAdmin):
    """A list of things that each speak of one source record."""

    sortable_by: ClassVar[tuple[str, ...] | None] = ("id",)

    @admin.display(description=gettext_lazy("record"))
    def record(self, item: Any) -> SafeString | str:
        return records.record_label(item)

    @admin.display(description=gettext_lazy("date of the record"))
    def recorded(self, item: Any) -> SafeString | str:
        return lima_time(item.snapshot_date)

    @admin.display(description=gettext_lazy("person"))
    def who(self, item: Any) -> SafeString | str:
        return link_to(item.person)

    def source_section(self, item: Any) -> Section:
        """Return the section with the row of the feed behind the record."""
        row = records.source_rows([(item.source_table, item.source_pk)]).get((item.source_table, item.source_pk))
        cells = [(link_to(row, str(row)), records.facts(row))] if row is not None else []
        return Section(title=_("Source row"), columns=[_("Row"), _("Columns")], rows=cells)


class RuleFilter(admin.SimpleListFilter):
    """By rule; takes the runbooks' misspelling too (decision Q4)."""

    title = gettext_lazy("rule")
    parameter_name = "rule"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(labels.RULES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        return queryset.filter(match_rule=labels.RULE_ALIASES.get(value, value)) if value else queryset


@admin.register(Link)
class LinkAdmin(RecordScreen):
    purpose = gettext_lazy("Which record is believed to be which person, by which rule, on what evidence.")
    list_display = ("id", "record", "who", "rule", "match_score", "level", "recorded", "of_run")
    list_filter = ("source_table", RuleFilter, "confidence_level", RunFilter)
    list_select_related = ("person", "run")
    search_help_text = gettext_lazy("Source record, person key")
    searches = (
        finding.by_record,
        key_search("person_id", "uuid"),
    )
    fields = ("record", "person", "rule", "match_score", "level", "recorded", "evidence_table", "linked", "run")
    readonly_fields = fields

    @admin.display(description=gettext_lazy("rule"))
    def rule(self, link: Link) -> SafeString | str:
        return labels.rule(link.match_rule)

    @admin.display(description=gettext_lazy("confidence"))
    def level(self, link: Link) -> SafeString | str:
        return confidence(link)

    @admin.display(description=gettext_lazy("evidence"))
    def evidence_table(self, link: Link) -> SafeString | str:
        return json_table(link.evidence)

    @admin.display(description=gettext_lazy("linked"))
    def linked(self, link: Link) -> SafeString | str:
        return lima_time(link.linked_at)

    def get_sections(self, request: HttpRequest, link: Link) -> Iterable[Section]:
        yield self.source_section(link)


class OpenUnmatchedFilter(OpenFirstFilter):
    """The open ones unless asked otherwise (decision Q8)."""

    codes, first = UnmatchedStatus, UnmatchedStatus.OPEN


@admin.register(Unmatched)
class UnmatchedAdmin(RecordScreen):
    purpose = gettext_lazy("Records that could not be linked, why, and who came close.")
    list_display = (
        "id",
        "record",
        "reason",
        "state",
        "phone_norm",
        "license_norm",
        "plate_norm",
        "name",
        "recorded",
        "of_run",
    )
    list_filter = (OpenUnmatchedFilter, "reason_code", "source_table", RunFilter)
    list_select_related = ("run",)
    search_help_text = gettext_lazy("Plate, driver or source record")
    finds_personal = True
    searches = finding.UNMATCHED_SEARCHES
    fields = (
        "record", "state", "reason_code", "name", "phone_norm", "license_norm", "plate_norm", "driver_id", "recorded",
        "outcomes", "created", "resolved", "is_stale", "run",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=gettext_lazy("reason"))
    def reason(self, item: Unmatched) -> str:
        return item.get_reason_code_display()

    @admin.display(description=gettext_lazy("status"))
    def state(self, item: Unmatched) -> SafeString | str:
        return pill(item.status, item.get_status_display())

    @admin.display(description=gettext_lazy("name"))
    def name(self, item: Unmatched) -> str:
        return (item.details or {}).get("name") or NOTHING if isinstance(item.details, dict) else NOTHING

    @admin.display(description=gettext_lazy("details"))
    def outcomes(self, item: Unmatched) -> SafeString | str:
        return json_table(item.details)

    @admin.display(description=gettext_lazy("left unmatched"))
    def created(self, item: Unmatched) -> SafeString | str:
        return lima_time(item.created_at)

    @admin.display(description=gettext_lazy("resolved"))
    def resolved(self, item: Unmatched) -> SafeString | str:
        return lima_time(item.resolved_at)

    def get_sections(self, request: HttpRequest, item: Unmatched) -> Iterable[Section]:
        yield comparison(item)
        yield self.source_section(item)


class VanishedFilter(admin.SimpleListFilter):
    """Accounts that the feed still has, or has no more."""

    title = gettext_lazy("in the feed")
    parameter_name = "vanished"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("no", gettext_lazy("Present")), ("yes", gettext_lazy("Vanished"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        wanted = {"no": True, "yes": False}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(vanished_at__isnull=wanted)


def trips_section(driver_id: str) -> Section:
    """Return the section with the days of trips of a driver, as the files wrote them."""
    columns = {
        _("Day, as the file wrote it"): lambda trips: trips.date_file,
        _("Trips"): lambda trips: trips.count_orders_completed,
        _("Seconds connected"): lambda trips: trips.sum_work_time_seconds,
    }
    return Section.of(
        _("Trips by day"), columns, DailyTrips.objects.filter(driver_id=driver_id).order_by("-date_file"), 60
    )


@admin.register(DriverIndexEntry)
class DriverIndexAdmin(SearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Accounts of the drivers feed with the keys that matching compares.")
    list_display = (
        "driver_id",
        "full_name_norm",
        "phone_norm",
        "license_norm",
        "plate_norm",
        "hire_date",
        "state",
        "person",
    )
    list_filter = (VanishedFilter,)
    sortable_by = ("driver_id",)
    search_help_text = gettext_lazy("Plate, name or driver")
    finds_personal = True
    searches = finding.DRIVER_SEARCHES
    fields = (
        "driver_id", "person", "state", "full_name_norm", "phone_norm", "phone_is_weak", "license_norm", "license_is_clean",
        "plate_norm", "brand_norm", "model_norm", "park_id", "hire_date", "snapshot_date", "vanished", "changed",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        link = Link.objects.filter(source_table=SourceTable.DRIVERS, source_pk=OuterRef("driver_id")).order_by()
        return super().get_queryset(request).annotate(person_key=Subquery(link.values("person_id")))

    @admin.display(description=gettext_lazy("person"))
    def person(self, driver: DriverIndexEntry) -> SafeString | str:
        key = driver.person_key  # type: ignore[attr-defined]
        return link_to(Person(person_key=key), str(key)[:8]) if key else NOTHING

    @admin.display(description=gettext_lazy("in the feed"))
    def state(self, driver: DriverIndexEntry) -> SafeString | str:
        return pill("plain", _("Present")) if driver.vanished_at is None else pill("plain", _("Vanished"), "warn")

    @admin.display(description=gettext_lazy("vanished"))
    def vanished(self, driver: DriverIndexEntry) -> SafeString | str:
        return lima_time(driver.vanished_at)

    @admin.display(description=gettext_lazy("changed"))
    def changed(self, driver: DriverIndexEntry) -> SafeString | str:
        return lima_time(driver.updated_at)

    def get_sections(self, request: HttpRequest, driver: DriverIndexEntry) -> Iterable[Section]:
        row = Driver.objects.filter(driver_id=driver.driver_id).first()
        cells = [(link_to(row, row.driver_id), records.facts(row))] if row is not None else []
        yield Section(title=_("Source row"), columns=[_("Row"), _("Columns")], rows=cells)
        yield trips_section(driver.driver_id)


@admin.register(Origin)
class OriginAdmin(SearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("The one way each person came in.")
    list_display = (
        "title",
        "person",
        "tag",
        "origin_source_id",
        "origin_confidence",
        "recorded",
        "state",
        "decided_by",
    )
    list_filter = ("origin_tag", "resolution_status", "ruleset_version")
    list_select_related = ("person",)
    sortable_by = ()
    search_help_text = gettext_lazy("Person key or source record")
    searches = (key_search("pk", "uuid"), key_search("origin_source_id", "text"))
    fields = (
        "person", "tag", "origin_source_id", "origin_confidence", "recorded", "state", "decided_by", "decided", "ruleset_version",
        "evidence_table", "notes",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=gettext_lazy("origin"))
    def title(self, origin: Origin) -> str:
        return str(origin.person_id)[:8]

    @admin.display(description=gettext_lazy("kind"))
    def tag(self, origin: Origin) -> str:
        return origin.get_origin_tag_display()

    @admin.display(description=gettext_lazy("status"))
    def state(self, origin: Origin) -> SafeString | str:
        return resolution(origin)

    @admin.display(description=gettext_lazy("date of the record"))
    def recorded(self, origin: Origin) -> SafeString | str:
        return lima_time(origin.origin_created_at)

    @admin.display(description=gettext_lazy("decided"))
    def decided(self, origin: Origin) -> SafeString | str:
        return lima_time(origin.decided_at)

    @admin.display(description=gettext_lazy("evidence"))
    def evidence_table(self, origin: Origin) -> SafeString | str:
        return json_table(origin.evidence)

    def get_sections(self, request: HttpRequest, origin: Origin) -> Iterable[Section]:
        yield origin_history(OriginChange.objects.filter(person_id=origin.pk))


@admin.register(OriginChange)
class OriginChangeAdmin(OfRunMixin, SearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Every change of an origin, the first one included. Nothing here can be changed.")
    list_display = ("id", "when", "key", "origin_tag_old", "origin_tag_new", "changed_by", "change_reason", "of_run")
    list_filter = (RunFilter,)
    list_select_related = ("run",)
    sortable_by = ("id",)
    search_help_text = gettext_lazy("Person key")
    searches = (key_search("person_id", "uuid"),)

    @admin.display(description=gettext_lazy("when"))
    def when(self, change: OriginChange) -> SafeString | str:
        return lima_time(change.changed_at)

    @admin.display(description=gettext_lazy("person"))
    def key(self, change: OriginChange) -> SafeString | str:
        return link_to(Person(person_key=change.person_id), str(change.person_id)[:8])


class HasPersonFilter(admin.SimpleListFilter):
    """Events with a person, or still without."""

    title = gettext_lazy("person")
    parameter_name = "person"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", gettext_lazy("Known")), ("no", gettext_lazy("Unknown"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        unknown = {"yes": False, "no": True}.get(self.value() or "")
        return queryset if unknown is None else queryset.filter(person__isnull=unknown)


@admin.register(LeadEvent)
class LeadEventAdmin(RecordScreen):
    purpose = gettext_lazy("One event per lead: who brought whom, on which day.")
    list_display = ("id", "day", "record", "who", "scout_id", "driver_id", "phone_norm", "license_norm", "name_norm")
    list_filter = ("source_table", HasPersonFilter, "event_date")
    list_select_related = ("person",)
    search_help_text = gettext_lazy("Person key, driver, scout or source record")
    finds_personal = True
    searches = (*finding.EVENT_SEARCHES, key_search("scout_id", "integer"))
    fields = (
        "record", "day", "person", "scout_id", "driver_id", "phone_norm", "license_norm", "name_norm", "payload", "created",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=gettext_lazy("date"))
    def day(self, event: LeadEvent) -> SafeString | str:
        return lima_time(event.event_date)

    @admin.display(description=gettext_lazy("payload"))
    def payload(self, event: LeadEvent) -> SafeString | str:
        return json_table(event.payload_json)

    @admin.display(description=gettext_lazy("created"))
    def created(self, event: LeadEvent) -> SafeString | str:
        return lima_time(event.created_at)

    def get_sections(self, request: HttpRequest, event: LeadEvent) -> Iterable[Section]:
        yield self.source_section(event)
