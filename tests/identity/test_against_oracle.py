"""The SQL and an independent matcher in plain Python agree on random worlds, as they grow and as they stay.

A run costs the same for one small world as for twenty, so twenty share a database. They have no phone, licence, plate
or id in common, so the oracle answers for each of them alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from identity.models import Link, Origin, Unmatched
from tests import factories
from tests.oracle import matcher, worlds
from tests.oracle.matcher import World

WORLDS = 300
WORLDS_AT_ONCE = 20
IDS_PER_WORLD = 1000

pytestmark = pytest.mark.django_db


# --- worlds side by side


def pools(place: int) -> dict[str, list[str]]:
    """Return the values of tests/oracle/worlds.py with the place in them: as often equal, never to another place's."""

    def with_place(value: str) -> str:
        return re.sub(r"\d\d", f"{place:02d}", value, count=1)

    phones = [f"9{place:02d}{phone[3:]}" for phone in worlds.PHONES]
    return {
        "PHONES": phones,
        "WEAK_PHONES": [f"01{place:02d}67890", f"0054 351 4{place:02d} 1234", f"123456{place:02d}901"],
        "STRONG_LOOKING_WEAK_PHONES": [f"+1 305 {phones[0]}", f"56 {phones[2]}"],
        "LICENCES": [with_place(licence) for licence in worlds.LICENCES],
        "WEAK_LICENCES": [with_place(licence) for licence in worlds.WEAK_LICENCES],
        "PLATES": [chr(ord("A") + place) + plate[1:] for plate in worlds.PLATES],
    }


@dataclass
class Story:
    """A world and the same world later."""

    seed: int
    before: World
    after: World


def a_story(seed: int, place: int, rules: matcher.Settings) -> Story:
    rng = Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        for name, values in pools(place).items():
            patch.setattr(worlds, name, values)
        world = worlds.random_world(rng)
        grown = worlds.grow_world(rng, world, leads=rng.randint(1, 15), drivers=rng.randint(0, 8))
    return Story(seed, _settled(world, place, rules), _settled(grown, place, rules))


def _settled(world: World, place: int, rules: matcher.Settings) -> World:
    """Move row ids, and external ids that imitate row ids, out of the way of the other places."""

    def moved(row: dict[str, Any]) -> dict[str, Any]:
        row = row | {"id": row["id"] + place * IDS_PER_WORLD}
        if re.fullmatch(r"\d{1,3}", row.get("external_id") or ""):
            row["external_id"] = str(int(row["external_id"]) + place * IDS_PER_WORLD)
        return row

    tables = ("drivers", "cabinet", "scouting", "migrations")
    return World(**{table: [moved(row) for row in getattr(world, table)] for table in tables}, settings=rules)


def together(many: Sequence[World]) -> World:
    everything = World()
    for world in many:
        everything.drivers += world.drivers
        everything.cabinet += world.cabinet
        everything.scouting += world.scouting
        everything.migrations += world.migrations
    return everything


# --- comparing


def expected(states: Sequence[matcher.State]) -> dict[str, Any]:
    answers: dict[str, Any] = {"links": {}, "unmatched": {}, "persons": frozenset(), "origins": {}}
    for state in states:
        for key, link in state.links.items():
            answers["links"][key] = (link.driver_id, link.rule, link.score, link.confidence)
        answers["unmatched"] |= {key: unmatched.reason_code for key, unmatched in state.unmatched.items()}
        answers["persons"] |= state.partition()
        answers["origins"] |= state.origins()
    return answers


def found() -> dict[str, Any]:
    links = list(Link.objects.all())
    members: dict[object, set[tuple[str, str]]] = {}
    for link in links:
        members.setdefault(link.person_id, set()).add((link.source_table, link.source_pk))
    return {
        "links": {
            (link.source_table, link.source_pk): (
                link.evidence["driver_id"], link.match_rule, link.match_score, link.confidence_level,
            )
            for link in links
            if link.source_table != "drivers"
        },
        "unmatched": {
            (row.source_table, row.source_pk): row.reason_code for row in Unmatched.objects.filter(status="OPEN")
        },
        "persons": frozenset(frozenset(records) for records in members.values()),
        "origins": {
            frozenset(members.get(origin.person_id, ())): (origin.origin_tag, origin.origin_source_id)
            for origin in Origin.objects.all()
        },
    }  # fmt: skip


def differences(states: Sequence[matcher.State]) -> list[str]:
    """Return what the SQL says otherwise than the oracle, one line each."""
    theirs, ours = expected(states), found()
    lines = [
        f"{part} of {key}: oracle {theirs[part].get(key)}, SQL {ours[part].get(key)}"
        for part in ("links", "unmatched", "origins")
        for key in theirs[part].keys() | ours[part].keys()
        if theirs[part].get(key) != ours[part].get(key)
    ]
    lines += [f"person of the oracle only: {sorted(records)}" for records in theirs["persons"] - ours["persons"]]
    lines += [f"person of the SQL only: {sorted(records)}" for records in ours["persons"] - theirs["persons"]]
    return sorted(lines)


def disagreement(stories: Sequence[Story]) -> list[str]:
    """Match the worlds, match them grown, match them once more; return the first disagreement, or nothing."""
    with factories.rolled_back():
        factories.load(together([story.before for story in stories]))
        factories.match()
        states = [matcher.match(story.before) for story in stories]
        if lines := differences(states):
            return ["at first:", *lines]

        factories.a_day_passes()
        factories.load(together([story.after for story in stories]))
        factories.match(full=True)
        states = [matcher.match(story.after, state) for story, state in zip(stories, states, strict=True)]
        if lines := differences(states):
            return ["grown:", *lines]

        if counts := factories.changes(factories.match()):
            return [f"nothing is new, and yet: {counts}"]
        return differences(states)


def agree(first: int, rules: matcher.Settings) -> None:
    stories = [a_story(first + place, place, rules) for place in range(WORLDS_AT_ONCE)]
    if not (lines := disagreement(stories)):
        return
    for story in stories:
        if alone := disagreement([story]):
            lines = [f"seed {story.seed}", *alone, worlds.describe(story.after)]
            break
    pytest.fail("\n".join(lines), pytrace=False)


@pytest.mark.parametrize(
    "first",
    [pytest.param(first, marks=[pytest.mark.slow] * (first > 0)) for first in range(0, WORLDS, WORLDS_AT_ONCE)],
)
def test_sql_and_oracle_agree(first: int, settings: Any) -> None:
    settings.CHUNK_SIZE = 50 if first // WORLDS_AT_ONCE % 2 else 5000
    agree(first, matcher.Settings())


@pytest.mark.slow
def test_sql_and_oracle_agree_with_the_option_r3c(settings: Any) -> None:
    settings.R3C_ENABLED = True
    agree(100, matcher.Settings(r3c=True))


def test_the_comparison_sees_a_wrong_link() -> None:
    story = a_story(0, 0, matcher.Settings())
    factories.load(story.before)
    factories.match()
    states = [matcher.match(story.before)]
    assert differences(states) == []
    Link.objects.exclude(source_table="drivers").update(match_score=1)
    assert len(differences(states)) == len(states[0].links) > 0
