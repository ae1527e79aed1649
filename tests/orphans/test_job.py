"""The orphan job as a job: chunks, order, roll-back, release, tally, and a whole generated world against its truth."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.db import connection

from ct4site import invariants, jobs
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from ct4site.rollback import start_roll_back
from identity.demo import generate
from identity.models import Link
from identity.sources import load_source
from orphans.models import QuarantineChange, QuarantinedDriver
from tests import factories
from tests.factories import (
    JUAN,
    LEAD_DATE,
    ROSA,
    a_driver,
    a_migration,
    a_phone,
    a_registration,
    an_event,
    an_orphan,
    changes,
    fix_orphans,
    link_of,
    match,
    outcomes,
    refresh,
    state_facts,
    state_hash,
    verdict,
)
from tests.oracle.orphans import World
from tests.orphans.test_against_oracle import Dice, index_and_feed, load, random_world

pytestmark = pytest.mark.django_db

PHONE, LICENCE = a_phone(900), "Q29000001"
NO_EVENTS = ("quarantined", "no_lead_no_events")
FAILED = ("quarantined", "no_lead_has_events_repair_failed")


def last_run(code: str = JobType.ORPHANS_FIX) -> Run:
    return Run.objects.filter(job_type=code).latest("pk")


def roll_back(run: Run) -> dict[str, Any]:
    ended = jobs.execute(start_roll_back(run_id=run.pk, actor="tests").pk)
    assert ended.status == RunStatus.COMPLETED, ended.error_message
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    return dict(ended.stats)


def facts_of_now() -> list[str]:
    """The state without what grew: a history never shrinks, and a record's event stays, as one of nobody's."""
    return [
        fact
        for fact in state_facts()
        if not fact.startswith("quarantine history|") and (not fact.startswith("event|") or fact.split("|")[4] != "-")
    ]


def complaints() -> dict[str, int]:
    return {finding.name: finding.count for finding in invariants.check() if finding.count}


# --- chunks and order ---------------------------------------------------------------------------------


def shuffled(world: World, seed: int) -> World:
    """The same world, its rows in another order."""
    rng, other = Random(seed), World(set_aside=world.set_aside)
    for part in ("index", "feed", "persons", "driver_links", "lead_links", "rows", "events", "quarantine"):
        items = list(getattr(world, part).items())
        rng.shuffle(items)
        setattr(other, part, dict(items))
    return other


def decided(many: list[World]) -> str:
    """Load the worlds, repair, forget all; return what the state was."""
    with factories.rolled_back():
        for world in many:
            load(world)
        index_and_feed(many)
        assert fix_orphans()["processed"] > 25
        return state_hash()


@pytest.mark.slow
def test_neither_the_size_of_chunks_nor_the_order_of_rows_changes_the_outcome(settings: Any) -> None:
    many = [random_world(Dice(seed, seed % 100))[0] for seed in range(5000, 5020)]
    settings.CHUNK_SIZE = 1000
    usual = decided(many)
    settings.CHUNK_SIZE = 1
    assert decided(many) == usual
    settings.CHUNK_SIZE = 7
    shuffled_worlds = [shuffled(world, seed) for seed, world in enumerate(many)]
    Random(1).shuffle(shuffled_worlds)
    assert decided(shuffled_worlds) == usual


def test_all_accounts_and_records_of_a_person_are_in_one_chunk(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CHUNK_SIZE = 1
    families = []
    for number in range(4):
        licence = f"Q2910000{number}"
        first = an_orphan(JUAN, licence=licence)
        families.append([first, an_orphan(JUAN, person=first.person), an_orphan(JUAN, person=first.person)])
        for day in range(2):
            a_registration(JUAN, licence=licence, on=LEAD_DATE + dt.timedelta(days=day))
    chunks: list[set[Any]] = []
    chunk_ends: Callable[[str, int], list[int]] = jobs._chunk_ends

    def look(table: str, position: int) -> list[int]:
        ends = chunk_ends(table, position)
        with connection.cursor() as cursor:
            for first, last in zip([position, *ends], ends, strict=False):
                cursor.execute(f"select person_key from ops.{table} where seq > %s and seq <= %s", [first, last])
                chunks.append({row[0] for row in cursor.fetchall()})
        return ends

    monkeypatch.setattr(jobs, "_chunk_ends", look)
    tally = fix_orphans()
    assert [len(persons) for persons in chunks] == [1, 1, 1, 1]
    assert len(set.union(*chunks)) == 4
    assert (tally["links_created"], tally["resolved_relinked"]) == (8, 12)


# --- what a run decides does not depend on which drivers it takes ----------------------------------------


def test_a_key_of_two_orphans_is_ambiguous_though_the_run_takes_only_one() -> None:
    older = an_orphan(JUAN, licence=LICENCE, linked=dt.date(2025, 12, 20))
    younger = an_orphan(JUAN, licence=LICENCE)
    record = a_registration(JUAN, licence=LICENCE)
    fix_orphans(limit=1)
    assert outcomes(older.driver_id) == {record.source_pk: "ambiguous_key"}
    fix_orphans()
    assert outcomes(younger.driver_id) == {record.source_pk: "ambiguous_key"}
    assert link_of(record) is None


def test_a_key_of_an_orphan_in_quarantine_is_ambiguous_for_a_new_one() -> None:
    known = an_orphan(JUAN, licence=LICENCE)
    fix_orphans()
    assert verdict(known.driver_id) == NO_EVENTS
    new = an_orphan(JUAN, licence=LICENCE)
    record = a_registration(JUAN, licence=LICENCE)
    fix_orphans()
    assert outcomes(new.driver_id) == {record.source_pk: "ambiguous_key"}
    assert link_of(record) is None


def test_a_record_without_a_date_is_dated_by_its_event() -> None:
    """One such row must not stop the whole run."""
    orphan, other = an_orphan(JUAN, licence=LICENCE), an_orphan(ROSA)
    record = a_migration(orphan.driver_id, on=None)
    an_event(record, payload={"driver_id": orphan.driver_id})
    fix_orphans()
    assert link_of(record).snapshot_date.date() == LEAD_DATE
    assert (verdict(orphan.driver_id)[0], verdict(other.driver_id)) == ("resolved_relinked", NO_EVENTS)


@pytest.mark.parametrize("names", [(ROSA, JUAN), (JUAN, ROSA)])
def test_any_account_of_the_other_person_may_be_whom_a_record_means(names: tuple[str, str]) -> None:
    """Which of two accounts has the smaller id tells nothing."""
    accounts = [a_driver(name, phone=PHONE) for name in names]
    refresh()
    other = an_orphan(JUAN, driver_id=accounts[0])
    an_orphan(JUAN, driver_id=accounts[1], person=other.person)
    orphan = an_orphan(JUAN, licence=LICENCE)
    record = a_registration(JUAN, phone=PHONE, licence=LICENCE)
    fix_orphans()
    assert outcomes(orphan.driver_id) == {record.source_pk: "names_another_driver"}


@pytest.mark.parametrize("of_the_driver", [True, False])
def test_a_foreign_phone_that_ends_like_a_mobile_needs_the_name(of_the_driver: bool) -> None:
    """A weak key never links by itself (domain.md 4.5)."""
    foreign, mobile = f"+1 305 {PHONE}", PHONE
    own, theirs = (foreign, mobile) if of_the_driver else (mobile, foreign)
    orphan = an_orphan(JUAN, driver_id=a_driver(JUAN, phone=own))
    record = a_registration("CONDUCTOR", phone=theirs)
    fix_orphans()
    assert outcomes(orphan.driver_id) == {record.source_pk: "name_contradicts"}


def test_looking_again_tells_why_the_same_record_does_not_suffice_today() -> None:
    orphan = an_orphan(JUAN, licence=LICENCE)
    an_orphan(JUAN, licence=LICENCE)
    record = a_registration(JUAN, licence=LICENCE)
    fix_orphans()
    assert outcomes(orphan.driver_id) == {record.source_pk: "ambiguous_key"}
    stranger = an_orphan(ROSA)
    Link.objects.create(
        person_id=stranger.person, source_table=record.source_table, source_pk=record.source_pk, match_score=100,
        snapshot_date=dt.datetime(2026, 1, 10, tzinfo=dt.UTC), match_rule="MANUAL_RESOLUTION", confidence_level="HIGH",
    )  # fmt: skip
    tally = fix_orphans(reprocess_quarantined=True)
    assert outcomes(orphan.driver_id) == {record.source_pk: "linked_to_other_person"}
    assert tally["unchanged"] == 0


# --- roll-back and release -------------------------------------------------------------------------------


def test_a_roll_back_restores_everything_and_the_history_says_so() -> None:
    relinked, alone = an_orphan(JUAN, licence=LICENCE), an_orphan(ROSA)
    record = a_registration(JUAN, licence=LICENCE)
    match()
    before = facts_of_now()
    fix_orphans()
    assert facts_of_now() != before
    roll_back(last_run())
    assert facts_of_now() == before
    assert link_of(record) is None
    assert not QuarantinedDriver.objects.exists()
    assert [
        (change.driver_id, change.status_old, change.status_new)
        for change in QuarantineChange.objects.filter(change_reason="rolled_back").order_by("status_old")
    ] == [(alone.driver_id, "quarantined", None), (relinked.driver_id, "resolved_relinked", None)]
    assert complaints() == {"chk_orphan_is_quarantined": 2}


def test_a_run_after_a_roll_back_decides_as_before() -> None:
    an_orphan(JUAN, licence=LICENCE), an_orphan(ROSA)
    a_registration(JUAN, licence=LICENCE)
    fix_orphans()
    decided = facts_of_now()
    roll_back(last_run())
    assert fix_orphans()["processed"] == 2
    assert facts_of_now() == decided
    assert complaints() == {}


def test_rolling_back_a_second_look_puts_the_driver_back_into_quarantine() -> None:
    orphan = an_orphan(JUAN, licence=LICENCE)
    fix_orphans()
    before = facts_of_now()
    a_registration(JUAN, licence=LICENCE)
    fix_orphans(reprocess_quarantined=True)
    assert verdict(orphan.driver_id)[0] == "resolved_relinked"
    roll_back(last_run())
    assert facts_of_now() == before
    assert verdict(orphan.driver_id) == NO_EVENTS
    assert QuarantineChange.objects.latest("id").change_reason == "rolled_back"
    assert complaints() == {}


def test_what_changed_since_is_kept_by_a_roll_back() -> None:
    orphan, other = an_orphan(ROSA), an_orphan(JUAN)
    fix_orphans()
    run = last_run()
    QuarantinedDriver.objects.filter(driver_id=orphan.driver_id).update(detected_reason="manual_detection")
    roll_back(run)
    assert verdict(orphan.driver_id) == ("quarantined", "manual_detection")
    assert verdict(other.driver_id) is None


def test_a_release_by_a_link_is_taken_back_with_the_run_that_made_the_link() -> None:
    account = a_driver(JUAN, phone=PHONE)
    refresh()
    orphan = an_orphan(JUAN, driver_id=account)
    fix_orphans()
    a_registration(JUAN, phone=PHONE)
    before = facts_of_now()
    assert match()["drivers_released"] == 1
    assert verdict(orphan.driver_id)[0] == "resolved_relinked"
    assert complaints() == {}
    roll_back(last_run(JobType.IDENTITY_RUN))
    assert facts_of_now() == before
    assert verdict(orphan.driver_id) == NO_EVENTS
    assert [change.change_reason for change in QuarantineChange.objects.order_by("id")] == [
        "detected", "released_by_link", "rolled_back",
    ]  # fmt: skip


def test_a_link_that_nobody_announced_releases_at_the_next_run() -> None:
    orphan = an_orphan(JUAN)
    fix_orphans()
    record = a_registration(JUAN)
    Link.objects.create(
        person_id=orphan.person, source_table=record.source_table, source_pk=record.source_pk, match_score=100,
        snapshot_date=dt.datetime(2026, 1, 10, tzinfo=dt.UTC), match_rule="MANUAL_RESOLUTION", confidence_level="HIGH",
    )  # fmt: skip
    assert "chk_quarantine_is_released" in complaints()
    tally = fix_orphans()
    assert (tally["drivers_released"], tally["processed"]) == (1, 0)
    assert verdict(orphan.driver_id)[0] == "resolved_relinked"
    assert "chk_quarantine_is_released" not in complaints()


def test_a_repair_releases_the_other_account_of_the_person() -> None:
    first = an_orphan(JUAN)
    fix_orphans()
    second = an_orphan(JUAN, person=first.person, linked=dt.date(2025, 12, 22))
    a_migration(second.driver_id)
    tally = fix_orphans()
    assert (tally["processed"], tally["drivers_released"]) == (1, 1)
    assert {verdict(orphan.driver_id)[0] for orphan in (first, second)} == {"resolved_relinked"}


def test_the_tally_counts_the_audit_of_everything_a_run_wrote() -> None:
    for number in range(5):
        an_orphan(JUAN, licence=f"Q2920000{number}")
        a_registration(JUAN, licence=f"Q2920000{number}")
    an_orphan(ROSA)
    match()
    tally = fix_orphans()
    entries = AuditEntry.objects.filter(run=last_run())
    assert tally["audit"] == entries.count()
    by_table = {
        table: entries.filter(subject_table=table).count() for table in entries.values_list("subject_table", flat=True)
    }
    assert (by_table["driver_orphan_quarantine"], by_table["identity_links"]) == (6, 5)
    assert tally["links_created"] == 5
    assert tally["resolved_relinked"] + tally["quarantined"] == 6
    assert complaints() == {}


# --- a whole generated world -----------------------------------------------------------------------------


def generated(folder: Path) -> Iterator[dict[str, str]]:
    with (folder / "truth_orphans.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


@pytest.mark.slow
def test_a_generated_world_is_repaired_as_its_truth_says(tmp_path: Path, empty_source_tables: Any) -> None:
    empty_source_tables()
    folder = tmp_path / "data"
    generate(leads=3000, seed=17, directory=folder)
    for table in ("drivers", "module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations"):
        load_source(table=table, path=folder / f"{table}.csv", rejects_dir=tmp_path, actor="tests")
    files = {name: str(folder / f"legacy_{name}.csv") for name in ("persons", "links")}
    factories.run_job(JobType.LEGACY_LOAD, **files, rejects_dir=str(tmp_path))
    match()
    assert set(complaints()) == {"chk_orphan_is_quarantined"}
    before = complaints()["chk_orphan_is_quarantined"]
    tally = fix_orphans()
    assert tally["processed"] == before > 30
    assert complaints() == {}
    truth = list(generated(folder))
    persons = dict(Link.objects.filter(source_table="drivers").values_list("source_pk", "person_id"))
    leads: dict[Any, set[tuple[str, str]]] = {}
    for person, table, pk in Link.objects.exclude(source_table="drivers").values_list(
        "person_id", "source_table", "source_pk"
    ):
        leads.setdefault(person, set()).add((table, pk))
    humans = _humans(folder)
    repairable = [row for row in truth if row["repairable"] == "true"]
    repaired = [row for row in repairable if leads.get(persons[row["driver_id"]])]
    wrong = [
        (row["scenario"], record)
        for row in truth
        for record in leads.get(persons[row["driver_id"]], ())
        if humans[record] != row["person_id"]
    ]
    assert wrong == []
    assert len(repaired) >= 0.98 * len(repairable) > 20
    set_aside = set(QuarantinedDriver.objects.filter(status="quarantined").values_list("driver_id", flat=True))
    assert set_aside >= {row["driver_id"] for row in truth if row["repairable"] == "false"}
    assert tally["resolved_relinked"] > 10
    assert set(changes(fix_orphans())) == {"report"}


def _humans(folder: Path) -> dict[tuple[str, str], str]:
    with (folder / "truth_leads.csv").open(encoding="utf-8", newline="") as file:
        return {(row["source_table"], row["source_pk"]): row["person_id"] for row in csv.DictReader(file)}
