""" "Never this one" and "set aside for good" are facts: every job respects them, for ever, and they can be taken back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from ct4site import jobs
from ct4site.models import AuditEntry, JobType, ReviewCase, Run
from ct4site.review.kinds import Unacceptable
from ct4site.rollback import start_roll_back
from identity import linking
from identity.models import CabinetLead, Driver, Link, Person, Refusal, ScoutingRegistration
from tests import factories
from tests.factories import JUAN, PEDRO, ROSA, Record
from tests.identity.test_linking import NEW, by_hand, driver_link, keys, person_of, sound, taken_back

pytestmark = pytest.mark.django_db


def refuse(record: Record, **what: Any) -> Run:
    return by_hand(linking.refuse, **keys(record), **what)


def every_job(**parameters: Any) -> None:
    """Everything that links, as often as needed, and as thoroughly."""
    factories.match(full=True)
    factories.retry_leads()
    factories.run_job(JobType.LINKS_BACKFILL)
    factories.fix_orphans(**parameters)


def test_who_is_left_may_be_the_one() -> None:
    phone, (juan, rosa) = factories.a_family_phone(JUAN, ROSA)
    lead = factories.a_lead(None, phone=phone)
    factories.match()
    assert factories.answer(lead) == "MULTIPLE_CANDIDATES"
    refuse(lead, driver_id=rosa)
    factories.match()  # not --full: a refusal itself says that the record is to be tried again
    assert factories.answer(lead)[0] == juan and sound()


def test_nobody_left_is_nobody() -> None:
    own = factories.a_recruited_driver(PEDRO)
    lead = factories.a_lead("SOMEBODY ELSE ENTIRELY", phone=ScoutingRegistration.objects.get().driver_phone)
    factories.match()
    assert factories.answer(lead) == "KEY_MATCH_NAME_CONTRADICTS"
    refuse(lead, driver_id=own.driver_id)
    factories.match()
    assert factories.answer(lead) == "NO_CANDIDATES"
    unmatched = factories.unmatched_of(lead)
    assert unmatched is not None and unmatched.candidates_preview is None


def by_phone() -> tuple[str, Record]:
    driver = factories.a_driver(JUAN, phone="987651234")
    return driver, factories.a_lead(JUAN, phone="987651234")


def by_licence() -> tuple[str, Record]:
    driver = factories.a_driver(JUAN, licence="Q47110815")
    return driver, factories.a_registration(JUAN, licence="Q47110815")


def by_name_and_plate() -> tuple[str, Record]:
    return tuple(factories.a_lead_known_by_its_car(JUAN))  # type: ignore[return-value]


def by_driver() -> tuple[str, Record]:
    return tuple(factories.a_migrated_driver(JUAN))  # type: ignore[return-value]


STORIES = [by_phone, by_licence, by_name_and_plate, by_driver]


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.slow
def test_no_job_ever_links_a_refused_driver(story: Callable[[], tuple[str, Record]]) -> None:
    driver, record = story()
    refuse(record, driver_id=driver)
    every_job()
    after = factories.state_hash()
    for _turn in range(9 if story is by_phone else 2):
        every_job()
    assert factories.state_hash() == after
    assert not Link.objects.filter(source_table="drivers", source_pk=driver, person_id=person_of(record)).exists()
    assert sound()


@pytest.mark.parametrize("story", [by_phone, by_licence, by_name_and_plate])
@pytest.mark.slow
def test_no_job_ever_links_a_refused_person(story: Callable[[], tuple[str, Record]]) -> None:
    driver, record = story()
    other = factories.a_migration(driver)
    factories.match(source=["migrations"])
    refuse(record, person_key=person_of(other))
    every_job()
    after = factories.state_hash()
    for _turn in range(3):
        every_job()
    assert factories.state_hash() == after
    assert person_of(record) != person_of(other) and sound()


def test_a_refusal_holds_for_the_same_record_sent_again_with_better_evidence() -> None:
    driver, record = by_phone()
    refuse(record, driver_id=driver)
    row = CabinetLead.objects.get(external_id=record.source_pk)
    plate = Driver.objects.get(driver_id=driver).car_number
    row.delete()
    CabinetLead.objects.create(
        external_id=record.source_pk, lead_created_at=factories.LEAD_DATE, first_name=JUAN, park_phone="987651234",
        asset_plate_number=plate,
    )  # fmt: skip
    every_job()
    assert person_of(record) is None and sound()


def test_a_refused_driver_does_not_come_in_by_another_account_of_the_person() -> None:
    one = factories.a_driver(JUAN, phone="987651234", licence="Q47110815")
    other = factories.a_driver(JUAN, phone="987650000", licence="Q47110815")
    first = factories.a_migration(one), factories.a_migration(other)
    factories.match()
    assert person_of(first[0]) == person_of(first[1])
    lead = factories.a_lead(JUAN, phone="987650000")
    refuse(lead, driver_id=one)
    factories.match()
    assert person_of(lead) is None and sound()


def test_a_driver_found_later_does_not_become_the_person_of_a_record_that_refuses_him() -> None:
    lead = factories.a_lead(JUAN, phone="987651234")
    by_hand(linking.link_record, **keys(lead), person_key=NEW, is_new_person=True)
    assert Person.objects.get(pk=NEW).primary_phone == "987651234"
    driver = factories.a_driver(JUAN, phone="987651234", licence="Q47110815")
    refuse(lead, driver_id=driver)
    other = factories.a_registration(JUAN, licence="Q47110815")
    factories.match()
    assert person_of(other) is not None and person_of(other) != NEW and sound()


def test_two_accounts_of_one_new_person_are_both_refused_with_one() -> None:
    one = factories.a_driver(JUAN, phone="987651234", licence="Q47110815")
    factories.a_driver(JUAN, phone="987650000", licence="Q47110815")
    lead = factories.a_lead(JUAN, phone="987650000")
    factories.a_registration(JUAN, phone="987651234")
    refuse(lead, driver_id=one)
    every_job()
    assert person_of(lead) != driver_link(one).person_id and sound()  # type: ignore[union-attr]


@pytest.mark.slow
def test_the_backfill_of_scouting_links_neither_joins_nor_founds_a_refused_person() -> None:
    lead = factories.a_registration(JUAN, phone="987651234")
    by_hand(linking.link_record, **keys(lead), person_key=NEW, is_new_person=True)
    second = factories.a_registration(JUAN, phone="987651234")
    refuse(second, person_key=NEW)
    for _turn in range(3):
        factories.match(full=True)
        factories.run_job(JobType.LINKS_BACKFILL)
    assert factories.answer(second) == "KEY_MATCH_NAME_CONTRADICTS" and sound()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)  # so many jobs in one transaction hold too many locks
def test_a_refused_record_is_no_evidence_for_an_orphan() -> None:
    driver = factories.a_driver(JUAN, phone="987651234", park=None)
    orphan = factories.an_orphan(JUAN, driver_id=driver, phone="987651234")
    record = factories.a_registration(JUAN, phone="987651234")
    factories.refresh()
    refuse(record, driver_id=orphan.driver_id)
    for _turn in range(10):
        factories.fix_orphans(reprocess_quarantined=_turn > 0)
    assert factories.outcomes(orphan.driver_id) == {record.source_pk: "refused"}
    assert person_of(record) is None and sound()


def test_a_link_does_not_come_back_to_whom_was_refused_since() -> None:
    driver, record = by_phone()
    factories.match()
    run = Run.objects.filter(job_type=JobType.IDENTITY_RUN).latest("pk")
    back = jobs.execute(start_roll_back(run_id=run.pk, actor="tests").pk)
    refuse(record, driver_id=driver)
    again = jobs.execute(start_roll_back(run_id=back.pk, actor="tests").pk)
    assert again.status == "COMPLETED"
    person = Link.objects.filter(source_table="drivers", source_pk=driver).values_list("person_id", flat=True).first()
    assert person_of(record) is None or person_of(record) != person
    assert sound()


def test_what_is_linked_is_moved_not_refused() -> None:
    driver, record = by_phone()
    factories.match()
    for what in ({"driver_id": driver}, {"person_key": person_of(record)}):
        with pytest.raises(Unacceptable, match="persona"):
            refuse(record, **what)


def test_a_person_cannot_link_what_was_refused_without_taking_that_back() -> None:
    driver, record = by_phone()
    own = factories.a_migration(driver)
    factories.match(source=["migrations"])
    run = refuse(record, driver_id=driver)
    with pytest.raises(Unacceptable, match="decidió"):
        by_hand(linking.link_record, **keys(record), person_key=person_of(own))
    with pytest.raises(Unacceptable, match="ya"):
        refuse(record, driver_id=driver)
    assert taken_back(run) == {} and not Refusal.objects.exists()
    by_hand(linking.link_record, **keys(record), person_key=person_of(own))
    assert sound()


def test_a_driver_does_not_move_to_a_person_whose_record_refuses_him() -> None:
    _driver, record = by_phone()
    factories.match()
    other = factories.a_migrated_driver(ROSA)
    factories.match()
    refuse(record, driver_id=other.driver_id)
    with pytest.raises(Unacceptable, match="decidió"):
        by_hand(linking.move_driver, driver_id=other.driver_id, person_key=person_of(record))
    with pytest.raises(Unacceptable, match="decidió"):
        by_hand(linking.move_record, **keys(other.lead), person_key=person_of(record), with_drivers=True)
    with pytest.raises(Unacceptable, match="decidió"):
        by_hand(linking.move_record, **keys(record), person_key=person_of(other.lead), with_drivers=True)


def test_a_refusal_taken_back_lets_the_rules_link_again() -> None:
    driver, record = by_phone()
    run = refuse(record, driver_id=driver)
    factories.match()
    assert factories.answer(record) == "NO_CANDIDATES"
    assert taken_back(run) == {}
    factories.match()
    assert factories.answer(record)[0] == driver and sound()


def test_later_work_on_the_refused_person_does_not_hold_a_refusal() -> None:
    driver, record = by_phone()
    factories.a_migration(driver)
    run = refuse(record, driver_id=driver)
    factories.match()
    factories.a_migration(driver)
    factories.match()
    assert taken_back(run) == {}


# --- set aside --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_set_aside_stays_aside_until_that_is_taken_back() -> None:
    record = factories.a_lead(JUAN, phone="987651234")
    factories.match()
    run = by_hand(linking.set_aside, **keys(record))
    assert AuditEntry.objects.filter(run=run).values_list("action", flat=True).get() == "set_aside"
    driver = factories.a_driver(JUAN, phone="987651234")
    for _turn in range(2):
        every_job()
    assert person_of(record) is None and factories.unmatched_of(record).status == "IGNORED"  # type: ignore[union-attr]
    assert sound()
    with pytest.raises(Unacceptable, match="abiertos"):
        by_hand(linking.set_aside, **keys(record))
    assert taken_back(run) == {}
    factories.match()
    assert factories.answer(record)[0] == driver and sound()


# --- held cases -------------------------------------------------------------------------------------


def a_case(subject: str, **columns: Any) -> ReviewCase:
    values = {"kind": "unmatched", "subject_key": subject, "due_on": dt.date(2026, 1, 12), "is_frozen": True}
    return ReviewCase.objects.create(**values | columns)


@pytest.mark.parametrize("held", ["record", "person", "driver", "lease"])
def test_what_somebody_is_deciding_waits_for_the_next_run(held: str) -> None:
    driver, record = by_phone()
    other = factories.a_migration(driver)
    factories.match(source=["migrations"])
    subject = f"{record.source_table}:{record.source_pk}"
    leased = {
        "is_frozen": False, "leased_to": User.objects.create_user("ana"), "leased_since": timezone.now(),
        "leased_until": timezone.now() + dt.timedelta(minutes=5),
    }  # fmt: skip
    case = {
        "record": lambda: a_case(subject),
        "person": lambda: a_case("x", kind="conflict", person_key=person_of(other)),
        "driver": lambda: a_case("x", kind="orphan", driver_id=driver),
        "lease": lambda: a_case(subject, **leased),
    }[held]()
    tally = factories.match()
    assert tally["cabinet_leads"]["skipped"] == tally["skipped_changed_since_plan"] == 1
    assert person_of(record) is None and sound()

    ReviewCase.objects.filter(pk=case.pk).update(
        is_frozen=False, leased_to=None, leased_since=None, leased_until=None
    )  # fmt: skip
    factories.match()
    assert person_of(record) == person_of(other) and sound()


def test_a_lease_that_ran_out_holds_nothing() -> None:
    _driver, record = by_phone()
    past = timezone.now() - dt.timedelta(minutes=5)
    a_case(
        f"{record.source_table}:{record.source_pk}", is_frozen=False, leased_to=User.objects.create_user("ana"),
        leased_since=past, leased_until=past,
    )  # fmt: skip
    factories.match()
    assert person_of(record) is not None


def test_who_decides_is_not_held_by_his_own_case() -> None:
    record = factories.a_lead(JUAN)
    factories.match()
    a_case(f"{record.source_table}:{record.source_pk}")
    by_hand(linking.link_record, **keys(record), person_key=NEW, is_new_person=True)
    assert person_of(record) == NEW
