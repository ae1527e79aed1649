"""The SQL of collection and an independent reading of its rules agree on random worlds: at first, again, later.

A refresh costs the same for one small world as for fifty, so they share a database: they have no person, account, name
or lead in common, and the rules are those of all.
"""

from __future__ import annotations

import datetime as dt
import string
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from attribution.models import LedgerEntry
from identity.models import CabinetLead, CabinetPayment, DailyTrips, Driver, Link, MigrationRecord, Person
from orphans.models import QuarantinedDriver
from tests import factories
from tests.collection.stories import CLAIMS, LIMA, broken, refresh, rows, state, today
from tests.oracle import collection
from tests.oracle.collection import (
    CABINET,
    LONG_AGO,
    MIGRATIONS,
    OBJECTIVE_PARK,
    PARTNER,
    SCOUT,
    SCOUTING,
    SEEDED,
    Account,
    Day,
    Lead,
    Payment,
    Rule,
    World,
)

WORLDS = 120
WORLDS_AT_ONCE = 60
OFFSETS = (-3, -1, 0, 0, 1, 2, 3, 6, 7, 8, 12, 13, 13, 14, 14, 15, 20, 29, 30, 31)
COUNTS = (None, 0, 0, 1, 1, 1, 2, 4, 5, 20, 24, 25, 50)
NO_DAYS = ("", "ayer", "31-02-2026", "2026-13-01", "99-99-9999")

pytestmark = pytest.mark.django_db


# --- random worlds ------------------------------------------------------------------------------------


class Dice:
    """Draws the rows of one world; every value carries the number of its place, so that places never meet."""

    def __init__(self, seed: int, place: int) -> None:
        self.rng, self.place, self.numbers = Random(seed), place, iter(range(1, 1000))
        here = string.ascii_uppercase[place // 26] + string.ascii_uppercase[place % 26]
        self.names = [
            f"PEREZ{here} DIAZ ANA", f"Ana  Díaz Perez{here.lower()}", f"ROJAS{here} LUIS", f"SOTO{here} DE LA VEGA EVA",
            f"Eva Vega Soto{here}", f"Luis Rojas{here} Rojas{here}", f"QUISPE{here} X", "TEST", None,
        ]  # fmt: skip

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def number(self) -> int:
        return self.place * 1000 + next(self.numbers)


def random_world(dice: Dice, rules: tuple[Rule, ...]) -> World:
    rng, world = dice.rng, World(rules=rules)
    world.persons = {UUID(int=dice.number()) for _person in range(rng.randint(1, 4))}
    for _account in range(rng.randint(1, 6)):
        add_account(dice, world)
    for _lead in range(rng.randint(1, 6)):
        add_lead(dice, world)
    bound = {lead.person for lead in world.leads.values()}
    for person in sorted({account.person for account in world.accounts.values() if account.person} - bound):
        world.leads[SCOUTING, str(dice.number())] = Lead(None, person)  # nobody drives for us without a lead
    for _day in range(rng.randint(8, 30)):
        add_day(dice, world)
    for _payment in range(rng.randint(0, 6)):
        add_payment(dice, world)
    for person in sorted(world.persons):
        if dice.chance(0.6):
            world.scouts[person] = 10 * dice.place + rng.randint(1, 9)
    quarantine_some(dice, world)
    return world


def add_account(dice: Dice, world: World) -> None:
    rng, number = dice.rng, dice.number()
    park = OBJECTIVE_PARK if dice.chance(0.75) else rng.choice([factories.OTHER_PARK, None])
    known = sorted({lead.person for lead in world.leads.values() if lead.person}) or sorted(world.persons)
    person = rng.choice(known) if dice.chance(0.9) else None
    linked = dt.datetime(2026, 1, 1, tzinfo=LIMA) + dt.timedelta(minutes=number)
    world.accounts[f"a{number:031x}"] = Account(rng.choice(dice.names), park, person, linked if person else None)


def add_lead(dice: Dice, world: World) -> None:
    rng, number = dice.rng, dice.number()
    table = rng.choice([CABINET, CABINET, CABINET, MIGRATIONS, SCOUTING])
    person = rng.choice(sorted(world.persons)) if dice.chance(0.9) else None
    own = [driver for driver, account in world.accounts.items() if person and account.person == person]
    driver = rng.choice(own) if own and (table == MIGRATIONS or dice.chance(0.7)) else None
    on = today() - dt.timedelta(days=rng.choice([5, 13, 14, 15, 20, 21, 22, 28, 29, 44, 45, 74, 75, 80]))
    if table == CABINET and dice.chance(0.06):
        world.leads[table, f"c{number:031x}"] = Lead(None, person, driver)
    else:
        world.leads[table, f"c{number:031x}" if table == CABINET else str(number)] = Lead(on, person, driver)


def add_day(dice: Dice, world: World) -> None:
    rng = dice.rng
    driver = rng.choice(list(world.accounts))
    person = world.accounts[driver].person
    leads = [lead.on for lead in world.leads.values() if lead.on and (lead.driver == driver or lead.person == person)]
    since = rng.choice(leads) if leads else today() - dt.timedelta(days=30)
    on = since + dt.timedelta(days=rng.choice(OFFSETS))
    text = rng.choice([f"{on:%d-%m-%Y}", on.isoformat()]) if dice.chance(0.95) else rng.choice(NO_DAYS)
    seconds = rng.choice([None, 0, 1, 3600])
    written = dt.datetime(2026, 1, 1) + dt.timedelta(seconds=dice.number())  # noqa: DTZ001
    world.days = [day for day in world.days if (day.driver, day.text) != (driver, text)]
    world.days.append(Day(driver, text, rng.choice(COUNTS), seconds, written))


def add_payment(dice: Dice, world: World) -> None:
    rng, number = dice.rng, dice.number()
    flags = {milestone: rng.choice([True, True, False, None]) for milestone in collection.MILESTONES}
    driver = rng.choice(list(world.accounts)) if dice.chance(0.15) else None
    person = rng.choice(sorted(world.persons)) if dice.chance(0.1) else None
    on = today() - dt.timedelta(days=rng.randint(0, 9))
    names = [account.name for account in world.accounts.values()] if dice.chance(0.7) else dice.names
    world.payments[str(number)] = Payment(on, rng.choice(names), flags, driver, person)


def quarantine_some(dice: Dice, world: World) -> None:
    for driver in world.accounts:
        if dice.chance(0.12):
            world.quarantine[driver] = dice.rng.choice(["quarantined", "quarantined", "purged", "resolved_relinked"])


def live_on(dice: Dice, world: World) -> None:
    """Later: more of all; trips corrected, payments told otherwise, claims decided, drivers held and released."""
    rng = dice.rng
    if dice.chance(0.3):
        add_account(dice, world)
    for _lead in range(rng.randint(0, 2)):
        add_lead(dice, world)
    for _day in range(rng.randint(0, 6)):
        add_day(dice, world)
    for _payment in range(rng.randint(0, 2)):
        add_payment(dice, world)
    world.days = [day if dice.chance(0.85) else replace(day, trips=rng.choice(COUNTS)) for day in world.days]
    for pk, payment in world.payments.items():
        flags = {
            milestone: rng.choice([True, False, None]) if dice.chance(0.3) else flag
            for milestone, flag in payment.flags.items()
        }
        world.payments[pk] = replace(payment, flags=flags)
    for key, claim in world.claims.items():
        if dice.chance(0.15):  # a person decides
            world.claims[key] = replace(claim, status=rng.choice(["generated", "rejected", "expired"]))
    if dice.chance(0.3):
        world.quarantine = dict.fromkeys(world.quarantine, "resolved_relinked")
    if dice.chance(0.3):
        quarantine_some(dice, world)


def changed_rules() -> tuple[Rule, ...]:
    """The seeded rules as somebody edited them."""
    since = today() - dt.timedelta(days=22)
    ended = {(PARTNER, 5): since - dt.timedelta(days=1), (SCOUT, 25): since}
    kept = [
        replace(rule, until=ended.get((rule.scope, rule.milestone))) if rule.origin == "cabinet" else rule
        for rule in SEEDED
    ]
    kept.remove(next(rule for rule in kept if (rule.scope, rule.origin, rule.milestone) == (SCOUT, "cabinet", 5)))
    return (
        *kept,
        Rule(PARTNER, "cabinet", 14, 5, Decimal("41.37"), since),
        Rule(PARTNER, "cabinet", 10, 10, Decimal("12.34"), LONG_AGO),
        Rule(SCOUT, "cabinet", 7, 2, Decimal("3.21"), since),
    )


# --- the same worlds in the database --------------------------------------------------------------------


def load_rules(rules: tuple[Rule, ...]) -> None:
    """Let these rules be in force: new ones are added, others end or change their end, none is removed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "update ops.partner_payment_rules set is_active = false;"
            "update ops.scout_payment_rules set is_active = false where milestone_type = 'trips'"
        )
        for rule in rules:
            milestone = "milestone_trips" if rule.scope == PARTNER else "milestone_value"
            columns = {
                "origin_tag": rule.origin, "window_days": rule.window, milestone: rule.milestone,
                "valid_from": rule.since, "amount": rule.amount, "valid_to": rule.until, "is_active": True,
            }  # fmt: skip
            names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
            key = "origin_tag, window_days, milestone_trips, valid_from"
            if rule.scope == SCOUT:
                names, places = f"{names}, milestone_type", f"{places}, 'trips'"
                key = "origin_tag, window_days, milestone_type, milestone_value, valid_from"
            cursor.execute(
                f"insert into ops.{rule.scope}_payment_rules ({names}) values ({places}) on conflict ({key}) do update"
                " set amount = excluded.amount, valid_to = excluded.valid_to, is_active = true",
                list(columns.values()),
            )


def load(world: World, before: World | None = None) -> None:
    """Write a world, or what it has more than before and otherwise."""
    old = before or World()
    Person.objects.bulk_create(
        Person(person_key=key, confidence_level="HIGH") for key in world.persons - old.persons
    )  # fmt: skip
    new = {record: lead for record, lead in world.leads.items() if record not in old.leads}
    with connection.cursor() as cursor:  # a job may have left them immediate: accounts need leads
        cursor.execute("set constraints all deferred")
    CabinetLead.objects.bulk_create(
        CabinetLead(external_id=pk, lead_created_at=lead.on, created_at=dt.datetime(2026, 1, 1))  # noqa: DTZ001
        for (table, pk), lead in new.items() if table == CABINET
    )  # fmt: skip
    MigrationRecord.objects.bulk_create(
        MigrationRecord(id=int(pk), driver_id=lead.driver, created_at=lead.on)
        for (table, pk), lead in new.items() if table == MIGRATIONS
    )  # fmt: skip
    accounts = {driver: account for driver, account in world.accounts.items() if driver not in old.accounts}
    links = [
        (lead.person, *record, dt.datetime(2026, 1, 1, tzinfo=LIMA), lead.driver)
        for record, lead in new.items() if lead.person
    ]  # fmt: skip
    links += [
        (account.person, "drivers", driver, account.linked or dt.datetime(2026, 1, 1, tzinfo=LIMA), driver)
        for driver, account in accounts.items() if account.person
    ]  # fmt: skip
    Link.objects.bulk_create(
        Link(
            person_id=person, source_table=table, source_pk=pk, snapshot_date=at, linked_at=at,
            match_rule="R1_PHONE_EXACT", match_score=95, confidence_level="HIGH",
            evidence={"driver_id": driver} if driver else {},
        )
        for person, table, pk, at, driver in links
    )  # fmt: skip
    Driver.objects.bulk_create(
        Driver(driver_id=driver, full_name=account.name, park_id=account.park) for driver, account in accounts.items()
    )
    DailyTrips.objects.filter(driver_id__in=list(world.accounts)).delete()
    DailyTrips.objects.bulk_create(
        DailyTrips(
            driver_id=day.driver, date_file=day.text, count_orders_completed=day.trips,
            sum_work_time_seconds=day.seconds, created_at=day.written,
        )
        for day in world.days
    )  # fmt: skip
    CabinetPayment.objects.filter(id__in=[int(pk) for pk in world.payments]).delete()
    CabinetPayment.objects.bulk_create(
        CabinetPayment(
            id=int(pk), date=payment.on, driver=payment.name, driver_id=payment.driver, person_key=payment.person,
            trip_1=payment.flags[1], trip_5=payment.flags[5], trip_25=payment.flags[25],
        )
        for pk, payment in world.payments.items()
    )  # fmt: skip
    QuarantinedDriver.objects.filter(driver_id__in=list(world.accounts)).delete()
    QuarantinedDriver.objects.bulk_create(
        QuarantinedDriver(
            driver_id=driver,
            status=status,
            detected_reason="manual_detection",
            evidence_json={"by": "hand"},
            resolved_at=None if status == "quarantined" else dt.datetime(2026, 1, 1, tzinfo=LIMA),
        )
        for driver, status in world.quarantine.items()
    )
    with connection.cursor() as cursor:
        for (driver, milestone), claim in world.claims.items():
            if claim != old.claims.get((driver, milestone)):
                cursor.execute(
                    f"update {CLAIMS} set status = %s where driver_id = %s and milestone = %s",
                    [claim.status, driver, milestone],
                )
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            person_id=person, attributed_source="scouting", attributed_scout_id=scout, attribution_rule="A",
            attribution_score="0.95", confidence_level="high", decision_status="assigned",
        )
        for person, scout in world.scouts.items() if person not in old.scouts
    )  # fmt: skip


# --- comparing ------------------------------------------------------------------------------------------

Part = dict[Any, Any]


def expected(world: World, reading: collection.Reading) -> dict[str, Part]:
    """What the oracle says of one world."""
    return {
        "facts": {
            record: (
                facts.lead_date, facts.person, facts.driver, facts.first_connection, facts.first_trip, facts.trips_7d,
                facts.trips_14d, facts.trips_30d,
            )
            for record, facts in reading.facts.items()
        },
        "milestones": {(*record, window, count): told for (record, window, count), told in reading.milestones().items()},
        "claims": {
            key: (
                claim.lead, claim.lead_date, claim.achieved, claim.amount, claim.person, claim.status, claim.is_disputed
            )
            for key, claim in world.claims.items()
        },
        "states": {key: [(state.is_paid, state.driver) for state in states] for key, states in world.states.items()},
        "collection": {
            key: (
                told["lead_date"], told["amount"], told["due"], told["days"], told["bucket_yango"], told["status"],
                told["reason"], told["paid_on"], told["identity"], told["is_collectable"],
            )
            for key, told in reading.collection().items()
        },
        "payment status": {
            key: (told["days"], told["bucket"], told["is_paid"], told["paid_on"], told["reason"], told["action"])
            for key, told in reading.collection().items()
        },
        "funnel": reading.funnel(),
        "financial": reading.financial(),
        "limbo": reading.limbo(),
        "gap": reading.gap(),
        "reconciled": {key: (status,) for key, status in reading.reconciled().items()},
        "daily base": reading.daily(),
        "settlement": reading.settlement(),
    }  # fmt: skip


def found() -> dict[str, Part]:
    """What the database says of all worlds."""
    states: Part = {}
    ledger = ("ops.yango_payment_status_ledger", "source_pk", "milestone_value", "id", "is_paid", "driver_id")
    for pk, milestone, _id, is_paid, driver in rows(*ledger):
        states.setdefault((pk, milestone), []).append((is_paid, driver))
    return {
        "facts": _by(
            2, "observational.lead_trips", "source_table", "source_pk", "lead_date", "person_key", "driver_id",
            "first_connection_date", "first_trip_date", "trips_7d", "trips_14d", "trips_30d",
        ),
        "milestones": _by(
            4, "observational.lead_milestones", "source_table", "source_pk", "window_days", "milestone_trips",
            "achieved_date", "trips_in_window",
        ),
        "claims": _by(
            2, CLAIMS, "driver_id", "milestone", "lead_source_pk", "lead_date", "achieved_date", "amount_expected",
            "person_key", "status", "eligibility_disputed",
        ),
        "states": states,
        "collection": _by(
            2, "ops.v_yango_cabinet_claims_for_collection", "driver_id", "milestone_value", "lead_date",
            "expected_amount", "yango_due_date", "days_overdue_yango", "overdue_bucket_yango", "yango_payment_status",
            "reason_code", "pay_date", "identity_status", "is_collectable",
        ),
        "payment status": _by(
            2, "ops.v_claims_payment_status_cabinet", "driver_id", "milestone_value", "days_overdue", "bucket_overdue",
            "paid_flag", "paid_date", "reason_code", "action_priority",
        ),
        "funnel": _by(
            1, "ops.v_cabinet_funnel_status", "driver_id", "origin_tag", "funnel_status", "highest_milestone",
            "connected_date", "m1_date", "m5_date", "m25_date",
        ),
        "financial": _by(
            1, "ops.v_cabinet_financial_14d", "driver_id", "lead_date", "total_trips_14d", "reached_m1_14d",
            "reached_m5_14d", "reached_m25_14d", "claim_m1_exists", "claim_m5_exists", "claim_m25_exists",
            "expected_amount_m1", "expected_amount_m5", "expected_amount_m25", "paid_amount_m1", "paid_amount_m5",
            "paid_amount_m25", "amount_due_yango",
        ),
        "limbo": _by(
            1, "ops.v_cabinet_leads_limbo", "lead_source_pk", "limbo_stage", "lead_date", "driver_id", "trips_14d",
            "expected_amount_14d",
        ),
        "gap": _by(
            2, "ops.v_cabinet_claims_gap_14d", "lead_source_pk", "milestone_value", "milestone_achieved",
            "expected_amount", "gap_reason",
        ),
        "reconciled": _by(
            2, "ops.v_cabinet_milestones_reconciled", "driver_id", "milestone_value", "reconciliation_status"
        ),
        "daily base": _by(
            3, "ops.v_scout_daily_expected_base", "scout_id", "date", "milestone_value", "drivers_count",
            "driver_ids_count", "milestone_occurrences", "total_expected_amount", "yango_expected_amount",
        ),
        "settlement": _by(
            1, "ops.v_scout_payment_base", "person_key", "scout_id", "milestone_reached", "milestone_date",
            "eligible_7d", "amount_payable", "payment_status", "block_reason",
        ),
    }  # fmt: skip


def _by(keys: int, relation: str, *columns: str) -> Part:
    return {row[:keys]: row[keys:] for row in rows(relation, *columns)}


def differences(many: Sequence[World], readings: Sequence[collection.Reading]) -> list[str]:
    """Return what the SQL says otherwise than the oracle, one line each."""
    theirs: dict[str, Part] = {}
    for world, reading in zip(many, readings, strict=True):
        for part, told in expected(world, reading).items():
            theirs.setdefault(part, {}).update(
                {key if isinstance(key, tuple) else (key,): one for key, one in told.items()}
            )
    ours = found()
    lines = [
        f"{part} of {key}: oracle {theirs[part].get(key)}, SQL {ours[part].get(key)}"
        for part in theirs
        for key in sorted(theirs[part].keys() | ours[part].keys(), key=str)
        if theirs[part].get(key) != ours[part].get(key)
    ]
    return lines + broken()


def disagreement(seeds: Sequence[int], rules: tuple[Rule, ...], later: tuple[Rule, ...] = ()) -> list[str]:
    """Refresh, refresh again, let time pass, refresh; return the first disagreement, or nothing.

    With ``later`` somebody edits the rules in the meantime.
    """
    dices = [Dice(seed, seed % WORLDS_AT_ONCE) for seed in seeds]
    many = [random_world(dice, rules) for dice in dices]
    with factories.rolled_back():
        load_rules(rules)
        for world in many:
            load(world)
        factories.refresh()
        refresh()
        if lines := differences(many, [collection.refresh(world, today()) for world in many]):
            return ["at first:", *lines]
        before = state()
        again = refresh()
        if again["audit"] or state() != before:
            return [f"nothing is new, and yet: {factories.changes(again)}"]
        if later:
            load_rules(later)
        for dice, world in zip(dices, many, strict=True):
            world.rules = later or rules
            then = deepcopy(world)
            live_on(dice, world)
            load(world, then)
        factories.refresh()
        refresh()
        if lines := differences(many, [collection.refresh(world, today()) for world in many]):
            return ["later:", *lines]
        return []


def agree(seeds: Sequence[int], rules: tuple[Rule, ...], later: tuple[Rule, ...] = ()) -> None:
    if not (lines := disagreement(seeds, rules, later)):
        return
    for seed in seeds:
        if alone := disagreement([seed], rules, later):
            lines = [f"seed {seed}", *alone, *describe(seed, rules)]
            break
    pytest.fail("\n".join(lines), pytrace=False)


def describe(seed: int, rules: tuple[Rule, ...]) -> list[str]:
    """The world of a seed before anything happened to it, one line per row."""
    world = random_world(Dice(seed, seed % WORLDS_AT_ONCE), rules)
    lines = [
        f"{part} {key}: {value}"
        for part in ("leads", "accounts", "quarantine", "payments", "scouts")
        for key, value in getattr(world, part).items()
    ]
    return lines + [f"day: {day}" for day in sorted(world.days, key=lambda day: (day.driver, day.text))]


@pytest.mark.parametrize(
    "first",
    [pytest.param(first, marks=[pytest.mark.slow] * (first > 0)) for first in range(0, WORLDS, WORLDS_AT_ONCE)],
)
def test_sql_and_oracle_agree(first: int, settings: Any) -> None:
    settings.CHUNK_SIZE = 3 if first else 5000
    agree(range(first, first + WORLDS_AT_ONCE), SEEDED)


@pytest.mark.slow
def test_sql_and_oracle_agree_when_the_rules_change() -> None:
    """An amount from a day on, a milestone and a window that nobody thought of, one rule that ends for good."""
    agree(range(1000, 1000 + WORLDS_AT_ONCE), SEEDED, changed_rules())
