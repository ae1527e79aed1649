"""The name join of sql/jobs/identity_3_names.sql finds what comparing every pair finds, in big blocks and in small ones."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from identity import jobs
from identity.models import DriverIndexEntry
from tests.factories import OTHER_PARK, rolled_back
from tests.oracle.normalise import similarity

pytestmark = pytest.mark.django_db

R3, R3B, R4 = "R3_PLATE_EXACT_NAME_SIMILAR", "R3b", "R4_CAR_FINGERPRINT_NAME_SIMILAR"
THRESHOLD, GAP = Fraction(66, 100), Fraction(15, 100)
LEAD_DATE = dt.date(2026, 1, 10)
LIMA = dt.timezone(dt.timedelta(hours=-5))
# Half the names have the first ones; the last ones are nearly nobody's.
WORDS = [f"{letter}{other}O" for letter in "ABCDEFGHIJKLMNOP" for other in "ABCDEFGHIJ"]
FEW_HAVE = [f"ABC{number}" for number in range(100, 130)]
BIG_BLOCK, SMALL_BLOCK_LIMITS = 250, (0, 16, 1000)


@dataclass(frozen=True)
class Driver:
    driver_id: str
    plate: str | None
    car: tuple[str | None, str | None]
    tokens: tuple[str, ...]
    hired: dt.date | None
    is_in_park: bool = True
    has_vanished: bool = False


@dataclass(frozen=True)
class Lead:
    n: int
    plate: str | None
    car: tuple[str | None, str | None]
    tokens: tuple[str, ...]


Scene = tuple[list[Driver], list[Lead]]


def a_word(rng: Random) -> str:
    return WORDS[int(len(WORDS) * rng.random() ** 3)]


def a_name(rng: Random, drivers: list[Driver]) -> tuple[str, ...]:
    """Return some words, often those of a driver with one lost, added or exchanged."""
    words = [a_word(rng) for _ in range(rng.choice([0, 1, 2, 2, 3, 3, 4, 4, 4, 5, 6]))]
    if drivers and rng.random() < 0.6:
        words = list(rng.choice(drivers).tokens)
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            change = rng.choice(["lose", "add", "exchange"])
            if words and change != "add":
                words.pop(rng.randrange(len(words)))
            if change != "lose":
                words.append(a_word(rng))
        rng.shuffle(words)
    return tuple(dict.fromkeys(words))


def a_scene(rng: Random) -> Scene:
    """One car and one plate that hundreds have, others that few have; hire dates at the edges of the windows."""
    days = [-400, -91, -90, -31, -30, 0, 7, 8, 30, 31]
    drivers: list[Driver] = []
    for number in range(BIG_BLOCK + 60):
        is_common = number < BIG_BLOCK
        drivers.append(
            Driver(
                driver_id=f"{rng.getrandbits(64):016x}{number:016x}",
                plate="TAX111" if is_common else rng.choice([*FEW_HAVE, None]),
                car=("TOYOTA", "YARIS")
                if is_common
                else (rng.choice(["KIA", None]), rng.choice(["RIO", "SOUL", None])),
                tokens=a_name(rng, drivers),
                hired=rng.choice([None, *[LEAD_DATE + dt.timedelta(days=day) for day in days]]),
                is_in_park=rng.random() < 0.9,
                has_vanished=rng.random() < 0.05,
            )
        )
    leads = []
    for n in range(1, 71):
        plate = rng.choice(["TAX111"] * 15 + FEW_HAVE + ["XYZ999", None])
        car = rng.choice([("TOYOTA", "YARIS"), ("KIA", "RIO"), ("KIA", "SOUL"), ("KIA", None), ("FORD", "KA")])
        neighbours = [driver for driver in drivers if plate != "TAX111" and driver.plate == plate]
        leads.append(Lead(n, plate, car, a_name(rng, neighbours or drivers)))
    return drivers, leads


def load(scene: Scene) -> None:
    """Fill the drivers index, and the tables that collect_candidates and decide_candidates make before the join."""
    drivers, leads = scene
    DriverIndexEntry.objects.bulk_create(
        DriverIndexEntry(
            driver_id=driver.driver_id,
            park_id=configured.PARK_ID_OBJETIVO if driver.is_in_park else OTHER_PARK,
            plate_norm=driver.plate,
            brand_norm=driver.car[0],
            model_norm=driver.car[1],
            name_tokens=list(driver.tokens),
            hire_date=driver.hired,
            snapshot_date=LEAD_DATE,
            vanished_at=dt.datetime.now(dt.UTC) if driver.has_vanished else None,
        )
        for driver in drivers
    )
    late_in_lima = dt.datetime.combine(LEAD_DATE, dt.time(23, 59, 59), LIMA)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            create temp table numbered (
                n bigint, snapshot_at timestamptz, plate_norm text, brand_norm text, model_norm text, tokens text[]
            );
            create temp table results (
                n bigint, rule text, outcome text, score integer, confidence text, driver_id text, key text,
                similarity double precision, second_similarity double precision, scope_drivers bigint
            );
            create temp table refused (n bigint, driver_id text)
            """
        )
        cursor.executemany(
            "insert into numbered values (%s, %s, %s, %s, %s, %s::text[])",
            [(lead.n, late_in_lima, lead.plate, *lead.car, list(lead.tokens)) for lead in leads],
        )


Pairs = dict[tuple[int, str, str], float]
Outcomes = dict[tuple[int, str], tuple[Any, ...]]


def by_join(small_block: int) -> tuple[Pairs, Outcomes]:
    """Return the loaded scene's pairs that are alike enough to matter, and what the rules say."""
    with rolled_back(), pytest.MonkeyPatch.context() as patch, connection.cursor() as cursor:
        patch.setattr(jobs, "SMALL_BLOCK", small_block)
        jobs.statement("identity_3_names", jobs._rule_parameters())
        cursor.execute("select n, kind, driver_id, similarity from name_pairs where similarity >= 0.51 - 1e-9")
        pairs = {(n, kind, driver_id): round(value, 9) for n, kind, driver_id, value in cursor.fetchall()}
        cursor.execute("select n, rule, outcome, driver_id, score, confidence, similarity from results")
        outcomes = {
            (n, rule): (outcome, driver_id, score, confidence, round(value, 9))
            if outcome in ("MATCH", "MULTIPLE_CANDIDATES")
            else (outcome,)
            for n, rule, outcome, driver_id, score, confidence, value in cursor.fetchall()
        }
    return pairs, outcomes


def names_alike(lead: Lead, driver: Driver) -> Fraction:
    """One word names nobody (F24)."""
    if min(len(lead.tokens), len(driver.tokens)) < 2:
        return Fraction(0)
    return similarity(frozenset(lead.tokens), frozenset(driver.tokens))


def by_brute_force(scene: Scene) -> tuple[Pairs, Outcomes]:
    drivers, leads = scene
    pairs: Pairs = {}
    outcomes: Outcomes = {}

    def decide(lead: Lead, rule: str, confidence: str, candidates: list[Driver]) -> None:
        ranked = sorted((-names_alike(lead, driver), driver.driver_id) for driver in candidates)
        best = -ranked[0][0] if ranked else Fraction(0)
        second = -ranked[1][0] if len(ranked) > 1 else Fraction(0)
        if not ranked:
            outcomes[lead.n, rule] = ("NO_CANDIDATES",)
        elif best < THRESHOLD:
            outcomes[lead.n, rule] = ("WEAK_MATCH_ONLY",)
        else:
            outcome = "MULTIPLE_CANDIDATES" if best - second < GAP else "MATCH"
            score = {R3: 85, R4: 75}.get(rule, int(best * 100))
            outcomes[lead.n, rule] = (outcome, ranked[0][1], score, confidence, round(float(best), 9))

    def hired_within(candidates: list[Driver], before: int, after: int) -> list[Driver]:
        return [
            driver
            for driver in candidates
            if driver.hired is None or -before <= (driver.hired - LEAD_DATE).days <= after
        ]

    here = [driver for driver in drivers if driver.is_in_park and not driver.has_vanished]
    for lead in leads:
        same_plate = [driver for driver in here if lead.plate and driver.plate == lead.plate]
        same_car = [driver for driver in here if None not in lead.car and driver.car == lead.car]
        for kind, candidates in (("plate", same_plate), ("car", same_car)):
            for driver in candidates:
                alike = names_alike(lead, driver)
                if alike >= THRESHOLD - GAP:
                    pairs[lead.n, kind, driver.driver_id] = round(float(alike), 9)
        if lead.plate and lead.tokens:
            in_time = hired_within(same_plate, 90, 30)
            decide(lead, R3 if in_time else R3B, "MEDIUM", in_time or same_plate)
        if None not in lead.car and lead.tokens:
            decide(lead, R4, "LOW", hired_within(same_car, 30, 7))
    return pairs, outcomes


@pytest.mark.slow
@settings(max_examples=6)
@given(st.integers(0, 2**32))
def test_the_join_finds_exactly_what_comparing_every_pair_finds(seed: int) -> None:
    scene = a_scene(Random(seed))
    pairs, outcomes = by_brute_force(scene)
    with rolled_back():
        load(scene)
        for small_block in SMALL_BLOCK_LIMITS:
            joined_pairs, joined_outcomes = by_join(small_block)
            assert joined_pairs == pairs, small_block
            assert joined_outcomes == outcomes, small_block


def test_the_scenes_have_something_of_every_outcome() -> None:
    """Or else the comparison above would be of nothing."""
    seen = set()
    for seed in range(5):
        for (_, rule), (outcome, *_) in by_brute_force(a_scene(Random(seed)))[1].items():
            seen.add((rule, outcome))
    assert seen >= {
        (rule, outcome) for rule in (R3, R4) for outcome in ("MATCH", "MULTIPLE_CANDIDATES", "WEAK_MATCH_ONLY")
    }
    assert seen >= {(rule, "NO_CANDIDATES") for rule in (R3B, R4)} | {(R3B, "WEAK_MATCH_ONLY"), (R3B, "MATCH")}


@pytest.mark.slow
def test_most_pairs_of_a_big_block_are_never_compared() -> None:
    """What the join is for: the pairs it looks at are a small part of all."""
    load(a_scene(Random(1)))
    looked_at = {}
    for small_block in (0, 1000):
        with rolled_back(), pytest.MonkeyPatch.context() as patch, connection.cursor() as cursor:
            patch.setattr(jobs, "SMALL_BLOCK", small_block)
            jobs.statement("identity_3_names", jobs._rule_parameters())
            cursor.execute("select count(*) from name_pairs")
            looked_at[small_block] = cursor.fetchone()[0]
    assert looked_at[0] < looked_at[1000] / 4


@pytest.mark.parametrize(
    ("hired", "common", "expected"),
    [
        (-30, 4, "MATCH"),
        (7, 4, "MATCH"),
        (None, 4, "MATCH"),
        (-31, 4, "NO_CANDIDATES"),
        (8, 4, "NO_CANDIDATES"),
        (0, 3, "MATCH"),
        (0, 2, "WEAK_MATCH_ONLY"),
    ],
)
def test_an_equal_car_links_by_name_within_thirty_days_before_and_seven_after(
    hired: int | None, common: int, expected: str
) -> None:
    name = ("QUISPE", "MAMANI", "JUAN", "CARLOS")
    day = None if hired is None else LEAD_DATE + dt.timedelta(days=hired)
    driver = Driver("d" * 32, None, ("KIA", "RIO"), name, day)
    lead = Lead(1, None, ("KIA", "RIO"), name[:common])
    load(([driver], [lead]))
    _, outcomes = by_join(small_block=16)
    assert outcomes[1, R4][0] == expected
    if expected == "MATCH":
        assert outcomes[1, R4][1:4] == (driver.driver_id, 75, "LOW")
