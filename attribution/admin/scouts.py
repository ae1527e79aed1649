"""Scouts with what the ledger gives them and the open conflicts they are in (domain.md 2.7, 6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.admin import finding, labels
from attribution.admin.parts import ScoutNamesMixin
from attribution.models import ConflictType, LedgerEntry, Scout, ScoutClaim, ScoutConflict
from ct4site.admin_base import (
    ReadOnlyAdmin,
    SearchMixin,
    Section,
    YesNoFilter,
    lima_time,
    link_to,
    pill,
)

SHOWN = 20


class ActiveFilter(YesNoFilter):
    """Scouts at work, or those who left."""

    title = gettext_lazy("active")
    parameter_name = "active"
    column = "is_active"


def persons_of(scouts: Iterable[int]) -> dict[int, int]:
    """Return how many persons the ledger gives to each of some scouts; one query."""
    counted = LedgerEntry.objects.filter(attributed_scout_id__in=scouts).order_by().values_list("attributed_scout_id")
    return dict(counted.annotate(number=Count("pk")))


def open_conflicts_of(scouts: Iterable[int]) -> dict[int, int]:
    """Return in how many open conflicts each of some scouts is; one query."""
    wanted = set(scouts)
    with finding.one_worker():
        claimed = ScoutConflict.objects.order_by().filter(conflict_type=ConflictType.OPEN)
        listed = claimed.values_list("scout_ids", flat=True)
        return dict(Counter(number for numbers in listed for number in numbers if number in wanted))


def disputed(scout: Scout) -> QuerySet[ScoutConflict]:
    """Return the open conflicts of one scout. Asked for the persons it claims the view is quick; by a scout it is not."""
    claimed = ScoutClaim.objects.filter(scout_id=scout.pk, person__isnull=False).values_list("person_id", flat=True)
    return ScoutConflict.objects.filter(
        pk__in=set(claimed), scout_ids__contains=[scout.pk], conflict_type=ConflictType.OPEN
    )


@admin.register(Scout)
class ScoutAdmin(ScoutNamesMixin, SearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Who recruits: how many persons the ledger gives to each, and how many are disputed.")
    list_display = ("number", "scout_name_normalized", "state", "persons", "conflicts")
    list_display_links = ("number", "scout_name_normalized")
    list_filter = (ActiveFilter,)
    ordering = ("pk",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ("number",)
    search_help_text = gettext_lazy("Number or name of a scout")
    searches = (lambda keys: None,)
    fields = (
        "number",
        "scout_name_normalized",
        "raw_name",
        "state",
        "persons",
        "conflicts",
        "statement",
        "created_at",
        "updated_at",
    )
    readonly_fields = fields

    def meant(self, request: HttpRequest, keys: Mapping[str, Any]) -> Q:
        return Q(pk__in=list(finding.scouts(keys).values_list("pk", flat=True)))

    def scouts_of(self, scout: Scout) -> list[Any]:
        return []

    def complete_rows(self, rows: list[Any]) -> None:
        numbers = [scout.pk for scout in rows]
        persons, conflicts = persons_of(numbers), open_conflicts_of(numbers)
        for scout in rows:
            scout.person_count, scout.conflict_count = persons.get(scout.pk, 0), conflicts.get(scout.pk, 0)

    @admin.display(description=gettext_lazy("number"), ordering="scout_id")
    def number(self, scout: Scout) -> SafeString:
        return format_html('<span class="key">{}</span>', scout.pk)

    @admin.display(description=gettext_lazy("state"))
    def state(self, scout: Scout) -> SafeString | str:
        if scout.is_active:
            return pill("active", _("Active"), "good")
        return pill("left", _("Not active"), "plain")

    @admin.display(description=gettext_lazy("persons"))
    def persons(self, scout: Scout) -> SafeString | str:
        number = self._completed(scout).person_count
        return _listed(LedgerEntry, scout, number)

    @admin.display(description=gettext_lazy("open conflicts"))
    def conflicts(self, scout: Scout) -> SafeString | str:
        number = self._completed(scout).conflict_count
        return _listed(ScoutConflict, scout, number)

    @admin.display(description=gettext_lazy("statement"))
    def statement(self, scout: Scout) -> SafeString:
        address = reverse("admin:attribution_statement")
        return format_html('<a href="{}?scout={}">{}</a>', address, scout.pk, _("What the scout is owed, and why"))

    def _completed(self, scout: Scout) -> Any:
        if not hasattr(scout, "person_count"):
            scout.person_count = persons_of([scout.pk]).get(scout.pk, 0)  # type: ignore[attr-defined]
            scout.conflict_count = disputed(scout).count()  # type: ignore[attr-defined]
        return scout

    def get_sections(self, request: HttpRequest, scout: Scout) -> Iterable[Section]:
        by_rule = (
            LedgerEntry.objects.filter(attributed_scout_id=scout.pk)
            .order_by()
            .values_list("attribution_rule")
            .annotate(number=Count("pk"))
        )
        rows = [(labels.rule(code), number) for code, number in sorted(by_rule, key=lambda row: (-row[1], str(row[0])))]
        yield Section(title=_("By rule"), columns=[_("Rule"), _("Persons")], rows=rows, is_list=False)
        conflicts = disputed(scout)
        found = list(
            conflicts.select_related("person")
            .only("person", "scout_ids", "first_attribution_date", "last_attribution_date", "ledger_rule")
            .order_by("-distinct_scout_count", "-total_records", "pk")[: SHOWN + 1]
        )
        names = labels.scouts_by_number(number for conflict in found for number in conflict.scout_ids)
        yield Section(
            title=_("Open conflicts"),
            columns=[_("Person"), _("Scouts"), _("First claim"), _("Last claim"), _("Rule")],
            rows=[
                (
                    link_to(conflict), labels.scout_list(conflict.scout_ids, names),
                    lima_time(conflict.first_attribution_date), lima_time(conflict.last_attribution_date),
                    labels.rule(conflict.ledger_rule),
                )
                for conflict in found[:SHOWN]
            ],
            has_more=len(found) > SHOWN,
        )  # fmt: skip
        columns = {
            _("Person"): lambda entry: link_to(entry, entry.person),
            _("Rule"): lambda entry: labels.rule(entry.attribution_rule),
            _("Confidence"): lambda entry: labels.confidence(entry.confidence_level),
            _("Changed"): lambda entry: entry.updated_at,
        }
        persons = LedgerEntry.objects.filter(attributed_scout_id=scout.pk).select_related("person")
        newest = persons.defer("evidence_json").order_by("-updated_at", "-pk")
        yield Section.of(_("Persons of the ledger, the last changed first"), columns, newest, SHOWN)


def _listed(model: type[Any], scout: Scout, number: int) -> SafeString | str:
    """Return a count that leads to the list of what was counted; a zero leads nowhere."""
    if not number:
        return "0"
    address = reverse(f"admin:attribution_{model._meta.model_name}_changelist")
    return format_html('<a href="{}?scout={}">{}</a>', address, scout.pk, number)
