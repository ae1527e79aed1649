"""Finding cabinet leads by anything that belongs to them, at a bounded cost (reliability.md F27)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import Func, TextField, Value
from django.db.models.fields.json import KT

from ct4site.admin_base import Contains
from identity.admin import finding
from identity.models import Link, SourceTable, Unmatched, UnmatchedStatus

MOST = finding.MOST


def lead_ids(keys: Mapping[str, Any]) -> list[str]:
    """Return at most ``MOST`` leads that a text (keys of ``classify_query``) may mean.

    By the lead's own id; by its person, whose other records count; a lead without person by its phone, plate or name.
    """
    found = {keys["text"]}
    linked = Link.objects.filter(source_table=SourceTable.CABINET, person__in=finding.person_keys(keys))
    found |= set(linked.order_by("source_pk").values_list("source_pk", flat=True)[:MOST])
    found |= set(
        finding.unmatched(keys).filter(source_table=SourceTable.CABINET).values_list("source_pk", flat=True)[:MOST]
    )
    if "words" in keys:
        array = ArrayField(TextField())
        name = Func(KT("details__name"), Value(" "), function="string_to_array", output_field=array)
        nobody = Unmatched.objects.filter(source_table=SourceTable.CABINET, status=UnmatchedStatus.OPEN).order_by("-id")
        named = nobody.filter(Contains(name, Value(keys["words"], array)))
        found |= set(named.values_list("source_pk", flat=True)[:MOST])
    return sorted(found)[:MOST]
