"""The lead ledger: which source and scout got each person, with the evidence, all claims, and the history of the decision."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.admin import claims, finding, history, labels
from attribution.admin.parts import LedgerRuleFilter, PersonSearchMixin, ScoutFilter, ScoutNamesMixin, names_of
from attribution.models import LedgerEntry, ScoutConflict
from ct4site.admin_base import NOTHING, ReadOnlyAdmin, Section, json_table, lima_time, link_to


class HasScoutFilter(admin.SimpleListFilter):
    """Persons whom the ledger gives to a scout, or to none."""

    title = gettext_lazy("has scout")
    parameter_name = "has_scout"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", gettext_lazy("Yes")), ("no", gettext_lazy("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        wanted = {"yes": False, "no": True}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(attributed_scout_id__isnull=wanted)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ScoutNamesMixin, PersonSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Which source and which scout got each person, by which rule. The truth for every payment.")
    change_form_template = "admin/attribution/ledger_entry.html"
    list_display = ("who", "scout", "state", "source", "rule", "certainty", "changed")
    list_filter = ("decision_status", "attributed_source", LedgerRuleFilter, HasScoutFilter, ScoutFilter)
    list_select_related = ("person",)
    ordering = ("-updated_at",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ("changed",)
    search_help_text = gettext_lazy("Plate, name, key of a person or record, scout")
    fields = (
        "person_link", "state", "scout", "source", "rule", "attribution_score", "level", "changed", "why", "conflict",
        "as_stored",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # The evidence is by far the largest column; only the page of one person reads it.
        return super().get_queryset(request).defer("evidence_json")

    def scouts_of(self, entry: LedgerEntry) -> list[Any]:
        return [entry.attributed_scout_id]

    def other_conditions(self, keys: Any) -> Q:
        return Q(attributed_scout_id__in=finding.scout_ids(keys))

    @admin.display(description=gettext_lazy("person"))
    def who(self, entry: LedgerEntry) -> str:
        return str(entry.person)

    @admin.display(description=gettext_lazy("person"))
    def person_link(self, entry: LedgerEntry) -> SafeString | str:
        return format_html('{} <span class="key quiet small">{}</span>', link_to(entry.person), entry.pk)

    @admin.display(description=gettext_lazy("scout"))
    def scout(self, entry: LedgerEntry) -> SafeString | str:
        return labels.scout(entry.attributed_scout_id, names_of(entry, self.scouts_of(entry)))

    @admin.display(description=gettext_lazy("decision"))
    def state(self, entry: LedgerEntry) -> SafeString | str:
        return labels.decision(entry.decision_status, entry.attributed_scout_id)

    @admin.display(description=gettext_lazy("source"))
    def source(self, entry: LedgerEntry) -> str:
        return labels.source(entry.attributed_source)

    @admin.display(description=gettext_lazy("rule"))
    def rule(self, entry: LedgerEntry) -> SafeString | str:
        return labels.rule(entry.attribution_rule)

    @admin.display(description=gettext_lazy("confidence"))
    def level(self, entry: LedgerEntry) -> SafeString | str:
        return labels.confidence(entry.confidence_level)

    @admin.display(description=gettext_lazy("confidence"))
    def certainty(self, entry: LedgerEntry) -> SafeString | str:
        return format_html("{} {}", number_format(entry.attribution_score, 2), self.level(entry))

    @admin.display(description=gettext_lazy("changed"), ordering="updated_at")
    def changed(self, entry: LedgerEntry) -> SafeString | str:
        return lima_time(entry.updated_at)

    @admin.display(description=gettext_lazy("why"))
    def why(self, entry: LedgerEntry) -> SafeString:
        return history.explanation(entry, labels.scouts_by_number(history.scouts_in(entry)))

    @admin.display(description=gettext_lazy("conflict"))
    def conflict(self, entry: LedgerEntry) -> SafeString | str:
        found = ScoutConflict.objects.filter(pk=entry.pk).only("conflict_type").first()
        if found is None:
            return _("None: every source names the same scout, or none does.")
        return format_html("{} {}", labels.conflict_type(found.conflict_type), link_to(found, _("The dossier")))

    @admin.display(description=gettext_lazy("evidence as stored"))
    def as_stored(self, entry: LedgerEntry) -> SafeString | str:
        if not entry.evidence_json:
            return NOTHING
        return format_html("<details><summary>{}</summary>{}</details>", _("Show"), json_table(entry.evidence_json))

    def get_sections(self, request: HttpRequest, entry: LedgerEntry) -> Iterable[Section]:
        found = claims.of_person(entry.pk)
        names = labels.scouts_by_number({claim.scout_id for claim in found})
        yield claims.section(found, entry.pk, names, _("All claims on the person"))
        yield history.section(entry.pk, _("What the ledger said, and why"))
