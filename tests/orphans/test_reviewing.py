"""What a person decides about a driver without lead: previewed, done as shown, respected by every job, taken back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ct4site import invariants, privacy
from ct4site.models import AuditEntry, CaseKind, CaseStatus, Decision, JobType, Proposal, ReviewCase
from ct4site.review import approving, cases, deciding, kinds, reversing
from ct4site.review.deciding import Outcome, Wish
from identity.models import LeadEvent, Link, ManualLead, Person, ScoutListEntry, Unmatched
from orphans import reviewing
from orphans.models import OrphanReason, OrphanStatus, QuarantineChange, QuarantinedDriver
from tests.factories import (
    JUAN,
    PEDRO,
    ROSA,
    Orphan,
    Record,
    a_driver,
    a_lead,
    a_phone,
    a_recruited_driver,
    a_registration,
    an_orphan,
    case_of,
    fix_orphans,
    link_of,
    match,
    refresh,
    run_job,
    state_facts,
    verdict,
)

pytestmark = pytest.mark.django_db

PHONE = a_phone(910)
MISSING = {"lead_date": "2026-01-08", "full_name": JUAN, "phone": PHONE}


class Story(NamedTuple):
    """A driver in quarantine with its case."""

    orphan: Orphan
    case: ReviewCase


@pytest.fixture
def reviewer(django_user_model: type[User]) -> User:
    user = django_user_model.objects.create_user("rosa", email="rosa@example.com")
    user.user_permissions.add(Permission.objects.get(codename="decide_case"))
    return user


@pytest.fixture
def approver(django_user_model: type[User]) -> User:
    user = django_user_model.objects.create_user("jefa", email="jefa@example.com")
    user.user_permissions.add(Permission.objects.get(codename="approve_proposal"))
    return user


def refresh_cases() -> dict[str, Any]:
    with transaction.atomic():
        return cases.refresh()


def open_case(driver_id: str) -> ReviewCase:
    return ReviewCase.objects.get(kind=CaseKind.ORPHAN, subject_key=driver_id, status=CaseStatus.OPEN)


def quarantined(name: str = JUAN, **facts: Any) -> Story:
    """An account in the feed and in quarantine, its case open."""
    driver = a_driver(name, **{"phone": None, "plate": None, "licence": None} | facts)
    refresh()
    orphan = an_orphan(name, driver_id=driver)
    match()
    fix_orphans()
    assert (verdict(driver) or ("",))[0] == OrphanStatus.QUARANTINED
    refresh_cases()
    return Story(orphan, open_case(driver))


def at(record: Record) -> dict[str, Any]:
    return {"source_table": record.source_table, "source_pk": record.source_pk}


def wish(choice: str, target: dict[str, Any] | None = None) -> Wish:
    return Wish(choice, target or {}, "documents", "Seen at the office")


def decide(case: ReviewCase, actor: User, choice: str, target: dict[str, Any] | None = None) -> Decision:
    """Preview and decide as shown; a preview that differs from what is done then fails here."""
    case.refresh_from_db()
    shown = deciding.preview(case_id=case.pk, wish=wish(choice, target), actor=actor, expected_version=case.version)
    done = deciding.decide(
        case_id=case.pk,
        wish=wish(choice, target),
        actor=actor,
        expected_version=case.version,
        shown=shown.digest,
    )
    assert isinstance(done, Decision)
    assert done.consequences == shown.consequences
    return done


def purge(case: ReviewCase, actor: User, approver: User) -> Decision:
    shown = deciding.preview(case_id=case.pk, wish=wish("purge"), actor=actor, expected_version=case.version)
    assert shown.needs_approval
    proposal = approving.decide_or_propose(
        case_id=case.pk,
        wish=wish("purge"),
        actor=actor,
        expected_version=case.version,
        shown=shown.digest,
    )
    assert isinstance(proposal, Proposal)
    assert approving.answer(proposal_id=proposal.pk, approver=approver, approve=True).status == "APPROVED"
    return Decision.objects.get(case=case)


def take_back(decision: Decision, actor: User) -> None:
    shown = reversing.preview(decision_id=decision.pk, wish=wish(reversing.REVERSE), actor=actor)
    done = reversing.reverse(decision_id=decision.pk, wish=wish(reversing.REVERSE), actor=actor, shown=shown.digest)
    assert isinstance(done, list)


def facts_of_now() -> list[str]:
    """The state without what only grows: histories, and events of records that are nobody's again."""
    return [
        fact
        for fact in state_facts()
        if not fact.startswith("quarantine history|") and (not fact.startswith("event|") or fact.split("|")[4] != "-")
    ]


def complaints() -> dict[str, int]:
    return {finding.name: finding.count for finding in invariants.check() if finding.count}


def operates(driver_id: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from canon.operational_drivers where driver_id = %s", [driver_id])
        return bool(cursor.fetchone()[0])


def all_jobs() -> None:
    refresh()
    match(full=True)
    fix_orphans()
    fix_orphans(reprocess_quarantined=True)
    run_job(JobType.GAP_RECOVERY)
    refresh_cases()


# --- cases ------------------------------------------------------------------------------------------------


def test_every_driver_in_quarantine_has_a_case_until_it_leaves() -> None:
    story = quarantined()
    row, case = case_of(story.orphan.driver_id), story.case
    assert row is not None
    assert (case.driver_id, case.person_key, case.opened_at) == (row.pk, story.orphan.person, row.detected_at)
    assert (case.raised_by, case.signature) == (row.detected_reason, f"{row.detected_reason}|R1_PHONE_EXACT")
    assert refresh_cases()["changed"] == 0

    QuarantinedDriver.objects.filter(pk=row.pk).update(status=OrphanStatus.PURGED, resolved_at=timezone.now())
    assert refresh_cases()["closed"] == 1


def test_another_reason_makes_it_another_question() -> None:
    story = quarantined()
    QuarantinedDriver.objects.filter(pk=story.orphan.driver_id).update(detected_reason=OrphanReason.MANUAL)
    refresh_cases()
    case = open_case(story.orphan.driver_id)
    assert (case.raised_by, case.version) == (OrphanReason.MANUAL, story.case.version + 1)


# --- relinking --------------------------------------------------------------------------------------------


def test_a_driver_is_relinked_to_a_lead_of_nobody(reviewer: User) -> None:
    lead = a_lead(PEDRO, phone=a_phone(911))
    story = quarantined()
    before = facts_of_now()
    decision = decide(story.case, reviewer, "relink", at(lead))

    driver, person = story.orphan
    row, link = case_of(driver), link_of(lead)
    assert row is not None and link is not None
    assert (row.status, row.person_id, row.resolution_notes) == (
        OrphanStatus.RESOLVED_RELINKED, person, "documents: Seen at the office",
    )  # fmt: skip
    assert (link.person_id, link.match_rule) == (person, "MANUAL")
    change = QuarantineChange.objects.filter(driver_id=driver).latest("id")
    assert (change.change_reason, change.changed_by, change.run_id) == ("decided", "rosa", decision.run_id)
    assert operates(driver)
    assert complaints() == {}
    story.case.refresh_from_db()
    assert story.case.closed_because == "decided"

    take_back(decision, reviewer)
    assert facts_of_now() == before
    assert complaints() == {}
    assert open_case(driver).pk != story.case.pk


@pytest.mark.slow
def test_a_driver_goes_to_the_person_its_lead_already_has(reviewer: User) -> None:
    other = a_recruited_driver(ROSA)
    story = quarantined()
    before = facts_of_now()
    decision = decide(story.case, reviewer, "relink", at(other.lead))

    link = link_of(other.lead)
    assert link is not None
    assert link_of(Record("drivers", story.orphan.driver_id)).person_id == link.person_id  # type: ignore[union-attr]
    assert case_of(story.orphan.driver_id).person_id == link.person_id  # type: ignore[union-attr]
    assert operates(story.orphan.driver_id)
    assert Person.objects.filter(pk=story.orphan.person).exists()
    assert complaints() == {}

    take_back(decision, reviewer)
    assert facts_of_now() == before
    assert not operates(story.orphan.driver_id)


def test_a_driver_put_there_by_hand_is_taken_out_by_the_lead_its_person_has(reviewer: User) -> None:
    recruited = a_recruited_driver()
    refresh()
    match()
    person = link_of(recruited.lead).person_id  # type: ignore[union-attr]
    QuarantinedDriver.objects.create(
        driver_id=recruited.driver_id,
        person_id=person,
        detected_reason=OrphanReason.MANUAL,
        evidence_json={"by": "hand"},
    )
    refresh_cases()
    case = open_case(recruited.driver_id)
    assert [found.target for found in reviewing.candidates(case)][:1] == [at(recruited.lead)]
    assert not operates(recruited.driver_id)
    decide(case, reviewer, "relink", at(recruited.lead))
    assert operates(recruited.driver_id)
    assert verdict(recruited.driver_id) == (OrphanStatus.RESOLVED_RELINKED, OrphanReason.MANUAL)


@pytest.mark.slow
def test_the_other_account_of_the_person_is_released_along_and_goes_back_along(reviewer: User) -> None:
    lead = a_lead(PEDRO, phone=a_phone(912))
    story = quarantined()
    second = an_orphan(JUAN, person=story.orphan.person)
    fix_orphans()
    refresh_cases()
    before = facts_of_now()
    decision = decide(story.case, reviewer, "relink", at(lead))
    assert verdict(second.driver_id) == (OrphanStatus.RESOLVED_RELINKED, OrphanReason.NO_LEAD_NO_EVENTS)
    assert not ReviewCase.objects.filter(subject_key=second.driver_id, status=CaseStatus.OPEN).exists()
    take_back(decision, reviewer)
    assert facts_of_now() == before


def test_a_lead_that_is_gone_is_refused_in_words(reviewer: User) -> None:
    story = quarantined()
    with pytest.raises(kinds.Unacceptable):
        decide(story.case, reviewer, "relink", {"source_table": "module_ct_cabinet_leads", "source_pk": "gone"})
    assert verdict(story.orphan.driver_id) == (OrphanStatus.QUARANTINED, OrphanReason.NO_LEAD_NO_EVENTS)


# --- the missing lead -----------------------------------------------------------------------------------------


def test_the_missing_lead_is_a_cabinet_lead_like_any_other(reviewer: User) -> None:
    story = quarantined()
    ScoutListEntry.objects.create(scout_id=7, name="Scout")
    before = facts_of_now()
    decision = decide(story.case, reviewer, "create_lead", MISSING | {"scout_id": 7})

    lead = ManualLead.objects.get()
    record = Record("module_ct_cabinet_leads", f"manual:{story.case.pk}")
    assert (lead.source_pk, lead.lead_date, lead.scout_id) == (record.source_pk, dt.date(2026, 1, 8), 7)
    assert link_of(record).person_id == story.orphan.person  # type: ignore[union-attr]
    event = LeadEvent.objects.get(source_pk=record.source_pk)
    assert (event.person_id, event.event_date, event.scout_id) == (story.orphan.person, lead.lead_date, 7)
    assert event.payload_json["created_by"] == "hand"
    assert verdict(story.orphan.driver_id) == (OrphanStatus.RESOLVED_CREATED_LEAD, OrphanReason.NO_LEAD_NO_EVENTS)
    assert operates(story.orphan.driver_id)
    assert AuditEntry.objects.filter(run_id=decision.run_id, subject_table="manual_leads").count() == 1
    assert complaints() == {}

    take_back(decision, reviewer)
    assert facts_of_now() == before
    assert not ManualLead.objects.exists()
    assert complaints() == {}


@pytest.mark.slow
def test_a_lead_created_again_after_it_was_taken_back_is_another_one(reviewer: User) -> None:
    story = quarantined()
    take_back(decide(story.case, reviewer, "create_lead", MISSING), reviewer)
    again = open_case(story.orphan.driver_id)
    decide(again, reviewer, "create_lead", MISSING)
    assert ManualLead.objects.get().pk == again.pk
    assert complaints() == {}


def test_the_lead_created_by_hand_is_found_by_its_parts(reviewer: User) -> None:
    story = quarantined()
    decide(story.case, reviewer, "create_lead", MISSING | {"plate": "abc-123"})
    with connection.cursor() as cursor:
        cursor.execute(
            "select leads.phone_norm, leads.plate_norm, details.lead_name from canon.stg_cabinet_leads as leads"
            " inner join ops.stg_cabinet_lead_details as details on details.row_id = leads.row_id"
        )
        assert cursor.fetchall() == [(PHONE, "ABC123", JUAN)]


# --- purging --------------------------------------------------------------------------------------------------


def test_a_purge_needs_a_second_person_and_deletes_nothing(reviewer: User, approver: User) -> None:
    story = quarantined()
    driver, person = story.orphan
    before = facts_of_now()
    shown = deciding.preview(
        case_id=story.case.pk, wish=wish("purge"), actor=reviewer, expected_version=story.case.version
    )
    alone = deciding.decide(
        case_id=story.case.pk,
        wish=wish("purge"),
        actor=reviewer,
        expected_version=story.case.version,
        shown=shown.digest,
    )
    assert isinstance(alone, Outcome) and facts_of_now() == before

    decision = purge(story.case, reviewer, approver)
    assert verdict(driver) == (OrphanStatus.PURGED, OrphanReason.NO_LEAD_NO_EVENTS)
    assert link_of(Record("drivers", driver)) is None
    assert Person.objects.filter(pk=person).exists()
    assert complaints() == {}

    take_back(decision, reviewer)
    assert facts_of_now() == before
    assert complaints() == {}


@pytest.mark.slow
def test_a_purged_driver_that_gets_a_lead_is_asked_about_and_stays_purged_until_then(
    reviewer: User, approver: User
) -> None:
    story = quarantined(phone=f"51{PHONE}")
    driver = story.orphan.driver_id
    purge(story.case, reviewer, approver)
    lead = a_registration(JUAN, phone=PHONE)
    all_jobs()
    assert link_of(Record("drivers", driver)) is not None
    assert verdict(driver) == (OrphanStatus.PURGED, OrphanReason.NO_LEAD_NO_EVENTS)
    assert not operates(driver)
    case = open_case(driver)
    assert (case.raised_by, [choice.code for choice in reviewing.choices(case)]) == (
        reviewing.PURGED_WITH_LEAD, ["relink", "purge"],
    )  # fmt: skip
    decide(case, reviewer, "relink", at(lead))
    assert operates(driver)
    assert complaints() == {}


@pytest.mark.slow
def test_a_purged_driver_that_gets_a_lead_can_be_purged_again(reviewer: User, approver: User) -> None:
    story = quarantined(phone=f"51{PHONE}")
    purge(story.case, reviewer, approver)
    a_registration(JUAN, phone=PHONE)
    all_jobs()
    purge(open_case(story.orphan.driver_id), reviewer, approver)
    assert link_of(Record("drivers", story.orphan.driver_id)) is None
    assert complaints() == {}


# --- sending back ----------------------------------------------------------------------------------------------


def test_what_was_put_there_by_hand_is_left_to_the_jobs_again(reviewer: User) -> None:
    licence = "Q29000010"
    driver, person = an_orphan(JUAN, licence=licence)
    QuarantinedDriver.objects.create(
        driver_id=driver, person_id=person, detected_reason=OrphanReason.MANUAL, evidence_json={"by": "hand"}
    )
    a_registration(JUAN, licence=licence)
    assert fix_orphans(reprocess_quarantined=True)["processed"] == 0
    refresh_cases()
    case = open_case(driver)
    due = case.due_on
    decide(case, reviewer, "send_back")
    assert verdict(driver) == (OrphanStatus.QUARANTINED, OrphanReason.NO_LEAD_NO_EVENTS)
    case.refresh_from_db()
    assert (case.status, case.due_on > due) == (CaseStatus.OPEN, True)
    assert complaints() == {}
    assert fix_orphans(reprocess_quarantined=True)["resolved_relinked"] == 1


def test_sending_back_what_the_jobs_have_anyway_is_on_record_and_changes_nothing_else(reviewer: User) -> None:
    story = quarantined()
    before = facts_of_now()
    decision = decide(story.case, reviewer, "send_back")
    assert facts_of_now() == before
    assert QuarantineChange.objects.filter(driver_id=story.orphan.driver_id).latest("id").run_id == decision.run_id
    assert complaints() == {}


def test_what_was_put_there_by_hand_is_released_by_the_lead_it_has_when_it_is_sent_back(reviewer: User) -> None:
    recruited = a_recruited_driver()
    refresh()
    match()
    QuarantinedDriver.objects.create(
        driver_id=recruited.driver_id, detected_reason=OrphanReason.MANUAL, evidence_json={"by": "hand"}
    )
    refresh_cases()
    case = open_case(recruited.driver_id)
    decide(case, reviewer, "send_back")
    assert operates(recruited.driver_id)
    case.refresh_from_db()
    assert case.status == CaseStatus.CLOSED
    assert complaints() == {}


def due(case: ReviewCase) -> dt.date:
    case.refresh_from_db()
    return case.due_on


@pytest.mark.slow
def test_a_driver_that_was_sent_back_is_due_when_it_was_once_that_is_taken_back(reviewer: User) -> None:
    case = quarantined().case
    first_day = due(case)
    first = decide(case, reviewer, "send_back")
    put_off = due(case)
    assert put_off > first_day
    assert (first.due_before, first.due_after) == (first_day, put_off)
    take_back(first, reviewer)
    assert due(case) == first_day
    undone = Decision.objects.get(reverses=first)
    take_back(undone, reviewer)
    assert due(case) == put_off
    take_back(Decision.objects.get(reverses=undone), reviewer)
    assert due(case) == first_day


@pytest.mark.parametrize("by_hand", [True, False], ids=["with changed rows", "without changed rows"])
@pytest.mark.parametrize("order", ["newest first", "oldest first", "together"])
@pytest.mark.slow
def test_sent_back_twice_the_due_day_follows_what_still_stands(by_hand: bool, order: str, reviewer: User) -> None:
    case = quarantined().case
    if by_hand:
        QuarantinedDriver.objects.update(detected_reason=OrphanReason.MANUAL)
        refresh_cases()
    first_day = due(case)
    first = decide(case, reviewer, "send_back")
    second = decide(case, reviewer, "send_back")
    assert first_day < first.due_after < second.due_after == due(case)  # type: ignore[operator]
    if order == "newest first":
        take_back(second, reviewer)
        assert due(case) == first.due_after
        take_back(first, reviewer)
    elif order == "oldest first":
        take_back(first, reviewer)
        assert due(case) == second.due_after
        take_back(second, reviewer)
    else:
        asked: dict[str, Any] = {"decision_id": first.pk, "wish": wish(reversing.REVERSE), "actor": reviewer}
        shown = reversing.preview(**asked, together=True)
        reversing.reverse(**asked, shown=shown.digest, together=True)
        for left in Decision.objects.filter(pk=second.pk, reversed_by=None):
            take_back(left, reviewer)  # nothing made it stand on the first
    assert due(case) == first_day
    assert case.status == CaseStatus.OPEN


# --- people and jobs ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)  # so many jobs in one transaction hold too many locks
def test_no_job_touches_what_was_decided(reviewer: User, approver: User) -> None:
    phones = [a_phone(930 + number) for number in range(4)]
    free, others = a_lead("ZUTA VILCA IRMA", phone=a_phone(934)), a_recruited_driver("CACHAY RIOS BLANCA")
    stories = [
        quarantined(name, phone=f"51{phone}")
        for name, phone in zip((JUAN, PEDRO, ROSA, "CONDORI APAZA LUZ"), phones, strict=True)
    ]
    relinked, moved, created, purged = (story.case for story in stories)
    decide(relinked, reviewer, "relink", at(free))
    decide(moved, reviewer, "relink", at(others.lead))
    decide(created, reviewer, "create_lead", MISSING | {"full_name": ROSA, "phone": phones[2]})
    purge(purged, reviewer, approver)
    decided = state_facts()
    assert [verdict(story.orphan.driver_id)[0] for story in stories] == [  # type: ignore[index]
        "resolved_relinked", "resolved_relinked", "resolved_created_lead", "purged",
    ]  # fmt: skip
    for _turn in range(10):
        all_jobs()
    assert state_facts() == decided
    assert complaints() == {}


def test_jobs_leave_a_driver_alone_while_somebody_decides_it(reviewer: User) -> None:
    phone = a_phone(914)
    story = quarantined(phone=f"51{phone}")
    a_registration(JUAN, phone=phone)
    assert cases.lease(story.case.pk, reviewer)
    tally = fix_orphans(reprocess_quarantined=True)
    assert (tally["skipped_in_review"], tally["resolved_relinked"], tally["errors"]) == (1, 0, 0)
    assert verdict(story.orphan.driver_id) == (OrphanStatus.QUARANTINED, OrphanReason.NO_LEAD_NO_EVENTS)
    assert complaints() == {}

    cases.release(story.case.pk, reviewer)
    assert fix_orphans(reprocess_quarantined=True)["skipped_in_review"] == 0
    assert verdict(story.orphan.driver_id) == (OrphanStatus.RESOLVED_RELINKED, OrphanReason.NO_LEAD_NO_EVENTS)
    assert complaints() == {}


# --- forms and pages ------------------------------------------------------------------------------------------


def relink_form(case: ReviewCase, text: str) -> reviewing.RelinkForm:
    return reviewing.RelinkForm({"lead": text}, case=case)


@pytest.fixture
def sees_plainly(reviewer: User) -> Iterator[None]:
    reviewer.user_permissions.add(Permission.objects.get(codename="view_pii"))
    with privacy.page_for(User.objects.get(pk=reviewer.pk)):
        yield


@pytest.mark.usefixtures("sees_plainly")
def test_a_lead_is_found_by_its_number_phone_plate_licence_or_name() -> None:
    by_phone = a_lead(PEDRO, phone=a_phone(915))
    by_plate = a_lead(ROSA, plate="XYZ789")
    by_licence = a_registration("CONDORI APAZA LUZ", licence="Q29000011")
    story = quarantined()
    for text, meant in {
        by_phone.source_pk: by_phone,
        f"+51 {a_phone(915)}": by_phone,
        "xyz-789": by_plate,
        "q29000011": by_licence,
        "luz condori": by_licence,
        f"module_ct_cabinet_leads:{by_plate.source_pk}": by_plate,
    }.items():
        form = relink_form(story.case, text)
        assert form.is_valid(), (text, form.errors)
        assert form.target() == at(meant), text


def test_a_phone_finds_no_lead_for_whoever_may_not_see_phones() -> None:
    a_lead(PEDRO, phone=a_phone(921))
    assert "lead" in relink_form(quarantined().case, a_phone(921)).errors


@pytest.mark.usefixtures("sees_plainly")
def test_a_text_that_fits_no_lead_or_several_is_answered_in_words() -> None:
    first, second = a_lead(PEDRO, phone=a_phone(916)), a_lead(ROSA, phone=a_phone(916))
    story = quarantined()
    assert "999" in relink_form(story.case, "999").errors["lead"][0]
    complaint = relink_form(story.case, a_phone(916)).errors["lead"][0]
    assert f"module_ct_cabinet_leads:{first.source_pk}" in complaint
    assert f"module_ct_cabinet_leads:{second.source_pk}" in complaint


def create_form(case: ReviewCase, **values: Any) -> reviewing.CreateLeadForm:
    return reviewing.CreateLeadForm(MISSING | values, case=case)


def test_the_form_of_a_missing_lead_says_what_cannot_be() -> None:
    case = quarantined().case
    tomorrow = timezone.now().astimezone(reviewing.LIMA).date() + dt.timedelta(days=1)
    for field, values in {
        "lead_date": {"lead_date": tomorrow.isoformat()},
        "full_name": {"full_name": "..."},
        "phone": {"phone": "000000000"},
        "plate": {"plate": "SIN DATOS"},
        "scout_id": {"scout_id": 404},
        "__all__": {"phone": ""},
    }.items():
        assert list(create_form(case, **values).errors) == [field], values
    form = create_form(case)
    assert form.is_valid()
    assert form.target() == MISSING


def test_the_form_of_a_missing_lead_begins_with_what_is_known_of_the_driver() -> None:
    story = quarantined(phone=f"51{PHONE}", plate="ABC123")
    form = reviewing.CreateLeadForm(case=story.case)
    assert (form["full_name"].value(), form["phone"].value(), form["plate"].value()) == (JUAN, None, "ABC123")
    with privacy.page_for(User(is_superuser=True, is_active=True)):
        assert reviewing.CreateLeadForm(case=story.case)["phone"].value() == PHONE


def test_every_candidate_says_in_one_sentence_why_it_fits_or_not() -> None:
    phone = "917204586"  # not a digit away from another one
    stranger = a_lead(ROSA, phone=phone)
    other = a_recruited_driver("QUISPE MAMANI JUAN ALBERTO")
    story = quarantined(phone=f"51{phone}")
    found = {candidate.target["source_pk"]: candidate for candidate in reviewing.candidates(story.case)}
    assert found[stranger.source_pk].sentence == "Mismo teléfono; pero difiere en: Nombre; aún no es de nadie."
    assert found[other.lead.source_pk].sentence == (
        "3 palabras del nombre; pero difiere en: Teléfono; enlazado a QUISPE MAMANI JUAN ALBERTO."
    )
    assert {candidate.choice for candidate in found.values()} == {"relink"}
    assert "<mark>" in str(found[stranger.source_pk].facts["Nombre"][1])


def test_the_page_of_a_quarantined_driver_leads_to_the_page_of_its_case(admin_client: Client, client: Client) -> None:
    phone = a_phone(922)
    lead = a_lead(PEDRO, phone=phone)
    story = quarantined(phone=f"51{phone}")
    page = f"/admin/orphans/quarantineddriver/{story.orphan.driver_id}/change/"
    address = reverse("admin:ct4site_reviewcase_decide", args=[story.case.pk])
    assert address in admin_client.get(page).content.decode()
    answer = admin_client.get(address)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert lead.source_pk in text
    assert "Crear el lead que falta" in text

    viewer = User.objects.create_user("mira", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_quarantineddriver"))
    client.force_login(viewer, backend="django.contrib.auth.backends.ModelBackend")
    assert address not in client.get(page).content.decode()


def test_an_unmatched_record_of_the_chosen_lead_is_resolved(reviewer: User) -> None:
    lead = a_lead(PEDRO, phone=a_phone(920))
    story = quarantined()
    assert Unmatched.objects.get(source_pk=lead.source_pk).status == "OPEN"
    decide(story.case, reviewer, "relink", at(lead))
    assert Unmatched.objects.get(source_pk=lead.source_pk).status == "RESOLVED"
    assert Link.objects.filter(person=story.orphan.person).count() == 2
