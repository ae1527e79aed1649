"""The three backfills and lead events (domain.md 6.1, 6.11, 14.3 "Scout attribution", Q2, Q3, Q15, Q16, Q28 to Q31, Q76, Q79)."""

from __future__ import annotations

import datetime as dt
import io
import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from django.utils.translation import gettext

from attribution import backfills
from attribution.jobs import decide_ledger
from attribution.models import (
    EventsBackfillEntry,
    LeadScoutMapping,
    LedgerBackfillEntry,
    LedgerEntry,
    LinksBackfillEntry,
    ScoutPayment,
)
from ct4site import invariants, jobs
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from ct4site.rollback import start_roll_back
from identity.demo import generate
from identity.models import LeadEvent, Link, Person, Unmatched
from identity.sources import load_source
from tests.attribution.test_ledger import TABLES, a_person_with, day, decide
from tests.factories import (
    JUAN,
    PEDRO,
    ROSA,
    Record,
    a_driver,
    a_lead,
    a_migration,
    a_phone,
    a_recruited_driver,
    a_registration,
    an_event,
    an_orphan,
    case_of,
    changes,
    link_of,
    match,
    refresh,
    run_job,
    unmatched_of,
)

pytestmark = pytest.mark.django_db

PHONE, OTHER_PHONE = a_phone(700), a_phone(701)
LICENCE, OTHER_LICENCE = "Q27000001", "Q27000002"


def link(**parameters: Any) -> dict[str, Any]:
    """Bring the index up to date and run the links backfill; return its tally."""
    refresh()
    return run_job(JobType.LINKS_BACKFILL, **parameters)


def fill_ledger(**parameters: Any) -> dict[str, Any]:
    return run_job(JobType.LEDGER_BACKFILL, **parameters)


def fill_events(**parameters: Any) -> dict[str, Any]:
    return run_job(JobType.EVENTS_BACKFILL, **parameters)


def populate(**parameters: Any) -> dict[str, Any]:
    return run_job(JobType.POPULATE_EVENTS, **parameters)


def last_run(code: str) -> Run:
    return Run.objects.filter(job_type=code).latest("pk")


def roll_back(run: Run) -> dict[str, Any]:
    ended = jobs.execute(start_roll_back(run_id=run.pk, actor="tests").pk)
    assert ended.status == RunStatus.COMPLETED, ended.error_message
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    return dict(ended.stats)


def told(record: Record) -> tuple[str, str | None] | None:
    """Return (result, reason) as last told of a scouting row by the audit, or None."""
    found = LinksBackfillEntry.objects.filter(source_table=record.source_table, source_pk=record.source_pk)
    entry = found.order_by("-id").first()
    return (entry.match_result, entry.reason) if entry else None


def linked(record: Record) -> tuple[str, int, str] | None:
    """Return (rule, score, confidence) of a record's link, or None."""
    found = link_of(record)
    return (found.match_rule, found.match_score, found.confidence_level) if found else None


def person_of(record: Record) -> Any:
    found = link_of(record)
    assert found is not None, f"{record} is not linked"
    return found.person_id


def complaints() -> dict[str, list[tuple[str, str]]]:
    return {finding.name: finding.samples for finding in invariants.check() if finding.count}


# --- (1) links: drivers -------------------------------------------------------------------------------


def test_a_row_links_to_the_person_of_the_one_driver_with_its_licence():
    driver_id, first = a_recruited_driver(JUAN, licence=LICENCE)
    match()
    record = a_registration(JUAN, licence=LICENCE.lower())
    tally = link()
    assert linked(record) == ("BACKFILL_LICENSE_MATCH", 80, "HIGH")
    assert person_of(record) == person_of(first)
    entry = LinksBackfillEntry.objects.get(source_pk=record.source_pk)
    assert (entry.match_result, entry.action_type, entry.match_method) == ("created", "CREATED", "license")
    assert (entry.driver_id, entry.person_key, entry.match_score) == (driver_id, person_of(first), 80)
    assert (tally["total"], tally["created"], tally["created_with_driver"]) == (1, 1, 1)


def test_a_row_links_by_the_last_nine_digits_of_its_phone():
    a_driver(JUAN, phone=f"51{PHONE}")
    record = a_registration(JUAN, phone=PHONE)
    link()
    assert linked(record) == ("BACKFILL_PHONE_MATCH", 70, "MEDIUM")


def test_a_driver_without_person_gets_one_and_its_link_beside_the_row():
    driver_id = a_driver(JUAN, licence=LICENCE, phone=f"51{PHONE}")
    record = a_registration(JUAN, licence=LICENCE)
    tally = link()
    found = Link.objects.get(source_table="drivers", source_pk=driver_id)
    assert (found.person_id, found.match_rule) == (person_of(record), "DRIVER_MATCH")
    person = Person.objects.get(pk=found.person_id)
    assert (person.primary_phone, person.primary_license, person.confidence_level) == (PHONE, LICENCE, "HIGH")
    assert (tally["persons_created"], tally["driver_links"], tally["created_new_person"]) == (1, 1, 0)


def test_two_drivers_with_the_key_are_never_a_link():
    for name in (JUAN, ROSA):
        a_driver(name, phone=f"51{PHONE}")
    record = a_registration(JUAN, phone=PHONE)
    tally = link()
    assert (linked(record), told(record)) == (None, ("ambiguous", "MULTIPLE_CANDIDATES"))
    assert unmatched_of(record).reason_code == "MULTIPLE_CANDIDATES"
    assert len(unmatched_of(record).candidates_preview["candidates"]) == 2
    assert not Person.objects.exists()
    assert tally["ambiguous"] == 1


def test_a_licence_and_a_phone_of_two_drivers_are_never_a_link():
    a_driver(JUAN, licence=LICENCE)
    a_driver(JUAN, phone=f"51{PHONE}")
    record = a_registration(JUAN, licence=LICENCE, phone=PHONE)
    link()
    assert (linked(record), told(record)) == (None, ("ambiguous", "MULTIPLE_CANDIDATES"))


def test_a_driver_of_another_name_is_left_to_a_person():
    a_driver(ROSA, phone=f"51{PHONE}")
    record = a_registration(JUAN, phone=PHONE)
    link()
    assert (linked(record), told(record)) == (None, ("ambiguous", "KEY_MATCH_NAME_CONTRADICTS"))
    assert unmatched_of(record).reason_code == "KEY_MATCH_NAME_CONTRADICTS"


def test_a_placeholder_links_nobody_and_founds_nobody():
    licences = ("X", "DRIVERDRAFT0123456789abcdef0123456789abcdef", "SINLICENCIA", "-", " ")
    records = {}
    for licence, phone in product(licences, ("999999999", None)):
        a_driver(JUAN, licence=licence, phone=phone)
        for scout in (7, 9):
            records[licence, phone, scout] = a_registration(JUAN, licence=licence, phone=phone, scout=scout)
    link()
    outcomes = {of: (linked(record), told(record)) for of, record in records.items()}
    assert outcomes == dict.fromkeys(records, (None, ("not_found", "MISSING_KEYS")))
    assert not Person.objects.exists()


def test_a_key_under_many_names_belongs_to_nobody():
    records = [
        a_registration(name, phone=PHONE)
        for name in (JUAN, ROSA, PEDRO, "SALAZAR CRUZ LUZ MARIA", "BENITES ROJAS HUGO IVAN")
    ]
    link()
    assert {linked(record) for record in records} == {None}
    assert not Person.objects.exists()


def test_a_row_that_gives_the_scouts_own_phone_is_known_by_its_licence():
    names = (JUAN, ROSA, PEDRO, "SALAZAR CRUZ LUZ MARIA", "BENITES ROJAS HUGO IVAN")
    records = [a_registration(name, phone=PHONE, licence=f"Q2700010{number}") for number, name in enumerate(names)]
    link()
    assert [linked(record) for record in records] == [("BACKFILL_NEW_PERSON", 50, "LOW")] * 5
    assert len({person_of(record) for record in records}) == 5
    assert set(Person.objects.values_list("primary_phone", flat=True)) == {None}


def test_a_row_without_date_is_not_linked():
    record = a_registration(JUAN, licence=LICENCE, on=None)
    link()
    assert (linked(record), told(record)) == (None, ("not_found", "MISSING_KEYS"))


def test_a_row_without_scout_is_not_looked_at():
    record = a_registration(JUAN, licence=LICENCE, scout=None)
    assert changes(link()) == {}
    assert (linked(record), told(record)) == (None, None)


def test_a_row_that_a_person_set_aside_stays_aside():
    record = a_registration(JUAN)
    match()
    Unmatched.objects.update(status="IGNORED")
    Link.objects.filter(source_pk=record.source_pk).delete()
    assert changes(link()) == {}


# --- (1) links: persons known, new persons ------------------------------------------------------------


def test_a_row_of_nobody_with_a_clean_key_founds_a_person():
    record = a_registration(JUAN, licence=LICENCE, phone=PHONE)
    tally = link()
    assert linked(record) == ("BACKFILL_NEW_PERSON", 50, "LOW")
    person = Person.objects.get()
    assert (person.primary_license, person.primary_phone, person.primary_full_name) == (LICENCE, PHONE, JUAN)
    assert person.confidence_level == "LOW"
    assert (tally["created_new_person"], tally["persons_created"]) == (1, 1)
    assert LeadEvent.objects.get().person_id == person.pk
    entry = LinksBackfillEntry.objects.get()
    assert (entry.match_method, entry.match_confidence, entry.driver_license) == ("new_person", "LOW", LICENCE)


@pytest.mark.parametrize("keys", [{"phone": "014567890"}, {"licence": "12345678"}])
def test_a_weak_key_founds_nobody(keys):
    record = a_registration(JUAN, **keys)
    link()
    assert (linked(record), told(record)[0]) == (None, "not_found")


@pytest.mark.parametrize("shared", [{"phone": PHONE}, {"licence": LICENCE}])
def test_two_rows_of_one_human_with_a_shared_clean_key_are_one_person(shared):
    records = [a_registration(JUAN, scout=scout, on=day(scout), **shared) for scout in (7, 9)]
    tally = link()
    assert len({person_of(record) for record in records}) == 1
    assert (tally["created"], tally["persons_created"]) == (2, 1)


def test_rows_are_one_person_through_a_third_row():
    one = a_registration(JUAN, licence=LICENCE, scout=7)
    both = a_registration(JUAN, licence=LICENCE, phone=PHONE, scout=8)
    other = a_registration(JUAN, phone=PHONE, scout=9)
    link()
    assert person_of(one) == person_of(both) == person_of(other)


def test_a_later_row_joins_the_person_an_earlier_run_founded():
    first = a_registration(JUAN, phone=PHONE)
    link()
    second = a_registration(JUAN, phone=PHONE, scout=9)
    link()
    assert person_of(second) == person_of(first)
    assert linked(second) == ("BACKFILL_PHONE_MATCH", 70, "MEDIUM")


def test_a_row_joins_the_person_of_another_row_that_a_driver_is_known_for():
    a_driver(JUAN, licence=LICENCE, phone=f"51{OTHER_PHONE}")
    known = a_registration(JUAN, licence=LICENCE, phone=PHONE)
    record = a_registration(JUAN, phone=PHONE, scout=9)
    link()
    assert person_of(record) == person_of(known)
    assert Person.objects.count() == 1


def test_the_registry_knows_a_person_by_a_licence():
    person = Person.objects.create(confidence_level="HIGH", primary_license=LICENCE, primary_full_name=JUAN)
    record = a_registration(JUAN, licence=LICENCE)
    link()
    assert (person_of(record), linked(record)) == (person.pk, ("BACKFILL_LICENSE_MATCH", 80, "HIGH"))


def test_two_persons_with_the_key_are_never_a_link():
    for _number in range(2):
        Person.objects.create(confidence_level="HIGH", primary_phone=PHONE, primary_full_name=JUAN)
    record = a_registration(JUAN, phone=PHONE)
    link()
    assert (linked(record), told(record)) == (None, ("ambiguous", "MULTIPLE_CANDIDATES"))
    assert len(unmatched_of(record).candidates_preview["candidates"]) == 2


def test_a_known_person_of_another_name_is_left_to_a_person():
    Person.objects.create(confidence_level="HIGH", primary_phone=PHONE, primary_full_name=ROSA)
    record = a_registration(JUAN, phone=PHONE)
    link()
    assert (linked(record), told(record)) == (None, ("ambiguous", "KEY_MATCH_NAME_CONTRADICTS"))
    assert Person.objects.count() == 1


def test_names_that_contradict_on_one_phone_found_nobody_by_it():
    one, other = a_registration(JUAN, phone=PHONE), a_registration(ROSA, phone=PHONE)
    own = a_registration(PEDRO, phone=PHONE, licence=LICENCE)
    link()
    assert [told(record) for record in (one, other)] == [("ambiguous", "KEY_MATCH_NAME_CONTRADICTS")] * 2
    assert linked(own) == ("BACKFILL_NEW_PERSON", 50, "LOW")
    assert Person.objects.get().primary_phone is None


def test_brothers_with_one_phone_and_two_licences_are_two_persons():
    one = a_registration("QUISPE MAMANI JUAN CARLOS", phone=PHONE, licence=LICENCE)
    other = a_registration("QUISPE MAMANI LUIS ALBERTO", phone=PHONE, licence=OTHER_LICENCE)
    link()
    assert person_of(one) != person_of(other)


def test_a_crowd_of_rows_is_not_made_a_person():
    records = [a_registration(JUAN, licence=LICENCE, on=day(number)) for number in range(1, 9)]
    link()
    assert {told(record) for record in records} == {("ambiguous", "PERSON_TOO_LARGE")}
    assert not Person.objects.exists()


def test_a_person_does_not_grow_beyond_the_limit():
    first = [a_registration(JUAN, licence=LICENCE, on=day(number)) for number in range(1, 6)]
    link()
    later = [a_registration(JUAN, licence=LICENCE, on=day(number)) for number in (7, 8)]
    link()
    assert len({person_of(record) for record in first}) == 1
    assert {told(record) for record in later} == {("ambiguous", "PERSON_TOO_LARGE")}
    assert complaints() == {}


# --- (1) links: what goes with them -------------------------------------------------------------------


def test_an_open_record_is_resolved_by_its_link():
    record = a_registration(JUAN, licence=LICENCE)
    match()
    assert unmatched_of(record).status == "OPEN"
    assert link()["unmatched_resolved"] == 1
    assert unmatched_of(record).status == "RESOLVED"


def test_a_reason_that_says_more_is_kept():
    a_driver(ROSA, phone=f"51{PHONE}")
    record = a_registration(JUAN, phone=PHONE)
    match()
    before = unmatched_of(record).run_id
    tally = link()
    assert (unmatched_of(record).run_id, tally["unmatched_written"]) == (before, 0)
    assert told(record) == ("ambiguous", "KEY_MATCH_NAME_CONTRADICTS")


def test_a_quarantined_driver_is_released_by_the_link():
    orphan = an_orphan(JUAN, licence=LICENCE)
    run_job(JobType.ORPHANS_FIX)
    record = a_registration(JUAN, licence=LICENCE)
    assert link()["drivers_released"] == 1
    assert person_of(record) == orphan.person
    assert case_of(orphan.driver_id).status == "resolved_relinked"


def test_the_origin_of_a_founded_person_is_the_registration():
    record = a_registration(JUAN, licence=LICENCE)
    link()
    with connection.cursor() as cursor:
        cursor.execute("select origin_tag, origin_source_id, origin_confidence from canon.identity_origin")
        assert cursor.fetchall() == [("scout_registration", record.source_pk, 35)]


@pytest.mark.slow
def test_a_row_left_open_and_linked_by_somebody_since_is_told_as_existing():
    a_driver(ROSA, phone=f"51{PHONE}")
    record = a_registration(JUAN, phone=PHONE)
    link()
    person = Person.objects.create(confidence_level="HIGH")
    Unmatched.objects.update(status="RESOLVED", resolved_at=timezone.now())
    Link.objects.create(
        person=person, source_table=record.source_table, source_pk=record.source_pk, snapshot_date=timezone.now(),
        match_rule="MANUAL_RESOLUTION", match_score=100, confidence_level="HIGH",
    )  # fmt: skip
    tally = link()
    assert (tally["total"], tally["skipped"], told(record)) == (1, 1, ("skipped_exists", None))
    assert changes(link()) == {}
    assert person_of(record) == person.pk


def test_a_second_run_links_nothing_and_tells_nothing():
    a_registration(JUAN, licence=LICENCE)
    a_registration(ROSA)
    for name in (JUAN, ROSA):
        a_driver(name, phone=f"51{PHONE}")
    a_registration(JUAN, phone=PHONE)
    assert link()["total"] == 3
    before = LinksBackfillEntry.objects.count()
    assert changes(run_job(JobType.LINKS_BACKFILL)) == {}
    assert LinksBackfillEntry.objects.count() == before == 3


def test_a_changed_outcome_is_told_again():
    record = a_registration(JUAN, phone=PHONE)
    Person.objects.create(confidence_level="HIGH", primary_phone=PHONE, primary_full_name=ROSA)
    link()
    Person.objects.update(primary_full_name=JUAN)
    link()
    results = LinksBackfillEntry.objects.filter(source_pk=record.source_pk).order_by("id")
    assert list(results.values_list("match_result", "action_type")) == [
        ("ambiguous", "AMBIGUOUS"),
        ("created", "CREATED"),
    ]


def test_a_dry_run_tells_the_numbers_of_the_run_and_keeps_nothing():
    a_driver(JUAN, licence=LICENCE)
    a_registration(JUAN, licence=LICENCE)
    a_registration(ROSA, phone=PHONE)
    a_registration(PEDRO)
    preview = link(dry_run=True)
    assert not Link.objects.exists() and not LinksBackfillEntry.objects.exists()
    assert run_job(JobType.LINKS_BACKFILL) == preview
    assert preview["total"] == 3


def test_a_limit_takes_the_newest_rows_never_told_first():
    old = a_registration(JUAN, on=day(1))
    new = a_registration(ROSA, on=day(9))
    link(limit=1)
    assert (told(old), told(new)) == (None, ("not_found", "MISSING_KEYS"))
    link(limit=1)
    assert told(old) == ("not_found", "MISSING_KEYS")


def test_all_rows_of_a_person_are_in_one_chunk_whatever_its_size(settings):
    settings.CHUNK_SIZE = 1
    people = [
        [a_registration(name, licence=f"Q2710000{number}", scout=scout) for scout in (7, 8, 9)]
        for number, name in enumerate((JUAN, ROSA, PEDRO))
    ]
    a_registration("SALAZAR CRUZ LUZ MARIA")
    tally = link()
    assert [len({person_of(record) for record in records}) for records in people] == [1, 1, 1]
    assert (tally["total"], tally["created"], tally["not_found"]) == (10, 9, 1)
    assert complaints() == {}


@pytest.mark.slow
def test_a_roll_back_takes_the_links_back_and_the_audit_grows():
    a_driver(JUAN, licence=LICENCE)
    records = [a_registration(JUAN, licence=LICENCE), a_registration(ROSA, phone=PHONE)]
    match(source=["cabinet"])
    link()
    roll_back(last_run(JobType.LINKS_BACKFILL))
    assert not Link.objects.exists() and not Person.objects.exists()
    assert [told(record) for record in records] == [("rolled_back", "rolled back")] * 2
    assert LinksBackfillEntry.objects.count() == 4
    assert complaints() == {}
    assert link()["created"] == 2


@pytest.mark.parametrize(
    "table",
    ["identity_links_backfill_audit", "lead_ledger_scout_backfill_audit", "lead_events_scout_backfill_audit"],
)
@pytest.mark.parametrize("verb", ["update ops.{} set notes = 'x'", "delete from ops.{}"])
def test_the_audits_of_the_backfills_only_grow(table, verb):
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(verb.format(table))


# --- (2) ledger ---------------------------------------------------------------------------------------


def a_ledger_entry(person: Person, rule: str | None, scout: int | None, status: str = "assigned") -> None:
    LedgerEntry.objects.create(
        person=person, attributed_source="cabinet", attributed_scout_id=scout, attribution_rule=rule,
        attribution_score="0.80", confidence_level="medium", decision_status=status, evidence_json={"kept": 1},
    )  # fmt: skip


def entry(person: Person) -> tuple[str | None, int | None, str, str] | None:
    found = LedgerEntry.objects.filter(pk=person.pk).first()
    return (
        (found.attribution_rule, found.attributed_scout_id, found.confidence_level, found.decision_status)
        if found
        else None
    )


FILLED = ("BACKFILL_SINGLE_SCOUT_FROM_EVENTS", 7, "high", "assigned")


@pytest.mark.parametrize(
    ("ledger", "scouts", "expected"),
    [
        (("A", 7), (7,), None),
        (("B", None), (7,), FILLED),
        (("B", None), (7, 9), None),
        (("C", None, "conflict"), (7, 9), None),
        (("C", None, "conflict"), (7,), None),
        (("B", None), (None,), None),
        (("U", None, "unassigned"), (), None),
        (("U", None, "unassigned"), (7,), FILLED),
        (None, (7,), FILLED),
        (None, (7, 7, None), FILLED),
        (None, (), None),
        ((None, None), (), None),
        (("A", 5), (7,), None),
        (("RESOLVED_MANUAL_CONFLICT", None), (7,), None),
    ],
)
def test_the_ledger_gets_the_one_scout_of_the_events(ledger, scouts, expected):
    person = a_person_with(*(("cabinet", scout, number) for number, scout in enumerate(scouts, 1)))
    if ledger:
        a_ledger_entry(person, *ledger)
    before = entry(person)
    tally = fill_ledger()
    assert entry(person) == (expected or before)
    assert tally["updated"] + tally["inserted"] == (expected is not None)
    assert LedgerBackfillEntry.objects.count() == (expected is not None)


def test_a_filled_entry_keeps_what_was_and_says_where_the_scout_is_from():
    person = a_person_with(("scouting", 7, 2), ("cabinet", None, 5))
    a_ledger_entry(person, "B", None)
    tally = fill_ledger()
    found = LedgerEntry.objects.get()
    evidence = dict(found.evidence_json)
    assert evidence.pop("backfill_timestamp")
    assert evidence == {
        "kept": 1, "previous_rule": "B", "backfill_method": "BACKFILL_SINGLE_SCOUT_FROM_EVENTS",
        "attribution_source": "lead_events", "source_tables": [TABLES["cabinet"], TABLES["scouting"]],
        "origin_tags": ["cabinet", "scouting"], "total_events": 2, "first_event_date": "2026-01-02",
        "last_event_date": "2026-01-05",
    }  # fmt: skip
    assert (found.attributed_source, float(found.attribution_score)) == ("scouting", 0.95)
    audit = LedgerBackfillEntry.objects.get()
    assert (audit.old_attributed_scout_id, audit.new_attributed_scout_id) == (None, 7)
    assert (audit.attribution_rule_old, audit.attribution_rule_new) == ("B", "BACKFILL_SINGLE_SCOUT_FROM_EVENTS")
    assert (audit.attribution_confidence_old, audit.attribution_confidence_new) == ("medium", "high")
    assert (audit.evidence_json_old, audit.backfill_method) == ({"kept": 1}, "BACKFILL_SINGLE_SCOUT_FROM_EVENTS")
    assert tally["audit"] == AuditEntry.objects.filter(action="backfill_ledger").count() == 1


def test_an_entry_that_was_not_there_has_nothing_before():
    a_person_with(("scouting", 7, 2))
    tally = fill_ledger()
    audit = LedgerBackfillEntry.objects.get()
    assert (audit.attribution_rule_old, audit.evidence_json_old, tally["inserted"]) == (None, None, 1)
    assert AuditEntry.objects.get(action="backfill_ledger").before is None


@pytest.mark.parametrize(("text", "filled"), [("12", True), ("doce", False), ("9" * 30, False), ("", False)])
def test_a_scout_in_the_payload_counts_where_it_is_a_number(text, filled):
    person = a_person_with(("cabinet", None, 1), payload={"scout_id": text})
    fill_ledger()
    assert (entry(person) is not None) == filled


def test_the_ledger_backfill_takes_what_the_decision_leaves():
    person = a_person_with(("cabinet", 7, 1))
    decide()
    assert entry(person) == ("B", None, "medium", "assigned")
    fill_ledger()
    assert entry(person) == FILLED
    assert changes(decide()) == {}
    assert changes(fill_ledger()) == {}


def test_a_ledger_roll_back_restores_every_column_and_tells_it(settings):
    settings.CHUNK_SIZE = 1
    old, new = a_person_with(("cabinet", 7, 1)), a_person_with(("cabinet", 8, 1))
    a_ledger_entry(old, "B", None)
    before = LedgerEntry.objects.filter(pk=old.pk).values().get()
    assert fill_ledger()["total"] == 2
    tally = roll_back(last_run(JobType.LEDGER_BACKFILL))
    assert LedgerEntry.objects.filter(pk=old.pk).values().get() == before
    assert entry(new) is None
    assert tally["lead_ledger"]["restored"] == 2
    undone = LedgerBackfillEntry.objects.filter(backfill_method="ROLL_BACK").order_by("old_attributed_scout_id")
    assert list(undone.values_list("old_attributed_scout_id", "new_attributed_scout_id", "attribution_rule_new")) == [
        (7, None, "B"),
        (8, None, None),
    ]
    # The events of this test have no links.
    assert set(complaints()) == {"chk_event_person_is_link_person"}


def test_a_ledger_dry_run_tells_the_numbers_of_the_run():
    a_person_with(("cabinet", 7, 1))
    preview = fill_ledger(dry_run=True)
    assert not LedgerEntry.objects.exists()
    assert fill_ledger() == preview


# --- (3) events ---------------------------------------------------------------------------------------


def a_mapped_lead(scout: int = 7) -> Record:
    record = a_lead()
    LeadScoutMapping.objects.create(source_key=record.source_pk, scout_id=scout)
    return record


def scout_of(record: Record) -> int | None:
    return LeadEvent.objects.get(source_pk=record.source_pk).scout_id


def test_without_a_mapping_nothing_happens_and_the_run_says_so():
    an_event(a_lead())
    assert changes(fill_events()) == {}
    assert last_run(JobType.EVENTS_BACKFILL).log == [
        gettext("No mapping of leads to scouts is available; no event can get a scout from one.")
    ]


def test_an_event_without_scout_gets_the_mapped_one():
    record, unmapped = a_mapped_lead(), a_lead()
    for lead in (record, unmapped):
        an_event(lead)
    tally = fill_events()
    assert (scout_of(record), scout_of(unmapped), tally["updated"]) == (7, None, 1)
    audit = EventsBackfillEntry.objects.get()
    assert (audit.source_pk, audit.old_scout_id, audit.new_scout_id) == (record.source_pk, None, 7)
    assert (audit.mapping_method, audit.action_type) == ("lead_scout_mapping", "UPDATED")
    assert changes(fill_events()) == {}


@pytest.mark.parametrize("event", [{"scout_id": 9}, {"payload": {"scout_id": "9"}}])
def test_an_event_that_names_a_scout_keeps_him(event):
    record = a_mapped_lead()
    an_event(record, **event)
    assert changes(fill_events()) == {}
    assert scout_of(record) == event.get("scout_id")


def test_an_event_of_another_feed_with_the_same_key_is_not_meant():
    record = a_mapped_lead()
    other = Record(TABLES["migration"], record.source_pk)
    an_event(other)
    assert changes(fill_events()) == {}


def test_an_events_roll_back_takes_the_scout_back_whatever_else_changed_since():
    record, corrected = a_mapped_lead(), a_mapped_lead()
    for lead in (record, corrected):
        an_event(lead)
    fill_events()
    LeadEvent.objects.filter(source_pk=record.source_pk).update(payload_json={"since": 1})
    LeadEvent.objects.filter(source_pk=corrected.source_pk).update(scout_id=9)
    tally = roll_back(last_run(JobType.EVENTS_BACKFILL))
    assert (scout_of(record), scout_of(corrected)) == (None, 9)
    assert (tally["lead_events_scout"]["restored"], tally["lead_events_scout"]["changed_since"]) == (1, 1)
    undone = EventsBackfillEntry.objects.get(action_type="ROLLED_BACK")
    assert (undone.source_pk, undone.old_scout_id, undone.new_scout_id) == (record.source_pk, 7, None)
    assert complaints() == {}


def alerts() -> dict[str, tuple[int | None, bool]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select cabinet_lead_id, potential_scout_id, has_scout_in_events from ops.v_cabinet_leads_missing_scout_alerts"
        )
        return {row[0]: row[1:] for row in cursor.fetchall()}


def test_leads_without_scout_are_listed_with_the_scout_who_may_be_theirs():
    mapped, of_person, lone, done = a_mapped_lead(), a_lead(), a_lead(), a_lead()
    person = a_person_with(("scouting", 9, 1))
    an_event(mapped)
    an_event(of_person, person=person.pk)
    an_event(lone)
    an_event(done, scout_id=3)
    assert alerts() == {
        mapped.source_pk: (7, False),
        of_person.source_pk: (9, True),
        lone.source_pk: (None, False),
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "select events_without_scout, distinct_persons, cardinality(sample_source_pks)"
            " from ops.v_cabinet_leads_missing_scout_daily"
        )
        assert cursor.fetchall() == [(3, 1, 3)]


# --- lead events --------------------------------------------------------------------------------------


def test_every_lead_gets_its_event_with_the_person_of_its_link():
    records = [a_lead(JUAN), a_registration(ROSA), a_migration(a_driver(PEDRO))]
    person = Person.objects.create(confidence_level="HIGH")
    Link.objects.create(
        person=person, source_table=records[1].source_table, source_pk=records[1].source_pk,
        snapshot_date=timezone.now(), match_rule="R2_LICENSE_EXACT", match_score=92, confidence_level="HIGH",
    )  # fmt: skip
    tally = populate()
    for feed in ("cabinet", "scouting", "migrations"):
        assert tally[feed] == {"total": 1, "inserted": 1, "errors": 0}
    found = {event.source_table: event for event in LeadEvent.objects.all()}
    assert set(found) == {record.source_table for record in records}
    assert found[records[1].source_table].person_id == person.pk
    assert found[records[1].source_table].payload_json["matched_by"] == "license"
    assert found[records[0].source_table].person_id is None
    assert changes(populate()) == {}


def test_the_persons_of_events_follow_the_links():
    record, lost = a_registration(JUAN), a_registration(ROSA)
    person = Person.objects.create(confidence_level="HIGH")
    an_event(record)
    an_event(lost, person=person.pk)
    Link.objects.create(
        person=person, source_table=record.source_table, source_pk=record.source_pk,
        snapshot_date=timezone.now(), match_rule="R1_PHONE_EXACT", match_score=95, confidence_level="HIGH",
    )  # fmt: skip
    assert populate()["persons_updated"] == 2
    persons = dict(LeadEvent.objects.values_list("source_pk", "person_id"))
    assert persons == {record.source_pk: person.pk, lost.source_pk: None}


def test_a_lead_without_a_date_is_an_error_and_not_dated_today():
    a_lead(JUAN, on=None)
    assert populate()["cabinet"] == {"total": 1, "inserted": 0, "errors": 1}
    assert not LeadEvent.objects.exists()


def test_events_can_be_narrowed_to_feeds_and_days():
    a_lead(JUAN, on=day(3))
    for number in (1, 3, 5):
        a_registration(JUAN, on=day(number))
    tally = populate(source=["scouting"], date_from=day(2).isoformat(), date_to=day(4).isoformat())
    assert tally["scouting"]["inserted"] == 1 and "cabinet" not in tally
    assert list(LeadEvent.objects.values_list("event_date", flat=True)) == [day(3)]
    assert populate(limit=2)["cabinet"]["inserted"] == 1
    assert LeadEvent.objects.count() == 3


def test_the_events_of_the_identity_run_are_the_ones_populated():
    a_recruited_driver(JUAN)
    a_registration(ROSA)
    match()
    before = list(LeadEvent.objects.order_by("source_pk").values("source_pk", "person_id", "payload_json", "scout_id"))
    assert changes(populate()) == {}
    LeadEvent.objects.all().delete()
    populate()
    after = list(LeadEvent.objects.order_by("source_pk").values("source_pk", "person_id", "payload_json", "scout_id"))
    assert after == before


# --- several steps, one run ---------------------------------------------------------------------------


def test_a_plan_left_by_any_step_is_finished_by_whichever_comes_first(monkeypatch, settings):
    settings.CHUNK_SIZE = 1
    people = [a_person_with(("cabinet", 7, 1)) for _number in range(3)]
    for person in people:
        a_ledger_entry(person, "B", None)
    real, calls = jobs.statement, []

    def dies_at_the_second(name: str, *args: Any, **parts: Any) -> Any:
        if name == "backfill_ledger_apply":
            calls.append(name)
            if len(calls) == 2:
                raise jobs.JobError("the worker died")
        return real(name, *args, **parts)

    monkeypatch.setattr(jobs, "statement", dies_at_the_second)
    run = jobs.perform(job_code=JobType.LEDGER_BACKFILL, actor="tests")
    assert (run.status, run.has_plan) == (RunStatus.FAILED, True)
    monkeypatch.undo()
    settings.CHUNK_SIZE = 1
    context = jobs.RunContext(Run.objects.create(job_type=JobType.LEDGER_BACKFILL, actor="tests", attempt=1), 1)
    backfills.finish_steps(context)
    assert {entry(person) for person in people} == {FILLED}
    assert context.tally["updated"] == 2


def test_steps_of_one_run_tell_their_counts_apart():
    a_registration(JUAN, licence=LICENCE, scout=7)
    record = a_mapped_lead()
    an_event(record)
    refresh()
    context = jobs.RunContext(Run.objects.create(job_type=JobType.SCOUT_FIX, actor="tests", attempt=1), 1)
    backfills.links_step(context)
    backfills.ledger_step(context)
    backfills.events_step(context)
    assert context.tally["links_backfill"]["created"] == 1
    assert context.tally["ledger_backfill"]["inserted"] == 1
    assert context.tally["events_backfill"]["updated"] == 1
    assert context.tally["audit"] == AuditEntry.objects.filter(run_id=context.run_id).count() > 0


# --- roll-back by method and time ---------------------------------------------------------------------


def taken_back(*arguments: str) -> list[dict[str, Any]]:
    """Run the command with --json; return what it says of each run."""
    out = io.StringIO()
    call_command("roll_back_backfill", *arguments, "--json", stdout=out, stderr=io.StringIO())
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    return json.loads(out.getvalue())["runs"]


LONG_AGO = ("--since", "2020-01-01 00:00:00")


def test_a_preview_says_what_the_roll_back_will_do_and_changes_nothing():
    people = [a_person_with(("cabinet", 7, 1)) for _number in range(3)]
    fill_ledger()
    LedgerEntry.objects.filter(pk=people[0].pk).update(attributed_scout_id=9)
    preview = taken_back("--method", "ledger", *LONG_AGO)
    assert [(part["untouched"], part["changed"], part["settled"]) for part in preview] == [(2, 1, 0)]
    assert LedgerEntry.objects.count() == 3
    done = taken_back("--method", "BACKFILL_SINGLE_SCOUT_FROM_EVENTS", *LONG_AGO, "--execute")
    assert [(part["untouched"], part["changed"]) for part in done] == [(2, 1)]
    assert list(LedgerEntry.objects.values_list("pk", "attributed_scout_id")) == [(people[0].pk, 9)]
    again = taken_back("--method", "ledger", *LONG_AGO)
    assert [(part["untouched"], part["already_restored"]) for part in again] == [(0, 2)]


def test_what_was_paid_stays():
    people = [a_person_with(("cabinet", 7, 1)) for _number in range(2)]
    fill_ledger()
    ScoutPayment.objects.create(payment_item_key="x", scout_id=7, person_key=people[0].pk, amount=20)
    done = taken_back("--method", "ledger", *LONG_AGO, "--execute")
    assert [(part["untouched"], part["settled"]) for part in done] == [(1, 1)]
    assert list(LedgerEntry.objects.values_list("pk", flat=True)) == [people[0].pk]


@pytest.mark.slow
def test_a_method_is_taken_back_without_the_other_steps_of_its_run():
    record = a_registration(JUAN, licence=LICENCE)
    mapped = a_mapped_lead()
    an_event(mapped)
    refresh()
    run = Run.objects.create(job_type=JobType.SCOUT_FIX, actor="tests", attempt=1)
    context = jobs.RunContext(run, 1)
    backfills.links_step(context)
    backfills.events_step(context)
    backfills.ledger_step(context)
    Run.objects.filter(pk=run.pk).update(status=RunStatus.COMPLETED, completed_at=timezone.now(), stats=context.tally)
    taken_back("--method", "ledger", *LONG_AGO, "--execute")
    assert not LedgerEntry.objects.exists()
    assert (linked(record) is not None, scout_of(mapped)) == (True, 7)
    taken_back("--method", "events", *LONG_AGO, "--execute")
    assert (linked(record) is not None, scout_of(mapped)) == (True, None)
    taken_back("--method", "links", *LONG_AGO, "--execute")
    assert linked(record) is None
    assert complaints() == {}


def test_the_ledgers_own_decision_in_the_same_run_comes_back():
    person = a_person_with(("cabinet", 7, 1))
    run = Run.objects.create(job_type=JobType.SCOUT_FIX, actor="tests", attempt=1)
    context = jobs.RunContext(run, 1)
    decide_ledger(context)
    backfills.ledger_step(context)
    assert entry(person) == FILLED
    Run.objects.filter(pk=run.pk).update(status=RunStatus.COMPLETED, completed_at=timezone.now(), stats=context.tally)
    taken_back("--method", "ledger", *LONG_AGO, "--execute")
    assert entry(person) == ("B", None, "medium", "assigned")


def test_runs_of_another_time_are_not_meant():
    a_person_with(("cabinet", 7, 1))
    fill_ledger()
    later = (timezone.now() + dt.timedelta(days=1)).isoformat()
    assert taken_back("--method", "ledger", "--since", later, "--execute") == []
    assert taken_back("--method", "ledger", *LONG_AGO, "--until", "2020-02-01") == []
    assert LedgerEntry.objects.count() == 1


def test_an_unknown_method_is_refused():
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("roll_back_backfill", "--method", "all", *LONG_AGO)


# --- commands -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("backfill_identity_links_scouting_daily", "created"),
        ("backfill_lead_ledger", "inserted"),
        ("backfill_lead_events", "updated"),
        ("populate_events", "scouting"),
    ],
)
def test_every_backfill_is_a_command_with_a_tally(command, name):
    out = io.StringIO()
    call_command(command, "--json", "--dry-run", "--limit", "5", stdout=out, stderr=io.StringIO())
    tally = json.loads(out.getvalue())
    assert tally["status"] == "COMPLETED" and tally["dry_run"] and name in tally


# --- a whole generated world --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_generated_world_keeps_its_invariants(tmp_path: Path, empty_source_tables: Any) -> None:
    empty_source_tables()
    folder = tmp_path / "data"
    generate(leads=2000, seed=23, directory=folder)
    for table in ("drivers", "module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations"):
        load_source(table=table, path=folder / f"{table}.csv", rejects_dir=tmp_path, actor="tests")
    match()
    assert link()["created"] > 0
    populate()
    decide()
    fill_ledger()
    fill_events()
    assert complaints() == {}
    for code in (JobType.LINKS_BACKFILL, JobType.LEDGER_BACKFILL, JobType.EVENTS_BACKFILL):
        assert changes(run_job(code)) == {}, code
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select count(*) from observational.lead_ledger as ledger
            where ledger.attribution_rule like 'BACKFILL%' and (
                select count(distinct events.scout_id) from observational.scout_events as events
                where events.person_key = ledger.person_key
            ) <> 1
            """
        )
        assert cursor.fetchone() == (0,)
