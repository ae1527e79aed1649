"""Finding cabinet leads by anything that belongs to them, at a bounded cost (reliability.md F27)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from identity.admin import finding
from identity.models import Link, SourceTable

MOST = finding.MOST


def lead_ids(keys: Mapping[str, Any]) -> list[str]:
    """Return at most ``MOST`` leads that a text (keys of ``classify_query``) may mean.

    By the lead's own id; by its person, whose other records count; a lead without person by its phone or plate.
    """
    found = {keys["text"]}
    linked = Link.objects.filter(source_table=SourceTable.CABINET, person__in=finding.person_keys(keys))
    found |= set(linked.order_by("source_pk").values_list("source_pk", flat=True)[:MOST])
    nobody = finding.unmatched(keys).filter(source_table=SourceTable.CABINET)
    found |= set(nobody.values_list("source_pk", flat=True)[:MOST])
    return sorted(found)[:MOST]
