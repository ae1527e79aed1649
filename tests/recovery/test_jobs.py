"""The two jobs of recovery: what is tried again and why, what is written, that they come to rest (RB4, RB2)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from ct4site.models import AuditEntry, JobType, Run
from identity.models import CabinetLead, Driver, Link, Origin, OriginChange, Person, Unmatched
from recovery.models import GapDay, MatchingJob, RecoveredLead, RecoveryEvent
from tests.factories import (
    JUAN,
    PEDRO,
    ROSA,
    Record,
    a_day_passes,
    a_driver,
    a_lead,
    a_migration,
    a_phone,
    changes,
    link_of,
    match,
    refresh,
    state_facts,
)
from tests.recovery.stories import (
    OTHER_PHONE,
    PHONE,
    a_linked_lead,
    causes_of,
    complaints,
    impact,
    origin_of,
    retry,
    roll_back,
    tries_of,
)

pytestmark = pytest.mark.django_db

TODAY = timezone.localdate()


def of_tries(tally: dict[str, Any]) -> dict[str, int]:
    return {name: tally[name] for name in ("processed", "matched", "failed", "pending", "skipped")}


def without_origin(lead: Record) -> Record:
    """Take away the origin of a lead's person, as the predecessor left many."""
    Origin.objects.filter(person=link_of(lead).person_id).delete()
    return lead


# --- what is tried, and when again ----------------------------------------------------------------------


def test_a_lead_is_tried_once_on_the_same_facts() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    assert of_tries(retry()) == {"processed": 1, "matched": 0, "failed": 0, "pending": 1, "skipped": 0}
    assert tries_of(lead) == ("pending", 1, "NO_CANDIDATES")
    assert of_tries(retry()) == {"processed": 1, "matched": 0, "failed": 0, "pending": 0, "skipped": 1}
    assert tries_of(lead) == ("pending", 1, "NO_CANDIDATES")
    assert causes_of(lead) == ["first"]


def test_a_new_driver_with_its_key_brings_a_lead_back() -> None:
    lead, other = a_lead(JUAN, phone=PHONE), a_lead(ROSA, phone=OTHER_PHONE)
    match()
    retry()
    driver = a_driver(JUAN, phone=PHONE)
    refresh()
    assert of_tries(retry()) == {"processed": 2, "matched": 1, "failed": 0, "pending": 0, "skipped": 1}
    assert tries_of(lead) == ("matched", 2, None)
    assert causes_of(lead) == ["first", "driver_changed"]
    assert causes_of(other) == ["first"]
    link, origin = link_of(lead), origin_of(lead)
    assert MatchingJob.objects.get(source_id=lead.source_pk).matched_person_id == link.person_id
    assert Link.objects.get(source_table="drivers", source_pk=driver).person_id == link.person_id
    assert (origin.origin_tag, origin.origin_source_id, origin.decided_by) == ("cabinet_lead", lead.source_pk, "system")
    recovered = RecoveredLead.objects.get()
    assert (recovered.lead_id, recovered.recovered_person_key) == (lead.source_pk, link.person_id)
    assert (recovered.recovery_method, recovered.recovered_by) == ("retry_matching", "system")
    assert recovered.first_recovered_at == recovered.last_recovered_at == link.linked_at
    event = RecoveryEvent.objects.get()
    assert (event.event, event.lead_id, event.before) == ("recovered", lead.source_pk, None)
    assert Unmatched.objects.get(source_pk=lead.source_pk).status == "RESOLVED"
    assert complaints() == {}


def test_a_lead_that_was_corrected_is_tried_again() -> None:
    lead = a_lead(JUAN, phone=OTHER_PHONE)
    a_driver(JUAN, phone=PHONE)
    match()
    retry()
    CabinetLead.objects.filter(external_id=lead.source_pk).update(park_phone=PHONE)
    assert retry()["matched"] == 1
    assert causes_of(lead) == ["first", "lead_changed"]


def test_other_rules_are_a_reason_to_try_again(settings: Any) -> None:
    lead = a_lead(JUAN, phone=PHONE)
    retry()
    settings.SHARED_KEY_LIMIT += 1
    assert retry()["pending"] == 1
    assert causes_of(lead) == ["first", "rules_changed"]
    assert retry()["skipped"] == 1


def test_a_reason_that_matching_found_meanwhile_is_taken_over() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    match()
    retry()
    a_driver(ROSA, phone=PHONE)
    match()
    assert Unmatched.objects.get(source_pk=lead.source_pk).reason_code == "KEY_MATCH_NAME_CONTRADICTS"
    retry()
    assert tries_of(lead) == ("pending", 2, "KEY_MATCH_NAME_CONTRADICTS")
    assert causes_of(lead) == ["first", "tried_elsewhere"]
    assert retry()["pending"] == 0


@pytest.mark.slow
def test_five_tries_give_up_and_a_sixth_may_still_find() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    for turn in range(5):
        assert tries_of(lead)[0] == "pending" if turn else True
        CabinetLead.objects.filter(external_id=lead.source_pk).update(asset_plate_number=f"ABC{turn:03d}")
        retry()
    assert tries_of(lead) == ("failed", 5, "NO_CANDIDATES")
    assert of_tries(retry()) == {"processed": 1, "matched": 0, "failed": 0, "pending": 0, "skipped": 1}
    a_driver(JUAN, phone=PHONE)
    refresh()
    assert retry()["matched"] == 1
    assert tries_of(lead) == ("matched", 6, None)


def test_what_a_person_set_aside_is_never_tried() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    match()
    Unmatched.objects.update(status="IGNORED")
    a_driver(JUAN, phone=PHONE)
    refresh()
    assert of_tries(retry()) == {"processed": 1, "matched": 0, "failed": 0, "pending": 0, "skipped": 1}
    assert link_of(lead) is None


def test_skipped_leads_do_not_use_up_the_limit() -> None:
    old = [a_lead(JUAN, on=TODAY - dt.timedelta(days=60 + day)) for day in range(3)]
    retry()
    new = a_lead(ROSA, phone=OTHER_PHONE, on=TODAY)
    assert of_tries(retry(limit=1)) == {"processed": 4, "matched": 0, "failed": 0, "pending": 1, "skipped": 3}
    assert causes_of(new) == ["first"]
    assert [len(causes_of(lead)) for lead in old] == [1, 1, 1]


def test_the_oldest_leads_come_first() -> None:
    leads = [a_lead(name, on=TODAY - dt.timedelta(days=days)) for name, days in ((JUAN, 1), (ROSA, 9), (PEDRO, 3))]
    retry(limit=2)
    assert [causes_of(lead) for lead in leads] == [[], ["first"], ["first"]]


@pytest.mark.parametrize(
    ("parameters", "tried"),
    [
        ({"risk_level": "high"}, ["old"]),
        ({"risk_level": "medium"}, ["linked"]),
        ({"risk_level": "low"}, ["new"]),
        ({"gap_reason": "no_identity"}, ["new", "old"]),
        ({"gap_reason": "no_origin"}, ["linked"]),
        ({"date_from": str(TODAY - dt.timedelta(days=5))}, ["linked", "new"]),
        ({"date_to": str(TODAY - dt.timedelta(days=6))}, ["old"]),
        ({"date_from": str(TODAY), "date_to": str(TODAY), "gap_reason": "no_origin"}, []),
    ],
)
def test_filters_choose_the_leads(parameters: dict[str, str], tried: list[str]) -> None:
    linked = a_linked_lead(on=TODAY - dt.timedelta(days=5))
    match()
    without_origin(linked)
    leads = {
        "linked": linked,
        "new": a_lead(ROSA, phone=OTHER_PHONE, on=TODAY),
        "old": a_lead(PEDRO, on=TODAY - dt.timedelta(days=30)),
    }
    retry(**parameters)
    assert sorted(name for name, lead in leads.items() if causes_of(lead)) == tried


def test_a_lead_that_is_gone_from_the_feed_is_given_up_once() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    retry()
    CabinetLead.objects.all().delete()
    assert of_tries(retry()) == {"processed": 1, "matched": 0, "failed": 1, "pending": 0, "skipped": 0}
    assert tries_of(lead) == ("failed", 2, "lead_not_found")
    assert of_tries(retry())["processed"] == 0
    CabinetLead.objects.create(external_id=lead.source_pk, lead_created_at="2026-01-10", park_phone=PHONE)
    assert retry()["pending"] == 1


def test_a_lead_that_matching_linked_meanwhile_is_settled_without_a_try() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    match()
    retry()
    a_driver(JUAN, phone=PHONE)
    match()
    tally = retry()
    assert (tally["settled"], tally["matched"], tally["processed"]) == (1, 0, 0)
    assert tries_of(lead) == ("matched", 1, None)
    assert retry()["settled"] == 0


# --- origins ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", [retry, impact])
def test_a_missing_origin_is_set(job: Any) -> None:
    lead = a_linked_lead()
    match()
    without_origin(lead)
    assert job()["origins_created"] == 1
    origin = origin_of(lead)
    assert (origin.origin_tag, origin.origin_source_id, origin.origin_confidence) == (
        "cabinet_lead",
        lead.source_pk,
        95,
    )
    assert (origin.decided_by, origin.resolution_status) == ("system", "resolved_auto")
    assert origin.origin_created_at == link_of(lead).snapshot_date
    change = OriginChange.objects.latest("id")
    assert (change.origin_tag_old, change.origin_tag_new, change.change_reason) == (
        None, "cabinet_lead", "lead recovered",
    )  # fmt: skip
    assert RecoveredLead.objects.get().recovery_method == "origin_backfill"
    again = job()
    assert {name: value for name, value in changes(again).items() if name.startswith(("origins", "audit"))} == {}
    assert complaints() == {}


@pytest.mark.parametrize("job", [retry, impact])
def test_a_weaker_origin_of_the_system_gives_way_and_the_history_tells(job: Any) -> None:
    lead = a_linked_lead()
    match()
    Origin.objects.update(origin_tag="migration", origin_source_id="12")
    assert job()["origins_updated"] == 1
    assert origin_of(lead).origin_tag == "cabinet_lead"
    change = OriginChange.objects.latest("id")
    assert (change.origin_tag_old, change.origin_source_id_old, change.origin_source_id_new) == (
        "migration", "12", lead.source_pk,
    )  # fmt: skip
    entry = AuditEntry.objects.filter(action="set_origin").latest("id")
    assert (entry.before["origin_tag"], entry.after["origin_tag"]) == ("migration", "cabinet_lead")


def test_an_origin_that_is_a_lead_of_somebody_else_is_put_right() -> None:
    mine, theirs = a_linked_lead(), a_linked_lead(ROSA, OTHER_PHONE)
    match()
    Origin.objects.filter(person=link_of(mine).person_id).update(origin_source_id=theirs.source_pk)
    assert retry(gap_reason="inconsistent_origin")["matched"] == 1
    assert origin_of(mine).origin_source_id == mine.source_pk
    assert origin_of(theirs).origin_source_id == theirs.source_pk


HELD = [
    {"decided_by": "manual"},
    {"resolution_status": "resolved_manual"},
    {"resolution_status": "marked_legacy"},
    {"resolution_status": "discarded"},
]


@pytest.mark.parametrize("held", HELD)
def test_humans_win(held: dict[str, str]) -> None:
    lead = a_linked_lead()
    match()
    Origin.objects.update(origin_tag="migration", origin_source_id="12", **held)
    before = Origin.objects.values().get()
    assert of_tries(retry()) == {"processed": 1, "matched": 0, "failed": 1, "pending": 0, "skipped": 0}
    assert tries_of(lead) == ("failed", 1, "manual_origin_conflict")
    assert retry()["skipped"] == 1
    tally = impact()
    assert (tally["processed"], tally["skipped"]) == (0, 1)
    assert Origin.objects.values().get() == before
    assert not RecoveredLead.objects.exists()
    # Decided anew: it is looked at again.
    Origin.objects.update(decided_at=timezone.now() + dt.timedelta(hours=1))
    assert retry()["failed"] == 1
    assert causes_of(lead) == ["first", "origin_changed"]


def test_a_lead_that_is_matched_to_a_person_with_a_decided_origin_is_linked_and_left_to_people() -> None:
    driver = a_driver(JUAN, phone=PHONE)
    a_migration(driver)
    match()
    Origin.objects.update(decided_by="manual")
    lead = a_lead(JUAN, phone=PHONE)
    retry()
    assert link_of(lead) is not None
    assert origin_of(lead).origin_tag == "migration"
    assert tries_of(lead) == ("failed", 1, "manual_origin_conflict")


@pytest.mark.parametrize("job", [retry, impact])
def test_a_person_with_two_leads_comes_to_rest(job: Any) -> None:
    a_driver(JUAN, phone=PHONE)
    later = a_lead(JUAN, phone=PHONE, on=dt.date(2026, 1, 12))
    earlier = a_lead(JUAN, phone=PHONE, on=dt.date(2026, 1, 3))
    match()
    without_origin(later)
    tally = job()
    assert (tally["origins_created"], tally["audit_created"]) == (1, 2)
    assert origin_of(later).origin_source_id == earlier.source_pk
    history = OriginChange.objects.count()
    for _turn in range(2):
        tally = job()
        assert (tally["origins_updated"], tally["audit_created"], tally["audit_updated"]) == (0, 0, 0)
    assert OriginChange.objects.count() == history


def test_a_lead_whose_person_gets_another_lead_goes_along() -> None:
    a_driver(JUAN, phone=PHONE)
    known = a_lead(JUAN, phone=PHONE, on=dt.date(2026, 1, 3))
    match()
    Origin.objects.update(origin_tag="migration", origin_source_id="12")
    new = a_lead(JUAN, phone=PHONE, on=dt.date(2026, 1, 12))
    tally = retry()
    assert (tally["matched"], tally["pending"]) == (2, 0)
    assert {tries_of(lead)[0] for lead in (known, new)} == {"matched"}
    assert set(RecoveredLead.objects.values_list("lead_id", "recovery_method")) == {
        (known.source_pk, "origin_backfill"), (new.source_pk, "retry_matching"),
    }  # fmt: skip
    assert complaints() == {}


# --- impact -------------------------------------------------------------------------------------------------


def test_a_limit_smaller_than_the_backlog_gets_through_it() -> None:
    leads = []
    for number, name in enumerate((JUAN, ROSA, PEDRO)):
        leads.append(a_linked_lead(name, a_phone(810 + number), on=dt.date(2026, 1, 3 + number)))
    match()
    Origin.objects.all().delete()
    for number in range(4):  # nobody, and newer than all others
        a_lead(f"NADIE NUNCA {number}", on=TODAY)
    done = [impact(limit=1)["processed"] for _turn in range(4)]
    assert done == [1, 1, 1, 0]
    assert [origin_of(lead) is not None for lead in leads] == [True] * 3
    assert RecoveredLead.objects.count() == 3


def test_the_newest_leads_come_first() -> None:
    old, new = a_linked_lead(on=dt.date(2026, 1, 3)), a_linked_lead(ROSA, OTHER_PHONE, on=dt.date(2026, 1, 9))
    match()
    Origin.objects.all().delete()
    tally = impact(limit=1)
    assert (origin_of(old), origin_of(new).origin_source_id) == (None, new.source_pk)
    assert (tally["processed"], tally["skipped"], tally["errors"]) == (1, 0, [])


def test_what_the_first_matching_links_was_never_lost() -> None:
    a_linked_lead()
    match()
    assert impact()["processed"] == 0
    assert not RecoveredLead.objects.exists()


def test_a_lead_that_a_later_matching_linked_is_recorded_with_the_moment_of_the_link() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    match()
    Unmatched.objects.update(created_at=timezone.now() - dt.timedelta(days=2))
    a_driver(JUAN, phone=PHONE)
    match()
    a_day_passes()
    Origin.objects.update(created_at=timezone.now() - dt.timedelta(days=2))
    assert impact()["audit_created"] == 1
    recovered = RecoveredLead.objects.get()
    assert (recovered.lead_id, recovered.recovery_method) == (lead.source_pk, "identity_link")
    assert recovered.first_recovered_at == link_of(lead).linked_at
    assert impact()["processed"] == 0


def test_a_second_recovery_keeps_the_first_date() -> None:
    lead = a_linked_lead()
    match()
    without_origin(lead)
    impact()
    first = timezone.now() - dt.timedelta(days=3)
    with transaction.atomic():
        RecoveredLead.objects.update(first_recovered_at=first, last_recovered_at=first)
    without_origin(lead)
    tally = impact()
    assert (tally["audit_created"], tally["audit_updated"]) == (0, 1)
    recovered = RecoveredLead.objects.get()
    assert recovered.first_recovered_at == first
    assert recovered.last_recovered_at > first
    assert list(RecoveryEvent.objects.order_by("id").values_list("event", flat=True)) == [
        "recovered",
        "recovered_again",
    ]


def test_a_try_of_a_lead_that_the_impact_job_puts_right_ends() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    match()
    retry()
    a_driver(JUAN, phone=PHONE)
    match()
    without_origin(lead)
    impact()
    assert tries_of(lead) == ("matched", 1, None)


# --- as a job -----------------------------------------------------------------------------------------------


def a_mixed_world() -> list[Record]:
    """Leads of every kind."""
    a_driver(JUAN, phone=PHONE)
    first = a_lead(JUAN, phone=PHONE, on=dt.date(2026, 1, 3))
    linked = a_linked_lead(ROSA, OTHER_PHONE)
    held = a_linked_lead(PEDRO, a_phone(820))
    match()
    Origin.objects.filter(person=link_of(first).person_id).update(origin_tag="migration", origin_source_id="12")
    without_origin(linked)
    Origin.objects.filter(person=link_of(held).person_id).update(
        origin_tag="migration", origin_source_id="13", decided_by="manual"
    )
    second = a_lead(JUAN, phone=PHONE, on=dt.date(2026, 1, 12))
    nobody = a_lead("NADIE NUNCA JAMAS")
    for number in range(5):
        a_linked_lead(f"{JUAN.split()[0]} UNICO{number} PERSONA{number}", a_phone(830 + number))
    refresh()
    return [first, linked, held, second, nobody]


def outcome() -> list[Any]:
    facts: list[Any] = [fact for fact in state_facts() if not fact.startswith("quarantine")]
    facts += MatchingJob.objects.order_by("source_id").values_list(
        "source_id", "status", "attempt_count", "fail_reason"
    )
    facts += RecoveredLead.objects.order_by("lead_id").values_list("lead_id", "recovery_method")
    return facts


def test_plan_dry_run_and_run_agree_and_a_dry_run_changes_nothing() -> None:
    a_mixed_world()
    before = outcome()
    dry = retry(dry_run=True)
    assert outcome() == before
    run = retry()
    assert dry["audit"] == run["audit"]
    assert {k: v for k, v in dry.items() if k != "elapsed_seconds"} == {
        k: v for k, v in run.items() if k != "elapsed_seconds"
    }
    assert run["processed"] == sum(of_tries(run).values()) - run["processed"]


def test_the_size_of_chunks_does_not_change_the_outcome(settings: Any) -> None:
    a_mixed_world()
    start = transaction.savepoint()
    retry()
    impact()
    usual = outcome()
    transaction.savepoint_rollback(start)
    settings.CHUNK_SIZE = 1
    retry()
    impact()
    assert outcome() == usual
    assert complaints() == {}


def test_a_second_run_changes_nothing() -> None:
    a_mixed_world()
    retry()
    impact()
    before = outcome()
    for tally in (retry(), impact()):
        left = {name for name in changes(tally) if not name.startswith(("gaps.", "skipped", "elapsed", "processed"))}
        assert left == set()
    assert outcome() == before


def test_a_roll_back_takes_recoveries_back_and_the_next_run_finds_them_again() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    match()
    retry()
    a_driver(JUAN, phone=PHONE)
    refresh()
    retry()
    assert tries_of(lead)[0] == "matched"
    roll_back(JobType.GAP_RECOVERY)
    assert link_of(lead) is None
    assert tries_of(lead) == ("pending", 2, "rolled_back")
    assert not RecoveredLead.objects.exists()
    assert list(RecoveryEvent.objects.order_by("id").values_list("event", flat=True)) == ["recovered", "undone"]
    assert complaints() == {}
    assert retry()["matched"] == 1
    assert tries_of(lead) == ("matched", 3, None)
    assert complaints() == {}


def test_a_roll_back_of_the_impact_job_puts_the_origin_back() -> None:
    lead = a_linked_lead()
    match()
    Origin.objects.update(origin_tag="migration", origin_source_id="12")
    impact()
    roll_back(JobType.RECOVERY_IMPACT)
    assert origin_of(lead).origin_tag == "migration"
    assert not RecoveredLead.objects.exists()


def test_rolling_back_the_matching_run_opens_the_try_again() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    match()
    retry()
    a_driver(JUAN, phone=PHONE)
    match()
    retry()
    assert tries_of(lead) == ("matched", 1, None)
    roll_back(JobType.IDENTITY_RUN)
    assert link_of(lead) is None
    assert tries_of(lead) == ("pending", 1, "rolled_back")


def test_the_database_refuses_a_matched_try_without_its_link() -> None:
    lead = a_linked_lead()
    match()
    person = link_of(lead).person_id
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        MatchingJob.objects.create(source_id="nobody", status="matched", matched_person_id=person)
        cursor.execute("set constraints all immediate")
    MatchingJob.objects.create(source_id=lead.source_pk, status="matched", matched_person_id=person)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        Link.objects.filter(pk=link_of(lead).pk).delete()
        cursor.execute("set constraints all immediate")


@pytest.mark.parametrize("table", ["identity_matching_attempts", "cabinet_lead_recovery_events"])
@pytest.mark.parametrize("verb", ["update ops.{} set id = id", "delete from ops.{}"])
def test_history_is_append_only(table: str, verb: str) -> None:
    with pytest.raises(Exception, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(verb.format(table))


def test_the_person_of_a_try_empties_itself_with_the_person() -> None:
    person = Person.objects.create(confidence_level="HIGH")
    MatchingJob.objects.create(source_id="gone", status="pending", matched_person_id=person.pk)
    with connection.cursor() as cursor:
        cursor.execute("delete from canon.identity_registry where person_key = %s", [person.pk])
    assert MatchingJob.objects.get().matched_person_id is None


def test_the_log_counts_leads_and_batches(settings: Any) -> None:
    settings.CHUNK_SIZE = 1000
    a_linked_lead()
    a_lead(ROSA)
    refresh()
    retry()
    log = Run.objects.filter(job_type=JobType.GAP_RECOVERY).latest("pk").log
    assert log[0] == "Encontrados 2 leads unresolved para procesar (batch_size=1000)"
    assert log[1] == "Procesando batch 1/1 (2 leads)"
    assert log[2] == "Batch 1 completado: matched=1, failed=0, pending=1, skipped=0"
    assert log[3].startswith("Job completado en ")
    assert log[3].endswith("processed=2, matched=1, failed=0, pending=1, skipped=0")


def test_figures_of_the_day_are_stored_once_and_add_up() -> None:
    a_mixed_world()
    retry()
    impact()
    day = GapDay.objects.get()
    assert day.snapshot_date == TODAY
    assert (day.total_leads, day.unresolved, day.no_identity, day.no_origin) == (10, 2, 1, 1)
    assert day.top_fail_reason in ("NO_CANDIDATES", "manual_origin_conflict", "MISSING_KEYS")


def test_a_vanished_driver_row_is_no_reason_to_fail() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    a_driver(JUAN, phone=PHONE)
    refresh()
    Driver.objects.all().delete()
    refresh()
    assert of_tries(retry())["pending"] == 1
    assert link_of(lead) is None
