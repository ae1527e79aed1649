"""What orphans add to the start page: drivers without lead by status and reason, and their search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db import connection
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ct4site import home
from ct4site.admin import may_view
from ct4site.admin_base import link_to
from ct4site.paginators import CappedPaginator
from orphans.admin import finding, labels
from orphans.models import OrphanReason, OrphanStatus, QuarantinedDriver

SHOWN = 8

# Counted no further than the lists count.
_COUNTS = """
select statuses.status, null as reason, counted.number
from unnest(%(statuses)s::text[]) as statuses (status)
cross join lateral (
    select count(*) as number
    from (
        select 1 from canon.driver_orphan_quarantine as orphans
        where orphans.status = statuses.status
        limit %(cap)s + 1
    ) as first_rows
) as counted
union all
select 'quarantined', reasons.reason, counted.number
from unnest(%(reasons)s::text[]) as reasons (reason)
cross join lateral (
    select count(*) as number
    from (
        select 1 from canon.driver_orphan_quarantine as orphans
        where orphans.status = 'quarantined' and orphans.detected_reason = reasons.reason
        limit %(cap)s + 1
    ) as first_rows
) as counted
"""


def _list(**query: str) -> str:
    address = reverse("admin:orphans_quarantineddriver_changelist")
    return f"{address}?{urlencode(query)}" if query else address


def _capped(number: int) -> str:
    """Return a count in words; counting stops at the lists' limit."""
    cap = CappedPaginator.cap
    return _("more than %(limit)s") % {"limit": intcomma(cap)} if number > cap else intcomma(number)


@home.panel(place=15)
def drivers_without_lead(request: HttpRequest) -> home.Panel | None:
    """Drivers without lead: those in quarantine with why, then what became of the others. Zeros are shown (9.8)."""
    if not may_view(request, QuarantinedDriver):
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            _COUNTS,
            {"statuses": OrphanStatus.values, "reasons": OrphanReason.values, "cap": CappedPaginator.cap},
        )
        counts = {(status, reason): number for status, reason, number in cursor.fetchall()}
    rows: list[tuple[Any, ...]] = []
    for status, name in OrphanStatus.choices:
        rows.append((_link(_list(status=status), name), _capped(counts[status, None])))
        if status == OrphanStatus.QUARANTINED:
            rows += [
                (
                    format_html('<span class="small">– {}</span>', _link(_list(detected_reason__exact=reason), words)),
                    format_html('<span class="quiet small">{}</span>', _capped(counts[status, reason])),
                )
                for reason, words in OrphanReason.choices
                if counts[status, reason]
            ]
    return home.Panel(_("Drivers without lead"), rows)


def _link(address: str, words: Any) -> SafeString:
    return format_html('<a href="{}">{}</a>', address, words)


@home.search(place=25)
def found(request: HttpRequest, keys: Mapping[str, Any]) -> home.Panel | None:
    """Drivers without lead by phone, licence, plate, name, own id, or their person."""
    if not may_view(request, QuarantinedDriver):
        return None
    drivers = list(finding.quarantined(keys)[: SHOWN + 1])
    rows = [
        (
            link_to(driver, format_html('<span class="key">{}</span>', driver)),
            link_to(driver.person),
            driver.get_detected_reason_display(),
            labels.status_pill(driver),
        )
        for driver in drivers[:SHOWN]
    ]
    note = _link(_list(status="all", q=keys["text"]), _("All results")) if len(drivers) > SHOWN else ""
    return home.Panel(_("Drivers without lead"), rows, note)
