"""The SQL and an independent matcher in plain Python agree on random worlds, as they grow and as they stay."""

from __future__ import annotations

from random import Random

import pytest
from django.db import transaction

from identity.models import Link, Origin, Unmatched
from tests import factories
from tests.oracle import matcher, worlds

WORLDS = 300
WORLDS_PER_TEST = 50

pytestmark = pytest.mark.django_db


def expected(state: matcher.State) -> dict[str, object]:
    return {
        "links": {
            key: (link.driver_id, link.rule, link.score, link.confidence) for key, link in state.links.items()
        },
        "unmatched": {key: unmatched.reason_code for key, unmatched in state.unmatched.items()},
        "persons": state.partition(),
        "origins": state.origins(),
    }


def found() -> dict[str, object]:
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


def differences(state: matcher.State) -> list[str]:
    """Return what the SQL says otherwise than the oracle, one line each."""
    lines = []
    theirs, ours = expected(state), found()
    for part in ("links", "unmatched", "origins"):
        one, other = theirs[part], ours[part]
        assert isinstance(one, dict) and isinstance(other, dict)
        lines += [
            f"{part} of {key}: oracle {one.get(key)}, SQL {other.get(key)}"
            for key in one.keys() | other.keys()
            if one.get(key) != other.get(key)
        ]
    one, other = theirs["persons"], ours["persons"]
    assert isinstance(one, frozenset) and isinstance(other, frozenset)
    lines += [f"person of the oracle only: {sorted(records)}" for records in one - other]
    lines += [f"person of the SQL only: {sorted(records)}" for records in other - one]
    return sorted(lines)


def agree(seed: int, world: matcher.World, state: matcher.State) -> None:
    lines = differences(state)
    if lines:
        pytest.fail("\n".join([f"seed {seed}", *lines, worlds.describe(world)]), pytrace=False)


def compare(seed: int) -> None:
    rng = Random(seed)
    world = worlds.random_world(rng)
    factories.load(world)
    factories.match()
    state = matcher.match(world)
    agree(seed, world, state)

    world = worlds.grow_world(rng, world, leads=rng.randint(1, 15), drivers=rng.randint(0, 8))
    factories.a_day_passes()
    factories.load(world)
    factories.match(full=True)
    state = matcher.match(world, state)
    agree(seed, world, state)

    assert factories.changes(factories.match()) == {}, f"seed {seed}: nothing is new, and yet"
    agree(seed, world, state)


@pytest.mark.parametrize("first", range(0, WORLDS, WORLDS_PER_TEST))
def test_sql_and_oracle_agree(first: int) -> None:
    for seed in range(first, first + WORLDS_PER_TEST):
        before = transaction.savepoint()
        compare(seed)
        transaction.savepoint_rollback(before)
