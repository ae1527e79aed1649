"""An independent reading of scout attribution (domain.md 6, decisions Q11 to Q23): slow, in memory, without SQL.

It knows rows as a reader of the runbooks does: events, links, registrations, migrations, payments, ledger rows. It says
what the ledger decides, which claims there are, who wins, who is in conflict, who is in which category of the backlog,
and what the ledger backfill does.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

CABINET, SCOUTING, MIGRATIONS = "module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations"
PAYMENTS = "module_ct_cabinet_payments"
MANUAL, BACKFILL = "RESOLVED_MANUAL_CONFLICT", "BACKFILL_SINGLE_SCOUT_FROM_EVENTS"
WINDOW = 7
LARGEST_SCOUT = 2**31 - 1
LIMA = ZoneInfo("America/Lima")

Key = tuple[str, str]
Category = Literal["A", "B", "C", "D", "E"]
CATEGORIES = {
    "A": ("A: Tiene lead_events pero sin scout_id", "EVENTOS_SIN_SCOUT"),
    "B": ("B: Tiene lead_ledger sin scout (attribution_rule indica unassigned/bucket)", "LEDGER_SIN_SCOUT"),
    "C": ("C: Sin events ni ledger (legacy/externo)", "LEGACY"),
    "D": ("D: Scout en events pero no en ledger", "SCOUT_EN_EVENTOS_NO_PROPAGADO"),
    "E": ("E: Otros (verificar manualmente)", "OTROS"),
}  # fmt: skip


# --- rows ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """A lead event; ``payload`` is the whole JSON value, whatever it is."""

    id: int
    key: Key
    date: dt.date
    person: UUID | None
    scout: int | None
    payload: Any
    created: dt.datetime

    @property
    def names(self) -> int | None:
        """The scout the event names: its column, else its payload where that is a number (6.1)."""
        if self.scout is not None:
            return self.scout
        return read_scout(self.payload.get("scout_id")) if isinstance(self.payload, dict) else None


@dataclass(frozen=True)
class Row:
    """A registration, migration or payment. ``date`` is the one attribution looks at first (6.5)."""

    key: Key
    scout: int | None
    date: dt.date | None
    created: dt.datetime | None
    person: UUID | None = None  # payments only: the others have their link


Evidence = frozenset[tuple[Key, dt.date, int | None]]


@dataclass(frozen=True)
class Ledger:
    """A ledger row. ``grounds``: what its evidence_json says, where the job wrote it. ``decided_on``: the scouts a person
    chose among. ``seen``: the events the job last saw."""

    rule: str | None
    source: str | None
    scout: int | None
    status: str
    score: float
    confidence: str
    updated: dt.datetime | None = None
    decided_on: tuple[int, ...] = ()
    seen: Evidence | None = None
    grounds: dict[str, Any] | None = None

    @property
    def says(self) -> tuple[Any, ...]:
        return self.rule, self.source, self.scout, self.status, self.score, self.confidence


@dataclass
class World:
    persons: list[UUID] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    links: dict[Key, UUID] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    ledger: dict[UUID, Ledger] = field(default_factory=dict)

    def events_of(self, person: UUID) -> list[Event]:
        return [event for event in self.events if event.person == person]


def read_scout(told: Any) -> int | None:
    """A scout written into a payload: plain digits, blanks around them forgiven, no larger than the column holds."""
    if isinstance(told, bool) or told is None:
        return None
    if isinstance(told, int | str) and re.fullmatch(r"[0-9]+", str(told).strip(" ")):
        number = int(told)
        return number if number <= LARGEST_SCOUT else None
    return None


# --- the ledger's decision (6.2, Q11 to Q13) ------------------------------------------------------------


def decide(world: World, person: UUID, *, conflict_beats_fleet: bool = True) -> Ledger | None:
    """What the ledger says of a person after the job; None where it has no row."""
    before, events = world.ledger.get(person), world.events_of(person)
    evidence = frozenset((event.key, event.date, event.names) for event in events)
    if before is None and not events:
        return None
    if before is not None:
        if before.rule == MANUAL or (before.rule or "").startswith("BACKFILL_") or before.seen == evidence:
            return before
        if before.seen is None and not events:
            return before  # from before the job, and nothing here to decide it on
        if before.seen is None and before.status == "assigned" and before.scout is not None:
            return replace(before, seen=evidence)  # from before the job: stays until its evidence changes (Q12)
    after = replace(ruling(events, conflict_beats_fleet), seen=evidence)
    if before is not None and (before.says, before.grounds) == (after.says, after.grounds):
        return replace(before, seen=evidence)  # looked at, not changed
    return after


def ruling(events: list[Event], conflict_beats_fleet: bool) -> Ledger:
    """The first rule that applies: C, A_FLEET, A, B, U; with what evidence_json has to say of it."""
    kinds = {
        kind: [event for event in events if event.key[0] == table]
        for kind, table in (("fleet_migration", MIGRATIONS), ("scouting", SCOUTING), ("cabinet", CABINET))
    }
    counts = {"counts": {kind: len(found) for kind, found in kinds.items()}}
    if is_disputed(kinds["scouting"]) and (conflict_beats_fleet or not kinds["fleet_migration"]):
        grounds = {
            "scouts_in_conflict": in_conflict([*kinds["scouting"], *kinds["fleet_migration"]]),
            "conflict_window_days": WINDOW, "chosen_policy": "no_assignment_due_to_conflict",
        }  # fmt: skip
        return Ledger("C", "scouting", None, "conflict", 0.5, "low", grounds=counts | grounds)
    kind = next((kind for kind, found in kinds.items() if found), None)
    if kind is None:
        return Ledger("U", "cabinet", None, "unassigned", 0.0, "low", grounds=counts | {"chosen_policy": "no_events"})
    chosen = newest(kinds[kind])
    grounds = counts | {
        "origin_tag_chosen": kind, "event_id": chosen.id, "event_date": chosen.date.isoformat(),
        "chosen_policy": "origin_priority",
    }  # fmt: skip
    if kind == "cabinet":
        return Ledger("B", kind, None, "assigned", 0.8, "medium", grounds=grounds)
    rule = "A_FLEET" if kind == "fleet_migration" else "A"
    return Ledger(rule, kind, chosen.names, "assigned", 0.95, "high", grounds=grounds)


def in_conflict(events: list[Event]) -> list[dict[str, Any]]:
    """Each scout with the days and the number of the events that name him; a migration's is one of them (Q12)."""
    found = []
    for scout in sorted({event.names for event in events if event.names is not None}):
        dates = [event.date for event in events if event.names == scout]
        found.append(
            {
                "scout_id": scout, "first_date": min(dates).isoformat(), "last_date": max(dates).isoformat(),
                "count_events": len(dates),
            }
        )  # fmt: skip
    return found


def is_disputed(events: Iterable[Event]) -> bool:
    """Two scouts, and no more than seven days between the first and the last word of any (rule C)."""
    naming = [event for event in events if event.names is not None]
    if len({event.names for event in naming}) < 2:
        return False
    dates = [event.date for event in naming]
    return (max(dates) - min(dates)).days <= WINDOW


def newest(events: Iterable[Event]) -> Event:
    """The most recent event, one that names a scout before one that does not; of one day the highest key."""
    return max(events, key=lambda event: (event.names is not None, event.date, *key_order(event.key[1])))


def key_order(source_pk: str) -> tuple[int, str]:
    """Numbers by size, though they are text."""
    return len(source_pk), source_pk


# --- claims, the winner, conflicts (6.5 to 6.7) -----------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """One row of the raw view."""

    person: UUID | None
    scout: int
    source: str
    key: Key
    date: dt.date | None
    created: dt.datetime | None
    priority: int
    origin_tag: str | None


def claims(world: World) -> Iterator[Claim]:
    """All claims of all sources, nothing hidden (6.5, Q17)."""
    for person, entry in world.ledger.items():
        if entry.scout is not None:
            yield Claim(
                person, entry.scout, "observational.lead_ledger", ("lead_ledger", str(person)),
                entry.updated.astimezone(LIMA).date() if entry.updated else None, entry.updated, 1, None,
            )  # fmt: skip
    for event in world.events:
        if event.person is not None and event.names is not None:
            yield Claim(
                event.person, event.names, "observational.lead_events", (event.key[0], str(event.id)), event.date,
                event.created, 2, None,
            )  # fmt: skip
    for row in world.rows:
        if row.scout is None:
            continue
        priority, tag = {
            MIGRATIONS: (3, "migration"),
            SCOUTING: (4, "scout_registration"),
            PAYMENTS: (5, "cabinet_payment"),
        }[row.key[0]]
        person = row.person if row.person in world.persons else world.links.get(row.key)
        date = row.date or (row.created.astimezone(LIMA).date() if row.created else None)
        yield Claim(person, row.scout, f"public.{row.key[0]}", row.key, date, row.created, priority, tag)


def winner(entry: Ledger | None, found: Iterable[Claim]) -> Claim | None:
    """Priority, then the newest date, then the newest row, then the highest key (6.6, Q18); unknown is oldest.

    Nobody where a person decided for nobody.
    """
    if entry is not None and entry.rule == MANUAL and entry.scout is None:
        return None
    oldest = dt.date.min, dt.datetime.min.replace(tzinfo=dt.UTC)
    return max(
        found,
        key=lambda claim: (
            -claim.priority, claim.date or oldest[0], claim.created or oldest[1], key_order(claim.key[1]),
        ),
        default=None,
    )  # fmt: skip


@dataclass(frozen=True)
class Conflict:
    scouts: tuple[int, ...]
    kind: Literal["OPEN", "HISTORICAL"]
    sources: frozenset[str]
    records: int
    first: dt.date | None
    last: dt.date | None


def conflict(entry: Ledger | None, found: list[Claim]) -> Conflict | None:
    """More than one scout among all claims on one person (6.7, Q13, Q17); what a person decided on is none (6.7)."""
    scouts = tuple(sorted({claim.scout for claim in found}))
    if len(scouts) < 2:
        return None
    if entry is not None and entry.rule == MANUAL and entry.decided_on and set(scouts) <= set(entry.decided_on):
        return None
    dates = [claim.date for claim in found if claim.date]
    # The day the ledger was written says nothing of when somebody was recruited.
    said = [claim.date for claim in found if claim.date and claim.priority > 1]
    decided = entry is not None and entry.status == "assigned" and entry.scout is not None and entry.rule != MANUAL
    apart = bool(said) and (max(said) - min(said)).days > WINDOW
    return Conflict(
        scouts, "HISTORICAL" if decided and apart else "OPEN", frozenset(claim.source for claim in found), len(found),
        min(dates, default=None), max(dates, default=None),
    )  # fmt: skip


# --- the backlog and its repair (6.8, 6.11) -------------------------------------------------------------------


def category(entry: Ledger | None, events: list[Event]) -> Category | None:
    """A to E of a person whose ledger has no scout; None of one whose ledger has (6.8, Q14, Q22)."""
    if entry is not None and entry.scout is not None:
        return None
    if events:
        return "D" if any(event.names is not None for event in events) else "A"
    if entry is None:
        return "C"
    return "B" if entry.rule is not None else "E"


def backfill(world: World, person: UUID) -> Ledger | None:
    """What the ledger says of a person after the ledger backfill (6.11 (2), Q15, Q16)."""
    before, events = world.ledger.get(person), world.events_of(person)
    scouts = {event.names for event in events} - {None}
    if len(scouts) != 1 or category(before, events) != "D":
        return before
    if before is not None and (before.rule == MANUAL or before.status == "conflict"):
        return before
    (scout,) = scouts
    return Ledger(BACKFILL, source_of(events), scout, "assigned", 0.95, "high")


def source_of(events: Iterable[Event]) -> str:
    """The source of the events that name the scout, by the order of 6.2: migration, scouting, cabinet (Q15)."""
    tables = {event.key[0] for event in events if event.names is not None}
    return "fleet_migration" if MIGRATIONS in tables else "scouting" if SCOUTING in tables else "cabinet"


def after(world: World, step: Any) -> World:
    """The world with the ledger that a step makes of every person."""
    ledger = {person: entry for person in world.persons if (entry := step(world, person)) is not None}
    return replace(world, ledger=ledger)
