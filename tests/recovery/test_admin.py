"""The screens of recovery: what they list first, what they tell of a lead, what they add up, refuse and cost."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.html import escape

from attribution.admin.collection.story import WINDOW
from attribution.models import Claim
from ct4site.admin_base import LIMA
from ct4site.models import JobType, Run
from ct4site.run_pages import page_of, tally_rows
from identity.models import CabinetLead, DailyTrips, Link, Origin, Person, ReasonCode, Unmatched
from recovery.admin import labels
from recovery.models import (
    ClaimStatusBucket,
    GapAlert,
    GapCase,
    GapDay,
    GapReason,
    IdentityGap,
    ImpactBucket,
    MatchingAttempt,
    MatchingJob,
    RecoveredLead,
    RecoveryEvent,
    RecoveryImpact,
    RedFigureDay,
    RetryStatus,
    RiskLevel,
    SuggestedAction,
)
from tests.factories import JUAN, PEDRO, ROSA, a_driver, a_lead, a_name, match, refresh, run_job

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

OUR_SCREENS = [
    IdentityGap, GapCase, MatchingJob, RecoveredLead, RecoveryImpact, GapDay, RedFigureDay, GapAlert,
]  # fmt: skip
LEAD_SCREENS = OUR_SCREENS[:5] + OUR_SCREENS[7:]
DAY_SCREENS = [GapDay, RedFigureDay]
every_screen = pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)
PLATE = "ABC123"


@pytest.fixture
def viewer(client: Client) -> Client:
    """A signed-in user who may look at everything of ours and do nothing, in English."""
    user = User.objects.create_user("mirador", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label__in=["recovery", "identity", "attribution", "ct4site"], codename__startswith="view_"
        )
    )
    return signed_in(client, user)


def signed_in(client: Client, user: User) -> Client:
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    client.cookies["django_language"] = "en"
    return client


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_for(model: type[Model], key: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(key)])


def rows_of(client: Client, model: type[Model], **query: Any) -> list[Any]:
    answer = client.get(list_of(model), query)
    assert answer.status_code == 200, answer.content
    return list(answer.context_data["cl"].result_list)


def found(client: Client, model: type[Model], **query: Any) -> list[Any]:
    return [row.pk for row in rows_of(client, model, **query)]


def sections(client: Client, model: type[Model], key: Any) -> dict[str, Any]:
    answer = client.get(page_for(model, key))
    assert answer.status_code == 200
    return {section.title: section for section in answer.context_data["sections"]}


def text_of(section: Any) -> str:
    return " | ".join(str(cell) for row in section.rows for cell in row)


def days_ago(days: int) -> dt.date:
    """A day of Lima, so many days back."""
    return timezone.now().astimezone(LIMA).date() - dt.timedelta(days=days)


def a_lost_lead(days: int = 0, name: str = JUAN, **columns: Any) -> str:
    """A cabinet lead of so many days ago that belongs to nobody; its id."""
    return a_lead(name, on=days_ago(days), **columns).source_pk


def a_known_lead(days: int = 0, name: str = JUAN, origin: str | None = None) -> tuple[str, Person]:
    """A cabinet lead with its person; ``origin`` is the lead its origin names, none without. Its id and the person."""
    lead = a_lost_lead(days, name)
    person = Person.objects.create(confidence_level="HIGH", primary_full_name=name)
    Link.objects.create(
        person=person, source_table="module_ct_cabinet_leads", source_pk=lead, snapshot_date=timezone.now(),
        match_rule="R1_PHONE_EXACT", match_score=95, confidence_level="HIGH",
    )  # fmt: skip
    if origin is not None:
        Origin.objects.create(
            person=person, origin_tag="cabinet_lead", origin_source_id=origin or lead, origin_confidence=95,
            origin_created_at=timezone.now(),
        )  # fmt: skip
    return lead, person


def a_recovery(lead: str, person: Person | None, days: int = 0, **columns: Any) -> RecoveredLead:
    """The record of a recovery of so many days ago, with its event."""
    moment = timezone.now() - dt.timedelta(days=days)
    values = {"recovery_method": "retry_matching", "recovered_person_key": person.pk if person else None} | columns
    recovered = RecoveredLead.objects.create(
        lead_id=lead, first_recovered_at=moment, last_recovered_at=moment, **values
    )
    RecoveryEvent.objects.create(
        lead_id=lead, event="recovered", recovery_method=recovered.recovery_method, person_key=recovered.recovered_person_key,
        recovered_at=moment, recorded_by="ana.quispe", after={"lead_id": lead, "recovery_method": recovered.recovery_method},
    )  # fmt: skip
    return recovered


def a_claim(lead: str, amount: int, **columns: Any) -> Claim:
    return Claim.objects.create(
        driver_id=f"driver-{uuid.uuid4().hex}", lead_source_pk=lead, lead_date=days_ago(20), amount_expected=amount,
        **{"milestone": 1} | columns,
    )  # fmt: skip


def a_day(days: int, **figures: int) -> GapDay:
    """The stored figures of so many days ago; what is not named is nought."""
    values = dict.fromkeys(
        ("total_leads", "no_identity", "no_origin", "inconsistent_origin", "medium_risk", "low_risk", "matched_24h", "matched_out"), 0
    ) | figures  # fmt: skip
    unresolved = values["no_identity"] + values["no_origin"] + values["inconsistent_origin"]
    values["high_risk"] = unresolved - values["medium_risk"] - values["low_risk"]
    return GapDay.objects.create(snapshot_date=days_ago(days), unresolved=unresolved, **values)


def many(first: int, last: int) -> None:
    """Lost leads with tries, candidates, recoveries and daily figures."""
    numbers = range(first, last)
    run = Run.objects.filter(job_type=JobType.GAP_RECOVERY).first() or Run.objects.create(
        job_type=JobType.GAP_RECOVERY, status="COMPLETED", completed_at=timezone.now()
    )
    ids = [f"lead-{number:04}" for number in numbers]
    CabinetLead.objects.bulk_create(
        CabinetLead(external_id=lead, lead_created_at=days_ago(8 + number % 50), first_name=JUAN)
        for number, lead in zip(numbers, ids, strict=True)
    )
    persons = Person.objects.bulk_create(Person(confidence_level="HIGH", primary_full_name=ROSA) for _lead in ids)
    Unmatched.objects.bulk_create(
        Unmatched(
            source_table="module_ct_cabinet_leads", source_pk=lead, snapshot_date=timezone.now(),
            reason_code="MULTIPLE_CANDIDATES", run=run, details={"name": JUAN},
            candidates_preview={"candidates": [{"driver_id": "x", "rule": "R1_PHONE_EXACT", "lacked": "unique_key"}]},
        )
        for lead in ids
    )  # fmt: skip
    MatchingJob.objects.bulk_create(
        MatchingJob(
            source_id=lead, status="pending", attempt_count=1, last_attempt_at=timezone.now(), fail_reason="MULTIPLE_CANDIDATES"
        )
        for lead in ids
    )  # fmt: skip
    MatchingAttempt.objects.bulk_create(
        MatchingAttempt(lead_id=lead, attempt=1, cause="first", outcome="pending", run=run) for lead in ids
    )
    RecoveredLead.objects.bulk_create(
        RecoveredLead(
            lead_id=lead, first_recovered_at=timezone.now(), recovered_person_key=person.pk, recovery_method="retry_matching"
        )
        for lead, person in zip(ids, persons, strict=True)
    )  # fmt: skip
    for number in numbers:
        a_day(number, total_leads=300, no_identity=number)


# --- everything opens, whatever is asked --------------------------------------------------------------------


def test_every_screen_has_a_purpose_and_passes_the_checks_of_the_admin():
    for model in OUR_SCREENS:
        screen = admin.site.get_model_admin(model)
        assert screen.purpose, model
        assert screen.check() == []


def key_of(model: type[Model]) -> Any:
    return model._default_manager.values_list("pk", flat=True).first()


@every_screen
def test_nothing_can_be_added_changed_or_deleted_on_any_screen(admin_client, model):
    many(0, 1)
    page = page_for(model, key_of(model))
    assert admin_client.post(list_of(model) + "add/", {}).status_code == 403
    assert admin_client.post(page, {}).status_code == 403
    assert admin_client.post(page.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403


BAD = [
    "q=%00", "%00=1", "o=%00", "gap_reason=%00", "risk_level=%00", "alert_type=%00", "severity=%00", "week=%00", "fail_reason=%00",
    "status=%00", "status__exact=%00", "impact_bucket=%00", "claim_status_bucket=%00", "in_time=%00", "recovery_method__exact=%00",
    "unknown=1", "pk__in=x", "pk__in=", "lead_id__regex=(", "person__primary_phone__startswith=9", "lead_date__gt=x", "week=x",
    "week=9999-12-31", "week=0001-01-01", "o=99.-5.x", "o=1.7", "o=-99999999999999999999", "p=-1", "after=x", "before=%ff", "all=",
    "q=" + "9" * 500, "q=%27%3B--", "q=%25%28%5C", "q=99999999999999999999999", "q=%F0%9F%98%80", "q=%ff%fe", "q=%ED%A0%80",
    "q=+++", "gap_reason=NOPE", "risk_level=NOPE", "alert_type=NOPE", "severity=NOPE", "fail_reason=NOPE", "impact_bucket=NOPE",
    "claim_status_bucket=NOPE", "in_time=NOPE", "status__exact=NOPE", "status=NOPE", "recovery_method__exact=NOPE", "_popup=1", "e=1",
]  # fmt: skip


@every_screen
def test_no_question_put_to_a_list_is_a_fault_of_the_server(viewer, model):
    many(0, 3)
    viewer.raise_request_exception = False
    answers = {query: viewer.get(f"{list_of(model)}?{query}").status_code for query in BAD}
    assert {query: code for query, code in answers.items() if code not in (200, 302, 400)} == {}


ODD_KEYS = ["x", "_00", "%00", "-1", "9" * 30, "%27", "..%2f..", "1.5", "9999-99-99"]


@every_screen
def test_a_page_of_nothing_leads_home_or_is_refused(viewer, model):
    answers = {key: viewer.get(f"{list_of(model)}{key}/change/").status_code for key in ODD_KEYS}
    assert {key: code for key, code in answers.items() if code not in (302, 400, 404)} == {}


@every_screen
def test_a_screen_is_shown_to_those_only_who_may_see_it(client, model):
    many(0, 1)
    user = User.objects.create_user("solo", is_staff=True)
    signed_in(client, user)
    addresses = (list_of(model), page_for(model, key_of(model)))
    assert [client.get(address).status_code for address in addresses] == [403, 403]
    user.user_permissions.set(Permission.objects.filter(codename=f"view_{model._meta.model_name}"))
    assert [client.get(address).status_code for address in addresses] == [200, 200]


@every_screen
def test_a_list_of_nothing_says_so(viewer, model):
    body = viewer.get(list_of(model)).content.decode()
    assert re.search("There is nothing here yet|Nothing matches this search", body)


@pytest.mark.parametrize("model", LEAD_SCREENS, ids=lambda model: model._meta.model_name)
def test_a_lead_whose_id_is_odd_has_a_page(viewer, model):
    lead = a_lost_lead(9, external_id="a/b_c%&?# ñ")
    MatchingJob.objects.create(source_id=lead, status="failed", attempt_count=5, fail_reason="NO_CANDIDATES")
    a_recovery(lead, None)
    (row,) = rows_of(viewer, model)
    assert viewer.get(page_for(model, row.pk)).status_code == 200


# --- what it costs --------------------------------------------------------------------------------------------


def costly_addresses() -> list[str]:
    gaps = list_of(IdentityGap)
    return [
        *(list_of(model) for model in OUR_SCREENS),
        f"{gaps}?gap_reason=all&risk_level=high&alert_type=over_7d_unresolved",
        f"{gaps}?q=lead-0001",
        f"{list_of(RecoveryImpact)}?impact_bucket=still_unidentified&in_time=yes",
        f"{list_of(GapCase)}?fail_reason=MULTIPLE_CANDIDATES&status=pending",
    ]


def test_a_list_asks_as_many_questions_for_ten_rows_as_for_two_hundred(viewer, monkeypatch):
    for model in OUR_SCREENS:
        monkeypatch.setattr(type(admin.site.get_model_admin(model)), "list_per_page", 100)

    def asked() -> dict[str, int]:
        counts = {}
        for address in costly_addresses():
            viewer.get(address)
            with CaptureQueriesContext(connection) as queries:
                assert viewer.get(address).status_code == 200
            counts[address] = len(queries)
        return counts

    many(0, 10)
    few = asked()
    many(10, 200)
    # A list that fits one page is counted by its own rows: one question less.
    assert {address: count for address, count in asked().items() if count > few[address] + 1} == {}
    assert max(few.values()) < 15


def test_the_start_page_and_the_page_of_a_lead_ask_the_same_number_of_questions_whatever_the_size(viewer):
    many(0, 10)
    addresses = ["/admin/", *(page_for(model, key_of(model)) for model in OUR_SCREENS)]

    def asked() -> list[int]:
        counts = []
        for address in addresses:
            viewer.get(address)
            with CaptureQueriesContext(connection) as queries:
                viewer.get(address)
            counts.append(len(queries))
        return counts

    few = asked()
    many(10, 200)
    MatchingAttempt.objects.bulk_create(
        MatchingAttempt(lead_id="lead-0000", attempt=number, cause="first", outcome="pending", run=Run.objects.latest("pk"))
        for number in range(2, 40)
    )  # fmt: skip
    assert asked() == few


@pytest.mark.parametrize("query", ["", "?risk_level=high", "?alert_type=over_7d_unresolved", "?after=lead-0001"])
def test_the_list_of_gaps_and_the_page_of_one_do_not_join_trips(viewer, query):
    many(0, 3)
    for address in (list_of(IdentityGap) + query, page_for(IdentityGap, "lead-0001"), page_for(GapAlert, "lead-0001")):
        with CaptureQueriesContext(connection) as queries:
            viewer.get(address)
        asked = [query["sql"] for query in queries if "v_identity_gap_a" in query["sql"]]
        assert asked
        with connection.cursor() as cursor:
            for statement in asked:
                cursor.execute(f"explain {statement}")
                assert "summary_daily" not in "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.parametrize("model", [IdentityGap, GapAlert, RecoveryImpact, MatchingJob, RecoveredLead, GapDay])
def test_a_list_is_paged_through_without_losing_or_repeating_a_row(viewer, monkeypatch, model):
    monkeypatch.setattr(type(admin.site.get_model_admin(model)), "list_per_page", 4)
    many(0, 11)
    if model is RecoveryImpact:
        a_lead(on=None)
        a_lead(on=None)
    seen: list[Any] = []
    address = list_of(model)
    while address:
        listing = viewer.get(address).context_data["cl"]
        seen += [row.pk for row in listing.result_list]
        address = list_of(model) + listing.next_url if listing.next_url else ""
    assert len(set(seen)) == len(seen) == model._default_manager.count()


# --- gaps -----------------------------------------------------------------------------------------------------


@pytest.fixture
def one_of_each() -> dict[str, str]:
    """A lead of every gap, 3 to 6 days old."""
    return {
        GapReason.NO_IDENTITY: a_lost_lead(6),
        GapReason.NO_ORIGIN: a_known_lead(5)[0],
        GapReason.INCONSISTENT_ORIGIN: a_known_lead(4, origin="somebody-else")[0],
        GapReason.RESOLVED: a_known_lead(3, origin="")[0],
    }


def test_the_list_of_gaps_shows_the_unresolved_ones_oldest_first_until_asked_otherwise(viewer, one_of_each):
    unresolved = [lead for reason, lead in one_of_each.items() if reason != GapReason.RESOLVED]
    assert found(viewer, IdentityGap) == unresolved
    assert found(viewer, IdentityGap, gap_reason="unresolved") == unresolved
    for reason, lead in one_of_each.items():
        assert found(viewer, IdentityGap, gap_reason=reason) == [lead]
    assert found(viewer, IdentityGap, gap_reason="all") == list(one_of_each.values())
    assert 'aria-current="true">Unresolved</a>' in viewer.get(list_of(IdentityGap)).content.decode()


def test_gaps_are_filtered_by_risk_alert_and_week(viewer, one_of_each):
    old = a_lost_lead(30)
    assert found(viewer, IdentityGap, risk_level="high") == [old, one_of_each[GapReason.INCONSISTENT_ORIGIN]]
    assert found(viewer, IdentityGap, risk_level="medium") == [
        one_of_each[GapReason.NO_IDENTITY], one_of_each[GapReason.NO_ORIGIN]
    ]  # fmt: skip
    assert found(viewer, IdentityGap, risk_level="low", gap_reason="all") == [one_of_each[GapReason.RESOLVED]]
    assert found(viewer, IdentityGap, alert_type="over_7d_unresolved") == [old]
    assert found(viewer, IdentityGap, alert_type="over_24h_no_identity") == [one_of_each[GapReason.NO_IDENTITY]]
    assert found(viewer, IdentityGap, alert_type="inconsistent_origin") == [one_of_each[GapReason.INCONSISTENT_ORIGIN]]
    assert found(viewer, IdentityGap, week=days_ago(30).isoformat()) == [old]


@pytest.mark.parametrize("model", [IdentityGap, RecoveryImpact])
def test_a_lead_is_found_by_its_id_and_by_anything_of_its_person(viewer, model):
    lead, person = a_known_lead(5, ROSA)
    Person.objects.filter(pk=person.pk).update(primary_phone="945111222")
    a_lost_lead(5, JUAN)
    for text in (lead, "945 111 222", str(person.pk)):
        assert found(viewer, model, q=text) == [lead], text
    assert found(viewer, model, q="nobody at all") == []


def test_a_lead_without_person_is_found_by_its_plate_and_by_its_name_in_any_order(viewer):
    lead = a_lost_lead(5, ROSA, plate=PLATE)
    a_lost_lead(5, JUAN, plate="XYZ987")
    match()
    for model in (IdentityGap, GapAlert, RecoveryImpact):
        for text in ("abc-123", "rosa huamán"):
            assert found(viewer, model, q=text) == [lead]


def missing(reason: str) -> str:
    """The sentence of a gap in the language of the viewer, as a page holds it."""
    with translation.override("en"):
        return escape(str(labels.MISSING[reason]))


def test_the_page_of_a_gap_says_in_a_sentence_what_is_missing(viewer, one_of_each):
    for reason, lead in one_of_each.items():
        body = viewer.get(page_for(IdentityGap, lead)).content.decode()
        assert missing(reason) in body


def test_what_a_retry_writes_is_what_the_page_of_the_lead_tells(viewer):
    """A lead of nobody is tried, its driver appears, it is tried again and comes back: every step is on its page."""
    lead = a_lost_lead(4, ROSA, plate=PLATE)
    match()
    run_job(JobType.GAP_RECOVERY)
    told = sections(viewer, IdentityGap, lead)
    assert "Never tried before" in text_of(told["Tries"])
    assert "No driver with that key" in text_of(told["Tries"])
    assert told["Recoveries"].rows == []

    driver = a_driver(ROSA, plate=PLATE, hired=days_ago(3))
    DailyTrips.objects.create(driver_id=driver, date_file=days_ago(4).strftime("%d-%m-%Y"), count_orders_completed=7)
    DailyTrips.objects.create(driver_id=driver, date_file=days_ago(5).strftime("%d-%m-%Y"), count_orders_completed=9)
    refresh()
    run_job(JobType.GAP_RECOVERY)
    told = sections(viewer, IdentityGap, lead)
    tries = told["Tries"].rows
    assert ["A driver with one of its keys changed" in str(row) for row in tries] == [True, False]
    assert "Matched" in str(tries[0])
    (event,) = told["Recoveries"].rows
    assert "Matching again" in str(event)
    assert "tests" in event
    assert ROSA in str(event)
    assert "Together 7 in the 14 days from the lead on." in told["Trips of its person"].note
    assert IdentityGap.objects.get(pk=lead).trips_14d == 7
    assert WINDOW == 14
    body = viewer.get(page_for(IdentityGap, lead)).content.decode()
    assert missing(GapReason.RESOLVED) in body
    person = Link.objects.get(source_pk=lead).person
    own = sections(viewer, Person, person.pk)["Recovered leads"]
    assert lead in text_of(own)
    assert "Matching again" in text_of(own)


def test_the_page_of_a_gap_shows_the_candidates_of_the_last_attempt_and_what_each_lacked(viewer):
    lead = a_lost_lead(4, "DIAZ MIGUEL", plate=PLATE)
    drivers = [a_driver(PEDRO, plate=PLATE, hired=days_ago(3)), a_driver(ROSA, plate=PLATE, hired=days_ago(3))]
    match()
    told = sections(viewer, IdentityGap, lead)["Candidates"]
    assert all(driver in text_of(told) for driver in drivers)
    assert "The names are not similar enough." in text_of(told)
    assert f"/admin/identity/unmatched/{Unmatched.objects.get(source_pk=lead).pk}/change/" in told.note


def test_a_lead_that_is_no_longer_lost_has_no_alert_and_one_that_waits_leads_to_it(viewer):
    lost, found_again = a_lost_lead(30), a_known_lead(30, origin="")[0]
    assert page_for(GapAlert, lost) in viewer.get(page_for(IdentityGap, lost)).content.decode()
    assert page_for(GapAlert, found_again) not in viewer.get(page_for(IdentityGap, found_again)).content.decode()


def test_hostile_texts_are_shown_as_text(viewer):
    bad = '<script>alert("x")</script>'
    lead = a_lost_lead(9, bad, external_id=bad)
    MatchingJob.objects.create(source_id=lead, status="failed", attempt_count=5, fail_reason=bad)
    a_recovery(lead, Person.objects.create(confidence_level="HIGH", primary_full_name=bad), recovered_by=bad)
    for model in LEAD_SCREENS:
        (row,) = rows_of(viewer, model)
        for address in (list_of(model), page_for(model, row.pk)):
            assert "<script>alert" not in viewer.get(address).content.decode(), address


# --- cases and retries ----------------------------------------------------------------------------------------


def test_a_lead_given_up_or_ambiguous_is_for_review_and_its_page_shows_what_speaks_for_and_against_each(viewer):
    ambiguous = a_lost_lead(4, "DIAZ MIGUEL", plate=PLATE)
    a_driver("DIAZ MIGUEL ANGEL", plate=PLATE, hired=days_ago(3))
    a_driver("DIAZ MIGUEL JOSE", plate=PLATE, hired=days_ago(3))
    plain = a_lost_lead(6, PEDRO)
    match()
    run_job(JobType.GAP_RECOVERY)
    MatchingJob.objects.filter(source_id=plain).update(status="failed", attempt_count=5)
    assert found(viewer, GapCase) == [plain, ambiguous]
    assert found(viewer, GapCase, status="failed") == [plain]
    reason = MatchingJob.objects.get(source_id=ambiguous).fail_reason
    assert found(viewer, GapCase, fail_reason=reason) == [ambiguous]
    assert found(viewer, GapCase, gap_reason="no_origin") == []
    (case,) = rows_of(viewer, GapCase, q=ambiguous)
    assert case.candidate_count == 2
    told = sections(viewer, GapCase, ambiguous)
    assert "DIAZ MIGUEL <mark>ANGEL</mark>" in text_of(told["Candidates"])
    assert len(told["Tries"].rows) == 1


def test_a_lead_whose_origin_a_person_decided_is_for_review_and_shows_who_decided(viewer):
    lead, person = a_known_lead(9)
    Origin.objects.create(
        person=person, origin_tag="migration", origin_source_id="7", origin_confidence=100, origin_created_at=timezone.now(),
        decided_by="manual", resolution_status="resolved_manual",
    )  # fmt: skip
    run_job(JobType.GAP_RECOVERY)
    assert found(viewer, GapCase, fail_reason="manual_origin_conflict") == [lead]
    body = viewer.get(page_for(GapCase, lead)).content.decode()
    assert "The origin was decided by a person" in body
    assert "Origin history" in sections(viewer, GapCase, lead)


def test_retries_are_listed_by_their_last_try_and_filtered_by_status_and_reason(viewer):
    now = timezone.now()
    for number, (status, reason) in enumerate([("pending", "NO_CANDIDATES"), ("failed", "lead_not_found")]):
        MatchingJob.objects.create(
            source_id=f"lead-{number}", status=status, fail_reason=reason, attempt_count=number + 1,
            last_attempt_at=now + dt.timedelta(minutes=number),
        )  # fmt: skip
    named = {job.source_id: job.pk for job in MatchingJob.objects.all()}
    assert found(viewer, MatchingJob) == [named["lead-1"], named["lead-0"]]
    assert found(viewer, MatchingJob, status__exact="pending") == [named["lead-0"]]
    assert found(viewer, MatchingJob, fail_reason="lead_not_found") == [named["lead-1"]]
    assert found(viewer, MatchingJob, q="lead-0") == [named["lead-0"]]


def test_every_stored_code_is_told_in_words():
    reasons = (*ReasonCode.values, "manual_origin_conflict", "lead_not_found", "rolled_back")
    assert [code for code in reasons if labels.fail_reason(code) == code] == []
    assert labels.fail_reason("error: something") == "error: something"
    for words, codes in (
        (labels.MISSING, GapReason),
        (labels.GAP_TONES, GapReason),
        (labels.RISK_TONES, RiskLevel),
        (labels.RETRY_TONES, RetryStatus),
        (labels.IMPACT_TONES, ImpactBucket),
        (labels.CLAIM_TONES, ClaimStatusBucket),
    ):
        assert set(words) == set(codes.values)


# --- recovered leads ------------------------------------------------------------------------------------------


def test_recovered_leads_are_listed_newest_first_with_their_person_and_filtered_by_how(viewer):
    older, person = a_known_lead(20, ROSA, origin="")
    newer, _other = a_known_lead(10, JUAN, origin="")
    a_recovery(older, person, days=5)
    a_recovery(newer, None, days=1, recovery_method="origin_backfill")
    assert found(viewer, RecoveredLead) == [newer, older]
    assert found(viewer, RecoveredLead, recovery_method__exact="origin_backfill") == [newer]
    assert found(viewer, RecoveredLead, q=str(person.pk)) == [older]
    assert ROSA in viewer.get(list_of(RecoveredLead)).content.decode()


def test_the_page_of_a_recovered_lead_shows_every_event_with_before_and_after(viewer):
    lead, person = a_known_lead(20, ROSA, origin="")
    a_recovery(lead, person)
    RecoveryEvent.objects.create(
        lead_id=lead, event="undone", recovery_method="retry_matching", person_key=uuid.uuid4(), recorded_by="luz",
        before={"recovered_by": "system"}, after=None,
    )  # fmt: skip
    undone, recovered = sections(viewer, RecoveredLead, lead)["Recoveries"].rows
    assert "Taken back" in str(undone)
    assert "luz" in undone
    assert "<th>recovered_by</th><td>system</td>" in str(undone)
    assert "<div>Recovered</div>" in str(recovered)
    assert "ana.quispe" in recovered
    assert "<th>recovery_method</th>" in str(recovered)


def test_the_page_of_a_person_shows_its_recovered_leads_to_those_only_who_may_see_them(client):
    lead, person = a_known_lead(20, ROSA, origin="")
    a_recovery(lead, person)
    a_recovery(a_known_lead(20, JUAN, origin="")[0], None)
    user = User.objects.create_user("solo", is_staff=True)
    signed_in(client, user)
    user.user_permissions.set(Permission.objects.filter(codename="view_person"))
    assert "Recovered leads" not in sections(client, Person, person.pk)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_person", "view_recoveredlead"]))
    assert len(sections(client, Person, person.pk)["Recovered leads"].rows) == 1


# --- impact ---------------------------------------------------------------------------------------------------


@pytest.fixture
def impacts() -> dict[str, str]:
    """A lead of every impact bucket; those that claim have 35 soles in two claims."""
    leads = {ImpactBucket.STILL_UNIDENTIFIED: a_lost_lead(40), ImpactBucket.MISSING_ORIGIN: a_known_lead(39)[0]}
    for number, bucket in enumerate([ImpactBucket.NO_CLAIM, ImpactBucket.CLAIM]):
        leads[bucket] = a_known_lead(38 - number, origin="")[0]
    for number, (bucket, days) in enumerate(
        [(ImpactBucket.IN_TIME_NO_CLAIM, 30), (ImpactBucket.IN_TIME_CLAIM, 30), (ImpactBucket.LATE, 5)]
    ):
        leads[bucket], person = a_known_lead(36 - number, origin="")
        a_recovery(leads[bucket], person, days=days)
    for bucket in (ImpactBucket.CLAIM, ImpactBucket.IN_TIME_CLAIM):
        a_claim(leads[bucket], 10)
        a_claim(leads[bucket], 25, milestone=5)
    return {str(bucket): lead for bucket, lead in leads.items()}


def tables(client: Client, **query: Any) -> list[dict[str, Any]]:
    """The two tables above the list, without their links: [{words: (leads, amount)}], the total under None."""
    shown = []
    for table in client.get(list_of(RecoveryImpact), query).context_data["tables"]:
        rows = {re.sub("<[^>]+>", "", str(words)): (leads, amount) for words, leads, amount in table["rows"]}
        shown.append(rows | {None: table["total"]})
    return shown


def test_impact_is_listed_newest_first_and_filtered_by_both_buckets_and_in_time(viewer, impacts):
    undated = a_lead(on=None).source_pk
    newest_first = sorted(
        impacts.values(), key=lambda lead: RecoveryImpact.objects.get(pk=lead).lead_date, reverse=True
    )
    assert found(viewer, RecoveryImpact) == [*newest_first, undated]
    for bucket, lead in impacts.items():
        if bucket != ImpactBucket.STILL_UNIDENTIFIED:
            assert found(viewer, RecoveryImpact, impact_bucket=bucket) == [lead]
    assert found(viewer, RecoveryImpact, in_time="no") == [impacts["recovered_late"]]
    assert set(found(viewer, RecoveryImpact, in_time="yes")) == {
        impacts["recovered_within_14d_but_no_claim"], impacts["recovered_within_14d_and_claim"]
    }  # fmt: skip
    assert found(viewer, RecoveryImpact, claim_status_bucket="identified_no_origin") == [
        impacts["identified_but_missing_origin"]
    ]


def test_the_sums_above_the_impact_are_those_of_the_leads_shown_zeros_included(viewer, impacts):
    for query in (
        {},
        {"in_time": "yes"},
        {"impact_bucket": "recovered_late"},
        {"q": impacts["identified_origin_claim"]},
        {"q": "x"},
    ):
        rows = rows_of(viewer, RecoveryImpact, **query)
        by_impact, by_claim = tables(viewer, **query)
        amount = sum((row.claimed_amount for row in rows), Decimal())
        for table, codes in ((by_impact, ImpactBucket), (by_claim, ClaimStatusBucket)):
            with translation.override("en"):
                assert set(table) == {*(str(code.label) for code in codes), None}
            assert table[None] == (str(len(rows)), f"S/ {amount:.2f}")
            assert sum(int(leads) for words, (leads, _amount) in table.items() if words) == len(rows)
        with translation.override("en"):
            for bucket in ImpactBucket:
                assert int(by_impact[str(bucket.label)][0]) == sum(row.impact_bucket == bucket for row in rows)
    assert tables(viewer)[0]["Never lost, claimed"] == ("1", "S/ 35.00")
    assert tables(viewer)[1]["Person, origin and claim"] == ("2", "S/ 70.00")


def test_a_bucket_of_the_sums_leads_to_its_leads_under_the_same_other_filters(viewer, impacts):
    table = viewer.get(list_of(RecoveryImpact), {"in_time": "yes"}).context_data["tables"][0]
    (address,) = (
        match[1] for words, *_figures in table["rows"] if (match := re.search('href="([^"]+)">Recovered in time, claimed', str(words)))
    )  # fmt: skip
    listing = viewer.get(list_of(RecoveryImpact) + address.replace("&amp;", "&")).context_data["cl"]
    assert [row.pk for row in listing.result_list] == [impacts["recovered_within_14d_and_claim"]]
    assert listing.params == {"in_time": "yes", "impact_bucket": "recovered_within_14d_and_claim"}


def test_the_page_of_an_impact_shows_the_claims_of_the_lead(viewer, impacts):
    told = sections(viewer, RecoveryImpact, impacts["identified_origin_claim"])
    assert [row[1] for row in told["Claims"].rows] == ["S/ 10.00", "S/ 25.00"]
    assert sections(viewer, RecoveryImpact, impacts["still_unidentified"])["Claims"].rows == []


# --- days -----------------------------------------------------------------------------------------------------


def test_each_day_of_the_gaps_says_how_it_differs_from_the_day_before(viewer):
    for days, lost in ((3, 10), (1, 4), (0, 9)):  # a day without run lies between
        a_day(days, total_leads=40, no_identity=lost)
    screen = admin.site.get_model_admin(GapDay)
    rows = rows_of(viewer, GapDay)
    assert [row.pk for row in rows] == [days_ago(0), days_ago(1), days_ago(3)]
    assert [screen.change(row) for row in rows] == ["+5", "−6", "–"]
    assert [screen.share(row) for row in rows] == ["22.50 %", "10.00 %", "25.00 %"]
    told = sections(viewer, GapDay, days_ago(1))["Against the day before"]
    assert ["Unresolved", "10", "4", "−6"] in told.rows
    assert ["Leads", "40", "40", "0"] in told.rows
    first = sections(viewer, GapDay, days_ago(3))["Against the day before"]
    assert ["Unresolved", "–", "10", "–"] in first.rows


def test_a_day_without_leads_has_no_share(viewer):
    a_day(0)
    assert admin.site.get_model_admin(GapDay).share(rows_of(viewer, GapDay)[0]) == "–"


def test_the_red_figure_is_listed_day_by_day(viewer):
    a_day(1, total_leads=40, no_identity=10)
    a_day(0, total_leads=45, no_identity=8, matched_out=5)
    today, before = rows_of(viewer, RedFigureDay)
    assert (today.backlog_start, today.new_backlog_in, today.matched_out, today.backlog_end) == (10, 3, 5, 8)
    screen = admin.site.get_model_admin(RedFigureDay)
    assert [screen.change(row) for row in (today, before)] == ["−2", "+10"]


# --- alerts ---------------------------------------------------------------------------------------------------


def test_alerts_are_ordered_by_how_severe_they_are_then_by_age_and_say_what_to_do(viewer):
    old_origin = a_known_lead(20)[0]
    young = a_lost_lead(1)
    middle = a_lost_lead(3)
    oldest = a_lost_lead(40)
    wrong = a_known_lead(0, origin="somebody-else")[0]
    a_lost_lead(0)
    assert found(viewer, GapAlert) == [oldest, old_origin, wrong, middle, young]
    assert found(viewer, GapAlert, severity="high") == [oldest, old_origin, wrong]
    assert found(viewer, GapAlert, severity="low") == [young]
    assert found(viewer, GapAlert, alert_type="over_24h_no_identity") == [middle, young]
    screen = admin.site.get_model_admin(GapAlert)
    to_do = {alert.pk: screen.to_do(alert) for alert in GapAlert.objects.all()}
    assert to_do[wrong] == SuggestedAction.REVIEW_ORIGIN.label
    assert to_do[oldest] == SuggestedAction.REVIEW_MANUALLY.label
    assert to_do[young] == SuggestedAction.RETRY_MATCHING.label


# --- the start page -------------------------------------------------------------------------------------------


def panel(client: Client) -> str:
    body = client.get("/admin/").content.decode()
    section = re.search(r"<section[^>]*>\s*<h2[^>]*>Lost leads</h2>.*?</section>", body, re.S)
    return re.sub(r"\s+", " ", section[0]) if section else ""


def ran(hours: int, **columns: Any) -> Run:
    """A run of the retry job that ended so many hours ago."""
    values = {"status": "COMPLETED", "completed_at": timezone.now() - dt.timedelta(hours=hours)} | columns
    return Run.objects.create(job_type=JobType.GAP_RECOVERY, **values)


def test_the_start_page_says_when_nothing_was_ever_run(viewer):
    shown = panel(viewer)
    assert "Not set up" in shown
    assert "Never run" in shown


def test_the_start_page_counts_what_is_lost_by_risk_and_leads_to_it(viewer):
    ran(1)
    a_day(0, total_leads=2000, no_identity=1500, medium_risk=20, low_risk=1)
    shown = panel(viewer)
    assert '75.00 % <span class="quiet small">1,500</span>' in shown
    assert f'href="{list_of(IdentityGap)}"' in shown
    for risk, number in ((RiskLevel.HIGH, "1,479"), (RiskLevel.MEDIUM, "20"), (RiskLevel.LOW, "1")):
        assert re.search(f'risk_level={risk.value}">{risk.value.capitalize()} risk</a>.*?{number}<', shown), risk
    assert "Up to date" in shown
    assert "No signal" in shown


def test_the_start_page_warns_when_the_job_stopped_or_matches_nothing(viewer):
    ran(100)
    ran(25)
    a_day(1, total_leads=10, no_identity=5)
    shown = panel(viewer)
    assert "Overdue" in shown
    assert "last matched again more than 24 hours ago" in shown
    assert "No lead was recovered for more than 48 hours" in shown


def test_the_start_page_takes_no_dry_run_and_no_failed_run_for_a_run(viewer):
    ran(1, dry_run=True)
    ran(1, status="FAILED")
    assert "Never run" in panel(viewer)


def test_the_start_page_shows_lost_leads_to_those_only_who_may_see_them(client):
    user = User.objects.create_user("solo", is_staff=True)
    signed_in(client, user)
    a_day(0, total_leads=10, no_identity=5)
    assert panel(client) == ""
    user.user_permissions.set(Permission.objects.filter(codename="view_gapday"))
    shown = panel(client)
    assert "50.00 %" in shown
    assert list_of(IdentityGap) not in shown


# --- the pages of runs ----------------------------------------------------------------------------------------


@pytest.fixture
def starter(client: Client) -> Client:
    user = User.objects.create_user("operador", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["run_jobs", "view_run"]))
    return signed_in(client, user)


START = "/admin/ct4site/run/start/"


def test_both_jobs_are_started_from_their_page_with_their_parameters(starter):
    given = {
        "limit": "50", "date_from": "2026-01-01", "date_to": "2026-01-31", "gap_reason": "no_identity", "risk_level": "high",
    }  # fmt: skip
    assert starter.post(START, {"job": JobType.GAP_RECOVERY.value, **given}).status_code == 302
    run = Run.objects.get(job_type=JobType.GAP_RECOVERY)
    assert run.parameters == given | {"limit": 50}
    assert run.is_queued
    assert starter.post(START, {"job": JobType.RECOVERY_IMPACT.value, "limit": "", "dry_run": "on"}).status_code == 302
    run = Run.objects.get(job_type=JobType.RECOVERY_IMPACT)
    assert (run.parameters, run.dry_run) == ({}, True)


@pytest.mark.parametrize(
    "given",
    [
        {"limit": "0"}, {"limit": "x"}, {"gap_reason": "resolved"}, {"gap_reason": "NOPE"}, {"risk_level": "NOPE"},
        {"date_from": "2026-02-01", "date_to": "2026-01-01"}, {"date_from": "yesterday"},
    ],
)  # fmt: skip
def test_a_run_is_not_started_with_parameters_that_make_no_sense(starter, given):
    assert starter.post(START, {"job": JobType.GAP_RECOVERY.value, **given}).status_code == 422
    assert not Run.objects.exists()


@pytest.mark.parametrize("code", [JobType.GAP_RECOVERY, JobType.RECOVERY_IMPACT])
def test_every_count_of_a_run_is_told_in_words(code):
    a_lost_lead(4, a_name(3))
    a_known_lead(5)
    match()
    tally = run_job(code)
    words = {name for name, _value in tally_rows(code, tally)}
    assert not [name for name in words if re.fullmatch(r"[a-z_]+( · [a-z_]+)*", name) and "_" in name]
    known = page_of(code).words
    assert {key for key in (*tally, *tally["gaps"]) if key not in known} == set()
