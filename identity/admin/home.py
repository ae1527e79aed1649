"""What identity adds to the start page: open unmatched records by reason, sizes, and the search over everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db import connection
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ct4site import home
from ct4site.admin import may_view
from ct4site.admin_base import lima_time, link_to, pill
from ct4site.paginators import CappedPaginator
from ct4site.privacy import personal
from identity.admin import finding, records
from identity.models import DriverIndexEntry, LeadEvent, Link, Person, ReasonCode, Unmatched

SHOWN = 8

_OPEN_BY_REASON = """
select reasons.code, counted.number
from unnest(%(codes)s::text[]) with ordinality as reasons (code, place)
cross join lateral (
    select count(*) as number
    from (
        select 1 from canon.identity_unmatched as unmatched
        where unmatched.status = 'OPEN' and unmatched.reason_code = reasons.code
        limit %(cap)s + 1
    ) as first_rows
) as counted
where counted.number > 0
order by counted.number desc, reasons.place
"""


def _capped(number: int) -> str:
    """Return a count in words; counting stops at the lists' limit."""
    cap = CappedPaginator.cap
    return _("more than %(limit)s") % {"limit": intcomma(cap)} if number > cap else intcomma(number)


def _list(model: type[Model], query: str = "") -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") + query


@home.panel(place=10)
def unmatched_by_reason(request: HttpRequest) -> home.Panel | None:
    """Open unmatched records, the commonest reason first."""
    if not may_view(request, Unmatched):
        return None
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_BY_REASON, {"codes": list(ReasonCode.values), "cap": CappedPaginator.cap})
        counted = cursor.fetchall()
    words = dict(ReasonCode.choices)
    rows = [
        (
            format_html('<a href="{}">{}</a>', _list(Unmatched, f"?reason_code__exact={code}"), words[code]),
            _capped(number),
        )
        for code, number in counted
    ]
    return home.Panel(_("Open unmatched records"), rows, "" if rows else _("Every record is linked."))


@home.panel(place=30)
def sizes(request: HttpRequest) -> home.Panel | None:
    """How much there is; counted no further than the lists count."""
    rows = []
    models: tuple[type[Model], ...] = (Person, Link, DriverIndexEntry, LeadEvent)
    for model in models:
        if may_view(request, model):
            number = CappedPaginator(model._default_manager.order_by("pk"), 1).counted
            label = format_html('<a href="{}">{}</a>', _list(model), capfirst(model._meta.verbose_name_plural))
            rows.append((label, _capped(number)))
    return home.Panel(_("What is known"), rows) if rows else None


def _found(title: str, rows: list[tuple[Any, ...]], address: str) -> home.Panel:
    note: SafeString | str = ""
    if len(rows) > SHOWN:
        note = format_html('<a href="{}">{}</a>', address, _("All results"))
    return home.Panel(title, rows[:SHOWN], note)


@home.search(place=10)
def persons(request: HttpRequest, keys: Mapping[str, Any]) -> home.Panel | None:
    """Persons by phone, licence, plate, name, own key or the id of a record."""
    if not may_view(request, Person):
        return None
    found = Person.objects.filter(pk__in=finding.person_keys(keys)).order_by("pk")[: SHOWN + 1]
    rows = [
        (link_to(person), personal(person.primary_phone) or "", personal(person.primary_license) or "", pill(person.confidence_level, person.get_confidence_level_display()))
        for person in found
    ]  # fmt: skip
    return _found(_("Persons"), rows, _list(Person) + "?" + _query(keys))


@home.search(place=20)
def drivers(request: HttpRequest, keys: Mapping[str, Any]) -> home.Panel | None:
    """Drivers by phone, licence, plate, name or id."""
    if not may_view(request, DriverIndexEntry):
        return None
    rows = [
        (
            link_to(driver),
            personal(driver.phone_norm) or "",
            personal(driver.license_norm) or "",
            driver.plate_norm or "",
        )
        for driver in finding.drivers(keys)[: SHOWN + 1]
    ]
    return _found(_("Drivers"), rows, _list(DriverIndexEntry) + "?" + _query(keys))


@home.search(place=30)
def unmatched(request: HttpRequest, keys: Mapping[str, Any]) -> home.Panel | None:
    """Unmatched records by phone, licence, plate, driver or record."""
    if not may_view(request, Unmatched):
        return None
    rows = [
        (
            link_to(item, records.record_label(item)),
            item.get_reason_code_display(),
            pill(item.status, item.get_status_display()),
        )
        for item in finding.unmatched(keys)[: SHOWN + 1]
    ]
    return _found(_("Unmatched records"), rows, _list(Unmatched) + "?status=all&" + _query(keys))


@home.search(place=40)
def events(request: HttpRequest, keys: Mapping[str, Any]) -> home.Panel | None:
    """Lead events by phone, licence or record."""
    if not may_view(request, LeadEvent):
        return None
    found: QuerySet[LeadEvent] = finding.events(keys)
    rows = [
        (link_to(event, records.record_label(event)), event.name_norm or "", lima_time(event.event_date))
        for event in found[: SHOWN + 1]
    ]
    return _found(_("Leads"), rows, _list(LeadEvent) + "?" + _query(keys))


def _query(keys: Mapping[str, Any]) -> str:
    return urlencode({"q": keys["text"]})
