"""Persons who are probably one human under two scouts are raised for people to decide (Q79)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from attribution.models import PossibleSamePerson
from ct4site.models import AuditEntry, JobType
from identity.models import LeadEvent, Person
from tests.factories import JUAN, ROSA, Record, a_driver, an_event, an_orphan, changes, refresh, run_job

pytestmark = pytest.mark.django_db

DAY = dt.date(2026, 1, 10)
PHONE = "971000001"


def a_claim(
    scout: int, *, name: str = JUAN, phone: str | None = None, licence: str | None = None, after: int = 0
) -> Any:
    """Make a person whom a scout registered; return its key."""
    person = Person.objects.create(confidence_level="LOW").pk
    record = Record("module_ct_scouting_daily", str(LeadEvent.objects.count() + 1))
    an_event(
        record, person=person, on=DAY + dt.timedelta(days=after), scout_id=scout, name_norm=name, phone_norm=phone,
        license_norm=licence,
    )  # fmt: skip
    return person


def suspicions() -> dict[frozenset[Any], str]:
    return {frozenset((row.person_a_id, row.person_b_id)): row.status for row in PossibleSamePerson.objects.all()}


def refreshed() -> dict[str, Any]:
    return run_job(JobType.SCOUT_REFRESH, full=True)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"phone": "971000001"}, {"phone": "971000009"}),
        ({"phone": "971000001"}, {"phone": "971000001"}),
        ({"phone": "971000001"}, {"phone": "97100001"}),
        ({"licence": "Q20000001"}, {"licence": "Q20000007"}),
        ({"licence": "Q20000001"}, {"licence": "Q2000001"}),
    ],
    ids=["phone-digit", "phone-equal", "phone-dropped", "licence-character", "licence-dropped"],
)
def test_similar_names_with_nearly_equal_keys_are_suspected(first, second):
    pair = frozenset((a_claim(7, **first), a_claim(9, after=5, **second)))
    tally = refreshed()
    assert suspicions() == {pair: "open"}
    assert tally["same_persons_raised"] == 1


@pytest.mark.parametrize(
    "other",
    [
        {"phone": "971000099"},
        {"phone": "971000009", "name": ROSA},
        {"phone": "971000009", "after": 8},
        {"name": "PEREZ ROJAS", "phone": None},
        {"name": ROSA, "phone": None},
    ],
    ids=["two digits", "another name", "too late", "no key and a name of two words", "no key and another name"],
)
def test_anything_less_is_no_suspicion(other):
    a_claim(7, phone=PHONE)
    a_claim(9, **other)
    refreshed()
    assert suspicions() == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"name": "SALAZAR KCOMT DAVID"}, {"name": "DAVID CHRISTIAN SAALZAR KCOMT", "phone": "971000009"}),
        ({"phone": "983839046"}, {"phone": "983893046"}),
    ],
    ids=["letters", "digits"],
)
def test_swapped_neighbours_are_one_slip(first, second):
    pair = frozenset((a_claim(7, **({"phone": PHONE} | first)), a_claim(9, after=5, **second)))
    refreshed()
    assert suspicions() == {pair: "open"}


def test_one_full_name_is_enough_where_no_key_could_tell_two_persons_apart():
    keyless = a_claim(7, name="KATHERINE PERALTA MEJIA")
    pair = frozenset((keyless, a_claim(9, name="KATHERINE NORMA PERALTA MEJIA", phone=PHONE, after=3)))
    a_claim(11, name="MEJIA PERALTA KATHERINE", phone="955000001", after=30)
    refreshed()
    assert suspicions() == {pair: "open"}


def test_a_migration_is_a_claim_like_a_registration_and_has_the_keys_of_its_account():
    driver = a_driver(JUAN, phone="971000009")
    refresh()
    person = Person.objects.create(confidence_level="LOW").pk
    an_event(Record("module_ct_migrations", "77"), person=person, on=DAY, scout_id=9, name_norm=JUAN)
    an_orphan(JUAN, driver_id=driver, person=person)
    pair = frozenset((person, a_claim(7, phone=PHONE)))
    refreshed()
    assert suspicions() == {pair: "open"}


def test_two_registrations_of_one_scout_are_no_dispute():
    a_claim(7, phone=PHONE)
    a_claim(7, phone="971000009")
    refreshed()
    assert suspicions() == {}


def test_the_plate_of_their_cars_counts_as_a_key():
    people = [a_claim(7), a_claim(9)]
    for person in people:
        driver = a_driver(JUAN, plate="ABC123")
        LeadEvent.objects.filter(person_id=person).update(driver_id=driver)
        an_orphan(JUAN, driver_id=driver, person=person)
    refresh()
    refreshed()
    assert suspicions() == {frozenset(people): "open"}


def test_a_key_that_many_share_compares_nobody():
    for scout in range(1, 41):
        a_claim(scout, phone=PHONE)
    refreshed()
    assert suspicions() == {}


def test_a_suspicion_that_no_longer_holds_is_closed_and_may_come_back():
    first, second = a_claim(7, phone=PHONE), a_claim(9, phone="971000009")
    pair = frozenset((first, second))
    refreshed()
    LeadEvent.objects.filter(person_id=second).update(phone_norm="955555555")
    assert refreshed()["same_persons_closed"] == 1
    assert suspicions() == {pair: "closed"}
    LeadEvent.objects.filter(person_id=second).update(phone_norm="971000009")
    refreshed()
    assert suspicions() == {pair: "open"}
    assert [entry.action for entry in AuditEntry.objects.filter(subject_table="possible_same_persons").order_by("id")] == [
        "raise_same_person", "close_same_person", "raise_same_person",
    ]  # fmt: skip


@pytest.mark.parametrize("decision", ["confirmed", "dismissed"])
def test_what_a_person_decided_about_two_persons_stays(decision):
    a_claim(7, phone=PHONE)
    second = a_claim(9, phone="971000009")
    refreshed()
    PossibleSamePerson.objects.update(status=decision)
    LeadEvent.objects.filter(person_id=second).update(phone_norm="955555555")
    refreshed()
    assert list(suspicions().values()) == [decision]


def test_a_second_refresh_raises_nothing():
    a_claim(7, phone=PHONE)
    a_claim(9, phone="971000009")
    refreshed()
    again = changes({name: count for name, count in refreshed().items() if name != "metrics"})
    assert again == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PEREZ JUAN", "JUAN CARLOS PEREZ QUISPE"),
        ("ZPATA MARCO", "MARCO ZAPATA"),
        ("JOSE ROJAS ZEGARRA", "JOSE MOISES ROJAAS ZEGARRA"),
    ],
    ids=["cut short", "slip of the pen", "both"],
)
def test_names_cut_short_or_misspelt_are_alike(one, other):
    pair = frozenset((a_claim(7, phone=PHONE, name=one), a_claim(9, phone="971000009", name=other)))
    refreshed()
    assert suspicions() == {pair: "open"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("JUAN GARCIA LOPEZ", "PEDRO GARCIA LOPEZ"), ("JUAN", "JUAN GARCIA LOPEZ"), ("ANA PAZ", "EVA PAZ RIOS")],
    ids=["brothers", "one word", "short words"],
)
def test_names_that_only_share_words_are_not_alike(one, other):
    a_claim(7, phone=PHONE, name=one)
    a_claim(9, phone="971000009", name=other)
    refreshed()
    assert suspicions() == {}


def test_the_name_of_a_driver_account_counts_as_the_persons():
    driver = a_driver("MARCO NILTON ZAPATA", phone="971000500")
    refresh()
    known = a_claim(7, phone=PHONE, name="MARCO")
    an_orphan("MARCO", driver_id=driver, person=known)
    other = a_claim(9, phone="971000009", name="NILTON ZAPATA MARCO")
    refreshed()
    assert suspicions() == {frozenset((known, other)): "open"}
