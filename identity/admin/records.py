"""From a source record (source_table, source_pk) to its row in the feed, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ct4site.admin_base import LARGEST_ID, NOTHING, lima_time, link_to, whole_number
from ct4site.privacy import named
from identity.models import (
    CabinetLead,
    Driver,
    ManualLead,
    MigrationRecord,
    ScoutingRegistration,
    SourceTable,
)

Key = tuple[str, str]


def source_rows(records: Iterable[Key]) -> dict[Key, models.Model]:
    """Return the rows of the feeds behind source records, by record; one query per feed, absent rows left out.

    What names a record of each feed is domain.md 3.12 with decision Q68.
    """
    wanted: dict[str, set[str]] = defaultdict(set)
    for table, pk in records:
        wanted[table].add(pk)
    found: dict[Key, models.Model] = {}
    for model, table in ((ScoutingRegistration, SourceTable.SCOUTING), (MigrationRecord, SourceTable.MIGRATIONS)):
        numbers = [number for pk in wanted[table] if (number := whole_number(pk, LARGEST_ID)) is not None]
        if numbers:
            found |= {(str(table), str(row.pk)): row for row in model._default_manager.filter(pk__in=numbers)}
    if wanted[SourceTable.DRIVERS]:
        drivers = Driver.objects.filter(driver_id__in=wanted[SourceTable.DRIVERS])
        found |= {(str(SourceTable.DRIVERS), row.driver_id): row for row in drivers}
    leads = wanted[SourceTable.CABINET]
    if by_hand := {pk: number for pk in leads if (number := ManualLead.number_of(pk)) is not None}:
        written = ManualLead.objects.in_bulk(list(by_hand.values()))
        found |= {(str(SourceTable.CABINET), pk): written[key] for pk, key in by_hand.items() if key in written}
    if leads := leads - by_hand.keys():
        numbers = [number for pk in leads if (number := whole_number(pk.removeprefix("row:"), LARGEST_ID)) is not None]
        rows = CabinetLead.objects.filter(Q(external_id__in=leads) | Q(pk__in=numbers))
        # A row number that is also somebody's external id means the latter (F28).
        for row in sorted(rows, key=lambda lead: not lead.external_id):
            for pk in names_of_lead(row):
                if pk in leads:
                    found.setdefault((str(SourceTable.CABINET), pk), row)
    return found


def names_of_lead(lead: CabinetLead) -> list[str]:
    """Return the source_pk values a cabinet lead may go by, the likelier first."""
    external = (lead.external_id or "").strip()
    return [external] if external else [f"row:{lead.pk}", str(lead.pk)]


def record_of(row: models.Model) -> tuple[str, list[str]] | None:
    """Return the source table and the possible source_pk values of a feed's row; None for a feed that is not linked."""
    if isinstance(row, CabinetLead):
        return SourceTable.CABINET, names_of_lead(row)
    if isinstance(row, ManualLead):
        return SourceTable.CABINET, [row.source_pk]
    if isinstance(row, ScoutingRegistration):
        return SourceTable.SCOUTING, [str(row.pk)]
    if isinstance(row, MigrationRecord):
        return SourceTable.MIGRATIONS, [str(row.pk)]
    if isinstance(row, Driver):
        return SourceTable.DRIVERS, [row.driver_id]
    return None


def record_label(item: Any, row: models.Model | None = None) -> SafeString | str:
    """Return a record as the words for its feed and its key, linked to its row when there is one."""
    label = format_html('{} <span class="key">{}</span>', item.get_source_table_display(), item.source_pk)
    return link_to(row, label) if row is not None else label


def facts(row: models.Model | None) -> SafeString | str:
    """Return all filled columns of a feed's row, to be opened."""
    if row is None:
        return NOTHING
    values = (
        (field.verbose_name, _value(named(field.name, getattr(row, field.attname))))
        for field in row._meta.concrete_fields
        if getattr(row, field.attname) not in (None, "")
    )
    return format_html(
        '<details><summary>{}</summary><dl class="facts">{}</dl></details>',
        row._meta.verbose_name,
        format_html_join("", "<dt>{}</dt><dd>{}</dd>", values),
    )


def _value(value: Any) -> Any:
    return lima_time(value) if hasattr(value, "isoformat") and hasattr(value, "year") else value
