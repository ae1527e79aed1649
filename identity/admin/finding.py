"""Finding persons by anything that belongs to them, at a bounded cost (reliability.md F27)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from ct4site.admin_base import Search, key_search, word_search
from identity.models import DriverIndexEntry, LeadEvent, Link, Person, SourceTable, Unmatched

# Drivers and persons that one search looks at; a text that fits more is too vague to page through.
MOST = 1000


def say_if_vague(request: HttpRequest, found: Sequence[Any]) -> None:
    """Tell the user of a list that a search found as many as it looks at, so that there may be more."""
    if len(found) == MOST:
        messages.info(
            request, _("The search fits many. The first %(number)d are shown; add a word.") % {"number": MOST}
        )


def by_record(keys: Mapping[str, Any]) -> Q:
    """Return the search by the id of a source record; the tables are named for the sake of the index."""
    return Q(source_table__in=SourceTable.values, source_pk=keys["text"])


def by_account(keys: Mapping[str, Any]) -> Q:
    """Return the search by the id of an account; ids differ in nothing but case between the feeds (F28)."""
    return Q(driver_id=keys["text"].lower())


DRIVER_SEARCHES: tuple[Search, ...] = (
    by_account,
    key_search("phone_norm", "phone"),
    key_search("license_norm", "license"),
    key_search("plate_norm", "plate"),
    word_search("name_tokens", is_array=True),
)


def drivers(keys: Mapping[str, Any]) -> QuerySet[DriverIndexEntry]:
    """Return at most ``MOST`` drivers that a text (keys of ``classify_query``) may mean."""
    conditions = [Q(found) for search in DRIVER_SEARCHES if (found := search(keys)) is not None]
    if not conditions:
        return DriverIndexEntry.objects.none()
    return DriverIndexEntry.objects.filter(_any(conditions)).order_by("driver_id")[:MOST]


def person_keys(keys: Mapping[str, Any]) -> list[uuid.UUID]:
    """Return at most ``MOST`` persons that a text may mean: by own data, by a driver's, by a record's id.

    Names are those of the person's drivers, from which the person's own name comes (domain.md 3.1).
    """
    found: set[uuid.UUID] = set()
    if not keys:
        return []
    own = [
        Q(**{column: keys[key]})
        for column, key in (("person_key", "uuid"), ("primary_phone", "phone"), ("primary_license", "license"))
        if key in keys
    ]
    if own:
        found |= set(Person.objects.filter(_any(own)).values_list("person_key", flat=True).order_by()[:MOST])
    links = Link.objects.order_by().values_list("person_id", flat=True)
    found |= set(links.filter(by_record(keys)))
    accounts = list(drivers(keys).values_list("driver_id", flat=True))
    if accounts:
        found |= set(links.filter(source_table=SourceTable.DRIVERS, source_pk__in=accounts))
    return sorted(found)[:MOST]


def _any(conditions: list[Q]) -> Q:
    total = conditions[0]
    for condition in conditions[1:]:
        total |= condition
    return total


UNMATCHED_SEARCHES: tuple[Search, ...] = (
    by_record,
    key_search("phone_norm", "phone"),
    key_search("license_norm", "license"),
    key_search("plate_norm", "plate"),
    key_search("driver_id", "text"),
)


def unmatched(keys: Mapping[str, Any]) -> QuerySet[Unmatched]:
    """Return the unmatched records that a text may mean, newest first."""
    conditions = [Q(found) for search in UNMATCHED_SEARCHES if (found := search(keys)) is not None]
    return Unmatched.objects.filter(_any(conditions)).order_by("-id") if conditions else Unmatched.objects.none()


EVENT_SEARCHES: tuple[Search, ...] = (
    by_record,
    key_search("phone_norm", "phone"),
    key_search("license_norm", "license"),
    key_search("person_id", "uuid"),
    key_search("driver_id", "text"),
)


def events(keys: Mapping[str, Any]) -> QuerySet[LeadEvent]:
    """Return the lead events that a text may mean, newest first."""
    conditions = [Q(found) for search in EVENT_SEARCHES if (found := search(keys)) is not None]
    return LeadEvent.objects.filter(_any(conditions)).order_by("-id") if conditions else LeadEvent.objects.none()
