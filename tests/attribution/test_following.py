"""What follows a decision for its persons is what the whole refresh would have made of it; a preview says what happens."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from attribution.consequences import difference, snapshot
from attribution.following import ROWS, concerned, follow, narrowed, take_turns
from attribution.models import LedgerEntry, PossibleSamePerson
from attribution.settlement import open_period
from ct4site.models import AuditEntry, JobType
from ct4site.sealing import write_without_run
from identity.models import CabinetPayment, LeadEvent, Link
from tests.collection import stories
from tests.collection.stories import CLAIMS, Recruit, ago
from tests.collection.test_against_oracle import Dice, load, load_rules, random_world
from tests.factories import Record, a_registration, an_event, changes, refresh, rolled_back, run_job
from tests.oracle.collection import SEEDED, World

WORLDS = 40
AT_ONCE = 4  # decisions that are followed together: of each, a transaction keeps the locks of its temporary tables
DECISIONS = 2
SCOUTS = (7, 9, 3)

# Every table that attribution derives, and what of it is no fact: serial ids, and when it was written.
DERIVED = {
    "observational.lead_ledger": "updated_at",
    "observational.lead_trips": "id,computed_at",
    "observational.lead_milestones": "id",
    CLAIMS: "claim_id,expected_at,created_at,updated_at",
    "ops.person_scouts": "",
    "ops.scout_statements": "id",
    "ops.settlement_items": "id",
    "ops.yango_payment_states": "",
    "ops.yango_payment_status_ledger": "",
}

_numbers = itertools.count(10_000_000)  # of registrations: worlds have numbers of their own

pytestmark = pytest.mark.django_db


def derived() -> set[str]:
    """Return all rows of all derived tables, in words."""
    facts = set()
    with connection.cursor() as cursor:
        for table, left_out in DERIVED.items():
            cursor.execute(f"select (to_jsonb(found) - '{{{left_out}}}'::text[])::text from {table} as found")
            facts |= {f"{table} {row[0]}" for row in cursor.fetchall()}
    return facts


def whole_refresh() -> dict[str, Any]:
    """Bring everything up to date; return what changed."""
    tallies = [run_job(JobType.PROCESS_LEDGER), run_job(JobType.COLLECTION_REFRESH)]
    read = {
        "payment_flags_read", "payments_with_driver", "leads_read", "leads_with_driver", "milestones_reached",
        "persons_with_scout", "items_owed", "statement_rows",
    }  # fmt: skip
    return {name: count for tally in tallies for name, count in changes(tally).items() if name not in read}


def assert_refresh_finds_nothing() -> None:
    followed = derived()
    assert whole_refresh() == {}
    assert derived() == followed


def follow_for(*persons: UUID) -> None:
    write_without_run("ana")
    follow(persons=persons, run_id=None, actor="ana")


# --- decisions, as operations on single cases write them ----------------------------------------------


def move(record: Record, person: UUID) -> None:
    Link.objects.filter(source_table=record.source_table, source_pk=record.source_pk).update(person=person)
    LeadEvent.objects.filter(source_table=record.source_table, source_pk=record.source_pk).update(person=person)


def unlink(record: Record) -> None:
    Link.objects.filter(source_table=record.source_table, source_pk=record.source_pk).delete()
    LeadEvent.objects.filter(source_table=record.source_table, source_pk=record.source_pk).update(person=None)


def choose(person: UUID, scout: int) -> None:
    known = [
        number
        for number in LeadEvent.objects.filter(person=person).values_list("scout_id", flat=True)
        if number is not None
    ]
    values = {
        "attributed_source": "scouting", "attributed_scout_id": scout, "attribution_rule": "RESOLVED_MANUAL_CONFLICT",
        "attribution_score": "1.00", "confidence_level": "high", "decision_status": "assigned",
        "evidence_json": {"conflict_scout_ids": sorted({*known, *SCOUTS})},
    }  # fmt: skip
    LedgerEntry.objects.update_or_create(person_id=person, defaults=values)


# --- stories ------------------------------------------------------------------------------------------


def registered(person: UUID, scout: int, days_ago: int = 45) -> Record:
    """A scout registered the person."""
    record = stories.link(person, a_registration(None, scout=scout, on=ago(days_ago), id=next(_numbers)))
    an_event(record, person=person, on=ago(days_ago), scout_id=scout)
    return record


def a_driving_recruit(scout: int | None = 7, since: int = 40) -> Recruit:
    """A person whom the cabinet sent and a scout registered, with an account that reached five trips."""
    recruit = stories.a_recruit(ago(since), trips={0: 3, 2: 4})
    an_event(recruit.lead, person=recruit.person, on=recruit.lead_date, payload={"external_id": recruit.lead.source_pk})
    if scout:
        registered(recruit.person, scout)
    return recruit


def settled_world() -> None:
    refresh()
    whole_refresh()
    open_period(starts_on=ago(90), ends_on=ago(1), actor="tests")
    run_job(JobType.SETTLEMENT_CLOSE, next_ends_on=ago(0).isoformat())
    assert whole_refresh() == {}


def test_the_scout_chosen_for_a_conflict_is_owed_at_once():
    recruit = a_driving_recruit(scout=7)
    registered(recruit.person, 9, days_ago=44)
    other = a_driving_recruit(scout=3)
    refresh()
    whole_refresh()
    before = snapshot([recruit.person])
    choose(recruit.person, 9)
    follow_for(recruit.person)
    told = difference(before, snapshot([recruit.person]))
    assert [(change["what"], change["after"]["scout_id"]) for change in told["scouts"]] == [("changed", 9)]
    assert told["scouts"][0]["before"]["has_open_conflict"]
    assert {change["key"]["scout_id"] for change in told["money"]} == {9}
    assert Decimal(told["sums"][0]["blocked"]) < 0
    assert not told["links"]
    assert not told["claims"]
    assert snapshot([other.person])["money"]
    assert_refresh_finds_nothing()


def test_a_lead_moved_to_another_person_takes_its_trips_and_its_money_along():
    recruit, other = a_driving_recruit(scout=7), a_driving_recruit(scout=9)
    settled_world()
    move(recruit.lead, other.person)
    follow_for(recruit.person, other.person)
    assert_refresh_finds_nothing()


def test_a_driver_that_is_detached_disputes_its_claims_and_what_was_settled_stays_blocked():
    recruit = a_driving_recruit(scout=7)
    settled_world()
    before = snapshot([recruit.person])
    unlink(Record("drivers", recruit.driver_id))
    follow_for(recruit.person)
    told = difference(before, snapshot([recruit.person]))
    assert {change["what"] for change in told["links"]} == {"removed"}
    assert all(change["after"]["is_disputed"] for change in told["claims"])
    assert told["claims"]
    assert_refresh_finds_nothing()


def test_a_driver_moved_to_another_person_counts_for_that_one():
    recruit, other = a_driving_recruit(scout=7), a_driving_recruit(scout=9)
    stories.pays(recruit.name, 1)
    settled_world()
    move(Record("drivers", recruit.driver_id), other.person)
    follow_for(other.person)  # whose it was is found
    assert recruit.person in {UUID(key) for key in concerned([other.person])["persons"]}
    assert_refresh_finds_nothing()


@pytest.mark.parametrize("external_id", ["", None, "77", "  padded  ", "a1b2"])
@pytest.mark.slow
def test_a_lead_that_was_open_counts_once_it_is_linked(external_id):
    recruit = a_driving_recruit(scout=7, since=30)
    stories.drives(recruit.driver_id, ago(38), {0: 2, 1: 30})
    lead = stories.a_cabinet_lead(None, ago(39), external_id=external_id)
    settled_world()
    an_event(lead, on=ago(39), payload={"external_id": external_id})
    key = lead._replace(source_pk=lead.source_pk.strip())
    stories.link(recruit.person, key, driver=recruit.driver_id)
    LeadEvent.objects.filter(source_pk=lead.source_pk).update(source_pk=key.source_pk, person=recruit.person)
    follow_for(recruit.person)
    assert key.source_pk in stories.rows("observational.lead_trips", "source_pk", person_key=recruit.person)
    assert_refresh_finds_nothing()


def test_a_lead_that_came_after_the_last_refresh_is_followed_too():
    recruit = a_driving_recruit(scout=7)
    settled_world()
    lead = stories.a_cabinet_lead(recruit.person, ago(50), driver=recruit.driver_id)
    an_event(lead, person=recruit.person, on=ago(50))
    follow_for(recruit.person)
    assert_refresh_finds_nothing()


def test_following_writes_its_audit_without_a_run_and_twice_changes_nothing():
    recruit = a_driving_recruit(scout=7)
    refresh()
    whole_refresh()
    registered(recruit.person, 9, days_ago=44)
    follow_for(recruit.person)
    entry = AuditEntry.objects.filter(action="decide_ledger", run=None).get()
    assert (entry.actor, entry.person_key) == ("ana", recruit.person)
    followed = derived(), AuditEntry.objects.count()
    follow_for(recruit.person)
    assert (derived(), AuditEntry.objects.count()) == followed


def test_a_preview_is_what_the_decision_then_does_and_equal_twice():
    recruit, other = a_driving_recruit(scout=7), a_driving_recruit(scout=9)
    settled_world()
    persons = [recruit.person, other.person]

    def decide() -> str:
        before = snapshot(persons)
        move(Record("drivers", recruit.driver_id), other.person)
        follow_for(*persons)
        told = difference(before, snapshot(persons))
        assert all(told[section] for section in ("links", "claims", "money", "sums")), told
        return json.dumps(told, sort_keys=True)

    previews = []
    for _look in range(2):
        with rolled_back():
            previews.append(decide())
    assert decide() == previews[0] == previews[1]


def test_a_decision_and_the_refresh_take_turns():
    def has_turn() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "select exists (select 1 from pg_locks where locktype = 'advisory' and objid = 4005003 and granted"
                " and database = (select oid from pg_database where datname = current_database()))"
            )
            return bool(cursor.fetchone()[0])

    with rolled_back():
        whole_refresh()
        assert has_turn()
    assert not has_turn()
    take_turns(links=False)
    assert has_turn()


def test_nobody_is_concerned_by_a_decision_about_nobody():
    a_driving_recruit(scout=7)
    refresh()
    followed = derived()
    follow_for()
    assert derived() == followed


def test_a_table_of_which_nothing_says_whose_rows_are_whose_is_refused():
    with pytest.raises(LookupError):
        narrowed("select 1 from canon.identity_unmatched as found")
    with pytest.raises(LookupError):
        narrowed("delete from ops.person_scouts")


def test_no_relation_is_listed_that_is_not_there():
    with connection.cursor() as cursor:
        cursor.execute("select name from unnest(%s::text[]) as name where to_regclass(name) is null", [list(ROWS)])
        assert cursor.fetchall() == []


# --- random decisions in random worlds ----------------------------------------------------------------


def give_events(dice: Dice, world: World) -> None:
    """Give the leads of a world events, and some of its persons registrations of scouts."""
    for (table, pk), lead in world.leads.items():
        an_event(Record(table, pk), person=lead.person, on=lead.on or ago(30), payload={"external_id": pk})
    for person in sorted(world.persons):
        for _registration in range(dice.rng.choice([0, 0, 1, 1, 2])):
            registered(person, dice.rng.choice(SCOUTS), days_ago=dice.rng.choice([40, 44, 60]))
    for pk in world.payments:
        if dice.chance(0.2):
            CabinetPayment.objects.filter(pk=pk).update(scout_id=dice.rng.choice(SCOUTS))
    for driver in world.accounts:
        if dice.chance(0.4):
            stories.pays(None, 1, driver_id=driver, id=next(_numbers))


def some_decision(rng: Random, world: World) -> tuple[str, list[UUID]]:
    """Decide something of a world; return in words what, and the persons it is about."""
    persons = sorted(world.persons)
    links = list(Link.objects.filter(person__in=persons).order_by("source_table", "source_pk"))
    records = [Record(link.source_table, link.source_pk) for link in links]
    whose = dict(zip(records, [link.person_id for link in links], strict=True))
    person = rng.choice(persons)
    open_records = [Record(*key) for key, lead in world.leads.items() if Record(*key) not in whose]
    kind = rng.choice(["move", "move", "unlink", "link", "choose", "register", "hold", "suspect"])
    if kind == "move" and records:
        record = rng.choice(records)
        if record.source_table == "drivers":  # nobody drives for us without a lead
            person = rng.choice(
                [whose[other] for other in records if other.source_table != "drivers"] or [whose[record]]
            )
        move(record, person)
        return f"{record} of {whose[record]} to {person}", [whose[record], person]
    if kind == "unlink" and records:
        record = rng.choice(records)
        unlink(record)
        return f"{record} of {whose[record]} to nobody", [whose[record]]
    if kind == "link" and open_records:
        record = rng.choice(open_records)
        drivers = [other.source_pk for other in records if other.source_table == "drivers" and whose[other] == person]
        stories.link(person, record, driver=rng.choice([None, *drivers]))
        move(record, person)
        return f"{record} of nobody to {person}", [person]
    if kind == "register":
        return f"{registered(person, rng.choice(SCOUTS))} of {person}", [person]
    if kind == "hold" and world.accounts:
        driver = rng.choice(sorted(world.accounts))
        stories.quarantine(driver, rng.choice(["quarantined", "resolved_relinked"]))
        owner = whose.get(Record("drivers", driver))
        return f"{driver} of {owner} held or released", [owner] if owner else []
    if kind == "suspect" and len(persons) > 1:
        first, second = sorted(rng.sample(persons, 2))
        PossibleSamePerson.objects.update_or_create(
            person_a_id=first, person_b_id=second, defaults={"status": rng.choice(["open", "dismissed"])}
        )
        return f"{first} and {second} suspected or not", [first, second]
    scout = rng.choice(SCOUTS)
    choose(person, scout)
    return f"{person} to scout {scout}", [person]


def difference_from_refresh(seed: int, decide: Callable[[Random, World], tuple[str, list[UUID]]]) -> Sequence[str]:
    """Decide in many worlds, follow each decision; return what the whole refresh then makes otherwise."""
    rng = Random(seed)
    dices = [Dice(seed * WORLDS + place, place) for place in range(WORLDS)]
    worlds = [random_world(dice, SEEDED) for dice in dices]
    load_rules(SEEDED)
    for dice, world in zip(dices, worlds, strict=True):
        load(world)
        give_events(dice, world)
    settled_world()
    told = []
    for _turn in range(DECISIONS):
        for first in range(0, WORLDS, AT_ONCE):
            about = []
            for place in range(first, first + AT_ONCE):
                words, persons = decide(rng, worlds[place])
                connection.check_constraints()
                told.append(f"world {place}: {words}")
                about += persons
            follow_for(*about)
    followed = derived()
    counts = whole_refresh()
    refreshed = derived()
    wrong = [*(f"- {fact}" for fact in followed - refreshed), *(f"+ {fact}" for fact in refreshed - followed)]
    return [*(str(counts) for _once in range(bool(counts))), *sorted(wrong), *(told if wrong else [])]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.slow
def test_decisions_that_were_followed_leave_nothing_to_the_refresh(seed):
    assert difference_from_refresh(seed, some_decision) == []
