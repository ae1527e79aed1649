"""Persons whom several scouts claim: the list, and the dossier of one conflict (domain.md 6.7, Q13, Q17, Q18)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Max, Min, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.admin import claims, dossier, finding, labels
from attribution.admin.parts import LedgerRuleFilter, PersonSearchMixin, ScoutFilter, ScoutNamesMixin, names_of
from attribution.models import ConflictType, ScoutClaim, ScoutConflict
from ct4site.admin_base import OpenFirstFilter, ReadOnlyAdmin, Section, lima_time, link_to, pill, words

# Columns that only the view's own aggregation over all claims can give; a list reads them for one page alone.
COSTLY = (
    "conflict_details", "first_attribution_date", "last_attribution_date", "source_tables", "sources", "origin_tags", "first_created_at", "last_created_at",
    "first_event_date", "last_event_date", "total_sources",
)  # fmt: skip

# With more conflicts than this the list asks the view as it is.
MOST_KEYS = 10_000


class OpenConflictFilter(OpenFirstFilter):
    """The open ones unless asked otherwise: they block settlement until a person decides."""

    title = gettext_lazy("kind")
    parameter_name = "kind"
    column = "conflict_type"
    codes, first = ConflictType, ConflictType.OPEN


class ConflictScoutFilter(ScoutFilter):
    def narrowed(self, queryset: QuerySet, number: int) -> QuerySet:
        return queryset.filter(scout_ids__contains=[number])


class ConflictRuleFilter(LedgerRuleFilter):
    column = "ledger_rule"


@admin.register(ScoutConflict)
class ScoutConflictAdmin(ScoutNamesMixin, PersonSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy(
        "Persons whom several scouts claim. Shown are the open ones, which block settlement; the others are under Filter."
    )
    change_list_template = "admin/attribution/conflict_list.html"
    change_form_template = "admin/attribution/conflict.html"
    list_display = ("who", "scouts", "sources_in_words", "first", "last", "total_records", "kind", "ledger_says")
    list_filter = (OpenConflictFilter, ConflictRuleFilter, ConflictScoutFilter)
    list_select_related = ("person",)
    ordering = ("-distinct_scout_count", "-total_records", "pk")
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = (
        "person_link",
        "kind",
        "what_it_means",
        "scouts",
        "first",
        "last",
        "total_records",
        "ledger_says",
        "winner",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        conflicts = super().get_queryset(request).defer(*COSTLY)
        known: dict[Any, str] | None = getattr(request, "known_conflicts", None)
        if known is not None and len(known) <= MOST_KEYS:
            # The view weighs all claims whenever it is asked; asked for these persons alone it is quick.
            conflicts = conflicts.filter(pk__in=list(known))
        return conflicts

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        with finding.one_worker():
            known = dict(ScoutConflict.objects.order_by().values_list("pk", "conflict_type"))
            request.known_conflicts = known  # type: ignore[attr-defined]
            counted = Counter(known.values())
            kinds = [(str(kind), words, counted[str(kind)]) for kind, words in ConflictType.choices]
            return super().changelist_view(request, {"kinds": kinds, **(extra_context or {})})

    def get_paginator(self, request: HttpRequest, queryset: Any, per_page: int, *args: Any, **kwargs: Any) -> Paginator:
        paginator: Any = super().get_paginator(request, queryset, per_page, *args, **kwargs)
        known: dict[Any, str] | None = getattr(request, "known_conflicts", None)
        if known is not None and not set(request.GET) - {OpenConflictFilter.parameter_name, "after", "before"}:
            # Counted already, above the list.
            kind = request.GET.get(OpenConflictFilter.parameter_name) or ConflictType.OPEN
            paginator.counted = sum(kind in ("all", stored) for stored in known.values())
        return paginator

    def scouts_of(self, conflict: ScoutConflict) -> list[Any]:
        return [*conflict.scout_ids, conflict.ledger_scout_id]

    def complete_rows(self, rows: list[Any]) -> None:
        found: dict[Any, dict[str, tuple[Any, Any]]] = defaultdict(dict)
        of_page = ScoutClaim.objects.filter(person__in=[conflict.pk for conflict in rows]).order_by()
        by_source = of_page.values("person_id", "source_table").annotate(
            Min("attribution_date"), Max("attribution_date")
        )
        for person_key, table, first, last in by_source.values_list(
            "person_id", "source_table", "attribution_date__min", "attribution_date__max"
        ):
            found[person_key][table] = (first, last)
        for conflict in rows:
            conflict.tables = sorted(found[conflict.pk])
            # The view's own dates count the ledger's word as a claim of the day it was written.
            dates = [
                date for table, both in found[conflict.pk].items() if table != claims.LEDGER for date in both if date
            ]
            conflict.claimed = (min(dates, default=None), max(dates, default=None))

    @admin.display(description=gettext_lazy("person"))
    def who(self, conflict: ScoutConflict) -> str:
        return str(conflict)

    @admin.display(description=gettext_lazy("person"))
    def person_link(self, conflict: ScoutConflict) -> SafeString | str:
        return format_html('{} <span class="key quiet small">{}</span>', link_to(conflict.person), conflict.pk)

    @admin.display(description=gettext_lazy("scouts"))
    def scouts(self, conflict: ScoutConflict) -> SafeString:
        return labels.scout_list(conflict.scout_ids, names_of(conflict, self.scouts_of(conflict)))

    @admin.display(description=gettext_lazy("sources"))
    def sources_in_words(self, conflict: ScoutConflict) -> SafeString:
        tables = getattr(conflict, "tables", [])
        return format_html_join("", "<div>{}</div>", ((words(labels.SOURCES, table),) for table in tables))

    @admin.display(description=gettext_lazy("first claim"))
    def first(self, conflict: ScoutConflict) -> SafeString | str:
        return lima_time(self._claimed(conflict)[0])

    @admin.display(description=gettext_lazy("last claim"))
    def last(self, conflict: ScoutConflict) -> SafeString | str:
        return lima_time(self._claimed(conflict)[1])

    @admin.display(description=gettext_lazy("kind"))
    def kind(self, conflict: ScoutConflict) -> SafeString | str:
        return labels.conflict_type(conflict.conflict_type)

    @admin.display(description=gettext_lazy("what it means"))
    def what_it_means(self, conflict: ScoutConflict) -> str:
        if conflict.conflict_type == ConflictType.HISTORICAL:
            return _("The ledger decided and the claims lie far apart: settlement goes on.")
        return _("Nothing is settled for this person until a person decides.")

    @admin.display(description=gettext_lazy("the ledger says"))
    def ledger_says(self, conflict: ScoutConflict) -> SafeString | str:
        if conflict.ledger_rule is None and conflict.ledger_scout_id is None:
            return pill("none", _("Nothing"), "plain")
        if conflict.ledger_scout_id is None:
            return labels.rule(conflict.ledger_rule)
        scout = labels.scout(conflict.ledger_scout_id, names_of(conflict, self.scouts_of(conflict)))
        return format_html('{}<br><span class="small">{}</span>', scout, labels.rule(conflict.ledger_rule))

    @admin.display(description=gettext_lazy("who wins"))
    def winner(self, conflict: ScoutConflict) -> str:
        return self._read(conflict).verdict.sentence

    def _claimed(self, conflict: ScoutConflict) -> tuple[Any, Any]:
        """Return the days of the first and the last claim that is evidence."""
        if not hasattr(conflict, "claimed"):
            dates = [claim.date for claim in claims.evidence(self._read(conflict).claims) if claim.date]
            conflict.claimed = (min(dates, default=None), max(dates, default=None))  # type: ignore[attr-defined]
        return conflict.claimed  # type: ignore[attr-defined]

    def _read(self, conflict: ScoutConflict) -> dossier.Dossier:
        """Return the dossier of a conflict; read once for a page."""
        known: dossier.Dossier | None = getattr(conflict, "dossier", None)
        if known is None:
            known = conflict.dossier = dossier.of(conflict.person)  # type: ignore[attr-defined]
        return known

    def get_sections(self, request: HttpRequest, conflict: ScoutConflict) -> Iterable[Section]:
        return dossier.sections(self._read(conflict))
