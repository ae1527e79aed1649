"""Which orphans are repaired, which are set aside, and why: the rules of domain.md 9.1 to 9.5, one story each."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from ct4site.models import AuditEntry
from identity.models import LeadEvent, Link, Origin
from orphans.models import QuarantineChange, QuarantinedDriver
from tests.factories import (
    JUAN,
    LEAD_DATE,
    PEDRO,
    ROSA,
    Record,
    a_driver,
    a_lead,
    a_migration,
    a_name,
    a_phone,
    a_recruited_driver,
    a_registration,
    an_event,
    an_orphan,
    case_of,
    changes,
    fix_orphans,
    link_of,
    match,
    outcomes,
    refresh,
    unmatched_of,
    verdict,
)

pytestmark = pytest.mark.django_db

RELINKED = ("resolved_relinked", "no_lead_no_events")
NO_EVENTS = ("quarantined", "no_lead_no_events")
FAILED = ("quarantined", "no_lead_has_events_repair_failed")
LEGACY = ("quarantined", "legacy_driver_without_origin")

PHONE, LICENCE = "971000001", "Q20000001"


# --- the table "Orphans" of domain.md 14.3 ------------------------------------------------------------


def test_p1_an_event_that_names_the_driver_repairs():
    orphan = an_orphan()
    record = a_registration(JUAN)
    an_event(record, payload={"driver_id": orphan.driver_id})
    tally = fix_orphans()
    assert verdict(orphan.driver_id) == RELINKED
    link = link_of(record)
    assert (link.person_id, link.match_rule, link.match_score, link.confidence_level) == (
        orphan.person, "LEAD_EVENT_RECONSTRUCTION", 100, "HIGH",
    )  # fmt: skip
    assert (tally["processed"], tally["links_created"], tally["resolved_relinked"]) == (1, 1, 1)


def test_p2_a_registration_with_the_same_clean_licence_repairs():
    orphan = an_orphan(licence=LICENCE)
    record = a_registration(JUAN, licence=LICENCE)
    match()
    fix_orphans()
    assert verdict(orphan.driver_id) == RELINKED
    assert link_of(record).person_id == orphan.person


@pytest.mark.parametrize("junk", ["X", "DRIVERDRAFT", "00000000"])
def test_p3_a_junk_licence_is_no_evidence(junk):
    orphan = an_orphan(licence=junk)
    record = a_registration(JUAN, licence=junk)
    match()
    fix_orphans()
    assert verdict(orphan.driver_id) == NO_EVENTS
    assert link_of(record) is None


def test_p4_evidence_whose_record_belongs_to_another_person_does_not_repair():
    other = a_recruited_driver(ROSA)
    match()
    orphan = an_orphan()
    LeadEvent.objects.filter(source_pk=other.lead.source_pk).update(driver_id=orphan.driver_id)
    tally = fix_orphans()
    assert verdict(orphan.driver_id) == FAILED
    piece = case_of(orphan.driver_id).evidence_json["evidence"][0]
    owner = link_of(other.lead).person_id
    assert (piece["outcome"], piece["other_person_key"]) == ("linked_to_other_person", str(owner))
    assert owner != orphan.person
    assert (tally["links_created"], tally["errors"]) == (0, 0)


def test_p5_without_any_evidence_the_driver_is_quarantined():
    orphan = an_orphan(phone=PHONE, licence=LICENCE)
    fix_orphans()
    assert verdict(orphan.driver_id) == NO_EVENTS


def test_p6_a_driver_whose_person_has_a_lead_is_no_orphan():
    driver = a_recruited_driver()
    match()
    assert changes(fix_orphans()).get("processed") is None
    assert case_of(driver.driver_id) is None


def test_p7_a_migration_row_without_link_repairs():
    orphan = an_orphan()
    record = a_migration(orphan.driver_id)
    fix_orphans()
    assert verdict(orphan.driver_id) == RELINKED
    assert link_of(record).person_id == orphan.person


# --- how evidence is found ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        {"driver_id": "{}"},
        {"driverId": "{}"},
        {"id": "{}"},
        {"driver": {"driver_id": "{}"}},
        {"driver": {"driverId": "{}"}},
        {"driver": {"id": "{}"}},
    ],
    ids=["driver_id", "driverId", "id", "driver.driver_id", "driver.driverId", "driver.id"],
)
def test_the_account_is_read_from_every_place_a_payload_may_keep_it(payload):
    orphan = an_orphan()

    def filled(value):
        return {key: filled(inner) for key, inner in value.items()} if isinstance(value, dict) else orphan.driver_id

    an_event(a_registration(ROSA), payload=filled(payload))
    fix_orphans()
    assert verdict(orphan.driver_id) == RELINKED


def test_a_number_at_the_top_of_a_payload_is_the_number_of_a_row():
    orphan = an_orphan(driver_id="4711")
    an_event(a_registration(JUAN), payload={"id": "4711"})
    fix_orphans()
    assert verdict(orphan.driver_id) == NO_EVENTS


def test_phones_are_compared_by_their_last_nine_digits():
    orphan = an_orphan(phone=PHONE)
    record = a_registration(JUAN, phone=f"+51 {PHONE[:3]} {PHONE[3:6]} {PHONE[6:]}")
    fix_orphans()
    assert verdict(orphan.driver_id) == RELINKED
    assert link_of(record).evidence["match_strategy"] == "phone_exact"


def test_keys_of_an_account_that_is_in_the_feed_only_count():
    orphan = an_orphan(name=None, driver_id=a_driver(JUAN, licence=LICENCE))
    record = a_registration(JUAN, licence=LICENCE)
    fix_orphans()
    assert link_of(record).person_id == orphan.person


def test_keys_of_the_index_come_before_those_of_the_person():
    account = a_driver(JUAN, licence=LICENCE)
    refresh()
    orphan = an_orphan(driver_id=account, licence="Q29999999")
    stale = a_registration(JUAN, licence="Q29999999")
    fix_orphans()
    assert link_of(stale) is None
    assert verdict(orphan.driver_id) == NO_EVENTS


def test_both_keys_of_one_registration_are_one_piece_of_evidence():
    orphan = an_orphan(phone=PHONE, licence=LICENCE)
    a_registration(JUAN, phone=PHONE, licence=LICENCE)
    tally = fix_orphans()
    assert [piece["match_strategy"] for piece in case_of(orphan.driver_id).evidence_json["evidence"]] == ["both_exact"]
    assert tally["links_created"] == 1


def test_an_event_that_carries_only_the_person_is_listed_but_repairs_nobody():
    orphan = an_orphan()
    event = an_event(a_registration(ROSA), person=orphan.person)
    tally = fix_orphans()
    assert verdict(orphan.driver_id) == FAILED
    evidence = case_of(orphan.driver_id).evidence_json
    assert evidence["weak_evidence_events"] == [event]
    assert [piece["outcome"] for piece in evidence["evidence"]] == ["person_only"]
    assert (tally["with_events"], tally["quarantined"]) == (1, 1)


def test_a_lead_whose_link_went_repairs_the_driver_that_was_linked_because_of_it():
    driver = a_recruited_driver()
    match()
    link = link_of(driver.lead)
    person = link.person_id
    Link.objects.filter(pk=link.pk).delete()
    LeadEvent.objects.update(phone_norm=None, license_norm=None, payload_json={})
    fix_orphans()
    assert verdict(driver.driver_id) == RELINKED
    assert link_of(driver.lead).person_id == person


def test_an_event_whose_row_has_gone_is_no_evidence():
    orphan = an_orphan()
    an_event(Record("module_ct_scouting_daily", "999999"), payload={"driver_id": orphan.driver_id})
    fix_orphans()
    assert verdict(orphan.driver_id) == FAILED
    assert outcomes(orphan.driver_id) == {"999999": "source_row_missing"}


# --- keys that are not one's own ----------------------------------------------------------------------


def test_a_licence_of_several_drivers_is_ambiguous():
    first, second = an_orphan(JUAN, licence=LICENCE), an_orphan(JUAN, licence=LICENCE)
    record = a_registration(JUAN, licence=LICENCE)
    fix_orphans()
    assert link_of(record) is None
    for orphan in (first, second):
        assert verdict(orphan.driver_id) == FAILED
        assert outcomes(orphan.driver_id) == {record.source_pk: "ambiguous_key"}


def test_a_phone_shared_with_an_account_in_the_index_is_ambiguous_whatever_the_names():
    a_driver(ROSA, phone=PHONE)
    refresh()
    orphan = an_orphan(JUAN, phone=PHONE)
    record = a_registration(JUAN, phone=PHONE)
    fix_orphans()
    assert outcomes(orphan.driver_id) == {record.source_pk: "ambiguous_key"}


def test_two_accounts_of_one_person_share_a_key_without_harm():
    first = an_orphan(JUAN, phone=PHONE)
    second = an_orphan(JUAN, person=first.person)
    record = a_registration(JUAN, phone=PHONE)
    tally = fix_orphans()
    assert link_of(record).person_id == first.person
    assert verdict(first.driver_id) == verdict(second.driver_id) == RELINKED
    assert (tally["links_created"], tally["resolved_relinked"]) == (1, 2)


def test_a_licence_shared_by_hundreds_is_junk_and_links_nobody():
    orphans = [an_orphan(a_name(number), licence="BREVETE1") for number in range(40)]
    for number in range(60):
        a_registration(a_name(number), licence="BREVETE1")
    tally = fix_orphans()
    assert {verdict(orphan.driver_id) for orphan in orphans} == {NO_EVENTS}
    assert tally["links_created"] == 0


def test_a_phone_under_many_names_is_junk_even_for_its_only_driver():
    orphan = an_orphan(a_name(1), phone=PHONE)
    for number in range(1, 6):
        a_registration(a_name(number), phone=PHONE)
    fix_orphans()
    assert verdict(orphan.driver_id) == NO_EVENTS


def test_the_same_phone_under_a_contradicting_name_does_not_repair():
    orphan = an_orphan(JUAN, phone=PHONE)
    record = a_registration(ROSA, phone=PHONE)
    fix_orphans()
    assert verdict(orphan.driver_id) == FAILED
    assert outcomes(orphan.driver_id) == {record.source_pk: "name_contradicts"}


def test_a_registration_whose_phone_leads_to_a_namesake_is_left_to_a_person():
    a_driver(JUAN, phone=PHONE)
    refresh()
    orphan = an_orphan(JUAN, licence=LICENCE)
    record = a_registration(JUAN, phone=PHONE, licence=LICENCE)
    fix_orphans()
    assert outcomes(orphan.driver_id) == {record.source_pk: "names_another_driver"}


def test_a_registration_with_a_relatives_phone_repairs_by_its_licence():
    a_driver(ROSA, phone=PHONE)
    refresh()
    orphan = an_orphan(JUAN, licence=LICENCE)
    record = a_registration(JUAN, phone=PHONE, licence=LICENCE)
    fix_orphans()
    assert link_of(record).person_id == orphan.person


def test_a_migration_of_another_account_is_no_evidence_by_its_keys():
    orphan = an_orphan(JUAN, licence=LICENCE)
    record = a_registration(JUAN, licence=LICENCE)
    an_event(record, payload={"driver_id": "f" * 32, "driver_license": LICENCE, "driver_name": JUAN})
    fix_orphans()
    assert outcomes(orphan.driver_id) == {record.source_pk: "names_another_driver"}


@pytest.mark.parametrize(("name", "expected"), [(JUAN, RELINKED), (None, FAILED), (PEDRO, FAILED)])
def test_a_cabinet_lead_with_the_same_phone_repairs_only_under_a_name_that_agrees(name, expected):
    orphan = an_orphan(JUAN, phone=PHONE)
    a_lead(name, phone=PHONE)
    fix_orphans()
    assert verdict(orphan.driver_id) == expected


def test_a_record_that_a_person_set_aside_stays_aside():
    orphan = an_orphan(licence=LICENCE)
    record = a_registration(JUAN, licence=LICENCE)
    match()
    unmatched = unmatched_of(record)
    unmatched.status = "IGNORED"
    unmatched.save()
    fix_orphans()
    assert link_of(record) is None
    assert outcomes(orphan.driver_id) == {record.source_pk: "set_aside"}


def test_a_person_takes_no_more_records_than_the_limit(settings):
    settings.PERSON_SOURCE_LIMIT = 3
    orphan = an_orphan(licence=LICENCE)
    records = [a_registration(JUAN, licence=LICENCE, on=LEAD_DATE + dt.timedelta(days=day)) for day in range(4)]
    fix_orphans()
    assert [link_of(record) is not None for record in records] == [False, False, True, True]
    assert list(outcomes(orphan.driver_id).values()) == ["used", "used", "person_is_full", "person_is_full"]


# --- the reason of a driver without any trace ---------------------------------------------------------


@pytest.mark.parametrize(
    ("hired", "linked", "expected"),
    [
        (dt.date(2023, 12, 31), dt.date(2025, 12, 21), LEGACY),
        (dt.date(2024, 1, 1), dt.date(2025, 12, 21), NO_EVENTS),
        (None, dt.date(2023, 12, 31), LEGACY),
        (None, dt.date(2024, 1, 1), NO_EVENTS),
    ],
)
def test_a_driver_from_before_the_lead_system_is_legacy(hired, linked, expected):
    account = a_driver(JUAN, hired=hired)
    refresh()
    orphan = an_orphan(driver_id=account, linked=linked)
    fix_orphans()
    assert verdict(orphan.driver_id) == expected


def test_the_first_day_of_the_lead_system_is_a_setting(settings):
    settings.LEAD_SYSTEM_START_DATE = dt.date(2026, 1, 1)
    orphan = an_orphan(linked=dt.date(2025, 12, 31))
    fix_orphans()
    assert verdict(orphan.driver_id) == LEGACY


# --- what a repair writes -----------------------------------------------------------------------------


def test_a_repair_brings_event_origin_and_open_record_after_the_link():
    orphan = an_orphan(licence=LICENCE)
    record = a_registration(JUAN, licence=LICENCE, scout=12)
    match()
    assert unmatched_of(record).status == "OPEN"
    fix_orphans()
    event = LeadEvent.objects.get(source_pk=record.source_pk)
    assert (event.person_id, event.scout_id, event.payload_json["match_rule"]) == (
        orphan.person, 12, "LEAD_EVENT_RECONSTRUCTION",
    )  # fmt: skip
    assert event.payload_json["driver_license"] == LICENCE
    assert unmatched_of(record).status == "RESOLVED"
    origin = Origin.objects.get(person_id=orphan.person)
    assert (origin.origin_tag, origin.origin_source_id) == ("scout_registration", record.source_pk)
    assert link_of(record).snapshot_date.date() == LEAD_DATE


def test_every_decision_leaves_evidence_history_and_audit():
    relinked, alone = an_orphan(phone=PHONE, rule="R2_LICENSE_EXACT"), an_orphan(ROSA)
    record = a_registration(JUAN, phone=PHONE)
    tally = fix_orphans()
    case = case_of(relinked.driver_id)
    event = LeadEvent.objects.get(source_pk=record.source_pk)
    assert case.creation_rule == "R2_LICENSE_EXACT"
    assert case.resolution_notes == "Relinked from 1 lead_event(s)"
    assert case.resolved_at is not None
    assert case.evidence_json["lead_events_used"] == [
        {"event_id": None, "source_table": record.source_table, "source_pk": record.source_pk}
    ]
    assert event.person_id == relinked.person
    assert case.evidence_json["original_evidence"]["driver_id"] == relinked.driver_id
    assert list(
        QuarantineChange.objects.order_by("status_new").values_list("driver_id", "status_old", "status_new", "change_reason")
    ) == [
        (alone.driver_id, None, "quarantined", "detected"),
        (relinked.driver_id, None, "resolved_relinked", "relinked"),
    ]  # fmt: skip
    entries = AuditEntry.objects.filter(subject_table="driver_orphan_quarantine")
    assert {(entry.subject_key, entry.action) for entry in entries} == {
        (alone.driver_id, "quarantine_driver"), (relinked.driver_id, "relink_driver"),
    }  # fmt: skip
    assert tally["audit"] == AuditEntry.objects.filter(run__isnull=False).count()


def test_the_history_of_the_quarantine_cannot_be_changed():
    an_orphan()
    fix_orphans()
    for statement in ("update {} set notes = 'x'", "delete from {}"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement.format("canon.driver_orphan_quarantine_history"))


# --- again --------------------------------------------------------------------------------------------


def test_a_second_run_finds_nothing_to_do():
    an_orphan(phone=PHONE)
    an_orphan(ROSA)
    a_registration(JUAN, phone=PHONE)
    assert fix_orphans()["processed"] == 2
    assert set(changes(fix_orphans())) == {"report"}


def test_a_repaired_driver_whose_lead_link_went_is_detected_again():
    orphan = an_orphan(phone=PHONE)
    record = a_registration(JUAN, phone=PHONE)
    fix_orphans()
    link_of(record).delete()
    LeadEvent.objects.all().delete()
    record_row = record.source_pk
    with connection.cursor() as cursor:
        cursor.execute("delete from public.module_ct_scouting_daily where id = %s", [record_row])
    fix_orphans()
    assert verdict(orphan.driver_id) == NO_EVENTS
    assert [change.change_reason for change in QuarantineChange.objects.order_by("id")] == [
        "relinked",
        "detected_again",
    ]


def test_a_purged_driver_is_not_detected_again():
    orphan = an_orphan()
    fix_orphans()
    QuarantinedDriver.objects.update(status="purged", resolved_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    assert fix_orphans()["processed"] == 0
    assert verdict(orphan.driver_id)[0] == "purged"


def test_new_evidence_repairs_a_quarantined_driver_when_it_is_looked_at_again():
    orphan = an_orphan(licence=LICENCE)
    fix_orphans()
    record = a_registration(JUAN, licence=LICENCE)
    assert fix_orphans()["processed"] == 0
    tally = fix_orphans(reprocess_quarantined=True)
    assert (tally["processed"], tally["resolved_relinked"]) == (1, 1)
    assert verdict(orphan.driver_id) == RELINKED
    assert link_of(record).person_id == orphan.person
    assert [change.change_reason for change in QuarantineChange.objects.order_by("id")] == ["detected", "relinked"]


def test_looking_again_without_news_changes_nothing():
    an_orphan(licence=LICENCE)
    fix_orphans()
    before = QuarantinedDriver.objects.values().get()
    tally = fix_orphans(reprocess_quarantined=True)
    assert (tally["processed"], tally["unchanged"], tally["audit"]) == (1, 1, 0)
    assert QuarantinedDriver.objects.values().get() == before


def test_whom_a_person_put_into_quarantine_no_run_takes_out():
    orphan = an_orphan(licence=LICENCE)
    fix_orphans()
    QuarantinedDriver.objects.update(detected_reason="manual_detection")
    a_registration(JUAN, licence=LICENCE)
    assert fix_orphans(reprocess_quarantined=True)["processed"] == 0
    assert verdict(orphan.driver_id) == ("quarantined", "manual_detection")


# --- release by the link itself -----------------------------------------------------------------------


def test_a_quarantined_driver_is_released_when_identity_links_a_lead_to_its_person():
    account = a_driver(JUAN, phone=PHONE)
    refresh()
    orphan = an_orphan(driver_id=account)
    fix_orphans()
    record = a_registration(JUAN, phone=PHONE)
    tally = match()
    assert link_of(record).person_id == orphan.person
    assert tally["drivers_released"] == 1
    assert verdict(orphan.driver_id)[0] == "resolved_relinked"
    assert case_of(orphan.driver_id).resolution_notes
    assert QuarantineChange.objects.latest("id").change_reason == "released_by_link"
    assert AuditEntry.objects.filter(action="release_driver", subject_key=orphan.driver_id).count() == 1
    assert tally["audit"] == AuditEntry.objects.filter(run__job_type="identity_run").count()


def test_a_run_limited_to_one_driver_takes_the_oldest_link():
    young, old = an_orphan(linked=dt.date(2025, 12, 22)), an_orphan(linked=dt.date(2025, 12, 20))
    assert fix_orphans(limit=1)["processed"] == 1
    assert (verdict(old.driver_id), verdict(young.driver_id)) == (NO_EVENTS, None)


# --- the guard of domain.md 9.10 ----------------------------------------------------------------------


def _link(table, pk, person):
    return Link.objects.create(
        person_id=person, source_table=table, source_pk=pk, snapshot_date=dt.datetime(2026, 1, 10, tzinfo=dt.UTC),
        match_rule="DRIVER_MATCH", match_score=100, confidence_level="HIGH",
    )  # fmt: skip


def _end_transaction():
    """What a commit asks of the database."""
    with connection.cursor() as cursor:
        cursor.execute("set constraints all immediate; set constraints all deferred")


def test_the_database_refuses_a_driver_link_without_a_lead():
    person = an_orphan().person
    with pytest.raises(IntegrityError, match="without a lead"), transaction.atomic():
        _link("drivers", "a" * 32, person)
        _end_transaction()


def test_the_database_asks_at_the_end_so_that_lead_and_driver_may_come_in_any_order():
    person = an_orphan().person
    _link("drivers", "a" * 32, person)
    _link("module_ct_migrations", "1", person)
    _end_transaction()
    assert Link.objects.filter(person_id=person).count() == 3


def test_the_database_refuses_to_move_a_driver_to_a_person_without_a_lead():
    driver = a_recruited_driver()
    match()
    _end_transaction()
    with pytest.raises(IntegrityError, match="without a lead"), transaction.atomic():
        Link.objects.filter(source_table="drivers", source_pk=driver.driver_id).update(person_id=an_orphan().person)
        _end_transaction()


def test_an_unused_phone_is_really_unused():
    """Guards the stories above: no fresh key of the factories may meet the fixed ones."""
    assert a_phone(1) == PHONE
