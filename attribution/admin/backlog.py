"""Persons without scout by category, each with why and what to do (domain.md 6.8, Q14, Q22)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from attribution.admin import claims, finding, history, labels
from attribution.admin.parts import PersonSearchMixin, ScoutNamesMixin, names_of
from attribution.models import BacklogCategory, BacklogPerson, LedgerEntry
from ct4site.admin_base import ReadOnlyAdmin, Section, lima_time, link_to, pill

# Columns that make the view sort all events; nothing here shows them.
COSTLY = (
    "source_tables", "origin_tags", "categoria", "category_label", "sample_date", "event_count", "primary_phone",
    "primary_license",
)  # fmt: skip
TONES = {"A": "warn", "B": "plain", "C": "plain", "D": "bad", "E": "info"}


def category(item: BacklogPerson) -> SafeString | str:
    """Return the category as a pill with its letter."""
    return pill(item.category, f"{item.category} · {item.get_category_display()}", TONES.get(item.category))


def why(item: BacklogPerson) -> str:
    """Return in a sentence why a person has no scout and what would give it one."""
    values = {
        "events": ngettext("%(number)d lead event", "%(number)d lead events", item.lead_events_count)
        % {"number": item.lead_events_count},
        "named": item.events_with_scout_count,
        "scout": item.scout_id_from_events,
    }
    if item.category == BacklogCategory.A:
        return _("%(events)s, and none names a scout; a mapping of leads to scouts would.") % values
    if item.category == BacklogCategory.B:
        return _("In the ledger, but no lead event speaks of the person any more.")
    if item.category == BacklogCategory.C:
        return _("Known from elsewhere: no lead event, not in the ledger.")
    if item.category == BacklogCategory.D:
        if item.ledger_attribution_rule == "C":
            return _("Several scouts registered the person within days: the conflict waits for a decision.")
        if item.has_lead_ledger:
            return _("%(events)s, %(named)s with a scout, but the ledger names none; filling in would.") % values
        return _("%(events)s, %(named)s with a scout, not in the ledger yet; the next refresh decides.") % values
    return _("In the ledger without a rule and without events: look at it by hand.")


class CategoryFilter(admin.SimpleListFilter):
    """By category, A to E."""

    title = gettext_lazy("category")
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(letter), f"{letter} · {words}") for letter, words in BacklogCategory.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(category=self.value()) if self.value() else queryset


@admin.register(BacklogPerson)
class BacklogPersonAdmin(ScoutNamesMixin, PersonSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Persons whom the ledger gives to no scout, and why: five categories that do not overlap.")
    change_list_template = "admin/attribution/backlog_list.html"
    list_display = ("who", "letter", "reason", "scout", "first", "last")
    list_display_links = None
    list_filter = (CategoryFilter,)
    list_select_related = ("person",)
    ordering = ("pk",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("who", "state", "reason", "scout", "first", "last", "known")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer(*COSTLY)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        with finding.one_worker("32MB"):
            known = counts(request)
            rows = [(str(letter), words, known.get(str(letter), 0)) for letter, words in BacklogCategory.choices]
            context = {"categories": rows, "total": sum(known.values()), **(extra_context or {})}
            return super().changelist_view(request, context)

    def get_paginator(self, request: HttpRequest, queryset: Any, per_page: int, *args: Any, **kwargs: Any) -> Paginator:
        paginator: Any = super().get_paginator(request, queryset, per_page, *args, **kwargs)
        if not set(request.GET) - {"category", "after", "before"}:
            # Counted already, above the list; the view reads all events each time it is asked.
            known = counts(request)
            letter = request.GET.get("category")
            paginator.counted = known.get(letter, 0) if letter else sum(known.values())
        return paginator

    def scouts_of(self, item: BacklogPerson) -> list[Any]:
        return [item.scout_id]

    @admin.display(description=gettext_lazy("person"))
    def who(self, item: BacklogPerson) -> SafeString | str:
        return link_to(item.person)

    @admin.display(description=gettext_lazy("category"))
    def letter(self, item: BacklogPerson) -> SafeString | str:
        # The words are above the list and in each row's reason.
        return pill(item.category, item.category, TONES.get(item.category))

    @admin.display(description=gettext_lazy("category"))
    def state(self, item: BacklogPerson) -> SafeString | str:
        return category(item)

    @admin.display(description=gettext_lazy("why"))
    def reason(self, item: BacklogPerson) -> SafeString | str:
        if item.category == BacklogCategory.D and item.ledger_attribution_rule == "C":
            return format_html("{} {}", why(item), link_to(LedgerEntry(person_id=item.pk), _("Ledger")))
        return why(item)

    @admin.display(description=gettext_lazy("scout of the events"))
    def scout(self, item: BacklogPerson) -> SafeString | str:
        return labels.scout(item.scout_id, names_of(item, self.scouts_of(item)))

    @admin.display(description=gettext_lazy("first event"))
    def first(self, item: BacklogPerson) -> SafeString | str:
        return lima_time(item.first_event_date)

    @admin.display(description=gettext_lazy("last event"))
    def last(self, item: BacklogPerson) -> SafeString | str:
        return lima_time(item.last_event_date)

    @admin.display(description=gettext_lazy("known since"))
    def known(self, item: BacklogPerson) -> SafeString | str:
        return lima_time(item.identity_created_at)

    def get_sections(self, request: HttpRequest, item: BacklogPerson) -> Iterable[Section]:
        found = claims.of_person(item.pk)
        names = labels.scouts_by_number({claim.scout_id for claim in found})
        yield claims.section(found, item.pk, names, _("All claims on the person"))
        yield history.section(item.pk, _("What the ledger said, and why"))


def counts(request: HttpRequest) -> dict[str, int]:
    """Return how many persons there are in each category; asked once per request."""
    known: dict[str, int] | None = getattr(request, "backlog_counts", None)
    if known is None:
        counted = BacklogPerson.objects.order_by().values_list("category").annotate(number=Count("pk"))
        known = {str(letter): number for letter, number in counted}
        request.backlog_counts = known  # type: ignore[attr-defined]
    return known
