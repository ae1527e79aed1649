"""What attribution adds to the start page: how it stands, whether it is well and why not (domain.md 6.10, 11.1, Q25)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from attribution import health
from attribution.admin import finding
from attribution.admin.audits import backlog
from attribution.models import (
    AttributionDay,
    BacklogCategory,
    BacklogPerson,
    ConflictType,
    LedgerEntry,
    Scout,
    ScoutConflict,
)
from ct4site import home
from ct4site.admin import linked, may_view
from ct4site.admin_base import lima_time, link_to, pill

SHOWN = 8
TONES = {health.HealthStatus.OK: "good", health.HealthStatus.WARN: "warn", health.HealthStatus.FAIL: "bad"}


def _list(model: type[Model], words: Any, **query: Any) -> SafeString:
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return format_html('<a href="{}">{}</a>', f"{address}?{urlencode(query)}" if query else address, words)


@home.panel(place=12)
def scout_attribution(request: HttpRequest) -> home.Panel | None:
    """Health with its reasons, persons with and without scout, conflicts, backlog: as the last refresh stored them."""
    if not may_view(request, AttributionDay):
        return None
    standing = health.standing()
    found = standing.health
    rows: list[tuple[Any, ...]] = [(_("Health"), pill(found.status, found.status.label, TONES[found.status]))]
    rows += [
        (
            format_html('<span class="small">– {}</span>', reason.text),
            pill(reason.status, reason.status.label, TONES[reason.status]),
        )
        for reason in found.reasons
    ]
    day = standing.day
    if day is None:
        return home.Panel(_("Scout attribution"), rows)
    share = format_html("{} %", f"{health.percent(day):.2f}")
    rows += [
        (linked(request, LedgerEntry, _("With scout"), has_scout="yes"), _number(share, day.satisfactory_count)),
        (linked(request, BacklogPerson, _("Without scout")), intcomma(day.missing_count)),
    ]
    stored = backlog(day)
    rows += [
        (
            format_html('<span class="small">– {}</span>', linked(request, BacklogPerson, f"{letter} · {words}", category=letter)),
            format_html('<span class="quiet small">{}</span>', intcomma(stored[str(letter)])),
        )
        for letter, words in BacklogCategory.choices
    ]  # fmt: skip
    rows += [
        (linked(request, ScoutConflict, _("Open conflicts")), intcomma(day.open_conflicts_count)),
        (
            linked(request, ScoutConflict, _("Historical conflicts"), kind=ConflictType.HISTORICAL.value),
            intcomma(day.conflicts_count - day.open_conflicts_count),
        ),
    ]
    note = format_html(
        "{} {} · {}", _("As of the refresh of"), lima_time(day.computed_at), _list(AttributionDay, _("By day"))
    )
    if standing.last_run is not None and standing.last_run.status == "FAILED":
        note = format_html("{} · {}", note, link_to(standing.last_run))
    return home.Panel(_("Scout attribution"), rows, note)


def _number(share: Any, number: int) -> SafeString:
    return format_html('{} <span class="quiet small">{}</span>', share, intcomma(number))


@home.search(place=50)
def scouts(request: HttpRequest, keys: Mapping[str, Any]) -> home.Panel | None:
    """Scouts by number or name."""
    if not may_view(request, Scout):
        return None
    found = list(finding.scouts(keys)[: SHOWN + 1])
    rows = [(link_to(scout), format_html('<span class="key">{}</span>', scout.pk)) for scout in found[:SHOWN]]
    note = _list(Scout, _("All results"), q=keys["text"]) if len(found) > SHOWN else ""
    return home.Panel(_("Scouts"), rows, note)
