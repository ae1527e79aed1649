"""Who gets the person: the ledger's decision (domain.md 6.2, 14.3 "Ledger decision", Q11 to Q13)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from attribution.models import LedgerEntry
from ct4site.models import AuditEntry, JobType
from identity.models import LeadEvent, Person
from tests.factories import Record, an_event, changes, run_job

pytestmark = pytest.mark.django_db

D1 = dt.date(2026, 1, 1)
TABLES = {
    "scouting": "module_ct_scouting_daily",
    "migration": "module_ct_migrations",
    "cabinet": "module_ct_cabinet_leads",
}


def day(number: int) -> dt.date:
    """Return the day d<number> of the worked examples."""
    return D1 + dt.timedelta(days=number - 1)


def a_person_with(*events: tuple[str, int | None, int], **columns: Any) -> Person:
    """Make a person with events ``(kind, scout, day)``; keys count up in the order given."""
    person = Person.objects.create(confidence_level="HIGH")
    for kind, scout, number in events:
        key = str(LeadEvent.objects.count() + 1)
        an_event(Record(TABLES[kind], key), person=person.pk, on=day(number), scout_id=scout, **columns)
    return person


def decide(**parameters: Any) -> dict[str, Any]:
    return run_job(JobType.PROCESS_LEDGER, **parameters)


def entry(person: Person) -> LedgerEntry:
    return LedgerEntry.objects.get(pk=person.pk)


def decision(person: Person) -> tuple[str | None, int | None]:
    """Return (rule, scout) of a person's ledger entry."""
    found = entry(person)
    return found.attribution_rule, found.attributed_scout_id


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((("scouting", 7, 1), ("scouting", 9, 5)), ("C", None)),
        ((("scouting", 7, 1), ("scouting", 9, 20)), ("A", 9)),
        ((("scouting", 7, 1), ("scouting", 9, 5), ("migration", 3, 10)), ("C", None)),
        ((("migration", 3, 1), ("migration", 4, 9)), ("A_FLEET", 4)),
        ((("cabinet", None, 1),), ("B", None)),
        ((("cabinet", None, 3), ("scouting", 7, 1)), ("A", 7)),
        ((("scouting", 7, 1), ("scouting", 9, 8)), ("C", None)),
        ((("scouting", 7, 1), ("scouting", 9, 9)), ("A", 9)),
        ((("scouting", 7, 1), ("scouting", None, 5)), ("A", 7)),
        ((("scouting", None, 1),), ("A", None)),
        ((("scouting", 7, 1), ("migration", 3, 1)), ("A_FLEET", 3)),
        ((("cabinet", 5, 1),), ("B", None)),
    ],
    ids=lambda value: "-".join(f"{kind}.{scout}.d{number}" for kind, scout, number in value) if isinstance(value[0], tuple) else None,
)  # fmt: skip
def test_the_ledger_decides_by_the_rules(events, expected):
    person = a_person_with(*events)
    decide()
    assert decision(person) == expected


def test_each_rule_says_what_it_is_worth():
    people = {
        "C": a_person_with(("scouting", 7, 1), ("scouting", 9, 5)),
        "A_FLEET": a_person_with(("migration", 3, 1)),
        "A": a_person_with(("scouting", 7, 1)),
        "B": a_person_with(("cabinet", None, 1)),
    }
    decide()
    found = {rule: entry(person) for rule, person in people.items()}
    assert {
        rule: (row.attributed_source, float(row.attribution_score), row.confidence_level, row.decision_status)
        for rule, row in found.items()
    } == {
        "C": ("scouting", 0.5, "low", "conflict"),
        "A_FLEET": ("fleet_migration", 0.95, "high", "assigned"),
        "A": ("scouting", 0.95, "high", "assigned"),
        "B": ("cabinet", 0.8, "medium", "assigned"),
    }
    assert found["C"].evidence_json["scouts_in_conflict"] == [
        {"scout_id": 7, "first_date": "2026-01-01", "last_date": "2026-01-01", "count_events": 1},
        {"scout_id": 9, "first_date": "2026-01-05", "last_date": "2026-01-05", "count_events": 1},
    ]
    assert found["A"].evidence_json["chosen_policy"] == "origin_priority"


def test_a_conflict_names_the_migration_too():
    person = a_person_with(("scouting", 7, 1), ("scouting", 9, 5), ("migration", 3, 10))
    decide()
    assert [scout["scout_id"] for scout in entry(person).evidence_json["scouts_in_conflict"]] == [3, 7, 9]


def test_a_setting_lets_the_fleet_win_over_a_conflict(settings):
    settings.LEDGER_CONFLICT_BEATS_FLEET = False
    person = a_person_with(("scouting", 7, 1), ("scouting", 9, 5), ("migration", 3, 10))
    decide()
    assert decision(person) == ("A_FLEET", 3)


def test_the_kind_goes_by_the_table_whatever_the_tag_says():
    person = a_person_with(("scouting", 7, 1), payload={"origin_tag": "cabinet"})
    decide()
    assert decision(person) == ("A", 7)


@pytest.mark.parametrize(
    ("text", "scout"), [("12", 12), (" 12 ", 12), ("doce", None), ("12.5", None), ("9" * 30, None)]
)
def test_a_scout_in_the_payload_counts_where_it_is_a_number(text, scout):
    person = a_person_with(("scouting", None, 1), payload={"scout_id": text})
    decide()
    assert decision(person) == ("A", scout)


def test_of_one_day_the_highest_key_wins():
    person = Person.objects.create(confidence_level="HIGH")
    for key, scout in (("9", 3), ("10", 4), ("8", 5)):
        an_event(Record(TABLES["migration"], key), person=person.pk, on=D1, scout_id=scout)
    decide()
    assert decision(person) == ("A_FLEET", 4)


def test_a_person_without_events_has_no_entry():
    Person.objects.create(confidence_level="HIGH")
    assert decide()["processed_person_keys"] == 0
    assert not LedgerEntry.objects.exists()


def test_a_person_who_lost_all_events_becomes_unassigned():
    person = a_person_with(("scouting", 7, 1))
    decide()
    LeadEvent.objects.update(person=None)
    decide()
    assert (decision(person), entry(person).decision_status) == (("U", None), "unassigned")


def test_a_second_run_decides_nothing():
    a_person_with(("scouting", 7, 1))
    assert decide()["changed_count"] == 1
    assert changes(decide()) == {}


def test_only_persons_whose_evidence_changed_are_decided_again():
    first, _second = a_person_with(("scouting", 7, 1)), a_person_with(("scouting", 8, 1))
    decide()
    an_event(Record(TABLES["scouting"], "77"), person=first.pk, on=day(3), scout_id=9)
    tally = decide()
    assert (tally["processed_person_keys"], tally["changed_count"]) == (1, 1)
    assert decision(first) == ("C", None)


@pytest.mark.parametrize("rule", ["RESOLVED_MANUAL_CONFLICT", "BACKFILL_SINGLE_SCOUT_FROM_EVENTS"])
def test_what_a_person_or_a_backfill_decided_stays(rule):
    person = a_person_with(("scouting", 7, 1), ("scouting", 9, 2))
    LedgerEntry.objects.create(
        person=person, attributed_source="scouting", attributed_scout_id=9, attribution_rule=rule,
        attribution_score="0.95", confidence_level="high", decision_status="assigned",
    )  # fmt: skip
    assert changes(decide()) == {}
    assert decision(person) == (rule, 9)


def test_a_fleet_scout_from_before_stays_until_his_evidence_changes():
    person = a_person_with(("scouting", 7, 1), ("scouting", 9, 5), ("migration", 3, 10))
    LedgerEntry.objects.create(
        person=person, attributed_source="fleet_migration", attributed_scout_id=3, attribution_rule="A_FLEET",
        attribution_score="0.95", confidence_level="high", decision_status="assigned",
    )  # fmt: skip
    decide()
    assert decision(person) == ("A_FLEET", 3)
    an_event(Record(TABLES["scouting"], "78"), person=person.pk, on=day(6), scout_id=9)
    decide()
    assert decision(person) == ("C", None)


def test_every_decision_is_audited_with_before_and_after():
    person = a_person_with(("scouting", 7, 1))
    decide()
    an_event(Record(TABLES["scouting"], "79"), person=person.pk, on=day(20), scout_id=9)
    tally = decide()
    entries = list(AuditEntry.objects.filter(subject_table="lead_ledger").order_by("id"))
    assert [entry.action for entry in entries] == ["decide_ledger", "decide_ledger"]
    assert (entries[0].before, entries[0].after["attributed_scout_id"]) == (None, 7)
    assert (entries[1].before["attributed_scout_id"], entries[1].after["attributed_scout_id"]) == (7, 9)
    assert tally["audit"] == 1


def test_the_size_of_a_chunk_makes_no_difference(settings):
    people = [a_person_with(("scouting", 7 + number, 1), ("scouting", 9, 3)) for number in range(5)]
    settings.CHUNK_SIZE = 1
    decide()
    assert [decision(person) for person in people] == [("C", None), ("C", None), ("A", 9), ("C", None), ("C", None)]
