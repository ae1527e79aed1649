"""The dossier of a conflict: who wins under the policy, why each other scout lost, and what to look at.

Who wins is read, never decided here: from the ledger, and where it names nobody from the view of the canonical scout
(sql/attribution/31_v_scout_attribution.sql). This module says the rules of domain.md 6.2 and 6.6 in sentences.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Q
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from attribution.admin import history, labels
from attribution.admin.claims import EVENT, Claim, days_text, evidence, of_person
from attribution.admin.claims import section as claim_section
from attribution.models import DecisionStatus, LedgerEntry, PossibleSamePerson
from ct4site.admin_base import NOTHING, Section, lima_time, link_to, pill, words
from identity.models import Person

SUSPICIONS = 3
MANUAL = "RESOLVED_MANUAL_CONFLICT"


@dataclass(frozen=True)
class Verdict:
    """The winner (None for nobody), one sentence about it, and a sentence for every other scout."""

    winner: int | None
    sentence: str
    lost: dict[int, str]


@dataclass(frozen=True)
class Dossier:
    """Everything about the claims on one person."""

    person: Person
    claims: list[Claim]
    entry: LedgerEntry | None
    names: labels.Names
    verdict: Verdict


def of(person: Person) -> Dossier:
    """Return the dossier of a person: a handful of look-ups, however many claims there are."""
    claims = of_person(person.pk)
    entry = LedgerEntry.objects.filter(pk=person.pk).first()
    names = labels.scouts_by_number({claim.scout_id for claim in claims})
    return Dossier(person, claims, entry, names, verdict(person.pk, claims, entry, names))


def verdict(person_key: uuid.UUID, claims: Sequence[Claim], entry: LedgerEntry | None, names: labels.Names) -> Verdict:
    """Return who gets the person and why the others do not.

    Takes all claims on the person and its ledger entry. The ledger's scout wins; a conflict of the ledger leaves the
    person to nobody, and so may a person; without any the canonical scout is named, and that settlement waits.
    """
    scouts = sorted({claim.scout_id for claim in claims})
    if entry is not None and entry.attributed_scout_id is not None:
        return _by_ledger(claims, entry, scouts, names)
    if entry is not None and entry.attribution_rule == MANUAL:
        nobody = _("A person decided that no scout gets this person.")
        return Verdict(None, nobody, dict.fromkeys(scouts, nobody))
    if entry is not None and entry.decision_status == DecisionStatus.CONFLICT:
        return _nobody(claims, scouts, names)
    return _canonical(person_key, claims, scouts, names)


def _by_ledger(claims: Sequence[Claim], entry: LedgerEntry, scouts: list[int], names: labels.Names) -> Verdict:
    winner = entry.attributed_scout_id
    assert winner is not None
    rule = entry.attribution_rule or ""
    named = labels.scout_text(winner, names)
    own = _newest([claim for claim in evidence(claims) if claim.scout_id == winner], _DECIDING.get(rule))
    values = {"scout": named, "date": labels.day(own.date) if own else NOTHING}
    if rule == MANUAL:
        sentence = _("A person gave this person to %(scout)s.") % values
    elif rule.startswith("BACKFILL"):
        sentence = _("When the ledger was filled in, %(scout)s was the only one the events named.") % values
    elif not any(claim.scout_id == winner for claim in evidence(claims)):
        sentence = _("The ledger names %(scout)s, whom no source names.") % values
    elif rule == "A_FLEET" and own:
        sentence = _("The newest migration, of %(date)s, names %(scout)s.") % values
    elif rule == "A" and own:
        sentence = _("The newest registration, of %(date)s, names %(scout)s.") % values
    else:
        sentence = _("The ledger names %(scout)s.") % values
    lost = {scout: _lost_to_ledger(scout, claims, rule, own, names, winner) for scout in scouts if scout != winner}
    return Verdict(winner, sentence, lost)


# What kind of record decides under a rule of the ledger.
_DECIDING = {"A_FLEET": "migration", "A": "registration"}


def _lost_to_ledger(
    scout: int, claims: Sequence[Claim], rule: str, own: Claim | None, names: labels.Names, winner: int
) -> str:
    theirs = [claim for claim in evidence(claims) if claim.scout_id == scout]
    values: dict[str, Any] = {"winner": labels.scout_text(winner, names)}
    if rule == MANUAL:
        return _("A person decided for %(winner)s.") % values
    if rule.startswith("BACKFILL"):
        return _("It was not among the events when the ledger was filled in, and no job overrules that.")
    kind = _DECIDING.get(rule)
    if kind is None or own is None:
        return _("The ledger names %(winner)s instead.") % values
    last = _newest(theirs, kind)
    if last is None or last.source_table != EVENT:
        return _not_considered(theirs, rule)
    return _older(last, own, values)


def _not_considered(theirs: Sequence[Claim], rule: str) -> str:
    kinds = {claim.kind for claim in theirs}
    is_event = any(claim.source_table == EVENT for claim in theirs)
    if kinds == {"payment"}:
        return _("Only a payment names it; leads decide, payments do not.")
    if not is_event and kinds & {"registration", "migration"}:
        return _("Only the record as it is today names it; its lead event, which decides, does not.")
    if rule == "A_FLEET" and "registration" in kinds:
        return _("It registered the person, but a migration comes before registrations.")
    if kinds <= {"cabinet", "payment"}:
        return _("Only a cabinet lead names it, and a cabinet lead gives no scout a person.")
    return _("None of its claims is of the kind that decides.")


def _older(last: Claim, own: Claim, values: dict[str, Any]) -> str:
    """Why one dated claim loses to another of the same kind."""
    if last.date and own.date and last.date < own.date:
        values = values | {
            "date": labels.day(last.date), "days": days_text((own.date - last.date).days), "newest": labels.day(own.date),
        }  # fmt: skip
        if own.kind == "migration":
            return _("Its migration of %(date)s is %(days)s older than that of %(winner)s.") % values
        if own.kind == "registration":
            return _("Its registration of %(date)s is %(days)s older than that of %(winner)s.") % values
        return _("Its claim of %(date)s is %(days)s older than that of %(winner)s.") % values
    if last.date == own.date:
        return _("A tie: both claims are of %(date)s, and of one day the highest record number counts.") % {
            "date": labels.day(last.date)
        }
    return _("It came after the decision; the next refresh decides anew.")


def _nobody(claims: Sequence[Claim], scouts: list[int], names: labels.Names) -> Verdict:
    """The ledger's rule C: two scouts registered the person within the window (domain.md 6.2, Q12)."""
    window = days_text(settings.CONFLICT_WINDOW_DAYS)
    registered = [claim for claim in claims if claim.source_table == EVENT and claim.kind == "registration"]
    rivals = sorted({claim.scout_id for claim in registered})
    dates = [claim.date for claim in registered if claim.date]
    apart = (max(dates) - min(dates)).days if dates else 0
    values = {
        "scouts": labels.enumeration(labels.scout_text(scout, names) for scout in rivals),
        "days": _("on the same day") if apart == 0 else _("within %(days)s") % {"days": days_text(apart)},
        "window": window,
    }
    sentence = _(
        "Nobody: %(scouts)s registered the person %(days)s. Within %(window)s none of them is credited until a person decides."
    )
    lost = {scout: _not_credited(scout, claims, registered, names) for scout in scouts}
    return Verdict(None, sentence % values, lost)


def _not_credited(scout: int, claims: Sequence[Claim], registered: list[Claim], names: labels.Names) -> str:
    own = [claim for claim in registered if claim.scout_id == scout]
    others = [claim for claim in registered if claim.scout_id != scout and claim.date]
    if not own:
        if any(claim.kind == "migration" for claim in claims if claim.scout_id == scout):
            return _("Its migration does not settle the conflict between the registrations.")
        return _("Its claims do not settle the conflict between the registrations.")
    first = min(own, key=_dated)
    rival = min(others, key=_dated, default=None)
    if rival is None or first.date is None or rival.date is None:
        return _("Another scout registered the person too.")
    days = (first.date - rival.date).days
    values = {"rival": labels.scout_text(rival.scout_id, names), "days": days_text(abs(days))}
    if days == 0:
        return _("It registered the person on the same day as %(rival)s.") % values
    if days > 0:
        return _("It registered the person %(days)s after %(rival)s.") % values
    return _("It registered the person first; %(rival)s did %(days)s later.") % values


def _canonical(person_key: uuid.UUID, claims: Sequence[Claim], scouts: list[int], names: labels.Names) -> Verdict:
    """The ledger names nobody: the canonical scout, of the best source and of that the newest claim (domain.md 6.6)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select source_table, source_pk from ops.v_scout_attribution where person_key = %s", [person_key]
        )
        chosen = cursor.fetchone()
    own = next((claim for claim in claims if (claim.source_table, claim.source_pk) == chosen), None)
    if own is None:
        return Verdict(None, _("Nobody: no source names a scout."), {})
    source = words(labels.SOURCES, own.source_table)
    values = {"scout": labels.scout_text(own.scout_id, names), "source": source, "date": labels.day(own.date)}
    sentence = _(
        "The ledger names nobody. Of the sources %(scout)s comes first (%(source)s, %(date)s), but nothing is settled"
        " until the ledger or a person decides."
    )
    lost = {scout: _lost_to_source(scout, claims, own, names) for scout in scouts if scout != own.scout_id}
    return Verdict(own.scout_id, sentence % values, lost)


def _lost_to_source(scout: int, claims: Sequence[Claim], own: Claim, names: labels.Names) -> str:
    theirs = [claim for claim in claims if claim.scout_id == scout]
    best = min(claim.priority for claim in theirs)
    values: dict[str, Any] = {"winner": labels.scout_text(own.scout_id, names)}
    if best > own.priority:
        source = next(claim.source_table for claim in theirs if claim.priority == best)
        values |= {
            "source": words(labels.SOURCES, source),
            "better": words(labels.SOURCES, own.source_table),
        }
        return _("Its best source (%(source)s) comes after that of %(winner)s (%(better)s).") % values
    last = max((claim for claim in theirs if claim.priority == best), key=_dated)
    if last.date == own.date:
        return _(
            "A tie: both claims are of %(date)s, and of one day the one recorded last counts, then the highest record number."
        ) % {"date": labels.day(last.date)}
    return _older(last, own, values)


def _newest(claims: Sequence[Claim], kind: str | None) -> Claim | None:
    of_kind = [claim for claim in claims if claim.kind == kind]
    of_events = [claim for claim in of_kind if claim.source_table == EVENT] or of_kind
    return max(of_events, key=_dated, default=None)


def _dated(claim: Claim) -> datetime.date:
    return claim.date or datetime.date.min


# --- sections of the page -----------------------------------------------------------------------------


def verdict_section(dossier: Dossier) -> Section:
    """Return the section with one row per scout: its claims, and why it wins or does not; the winner comes first."""
    found, claims, names = dossier.verdict, dossier.claims, dossier.names
    scouts = sorted({claim.scout_id for claim in claims}, key=lambda scout: (scout != found.winner, scout))
    rows = []
    for scout in scouts:
        own = [claim for claim in evidence(claims) if claim.scout_id == scout]
        dates = [claim.date for claim in own if claim.date]
        is_winner = scout == found.winner
        rows.append(
            (
                labels.scout(scout, names),
                pill("wins", _("Wins"), "good") if is_winner else pill("lost", _("Not credited"), "plain"),
                found.sentence if is_winner else found.lost.get(scout, NOTHING),
                len(own),
                lima_time(min(dates, default=None)),
                lima_time(max(dates, default=None)),
                labels.enumeration(sorted({words(labels.SOURCES, claim.source_table) for claim in own})) or NOTHING,
            )
        )  # fmt: skip
    return Section(
        title=_("Who wins, and why the others do not"),
        columns=[
            _("Scout"), _("Verdict"), _("Why"), _("Claims"), _("First claim"), _("Last claim"), _("Sources"),
        ],
        rows=rows,
        is_list=False,
    )  # fmt: skip


def reasons_section(dossier: Dossier) -> Section:
    """Return the section with what may have led to the conflict and deserves a look; it decides nothing."""
    rows = _reasons(dossier.person, dossier.claims, dossier.entry, dossier.names)
    return Section(title=_("Worth a look"), columns=[_("Sign"), _("What it may mean")], rows=rows, is_list=False)


def _reasons(
    person: Person, claims: Sequence[Claim], entry: LedgerEntry | None, names: labels.Names
) -> list[tuple[str, SafeString | str]]:
    proof = evidence(claims)
    found: list[tuple[str, SafeString | str]] = []
    registered = [claim for claim in proof if claim.kind == "registration"]
    dates = [claim.date for claim in registered if claim.date]
    if len({claim.scout_id for claim in registered}) > 1 and dates:
        apart = (max(dates) - min(dates)).days
        values = {"days": days_text(apart), "window": days_text(settings.CONFLICT_WINDOW_DAYS)}
        if apart > settings.CONFLICT_WINDOW_DAYS:
            found.append(
                (
                    _("The registrations lie %(days)s apart, more than %(window)s.") % values,
                    _("The person may have been recruited again after leaving."),
                )
            )
        else:
            found.append(
                (
                    _("The registrations lie %(days)s apart, at most %(window)s.") % values,
                    _("Two scouts may have worked on the same person, or one may have written down another's."),
                )
            )
    migrated = {claim.scout_id for claim in proof if claim.kind == "migration"}
    if migrated and registered and migrated != {claim.scout_id for claim in registered}:
        found.append(
            (
                _("A migration and a registration name different scouts."),
                _("The driver may have come with the fleet and been registered again."),
            )
        )
    ledger_scout = entry.attributed_scout_id if entry else None
    if ledger_scout is not None and all(claim.scout_id != ledger_scout for claim in proof):
        found.append(
            (
                _("The ledger names %(scout)s, whom no source names.") % {"scout": labels.scout_text(ledger_scout, names)},
                _("The evidence may have changed after the decision; its history is on the ledger's page."),
            )
        )  # fmt: skip
    if _records_changed(claims):
        found.append(
            (
                _("A record names another scout than its lead event."),
                _("The record was changed in its feed after it was read."),
            )
        )
    if len({(claim.date, claim.kind) for claim in proof}) < len(
        {(claim.date, claim.kind, claim.scout_id) for claim in proof}
    ):
        found.append(
            (
                _("Claims of different scouts are of the same day."),
                _("The order within a day is only that of the record numbers."),
            )
        )  # fmt: skip
    unknown = sorted({claim.scout_id for claim in claims if claim.scout_id not in names})
    if unknown:
        found.append(
            (
                _("Not in the list of scouts: %(scouts)s.") % {"scouts": labels.enumeration(map(str, unknown))},
                _("The number may be a typing mistake for another scout's."),
            )
        )
    retired = sorted(
        scout for scout in {claim.scout_id for claim in claims} if scout in names and not names[scout].is_active
    )
    if retired:
        found.append(
            (
                _("Not active any more: %(scouts)s.")
                % {"scouts": labels.enumeration(labels.scout_text(scout, names) for scout in retired)},
                _("Whoever left may still be owed for earlier recruits."),
            )
        )
    for pair in _suspicions(person):
        other = pair.person_b if pair.person_a_id == person.pk else pair.person_a
        found.append(
            (
                _("The person may be known twice."),
                format_html("{} {}", _("Another person has nearly the same name and keys:"), link_to(pair, other)),
            )
        )
    return found


def _records_changed(claims: Sequence[Claim]) -> bool:
    """Whether some record names another scout than the event that was made of it."""
    scouts: dict[Any, set[int]] = {}
    for claim in evidence(claims):
        if claim.record is not None:
            scouts.setdefault(claim.record, set()).add(claim.scout_id)
    return any(len(named) > 1 for named in scouts.values())


def _suspicions(person: Person) -> list[PossibleSamePerson]:
    """The first few open suspicions that the person is also another one (Q79)."""
    pairs = PossibleSamePerson.objects.filter(Q(person_a=person) | Q(person_b=person), status="open")
    return list(pairs.select_related("person_a", "person_b").order_by("-id")[:SUSPICIONS])


def sections(read: Dossier) -> Iterable[Section]:
    """Yield what a person looks at before deciding: the verdict, all claims, what is odd, the ledger and its history."""
    yield verdict_section(read)
    yield claim_section(read.claims, read.person.pk, read.names, _("Timeline of all claims"))
    yield reasons_section(read)
    yield _ledger_section(read.entry)
    yield history.section(read.person.pk, _("What the ledger said, and why"))


def _ledger_section(entry: LedgerEntry | None) -> Section:
    rows: list[tuple[Any, ...]] = []
    if entry is not None:
        names = labels.scouts_by_number(history.scouts_in(entry))
        rows = [
            (_("Decision"), link_to(entry, labels.decision(entry.decision_status, entry.attributed_scout_id))),
            (_("Scout"), labels.scout(entry.attributed_scout_id, names)),
            (_("Source"), labels.source(entry.attributed_source)),
            (_("Rule"), labels.rule(entry.attribution_rule)),
            (_("Confidence"), format_html("{} {}", entry.attribution_score, labels.confidence(entry.confidence_level))),
            (_("Changed"), lima_time(entry.updated_at)),
            (_("Why"), history.explanation(entry, names)),
        ]  # fmt: skip
    return Section(title=_("The ledger's decision"), columns=["", _("Now")], rows=rows, is_list=False)
