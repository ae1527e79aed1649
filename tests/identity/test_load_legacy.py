"""``load_legacy_identity``: the predecessor's persons and links come in as they were, once, and can be taken back."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
import threading
import uuid
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.utils import translation

from ct4site import invariants, jobs
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from ct4site.rollback import start_roll_back
from identity.demo import generate
from identity.jobs import WRITER_LOCK
from identity.models import LeadEvent, Link, Origin, OriginChange, Person, Refusal, ScoutingRegistration, Unmatched
from identity.sources import load_source
from tests import factories

pytestmark = pytest.mark.django_db

ANA, BETO = uuid.UUID(int=0xA1), uuid.UUID(int=0xB2)
PERSON_COLUMNS = ("person_key", "confidence_level", "primary_phone", "primary_license", "primary_full_name")
LINK_COLUMNS = (
    "person_key", "source_table", "source_pk", "snapshot_date", "match_rule", "match_score", "confidence_level",
)  # fmt: skip
SCOUTING = "module_ct_scouting_daily"
ORPHANS = "chk_orphan_is_quarantined"


@pytest.fixture(autouse=True)
def _english():
    with translation.override("en"):
        yield


def a_person(key: uuid.UUID = ANA, **values: Any) -> dict[str, Any]:
    return {"person_key": key, "confidence_level": "HIGH", **values}


def a_link(key: uuid.UUID = ANA, table: str = "drivers", pk: Any = "d1", **values: Any) -> dict[str, Any]:
    return {
        "person_key": key,
        "source_table": table,
        "source_pk": pk,
        "snapshot_date": "2025-12-21 03:10:00-05:00",
        "match_rule": "R1_PHONE_EXACT",
        "match_score": 95,
        "confidence_level": "HIGH",
        **values,
    }


def write(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Path:
    extra = dict.fromkeys(name for row in rows for name in row if name not in columns)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*columns, *extra])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def files(tmp_path):
    """Write the two files; return their paths."""

    def _files(persons: list[dict[str, Any]], links: list[dict[str, Any]]) -> tuple[Path, Path]:
        return (
            write(tmp_path / "persons.csv", persons, PERSON_COLUMNS),
            write(tmp_path / "links.csv", links, LINK_COLUMNS),
        )

    return _files


@pytest.fixture
def load(files, tmp_path):
    """Load persons and links given as rows; return the tally."""

    def _load(persons: list[dict[str, Any]], links: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        paths = files(persons, links)
        return load_files(*paths, tmp_path, **options)

    return _load


def load_files(persons: Path, links: Path, folder: Path, **options: Any) -> dict[str, Any]:
    return factories.run_job(
        JobType.LEGACY_LOAD,
        persons=str(persons),
        links=str(links),
        rejects_dir=str(folder / "rejects"),
        **options,
    )


def rejected(tally: dict[str, Any], name: str = "links") -> list[tuple[int, str, str, str]]:
    """Return (line, column, value, reason) of the rejects of one file."""
    if not tally[name]["rejects_file"]:
        return []
    with Path(tally[name]["rejects_file"]).open(encoding="utf-8", newline="") as file:
        return [(int(row["line"]), row["column"], row["value"], row["reason"]) for row in csv.DictReader(file)]


def reasons(tally: dict[str, Any], name: str = "links") -> dict[int, str]:
    return {line: reason for line, __, __, reason in rejected(tally, name)}


def accounted(tally: dict[str, Any]) -> bool:
    return all(
        sum(tally[name].get(kind, 0) for kind in ("inserted", "completed", "unchanged", "superseded", "rejected"))
        == tally[name]["read"]
        for name in ("persons", "links")
    )


def last_run() -> Run:
    return Run.objects.filter(job_type=JobType.LEGACY_LOAD).latest("pk")


def entries() -> int:
    return AuditEntry.objects.filter(run=last_run()).count()


def complaints() -> dict[str, int]:
    """Return the invariants that have something to say, with how many rows.

    Accounts without leads are what history brings; to find those is another job's work.
    """
    return {found.name: found.count for found in invariants.check() if found.count and found.name != ORPHANS}


# --- what comes in -----------------------------------------------------------------------------------


def test_keys_rules_and_times_stay_and_what_is_loaded_is_marked(load):
    tally = load(
        [
            a_person(
                confidence_level="medium",
                primary_phone="+51 987 654 321",
                primary_license="q-12345678",
                primary_full_name="José Peña",
                primary_document=" 44556677 ",
                flags='{"vip": true}',
                created_at="2025-01-02 03:04:05",
                updated_at="2025-02-03T04:05:06Z",
            )
        ],
        [
            a_link(table="public.drivers", pk=" D1 ", evidence='{"driver_id": "d1"}', linked_at="2025-12-21 08:10+00"),
            a_link(table="MODULE_CT_MIGRATIONS", pk=12, match_rule="RT_PHONE_EXACT", match_score=71),
        ],
    )
    person = Person.objects.get()
    assert person.person_key == ANA
    assert (person.confidence_level, person.primary_document) == ("MEDIUM", "44556677")
    assert (person.primary_phone, person.primary_license) == ("987654321", "Q12345678")
    assert person.primary_full_name == "JOSE PENA"
    assert person.flags == {"vip": True, "legacy": True}
    assert person.created_at == dt.datetime(2025, 1, 2, 8, 4, 5, tzinfo=dt.UTC)
    assert person.updated_at == dt.datetime(2025, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    driver, migration = Link.objects.order_by("source_table")
    assert (driver.source_pk, driver.evidence) == ("d1", {"driver_id": "d1", "legacy": True})
    assert driver.linked_at == driver.snapshot_date == dt.datetime(2025, 12, 21, 8, 10, tzinfo=dt.UTC)
    assert (migration.match_rule, migration.match_score) == ("RT_PHONE_EXACT", 71)
    assert migration.evidence == {"legacy": True}
    assert {driver.run_id, migration.run_id} == {last_run().pk}
    assert accounted(tally)
    assert tally["audit"] == entries() == 4  # the person, two links, the origin
    assert complaints() == {}


def test_columns_of_the_predecessor_that_mean_nothing_here_are_ignored_and_named(load):
    tally = load([a_person()], [a_link(id=77, run_id=4)])
    assert tally["links"]["ignored_columns"] == ["id", "run_id"]
    assert Link.objects.get().run_id == last_run().pk


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_file_reads_the_same_whatever_program_wrote_it(files, tmp_path, bom, delimiter):
    persons, links = files([a_person(primary_full_name="Ñato José")], [a_link()])
    for path in (persons, links):
        path.write_bytes(bom + path.read_bytes().replace(b",", delimiter.encode()))
    load_files(persons, links, tmp_path)
    assert Person.objects.get().primary_full_name == "NATO JOSE"
    assert Link.objects.get().source_pk == "d1"


def test_placeholders_are_no_keys_and_persons_who_had_one_are_counted(load):
    tally = load(
        [
            a_person(primary_phone="999999999", primary_license="X", primary_full_name="Ana"),
            a_person(BETO, primary_phone="", primary_full_name="Beto"),
        ],
        [a_link(pk=f"d{number}") for number in range(7)],
    )
    ana = Person.objects.get(pk=ANA)
    assert (ana.primary_phone, ana.primary_license, ana.primary_full_name) == (None, None, "ANA")
    assert tally["persons_with_junk"] == 1
    assert tally["persons_over_limit"] == 1
    assert tally["links"]["inserted"] == 7


def test_a_person_who_is_there_is_completed_and_never_overwritten(load):
    Person.objects.create(pk=ANA, confidence_level="MEDIUM", primary_phone="911111111", primary_full_name="")
    Person.objects.create(pk=BETO, confidence_level="LOW", primary_phone="922222222", primary_full_name="BETO")
    tally = load(
        [
            a_person(primary_phone="933333333", primary_full_name="Ana"),
            a_person(BETO, primary_phone="944444444", primary_full_name="Other"),
        ],
        [a_link()],
    )
    ana, beto = Person.objects.get(pk=ANA), Person.objects.get(pk=BETO)
    assert (ana.confidence_level, ana.primary_phone, ana.primary_full_name) == ("MEDIUM", "911111111", "ANA")
    assert ana.flags is None
    assert (beto.primary_phone, beto.primary_full_name, beto.confidence_level) == ("922222222", "BETO", "LOW")
    assert (tally["persons"]["completed"], tally["persons"]["unchanged"]) == (1, 1)
    assert tally["audit"] == entries() == 2


def test_a_link_may_name_a_person_of_the_database_who_is_not_in_the_file(load):
    Person.objects.create(pk=ANA, confidence_level="HIGH")
    assert load([a_person(BETO)], [a_link(ANA)])["links"]["inserted"] == 1


# --- what is turned away -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("person_key", "", "must not be empty"),
        ("person_key", "ana", "not a UUID"),
        ("confidence_level", "SURE", "not one of HIGH, MEDIUM, LOW"),
        ("flags", "{", "not JSON"),
        ("flags", "[1]", "not a JSON object"),
        ("flags", '{"a": "\\u0000"}', "unsupported Unicode escape sequence"),
        ("flags", '{"a": NaN}', "invalid input syntax for type json"),
        ("created_at", "yesterday", "not a point in time"),
        ("created_at", "2025-02-30 10:00", "not a point in time"),
        ("created_at", "2025-02-03 10:00+99", "not a point in time"),
        ("primary_license", "Q" * 3000, "longer than 500 characters"),
    ],
)
def test_a_person_with_a_value_that_cannot_be_read_is_rejected_with_it(load, column, value, reason):
    tally = load([a_person(**{column: value}), a_person(BETO)], [a_link(BETO)])
    ((line, named, shown, why),) = rejected(tally, "persons")
    assert (line, named, shown.lstrip("'")) == (2, column, value)
    assert why.startswith(reason)
    assert list(Person.objects.values_list("pk", flat=True)) == [BETO]
    assert accounted(tally)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("source_table", "module_ct_cabinet_payments", "not one of module_ct_cabinet_leads"),
        ("source_pk", " ", "must not be empty"),
        ("snapshot_date", "", "must not be empty"),
        ("snapshot_date", "2025-13-01", "not a point in time"),
        ("match_rule", "", "must not be empty"),
        ("match_score", "101", "not between 0 and 100"),
        ("match_score", "-1", "not between 0 and 100"),
        ("match_score", "high", "not a whole number"),
        ("confidence_level", "", "must not be empty"),
        ("evidence", "{'driver': 1}", "not JSON"),
        ("linked_at", "infinity", "not a point in time"),
    ],
)
def test_a_link_with_a_value_that_cannot_be_read_is_rejected_with_it(load, column, value, reason):
    tally = load([a_person()], [a_link(pk="good"), a_link(**{column: value})])
    ((line, named, shown, why),) = rejected(tally)
    assert (line, named, shown.lstrip("'")) == (3, column, value)
    assert why.startswith(reason)
    assert list(Link.objects.values_list("source_pk", flat=True)) == ["good"]
    assert accounted(tally)


@pytest.mark.parametrize("table", [SCOUTING, "module_ct_migrations"])
@pytest.mark.parametrize("pk", ["abc", "007", "-1", "1.5"])
def test_a_key_that_no_row_can_have_is_rejected(load, table, pk):
    assert rejected(load([a_person()], [a_link(table=table, pk=pk)]))[0][3] == "not the id of a row"


def test_a_row_with_fields_missing_is_rejected_with_its_line(files, tmp_path):
    persons, links = files([a_person()], [a_link(match_rule="two\nlines"), a_link(pk="d2")])
    links.write_text(links.read_text(encoding="utf-8") + "\nx,y\n", encoding="utf-8")
    tally = load_files(persons, links, tmp_path)
    assert reasons(tally) == {6: "2 fields where the header has 7"}
    assert tally["links"]["inserted"] == 2


def test_a_link_of_nobody_known_is_rejected(load):
    tally = load([a_person(), a_person(BETO, confidence_level="?")], [a_link(), a_link(BETO, pk="d2")])
    ((line, column, value, reason),) = rejected(tally)
    assert (line, column, value) == (3, "person_key", str(BETO))
    assert "neither in the file of persons nor in the database" in reason


def test_a_record_of_another_person_is_rejected_and_stays(load):
    load([a_person(BETO)], [a_link(BETO)])
    tally = load([a_person()], [a_link()])
    assert reasons(tally) == {2: f"the record drivers d1 is already linked to another person: {BETO}"}
    assert Link.objects.get().person_id == BETO


def test_a_record_a_person_set_aside_is_rejected(load):
    lead = factories.a_registration(phone=factories.a_phone(1))
    Unmatched.objects.create(
        source_table=lead.source_table,
        source_pk=lead.source_pk,
        snapshot_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        reason_code="NO_CANDIDATES",
        status="IGNORED",
    )
    tally = load([a_person()], [a_link(table=SCOUTING, pk=lead.source_pk)])
    assert reasons(tally) == {2: "a person decided to ignore this record"}
    assert Unmatched.objects.get().status == "IGNORED"


def test_a_record_of_whom_somebody_said_that_it_is_not_this_person_is_rejected(load):
    lead = factories.a_registration(phone=factories.a_phone(1))
    Refusal.objects.create(
        refusal_key="x", source_table=lead.source_table, source_pk=lead.source_pk, person_id=ANA, refused_by="beto"
    )
    tally = load([a_person()], [a_link(table=SCOUTING, pk=lead.source_pk)])
    assert reasons(tally) == {2: f"a person decided that the record {SCOUTING} {lead.source_pk} is not this person"}
    assert not Link.objects.exists()


def test_of_several_lines_of_one_person_or_link_the_last_counts(load):
    tally = load(
        [a_person(primary_full_name="Old"), a_person(primary_full_name="New")],
        [a_link(match_score=99), a_link(pk="D1", match_score=90)],
    )
    assert Person.objects.get().primary_full_name == "NEW"
    assert Link.objects.get().match_score == 90
    assert (tally["persons"]["superseded"], tally["links"]["superseded"]) == (1, 1)
    assert accounted(tally)


def test_nobody_gets_a_record_that_two_persons_claim(load):
    tally = load([a_person(), a_person(BETO)], [a_link(), a_link(BETO), a_link(pk="d2"), a_link()])
    claimed = "this file links the record drivers d1 to another person as well: "
    assert reasons(tally) == {2: f"{claimed}{BETO}", 3: f"{claimed}{ANA}", 5: f"{claimed}{BETO}"}
    assert list(Link.objects.values_list("source_pk", flat=True)) == ["d2"]
    assert accounted(tally)


# --- files that are refused --------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"person_key\n" + str(ANA).encode() + b"\n", "the header lacks the column confidence_level"),
        (b"person_key,source_table,\xff\n", "not UTF-8 text"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_loaded_keeps_both_out(files, tmp_path, which, content, reason):
    paths = files([a_person()], [a_link()])
    if content is None:
        paths[which].unlink()
    elif which and content.startswith(b"person_key\n"):
        paths[which].write_bytes(b"person_key,source_table,source_pk,snapshot_date,match_rule,match_score\n")
    else:
        paths[which].write_bytes(content)
    __, err, error = command(*paths, "--rejects", tmp_path / "rejects")
    assert error.returncode == 1
    assert paths[which].name in str(error)
    assert reason in str(error)
    assert not err
    assert not Person.objects.exists()
    assert last_run().status == RunStatus.FAILED


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("ending", [b'"never closed\n', b"\0\n", b"\xff\n"])
def test_a_file_that_breaks_off_in_the_middle_keeps_both_out(files, tmp_path, which, ending):
    paths = files([a_person(), {**a_person(BETO), "confidence_level": "?"}], [a_link()])
    paths[which].write_bytes(paths[which].read_bytes() + ending)
    __, __, error = command(*paths, "--rejects", tmp_path / "rejects")
    assert error.returncode == 1
    assert not Person.objects.exists()
    assert not list((tmp_path / "rejects").glob("*"))


# --- again, dry, and back ----------------------------------------------------------------------------


def a_history() -> tuple[list[dict[str, Any]], list[dict[str, Any]], factories.Record]:
    """Two persons of the predecessor, one with a lead that matching left open and one from before the lead system."""
    lead = factories.a_registration()
    factories.match()
    assert factories.unmatched_of(lead).status == "OPEN"
    persons = [a_person(primary_phone="987654321"), a_person(BETO, flags='{"a": 1}')]
    links = [
        a_link(),
        a_link(table=SCOUTING, pk=lead.source_pk),
        a_link(BETO, pk="d2", linked_at="2023-12-31 23:59:00"),
        a_link(BETO, pk="d3"),
        a_link(uuid.UUID(int=9), pk="d4"),
    ]
    return persons, links, lead


def test_loading_again_changes_nothing(load):
    persons, links, __ = a_history()
    load(persons, links)
    before = (
        factories.state_facts(),
        list(AuditEntry.objects.values_list("pk", flat=True)),
        OriginChange.objects.count(),
    )
    links_before = list(Link.objects.order_by("pk").values())
    tally = load(persons, links)
    assert factories.changes(tally["persons"]) == {"read": 2, "unchanged": 2}
    links_tally = {name: tally["links"][name] for name in ("read", "inserted", "unchanged", "superseded", "rejected")}
    assert links_tally == {"read": 5, "inserted": 0, "unchanged": 4, "superseded": 0, "rejected": 1}
    assert tally["audit"] == tally["events"] == tally["origins"] == 0
    assert before == (
        factories.state_facts(),
        list(AuditEntry.objects.values_list("pk", flat=True)),
        OriginChange.objects.count(),
    )
    assert list(Link.objects.order_by("pk").values()) == links_before


def test_a_dry_run_says_what_the_run_does_and_leaves_nothing(load):
    persons, links, __ = a_history()
    before = factories.state_facts()
    dry = load(persons, links, dry_run=True)
    assert factories.state_facts() == before
    wet = load(persons, links)
    for tally in (dry, wet):
        for name in ("persons", "links"):
            del tally[name]["rejects_file"]
    assert dry == wet
    assert wet["links"]["inserted"] == 4


def test_a_load_is_taken_back_whole(load):
    persons, links, lead = a_history()
    before = factories.state_facts()
    load(persons, links)
    loaded = last_run()
    run = jobs.execute(start_roll_back(run_id=loaded.pk, actor="ana", dry_run=False, queue=False).pk)
    assert run.status == RunStatus.COMPLETED, run.error_message
    assert factories.state_facts() == before
    assert not Person.objects.exists()
    assert not Origin.objects.exists()
    assert factories.unmatched_of(lead).is_stale
    assert LeadEvent.objects.get().person_id is None
    assert complaints() == {}


# --- leads, events, origins --------------------------------------------------------------------------


def test_a_loaded_lead_is_no_longer_open_and_its_event_has_its_person(load):
    persons, links, lead = a_history()
    tally = load(persons, links)
    unmatched, event = factories.unmatched_of(lead), LeadEvent.objects.get()
    assert (unmatched.status, unmatched.is_stale) == ("RESOLVED", False)
    assert event.person_id == ANA
    assert event.payload_json["matched_by"] == "phone_last9"
    assert (event.payload_json["match_rule"], event.payload_json["match_score"]) == ("R1_PHONE_EXACT", 95)
    assert (tally["unmatched_resolved"], tally["events"]) == (1, 1)
    assert tally["audit"] == entries() == 2 + 4 + 1 + 2
    assert factories.changes(factories.match()) == {}
    assert complaints() == {}


@pytest.mark.parametrize("make", [factories.a_lead, factories.a_registration, lambda: factories.a_migration("d9")])
def test_a_loaded_lead_that_matching_never_saw_gets_its_event(load, make):
    record = make()
    tally = load([a_person()], [a_link(table=record.source_table, pk=record.source_pk)])
    event = LeadEvent.objects.get()
    assert (event.source_table, event.source_pk) == record
    assert (event.person_id, event.event_date) == (ANA, factories.LEAD_DATE)
    assert tally["events"] == 1


def test_a_lead_whose_row_is_gone_is_history_without_event(load):
    tally = load([a_person()], [a_link(table=SCOUTING, pk=424242)])
    assert (tally["links"]["inserted"], tally["events"]) == (1, 0)
    assert complaints() == {}


def test_the_origin_of_a_person_is_the_best_lead_by_the_rules_of_today(load):
    tally = load(
        [a_person()],
        [
            a_link(table="module_ct_migrations", pk=5, match_score=100),
            a_link(table=SCOUTING, pk=6, match_score=80, confidence_level="MEDIUM"),
            a_link(),
        ],
    )
    origin, change = Origin.objects.get(), OriginChange.objects.get()
    assert (origin.origin_tag, origin.origin_source_id) == ("scout_registration", "6")
    assert (float(origin.origin_confidence), origin.resolution_status) == (68.0, "resolved_auto")
    assert (change.origin_tag_old, change.origin_tag_new) == (None, "scout_registration")
    assert (tally["origins"], tally["legacy_origins"], tally["origin_history"]) == (1, 0, 1)


def test_accounts_from_before_the_lead_system_have_a_legacy_origin(load):
    load(
        [a_person(), a_person(BETO)],
        [
            # The last minute of 2023 in Lima is already 2024 elsewhere.
            a_link(pk="d1", linked_at="2023-12-31 23:59:00"),
            a_link(pk="d2"),
            a_link(BETO, pk="d3", linked_at="2024-01-01 00:00:00"),
        ],
    )
    origin = Origin.objects.get()
    assert (origin.person_id, origin.origin_tag, origin.origin_source_id) == (ANA, "legacy_external", "d1")
    assert (float(origin.origin_confidence), origin.resolution_status) == (50.0, "resolved_auto")
    assert origin.origin_created_at == dt.datetime(2024, 1, 1, 4, 59, tzinfo=dt.UTC)
    assert complaints() == {}


def test_a_lead_that_comes_later_overrules_a_legacy_origin(load):
    load([a_person()], [a_link(linked_at="2023-01-01")])
    load([a_person()], [a_link(table=SCOUTING, pk=3)])
    assert Origin.objects.get().origin_tag == "scout_registration"
    assert OriginChange.objects.latest("pk").origin_tag_old == "legacy_external"


@pytest.mark.parametrize("decision", [{"decided_by": "manual"}, {"resolution_status": "discarded"}])
def test_an_origin_that_a_person_decided_stays(load, decision):
    load([a_person()], [a_link(table="module_ct_migrations", pk=3)])
    Origin.objects.update(**decision)
    tally = load([a_person()], [a_link(table=SCOUTING, pk=4)])
    assert Origin.objects.get().origin_tag == "migration"
    assert tally["origins"] == 0


def test_a_driver_of_history_leads_matching_to_its_person(load):
    driver_id = factories.a_driver(phone="51987650001")
    load([a_person()], [a_link(pk=driver_id.upper())])
    lead = factories.a_registration(phone="987650001")
    factories.match()
    assert factories.link_of(lead).person_id == ANA
    assert Link.objects.filter(source_table="drivers").count() == 1


def test_a_quarantined_driver_whose_person_gets_a_lead_from_history_is_released(load):
    load([a_person()], [a_link()])
    factories.fix_orphans()
    assert factories.case_of("d1").status == "quarantined"
    tally = load([a_person()], [a_link(), a_link(table=SCOUTING, pk=3)])
    assert factories.case_of("d1").status == "resolved_relinked"
    assert tally["drivers_released"] == 1
    assert tally["audit"] == entries()
    assert complaints() == {}
    jobs.execute(start_roll_back(run_id=last_run().pk, actor="ana").pk)
    assert factories.case_of("d1").status == "quarantined"


# --- md5 keys ----------------------------------------------------------------------------------------


def md5_key(row: ScoutingRegistration, *, separator: str = "|", missing: str | None = "") -> str:
    """The key that the predecessor's ingestion gave a registration (domain.md 3.12), normalised its way (4.1)."""
    phone = row.driver_phone
    for mark in " -()+":
        phone = phone.replace(mark, "") if phone else None
    licence = row.driver_license.upper().replace(" ", "").replace("-", "") if row.driver_license else None
    parts = [str(row.scout_id), phone if phone and len(phone) >= 8 else missing, licence or missing]
    joined = separator.join(part for part in [*parts, row.registration_date.isoformat()] if part is not None)
    return hashlib.md5(joined.encode(), usedforsecurity=False).hexdigest()


def a_row(**columns: Any) -> ScoutingRegistration:
    return ScoutingRegistration.objects.get(pk=factories.a_registration(**columns).source_pk)


def test_an_md5_key_becomes_the_id_of_its_row(load):
    spellings = ({"phone": "+51 (987) 650-002", "licence": "q-12345 678"}, {"phone": "1234567", "licence": " "}, {})
    a_row(phone="987650003")
    rows = {}
    for number, (separator, missing, columns) in enumerate(
        product(["|", " | ", "_", "-", ""], ["", "None", None], spellings)
    ):
        row = a_row(scout=100 + number, **columns)
        rows[uuid.UUID(int=number)] = row.pk, md5_key(row, separator=separator, missing=missing)
    persons = [a_person(person) for person in rows]
    tally = load(persons, [a_link(person, SCOUTING, key.upper()) for person, (_pk, key) in rows.items()])
    expected = {person: str(pk) for person, (pk, _key) in rows.items()}
    assert dict(Link.objects.values_list("person_id", "source_pk")) == expected
    assert dict(LeadEvent.objects.values_list("person_id", "source_pk")) == expected
    assert tally["md5_keys_mapped"] == len(rows)
    again = load(persons, [a_link(person, SCOUTING, key) for person, (_pk, key) in rows.items()])
    assert again["links"]["unchanged"] == len(rows)


def test_an_md5_key_that_no_row_or_several_rows_give_is_rejected(load):
    twin = a_row(phone="987650004")
    a_row(phone="987650004")
    tally = load([a_person()], [a_link(table=SCOUTING, pk=md5_key(twin)), a_link(table=SCOUTING, pk="0" * 32)])
    assert reasons(tally) == {
        2: "several rows of module_ct_scouting_daily give this md5 key",
        3: "no row of module_ct_scouting_daily gives this md5 key",
    }
    assert not Link.objects.exists()
    assert accounted(tally)


def test_an_external_id_of_a_cabinet_lead_is_no_md5_key(load):
    tally = load([a_person()], [a_link(table="module_ct_cabinet_leads", pk="0" * 32)])
    assert tally["links"]["inserted"] == 1


@pytest.mark.parametrize(("of_md5", "of_id", "kept"), [(90, 80, 90), (80, 90, 90), (85, 85, 85)])
def test_of_an_md5_key_and_the_id_of_one_row_the_higher_score_counts(load, of_md5, of_id, kept):
    row = a_row(phone="987650005")
    tally = load(
        [a_person()],
        [
            a_link(table=SCOUTING, pk=md5_key(row), match_score=of_md5, match_rule="by md5"),
            a_link(table=SCOUTING, pk=row.pk, match_score=of_id, match_rule="by id"),
        ],
    )
    link = Link.objects.get()
    assert (link.source_pk, link.match_score) == (str(row.pk), kept)
    assert link.match_rule == ("by md5" if of_md5 > of_id else "by id")
    assert (tally["links"]["inserted"], tally["links"]["superseded"]) == (1, 1)


def test_an_md5_key_and_an_id_of_two_persons_are_a_conflict(load):
    row = a_row(phone="987650006")
    tally = load(
        [a_person(), a_person(BETO)],
        [a_link(table=SCOUTING, pk=md5_key(row)), a_link(BETO, table=SCOUTING, pk=row.pk, match_score=10)],
    )
    claimed = f"this file links the record {SCOUTING} {row.pk} to another person as well: "
    assert reasons(tally) == {2: f"{claimed}{BETO}", 3: f"{claimed}{ANA}"}
    assert not Link.objects.exists()


# --- invariants, generated data ----------------------------------------------------------------------


def test_links_of_history_are_not_judged_by_the_rules_of_today_and_others_are(load):
    load([a_person()], [a_link(pk=f"d{number}", evidence='{"phone_normalized": "999"}') for number in range(9)])
    load([a_person()], [a_link(table=SCOUTING, pk=1)])
    assert complaints() == {}
    Link.objects.filter(pk__in=Link.objects.values("pk")[:7]).update(evidence={"phone_normalized": "999"})
    found = complaints()
    assert found["chk_link_rests_on_a_real_key"] == 7
    assert found["chk_person_is_not_too_large"] == 1


@pytest.mark.slow
def test_generated_history_loads_and_no_invariant_complains(tmp_path, empty_source_tables):
    empty_source_tables()
    folder = tmp_path / "data"
    rows = generate(leads=2000, seed=3, directory=folder)
    assert rows["legacy_links"] > 0
    for table in ("drivers", "module_ct_cabinet_leads", SCOUTING, "module_ct_migrations"):
        load_source(table=table, path=folder / f"{table}.csv", rejects_dir=tmp_path, actor="tests")
    tally = load_files(folder / "legacy_persons.csv", folder / "legacy_links.csv", tmp_path)
    assert tally["persons"]["inserted"] == rows["legacy_persons"]
    assert tally["links"]["inserted"] == rows["legacy_links"]
    factories.match()
    assert complaints() == {}
    again = load_files(folder / "legacy_persons.csv", folder / "legacy_links.csv", tmp_path)
    assert (again["persons"]["unchanged"], again["links"]["unchanged"]) == (
        rows["legacy_persons"],
        rows["legacy_links"],
    )
    assert again["audit"] == 0


# --- the command -------------------------------------------------------------------------------------


def command(*arguments: Any) -> tuple[str, str, CommandError | None]:
    out, err = io.StringIO(), io.StringIO()
    failure = None
    try:
        call_command("load_legacy_identity", *map(str, arguments), stdout=out, stderr=err)
    except CommandError as error:
        failure = error
    if connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("discard temp")
    return out.getvalue(), err.getvalue(), failure


def test_the_command_prints_one_json_line_on_stdout_and_words_on_stderr(files, tmp_path):
    paths = files([a_person()], [a_link(run_id=3)])
    out, err, error = command(*paths, "--json", "--rejects", tmp_path)
    assert error is None
    assert out.count("\n") == 1
    assert json.loads(out)["links"]["inserted"] == 1
    assert "Links: Unknown columns, ignored: run_id." in err
    assert "Links read 1: inserted 1" in err


def test_the_command_exits_with_3_when_rows_were_rejected_and_names_the_file(files, tmp_path):
    paths = files([a_person(), a_person(BETO, confidence_level="?")], [a_link(), a_link(match_score="?")])
    out, __, error = command(*paths, "--json", "--rejects", tmp_path / "rejects")
    assert error.returncode == 3
    assert str(error).startswith("Rows rejected: 2")
    named = {json.loads(out)[name]["rejects_file"] for name in ("persons", "links")}
    assert named == {str(path) for path in (tmp_path / "rejects").iterdir()}


def test_the_command_takes_a_dry_run_back(files, tmp_path):
    __, err, error = command(*files([a_person()], [a_link()]), "--dry-run", "--rejects", tmp_path)
    assert error is None
    assert "nothing was kept" in err
    assert not Person.objects.exists()


# --- two at once -------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_two_loads_at_once_one_is_told_to_wait(files, tmp_path):
    paths = files([a_person()], [a_link()])
    started = threading.Event()
    ended: list[Run] = []

    def work() -> None:
        try:
            run = jobs.start(
                job_code=JobType.LEGACY_LOAD,
                actor="tests",
                parameters={
                    "persons": str(paths[0]),
                    "links": str(paths[1]),
                    "rejects_dir": str(tmp_path),
                },
            )
            ended.append(jobs.execute(run.pk, lambda *__: started.set()))
        finally:
            connections.close_all()

    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(%s)", [WRITER_LOCK])
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert started.wait(60)
        __, __, error = command(*paths, "--rejects", tmp_path)
        assert error.returncode == 1
        assert "already runs" in str(error)
        assert not Person.objects.exists()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_unlock(%s)", [WRITER_LOCK])
        thread.join()
    assert [run.status for run in ended] == [RunStatus.COMPLETED]
    assert Link.objects.get().person_id == ANA
