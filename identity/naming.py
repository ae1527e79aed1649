"""How persons are called, for rooms that know them by key only."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping

from identity.models import Person


def names_of(persons: Collection[uuid.UUID]) -> Mapping[uuid.UUID, str]:
    """Return the names of persons, by key; those without a name are left out."""
    found = Person.objects.filter(pk__in=persons, primary_full_name__isnull=False)
    return {key: name for key, name in found.values_list("pk", "primary_full_name") if name}
