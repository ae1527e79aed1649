"""All claims of scouts on one person by every source, dated (domain.md 6.5): the timeline of a dossier."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from attribution.admin import labels
from attribution.models import LedgerEntry, ScoutClaim
from ct4site.admin_base import NOTHING, Section, lima_time, link_to, words
from identity.admin import records
from identity.models import CabinetPayment, LeadEvent

# A person has a handful of records; more are not a dossier but a fault, and the page says that it stops.
MOST = 200

LEDGER, EVENT, PAYMENT = "observational.lead_ledger", "observational.lead_events", "public.module_ct_cabinet_payments"
KINDS = {
    "module_ct_migrations": "migration",
    "module_ct_scouting_daily": "registration",
    "module_ct_cabinet_leads": "cabinet",
    "module_ct_cabinet_payments": "payment",
}


@dataclass(frozen=True)
class Claim:
    """One claim. ``record`` is the source record behind it, if any; ``kind`` is what that record is."""

    scout_id: int
    source_table: str
    source_pk: str
    date: datetime.date | None
    recorded_at: datetime.datetime | None
    priority: int
    kind: str
    record: records.Key | None

    @property
    def is_of_ledger(self) -> bool:
        """Whether this is the ledger's own word, not evidence."""
        return self.source_table == LEDGER


def of_person(person_key: uuid.UUID) -> list[Claim]:
    """Return the claims on a person, the oldest first, undated ones last; at most ``MOST``, in two queries."""
    found = list(
        ScoutClaim.objects.filter(person=person_key)
        .order_by("attribution_date", "priority", "source_table", "source_pk")
        .values_list(
            "scout_id", "source_table", "source_pk", "attribution_date", "created_at", "priority", "underlying_table"
        )[: MOST + 1]
    )
    numbers = [int(pk) for _scout, table, pk, *_rest in found if table == EVENT]
    events = {str(event.pk): event for event in LeadEvent.objects.filter(pk__in=numbers)} if numbers else {}
    claims = []
    for scout_id, table, pk, date, recorded_at, priority, underlying in found:
        record: records.Key | None = None
        if table == EVENT:
            event = events.get(pk)
            record = (event.source_table, event.source_pk) if event else None
        elif table != LEDGER:
            record = (underlying or "", pk)
        kind = "ledger" if table == LEDGER else KINDS.get(underlying or "", "other")
        claims.append(Claim(scout_id, table, pk, date, recorded_at, priority, kind, record))
    return claims


def evidence(claims: Iterable[Claim]) -> list[Claim]:
    """Return the claims that are evidence: all but the ledger's own."""
    return [claim for claim in claims if not claim.is_of_ledger]


def first_date(claims: Iterable[Claim]) -> datetime.date | None:
    """Return the day of the first claim that is evidence."""
    return min((claim.date for claim in evidence(claims) if claim.date), default=None)


def section(claims: Sequence[Claim], person_key: uuid.UUID, names: labels.Names, title: str) -> Section:
    """Return the timeline: every claim with its scout, source, record, and how far it lies from the first."""
    shown = claims[:MOST]
    keys = [claim.record for claim in shown if claim.record is not None]
    rows: dict[records.Key, Any] = dict(records.source_rows(keys))
    payments = [int(pk) for table, pk in keys if table == "module_ct_cabinet_payments"]
    if payments:
        found = CabinetPayment.objects.filter(pk__in=payments)
        rows |= {("module_ct_cabinet_payments", str(row.pk)): row for row in found}
    start = first_date(claims)
    cells = [
        (
            lima_time(claim.date),
            NOTHING if claim.is_of_ledger else distance(claim.date, start),
            labels.scout(claim.scout_id, names),
            words(labels.SOURCES, claim.source_table),
            _record(claim, rows, person_key),
            lima_time(claim.recorded_at),
        )
        for claim in shown
    ]
    columns = [_("Date"), _("After the first"), _("Scout"), _("Source"), _("Record"), _("Recorded")]
    return Section(title=title, columns=columns, rows=cells, has_more=len(claims) > MOST)


def distance(date: datetime.date | None, start: datetime.date | None) -> str:
    """Return how many days after the first claim a claim lies, in words."""
    if date is None or start is None:
        return NOTHING
    days = (date - start).days
    return _("same day") if days == 0 else days_text(days)


def days_text(days: int) -> str:
    """Return a number of days in words."""
    return ngettext("%(days)d day", "%(days)d days", days) % {"days": days}


def _record(claim: Claim, rows: dict[records.Key, Any], person_key: uuid.UUID) -> SafeString | str:
    if claim.is_of_ledger:
        return link_to(LedgerEntry(person_id=person_key), _("the ledger's decision"))
    event: SafeString | str = ""
    if claim.source_table == EVENT:
        event = link_to(LeadEvent(pk=int(claim.source_pk)), _("event %(number)s") % {"number": f"#{claim.source_pk}"})
    if claim.record is None:
        return event or format_html('<span class="key">{}</span>', claim.source_pk)
    label = _name(claim.record)
    row = rows.get(claim.record)
    record = link_to(row, label) if row is not None else label
    return format_html('{}<br><span class="small">{}</span>', record, event) if event else record


def _name(record: records.Key) -> SafeString | str:
    table, pk = record
    if table == "module_ct_cabinet_payments":
        return format_html('{} <span class="key">{}</span>', labels.SOURCES[PAYMENT], pk)
    return records.record_label(LeadEvent(source_table=table, source_pk=pk))
