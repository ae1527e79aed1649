"""The audit log only grows, and from it alone a run can be taken back."""

from __future__ import annotations

import io
import json
from random import Random
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from ct4site import faults, invariants, jobs
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from ct4site.rollback import start_roll_back
from identity.models import LeadEvent, Link, OriginChange, Person, Unmatched
from tests import factories
from tests.oracle import worlds

pytestmark = pytest.mark.django_db

OUTSIDE = ("identity_links", "identity_unmatched", "identity_origin", "identity_registry")


def match(**parameters: Any) -> int:
    """Run matching; return the run's id."""
    factories.match(**parameters)
    return int(Run.objects.filter(job_type=JobType.IDENTITY_RUN).latest("pk").pk)


def roll_back(run_id: int, *, dry_run: bool = False) -> Run:
    """Take a run back; it must complete."""
    run = jobs.execute(start_roll_back(run_id=run_id, actor="tests", dry_run=dry_run).pk)
    assert run.status == RunStatus.COMPLETED, run.error_message
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    return run


def counted(run: Run, outcome: str) -> dict[str, int]:
    """Per table how many rows had an outcome, without zeros."""
    return {table: run.stats[table][outcome] for table in OUTSIDE if run.stats[table][outcome]}


def decisions() -> list[str]:
    """The state without events of leads that nobody decided: an event says only that the lead came in."""
    undecided = {(event.source_table, event.source_pk) for event in LeadEvent.objects.filter(person=None)}
    undecided -= set(Unmatched.objects.values_list("source_table", "source_pk"))
    return [
        fact
        for fact in factories.state_facts()
        if not (fact.startswith("event|") and tuple(fact.split("|")[1:3]) in undecided)
    ]


def broken() -> dict[str, int]:
    return {finding.name: finding.count for finding in invariants.check() if finding.count}


# --- append-only --------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["ops.audit_log", "canon.identity_origin_history"])
@pytest.mark.parametrize("replica", [False, True], ids=["plain", "as replica"])
@pytest.mark.parametrize("verb", ["update {} set run_id = null", "delete from {}"])
def test_history_refuses_to_change(table: str, replica: bool, verb: str) -> None:
    factories.a_recruited_driver()
    match()
    with connection.cursor() as cursor:
        cursor.execute(f"select count(*) from {table}")
        before = cursor.fetchone()
        if replica:
            try:
                with transaction.atomic():
                    cursor.execute("set local session_replication_role = replica")
            except DatabaseError:
                pytest.skip("this user may not switch triggers off")
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            cursor.execute(verb.format(table))
        cursor.execute("set local session_replication_role = origin" if replica else "select 1")
        cursor.execute(f"select count(*) from {table}")
        assert cursor.fetchone() == before != (0,)


# --- taking a run back --------------------------------------------------------------------------------


def test_taking_back_a_run_restores_what_was_before_it() -> None:
    factories.a_recruited_driver()
    match()
    before = decisions()
    factories.a_lead_known_by_its_car()
    factories.a_registration("NADIE CONOCIDO AQUI")
    run = match()
    assert decisions() != before
    audited = AuditEntry.objects.count()
    changed = OriginChange.objects.count()

    reversal = roll_back(run)

    assert decisions() == before
    assert counted(reversal, "restored") == {
        "identity_links": 2, "identity_unmatched": 1, "identity_origin": 1, "identity_registry": 1,
    }  # fmt: skip
    assert AuditEntry.objects.count() == audited + 5 == audited + reversal.stats["audit"]
    assert OriginChange.objects.count() == changed + 1
    assert OriginChange.objects.latest("pk").origin_tag_new is None
    assert reversal.reverses_id == run
    assert not broken()


def test_the_event_of_a_lead_stays_and_forgets_the_person() -> None:
    _driver, lead = factories.a_recruited_driver()
    run = match()
    roll_back(run)
    event = LeadEvent.objects.get(source_table=lead.source_table, source_pk=lead.source_pk)
    assert event.person_id is None
    assert (event.payload_json["matched_by"], event.payload_json["match_rule"]) == ("none", None)


def test_the_next_run_decides_again_what_was_taken_back() -> None:
    factories.a_recruited_driver()
    factories.a_registration("NADIE CONOCIDO AQUI")
    run = match()
    state = factories.state_hash()
    roll_back(run)
    match()
    assert factories.state_hash() == state
    assert not broken()


def test_a_record_that_was_open_before_is_open_again_and_tried_again() -> None:
    phone = factories.a_phone(5)
    lead = factories.a_registration(phone=phone)
    match()
    assert factories.answer(lead) == "NO_CANDIDATES"
    before = decisions()
    factories.a_driver(phone=phone)
    run = match()
    assert factories.link_of(lead)
    roll_back(run)
    assert decisions() == before
    assert factories.unmatched_of(lead).is_stale
    match()
    assert factories.link_of(lead)
    assert not broken()


def test_taking_back_twice_changes_nothing_the_second_time() -> None:
    factories.a_recruited_driver()
    run = match()
    roll_back(run)
    state, audited = factories.state_hash(), AuditEntry.objects.count()
    second = roll_back(run)
    assert (factories.state_hash(), AuditEntry.objects.count()) == (state, audited)
    assert not counted(second, "restored")
    assert sum(counted(second, "already_restored").values()) == 4


def test_a_roll_back_can_be_taken_back_again_and_again() -> None:
    factories.a_recruited_driver()
    factories.a_migrated_driver()
    run = match()
    linked = factories.state_hash()
    undone = roll_back(run)
    without = factories.state_hash()
    redone = roll_back(undone.pk)
    assert factories.state_hash() == linked
    roll_back(redone.pk)
    assert factories.state_hash() == without
    roll_back(run)
    assert factories.state_hash() == without
    assert not broken()


def test_a_person_with_newer_work_stays_as_a_whole_and_is_named() -> None:
    phone = factories.a_phone(7)
    driver = factories.a_driver(phone=phone)
    old = factories.a_registration(phone=phone)
    other = factories.a_migrated_driver()
    run = match()
    new = factories.a_registration(phone=phone, scout=8)
    newer = match()

    def of_the_person() -> list[str]:
        return [fact for fact in decisions() if driver in fact]

    before = of_the_person()

    reversal = roll_back(run)

    assert factories.link_of(old)
    assert factories.link_of(new)
    assert not factories.link_of(other.lead)
    assert of_the_person() == before
    kept = counted(reversal, "person_used_since") | counted(reversal, "changed_since")
    assert kept["identity_links"] == 2
    assert any(str(factories.link_of(old).pk) in line for line in reversal.log)
    assert not broken()

    roll_back(newer)
    roll_back(run)
    assert not Person.objects.exists()
    assert not broken()


def test_a_row_that_somebody_changed_stays_with_its_person() -> None:
    touched = factories.a_recruited_driver()
    factories.a_migrated_driver()
    run = match()
    person = factories.link_of(touched.lead).person
    Person.objects.filter(pk=person.pk).update(flags={"seen": True})

    reversal = roll_back(run)

    assert list(Person.objects.all()) == [person]
    assert factories.link_of(touched.lead).person == person
    assert counted(reversal, "changed_since") == {"identity_registry": 1}
    assert counted(reversal, "kept_with_person") == {"identity_links": 2, "identity_origin": 1}
    assert any(f"identity_registry: changed_since: 1 ({person.pk})" in line for line in reversal.log)


def test_a_person_something_else_refers_to_stays() -> None:
    recruited = factories.a_recruited_driver()
    run = match()
    person = factories.link_of(recruited.lead).person
    Link.objects.create(
        person=person, source_table="module_ct_scouting_daily", source_pk="unknown to the audit",
        snapshot_date="2026-01-01T00:00Z", match_rule="manual", match_score=100, confidence_level="HIGH",
    )  # fmt: skip
    reversal = roll_back(run)
    assert factories.link_of(recruited.lead)
    assert counted(reversal, "still_referred_to") == {"identity_registry": 1}


def test_what_was_removed_does_not_come_back_where_something_else_stands() -> None:
    recruited = factories.a_recruited_driver()
    run = match()
    undone = roll_back(run)
    match()
    link = factories.link_of(recruited.lead)
    redone = roll_back(undone.pk)
    assert factories.link_of(recruited.lead) == link
    assert counted(redone, "restored") == {}
    assert counted(redone, "place_taken") == {"identity_links": 2}
    assert not broken()


def test_a_dry_roll_back_gives_the_numbers_and_changes_nothing() -> None:
    factories.a_recruited_driver()
    run = match()
    state, audited = factories.state_hash(), AuditEntry.objects.count()
    dry = roll_back(run, dry_run=True)
    assert (factories.state_hash(), AuditEntry.objects.count()) == (state, audited)
    assert dry.stats == roll_back(run).stats


def test_taking_back_an_interrupted_run_drops_the_rest_of_its_plan(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    for _number in range(3):
        factories.a_recruited_driver()
    factories.refresh()
    settings.CHUNK_SIZE = 1

    def interrupt(name: str) -> None:
        if name == "chunk:2:effected":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(faults, "point", interrupt)
        jobs.perform(job_code=JobType.IDENTITY_RUN, actor="tests")
    run = Run.objects.latest("pk")
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    assert (run.status, run.has_plan, Link.objects.count()) == (RunStatus.FAILED, True, 2)
    roll_back(run.pk)
    run.refresh_from_db()
    assert not run.has_plan
    assert not Link.objects.exists()
    assert not broken()


@pytest.mark.slow
def test_every_step_of_random_worlds_can_be_taken_back_and_taken_again() -> None:
    for seed in range(4):
        rng = Random(seed)
        factories.load(worlds.random_world(rng))
        factories.refresh()
        states = [decisions()]
        runs = []
        for limit in (rng.randint(1, 6), rng.randint(1, 6), None):
            runs.append(match(**({"limit": limit} if limit else {})))
            states.append(decisions())
        reversals = []
        for run, state in zip(reversed(runs), reversed(states[:-1]), strict=True):
            reversals.append(roll_back(run))
            assert decisions() == state, f"seed {seed}"
            assert not broken(), f"seed {seed}"
        for reversal, state in zip(reversed(reversals), states[1:], strict=True):
            roll_back(reversal.pk)
            assert decisions() == state, f"seed {seed}"
        for run in reversed(runs):
            roll_back(run)
        assert decisions() == states[0], f"seed {seed}"


@pytest.mark.slow
def test_twenty_thousand_rows_go_back_at_once() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            insert into public.drivers (driver_id, park_id, full_name, phone, hire_date)
            select md5(n::text), %s, 'NOMBRE' || md5('a' || n) || ' APELLIDO' || md5('b' || n), '519' || (20000000 + n), '2026-01-01'
            from generate_series(1, 5000) as n
            """,
            [factories.OBJECTIVE_PARK],
        )
        cursor.execute(
            """
            insert into public.module_ct_scouting_daily (registration_date, scout_id, driver_name, driver_phone, created_at)
            select '2026-01-01', 7, 'NOMBRE' || md5('a' || n) || ' APELLIDO' || md5('b' || n), '9' || (20000000 + n), now()
            from generate_series(1, 5000) as n
            """
        )
    before = decisions()
    run = match()
    assert Run.objects.get(pk=run).stats["audit"] == 15_000  # first origins are on record in their history
    assert roll_back(run).stats["audit"] == 20_000
    assert decisions() == before
    assert not broken()


# --- the command --------------------------------------------------------------------------------------


def test_the_command_prints_one_json_line_and_the_rest_for_people() -> None:
    factories.a_recruited_driver()
    run = match()
    out, err = io.StringIO(), io.StringIO()
    call_command("roll_back_run", str(run), "--json", stdout=out, stderr=err)
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["identity_links"]["restored"] == 2
    assert "identity_links.restored: 2" in err.getvalue()


def test_only_a_run_that_is_over_and_was_no_dry_run_can_be_taken_back() -> None:
    with pytest.raises(CommandError, match="999999"):
        call_command("roll_back_run", "999999", stderr=io.StringIO())
    dry = jobs.perform(job_code=JobType.IDENTITY_RUN, actor="tests", dry_run=True)
    with pytest.raises(jobs.JobError):
        start_roll_back(run_id=dry.pk, actor="tests")
    running = jobs.start(job_code=JobType.DRIVERS_INDEX_REFRESH, actor="tests")
    with pytest.raises(jobs.JobError):
        start_roll_back(run_id=running.pk, actor="tests")
    assert not Run.objects.filter(job_type=JobType.ROLL_BACK).exists()
