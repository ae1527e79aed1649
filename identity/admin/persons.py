"""The persons list and the one page that shows all of a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site.admin import audit_section
from ct4site.admin_base import (
    ReadOnlyAdmin,
    SearchMixin,
    Section,
    json_table,
    lima_time,
    link_to,
    pill,
)
from ct4site.models import AuditEntry
from ct4site.privacy import personal
from identity.admin import finding, labels, records
from identity.models import (
    DriverIndexEntry,
    LeadEvent,
    Link,
    Origin,
    OriginChange,
    OriginTag,
    Person,
    ResolutionStatus,
    SourceTable,
    Unmatched,
)

SHOWN = 100

PersonSections = Callable[[HttpRequest, Person], Section | None]

person_sections: list[PersonSections] = []
"""What later apps add to the page of a person, before its audit: functions of the request and the person. None: nothing
to show, or not to this user."""


def confidence(item: Any) -> SafeString | str:
    """Return a confidence level as a pill."""
    return pill(item.confidence_level, item.get_confidence_level_display())


@admin.register(Person)
class PersonAdmin(SearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Every human being that some record speaks of.")
    list_display = ("name", "primary_phone", "primary_license", "level", "records", "created")
    list_filter = ("confidence_level",)
    sortable_by = ()
    search_help_text = gettext_lazy("Plate, name, or the key of a person or record")
    finds_personal = True
    searches = (lambda keys: None,)
    fields = (
        "person_key", "primary_full_name", "primary_phone", "primary_license", "primary_document", "level", "flag_table",
        "created", "changed",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        links = Link.objects.filter(person=OuterRef("pk")).order_by().values("person").annotate(number=Count("pk"))
        return super().get_queryset(request).annotate(record_count=Coalesce(Subquery(links.values("number")), 0))

    def meant(self, request: HttpRequest, keys: Mapping[str, Any]) -> Q:
        found = finding.person_keys(keys)
        finding.say_if_vague(request, found)
        return Q(pk__in=found)

    @admin.display(description=gettext_lazy("name"))
    def name(self, person: Person) -> str:
        return str(person)

    @admin.display(description=gettext_lazy("confidence"))
    def level(self, person: Person) -> SafeString | str:
        return confidence(person)

    @admin.display(description=gettext_lazy("records"))
    def records(self, person: Person) -> int:
        return person.record_count  # type: ignore[attr-defined]

    @admin.display(description=gettext_lazy("created"))
    def created(self, person: Person) -> SafeString | str:
        return lima_time(person.created_at)

    @admin.display(description=gettext_lazy("changed"))
    def changed(self, person: Person) -> SafeString | str:
        return lima_time(person.updated_at)

    @admin.display(description=gettext_lazy("flags"))
    def flag_table(self, person: Person) -> SafeString | str:
        return json_table(person.flags)

    def get_sections(self, request: HttpRequest, person: Person) -> Iterable[Section]:
        links = list(
            Link.objects.filter(person=person).select_related("run").order_by("snapshot_date", "id")[: SHOWN + 1]
        )
        keys = [(link.source_table, link.source_pk) for link in links]
        rows = records.source_rows(keys)
        yield links_section(links[:SHOWN], rows, has_more=len(links) > SHOWN)
        yield self._accounts([pk for table, pk in keys if table == SourceTable.DRIVERS])
        yield Section.of(
            _("Lead events"),
            {
                _("Date"): lambda event: event.event_date,
                _("Record"): lambda event: records.record_label(event, rows.get((event.source_table, event.source_pk))),
                _("Scout"): lambda event: event.scout_id,
                _("Event"): lambda event: link_to(event, f"#{event.pk}"),
                _("Payload"): lambda event: event.payload_json,
            },
            LeadEvent.objects.filter(person=person).order_by("event_date", "id"),
            SHOWN,
        )
        yield self._origin(person)
        yield origin_history(OriginChange.objects.filter(person=person))
        yield self._unmatched(keys)
        for make in person_sections:
            section = make(request, person)
            if section is not None:
                yield section
        yield audit_section(AuditEntry.objects.filter(person_key=person.pk))

    def _accounts(self, driver_ids: list[str]) -> Section:
        columns = {
            _("Driver"): lambda driver: link_to(driver, driver.driver_id),
            _("Name"): lambda driver: driver.full_name_norm,
            _("Phone"): lambda driver: personal(driver.phone_norm),
            _("Licence"): lambda driver: personal(driver.license_norm),
            _("Plate"): lambda driver: driver.plate_norm,
            _("Park"): lambda driver: driver.park_id,
            _("Hired"): lambda driver: driver.hire_date,
            _("Vanished"): lambda driver: driver.vanished_at,
        }
        return Section.of(_("Accounts"), columns, DriverIndexEntry.objects.filter(driver_id__in=driver_ids), SHOWN)

    def _origin(self, person: Person) -> Section:
        columns = {
            _("Origin"): lambda origin: link_to(origin, origin.get_origin_tag_display()),
            _("Source record"): lambda origin: origin.origin_source_id,
            _("Confidence"): lambda origin: origin.origin_confidence,
            _("Date of the record"): lambda origin: origin.origin_created_at,
            _("Status"): resolution,
            _("Decided by"): lambda origin: origin.get_decided_by_display(),
            _("When"): lambda origin: origin.decided_at,
            _("Evidence"): lambda origin: origin.evidence,
            _("Notes"): lambda origin: origin.notes,
        }
        return Section.of(_("Origin"), columns, Origin.objects.filter(person=person))

    def _unmatched(self, keys: list[tuple[str, str]]) -> Section:
        same = Q(pk__in=[])
        for table, pk in keys:
            same |= Q(source_table=table, source_pk=pk)
        columns = {
            _("Record"): lambda item: link_to(item, records.record_label(item)),
            _("Status"): lambda item: pill(item.status, item.get_status_display()),
            _("Reason"): lambda item: item.get_reason_code_display(),
            _("Left unmatched"): lambda item: item.created_at,
            _("Resolved"): lambda item: item.resolved_at,
            _("Run"): lambda item: link_to(item.run, f"#{item.run_id}"),
        }
        items = Unmatched.objects.filter(same).select_related("run").order_by("-id")
        return Section.of(_("Records that were unmatched before"), columns, items)


def links_section(links: list[Link], rows: dict[records.Key, Any], has_more: bool = False) -> Section:
    """Return the section of a person's links, each with the row of the feed behind it."""
    cells = []
    for link in links:
        row = rows.get((link.source_table, link.source_pk))
        cells.append(
            (
                format_html("{}{}", records.record_label(link, row), records.facts(row)),
                labels.rule(link.match_rule),
                format_html("{}&nbsp;{}", link.match_score, confidence(link)),
                lima_time(link.snapshot_date),
                json_table(link.evidence),
                link_to(link, lima_time(link.linked_at)),
                link_to(link.run, f"#{link.run_id}"),
            )
        )
    columns = [_("Record"), _("Rule"), _("Score"), _("Date of the record"), _("Evidence"), _("Linked"), _("Run")]
    return Section(title=_("Links"), columns=columns, rows=cells, has_more=has_more)


def resolution(item: Any) -> SafeString | str:
    """Return an origin's status as a pill."""
    return pill(item.resolution_status, item.get_resolution_status_display())


def origin_history(changes: QuerySet) -> Section:
    """Return the section that shows changes of an origin: from what, to what, who, why, when."""
    tags, statuses = dict(OriginTag.choices), dict(ResolutionStatus.choices)

    def shown(change: OriginChange, side: str) -> str:
        tag, status = getattr(change, f"origin_tag_{side}"), getattr(change, f"resolution_status_{side}")
        record, trust = getattr(change, f"origin_source_id_{side}"), getattr(change, f"origin_confidence_{side}")
        parts = (tags.get(tag, tag), record, trust, statuses.get(status, status))
        return " · ".join(str(part) for part in parts if part is not None)

    columns = {
        _("When"): lambda change: change.changed_at,
        _("Who"): lambda change: change.changed_by,
        _("Why"): lambda change: change.change_reason,
        _("Before"): lambda change: shown(change, "old"),
        _("After"): lambda change: shown(change, "new"),
        _("Run"): lambda change: link_to(change.run, f"#{change.run_id}"),
    }
    return Section.of(_("Origin history"), columns, changes.select_related("run").order_by("-id"), SHOWN)
