"""Filters of the lists of claims: each one an index of a stored table can serve, or a column of the row at hand."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db import connection
from django.db.models import OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from psycopg2 import sql

from attribution.admin import labels as attribution_labels
from attribution.admin.collection import labels, story
from attribution.admin.parts import ScoutFilter
from attribution.models import OriginTag, OverdueBucket, PartnerPaymentRule, PersonScout, ScoutQuality
from ct4site.admin_base import YesNoFilter, whole_number
from orphans.models import OrphanStatus, QuarantinedDriver

# Statuses of drivers who may not operate (sql/orphans/21_operational_drivers.sql).
OUT_OF_OPERATION = (OrphanStatus.QUARANTINED, OrphanStatus.PURGED)

WEEKS = 12
FEW = 5000

CLAIMS_OF_PERSONS = """
select claims.claim_id
from ops.person_scouts as persons
cross join lateral ( -- 1 person : n claims, looked up person by person
    select claim_id from canon.claims_yango_cabinet_14d where person_key = persons.person_key offset 0
) as claims
where persons.{column} = %(value)s
limit %(most)s
"""
CLAIMS_OF_NO_PERSON = """
select claims.claim_id
from canon.claims_yango_cabinet_14d as claims
where not exists (
    select 1 from ops.person_scouts as persons
    where persons.person_key = claims.person_key and persons.{column} is not null
)
limit %(most)s
"""

# Days overdue of each bucket, first and last (domain.md 12.4); None is without end.
DAYS: dict[str, tuple[int | None, int | None]] = {
    OverdueBucket.NOT_DUE: (None, 0),
    OverdueBucket.DAYS_1_7: (1, 7),
    OverdueBucket.DAYS_8_14: (8, 14),
    OverdueBucket.DAYS_15_30: (15, 30),
    OverdueBucket.DAYS_31_60: (31, 60),
    OverdueBucket.DAYS_60_PLUS: (61, None),
}


def thresholds(request: HttpRequest) -> tuple[list[int], list[int]]:
    """Return (milestones, windows in days) of the partner's rules for cabinet leads; asked once per request."""
    known: tuple[list[int], list[int]] | None = getattr(request, "claim_thresholds", None)
    if known is None:
        rules = list(
            PartnerPaymentRule.objects.filter(origin_tag=OriginTag.CABINET)
            .order_by()
            .values_list("milestone_trips", "window_days")
        )
        known = (sorted({trips for trips, _days in rules}), sorted({days for _trips, days in rules}))
        request.claim_thresholds = known  # type: ignore[attr-defined]
    return known


class MilestoneFilter(admin.SimpleListFilter):
    """By milestone: those that some rule knows."""

    title = gettext_lazy("milestone")
    parameter_name = "milestone"
    column = "milestone_value"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(number), f"M{number}") for number in thresholds(request)[0]]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        if not value:
            return queryset
        number = whole_number(value, 999_999_999)
        if number is None:
            raise IncorrectLookupParameters
        return queryset.filter(**{self.column: number})


class StoredMilestoneFilter(MilestoneFilter):
    column = "milestone"


class PaidFilter(YesNoFilter):
    """Whether the partner's list says paid."""

    title = gettext_lazy("paid")
    parameter_name = "paid"

    def narrowed(self, queryset: QuerySet, wanted: bool) -> QuerySet:
        # Asked as a value and not as "is null", which would make the planner join all claims with all payments first.
        told = queryset.alias(told_payment=Coalesce("payment_key", Value(""), output_field=TextField()))
        return told.exclude(told_payment="") if wanted else told.filter(told_payment="")


class CollectableFilter(YesNoFilter):
    """What we may demand: reached, not paid, not disputed (Q60)."""

    title = gettext_lazy("to collect")
    parameter_name = "collectable"
    column = "is_collectable"


class BucketFilter(admin.SimpleListFilter):
    """How long overdue (domain.md 12.4)."""

    title = gettext_lazy("overdue")
    parameter_name = "overdue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        self.windows = thresholds(request)[1]
        return list(OverdueBucket.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        if value not in OverdueBucket.values:
            return queryset.none() if value else queryset
        windows = {*self.windows, story.WINDOW}
        found = queryset.filter(_leads_of(value, windows))
        # Where all windows are of one length the dates say it all, and the planner can tell how many that are.
        return found if len(windows) == 1 else found.filter(bucket_overdue=value)


def _leads_of(bucket: str, windows: Iterable[int]) -> Q:
    """The lead dates that a bucket implies, which an index serves."""
    first, last = DAYS[bucket]
    bounds, today = Q(), labels.today()
    if first is not None:
        bounds &= Q(lead_date__lte=today - datetime.timedelta(days=first + min(windows)))
    if last is not None:
        bounds &= Q(lead_date__gte=today - datetime.timedelta(days=last + max(windows)))
    return bounds


class QualityFilter(admin.SimpleListFilter):
    """By the source that names the scout (domain.md 6.9), asked of the stored persons: the view's own column has a value
    also for persons who have none, which no index serves and no statistics tell."""

    title = gettext_lazy("scout known by")
    parameter_name = "quality"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(ScoutQuality.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        if not value:
            return queryset
        return _of_persons(queryset, "scout_quality_bucket", None if value == ScoutQuality.MISSING else value)


class WeekFilter(admin.SimpleListFilter):
    """By the week of the lead, Monday to Sunday; offers the last ones."""

    title = gettext_lazy("week of the lead")
    parameter_name = "week"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        today = labels.today()
        monday = today - datetime.timedelta(days=today.weekday())
        weeks = [monday - datetime.timedelta(weeks=number) for number in range(WEEKS)]
        chosen = _monday(self.value())
        if chosen and chosen not in weeks:
            weeks.append(chosen)
        return [(week.isoformat(), _("week of %(day)s") % {"day": attribution_labels.day(week)}) for week in weeks]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if not self.value():
            return queryset
        monday = _monday(self.value())
        if monday is None:
            raise IncorrectLookupParameters
        return queryset.filter(lead_date__gte=monday, lead_date__lt=monday + datetime.timedelta(days=7))


def _monday(text: str | None) -> datetime.date | None:
    """The Monday of the week of a day given as text; None for what is no day."""
    try:
        day = parse_date(text or "")
        return day - datetime.timedelta(days=day.weekday()) if day and day.year < 9000 else None
    except (ValueError, OverflowError):
        return None


class ClaimScoutFilter(ScoutFilter):
    """By scout, asked of the stored persons."""

    def narrowed(self, queryset: QuerySet, number: int) -> QuerySet:
        return _of_persons(queryset, "scout_id", number)


def _of_persons(queryset: QuerySet, column: str, value: Any) -> QuerySet:
    """The claims of the persons of whom ``ops.person_scouts`` says so; None for those of whom it says nothing.

    Where they are few their keys are read first and the planner begins with them. Many are met on every page, where
    each claim asks for its own person; joined, all claims would be joined with all persons first.
    """
    statement = CLAIMS_OF_NO_PERSON if value is None else CLAIMS_OF_PERSONS
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(column=sql.Identifier(column)), {"value": value, "most": FEW + 1})
        keys = [key for (key,) in cursor.fetchall()]
    if len(keys) <= FEW:
        return queryset.filter(pk__in=keys)
    told = PersonScout.objects.filter(person_key=OuterRef("person_key")).values(column)[:1]
    return queryset.alias(told_person=Subquery(told)).filter(told_person=value)


class QuarantineFilter(admin.SimpleListFilter):
    """Claims of accounts in quarantine or purged, which are in no list of collection (Q55)."""

    title = gettext_lazy("account in quarantine")
    parameter_name = "quarantine"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", gettext_lazy("Yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() != "yes":
            return queryset
        taken_out = QuarantinedDriver.objects.filter(status__in=OUT_OF_OPERATION).order_by()
        return queryset.filter(driver_id__in=taken_out.values("driver_id"))


CLAIM_FILTERS: Iterable[Any] = (
    PaidFilter, CollectableFilter, BucketFilter, MilestoneFilter, QualityFilter, WeekFilter, "claim_status",
    "eligibility_disputed", ClaimScoutFilter,
)  # fmt: skip
