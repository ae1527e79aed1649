"""The evidence of one driver without lead, as tables: the driver, its link, and every record that was weighed.

What is stored may be of any shape: a page of evidence must open whatever was written (domain.md 9.5).
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ct4site.admin_base import LARGEST_ID, NOTHING, Section, json_table, lima_time, link_to, pill, words
from ct4site.models import JobType
from ct4site.privacy import named, personal
from identity.admin import labels as identity_labels
from identity.admin import records
from identity.admin.persons import confidence, links_section
from identity.models import DriverIndexEntry, LeadEvent, Link, Person, SourceTable
from orphans.admin import labels
from orphans.admin.nearest import record_cell
from orphans.models import OrphanReason, QuarantineChange, QuarantinedDriver

SHOWN = 100


def stored(driver: QuarantinedDriver) -> dict[str, Any]:
    """Return the stored evidence of a driver; nothing when it is not what the contract says."""
    return driver.evidence_json if isinstance(driver.evidence_json, dict) else {}


def known_of(driver: QuarantinedDriver) -> tuple[DriverIndexEntry | None, Link | None]:
    """Return a driver's entry in the drivers index, and its link."""
    own = Link.objects.filter(source_table=SourceTable.DRIVERS, source_pk=driver.driver_id)
    entry = DriverIndexEntry.objects.filter(driver_id=driver.driver_id).first()
    return entry, own.select_related("person", "run").first()


def sections(driver: QuarantinedDriver, entry: DriverIndexEntry | None, link: Link | None) -> Iterator[Section]:
    """Return all that is known of a driver without lead; what was found comes first, in two sections."""
    yield levels_section(driver)
    yield evidence_section(driver)
    yield driver_section(driver, entry)
    yield link_section(driver, link)
    yield _person_links(driver)
    yield _history(driver)


def _person_links(driver: QuarantinedDriver) -> Section:
    found = Link.objects.filter(person=driver.person_id).select_related("run").order_by("snapshot_date", "id")
    links = list(found[: SHOWN + 1])
    rows = records.source_rows((link.source_table, link.source_pk) for link in links[:SHOWN])
    section = links_section(links[:SHOWN], rows, has_more=len(links) > SHOWN)
    section.title = _("All links of its person")
    return section


def _history(driver: QuarantinedDriver) -> Section:
    reasons = dict(OrphanReason.choices)
    columns = {
        _("When"): lambda change: change.changed_at,
        _("Who"): lambda change: change.changed_by,
        _("What"): lambda change: link_to(change, words(labels.CHANGES, change.change_reason)),
        _("Status"): lambda change: str(change),
        _("Reason"): lambda change: words(reasons, change.detected_reason_new),
        _("Notes"): lambda change: change.notes,
        _("Run"): lambda change: link_to(change.run, f"#{change.run_id}"),
    }
    changes = QuarantineChange.objects.filter(driver_id=driver.driver_id).select_related("run").order_by("-id")
    return Section.of(_("History of the quarantine"), columns, changes, SHOWN)


def driver_section(driver: QuarantinedDriver, entry: DriverIndexEntry | None) -> Section:
    """Return the section with the driver as the index has it, as its person is known, and as it was when decided."""
    was = stored(driver)
    known: dict[SafeString | str, dict[str, Any]] = {}
    if entry is not None:
        known[link_to(entry, _("Drivers index"))] = {
            "name": entry.full_name_norm, "phone": personal(entry.phone_norm), "licence": personal(entry.license_norm), "plate": entry.plate_norm,
            "park": entry.park_id, "hired": lima_time(entry.hire_date), "vanished": lima_time(entry.vanished_at),
        }  # fmt: skip
    else:
        known[_("Not in the drivers index")] = {}
    if driver.person is not None:
        person = driver.person
        known[link_to(person, _("Its person"))] = {
            "name": person.primary_full_name, "phone": personal(person.primary_phone), "licence": personal(person.primary_license),
        }  # fmt: skip
    told = {
        name: _text(named(key, was[key]))
        for name, key in (("name", "primary_full_name"), ("phone", "primary_phone"), ("licence", "primary_license"))
        if was.get(key)
    }
    if told:
        known[_("Its person, when it was decided")] = told
    words = {
        "name": _("Name"), "phone": _("Phone"), "licence": _("Licence"), "plate": _("Plate"), "park": _("Park"),
        "hired": _("Hired"), "vanished": _("Vanished"),
    }  # fmt: skip
    rows = [[word, *(facts.get(name) or NOTHING for facts in known.values())] for name, word in words.items()]
    return Section(title=_("The driver"), columns=["", *known], rows=rows, is_list=False)


def link_section(driver: QuarantinedDriver, link: Link | None) -> Section:
    """Return the section that tells how the driver was linked: now, and as it was when it was decided."""
    was = stored(driver)
    now: list[Any] = [pill("gone", _("Not linked any more"), "warn"), *[NOTHING] * 6]
    if link is not None:
        run: SafeString | str = link_to(link.run, f"#{link.run_id}")
        if link.run is not None and link.run.job_type == JobType.LEGACY_LOAD:
            run = format_html("{} {}", run, pill("legacy", _("Predecessor's history"), "info"))
        score = format_html("{}&nbsp;{}", link.match_score, confidence(link))
        rule = identity_labels.rule(link.match_rule)
        now = [
            link_to(link, _("Linked")), link_to(link.person), rule, score, lima_time(link.linked_at), run, json_table(link.evidence)
        ]  # fmt: skip
    then: list[Any] = [NOTHING] * 7
    if was:
        rule = identity_labels.rule(was.get("creation_rule"))
        then = [
            _("Linked"), link_to(driver.person), rule, NOTHING, _moment(was.get("linked_at")), NOTHING,
            json_table(was.get("original_evidence")),
        ]  # fmt: skip
    words = [_("State"), _("Person"), _("Rule"), _("Score"), _("When"), _("Run"), _("Evidence of the link")]
    return Section(
        title=_("How the driver was linked"),
        columns=["", _("Now"), _("When it was decided")],
        rows=[list(row) for row in zip(words, now, then, strict=True)],
        is_list=False,
    )


def pieces(driver: QuarantinedDriver) -> list[dict[str, Any]]:
    """Return the stored pieces of evidence, the strongest first."""
    found = stored(driver).get("evidence")
    return [piece for piece in found if isinstance(piece, dict)] if isinstance(found, list) else []


def levels_section(driver: QuarantinedDriver) -> Section:
    """Return the section that says of each level how many records it found and how many sufficed. Zeros are shown."""
    found = pieces(driver)
    rows = []
    for level, (_name, how) in labels.LEVELS.items():
        of_level = [piece for piece in found if piece.get("level") == level]
        used = sum(piece.get("outcome") == "used" for piece in of_level)
        verdict: SafeString | str = NOTHING
        if of_level:
            verdict = pill("used", _("suffices"), "good") if used else pill("short", _("does not suffice"), "warn")
        rows.append([_fact(_level(level), how), len(of_level), used, verdict])
    columns = [_("Level"), _("Records"), _("Used"), _("Verdict")]
    return Section(title=_("What was found"), columns=columns, rows=rows, is_list=False)


def evidence_section(driver: QuarantinedDriver) -> Section:
    """Return the section with every record that was weighed: how it points to the driver, and why it did or did not do."""
    found = pieces(driver)
    keys = [(_text(piece.get("source_table")), _text(piece.get("source_pk"))) for piece in found]
    rows = records.source_rows(key for key in keys if NOTHING not in key)
    # An event or a person may have gone since.
    wanted = {event for piece in found if (event := _event_id(piece)) is not None}
    events = set(LeadEvent.objects.filter(pk__in=wanted).order_by().values_list("pk", flat=True))
    others = Person.objects.in_bulk(
        {key for piece in found if (key := _key(piece.get("other_person_key"))) is not None}
    )
    cells = []
    for piece, (table, pk) in zip(found, keys, strict=True):
        event = _event_id(piece)
        outcome = labels.OUTCOMES.get(str(piece.get("outcome")))
        other = others.get(_key(piece.get("other_person_key")) or uuid.UUID(int=0))
        verdict = pill(piece.get("outcome"), outcome.name, outcome.tone) if outcome else _text(piece.get("outcome"))
        cells.append(
            [
                record_cell(table, pk, rows, event if event in events else None),
                _moment(piece.get("event_date")),
                _level(piece.get("level")),
                words(labels.STRATEGIES, piece.get("match_strategy")),
                _fact(verdict, _why(outcome, other, piece)),
            ]
        )
    columns = [_("Record"), _("Date"), _("Level"), _("How it points here"), _("Outcome and why")]
    note = ""
    if driver.lead_events_count > len(found):
        note = _("%(number)d records pointed to the driver; listed are the strongest %(listed)d.") % {
            "number": driver.lead_events_count,
            "listed": len(found),
        }
    return Section(title=_("Evidence"), columns=columns, rows=cells, note=note)


def _why(outcome: labels.Outcome | None, other: Person | None, piece: dict[str, Any]) -> SafeString | str:
    why = str(outcome.why) if outcome else NOTHING
    if other is not None:
        return format_html("{} {}", why, link_to(other))
    gone = piece.get("other_person_key")
    return format_html('{} <span class="key">{}</span>', why, gone) if gone else why


def _fact(name: Any, text: Any) -> SafeString:
    """Return a name with its explanation; it keeps a readable width in a narrow window."""
    return format_html('<dl class="facts"><dt>{}</dt><dd>{}</dd></dl>', name, text)


def _level(number: Any) -> SafeString | str:
    level = labels.LEVELS.get(number) if isinstance(number, int) else None
    return format_html("{}&nbsp;·&nbsp;{}", number, level.name) if level else _text(number)


def _text(value: Any) -> str:
    return NOTHING if value in (None, "", [], {}) else str(value)


def _event_id(piece: dict[str, Any]) -> int | None:
    number = piece.get("event_id")
    fits = isinstance(number, int) and not isinstance(number, bool) and 0 < number <= LARGEST_ID
    return number if fits else None


def _key(value: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _moment(value: Any) -> SafeString | str:
    """Return a stored date or moment as Lima shows it; as it is stored when it is neither."""
    if not isinstance(value, str) or not value:
        return _text(value)
    with contextlib.suppress(ValueError, OverflowError):
        moment = parse_date(value) or parse_datetime(value)
        if moment is not None:
            return lima_time(moment)
    return value
