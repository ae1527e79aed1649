"""What a person links, moves and takes away is whole, breaks no invariant, and can be taken back."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from ct4site import audit, invariants
from ct4site.models import JobType, Run, RunStatus
from ct4site.review.kinds import Unacceptable
from identity import linking
from identity.models import CabinetLead, Driver, LeadEvent, Link, Origin, Person, ScoutingRegistration
from tests import factories
from tests.factories import JUAN, PEDRO, ROSA, Record

pytestmark = pytest.mark.django_db

NEW = uuid.UUID("00000000-0000-4000-8000-000000000001")


def by_hand(verb: Callable[..., Any], **given: Any) -> Run:
    """Do one thing as a run of its own, as the review does, and close the run."""
    run = Run.objects.create(
        job_type=JobType.REVIEW_DECISION,
        actor="ana",
        status=RunStatus.COMPLETED,
        completed_at=Now(),
        stats={"audit": 0},
    )
    with transaction.atomic():
        verb(run_id=run.pk, actor="ana", reason="called: it is him", **given)
    told(run)
    return run


def told(run: Run) -> None:
    """Let a run say how many audit entries it wrote."""
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from ops.audit_log where run_id = %s", [run.pk])
        Run.objects.filter(pk=run.pk).update(stats={"audit": cursor.fetchone()[0]})
        cursor.execute("set constraints all immediate; set constraints all deferred")


def taken_back(run: Run) -> dict[str, Any]:
    """Take a run back; return what stayed as it is, with why."""
    reversal = Run.objects.create(
        job_type=JobType.ROLL_BACK,
        actor="ana",
        status=RunStatus.COMPLETED,
        completed_at=Now(),
        reverses=run,
        stats={"audit": 0},
    )
    with transaction.atomic():
        tally = audit.restore_run(run_id=run.pk, reversal_id=reversal.pk, actor="ana", reason="a mistake")
        kept = audit.kept_rows(5)
    told(reversal)
    return {table: why for table, why, *_rest in kept} | ({} if tally["audit"] else {"nothing": "written"})


def sound() -> bool:
    broken = {finding.name: finding.samples for finding in invariants.check() if finding.count}
    assert broken == {}
    return True


def person_of(record: Record) -> Any:
    link = factories.link_of(record)
    return link.person_id if link else None


def driver_link(driver_id: str) -> Link | None:
    return factories.link_of(Record("drivers", driver_id))


def keys(record: Record) -> dict[str, str]:
    return {"source_table": record.source_table, "source_pk": record.source_pk}


@pytest.fixture
def family() -> tuple[Record, list[str]]:
    """A lead whose phone two drivers share: no rule can tell whose it is."""
    phone, drivers = factories.a_family_phone(JUAN, ROSA)
    lead = factories.a_lead(None, phone=phone)
    factories.match()
    assert factories.answer(lead) == "MULTIPLE_CANDIDATES"
    return lead, drivers


def test_a_record_a_driver_and_a_new_person_are_linked_at_once(family: tuple[Record, list[str]]) -> None:
    lead, (juan, _rosa) = family
    before = factories.state_hash()
    run = by_hand(linking.link_record, **keys(lead), person_key=NEW, driver_id=juan, is_new_person=True)

    assert factories.answer(lead) == (juan, "MANUAL", 100, "HIGH")
    link = factories.link_of(lead)
    assert link is not None and link.person_id == NEW and link.evidence["decided_by_run"] == run.pk
    assert driver_link(juan).person_id == NEW  # type: ignore[union-attr]
    person = Person.objects.get(pk=NEW)
    assert (person.primary_full_name, person.flags) == (JUAN, {"created_by_hand": True})
    assert Origin.objects.get(pk=NEW).origin_source_id == lead.source_pk
    assert factories.unmatched_of(lead).status == "RESOLVED"  # type: ignore[union-attr]
    event = LeadEvent.objects.get(**keys(lead))
    assert (event.person_id, event.payload_json["match_rule"]) == (NEW, "MANUAL")
    assert sound()
    assert taken_back(run) == {}
    assert factories.state_hash() == before and sound()


def test_why_a_person_linked_is_in_the_audit(family: tuple[Record, list[str]]) -> None:
    lead, (juan, _rosa) = family
    run = by_hand(linking.link_record, **keys(lead), person_key=NEW, driver_id=juan, is_new_person=True)
    with connection.cursor() as cursor:
        cursor.execute("select distinct actor, reason from ops.audit_log where run_id = %s", [run.pk])
        assert cursor.fetchall() == [("ana", "called: it is him")]


@pytest.mark.slow
def test_a_linked_record_makes_no_job_change_anything(family: tuple[Record, list[str]]) -> None:
    lead, (juan, _rosa) = family
    by_hand(linking.link_record, **keys(lead), person_key=NEW, driver_id=juan, is_new_person=True)
    factories.match(full=True)
    after = factories.state_hash()
    for _turn in range(10):
        factories.match(full=True)
        factories.fix_orphans()
    assert factories.state_hash() == after
    assert person_of(lead) == NEW


def test_a_record_joins_a_person_and_its_driver(family: tuple[Record, list[str]]) -> None:
    _lead, (juan, _rosa) = family
    own = factories.a_registration(JUAN, licence=Driver.objects.get(driver_id=juan).license_number)
    stray = factories.a_registration("SOMEBODY ELSE")
    factories.match()
    person = person_of(own)
    before = factories.state_hash()
    run = by_hand(linking.link_record, **keys(stray), person_key=person, driver_id=juan)
    assert person_of(stray) == person and sound()
    assert taken_back(run) == {} and factories.state_hash() == before and sound()


def test_a_better_record_becomes_the_origin(family: tuple[Record, list[str]]) -> None:
    lead, _drivers = family
    own = factories.a_recruited_driver(PEDRO)
    factories.match()
    person = person_of(own.lead)
    assert Origin.objects.get(pk=person).origin_tag == "scout_registration"
    before = factories.state_hash()
    run = by_hand(linking.link_record, **keys(lead), person_key=person)
    assert Origin.objects.get(pk=person).origin_tag == "cabinet_lead" and sound()
    assert taken_back(run) == {} and factories.state_hash() == before and sound()


def test_what_a_person_decided_about_an_origin_stays(family: tuple[Record, list[str]]) -> None:
    lead, _drivers = family
    own = factories.a_recruited_driver(PEDRO)
    factories.match()
    person = person_of(own.lead)
    Origin.objects.filter(pk=person).update(decided_by="manual")
    by_hand(linking.link_record, **keys(lead), person_key=person)
    assert Origin.objects.get(pk=person).origin_tag == "scout_registration"


def test_a_record_without_a_date_is_linked_and_has_no_event() -> None:
    lead = factories.a_registration(JUAN, on=None)
    factories.match()
    by_hand(linking.link_record, **keys(lead), person_key=NEW, is_new_person=True)
    assert person_of(lead) == NEW and not LeadEvent.objects.filter(**keys(lead)).exists()
    assert sound()


def test_a_record_that_no_run_has_read_yet_can_be_linked() -> None:
    own = factories.a_recruited_driver(PEDRO)
    factories.match()
    late = factories.a_lead(PEDRO)
    by_hand(linking.link_record, **keys(late), person_key=person_of(own.lead))
    assert person_of(late) == person_of(own.lead) and sound()


def test_what_cannot_be_linked_is_said(family: tuple[Record, list[str]], settings: Any) -> None:
    lead, _drivers = family
    own = factories.a_recruited_driver(PEDRO)
    factories.match()
    person = person_of(own.lead)
    link = linking.link_record

    def says(words: str, **given: Any) -> None:
        with pytest.raises(Unacceptable, match=words):
            by_hand(link, **{**keys(lead), "person_key": person, **given})

    says("ya está vinculado", **keys(own.lead))
    says("no existe", person_key=NEW)
    says("ya existe", is_new_person=True)
    says("otra persona", person_key=NEW, is_new_person=True, driver_id=own.driver_id)
    says("no tiene al conductor", driver_id="nobody")
    says("leads", source_table="drivers")
    says("ya no tiene", source_pk="gone")
    settings.PERSON_SOURCE_LIMIT = 2
    says("2 registros")


def test_a_record_set_aside_is_not_linked(family: tuple[Record, list[str]]) -> None:
    lead, _drivers = family
    factories.unmatched_of(lead).__class__.objects.update(status="IGNORED")
    with pytest.raises(Unacceptable, match="Anule"):
        by_hand(linking.link_record, **keys(lead), person_key=NEW, is_new_person=True)


# --- moving -----------------------------------------------------------------------------------------


@pytest.fixture
def two() -> tuple[factories.Recruited, Record, factories.Recruited]:
    """A person with a driver and two leads, and another person with a driver and one."""
    one = factories.a_recruited_driver(JUAN)
    phone = ScoutingRegistration.objects.get(pk=one.lead.source_pk).driver_phone
    second = factories.a_lead(JUAN, phone=phone)
    other = factories.a_recruited_driver(PEDRO)
    factories.match()
    assert person_of(second) == person_of(one.lead) != person_of(other.lead)
    return one, second, other


def test_a_moved_record_takes_its_event_along_and_origins_follow(
    two: tuple[factories.Recruited, Record, factories.Recruited],
) -> None:
    one, second, other = two
    old, new = person_of(one.lead), person_of(other.lead)
    before = factories.state_hash()
    assert Origin.objects.get(pk=old).origin_tag == "cabinet_lead"
    run = by_hand(linking.move_record, **keys(second), person_key=new)

    link = factories.link_of(second)
    assert link is not None and (link.person_id, link.match_rule) == (new, "MANUAL")
    assert link.evidence["former_rule"] == "R1_PHONE_EXACT" and "driver_id" not in link.evidence
    assert LeadEvent.objects.get(**keys(second)).person_id == new
    assert person_of(one.lead) == old == driver_link(one.driver_id).person_id  # type: ignore[union-attr]
    assert Origin.objects.get(pk=old).origin_source_id == one.lead.source_pk
    assert sound()
    assert taken_back(run) == {} and factories.state_hash() == before and sound()


def test_the_last_lead_of_a_driver_moves_only_with_the_driver(
    two: tuple[factories.Recruited, Record, factories.Recruited],
) -> None:
    one, _second, other = two
    old, new = person_of(other.lead), person_of(one.lead)
    before = factories.state_hash()
    with pytest.raises(Unacceptable, match="conductores"):
        by_hand(linking.move_record, **keys(other.lead), person_key=new)
    run = by_hand(linking.move_record, **keys(other.lead), person_key=new, with_drivers=True)
    assert person_of(other.lead) == new == driver_link(other.driver_id).person_id  # type: ignore[union-attr]
    assert factories.link_of(other.lead).evidence["driver_id"] == other.driver_id  # type: ignore[union-attr]
    assert not Origin.objects.filter(pk=old).exists() and Person.objects.filter(pk=old).exists()
    assert sound()
    assert taken_back(run) == {} and factories.state_hash() == before and sound()


@pytest.mark.slow
def test_a_moved_record_stays_where_a_person_put_it(
    two: tuple[factories.Recruited, Record, factories.Recruited],
) -> None:
    _one, second, other = two
    by_hand(linking.move_record, **keys(second), person_key=person_of(other.lead))
    after = factories.state_hash()
    for _turn in range(10):
        factories.match(full=True)
        factories.fix_orphans()
    assert factories.state_hash() == after


def test_later_work_on_the_person_a_record_left_keeps_the_move(
    two: tuple[factories.Recruited, Record, factories.Recruited],
) -> None:
    one, second, other = two
    first = by_hand(linking.move_record, **keys(second), person_key=person_of(other.lead))
    third = factories.a_migrated_driver(ROSA)
    factories.match()
    by_hand(linking.move_record, **keys(one.lead), person_key=person_of(third.lead), with_drivers=True)
    assert "identity_registry" in taken_back(first)


def test_the_try_of_a_matched_lead_follows_it_there_and_back() -> None:
    lead = factories.a_lead(JUAN, phone="987651234")
    factories.match()
    factories.a_driver(JUAN, phone="987651234")
    factories.retry_leads()
    other = factories.a_recruited_driver(PEDRO)
    factories.match()
    old, new = person_of(lead), person_of(other.lead)

    def matched_to() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("select status, matched_person_key from ops.identity_matching_jobs")
            return cursor.fetchone()

    assert matched_to() == ("matched", old)
    run = by_hand(linking.move_record, **keys(lead), person_key=new, with_drivers=True)
    assert matched_to() == ("matched", new) and sound()
    assert taken_back(run) == {} and matched_to() == ("matched", old) and sound()


def test_what_cannot_move_is_said(two: tuple[factories.Recruited, Record, factories.Recruited], settings: Any) -> None:
    one, second, other = two
    move = linking.move_record
    stray = factories.a_lead(ROSA)
    new = person_of(other.lead)
    for words, given in (
        ("a nadie", keys(stray) | {"person_key": new}),
        ("ya pertenece", keys(second) | {"person_key": person_of(one.lead)}),
        ("no existe", keys(second) | {"person_key": NEW}),
    ):
        with pytest.raises(Unacceptable, match=f"(?i){words}"):
            by_hand(move, **given)
    settings.PERSON_SOURCE_LIMIT = 2
    with pytest.raises(Unacceptable, match="2 registros"):
        by_hand(move, **keys(second), person_key=new)


# --- drivers ----------------------------------------------------------------------------------------


def test_a_moved_driver_belongs_to_the_other_person(
    two: tuple[factories.Recruited, Record, factories.Recruited],
) -> None:
    one, _second, other = two
    before = factories.state_hash()
    run = by_hand(linking.move_driver, driver_id=other.driver_id, person_key=person_of(one.lead))
    assert driver_link(other.driver_id).person_id == person_of(one.lead)  # type: ignore[union-attr]
    assert sound()
    assert taken_back(run) == {} and factories.state_hash() == before and sound()


def test_an_orphan_that_moves_to_a_person_with_a_lead_is_released() -> None:
    orphan = factories.an_orphan(ROSA)
    own = factories.a_recruited_driver(JUAN)
    factories.match()
    factories.fix_orphans()
    before = factories.state_hash()
    run = by_hand(linking.move_driver, driver_id=orphan.driver_id, person_key=person_of(own.lead))
    assert factories.case_of(orphan.driver_id).status == "resolved_relinked"  # type: ignore[union-attr]
    assert sound()
    assert taken_back(run) == {} and sound()
    assert factories.case_of(orphan.driver_id).status == "quarantined"  # type: ignore[union-attr]
    del before


def test_a_driver_does_not_move_to_a_person_without_a_lead() -> None:
    orphan = factories.an_orphan(ROSA)
    own = factories.a_recruited_driver(JUAN)
    factories.match()
    with pytest.raises(Unacceptable, match="lead"):
        by_hand(linking.move_driver, driver_id=own.driver_id, person_key=orphan.person)


def test_a_detached_driver_belongs_to_nobody(two: tuple[factories.Recruited, Record, factories.Recruited]) -> None:
    _one, _second, other = two
    before = factories.state_hash()
    run = by_hand(linking.detach_driver, driver_id=other.driver_id)
    assert driver_link(other.driver_id) is None and sound()
    with pytest.raises(Unacceptable, match="nadie"):
        by_hand(linking.detach_driver, driver_id=other.driver_id)
    assert taken_back(run) == {} and factories.state_hash() == before and sound()


def test_the_staging_view_is_asked_for_one_record_by_its_blank_or_row_name() -> None:
    CabinetLead.objects.create(pk=77, external_id=None, lead_created_at=factories.LEAD_DATE, first_name=JUAN)
    by_hand(
        linking.link_record, source_table="module_ct_cabinet_leads", source_pk="77", person_key=NEW, is_new_person=True
    )
    assert Link.objects.get(source_pk="77").person_id == NEW
