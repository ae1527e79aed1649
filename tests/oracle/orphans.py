"""An independent answer to "what becomes of every driver without a lead": plain Python, one driver and record at a time.

Written from domain.md 9.1 to 9.5 and decisions Q49 to Q53 and Q76; shares nothing with the SQL of the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from tests.oracle import normalise
from tests.oracle.normalise import Key

CABINET, SCOUTING, MIGRATIONS = "module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations"
FIX, REPROCESS = "fix", "reprocess"
KINDS = ("licence", "phone")
STRATEGIES = {("licence", "phone"): "both_exact", ("licence",): "license_exact", ("phone",): "phone_exact"}

Record = tuple[str, str]
Owner = UUID | str


@dataclass(frozen=True)
class Human:
    """What a row says about somebody, raw: an account, a person, a lead."""

    name: str | None = None
    phone: str | None = None
    licence: str | None = None
    hired: date | None = None


@dataclass(frozen=True)
class Row:
    """A lead row of a source table; without a date it is no lead yet."""

    says: Human
    on: date | None
    driver_id: str | None = None


@dataclass(frozen=True)
class Event:
    says: Human
    on: date
    driver_id: str | None = None
    person: UUID | None = None


@dataclass(frozen=True)
class DriverLink:
    person: UUID
    on: date
    rule: str
    because_of: Record | None = None


@dataclass
class World:
    """All the job may look at."""

    index: dict[str, Human] = field(default_factory=dict)
    feed: dict[str, Human] = field(default_factory=dict)
    persons: dict[UUID, Human] = field(default_factory=dict)
    driver_links: dict[str, DriverLink] = field(default_factory=dict)
    lead_links: dict[Record, UUID] = field(default_factory=dict)
    rows: dict[Record, Row] = field(default_factory=dict)
    events: dict[Record, Event] = field(default_factory=dict)
    set_aside: set[Record] = field(default_factory=set)
    quarantine: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    shared_limit: int = 3
    source_limit: int = 6
    contradiction_blocks: bool = True
    lead_system_start: date = date(2024, 1, 1)


@dataclass(frozen=True)
class Piece:
    """One lead record that points to a driver, and why it does or does not suffice."""

    level: int
    strategy: str
    outcome: str
    other_person: UUID | None = None


@dataclass(frozen=True)
class Case:
    """What a run decides for one driver."""

    status: str
    reason: str
    action: str
    pieces: dict[Record, Piece]


@dataclass(frozen=True)
class Answer:
    cases: dict[str, Case]
    links: dict[Record, UUID]
    released: frozenset[str]


@dataclass(frozen=True)
class _Evidence:
    """A lead record as the rules see it."""

    on: date
    keys: dict[str, Key]
    name: str | None
    driver_id: str | None
    person: UUID | None


class _Run:
    def __init__(self, world: World, mode: str, settings: Settings) -> None:
        self.world, self.mode, self.settings = world, mode, settings
        with_lead = set(world.lead_links.values())
        self.orphans = {driver: link for driver, link in world.driver_links.items() if link.person not in with_lead}
        self.evidence = dict(self._records())
        self.carriers: dict[tuple[str, str], set[str]] = {}
        for driver in {*world.index, *self.orphans}:
            for kind in KINDS:
                if key := self.key_of_driver(driver, kind):
                    self.carriers.setdefault((kind, key.value), set()).add(driver)
        self.names: dict[tuple[str, str], set[frozenset[str]]] = {}
        for record in self.evidence.values():
            for kind, key in record.keys.items():
                if words := normalise.tokens(record.name):
                    self.names.setdefault((kind, key.value), set()).add(words)

    # --- what is known

    def _records(self) -> Iterator[tuple[Record, _Evidence]]:
        for record in {*self.world.rows, *self.world.events}:
            event, row = self.world.events.get(record), self.world.rows.get(record)
            told: Event | Row | None = event or row
            if told is None or told.on is None:
                continue
            keys = {kind: key for kind in KINDS if (key := _key(told.says, kind))}
            if event is None and record[0] == MIGRATIONS:
                keys = {}  # a migration names its driver, no other key is read (Q9)
            yield (
                record,
                _Evidence(
                    told.on, keys, normalise.name(told.says.name), told.driver_id, event.person if event else None
                ),
            )

    def _sources(self, driver: str) -> list[Human]:
        """Where keys and name of a driver are looked up, best first."""
        # What the feed says of an account that the index knows is in the index, or comes with its next refresh.
        places = [self.world.index.get(driver) or self.world.feed.get(driver)]
        if driver in self.orphans:
            places.append(self.world.persons[self.orphans[driver].person])
        return [place for place in places if place]

    def key_of_driver(self, driver: str, kind: str) -> Key | None:
        return next((key for place in self._sources(driver) if (key := _key(place, kind))), None)

    def name_of_driver(self, driver: str) -> str | None:
        return next((name for place in self._sources(driver) if (name := normalise.name(place.name))), None)

    def owner(self, driver: str) -> Owner:
        link = self.world.driver_links.get(driver)
        return link.person if link else driver

    def is_junk(self, kind: str, key: Key) -> bool:
        limit = self.settings.shared_limit
        carried = (kind, key.value)
        return len(self.carriers.get(carried, ())) > limit or len(self.names.get(carried, ())) > limit

    def owners(self, kind: str, key: Key) -> set[Owner]:
        return {self.owner(driver) for driver in self.carriers.get((kind, key.value), ())}

    # --- one driver and one record

    def piece(self, driver: str, record: Record) -> Piece | None:
        seen, person = self.evidence[record], self.orphans[driver].person
        matched = {}
        for kind in KINDS:
            key, own = seen.keys.get(kind), self.key_of_driver(driver, kind)
            if key and own and key.value == own.value and not self.is_junk(kind, key):
                matched[kind] = Key(key.value, key.weak or own.weak)
        if seen.driver_id == driver:
            level, strategy = 1, "driver_id_direct"
        elif matched:
            level, strategy = 2, STRATEGIES[tuple(matched)]
        elif seen.person == person:
            level, strategy = 3, "person_key_match"
        else:
            return None
        # An event speaks of the person of its record (domain.md 3.8), linked or not; only an empty one is filled (9.3).
        theirs = self.world.lead_links.get(record) or seen.person
        if theirs not in (None, person):
            return Piece(level, strategy, "linked_to_other_person", theirs)
        return Piece(level, strategy, self._outcome(driver, record, level, matched))

    def _outcome(self, driver: str, record: Record, level: int, matched: dict[str, Key]) -> str:
        seen, person = self.evidence[record], self.orphans[driver].person
        if record not in self.world.rows:
            return "source_row_missing"
        if record in self.world.set_aside:
            return "set_aside"
        if level == 1:
            return "used"
        if seen.driver_id and self.owner(seen.driver_id) != person:
            return "names_another_driver"
        if level == 3:  # independent only where the driver was linked because of this record
            independent = self.mode == FIX and self.orphans[driver].because_of == record
            return "used" if independent else "person_only"
        words = normalise.tokens(seen.name), normalise.tokens(self.name_of_driver(driver))
        if self.settings.contradiction_blocks and contradict(*words):
            return "name_contradicts"
        own = {kind: key for kind, key in matched.items() if self.owners(kind, key) == {person}}
        if not own:
            return "ambiguous_key"
        needs_name = record[0] == CABINET or all(key.weak for key in own.values())
        if needs_name and not normalise.share_a_token(*words):
            return "name_contradicts"
        if any(self._leads_elsewhere(seen, kind, key, person) for kind, key in seen.keys.items()):
            return "names_another_driver"
        return "used"

    def _leads_elsewhere(self, seen: _Evidence, kind: str, key: Key, person: UUID) -> bool:
        if self.is_junk(kind, key):
            return False
        owners = self.owners(kind, key)
        if len(owners) != 1 or person in owners:
            return False
        words = normalise.tokens(seen.name)
        names = [
            self.world.index[driver].name if driver in self.world.index else None
            for driver in self.carriers[kind, key.value]
        ]
        return any(not contradict(words, normalise.tokens(normalise.name(name))) for name in names)

    # --- all of them

    def in_scope(self, driver: str) -> bool:
        status, reason = self.world.quarantine.get(driver, (None, None))
        if self.mode == FIX:
            return status not in ("quarantined", "purged")
        return status == "quarantined" and reason != "manual_detection"

    def decide(self) -> Answer:
        pieces: dict[str, dict[Record, Piece]] = {}
        for driver in filter(self.in_scope, self.orphans):
            found = {record: self.piece(driver, record) for record in self.evidence}
            pieces[driver] = {record: piece for record, piece in found.items() if piece}
        links: dict[Record, UUID] = {}
        for person in {self.orphans[driver].person for driver in pieces}:
            accounts = [driver for driver in pieces if self.orphans[driver].person == person]
            for record in self._best(person, (pieces[driver] for driver in accounts)):
                links[record] = person
        for found in pieces.values():
            for record, piece in found.items():
                if piece.outcome == "used" and record not in links:
                    found[record] = Piece(piece.level, piece.strategy, "person_is_full")
        repaired = set(links.values())
        cases = {driver: self._case(driver, found, repaired) for driver, found in pieces.items()}
        return Answer(cases, links, frozenset())

    def _best(self, person: UUID, accounts: Iterable[dict[Record, Piece]]) -> list[Record]:
        levels: dict[Record, int] = {}
        for found in accounts:
            for record, piece in found.items():
                if piece.outcome == "used":
                    levels[record] = min(piece.level, levels.get(record, 9))
        room = self.settings.source_limit - sum(link.person == person for link in self.world.driver_links.values())
        order = sorted(levels, key=lambda record: (levels[record], -self.evidence[record].on.toordinal(), record))
        return order[: max(room, 0)]

    def _case(self, driver: str, pieces: dict[Record, Piece], repaired: set[UUID]) -> Case:
        if self.orphans[driver].person in repaired:
            # A driver seen before keeps why it was detected; the contract has no word for the others (Q50).
            _status, reason = self.world.quarantine.get(driver, ("", "no_lead_no_events"))
            return Case("resolved_relinked", reason, "resolved_relinked", pieces)
        if pieces:
            weak_only = all(piece.level == 3 for piece in pieces.values())
            action = "skipped_ambiguous" if weak_only else "quarantined_repair_failed"
            return Case("quarantined", "no_lead_has_events_repair_failed", action, pieces)
        account = self.world.index.get(driver) or self.world.feed.get(driver)
        seen = [self.orphans[driver].on] + ([account.hired] if account and account.hired else [])
        if min(seen) < self.settings.lead_system_start:
            return Case("quarantined", "legacy_driver_without_origin", "quarantined_legacy", pieces)
        return Case("quarantined", "no_lead_no_events", "quarantined", pieces)


def contradict(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two names of two words at least share none (Q76)."""
    return min(len(one), len(other)) >= 2 and not normalise.share_a_token(one, other)


def _key(says: Human, kind: str) -> Key | None:
    return normalise.phone(says.phone) if kind == "phone" else normalise.licence(says.licence)


def fix(world: World, mode: str = FIX, settings: Settings | None = None) -> Answer:
    """Decide all orphans of a run and bring the world after it; return cases by driver, links made, drivers released.

    A quarantined driver whose person has a lead link, before or through this run, is released (domain.md 9.4); what a
    person put into quarantine stays.
    """
    released = _release(world)
    answer = _Run(world, mode, settings or Settings()).decide()
    for record, person in answer.links.items():
        world.lead_links[record] = person
        row, event = world.rows[record], world.events.get(record)
        told = event or row
        assert told.on is not None
        says = told.says if event or record[0] != MIGRATIONS else Human(told.says.name)
        world.events[record] = Event(says, told.on, told.driver_id, person)
    for driver, case in answer.cases.items():
        world.quarantine[driver] = (case.status, case.reason)
    return Answer(answer.cases, answer.links, frozenset(released | _release(world)))


def _release(world: World) -> set[str]:
    with_lead = set(world.lead_links.values())
    released = {
        driver
        for driver, (status, reason) in world.quarantine.items()
        if status == "quarantined" and reason != "manual_detection" and driver in world.driver_links
        and world.driver_links[driver].person in with_lead
    }  # fmt: skip
    for driver in released:
        world.quarantine[driver] = ("resolved_relinked", world.quarantine[driver][1])
    return released
