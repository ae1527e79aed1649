"""Leads that are near a driver: what a reviewer would look through by hand, found by keys at a bounded cost.

Nearness proves nothing: it is shown to be judged, and no rule reads it.
"""

from __future__ import annotations

import datetime
import string
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db import connection
from django.utils import dateformat
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ct4site.admin_base import LIMA, NOTHING, Section, lima_time, link_to, pill
from ct4site.privacy import personal
from identity.admin import records
from identity.admin.comparing import marked, marked_name, marked_personal
from identity.models import DriverIndexEntry, LeadEvent, Link, Person, Unmatched, UnmatchedStatus
from orphans.models import QuarantinedDriver

SHOWN = 10
# Records that one look-up brings, the newest first: a key shared by more proves nothing.
MOST_PER_KEY = 200
# How far from the driver's first day names are compared, in days and in events on each side.
NAME_DAYS = 120
NAME_EVENTS = 10_000
SHARED_WORDS = 2
# The weight of a key that is nearly the same; one that is the same weighs more.
NEAR = 3


@dataclass(frozen=True)
class Keys:
    """What a driver is compared by; ``day`` is when it was hired, else first linked."""

    driver_id: str
    person_key: uuid.UUID | None
    phone: str | None
    license: str | None
    plate: str | None
    name: str | None
    words: list[str]
    day: datetime.date


@dataclass
class Lead:
    """A lead record with its keys, and whose it is."""

    source_table: str
    source_pk: str
    event_id: int | None
    date: datetime.date | None
    phone: str | None
    license: str | None
    plate: str | None
    name: str | None
    words: list[str]
    driver_id: str | None
    link_id: int | None
    person_key: uuid.UUID | None
    person_name: str | None
    unmatched_id: int | None
    unmatched_status: str | None
    agrees: list[tuple[str, str]] = field(default_factory=list)  # words, colour
    differs: dict[str, str] = field(default_factory=dict)  # what, in words
    weight: int = 0


@dataclass(frozen=True)
class Nearest:
    """The nearest leads, best first, and how far they were looked for."""

    leads: list[Lead]
    names_from: datetime.date | None = None
    names_to: datetime.date | None = None
    names_compared: int = 0


def keys_of(driver: QuarantinedDriver, entry: DriverIndexEntry | None, link: Link | None) -> Keys:
    """Return what a driver is compared by: its entry in the drivers index, and what that lacks from its person."""
    person = driver.person or Person()
    with connection.cursor() as cursor:
        cursor.execute(
            "select canon.normalize_phone(%s), canon.normalize_license(%s), name, canon.name_tokens(name)"
            " from canon.normalize_name(%s) as name",
            [person.primary_phone, person.primary_license, person.primary_full_name],
        )
        phone, licence, name, words = cursor.fetchone()
    first_seen = (link.linked_at if link else driver.detected_at).astimezone(LIMA).date()
    return Keys(
        driver_id=driver.driver_id,
        person_key=driver.person_id,
        phone=(entry and entry.phone_norm) or phone,
        license=(entry and entry.license_norm) or licence,
        plate=entry.plate_norm if entry else None,
        name=(entry and entry.full_name_norm) or name,
        words=(entry and entry.name_tokens) or words,
        day=(entry and entry.hire_date) or first_seen,
    )


def one_digit_off(phone: str | None) -> list[str]:
    """Return all phones of the same length that differ in exactly one digit."""
    if not phone:
        return []
    return [
        phone[:place] + digit + phone[place + 1 :]
        for place in range(len(phone))
        for digit in string.digits
        if digit != phone[place]
    ]


def one_edit_off(key: str | None) -> list[str]:
    """Return all keys of letters and digits with exactly one character replaced, dropped or added."""
    if not key:
        return []
    letters = string.ascii_uppercase + string.digits
    ends = [(key[:place], key[place:]) for place in range(len(key) + 1)]
    dropped = {left + right[1:] for left, right in ends if right}
    replaced = {left + letter + right[1:] for left, right in ends if right for letter in letters}
    added = {left + letter + right for left, right in ends for letter in letters}
    return sorted((dropped | replaced | added) - {key})


# Each branch reads one index and stops; only the names are compared row by row, on the days around the driver's first.
# Of a key that very many share, the same value comes before a near one, then the newest.
_NEAREST = """
with around as materialized (
    (
        select id, event_date, source_table, source_pk, string_to_array(name_norm, ' ') as words
        from observational.lead_events
        where event_date >= %(day)s and event_date <= %(last_day)s and %(compares_names)s
        order by event_date, id
        limit %(name_events)s
    )
    union all
    (
        select id, event_date, source_table, source_pk, string_to_array(name_norm, ' ')
        from observational.lead_events
        where event_date < %(day)s and event_date >= %(first_day)s and %(compares_names)s
        order by event_date desc, id desc
        limit %(name_events)s
    )
),

near as (
    (
        select source_table, source_pk from observational.lead_events
        where driver_id = %(driver_id)s
        order by id + 0 desc limit %(most)s
    )
    union
    (
        select source_table, source_pk from observational.lead_events
        where phone_norm = any(%(phones)s)
        order by phone_norm = %(phone)s desc, id desc limit %(most)s
    )
    union
    (
        select source_table, source_pk from observational.lead_events
        where license_norm = any(%(licenses)s)
        order by license_norm = %(license)s desc, id desc limit %(most)s
    )
    union
    (
        select source_table, source_pk from canon.identity_unmatched
        where phone_norm = any(%(phones)s)
        order by phone_norm = %(phone)s desc, id desc limit %(most)s
    )
    union
    (
        select source_table, source_pk from canon.identity_unmatched
        where license_norm = any(%(licenses)s)
        order by license_norm = %(license)s desc, id desc limit %(most)s
    )
    union
    (
        select source_table, source_pk from canon.identity_unmatched
        where plate_norm = %(plate)s
        order by id + 0 desc limit %(most)s
    )
    union
    -- A linked lead is known by its plate through the drivers of that car.
    (
        select events.source_table, events.source_pk
        from (
            select driver_id from canon.drivers_index
            where plate_norm = %(plate)s
            order by driver_id || '' limit %(most)s
        ) as drivers
        inner join canon.identity_links as links
            on links.source_table = 'drivers' and links.source_pk = drivers.driver_id
        inner join observational.lead_events as events on events.person_key = links.person_key
        where canon.normalize_plate(events.payload_json ->> 'asset_plate_number') = %(plate)s
        order by events.id + 0 desc limit %(most)s
    )
    union
    (
        select source_table, source_pk from around
        where words && %(words)s and (
            select count(distinct word) from unnest(words) as word where word = any(%(words)s)
        ) >= %(shared_words)s
        order by (
            select count(distinct word) from unnest(words) as word where word = any(%(words)s)
        ) desc, abs(event_date - %(day)s), id limit %(most)s
    )
),

compared as (
    select count(*) as number, min(event_date) as first_day, max(event_date) as last_day from around
)

select
    compared.number, compared.first_day, compared.last_day,
    near.source_table, near.source_pk, events.id, coalesce(events.event_date, (unmatched.snapshot_date at time zone 'America/Lima')::date),
    coalesce(events.phone_norm, unmatched.phone_norm), coalesce(events.license_norm, unmatched.license_norm),
    coalesce(unmatched.plate_norm, canon.normalize_plate(events.payload_json ->> 'asset_plate_number')),
    names.name, canon.name_tokens(names.name), coalesce(events.driver_id, unmatched.driver_id),
    links.id, links.person_key, persons.primary_full_name, unmatched.id, unmatched.status
from compared
left join near on true
left join observational.lead_events as events
    on events.source_table = near.source_table and events.source_pk = near.source_pk
left join canon.identity_unmatched as unmatched
    on unmatched.source_table = near.source_table and unmatched.source_pk = near.source_pk
left join canon.identity_links as links
    on links.source_table = near.source_table and links.source_pk = near.source_pk
left join canon.identity_registry as persons on persons.person_key = links.person_key
cross join lateral (select coalesce(events.name_norm, unmatched.details ->> 'name') as name) as names
"""


def find(keys: Keys) -> Nearest:
    """Return at most ``SHOWN`` leads that are near: same or nearly same phone or licence, same plate, shared words.

    Phones may differ in one digit, licences in one character; names share two words and more. Names have no index, so
    they are compared on the days around ``keys.day`` only (``NAME_DAYS``, ``NAME_EVENTS``).
    """
    phones, licenses = one_digit_off(keys.phone), one_edit_off(keys.license)
    with connection.cursor() as cursor:
        cursor.execute(
            _NEAREST,
            {
                "driver_id": keys.driver_id,
                "phone": keys.phone,
                "phones": [keys.phone, *phones] if keys.phone else [],
                "license": keys.license,
                "licenses": [keys.license, *licenses] if keys.license else [],
                "plate": keys.plate,
                "words": keys.words,
                "compares_names": len(keys.words) >= SHARED_WORDS,
                "shared_words": SHARED_WORDS,
                "day": keys.day,
                "first_day": _shifted(keys.day, -NAME_DAYS),
                "last_day": _shifted(keys.day, NAME_DAYS),
                "name_events": NAME_EVENTS,
                "most": MOST_PER_KEY,
            },
        )
        rows = cursor.fetchall()
    number, first_day, last_day = rows[0][:3]
    leads = [Lead(*row[3:]) for row in rows if row[3] is not None]
    near_phones, near_licenses = set(phones), set(licenses)
    for lead in leads:
        _compare(lead, keys, near_phones, near_licenses)
    leads = sorted((lead for lead in leads if lead.agrees), key=lambda lead: _rank(lead, keys))
    return Nearest(leads[:SHOWN], first_day, last_day, number)


def _shifted(day: datetime.date, days: int) -> datetime.date:
    try:
        return day + datetime.timedelta(days=days)
    except OverflowError:  # a hire date may be any day that the feed wrote
        return day


def _rank(lead: Lead, keys: Keys) -> tuple[Any, ...]:
    distance = abs((lead.date - keys.day).days) if lead.date else NAME_DAYS
    return -lead.weight, lead.link_id is not None, distance, lead.source_table, lead.source_pk


def _compare(lead: Lead, keys: Keys, near_phones: set[str], near_licenses: set[str]) -> None:
    """Say in words what agrees and what differs, and weigh it."""

    def agrees(words: str, weight: int) -> None:
        lead.agrees.append((words, "good" if weight > NEAR else "info"))
        lead.weight += weight

    if lead.driver_id and lead.driver_id == keys.driver_id:
        agrees(_("Names the driver"), 8)
    elif lead.driver_id:
        lead.differs["driver"] = _("Names another driver")
    if lead.phone and lead.phone == keys.phone:
        agrees(_("Same phone"), 6)
    elif lead.phone in near_phones:
        agrees(_("Phone but for one digit"), NEAR)
    elif lead.phone and keys.phone:
        lead.differs["phone"] = _("Phone")
    if lead.license and lead.license == keys.license:
        agrees(_("Same licence"), 6)
    elif lead.license in near_licenses:
        agrees(_("Licence but for one character"), NEAR)
    elif lead.license and keys.license:
        lead.differs["licence"] = _("Licence")
    if lead.plate and lead.plate == keys.plate:
        agrees(_("Same plate"), 4)
    elif lead.plate and keys.plate:
        lead.differs["plate"] = _("Plate")
    shared = len(set(lead.words) & set(keys.words))
    if shared >= SHARED_WORDS:
        agrees(
            ngettext("%(number)d word of the name", "%(number)d words of the name", shared) % {"number": shared},
            min(shared, 4),
        )
    elif lead.words and keys.words:
        lead.differs["name"] = _("Name")


# --- showing -----------------------------------------------------------------------------------------------


def section(keys: Keys) -> Section:
    """Return the section with the leads nearest to a driver, the driver in the first row, and how they were found."""
    nearest = find(keys)
    rows = records.source_rows((lead.source_table, lead.source_pk) for lead in nearest.leads)
    cells: list[list[Any]] = [
        [_("This driver"), _says(keys.name, personal(keys.phone), personal(keys.license), keys.plate), NOTHING, NOTHING, lima_time(keys.day), NOTHING]
    ]  # fmt: skip
    for lead in nearest.leads:
        cells.append(
            [
                record_cell(lead.source_table, lead.source_pk, rows, lead.event_id),
                _says(
                    marked_name(lead.name, keys.name),
                    _marked(lead.phone, keys.phone, "phone" in lead.differs, marked_personal),
                    _marked(lead.license, keys.license, "licence" in lead.differs, marked_personal),
                    _marked(lead.plate, keys.plate, "plate" in lead.differs),
                ),
                format_html_join("", "<div>{}</div>", ((pill("agrees", words, tone),) for words, tone in lead.agrees)),
                ", ".join(lead.differs.values()) or NOTHING,
                lima_time(lead.date),
                _belongs(lead, keys),
            ]
        )
    return Section(
        title=_("Nearest leads"),
        columns=[_("Record"), _("What it says"), _("Agrees"), _("Differs"), _("Date"), _("Whose it is")],
        rows=cells if nearest.leads else [],
        is_list=False,
        note=_how(keys, nearest),
    )


def _marked(value: str | None, other: str | None, differs: bool, mark: Any = marked) -> SafeString | str:
    """Mark the one character that differs; of another value altogether, all of it."""
    return format_html("<mark>{}</mark>", mark(value, None)) if differs else mark(value, other)


def _says(name: Any, phone: Any, licence: Any, plate: Any) -> SafeString:
    facts = ((_("Name"), name), (_("Phone"), phone), (_("Licence"), licence), (_("Plate"), plate))
    return format_html(
        '<dl class="facts">{}</dl>',
        format_html_join("", "<dt>{}</dt><dd>{}</dd>", ((word, value or NOTHING) for word, value in facts)),
    )


def record_cell(table: str, pk: str, rows: dict[records.Key, Any], event_id: int | None) -> SafeString | str:
    """Return a record linked to its row in the feed, with its event where there is one."""
    label = records.record_label(LeadEvent(source_table=table, source_pk=pk), rows.get((table, pk)))
    if event_id is None:
        return label
    event = link_to(LeadEvent(pk=event_id), _("event %(number)s") % {"number": f"#{event_id}"})
    return format_html('{}<br><span class="small">{}</span>', label, event)


def _belongs(lead: Lead, keys: Keys) -> SafeString | str:
    if lead.link_id is not None and lead.person_key is not None:
        if lead.person_key == keys.person_key:
            return link_to(Link(pk=lead.link_id), _("Linked to this driver's person"))
        person = Person(person_key=lead.person_key, primary_full_name=lead.person_name)
        return format_html("{} {}", _("Linked to"), link_to(person))
    if lead.unmatched_id is not None and lead.unmatched_status is not None:
        status = UnmatchedStatus(lead.unmatched_status)
        return link_to(Unmatched(pk=lead.unmatched_id), pill(status, status.label))
    return str(_("Not decided yet"))


def _day(day: datetime.date | None) -> str:
    return dateformat.format(day, "j M Y") if day else NOTHING


def _how(keys: Keys, nearest: Nearest) -> str:
    """Say how far was looked: a reader must know what an empty table means."""
    said = [
        _(
            "Looked for: records that name the driver, the same phone or one digit different, the same licence or one"
            " character different, the same plate; of each at most the newest %(most)d."
        )
        % {"most": MOST_PER_KEY}
    ]
    if len(keys.words) < SHARED_WORDS:
        said.append(_("Names were not compared: the driver's name has fewer than two words."))
    elif not nearest.names_compared:
        said.append(
            _("Names were not compared: there are no leads within %(days)d days of the driver's first day.")
            % {"days": NAME_DAYS}
        )
    else:
        said.append(
            _("Names with two words in common were looked for among the %(number)s leads from %(first)s to %(last)s.")
            % {
                "number": intcomma(nearest.names_compared),
                "first": _day(nearest.names_from),
                "last": _day(nearest.names_to),
            }
        )
    said.append(_("Shown are the nearest %(shown)d; nearness proves nothing.") % {"shown": SHOWN})
    return " ".join(said)
