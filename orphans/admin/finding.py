"""Finding drivers without lead by anything that belongs to them, at a bounded cost (reliability.md F27)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import Exists, F, Func, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Upper

from ct4site.admin_base import Contains
from identity.admin import finding
from identity.models import DriverIndexEntry
from orphans.models import QuarantinedDriver

# Drivers that one search looks at; a text that fits more is too vague to page through.
MOST = finding.MOST


def driver_ids(keys: Mapping[str, Any]) -> list[str]:
    """Return at most ``MOST`` drivers without lead that a text (keys of ``classify_query``) may mean.

    By the driver's id; by phone, licence, plate or name of its account; by its person, whose own phone, licence, other
    accounts and records count. A driver that the drivers index never knew is found by its person's name.
    """
    if not keys:
        return []
    orphans = QuarantinedDriver.objects.order_by("driver_id").values_list("driver_id", flat=True)
    found = set(orphans.filter(Q(driver_id=keys["text"]) | Q(person__in=finding.person_keys(keys)))[:MOST])
    conditions = [Q(condition) for search in finding.DRIVER_SEARCHES if (condition := search(keys)) is not None]
    # Asked of the quarantined alone: among all drivers a common name fits more than any search looks at.
    in_quarantine = Exists(QuarantinedDriver.objects.filter(driver_id=OuterRef("driver_id")))
    accounts = DriverIndexEntry.objects.filter(reduce(or_, conditions)).filter(in_quarantine).order_by("driver_id")
    found |= set(accounts.values_list("driver_id", flat=True)[:MOST])
    if "words" in keys:
        found |= set(orphans.filter(_unknown_with_name(keys["words"]))[:MOST])
    return sorted(found)[:MOST]


def _unknown_with_name(words: list[str]) -> Q:
    array = ArrayField(TextField())
    name = Func(Upper(F("person__primary_full_name")), Value(" "), function="string_to_array", output_field=array)
    known = Exists(DriverIndexEntry.objects.filter(driver_id=OuterRef("driver_id")))
    return Q(Contains(name, Value(words, array))) & ~Q(known)


def quarantined(keys: Mapping[str, Any]) -> QuerySet[QuarantinedDriver]:
    """Return the drivers without lead that a text may mean, whatever became of them, the last detected first."""
    found = QuarantinedDriver.objects.filter(driver_id__in=driver_ids(keys))
    return found.select_related("person").defer("evidence_json").order_by("-detected_at", "-driver_id")
