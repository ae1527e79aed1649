"""Parts that several lists of attribution share: filters by scout and rule, names of scouts read once per page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from attribution.admin import labels
from attribution.admin.finding import LARGEST_ID
from ct4site.admin_base import CodeFilter, GuardedAdmin, SearchMixin, whole_number
from identity.admin import finding


class ScoutFilter(admin.SimpleListFilter):
    """By the number of a scout. Reached from a scout's page; offers no choice of its own: there are too many scouts."""

    title = gettext_lazy("scout")
    parameter_name = "scout"
    condition = "attributed_scout_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = self.value()
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        if not value:
            return queryset
        number = whole_number(value, LARGEST_ID)
        if number is None:
            raise IncorrectLookupParameters
        return self.narrowed(queryset, number)

    def narrowed(self, queryset: QuerySet, number: int) -> QuerySet:
        """Return the rows of a scout; override it where no column says it."""
        return queryset.filter(**{self.condition: number})


class LedgerRuleFilter(CodeFilter):
    """By the rule that decided."""

    title = gettext_lazy("rule")
    parameter_name = "rule"
    column = "attribution_rule"
    words = labels.RULES


class ScoutNamesMixin(GuardedAdmin):
    """Lists whose rows name scouts: the names of a page's scouts are read in one query."""

    def scouts_of(self, item: Any) -> Iterable[Any]:
        """Return the scout numbers that a row of the list shows."""
        raise NotImplementedError

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        rows = list(changes.result_list)
        names = labels.scouts_by_number(number for item in rows for number in self.scouts_of(item))
        for item in rows:
            item.scout_names = names
        self.complete_rows(rows)
        changes.result_list = rows
        return changes

    def complete_rows(self, rows: list[Any]) -> None:
        """Add to a page's rows what would cost too much for all rows; nothing unless overridden."""


def names_of(item: Any, numbers: Iterable[Any]) -> labels.Names:
    """Return the names of scouts that the list read for a row; on a page of one, read now."""
    known: labels.Names | None = getattr(item, "scout_names", None)
    return labels.scouts_by_number(numbers) if known is None else known


class PersonSearchMixin(SearchMixin):
    """Search by whatever finds a person, whose key is in ``person_column``; ``other_conditions`` adds what else a text
    may mean."""

    search_help_text = gettext_lazy("Plate, name, or the key of a person or record")
    finds_personal = True
    searches = (lambda keys: None,)
    person_column = "pk"

    def other_conditions(self, keys: Any) -> Q:
        """Return a further condition for a text; none unless overridden."""
        return Q(pk__in=[])

    def meant(self, request: HttpRequest, keys: Mapping[str, Any]) -> Q:
        found = finding.person_keys(keys)
        finding.say_if_vague(request, found)
        return Q(**{f"{self.person_column}__in": found}) | self.other_conditions(keys)
