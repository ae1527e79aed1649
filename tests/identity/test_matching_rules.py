"""The matching rules as stories: what a record needs to link, and what it is told when it does not (domain.md 5)."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from random import Random
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count

from identity.models import (
    CabinetLead,
    Driver,
    DriverIndexEntry,
    LeadEvent,
    Link,
    MigrationRecord,
    Origin,
    OriginChange,
    Person,
    ScoutingRegistration,
    Unmatched,
)
from tests.factories import (
    JUAN,
    LEAD_DATE,
    OTHER_PARK,
    PEDRO,
    ROSA,
    Record,
    a_day_passes,
    a_driver,
    a_family_phone,
    a_lead,
    a_lead_known_by_its_car,
    a_migrated_driver,
    a_migration,
    a_name,
    a_phone,
    a_recruited_driver,
    a_registration,
    answer,
    changes,
    link_of,
    load,
    match,
    persons,
    refresh,
    rolled_back,
    run_job,
    state_facts,
    state_hash,
    unmatched_of,
)
from tests.oracle import worlds

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)
R1, R2, R3 = "R1_PHONE_EXACT", "R2_LICENSE_EXACT", "R3_PLATE_EXACT_NAME_SIMILAR"
R3C = "R3C_PLATE_UNIQUE_NAME_SUBSET"


def processed(tally: dict[str, Any]) -> int:
    return sum(
        counts["processed"]
        for name, counts in tally.items()
        if name in ("cabinet_leads", "scouting_daily", "migrations")
    )


def members(driver_id: str) -> frozenset[Record]:
    """All records of the person of a driver."""
    return next(records for records in persons() if ("drivers", driver_id) in records)


class TestRulesOfKeys:
    def test_an_equal_phone_links_whatever_its_format(self):
        driver = a_driver(JUAN, phone="+51 987 654 321")
        lead = a_registration("Juan Quispe", phone="987-654-321")
        match()
        assert answer(lead) == (driver, R1, 95, "HIGH")
        assert link_of(lead).evidence == {
            "rule": R1,
            "driver_id": driver,
            "park_id": "08e20910d81d42658d4334d3f6d10ac0",
            "phone_normalized": "987654321",
        }

    def test_an_equal_licence_links_and_the_normalised_column_counts_before_the_other(self):
        driver = a_driver(JUAN, licence="Q99999998", license_normalized_number="q-12345678")
        other = a_driver(ROSA, licence="Q87654321", license_normalized_number=" ")
        lead, second = a_registration(JUAN, licence="Q12345678"), a_registration(ROSA, licence="q87654321")
        match()
        assert answer(lead) == (driver, R2, 92, "HIGH")
        assert answer(second) == (other, R2, 92, "HIGH")
        assert link_of(lead).evidence["license_normalized"] == "Q12345678"

    def test_the_objective_park_is_searched_first_and_no_park_is_another_park(self):
        here = a_driver(JUAN, phone="987654321")
        a_driver(JUAN, phone="987654321", park=OTHER_PARK)
        nowhere = a_driver(ROSA, phone="912345678", park=None)
        lead, second = a_registration(JUAN, phone="987654321"), a_registration(ROSA, phone="912345678")
        match()
        assert answer(lead)[0] == here
        assert answer(second)[0] == nowhere

    @pytest.mark.parametrize("parks", [(None, None), (OTHER_PARK, None)])
    def test_two_drivers_in_the_scope_are_too_many(self, parks):
        for name, park in zip((JUAN, ROSA), parks, strict=True):
            a_driver(name, phone="987654321", park=park)
        lead = a_registration(JUAN, phone="987654321")
        match()
        assert answer(lead) == "MULTIPLE_CANDIDATES"

    def test_a_second_key_chooses_among_the_candidates_of_the_first_only(self):
        phone, (juan, _) = a_family_phone(JUAN, ROSA)
        Driver.objects.filter(driver_id=juan).update(license_number="Q12345678")
        a_driver(PEDRO, licence="Q87654321")
        inside = a_registration("Juan Quispe", phone=phone, licence="Q12345678")
        outside = a_registration(PEDRO, phone=phone, licence="Q87654321")
        match()
        assert answer(inside) == (juan, R2, 92, "HIGH")
        assert answer(outside) == "MULTIPLE_CANDIDATES"

    def test_keys_of_two_persons_do_not_choose(self):
        a_driver(JUAN, phone="987654321")
        a_driver("QUISPE PEREZ JUAN MARTIN", licence="Q12345678")
        lead = a_registration("Juan Quispe", phone="987654321", licence="Q12345678")
        match()
        assert answer(lead) == "MULTIPLE_CANDIDATES"
        assert {seen["lacked"] for seen in unmatched_of(lead).candidates_preview["candidates"]} == {
            "agreement_of_rules"
        }

    def test_two_accounts_of_one_person_do_choose_and_the_higher_score_wins(self):
        first = a_driver(JUAN, phone="987654321", licence="Q12345678")
        second = a_driver("Juan Carlos Quispe Mamani", phone="912345678", licence="Q12345678", park=OTHER_PARK)
        lead = a_registration(JUAN, phone="912345678", licence="Q12345678")
        match()
        assert answer(lead) == (second, R1, 95, "HIGH")
        second_lead = a_registration(JUAN, phone="987654321")
        match()
        assert answer(second_lead)[0] == first
        assert members(first) == members(second) == {lead, second_lead, ("drivers", first), ("drivers", second)}

    @pytest.mark.parametrize(
        ("lead_name", "expected"),
        [
            (PEDRO, "KEY_MATCH_NAME_CONTRADICTS"),
            ("Carlos Pérez", R1),
            ("MAMANY ROJAS", R1),
            ("PEDRO", R1),
            (None, R1),
            ("CONDUCTOR TEST", R1),
        ],
    )
    def test_an_equal_phone_links_unless_two_full_names_share_nothing(self, lead_name, expected):
        a_driver(JUAN, phone="987654321")
        lead = a_registration(lead_name, phone="987654321")
        match()
        assert expected in answer(lead)

    def test_a_contradicted_key_leaves_the_choice_to_another_rule(self):
        a_driver(JUAN, phone="987654321")
        pedro = a_driver(PEDRO, licence="Q12345678")
        lead = a_registration(PEDRO, phone="987654321", licence="Q12345678")
        match()
        assert answer(lead) == (pedro, R2, 92, "HIGH")

    @pytest.mark.parametrize(("others", "expected"), [(2, R1), (3, "SHARED_IDENTIFIER")])
    def test_a_phone_of_more_than_three_drivers_is_nobodys(self, others, expected):
        a_driver(JUAN, phone="987654321")
        for _ in range(others):
            a_driver(JUAN, phone="987654321", park=OTHER_PARK)
        lead = a_registration(JUAN, phone="987654321")
        match()
        assert expected in answer(lead)

    @pytest.mark.parametrize(("names", "expected"), [(3, R1), (4, "SHARED_IDENTIFIER")])
    def test_a_phone_that_leads_give_under_more_than_three_names_is_nobodys(self, names, expected):
        a_driver(JUAN, phone="987654321")
        for name in (JUAN, PEDRO, ROSA, "ROJAS LUIS")[:names]:
            a_registration(name, phone="987654321")
        lead = a_lead("Carlos Juan Quispe de Mamani", phone="987654321")
        a_registration(None, phone="987654321")
        match()
        assert expected in answer(lead)

    def test_a_phone_that_becomes_shared_stops_linking_and_keeps_earlier_links(self):
        a_driver(JUAN, phone="987654321")
        early = a_registration(JUAN, phone="987654321")
        match()
        for name in (PEDRO, ROSA, "ROJAS LUIS"):
            a_registration(name, phone="987654321")
        late = a_registration(JUAN, phone="987654321")
        match()
        assert R1 in answer(early)
        assert answer(late) == "SHARED_IDENTIFIER"

    @pytest.mark.parametrize(("key", "value", "rule"), [("phone", "(01) 456-7890", R1), ("licence", "12345678", R2)])
    def test_a_weak_key_needs_the_names_help_and_is_never_high(self, key, value, rule):
        driver = a_driver(JUAN, **{key: value})
        named, nameless = a_registration("JUAN", **{key: value}), a_registration(None, **{key: value})
        match()
        assert answer(named) == (driver, rule, {R1: 95, R2: 92}[rule], "MEDIUM")
        assert answer(nameless) == "WEAK_MATCH_ONLY"
        assert unmatched_of(nameless).candidates_preview["candidates"][0]["lacked"] == "agreeing_name"


class TestRulesOfPlateAndName:
    @pytest.mark.parametrize(
        ("days", "expected"), [(-91, "NO_PERSON_KEY"), (-90, R3), (0, R3), (30, R3), (31, "NO_PERSON_KEY"), (None, R3)]
    )
    def test_plate_and_similar_name_link_when_hired_in_time(self, days, expected):
        hired = None if days is None else LEAD_DATE + days * DAY
        a_driver(JUAN, plate="ABC-123", hired=hired)
        lead = a_lead("juan carlos quispe", plate="abc 123", on=dt.datetime.combine(LEAD_DATE, dt.time(23, 59, 59)))
        match()
        assert expected in answer(lead)

    def test_the_score_the_confidence_and_the_evidence_are_those_of_the_rule(self):
        driver, lead = a_lead_known_by_its_car(ROSA)
        match()
        assert answer(lead) == (driver, R3, 85, "MEDIUM")
        assert link_of(lead).evidence["name_similarity"] == 1.0
        assert "plate_normalized" in link_of(lead).evidence

    def test_only_the_objective_park_counts(self):
        _, lead = a_lead_known_by_its_car(ROSA, park=OTHER_PARK)
        match()
        assert answer(lead) == "NO_CANDIDATES"

    def test_two_of_four_names_are_weak_unless_the_option_allows_it(self, settings):
        driver = a_driver(JUAN, plate="ABC123")
        lead = a_lead("Juan Quispe", plate="ABC123")
        match()
        assert answer(lead) == "WEAK_MATCH_ONLY"
        assert unmatched_of(lead).candidates_preview["candidates"] == [
            {"driver_id": driver, "rule": R3, "score": 85, "similarity": 0.5, "lacked": "similar_name"}
        ]
        settings.R3C_ENABLED = True
        match(full=True)
        assert answer(lead) == (driver, R3C, 80, "MEDIUM")

    @pytest.mark.parametrize(
        ("second", "name"), [("ABC123", "Juan Quispe"), ("XYZ987", "Juan"), ("XYZ987", "Juan Rojas")]
    )
    def test_the_option_needs_a_plate_of_one_driver_and_two_contained_names(self, second, name, settings):
        settings.R3C_ENABLED = True
        a_driver(JUAN, plate="ABC123")
        a_driver(ROSA, plate=second)
        lead = a_lead(name, plate="ABC123")
        match()
        assert answer(lead) == "WEAK_MATCH_ONLY"

    def test_the_best_name_must_stand_out(self):
        a_driver(JUAN, plate="ABC123")
        a_driver("QUISPE MAMANI JUAN ALBERTO", plate="ABC123")
        clear, unclear = a_lead(JUAN, plate="ABC123"), a_lead("Quispe Mamani Juan", plate="ABC123")
        match()
        assert R3 in answer(clear)
        assert answer(unclear) == "MULTIPLE_CANDIDATES"
        assert {seen["lacked"] for seen in unmatched_of(unclear).candidates_preview["candidates"]} == {"clear_lead"}

    def test_one_word_names_nobody(self):
        a_driver("PEDRO", plate="ABC123")
        lead = a_lead("Pedro", plate="ABC123")
        match()
        assert answer(lead) == "WEAK_MATCH_ONLY"

    def test_the_undated_rule_waits_for_a_driver_link_and_never_makes_one(self):
        driver = a_driver(JUAN, plate="ABC123", phone="987654321", hired=LEAD_DATE - 400 * DAY)
        lead = a_lead("Quispe Mamani Juan", plate="ABC123")
        match()
        assert answer(lead) == "NO_PERSON_KEY"
        assert not Link.objects.exists() and not Person.objects.exists()
        with_phone = a_registration(JUAN, phone="987654321")
        match(full=True)
        assert answer(lead) == (driver, "R3b", 75, "MEDIUM")
        assert link_of(lead).evidence["rule"] == "R3b_PLATE_NAME_NO_DATE"
        assert members(driver) == {lead, with_phone, ("drivers", driver)}

    def test_a_driver_hired_in_time_silences_the_undated_rule(self):
        a_driver(JUAN, plate="ABC123", hired=LEAD_DATE - 400 * DAY)
        a_driver(ROSA, plate="ABC123", hired=LEAD_DATE)
        lead = a_lead(JUAN, plate="ABC123")
        match()
        assert answer(lead) == "WEAK_MATCH_ONLY"


class TestMigrations:
    def test_a_migration_names_its_driver_in_any_case(self):
        driver = a_driver(PEDRO, phone=None, licence=None, park=None)
        lead = a_migration(f" {driver.upper()} ")
        match()
        assert answer(lead) == (driver, "driver_direct", 100, "HIGH")
        assert members(driver) == {lead, ("drivers", driver)}

    @pytest.mark.parametrize(
        ("driver_id", "day", "reason"),
        [("f" * 32, LEAD_DATE, "NO_CANDIDATES"), (None, LEAD_DATE, "MISSING_KEYS"), (" ", LEAD_DATE, "MISSING_KEYS")],
    )
    def test_a_migration_of_nobody_known_does_not_link(self, driver_id, day, reason):
        lead = a_migration(driver_id, on=day)
        match()
        assert answer(lead) == reason

    def test_a_migration_is_dated_by_its_hire_date_when_nothing_else_dates_it(self):
        driver = a_driver()
        dated, undated = a_migration(driver, on=None, hire_date=LEAD_DATE), a_migration(driver, on=None)
        match()
        assert answer(dated)[1] == "driver_direct"
        assert answer(undated) == "MISSING_KEYS"


class TestPersons:
    def test_two_accounts_with_one_phone_and_similar_names_are_one_person(self):
        first = a_driver(JUAN, phone="987654321")
        second = a_driver("QUISPE MAMANI JUAN", phone="987654321", park=OTHER_PARK)
        a_migration(first), a_migration(second)
        match()
        assert members(first) == members(second)

    def test_two_accounts_with_one_phone_and_other_names_are_two_persons(self):
        _, (first, second) = a_family_phone(JUAN, ROSA)
        a_migration(first), a_migration(second)
        match()
        assert members(first) != members(second)

    @pytest.mark.parametrize("key", [{"phone": "014567890"}, {"licence": "12345678"}, {"licence": "SIN DATOS"}])
    def test_a_weak_key_or_a_placeholder_never_merges_persons(self, key):
        first, second = a_driver(JUAN, **key), a_driver(JUAN, **key)
        a_migration(first), a_migration(second)
        match()
        assert members(first) != members(second)

    def test_a_new_account_joins_the_person_an_earlier_run_made(self):
        first, lead = a_recruited_driver(JUAN)
        match()
        second = a_driver("JUAN CARLOS QUISPE", phone=Person.objects.get().primary_phone, park=OTHER_PARK)
        migration = a_migration(second)
        match()
        assert members(second) == {lead, migration, ("drivers", first), ("drivers", second)}

    def test_a_new_person_key_is_random_behind_the_time_it_was_made(self):
        with connection.cursor() as cursor:
            cursor.execute("select (extract(epoch from now()) * 1000)::bigint")  # the clock of this test's transaction
            (now,) = cursor.fetchone()
        for _number in range(20):
            a_recruited_driver()
        match()
        keys = set(Person.objects.values_list("pk", flat=True))
        assert {key.version for key in keys} == {4}
        assert {(key.int >> 80) - now for key in keys} == {0, 1}  # sixteen to a millisecond
        assert len({key.int & (1 << 62) - 1 for key in keys}) == 20

    def test_an_account_that_may_be_either_of_two_persons_is_told_so(self):
        phone, (first, second) = a_family_phone("QUISPE MAMANI", "ROJAS VEGA")
        a_migration(first), a_migration(second)
        match()
        third = a_driver("QUISPE MAMANI ROJAS VEGA", phone=phone, park=OTHER_PARK)
        lead = a_migration(third)
        match()
        assert answer(lead) == "MULTIPLE_CANDIDATES"

    def test_blanks_of_a_person_are_filled_and_values_stay(self):
        first, _ = a_migrated_driver(JUAN, phone="987654321", licence=None)
        match()
        second = a_driver("JUAN CARLOS QUISPE MAMANI", phone="987654321", licence="Q12345678", park=OTHER_PARK)
        a_migration(second)
        match()
        person = Person.objects.get()
        assert (person.primary_phone, person.primary_license, person.primary_full_name) == (
            "987654321",
            "Q12345678",
            JUAN,
        )
        assert members(first) == members(second)

    def test_a_person_stops_growing_at_its_limit_and_keeps_what_it_has(self):
        driver = a_driver(JUAN, phone="987654321")
        kept = [a_registration(JUAN, phone="987654321") for _ in range(5)]
        match()
        assert members(driver) == {*kept, ("drivers", driver)}
        late = a_registration(JUAN, phone="987654321")
        match()
        assert answer(late) == "PERSON_TOO_LARGE"
        assert unmatched_of(late).candidates_preview["candidates"][0]["lacked"] == "room_in_person"
        assert members(driver) == {*kept, ("drivers", driver)}

    def test_a_person_too_large_at_once_is_not_made_at_all(self):
        a_driver(JUAN, phone="987654321")
        leads = [a_registration(JUAN, phone="987654321") for _ in range(6)]
        match()
        assert {answer(lead) for lead in leads} == {"PERSON_TOO_LARGE"}
        assert not Person.objects.exists() and not Link.objects.exists()


class TestReasons:
    @pytest.mark.parametrize(
        "story",
        [
            {"name": JUAN},
            {"name": None, "plate": "ABC123"},
            {"name": "DE LA", "plate": "ABC123"},
            {"name": JUAN, "plate": "AAA000", "phone": "999999999"},
            {"name": JUAN, "plate": "ABC123", "phone": "987654321", "on": None},
        ],
    )
    def test_a_record_without_usable_key_or_date_is_told_so(self, story):
        a_driver(JUAN, phone="987654321", plate="ABC123")
        lead = a_lead(**story)
        match()
        assert answer(lead) == "MISSING_KEYS"

    def test_the_most_informative_reason_is_given_and_all_are_kept(self):
        a_driver(JUAN, plate="ABC123")
        lead = a_lead("Juan Quispe", plate="ABC123", phone="912345678")
        match()
        assert answer(lead) == "WEAK_MATCH_ONLY"
        details = unmatched_of(lead).details
        assert details["rules"] == {R1: "NO_CANDIDATES", R3: "WEAK_MATCH_ONLY"}
        assert (details["phone"], details["plate"], details["name"]) == ("912345678", "ABC123", "JUAN QUISPE")

    def test_at_most_three_candidates_are_shown(self):
        phone, _ = a_family_phone(*[a_name(number) for number in range(5)])
        lead = a_registration(a_name(0), phone=phone)
        match()
        assert [seen["lacked"] for seen in unmatched_of(lead).candidates_preview["candidates"]] == ["unique_key"] * 3

    @pytest.mark.slow
    def test_in_a_crowd_every_link_has_evidence_and_every_other_record_a_reason(self):
        for seed in range(4):
            with rolled_back():
                rng = Random(seed)
                world = worlds.grow_world(rng, worlds.random_world(rng), leads=30, drivers=12)
                load(world)
                match()
                self.check_a_crowd(len(world.cabinet) + len(world.scouting) + len(world.migrations))

    def check_a_crowd(self, records):
        links, unmatched = Link.objects.all(), Unmatched.objects.all()
        lead_links = links.exclude(source_table="drivers")
        assert lead_links.count() > 0 and unmatched.count() > 0
        assert lead_links.count() + unmatched.count() == records
        assert all(link.evidence and link.run_id for link in links)
        assert all({"rule", "driver_id"} <= set(link.evidence) for link in lead_links)
        for row in unmatched:
            candidates = (row.candidates_preview or {"candidates": []})["candidates"]
            assert row.reason_code and row.details is not None and len(candidates) <= 3
            assert all(seen["lacked"] and seen["driver_id"] and seen["rule"] for seen in candidates)
            nobody_looked_alike = row.reason_code in ("MISSING_KEYS", "NO_CANDIDATES")
            assert bool(candidates) != nobody_looked_alike, (row.reason_code, candidates)

    def test_a_driver_link_is_made_beside_a_lead_link_of_the_same_person_only(self):
        a_recruited_driver(), a_lead_known_by_its_car(), a_migrated_driver(), a_driver(a_name(3))
        match()
        assert Link.objects.filter(source_table="drivers", match_rule="DRIVER_MATCH", match_score=100).count() == 3
        persons_with_driver = set(Link.objects.filter(source_table="drivers").values_list("person", flat=True))
        persons_with_lead = set(Link.objects.exclude(source_table="drivers").values_list("person", flat=True))
        assert persons_with_driver == persons_with_lead and len(persons_with_lead) == 3


JUNK_PHONES = [
    "000000000", "999999999", "+51 999 999 999", "123456789", "51" * 8, "1", "9" * 30, "٩٨٧٦٥٤٣٢١", "anexo 12",
    "987654321 / 912345678", "-", "", "no tiene",
]  # fmt: skip
JUNK_LICENCES = [
    "SIN DATOS", "sin datos", "S/D", "N/A", "NO TIENE", "-", ".", "0", "Q00000000", "XXXXXXXX", "PENDIENTE", "X",
    "DRIVERDRAFT0123456789abcdef0123456789abcdef",
]  # fmt: skip
JUNK_PLATES = ["AAA000", "TEMP", "-", "S/P", "1111111", ""]
JUNK_NAMES = ["TEST", "CONDUCTOR", "sin nombre", "Juan", "NN", None]


class TestJunk:
    """F24: placeholders that would make one person of everybody."""

    def test_a_placeholder_links_not_even_the_only_two_who_have_it(self):
        leads = {}
        for key, values in (("phone", JUNK_PHONES), ("licence", JUNK_LICENCES)):
            for value in values:
                a_driver(JUAN, **{key: value})
                leads[key, value] = a_registration(JUAN, **{key: value})
        for value in JUNK_PLATES:
            a_driver(JUAN, plate=value)
            leads["plate", value] = a_lead(JUAN, plate=value)
        match()
        assert {of: answer(lead) for of, lead in leads.items()} == dict.fromkeys(leads, "MISSING_KEYS")

    def test_thousands_who_share_placeholders_and_overused_values_link_to_nobody(self):
        rng = Random(24)
        count = 2500
        # Real in shape, but everybody's: a number somebody typed for all, a licence written for all, one car for all.
        phones, licences, plates = (
            [*JUNK_PHONES, "987654321"],
            [*JUNK_LICENCES, "q1234567", "Q1234567"],
            [*JUNK_PLATES, "TAX111"],
        )
        people = [JUAN, ROSA, PEDRO, *JUNK_NAMES]
        Driver.objects.bulk_create(
            Driver(
                driver_id=f"{number:032x}", park_id=rng.choice(["08e20910d81d42658d4334d3f6d10ac0", OTHER_PARK, None]),
                full_name=rng.choice(people), phone=rng.choice(phones), license_number=rng.choice(licences),
                car_number=rng.choice(plates), hire_date=LEAD_DATE,
            )
            for number in range(count)
        )  # fmt: skip
        CabinetLead.objects.bulk_create(
            CabinetLead(
                lead_created_at=LEAD_DATE, first_name=rng.choice(people), park_phone=rng.choice(phones),
                asset_plate_number=rng.choice(plates),
            )
            for _ in range(count // 2)
        )  # fmt: skip
        ScoutingRegistration.objects.bulk_create(
            ScoutingRegistration(
                registration_date=LEAD_DATE, scout_id=1, driver_name=rng.choice(people), driver_phone=rng.choice(phones),
                driver_license=rng.choice(licences),
            )
            for _ in range(count // 2)
        )  # fmt: skip
        tally = match()
        assert Link.objects.count() == Person.objects.count() == 0
        assert Unmatched.objects.filter(status="OPEN").count() == processed(tally) == count
        reasons = Counter(Unmatched.objects.values_list("reason_code", flat=True))
        assert set(reasons) <= {"MISSING_KEYS", "MULTIPLE_CANDIDATES", "SHARED_IDENTIFIER", "WEAK_MATCH_ONLY"}
        assert reasons["MISSING_KEYS"] > count / 4

    def test_a_fleet_owners_phone_makes_no_person_of_twelve_drivers(self):
        phone = "987654321"
        drivers = [a_driver(a_name(number), phone=phone) for number in range(12)]
        leads = [a_migration(driver) for driver in drivers] + [a_registration(a_name(1), phone=phone)]
        match()
        largest = Link.objects.values("person").annotate(size=Count("id")).order_by("-size").first()
        assert largest["size"] == 2
        assert answer(leads[-1]) == "MULTIPLE_CANDIDATES"


class TestDisorder:
    """F28: colliding keys and feeds out of order."""

    @pytest.mark.parametrize("written", ["4200042", " 4200042 "])
    def test_a_row_id_and_an_equal_external_id_are_two_records(self, written):
        a_driver(JUAN, phone="987654321"), a_driver(ROSA, phone="912345678")
        a_lead(JUAN, phone="987654321", external_id=None, id=4200042)
        a_lead(ROSA, phone="912345678", external_id=written)
        match()
        found = dict(
            Link.objects.exclude(source_table="drivers").values_list("source_pk", "evidence__phone_normalized")
        )
        assert found == {"row:4200042": "987654321", "4200042": "912345678"}

    def test_an_empty_external_id_is_a_missing_one(self):
        a_driver(JUAN, phone="987654321")
        a_lead(JUAN, phone="987654321", external_id="", id=4200043)
        a_lead(JUAN, phone="987654321", external_id="  ", id=4200044)
        match()
        linked = Link.objects.exclude(source_table="drivers").values_list("source_pk", flat=True)
        assert set(linked) == {"4200043", "4200044"}

    def test_nulls_in_every_column_harm_nobody(self):
        recruited = a_recruited_driver()
        Driver.objects.create(driver_id="0" * 31 + "a")
        CabinetLead.objects.create()
        ScoutingRegistration.objects.create()
        MigrationRecord.objects.create()
        match()
        assert R1 in answer(recruited.lead)
        assert list(Unmatched.objects.values_list("reason_code", flat=True)) == ["MISSING_KEYS"] * 3
        assert LeadEvent.objects.count() == 1

    def test_a_driver_id_in_another_case_is_the_same_account(self):
        driver = a_driver(JUAN, phone="987654321", driver_id="ABCDEF" + "0" * 26)
        Driver.objects.create(driver_id="abcdef" + "0" * 26, full_name=ROSA, phone="912345678", park_id=OTHER_PARK)
        lead = a_registration(JUAN, phone="987654321")
        match()
        assert answer(lead)[0] == driver.lower()
        assert DriverIndexEntry.objects.count() == 1

    def test_a_lead_deleted_and_created_again_is_the_same_record(self):
        a_driver(JUAN, phone="987654321")
        lead = a_lead(JUAN, phone="987654321", external_id="again")
        match()
        CabinetLead.objects.all().delete()
        a_lead(JUAN, phone="987654321", external_id="again")
        assert processed(match()) == 0
        assert R1 in answer(lead)

    @pytest.mark.slow
    def test_the_order_of_the_rows_in_a_feed_decides_nothing(self):
        world = worlds.random_world(Random(28))
        for more in range(3):
            world = worlds.grow_world(Random(more), world, leads=15, drivers=6)
        outcomes = []
        for shuffle in range(20):
            for rows in (world.drivers, world.cabinet, world.scouting, world.migrations):
                Random(shuffle).shuffle(rows)
            with rolled_back():
                load(world)
                match()
                outcomes.append((state_hash(), state_facts()))
        first = outcomes[0]
        assert len(first[1]) > 50
        for other in outcomes:
            assert other == first, set(other[1]) ^ set(first[1])

    @pytest.mark.parametrize("chunk", [1, 7])
    @pytest.mark.slow
    def test_the_size_of_a_chunk_decides_nothing(self, chunk, settings):
        load(worlds.random_world(Random(11)))
        with rolled_back():
            match()
            expected = state_facts()
        settings.CHUNK_SIZE = chunk
        match()
        assert state_facts() == expected

    def test_a_dry_run_counts_what_the_run_then_does_and_changes_nothing(self):
        load(worlds.random_world(Random(5)))
        refresh()
        before = state_hash()
        promised = run_job("identity_run", dry_run=True)
        assert state_hash() == before
        assert run_job("identity_run") == promised
        assert state_hash() != before


class TestIncremental:
    def test_nothing_new_is_nothing_done(self):
        a_recruited_driver(), a_lead_known_by_its_car(), a_migrated_driver()
        a_lead(JUAN, plate="ABC123"), a_migration("f" * 32), a_lead(None, on=None)
        assert changes(match())
        before = state_hash()
        assert changes(refresh()) == {}
        assert changes(run_job("identity_run")) == {}
        assert state_hash() == before

    @pytest.mark.parametrize("key", ["phone", "licence"])
    def test_a_new_driver_reopens_the_record_with_its_key_and_no_other(self, key):
        value = {"phone": "987654321", "licence": "Q12345678"}[key]
        waiting = a_registration(JUAN, **{key: value})
        a_registration(ROSA, phone="912345678"), a_lead(ROSA, plate="ABC123"), a_migration("f" * 32)
        match()
        driver = a_driver(JUAN, **{key: value})
        tally = match()
        assert processed(tally) == 1
        assert answer(waiting)[0] == driver

    def test_a_new_driver_reopens_the_lead_with_its_plate_and_the_migration_that_names_it(self):
        by_plate, by_name = a_lead(JUAN, plate="ABC123"), a_migration("e" * 32)
        a_lead(JUAN, plate="ABC124")
        match()
        a_driver(JUAN, plate="ABC-123", phone=None, licence=None, driver_id="e" * 32)
        assert processed(match()) == 2
        assert answer(by_plate)[1] == R3
        assert answer(by_name)[1] == "driver_direct"

    def test_a_resolved_record_says_when(self):
        waiting = a_registration(JUAN, phone="987654321")
        match()
        a_driver(JUAN, phone="987654321")
        assert match()["unmatched_resolved"] == 1
        row = unmatched_of(waiting)
        assert row.status == "RESOLVED" and row.resolved_at is not None

    def test_a_lead_sent_again_with_another_phone_is_tried_again(self):
        driver = a_driver(JUAN, phone="987654321")
        lead = a_lead(JUAN, phone="912345678")
        a_lead(ROSA, phone="912345679")
        match()
        CabinetLead.objects.filter(external_id=lead.source_pk).update(park_phone="987654321")
        assert processed(match()) == 1
        assert answer(lead)[0] == driver

    def test_a_linked_lead_sent_again_with_another_phone_stays_where_it_is(self):
        driver, lead = a_recruited_driver()
        a_driver(ROSA, phone="912345678")
        match()
        ScoutingRegistration.objects.filter(pk=lead.source_pk).update(driver_phone="912345678")
        match()
        assert answer(lead)[0] == driver

    def test_an_ignored_record_is_left_alone(self):
        lead = a_registration(JUAN, phone="987654321")
        match()
        Unmatched.objects.update(status="IGNORED")
        a_driver(JUAN, phone="987654321")
        assert processed(match(full=True)) == 0
        assert link_of(lead) is None

    def test_full_tries_every_open_record_again(self):
        a_lead(JUAN, plate="ABC123"), a_registration(JUAN, phone="987654321"), a_recruited_driver()
        match()
        assert processed(match()) == 0
        assert processed(match(full=True)) == 2

    def test_a_vanished_driver_is_flagged_and_not_matched_until_it_is_back(self):
        driver = a_driver(JUAN, phone="987654321")
        refresh()
        Driver.objects.all().delete()
        assert changes(refresh()) == {"vanished": 1, "rows_affected": 1}
        assert DriverIndexEntry.objects.get(pk=driver).vanished_at is not None
        lead = a_registration(JUAN, phone="987654321")
        match()
        assert answer(lead) == "NO_CANDIDATES"
        a_driver(JUAN, phone="987654321", driver_id=driver)
        assert refresh()["inserted"] == 0
        assert DriverIndexEntry.objects.get(pk=driver).vanished_at is None
        run_job("identity_run")
        assert answer(lead)[0] == driver

    def test_a_migration_does_not_link_to_a_vanished_driver(self):
        driver = a_driver(JUAN)
        refresh()
        Driver.objects.all().delete()
        lead = a_migration(driver)
        match()
        assert answer(lead) == "NO_CANDIDATES"

    def test_a_driver_that_changes_its_key_reopens_the_records_of_both_keys(self):
        driver = a_driver(JUAN, phone="987654321")
        a_driver(ROSA, phone="987654321")
        old, new = a_registration(ROSA, phone="987654321"), a_registration(JUAN, phone="912345678")
        match()
        assert (answer(old), answer(new)) == ("MULTIPLE_CANDIDATES", "NO_CANDIDATES")
        Driver.objects.filter(driver_id=driver).update(phone="912345678")
        assert processed(match()) == 2
        assert answer(old)[1] == answer(new)[1] == R1

    def test_only_the_named_feeds_are_read(self):
        lead, registration, migration = a_lead(JUAN), a_registration(JUAN), a_migration(None)
        tally = match(source=["scouting"])
        assert set(tally) & {"cabinet_leads", "scouting_daily", "migrations"} == {"scouting_daily"}
        assert unmatched_of(registration) and not unmatched_of(lead) and not unmatched_of(migration)
        assert processed(match()) == 2

    def test_the_dates_are_days_in_lima_and_inclusive(self):
        early = a_lead(JUAN, on=dt.datetime.combine(LEAD_DATE - DAY, dt.time(23, 59, 59)))
        first = a_lead(JUAN, on=dt.datetime.combine(LEAD_DATE, dt.time()))
        last = a_lead(JUAN, on=dt.datetime.combine(LEAD_DATE + DAY, dt.time(23, 59, 59)))
        late = a_lead(JUAN, on=dt.datetime.combine(LEAD_DATE + 2 * DAY, dt.time()))
        match(date_from=LEAD_DATE.isoformat(), date_to=(LEAD_DATE + DAY).isoformat())
        assert [bool(unmatched_of(lead)) for lead in (early, first, last, late)] == [False, True, True, False]

    def test_a_limit_takes_the_oldest_first_and_the_rest_next_time(self):
        late, early = a_registration(JUAN, on=LEAD_DATE), a_registration(JUAN, on=LEAD_DATE - DAY)
        assert processed(match(limit=1)) == 1
        assert unmatched_of(early) and not unmatched_of(late)
        assert processed(match(limit=1)) == 1
        assert unmatched_of(late)

    def test_the_refresh_touches_only_what_changed(self):
        changed, _, _ = a_driver(JUAN), a_driver(ROSA), a_driver(PEDRO)
        assert changes(refresh()) == {"inserted": 3, "rows_affected": 3}
        Driver.objects.filter(driver_id=changed).update(rating=4.9)
        assert changes(refresh()) == {}
        Driver.objects.filter(driver_id=changed).update(phone="987654321")
        assert changes(refresh()) == {"updated": 1, "rows_affected": 1}


class TestSettings:
    def test_the_threshold_is_a_setting(self, settings):
        settings.NAME_SIMILARITY_THRESHOLD = 0.5
        a_driver(JUAN, plate="ABC123")
        lead = a_lead("Juan Quispe", plate="ABC123")
        match()
        assert answer(lead)[1] == R3

    def test_the_gap_is_a_setting(self, settings):
        settings.NAME_SIMILARITY_GAP = 0.5
        a_driver(JUAN, plate="ABC123"), a_driver("QUISPE MAMANI JUAN ALBERTO", plate="ABC123")
        lead = a_lead(JUAN, plate="ABC123")
        match()
        assert answer(lead) == "MULTIPLE_CANDIDATES"

    def test_the_window_is_a_setting(self, settings):
        settings.R3_DAYS_BEFORE, settings.R3_DAYS_AFTER = 30, 7
        (
            a_driver(JUAN, plate="ABC123", hired=LEAD_DATE + 7 * DAY),
            a_driver(ROSA, plate="ABC124", hired=LEAD_DATE + 8 * DAY),
        )
        inside, outside = a_lead(JUAN, plate="ABC123"), a_lead(ROSA, plate="ABC124")
        match()
        assert answer(inside)[1] == R3
        assert answer(outside) == "NO_PERSON_KEY"

    def test_the_contradiction_of_names_can_be_turned_off(self, settings):
        settings.NAME_CONTRADICTION_BLOCKS = False
        a_driver(JUAN, phone="987654321")
        lead = a_registration(PEDRO, phone="987654321")
        match()
        assert answer(lead)[1] == R1

    def test_the_limit_of_sharers_is_a_setting(self, settings):
        settings.SHARED_KEY_LIMIT = 1
        a_driver(JUAN, phone="987654321"), a_driver(JUAN, phone="987654321", park=OTHER_PARK)
        lead = a_registration(JUAN, phone="987654321")
        match()
        assert answer(lead) == "SHARED_IDENTIFIER"

    def test_the_size_of_a_person_is_a_setting(self, settings):
        settings.PERSON_SOURCE_LIMIT = 2
        recruited = a_recruited_driver()
        phone = ScoutingRegistration.objects.get().driver_phone
        match()
        second = a_registration(JUAN, phone=phone)
        match()
        assert answer(recruited.lead)[1] == R1
        assert answer(second) == "PERSON_TOO_LARGE"

    def test_the_objective_park_is_a_setting(self, settings):
        settings.PARK_ID_OBJETIVO = OTHER_PARK
        driver, lead = a_lead_known_by_its_car(ROSA, park=OTHER_PARK)
        match()
        assert answer(lead)[0] == driver


class TestLeadEvents:
    def test_the_person_of_an_event_is_the_person_of_the_records_link(self):
        linked = [a_recruited_driver(JUAN).lead, a_lead_known_by_its_car().lead, a_migrated_driver().lead]
        waiting = a_registration(JUAN, phone="987654321")
        match()
        assert LeadEvent.objects.count() == 4
        for record in linked:
            event = LeadEvent.objects.get(source_table=record.source_table, source_pk=record.source_pk)
            assert event.person_id == link_of(record).person_id
            assert event.event_date == LEAD_DATE
        assert LeadEvent.objects.get(person=None).source_pk == waiting.source_pk

    def test_an_event_finds_its_person_when_the_record_links_later(self):
        lead = a_registration(JUAN, phone="987654321", scout=9)
        match()
        a_driver(JUAN, phone="987654321")
        match()
        event = LeadEvent.objects.get()
        assert event.person_id == link_of(lead).person_id
        assert (event.scout_id, event.payload_json["matched_by"], event.payload_json["match_rule"]) == (
            9,
            "phone_last9",
            R1,
        )

    def test_a_cabinet_event_falls_back_to_the_load_time_but_never_to_today(self):
        loaded = a_lead(JUAN, on=None, created_at=dt.datetime.combine(dt.date(2026, 1, 3), dt.time(12)))
        undated = a_lead(JUAN, on=None, created_at=None)
        match()
        assert LeadEvent.objects.get().source_pk == loaded.source_pk
        assert LeadEvent.objects.get().event_date == dt.date(2026, 1, 3)
        assert answer(undated) == answer(loaded) == "MISSING_KEYS"

    def test_the_payload_tells_the_origin_and_the_columns_of_the_row(self):
        a_lead_known_by_its_car(ROSA), a_recruited_driver(JUAN), a_migrated_driver(PEDRO)
        match()
        payloads = dict(LeadEvent.objects.values_list("source_table", "payload_json"))
        assert payloads["module_ct_cabinet_leads"]["origin_tag"] == "cabinet"
        assert payloads["module_ct_cabinet_leads"]["first_name"] == ROSA
        assert payloads["module_ct_cabinet_leads"]["matched_by"] == "plate"
        assert payloads["module_ct_scouting_daily"]["driver_name"] == JUAN
        assert payloads["module_ct_migrations"]["origin_tag"] == "fleet_migration"
        assert payloads["module_ct_migrations"]["driver_id"]


class TestOrigins:
    def test_a_person_comes_in_by_its_best_record(self):
        driver = a_driver(JUAN, phone="987654321", plate="ABC123")
        a_migration(driver), a_registration(JUAN, phone="987654321")
        lead = a_lead(JUAN, plate="ABC123")
        match()
        origin = Origin.objects.get()
        assert (origin.origin_tag, origin.origin_source_id) == ("cabinet_lead", lead.source_pk)
        assert float(origin.origin_confidence) == 85 * 0.85
        assert origin.resolution_status == "resolved_auto" and origin.decided_by == "system"

    def test_two_strong_origins_are_for_review(self):
        driver = a_driver(JUAN, phone="987654321")
        a_migration(driver), a_lead(JUAN, phone="987654321")
        match()
        assert Origin.objects.get().resolution_status == "pending_review"

    def test_among_equals_the_earliest_record_counts(self):
        a_driver(JUAN, phone="987654321")
        a_registration(JUAN, phone="987654321", on=LEAD_DATE)
        early = a_registration(JUAN, phone="987654321", on=LEAD_DATE - DAY)
        match()
        assert Origin.objects.get().origin_source_id == early.source_pk

    def test_an_earlier_link_counts_before_an_earlier_record(self):
        a_driver(JUAN, phone="987654321")
        first = a_registration(JUAN, phone="987654321")
        match()
        a_day_passes()
        a_registration(JUAN, phone="987654321", on=LEAD_DATE - DAY)
        match()
        assert Origin.objects.get().origin_source_id == first.source_pk

    def test_the_history_tells_the_creation_and_the_change(self):
        driver = a_driver(JUAN, phone="987654321")
        migration = a_migration(driver)
        match()
        registration = a_registration(JUAN, phone="987654321")
        match()
        changes_made = OriginChange.objects.order_by("id").values_list(
            "origin_tag_old", "origin_tag_new", "origin_source_id_new", "changed_by"
        )
        assert list(changes_made) == [
            (None, "migration", migration.source_pk, "system"),
            ("migration", "scout_registration", registration.source_pk, "system"),
        ]

    @pytest.mark.parametrize(
        "decision",
        [{"decided_by": "manual"}, {"resolution_status": "marked_legacy"}, {"resolution_status": "discarded"}],
    )
    def test_what_a_person_decided_is_never_overwritten(self, decision):
        driver = a_driver(JUAN, phone="987654321")
        migration = a_migration(driver)
        match()
        Origin.objects.update(**decision)
        lead = a_lead(JUAN, phone="987654321")
        match()
        assert R1 in answer(lead)
        assert Origin.objects.get().origin_source_id == migration.source_pk
        assert OriginChange.objects.count() == 1


class TestStateHash:
    def test_equal_decisions_give_equal_hashes_and_other_decisions_others(self):
        phone = a_phone(1)
        driver, lead = a_driver(JUAN, phone=phone), a_registration(JUAN, phone=phone)
        match()
        first, facts = state_hash(), state_facts()
        assert state_hash() == first and any(lead.source_pk in fact for fact in facts)
        assert not any(str(Person.objects.get().pk) in fact for fact in facts)
        Link.objects.filter(source_table="drivers", source_pk=driver).delete()
        assert state_hash() != first
