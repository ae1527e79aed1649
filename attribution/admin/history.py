"""What the ledger said of a person, when and why: its decision in sentences, and its entries in the audit log."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils.dateparse import parse_date
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from attribution.admin import labels
from attribution.admin.claims import days_text
from attribution.models import LedgerEntry
from ct4site.admin import action_label
from ct4site.admin_base import LARGEST_ID, NOTHING, Section, lima_time, link_to
from ct4site.models import AuditEntry
from identity.models import LeadEvent

SHOWN = 100


def entries_of(person_key: uuid.UUID) -> QuerySet[AuditEntry]:
    """Return the audit entries of a person's ledger row, the newest first."""
    # Plain equality on the person serves the index; the table's name narrows the few rows of one person.
    found = AuditEntry.objects.filter(person_key=person_key, subject_table=LedgerEntry._meta.db_table)
    return found.select_related("run").order_by("-id")


def section(person_key: uuid.UUID, title: str) -> Section:
    """Return the section that shows what the ledger said and why, the newest first."""
    entries = list(entries_of(person_key)[: SHOWN + 1])
    states = [state for entry in entries for state in (_dict(entry.before), _dict(entry.after))]
    names = labels.scouts_by_number(state.get("attributed_scout_id") for state in states)
    rows = [
        (
            lima_time(entry.at),
            entry.actor,
            said(_dict(entry.after), names) if entry.after else _("No entry"),
            entry.reason or _because(_dict(entry.after)) or NOTHING,
            said(_dict(entry.before), names) if entry.before else _("No entry"),
            link_to(entry, action_label(entry.action)),
            link_to(entry.run, f"#{entry.run_id}"),
        )
        for entry in entries[:SHOWN]
    ]
    columns = [_("When"), _("Who"), _("Since then"), _("Why"), _("Before"), _("Action"), _("Run")]
    return Section(title=title, columns=columns, rows=rows, has_more=len(entries) > SHOWN)


def said(state: Mapping[str, Any], names: labels.Names) -> SafeString | str:
    """Return a stored state of a ledger row as its decision and its scout; whatever shape it has."""
    scout = state.get("attributed_scout_id")
    status = state.get("decision_status")
    if not isinstance(status, str):
        return NOTHING
    shown = labels.decision(status, scout)
    if not isinstance(scout, int):
        return shown
    return format_html("{} {}", shown, labels.scout(scout, names))


def _because(state: Mapping[str, Any]) -> SafeString | str:
    code = state.get("attribution_rule")
    return labels.rule(code) if isinstance(code, str) else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# --- the decision of one entry in sentences ---------------------------------------------------------


def explanation(entry: LedgerEntry, names: labels.Names) -> SafeString:
    """Return why the ledger says what it says: sentences for the rule and its evidence (domain.md 6.2)."""
    return format_html_join("", "<div>{}</div>", ((sentence,) for sentence in _sentences(entry, names)))


def scouts_in(entry: LedgerEntry) -> list[Any]:
    """Return the scouts that an entry and its evidence name."""
    stored = _dict(entry.evidence_json)
    named = [rival.get("scout_id") for rival in _list(stored.get("scouts_in_conflict")) if isinstance(rival, dict)]
    decided = [scout for scout in _list(stored.get("conflict_scout_ids")) if isinstance(scout, int)]
    return [entry.attributed_scout_id, *named, *decided]


def _sentences(entry: LedgerEntry, names: labels.Names) -> list[SafeString | str]:
    stored = _dict(entry.evidence_json)
    rule, scout = entry.attribution_rule or "", entry.attributed_scout_id
    values = {"scout": labels.scout_text(scout, names) if scout is not None else ""}
    found: list[SafeString | str] = []
    if rule == "A_FLEET":
        found.append(
            _("The newest migration names %(scout)s; a migration comes before registrations and cabinet leads.") % values
            if scout is not None
            else _("The person came with a migration, but none names a scout.")
        )  # fmt: skip
    elif rule == "A":
        found.append(
            _("The newest registration names %(scout)s.") % values
            if scout is not None
            else _("The person was registered in the field, but no registration names a scout.")
        )
    elif rule == "B":
        found.append(_("The person has only cabinet leads, and a cabinet lead gives no scout a person."))
    elif rule == "U":
        found.append(_("No lead event speaks of the person any more."))
    elif rule == "C":
        window = stored.get("conflict_window_days")
        days = days_text(window if isinstance(window, int) else settings.CONFLICT_WINDOW_DAYS)
        found.append(
            _("Several scouts registered the person within %(days)s, so none is credited until a person decides.")
            % {"days": days}
        )
        found += _rivals(stored, names)
    elif rule == "RESOLVED_MANUAL_CONFLICT":
        decided = [number for number in _list(stored.get("conflict_scout_ids")) if number != scout]
        found.append(
            _("A person decided the conflict for %(scout)s; no job overrules that.") % values
            if scout is not None
            else _("A person decided that no scout gets the person; no job overrules that.")
        )
        if decided:
            others = labels.enumeration(labels.scout_text(number, names) for number in decided)
            found.append(_("Against %(scouts)s.") % {"scouts": others})
    elif rule.startswith("BACKFILL"):
        found.append(
            _("The events named only %(scout)s when the ledger was filled in; no job overrules that.") % values
        )
        if stored.get("previous_rule"):
            found.append(format_html("{} {}", _("Rule before:"), labels.rule(stored["previous_rule"])))
    event = _event(stored)
    if event:
        found.append(event)
    counts = _dict(stored.get("counts"))
    if counts:
        found.append(
            _("Considered: migrations %(fleet_migration)s, registrations %(scouting)s, cabinet leads %(cabinet)s.")
            % {name: counts.get(name, 0) for name in ("fleet_migration", "scouting", "cabinet")}
        )
    return found or [NOTHING]


def _rivals(stored: Mapping[str, Any], names: labels.Names) -> list[str]:
    sentences = []
    for rival in _list(stored.get("scouts_in_conflict")):
        if isinstance(rival, dict):
            first, last = (_day(rival.get(name)) for name in ("first_date", "last_date"))
            values = {
                "scout": labels.scout_text(rival.get("scout_id"), names), "first": first, "last": last,
                "number": rival.get("count_events", 0),
            }  # fmt: skip
            sentences.append(
                _("%(scout)s: %(first)s (events: %(number)s)") % values
                if first == last
                else _("%(scout)s: %(first)s to %(last)s (events: %(number)s)") % values
            )
    return sentences


def _event(stored: Mapping[str, Any]) -> SafeString | str:
    number = stored.get("event_id")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= LARGEST_ID:
        return ""
    event = link_to(LeadEvent(pk=number), _("event %(number)s") % {"number": f"#{number}"})
    return format_html("{} {} · {}", _("Decided by"), event, _day(stored.get("event_date")))


def _day(value: Any) -> str:
    try:
        return labels.day(parse_date(value)) if isinstance(value, str) else NOTHING
    except ValueError:
        return NOTHING


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
