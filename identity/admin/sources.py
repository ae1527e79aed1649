"""Source tables as they are: read-only, found by key.

``summary_daily`` has a key of two columns, which the admin cannot show as a list; its rows are on the drivers' pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site.admin_base import ReadOnlyAdmin, SearchMixin, Section, key_search, link_to, pill
from identity.admin import labels, records
from identity.admin.matching import trips_section
from identity.models import (
    CabinetLead,
    CabinetPayment,
    Driver,
    Link,
    ManualLead,
    MigrationRecord,
    ScoutingRegistration,
    ScoutListEntry,
    Unmatched,
)


class SourceAdmin(SearchMixin, ReadOnlyAdmin):
    """Rows of a table that another system owns; only its key columns are searched: the others have no index."""

    ordering = ("-pk",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ("id",)
    search_help_text = gettext_lazy("Key")

    def get_sections(self, request: HttpRequest, row: models.Model) -> Iterable[Section]:
        record = records.record_of(row)
        if record is None:
            return
        table, pks = record
        same = {"source_table": table, "source_pk__in": pks}
        links = {
            _("Person"): lambda link: link_to(link.person),
            _("Rule"): lambda link: labels.rule(link.match_rule),
            _("Score"): lambda link: link.match_score,
            _("Linked"): lambda link: link.linked_at,
            _("Run"): lambda link: link_to(link.run, f"#{link.run_id}"),
        }
        yield Section.of(_("Who it is"), links, Link.objects.filter(**same).select_related("person", "run"))
        unmatched = {
            _("Record"): lambda item: link_to(item, records.record_label(item)),
            _("Status"): lambda item: pill(item.status, item.get_status_display()),
            _("Reason"): lambda item: item.get_reason_code_display(),
            _("Run"): lambda item: link_to(item.run, f"#{item.run_id}"),
        }
        yield Section.of(_("Why it is not linked"), unmatched, Unmatched.objects.filter(**same).select_related("run"))


@admin.register(CabinetLead)
class CabinetLeadAdmin(SourceAdmin):
    purpose = gettext_lazy("Leads of Yango's partner cabinet, as delivered.")
    list_display = ("id", "external_id", "lead_created_at", "first_name", "middle_name", "last_name", "park_phone", "asset_plate_number", "status")  # fmt: skip
    search_help_text = gettext_lazy("External id or row number")
    searches = (key_search("external_id", "text"), key_search("pk", "integer"))


@admin.register(ManualLead)
class ManualLeadAdmin(SourceAdmin):
    purpose = gettext_lazy("Cabinet leads that reviewers wrote down, because the partner never delivered them.")
    list_display = ("id", "lead_date", "full_name", "phone", "plate", "scout_id", "created_at")
    search_help_text = gettext_lazy("Number of the case")
    searches = (key_search("pk", "integer"),)


@admin.register(ScoutingRegistration)
class ScoutingRegistrationAdmin(SourceAdmin):
    purpose = gettext_lazy("Drivers registered by scouts in the field, as delivered.")
    list_display = ("id", "registration_date", "scout_id", "driver_name", "driver_phone", "driver_license")
    search_help_text = gettext_lazy("Row number")
    searches = (key_search("pk", "integer"),)


@admin.register(MigrationRecord)
class MigrationRecordAdmin(SourceAdmin):
    purpose = gettext_lazy("Drivers moved over from another fleet, as delivered.")
    list_display = ("id", "driver_id", "driver_name", "scout_id", "scout_name", "hire_date", "created_at")
    search_help_text = gettext_lazy("Driver or row number")
    searches = (key_search("driver_id", "text"), key_search("pk", "integer"))


@admin.register(Driver)
class DriverAdmin(SourceAdmin):
    purpose = gettext_lazy("Operating accounts of all parks, as delivered.")
    list_display = ("id", "driver_id", "full_name", "phone", "license_number", "car_number", "park_id", "hire_date", "work_status")  # fmt: skip
    search_help_text = gettext_lazy("Driver or row number")
    searches = (key_search("driver_id", "text"), key_search("pk", "integer"))

    def get_sections(self, request: HttpRequest, row: Any) -> Iterable[Section]:
        yield from super().get_sections(request, row)
        yield trips_section(row.driver_id)


@admin.register(CabinetPayment)
class CabinetPaymentAdmin(SourceAdmin):
    purpose = gettext_lazy("What Yango paid, as delivered.")
    list_display = ("id", "date", "driver", "driver_id", "scout_id", "trip_1", "trip_5", "trip_25")
    search_help_text = gettext_lazy("Row number")
    searches = (key_search("pk", "integer"),)


@admin.register(ScoutListEntry)
class ScoutListEntryAdmin(SourceAdmin):
    purpose = gettext_lazy("The recruiters' own list of scouts, as delivered.")
    list_display = ("scout_id", "name", "raw_name", "is_active")
    sortable_by = ("scout_id",)
    search_help_text = gettext_lazy("Scout")
    searches = (key_search("pk", "integer"),)
