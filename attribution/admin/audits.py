"""What the three backfills did, row by row (domain.md 3.11, 6.11), and attribution by day (Q24)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from attribution import health
from attribution.admin import labels
from attribution.admin.parts import ScoutNamesMixin, names_of
from attribution.models import (
    AttributionDay,
    BacklogCategory,
    EventsBackfillEntry,
    LedgerBackfillEntry,
    LinksBackfillEntry,
)
from ct4site.admin import OfRunMixin, RunFilter
from ct4site.admin_base import (
    LARGEST_ID,
    NOTHING,
    ReadOnlyAdmin,
    SearchMixin,
    json_table,
    key_search,
    lima_time,
    link_to,
    pill,
    whole_number,
    words,
)
from identity.admin import records
from identity.models import LeadEvent, Person

# Stored values of match_result (Q30) and of the actions, in words.
RESULTS: dict[str, Promise] = {
    "created": gettext_lazy("Linked"),
    "skipped_exists": gettext_lazy("Was linked already"),
    "ambiguous": gettext_lazy("Several could be meant"),
    "not_found": gettext_lazy("Nobody found"),
    "CREATED": gettext_lazy("Created"),
    "UPDATED": gettext_lazy("Scout filled in"),
    "SKIPPED": gettext_lazy("Left as it was"),
    "AMBIGUOUS": gettext_lazy("Several could be meant"),
    "NOT_FOUND": gettext_lazy("Nobody found"),
    "ERROR": gettext_lazy("Failed"),
}
TONES = {
    "created": "good", "CREATED": "good", "UPDATED": "good", "ambiguous": "warn", "AMBIGUOUS": "warn", "ERROR": "bad",
}  # fmt: skip


def result(code: Any) -> SafeString | str:
    """Return a stored result as a pill in words."""
    return pill(code, words(RESULTS, code), TONES.get(str(code), "plain")) if code else NOTHING


def person_link(person_key: Any) -> SafeString | str:
    """Return a person's key as a link; the audit outlives what it speaks of, so nothing is read."""
    if person_key is None:
        return NOTHING
    return link_to(Person(pk=person_key), format_html('<span class="key">{}</span>', person_key))


class BackfillAdmin(OfRunMixin, SearchMixin, ReadOnlyAdmin):
    """An append-only audit: newest first, by run."""

    list_filter: ClassVar[Any] = (RunFilter,)
    list_select_related: ClassVar[Any] = ("run",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ("id",)
    search_help_text = gettext_lazy("Person key or source record")
    costly: ClassVar[tuple[str, ...]] = ("evidence_json",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer(*self.costly)

    @admin.display(description=gettext_lazy("when"))
    def when(self, entry: Any) -> SafeString | str:
        return lima_time(entry.backfill_timestamp)

    @admin.display(description=gettext_lazy("person"))
    def who(self, entry: Any) -> SafeString | str:
        return person_link(entry.person_key)

    @admin.display(description=gettext_lazy("record"))
    def record(self, entry: Any) -> SafeString | str:
        return records.record_label(LeadEvent(source_table=entry.source_table, source_pk=entry.source_pk))

    @admin.display(description=gettext_lazy("result"))
    def outcome(self, entry: Any) -> SafeString | str:
        return result(getattr(entry, "match_result", None) or entry.action_type)

    @admin.display(description=gettext_lazy("evidence"))
    def evidence(self, entry: Any) -> SafeString | str:
        return json_table(entry.evidence_json)


@admin.register(LinksBackfillEntry)
class LinksBackfillEntryAdmin(BackfillAdmin):
    purpose = gettext_lazy("Every registration the links backfill looked at, and what became of it.")
    list_display = ("id", "when", "record", "outcome", "match_method", "match_score", "who", "of_run")
    searches = (key_search("source_pk", "text"),)
    fields = (
        "when", "record", "outcome", "action_type", "match_method", "match_confidence", "match_score", "who", "driver_id",
        "driver_license", "driver_phone", "reason", "error_message", "notes", "evidence", "run",
    )  # fmt: skip
    readonly_fields = fields
    search_help_text = gettext_lazy("Key of a registration")

    def meant(self, request: HttpRequest, keys: Mapping[str, Any]) -> Q:
        # The table is named for the sake of the index.
        tables = ("module_ct_scouting_daily", "module_ct_cabinet_leads", "module_ct_migrations")
        return super().meant(request, keys) & Q(source_table__in=tables)


@admin.register(LedgerBackfillEntry)
class LedgerBackfillEntryAdmin(ScoutNamesMixin, BackfillAdmin):
    purpose = gettext_lazy("Every ledger entry that got its scout from the events, before and after.")
    list_display = ("id", "when", "who", "before", "after", "rule_before", "rule_after", "of_run")
    searches = (key_search("person_key", "uuid"),)
    search_help_text = gettext_lazy("Person key")
    costly = ("evidence_json_old", "evidence_json_new")
    fields = (
        "when", "who", "before", "after", "rule_before", "rule_after", "confidence_before", "confidence_after",
        "attribution_source", "backfill_method", "notes", "evidence_before", "evidence_after", "run",
    )  # fmt: skip
    readonly_fields = fields

    def scouts_of(self, entry: LedgerBackfillEntry) -> list[Any]:
        return [entry.old_attributed_scout_id, entry.new_attributed_scout_id]

    @admin.display(description=gettext_lazy("scout before"))
    def before(self, entry: LedgerBackfillEntry) -> SafeString | str:
        return labels.scout(entry.old_attributed_scout_id, names_of(entry, self.scouts_of(entry)))

    @admin.display(description=gettext_lazy("scout after"))
    def after(self, entry: LedgerBackfillEntry) -> SafeString | str:
        return labels.scout(entry.new_attributed_scout_id, names_of(entry, self.scouts_of(entry)))

    @admin.display(description=gettext_lazy("rule before"))
    def rule_before(self, entry: LedgerBackfillEntry) -> SafeString | str:
        return labels.rule(entry.attribution_rule_old)

    @admin.display(description=gettext_lazy("rule after"))
    def rule_after(self, entry: LedgerBackfillEntry) -> SafeString | str:
        return labels.rule(entry.attribution_rule_new)

    @admin.display(description=gettext_lazy("confidence before"))
    def confidence_before(self, entry: LedgerBackfillEntry) -> SafeString | str:
        return labels.confidence(entry.attribution_confidence_old)

    @admin.display(description=gettext_lazy("confidence after"))
    def confidence_after(self, entry: LedgerBackfillEntry) -> SafeString | str:
        return labels.confidence(entry.attribution_confidence_new)

    @admin.display(description=gettext_lazy("evidence before"))
    def evidence_before(self, entry: LedgerBackfillEntry) -> SafeString | str:
        return json_table(entry.evidence_json_old)

    @admin.display(description=gettext_lazy("evidence after"))
    def evidence_after(self, entry: LedgerBackfillEntry) -> SafeString | str:
        return json_table(entry.evidence_json_new)


@admin.register(EventsBackfillEntry)
class EventsBackfillEntryAdmin(ScoutNamesMixin, BackfillAdmin):
    purpose = gettext_lazy("Every lead event that got its scout from the mapping of leads to scouts.")
    list_display = ("id", "when", "record", "outcome", "before", "after", "who", "of_run")
    searches = (lambda keys: None,)
    search_help_text = gettext_lazy("Number of a lead event")
    fields = (
        "when", "record", "event", "outcome", "before", "after", "who", "mapping_method", "mapping_confidence",
        "backfill_method", "error_message", "notes", "evidence", "run",
    )  # fmt: skip
    readonly_fields = fields

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip().removeprefix("#")
        if not text:
            return queryset, False
        number = whole_number(text, LARGEST_ID)
        return queryset.none() if number is None else queryset.filter(lead_event_id=number), False

    def scouts_of(self, entry: EventsBackfillEntry) -> list[Any]:
        return [entry.old_scout_id, entry.new_scout_id]

    @admin.display(description=gettext_lazy("event"))
    def event(self, entry: EventsBackfillEntry) -> SafeString | str:
        return link_to(LeadEvent(pk=entry.lead_event_id), f"#{entry.lead_event_id}") if entry.lead_event_id else NOTHING

    @admin.display(description=gettext_lazy("scout before"))
    def before(self, entry: EventsBackfillEntry) -> SafeString | str:
        return labels.scout(entry.old_scout_id, names_of(entry, self.scouts_of(entry)))

    @admin.display(description=gettext_lazy("scout after"))
    def after(self, entry: EventsBackfillEntry) -> SafeString | str:
        return labels.scout(entry.new_scout_id, names_of(entry, self.scouts_of(entry)))


@admin.register(AttributionDay)
class AttributionDayAdmin(ReadOnlyAdmin):
    purpose = gettext_lazy("How attribution stood on each day, as the last refresh of the day stored it.")
    list_display = (
        "day", "share", "satisfactory_count", "missing_count", "total_persons", "open_conflicts_count", "historical",
        "backlog_in_words", "computed",
    )  # fmt: skip
    ordering = ("-metric_date",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ("day",)
    fields = (
        "day", "share", "satisfactory_count", "missing_count", "total_persons", "conflicts_count", "open_conflicts_count",
        "historical", "backlog_in_words", "by_source_scouting_daily", "by_source_cabinet_leads",
        "by_source_lead_ledger", "computed",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description=gettext_lazy("day"), ordering="metric_date")
    def day(self, item: AttributionDay) -> SafeString | str:
        return lima_time(item.metric_date)

    @admin.display(description=gettext_lazy("with scout, %"))
    def share(self, item: AttributionDay) -> str:
        return f"{health.percent(item):.2f}"

    @admin.display(description=gettext_lazy("historical conflicts"))
    def historical(self, item: AttributionDay) -> int:
        return item.conflicts_count - item.open_conflicts_count

    @admin.display(description=gettext_lazy("backlog"))
    def backlog_in_words(self, item: AttributionDay) -> str:
        return " · ".join(f"{letter} {number}" for letter, number in backlog(item).items())

    @admin.display(description=gettext_lazy("computed"))
    def computed(self, item: AttributionDay) -> SafeString | str:
        return lima_time(item.computed_at)


def backlog(day: AttributionDay) -> dict[str, Any]:
    """Return the stored backlog of a day by category, zeros included."""
    stored = day.backlog if isinstance(day.backlog, dict) else {}
    return {str(letter): stored.get(str(letter).lower(), 0) for letter in BacklogCategory.values}
