"""A record beside the drivers it may belong to, with what differs marked."""

from __future__ import annotations

import difflib
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ct4site.admin_base import NOTHING, Section, lima_time, link_to
from ct4site.privacy import personal
from identity.admin import labels
from identity.models import DriverIndexEntry, Link, Person, SourceTable, Unmatched


def marked(value: str | None, other: str | None) -> SafeString | str:
    """Return a value with the characters marked that differ from another value; unmarked where one is missing."""
    if not value:
        return NOTHING
    if not other:
        return value
    blocks = difflib.SequenceMatcher(None, value, other, autojunk=False).get_opcodes()
    parts = [(kind != "equal", value[start:end]) for kind, start, end, _from, _to in blocks if end > start]
    return format_html_join(
        "", "{}", ((format_html("<mark>{}</mark>", text) if differs else text,) for differs, text in parts)
    )


def marked_personal(value: str | None, other: str | None) -> SafeString | str:
    """Return a phone, licence or document as ``marked`` does; masked, it is marked whole where it differs."""
    shown = personal(value)
    if shown == value:
        return marked(value, other)
    return format_html("<mark>{}</mark>", shown) if other and other != value else shown


def marked_name(name: str | None, other: str | None) -> SafeString | str:
    """Return a name with what differs marked, whatever the order of the words: a word, or characters of a close word."""
    if not name:
        return NOTHING
    if not other:
        return name
    theirs = other.split()
    words = []
    for word in name.split():
        if word in theirs:
            words.append((word,))
            continue
        close = difflib.get_close_matches(word, theirs, n=1, cutoff=0.7)
        words.append((marked(word, close[0]) if close else format_html("<mark>{}</mark>", word),))
    return format_html_join(" ", "{}", words)


def comparison(item: Unmatched) -> Section:
    """Return the section that shows an unmatched record beside each of its candidates, and what each lacked."""
    stored = (item.candidates_preview or {}).get("candidates", []) if isinstance(item.candidates_preview, dict) else []
    candidates = [entry for entry in stored if isinstance(entry, dict)] if isinstance(stored, list) else []
    ids = [str(entry.get("driver_id")) for entry in candidates if entry.get("driver_id")]
    drivers = DriverIndexEntry.objects.in_bulk(ids)
    links = Link.objects.filter(source_table=SourceTable.DRIVERS, source_pk__in=ids).select_related("person")
    persons: dict[str, Person] = {link.source_pk: link.person for link in links}
    details = item.details if isinstance(item.details, dict) else {}
    name = details.get("name")

    def of(entry: dict[str, Any]) -> DriverIndexEntry:
        return drivers.get(str(entry.get("driver_id"))) or DriverIndexEntry(driver_id=str(entry.get("driver_id") or ""))

    pairs = [(entry, of(entry)) for entry in candidates]
    rows: list[list[Any]] = [
        [_("Driver"), item.driver_id or NOTHING, *(link_to(driver, driver.driver_id) if driver.snapshot_date else driver.driver_id or NOTHING for _entry, driver in pairs)],
        [_("Person"), NOTHING, *(link_to(persons.get(driver.driver_id)) for _entry, driver in pairs)],
        [_("Name"), name or NOTHING, *(marked_name(driver.full_name_norm, name) for _entry, driver in pairs)],
        [_("Phone"), personal(item.phone_norm) or NOTHING, *(marked_personal(driver.phone_norm, item.phone_norm) for _entry, driver in pairs)],
        [_("Licence"), personal(item.license_norm) or NOTHING, *(marked_personal(driver.license_norm, item.license_norm) for _entry, driver in pairs)],
        [_("Plate"), item.plate_norm or NOTHING, *(marked(driver.plate_norm, item.plate_norm) for _entry, driver in pairs)],
        [_("Park"), NOTHING, *(driver.park_id or NOTHING for _entry, driver in pairs)],
        [_("Date of the record, hire date"), lima_time(item.snapshot_date), *(lima_time(driver.hire_date) for _entry, driver in pairs)],
        [_("Rule"), NOTHING, *(labels.rule(entry.get("rule")) for entry, _driver in pairs)],
        [_("Similarity of the names"), NOTHING, *(_percent(entry.get("similarity")) for entry, _driver in pairs)],
        [_("What it lacked"), NOTHING, *(labels.lacked(entry.get("lacked")) for entry, _driver in pairs)],
    ]  # fmt: skip
    columns = ["", _("Record"), *(_("Candidate %(number)d") % {"number": number + 1} for number in range(len(pairs)))]
    return Section(title=_("Candidates"), columns=columns, rows=rows if pairs else [], is_list=False)


def _percent(similarity: Any) -> str:
    return f"{similarity:.0%}" if isinstance(similarity, (int, float)) else NOTHING
