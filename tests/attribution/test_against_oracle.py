"""The SQL of attribution and an independent reading of its rules agree on random worlds: at first, again, later.

Attribution is decided person by person, so many small worlds share a database; they have no person and no record in
common. What is compared: the ledger, every claim, who wins, the conflicts, the backlog, the ledger backfill.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from attribution.models import LedgerBackfillEntry, LedgerEntry
from ct4site.models import AuditEntry, JobType
from identity.models import CabinetPayment, LeadEvent, Link, MigrationRecord, Person, ScoutingRegistration
from tests.factories import changes, rolled_back, run_job
from tests.oracle import attribution
from tests.oracle.attribution import (
    BACKFILL,
    CABINET,
    CATEGORIES,
    MANUAL,
    MIGRATIONS,
    PAYMENTS,
    SCOUTING,
    Event,
    Key,
    Ledger,
    Row,
    World,
)

WORLDS = 160
WORLDS_AT_ONCE = 80
LIMA = ZoneInfo("America/Lima")
FIRST_DAY = dt.date(2026, 1, 5)
DAYS = (0, 0, 0, 2, 3, 7, 8, 9, 15, 20)
SCOUTS = (7, 9, 3, 12)
WRITTEN = (
    7, "7", "9", " 9 ", "007", 12, "doce", "12.5", 12.0, "", " ", "9" * 30, "-7", "7a", "٧", "７", "7\n", None, True, [7], {"a": 7}, "1e1",
    "+7", "0x7",
)  # fmt: skip
PAYLOADS: tuple[Any, ...] = (None, [], [{"scout_id": 7}], "7", 7, {"scout": 7}, {"payload": {"scout_id": 7}})
BEFORE = (
    Ledger(MANUAL, "scouting", 7, "assigned", 0.95, "high", decided_on=(7, 9)),
    Ledger(MANUAL, "scouting", 9, "assigned", 0.95, "high", decided_on=(3, 7, 9, 12)),
    Ledger(MANUAL, "scouting", 9, "assigned", 0.95, "high"),
    Ledger(MANUAL, "cabinet", None, "unassigned", 0.0, "low", decided_on=(7, 9)),
    Ledger(BACKFILL, "scouting", 7, "assigned", 0.95, "high"),
    Ledger("A", "scouting", 5, "assigned", 0.95, "high"),
    Ledger("A", "scouting", 7, "assigned", 0.95, "high"),
    Ledger("A", "scouting", None, "assigned", 0.95, "high"),
    Ledger("A_FLEET", "fleet_migration", 3, "assigned", 0.95, "high"),
    Ledger("B", "cabinet", None, "assigned", 0.8, "medium"),
    Ledger("C", "scouting", None, "conflict", 0.5, "low"),
    Ledger("U", "cabinet", None, "unassigned", 0.0, "low"),
    Ledger(None, None, None, "unassigned", 0.0, "low"),
    Ledger(None, "scouting", None, "assigned", 0.0, "low"),
)  # fmt: skip

pytestmark = pytest.mark.django_db


# --- random worlds ------------------------------------------------------------------------------------


class Dice:
    """Draws the rows of one world; every key carries the number of its place, so that places never meet."""

    def __init__(self, seed: int, place: int) -> None:
        self.rng, self.place = Random(seed), place
        self.numbers = iter(self.rng.sample(range(1, 1200), 300))

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def number(self) -> int:
        """A number nobody else has; of any length, for keys are text."""
        return int(f"{next(self.numbers)}{self.place:02d}")

    def day(self) -> dt.date:
        return FIRST_DAY + dt.timedelta(days=self.rng.choice(DAYS))

    def moment(self) -> dt.datetime:
        """Few different ones, so that some are equal; some of another day in UTC than in Lima."""
        return dt.datetime(2026, 2, 1, self.rng.choice([0, 12, 23]), 30, tzinfo=LIMA)

    def scout(self) -> int | None:
        return None if self.chance(0.25) else self.rng.choice(SCOUTS[: self.rng.randint(1, 4)])


def random_world(dice: Dice) -> World:
    rng, world = dice.rng, World()
    world.persons = [UUID(int=dice.number()) for _person in range(rng.randint(2, 5))]
    for person in world.persons:
        if dice.chance(0.35):
            world.ledger[person] = replace(rng.choice(BEFORE), updated=dice.moment())
    grow(dice, world, rng.randint(2, 14))
    return world


def grow(dice: Dice, world: World, count: int) -> None:
    """Add events and rows; a person with many of them is as likely as one with none."""
    rng = dice.rng
    busy = rng.choices(world.persons, k=2)
    for _event in range(count):
        person = None if dice.chance(0.05) else rng.choice(busy if dice.chance(0.7) else world.persons)
        table = rng.choices((SCOUTING, MIGRATIONS, CABINET), weights=(6, 2, 3))[0]
        key = (table, f"{dice.number():032x}" if table == CABINET else str(dice.number()))
        scout = None if table == CABINET and dice.chance(0.8) else dice.scout()
        payload = rng.choice(PAYLOADS) if dice.chance(0.2) else {"scout_id": rng.choice(WRITTEN)}
        event = Event(dice.number(), key, dice.day(), person, scout, payload, dice.moment())
        world.events.append(event)
        if table != CABINET and dice.chance(0.6):  # the row it came from; not always of the same person or scout
            link = person if dice.chance(0.9) else rng.choice([None, *world.persons])
            add_row(dice, world, key, scout if dice.chance(0.9) else dice.scout(), link)
    for _row in range(rng.randint(0, 3)):
        table = rng.choice((SCOUTING, SCOUTING, MIGRATIONS))
        link = None if dice.chance(0.4) else rng.choice(world.persons)
        add_row(dice, world, (table, str(dice.number())), dice.scout(), link)
    for _payment in range(rng.randint(0, 2)):
        person = rng.choice([None, UUID(int=2**100 + dice.number()), *world.persons])
        add_row(dice, world, (PAYMENTS, str(dice.number())), dice.scout(), person)


def move(dice: Dice, world: World) -> None:
    """Let some events in the database become another person's, or nobody's, as after a roll-back of links."""
    for place, event in enumerate(world.events):
        if dice.chance(0.08):
            world.events[place] = replace(event, person=dice.rng.choice([None, *world.persons]))
            LeadEvent.objects.filter(pk=event.id).update(person=world.events[place].person)


def add_row(dice: Dice, world: World, key: Key, scout: int | None, person: UUID | None) -> None:
    created = None if dice.chance(0.15) else dice.moment()
    if key[0] == MIGRATIONS and created is not None:
        created = dt.datetime.combine(dice.day(), dt.time(), LIMA)  # a date there
    date = None if dice.chance(0.15) else dice.day()
    if key[0] == PAYMENTS:
        world.rows.append(Row(key, scout, date, created, person))
        return
    world.rows.append(Row(key, scout, date, created))
    if person is not None:
        world.links[key] = person


# --- the database ------------------------------------------------------------------------------------


def load(world: World, before: World | None = None) -> None:
    """Add the rows of a world that ``before`` has not."""
    old = before or World()
    Person.objects.bulk_create(
        [Person(person_key=person, confidence_level="HIGH") for person in world.persons if person not in old.persons]
    )
    LeadEvent.objects.bulk_create(
        [
            LeadEvent(
                id=event.id, source_table=event.key[0], source_pk=event.key[1], event_date=event.date,
                person_id=event.person, scout_id=event.scout, payload_json=event.payload, created_at=event.created,
            )
            for event in world.events if event not in old.events
        ]
    )  # fmt: skip
    Link.objects.bulk_create(
        [
            Link(
                person_id=person, source_table=table, source_pk=pk, snapshot_date=dt.datetime(2026, 1, 1, tzinfo=LIMA),
                match_rule="driver_direct", match_score=95, confidence_level="HIGH",
            )
            for (table, pk), person in world.links.items() if (table, pk) not in old.links
        ]
    )  # fmt: skip
    for row in world.rows:
        if row not in old.rows:
            load_row(row)
    LedgerEntry.objects.bulk_create(
        [
            LedgerEntry(
                person_id=person, attributed_source=entry.source, attributed_scout_id=entry.scout,
                attribution_rule=entry.rule, attribution_score=entry.score, confidence_level=entry.confidence,
                decision_status=entry.status, updated_at=entry.updated,
                evidence_json={"conflict_scout_ids": list(entry.decided_on)} if entry.decided_on else None,
            )
            for person, entry in world.ledger.items() if before is None
        ]
    )  # fmt: skip


def load_row(row: Row) -> None:
    pk, naive = int(row.key[1]), row.created.replace(tzinfo=None) if row.created else None
    if row.key[0] == SCOUTING:
        ScoutingRegistration.objects.bulk_create(
            [ScoutingRegistration(pk=pk, scout_id=row.scout, registration_date=row.date, created_at=naive)]
        )
    elif row.key[0] == MIGRATIONS:
        created = naive.date() if naive else None
        MigrationRecord.objects.bulk_create(
            [MigrationRecord(pk=pk, scout_id=row.scout, hire_date=row.date, created_at=created)]
        )
    else:
        CabinetPayment.objects.bulk_create(
            [CabinetPayment(pk=pk, scout_id=row.scout, date=row.date, created_at=naive, person_key=row.person)]
        )


def rows_of(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


# --- comparing ----------------------------------------------------------------------------------------


def views_say() -> dict[str, Any]:
    """What the views say, in the oracle's words."""
    return {
        "claim": {
            (priority, pk): (person, scout, source, date, created, tag)
            for person, scout, source, pk, date, created, priority, tag in rows_of(
                "select person_key, scout_id, source_table, source_pk, attribution_date, created_at, priority, origin_tag"
                " from ops.v_scout_attribution_raw"
            )
        },
        "winner": {
            person: rest
            for person, *rest in rows_of(
                "select person_key, scout_id, source_table, source_pk, attribution_date, priority"
                " from ops.v_scout_attribution"
            )
        },
        "conflict": {
            person: [count, tuple(scouts), kind, frozenset(sources), *rest]
            for person, count, scouts, kind, sources, *rest in rows_of(
                "select person_key, distinct_scout_count, scout_ids, conflict_type, source_tables, total_records,"
                " jsonb_array_length(conflict_details), first_attribution_date, last_event_date"
                " from ops.v_scout_attribution_conflicts"
            )
        },
        "backlog": {
            person: tuple(rest)
            for person, *rest in rows_of(
                "select person_key, category, categoria, category_label, lead_events_count, events_with_scout_count,"
                " scout_id from ops.v_persons_without_scout_categorized"
            )
        },
    }


def oracle_says(many: Sequence[World]) -> dict[str, Any]:
    said: dict[str, Any] = {"claim": {}, "winner": {}, "conflict": {}, "backlog": {}}
    for world in many:
        claims = list(attribution.claims(world))
        for claim in claims:
            # A payment may name a person nobody knows: then it is nobody's.
            said["claim"][claim.priority, claim.key[1]] = (
                claim.person, claim.scout, claim.source, claim.date, claim.created, claim.origin_tag,
            )  # fmt: skip
        for person in world.persons:
            own, entry, events = (
                [claim for claim in claims if claim.person == person], world.ledger.get(person), world.events_of(person),
            )  # fmt: skip
            if won := attribution.winner(entry, own):
                said["winner"][person] = [won.scout, won.source, won.key[1], won.date, won.priority]
            if clash := attribution.conflict(entry, own):
                said["conflict"][person] = [
                    len(clash.scouts), clash.scouts, clash.kind, clash.sources, clash.records, clash.records,
                    clash.first, clash.last,
                ]  # fmt: skip
            if letter := attribution.category(entry, events):
                named = [event.names for event in events if event.names is not None]
                said["backlog"][person] = (
                    letter, *CATEGORIES[letter], len(events), len(named), max(named) if letter == "D" else None,
                )  # fmt: skip
    return said


def ledger_says() -> dict[UUID, tuple[Any, ...]]:
    return {
        row.pk: (
            row.attribution_rule, row.attributed_source, row.attributed_scout_id, row.decision_status,
            float(row.attribution_score), row.confidence_level,
        )
        for row in LedgerEntry.objects.all()
    }  # fmt: skip


def evidence_of(persons: Iterable[UUID]) -> dict[UUID, Any]:
    return dict(LedgerEntry.objects.filter(pk__in=list(persons)).values_list("pk", "evidence_json"))


def unequal(what: str, oracle: dict[Any, Any], ours: dict[Any, Any]) -> Iterator[str]:
    for key in sorted(oracle.keys() | ours.keys(), key=str):
        if oracle.get(key) != ours.get(key):
            yield f"{what} of {key}: oracle {oracle.get(key)}, SQL {ours.get(key)}"


def differences(many: Sequence[World]) -> list[str]:
    """Return what ledger and views say otherwise than the oracle, one line each."""
    said = {person: entry.says for world in many for person, entry in world.ledger.items()}
    if lines := list(unequal("ledger", said, ledger_says())):
        return lines  # the views would only repeat it
    written = dict(LedgerEntry.objects.values_list("pk", "updated_at"))
    grounds = {
        person: entry.grounds for world in many for person, entry in world.ledger.items() if entry.grounds is not None
    }
    lines = list(unequal("evidence", grounds, evidence_of(grounds)))
    for world in many:
        for person, entry in world.ledger.items():
            if entry.updated is None:  # decided by a run: only the clock knows when
                world.ledger[person] = replace(entry, updated=written[person])
            elif entry.updated != written[person]:
                lines.append(f"ledger of {person}: written again though nothing changed")
    theirs, ours = oracle_says(many), views_say()
    for part in theirs:
        lines += unequal(part, theirs[part], ours[part])
    return lines


def perform(job: str, step: Any, many: Sequence[World]) -> list[str]:
    """Let SQL and oracle take a step; return where they differ, counts and audit included."""
    audited, typed = AuditEntry.objects.count(), LedgerBackfillEntry.objects.count()
    tally = run_job(job)
    changed = 0
    for world in many:
        world.ledger = attribution.after(world, step).ledger
        changed += sum(entry.updated is None for entry in world.ledger.values())
    lines = differences(many)
    counts = {
        "audit": (tally["audit"], changed), "audit rows": (AuditEntry.objects.count() - audited, changed),
        "backfill audit rows": (
            LedgerBackfillEntry.objects.count() - typed, changed if job == JobType.LEDGER_BACKFILL else 0,
        ),
    }  # fmt: skip
    return lines + [f"{name}: oracle {one}, SQL {other}" for name, (other, one) in counts.items() if one != other]


def disagreement(seeds: Sequence[int], conflict_beats_fleet: bool = True) -> list[str]:
    """Decide, fill, do both again, add evidence, decide and fill again; return the first disagreement, or nothing."""
    dices = [Dice(seed, seed % WORLDS_AT_ONCE) for seed in seeds]
    many = [random_world(dice) for dice in dices]

    def decide(world: World, person: UUID) -> Ledger | None:
        return attribution.decide(world, person, conflict_beats_fleet=conflict_beats_fleet)

    with rolled_back():
        for world in many:
            load(world)
        steps = ((JobType.PROCESS_LEDGER, decide), (JobType.LEDGER_BACKFILL, attribution.backfill))
        if lines := differences(many):
            return ["before anything:", *lines]
        for moment in ("at first", "later"):
            for job, step in steps:
                if lines := perform(job, step, many):
                    return [f"{moment}, {job}:", *lines]
            for job, _step in steps:
                if again := changes(run_job(job)):
                    return [f"{moment}, {job}, nothing is new, and yet: {again}"]
            for dice, world in zip(dices, many, strict=True):
                before = replace(world, events=list(world.events), rows=list(world.rows), links=dict(world.links))
                grow(dice, world, dice.rng.randint(0, 3))
                load(world, before)
                move(dice, world)
        if lines := differences(many):
            return ["at last:", *lines]
    return []


def agree(seeds: Sequence[int], **rules: Any) -> None:
    if not (lines := disagreement(seeds, **rules)):
        return
    for seed in seeds:
        if alone := disagreement([seed], **rules):
            lines = [f"seed {seed}", *alone, *describe(seed)]
            break
    pytest.fail("\n".join(lines), pytrace=False)


def describe(seed: int) -> list[str]:
    """The world of a seed before anything happened to it, one line per row."""
    world = random_world(Dice(seed, seed % WORLDS_AT_ONCE))
    return [
        *(f"{event}" for event in world.events), *(f"{row} linked to {world.links.get(row.key)}" for row in world.rows),
        *(f"ledger of {person}: {entry}" for person, entry in world.ledger.items()), f"persons {world.persons}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "first",
    [pytest.param(first, marks=[pytest.mark.slow] * (first > 0)) for first in range(0, WORLDS, WORLDS_AT_ONCE)],
)
def test_sql_and_oracle_agree(first: int, settings: Any) -> None:
    settings.CHUNK_SIZE = 7 if first // WORLDS_AT_ONCE % 2 else 5000
    agree(range(first, first + WORLDS_AT_ONCE))


@pytest.mark.slow
def test_sql_and_oracle_agree_when_the_fleet_beats_a_conflict(settings: Any) -> None:
    settings.LEDGER_CONFLICT_BEATS_FLEET = False
    agree(range(1000, 1000 + WORLDS_AT_ONCE), conflict_beats_fleet=False)
