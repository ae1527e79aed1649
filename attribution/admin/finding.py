"""Finding persons of the ledger and scouts by what people type, at a bounded cost (reliability.md F27)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import connection, transaction
from django.db.models import F, Func, Q, QuerySet, TextField, Value

from attribution.models import Scout
from ct4site.admin_base import LARGEST_ID, Contains
from identity.admin import finding

MOST = finding.MOST


def scouts(keys: Mapping[str, Any]) -> QuerySet[Scout]:
    """Return at most ``MOST`` scouts that a text (keys of ``classify_query``) may mean: by number or by words of the name."""
    conditions = Q(pk__in=[])
    if keys.get("integer", LARGEST_ID + 1) <= LARGEST_ID:
        conditions |= Q(pk=keys["integer"])
    if "words" in keys:
        words = ArrayField(TextField())
        name = Func(F("scout_name_normalized"), function="canon.normalize_name", output_field=TextField())
        owned = Func(name, Value(" "), function="string_to_array", output_field=words)
        conditions |= Q(Contains(owned, Value(keys["words"], words)))
    return Scout.objects.filter(conditions).order_by("pk")[:MOST]


def scout_ids(keys: Mapping[str, Any]) -> list[int]:
    """Return the numbers of scouts a text may mean, a number that is in no list included."""
    found = set(scouts(keys).values_list("pk", flat=True))
    if keys.get("integer", LARGEST_ID + 1) <= LARGEST_ID:
        found.add(keys["integer"])
    return sorted(found)


@contextmanager
def one_worker(memory: str = "4MB") -> Iterator[None]:
    """Make queries inside quick that group all events or claims; undone when the transaction ends.

    Parallel workers would each group all of it again. ``memory`` is what a sort or a grouping may take before it goes
    to disk.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("set local max_parallel_workers_per_gather = 0")
            cursor.execute("select set_config('work_mem', %s, true)", [memory])
        yield
