"""The screens of orphans: what they find, what they show for each piece of evidence, what they refuse, what they cost."""

from __future__ import annotations

import datetime as dt
import uuid
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

from ct4site.models import AuditEntry, Run
from ct4site.sealing import write_without_run
from identity.models import LeadEvent, Link, Person, ScoutingRegistration
from orphans.admin import labels, nearest
from orphans.admin.home import drivers_without_lead
from orphans.models import OrphanReason, OrphanStatus, QuarantineChange, QuarantinedDriver
from tests.factories import (
    JUAN,
    LEAD_DATE,
    PEDRO,
    ROSA,
    a_driver,
    a_lead,
    a_migration,
    a_registration,
    an_event,
    an_orphan,
    fix_orphans,
    link_of,
    match,
    refresh,
    unmatched_of,
)

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

DRIVERS = "/admin/orphans/quarantineddriver/"
HISTORY = "/admin/orphans/quarantinechange/"
OUR_SCREENS = [QuarantinedDriver, QuarantineChange]
PHONE, LICENCE, PLATE = "945111222", "Q45678901", "ABC123"


@pytest.fixture
def viewer(client: Client) -> Client:
    """A signed-in user who may look at everything of ours and do nothing, in English."""
    user = User.objects.create_user("mirador", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label__in=["orphans", "identity", "ct4site"], codename__startswith="view_"
        )
    )
    return signed_in(client, user)


def signed_in(client: Client, user: User) -> Client:
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    client.cookies["django_language"] = "en"
    return client


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(item: Model) -> str:
    return reverse(f"admin:{item._meta.app_label}_{item._meta.model_name}_change", args=[quote(item.pk)])


def found(client: Client, **query: Any) -> list[str]:
    answer = client.get(DRIVERS, query)
    assert answer.status_code == 200
    return sorted(driver.pk for driver in answer.context_data["cl"].result_list)


def sections(client: Client, driver_id: str) -> dict[str, Any]:
    answer = client.get(page_of(QuarantinedDriver(driver_id=driver_id)))
    assert answer.status_code == 200
    return {section.title: section for section in answer.context_data["sections"]}


def row_of(section: Any, text: str) -> str:
    """The one row of a section that holds a text, as text."""
    rows = [" | ".join(map(str, row)) for row in section.rows]
    fitting = [row for row in rows if text in row]
    assert len(fitting) == 1, (text, rows)
    return fitting[0]


def a_case(driver_id: str = "driver-1", **columns: Any) -> QuarantinedDriver:
    """A row of the quarantine as a job would have written it; resolved rows get their day."""
    values: dict[str, Any] = {
        "detected_reason": "no_lead_no_events", "creation_rule": "R1_PHONE_EXACT", "status": "quarantined", "evidence_json": {},
    } | columns  # fmt: skip
    if values["status"] != "quarantined":
        values.setdefault("resolved_at", timezone.now())
    return QuarantinedDriver.objects.create(driver_id=driver_id, **values)


def a_piece(outcome: str, **columns: Any) -> dict[str, Any]:
    return {
        "event_id": None, "source_table": "module_ct_scouting_daily", "source_pk": "77", "event_date": "2026-01-10",
        "level": 2, "match_strategy": "phone_exact", "outcome": outcome,
    } | columns  # fmt: skip


def many_cases(first: int, last: int) -> None:
    """Quarantined drivers with persons, links, history and audit."""
    numbers = range(first, last)
    run = Run.objects.filter(job_type="legacy_load").first() or Run.objects.create(
        job_type="legacy_load", status="COMPLETED", completed_at=timezone.now()
    )
    persons = Person.objects.bulk_create(
        Person(confidence_level="HIGH", primary_full_name="ANA ROJAS") for _number in numbers
    )
    Link.objects.bulk_create(
        Link(
            person=person, source_table="drivers", source_pk=f"driver-{number:04}", snapshot_date=timezone.now(),
            match_rule="R1_PHONE_EXACT", match_score=95, confidence_level="HIGH", run=run,
        )
        for number, person in zip(numbers, persons, strict=True)
    )  # fmt: skip
    QuarantinedDriver.objects.bulk_create(
        QuarantinedDriver(
            driver_id=f"driver-{number:04}", person=person, detected_reason="no_lead_no_events",
            creation_rule="R1_PHONE_EXACT", evidence_json={"evidence": [a_piece("ambiguous_key")]}, lead_events_count=1,
        )
        for number, person in zip(numbers, persons, strict=True)
    )  # fmt: skip
    QuarantineChange.objects.bulk_create(
        QuarantineChange(
            driver_id=f"driver-{number:04}", status_new="quarantined", change_reason="detected", changed_by="system",
            run=run,
        )
        for number in numbers
    )  # fmt: skip


# --- everything opens, whatever is asked --------------------------------------------------------------------


def test_every_screen_has_a_purpose_and_passes_the_checks_of_the_admin():
    for model in OUR_SCREENS:
        screen = admin.site.get_model_admin(model)
        assert screen.purpose, model
        assert screen.check() == []


@pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)
def test_nothing_can_be_added_changed_or_deleted_on_any_screen(admin_client, model):
    many_cases(0, 1)
    item = model._default_manager.get()
    assert admin_client.post(list_of(model) + "add/", {}).status_code == 403
    assert admin_client.post(page_of(item), {}).status_code == 403
    assert admin_client.post(page_of(item).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403


BAD = [
    "q=%00", "%00=1", "o=%00", "status=%00", "rule=%00", "age=%00", "has_events=%00", "run=%00", "detected_reason__exact=%00",
    "run=x", "run=-1", "run=99999999999999999999999", "unknown=1", "pk__in=x", "pk__in=", "driver_id__regex=(", "driver_id__exact=x",
    "evidence_json__primary_phone=9", "person__primary_phone__startswith=9", "detected_reason__in=%00", "detected_reason__gt=x",
    "status__exact=quarantined", "o=99.-5.x", "o=1.7", "o=-99999999999999999999", "p=-1", "after=x", "before=%ff", "all=",
    "q=" + "9" * 500, "q=%27%3B--", "q=%25%28%5C", "q=99999999999999999999999", "q=%F0%9F%98%80", "q=%ff%fe", "q=%ED%A0%80", "q=+++",
    "rule=NOPE", "status=NOPE", "age=NOPE", "has_events=NOPE", "detected_reason__exact=NOPE", "_popup=1", "_to_field=x", "e=1",
]  # fmt: skip


@pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)
def test_no_question_put_to_a_list_is_a_fault_of_the_server(viewer, model):
    many_cases(0, 3)
    viewer.raise_request_exception = False
    answers = {query: viewer.get(f"{list_of(model)}?{query}").status_code for query in BAD}
    assert {query: code for query, code in answers.items() if code not in (200, 302, 400)} == {}


ODD_KEYS = ["x", "_00", "%00", "-1", "9" * 30, "%27", "..%2f..", "1.5"]


@pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)
def test_a_page_of_nothing_leads_home_or_is_refused(viewer, model):
    answers = {key: viewer.get(f"{list_of(model)}{key}/change/").status_code for key in ODD_KEYS}
    assert {key: code for key, code in answers.items() if code not in (302, 400, 404)} == {}


@pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)
def test_a_screen_is_shown_to_those_only_who_may_see_it(client, model):
    many_cases(0, 1)
    user = User.objects.create_user("solo", is_staff=True)
    signed_in(client, user)
    item = model._default_manager.get()
    assert [client.get(address).status_code for address in (list_of(model), page_of(item))] == [403, 403]
    user.user_permissions.set(Permission.objects.filter(codename=f"view_{model._meta.model_name}"))
    assert [client.get(address).status_code for address in (list_of(model), page_of(item))] == [200, 200]


# --- what it costs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", [DRIVERS, HISTORY, f"{DRIVERS}?q=945111222", f"{DRIVERS}?status=all&has_events=yes&age=7"]
)
def test_a_list_asks_as_many_questions_for_ten_rows_as_for_two_hundred(viewer, address, monkeypatch):
    for model in OUR_SCREENS:
        monkeypatch.setattr(type(admin.site.get_model_admin(model)), "list_per_page", 100)
    many_cases(0, 10)
    viewer.get(address)
    with CaptureQueriesContext(connection) as few:
        viewer.get(address)
    many_cases(10, 200)
    with CaptureQueriesContext(connection) as many:
        viewer.get(address)
    # A list that fits one page is counted by its own rows: one question less.
    assert len(many) <= len(few) + 1


def test_the_page_of_a_driver_with_much_evidence_asks_no_more_than_that_of_one_with_little(viewer):
    many_cases(0, 1)
    few, many = (an_orphan(JUAN, phone=PHONE) for _number in range(2))
    a_case(few.driver_id, person_id=few.person, evidence_json={"evidence": [a_piece("used")]})
    others = Person.objects.bulk_create(Person(confidence_level="HIGH") for _number in range(50))
    records = [a_registration(JUAN, phone=PHONE) for _number in range(50)]
    pieces = [
        a_piece(
            "linked_to_other_person", source_pk=record.source_pk, event_id=an_event(record, phone_norm=PHONE),
            other_person_key=str(other.pk),
        )
        for record, other in zip(records, others, strict=True)
    ]  # fmt: skip
    a_case(many.driver_id, person_id=many.person, evidence_json={"evidence": pieces}, lead_events_count=70)
    pages = [page_of(QuarantinedDriver(driver_id=orphan.driver_id)) for orphan in (few, many)]
    viewer.get(pages[0])
    counts = []
    for page in pages:
        with CaptureQueriesContext(connection) as queries:
            answer = viewer.get(page)
        counts.append(len(queries))
    # One look-up each for the other persons and for the rows behind the records, however many there are.
    assert counts[1] <= counts[0] + 2
    assert "70 records pointed to the driver; listed are the strongest 50." in answer.content.decode()


def test_the_start_page_asks_the_same_number_of_questions_whatever_the_size(viewer):
    many_cases(0, 10)
    viewer.get("/admin/")
    with CaptureQueriesContext(connection) as few:
        viewer.get("/admin/")
    many_cases(10, 200)
    with CaptureQueriesContext(connection) as many:
        viewer.get("/admin/")
    assert len(many) == len(few)


@pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)
def test_a_list_is_not_sorted_by_a_column_without_an_index(viewer, model):
    many_cases(0, 2)
    for number in range(1, len(admin.site.get_model_admin(model).list_display) + 1):
        ordering = viewer.get(f"{list_of(model)}?o={number}").context_data["cl"].queryset.query.order_by
        terms = [getattr(getattr(term, "expression", term), "name", str(term)).lstrip("-") for term in ordering]
        assert terms[0] in ("driver_id", "detected_at", "pk", "id"), number


def test_a_list_is_paged_through_without_losing_or_repeating_a_driver(viewer, monkeypatch):
    monkeypatch.setattr(type(admin.site.get_model_admin(QuarantinedDriver)), "list_per_page", 4)
    many_cases(0, 11)
    seen: list[str] = []
    address = DRIVERS
    while address:
        listing = viewer.get(address).context_data["cl"]
        seen += [driver.pk for driver in listing.result_list]
        address = DRIVERS + listing.next_url if listing.next_url else ""
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == len(seen) == 11


# --- filters ------------------------------------------------------------------------------------------------------


def test_the_list_shows_those_in_quarantine_until_asked_otherwise_and_says_so(viewer):
    for status in OrphanStatus.values:
        a_case(status, status=status)
    assert found(viewer) == ["quarantined"]
    for status in OrphanStatus.values:
        assert found(viewer, status=status) == [status]
    assert found(viewer, status="all") == sorted(OrphanStatus.values)
    body = viewer.get(DRIVERS).content.decode()
    assert "Shown are those in quarantine" in body
    assert '<li class="selected">\n        <a href="?status=quarantined" aria-current="true">Quarantined</a>' in body


def test_the_list_is_filtered_by_reason(viewer):
    for reason in OrphanReason.values:
        a_case(reason, detected_reason=reason)
    for reason in OrphanReason.values:
        assert found(viewer, detected_reason__exact=reason) == [reason]


def test_the_runbooks_name_of_a_rule_filters_like_the_stored_one_and_the_stored_one_is_shown(viewer):
    a_case("right", creation_rule="R1_PHONE_EXACT")
    a_case("misspelt", creation_rule="RT_PHONE_EXACT")
    a_case("other", creation_rule="R2_LICENSE_EXACT")
    a_case("none", creation_rule=None)
    for rule in ("R1_PHONE_EXACT", "RT_PHONE_EXACT"):
        assert found(viewer, rule=rule) == ["misspelt", "right"]
    assert found(viewer, rule="R2_LICENSE_EXACT") == ["other"]
    body = viewer.get(DRIVERS, {"rule": "RT_PHONE_EXACT"}).content.decode()
    assert '<code class="quiet">RT_PHONE_EXACT</code>' in body
    assert 'aria-current="true">Same phone</a>' in body


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        ("today", ["today"]),
        ("7", ["6 days", "today", "yesterday"]),
        ("30", ["29 days", "6 days", "7 days", "today", "yesterday"]),
        ("older", ["30 days"]),
    ],
)
def test_the_list_is_filtered_by_age_in_days_of_lima(viewer, monkeypatch, age, expected):
    lima = dt.timezone(dt.timedelta(hours=-5))
    now = dt.datetime(2026, 3, 2, 1, 30, tzinfo=lima)  # already 2 March, 06:30, in UTC
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    first = now.replace(hour=0, minute=0)
    a_case("today", detected_at=first)
    a_case("yesterday", detected_at=first - dt.timedelta(minutes=1))
    a_case("6 days", detected_at=first - dt.timedelta(days=6))
    a_case("7 days", detected_at=first - dt.timedelta(days=6, minutes=1))
    a_case("29 days", detected_at=first - dt.timedelta(days=29))
    a_case("30 days", detected_at=first - dt.timedelta(days=29, minutes=1))
    assert found(viewer, age=age) == expected


def test_the_list_is_filtered_by_whether_some_record_pointed_to_the_driver(viewer):
    a_case("with", lead_events_count=2)
    a_case("without", lead_events_count=0)
    assert found(viewer, has_events="yes") == ["with"]
    assert found(viewer, has_events="no") == ["without"]


def test_the_history_is_filtered_by_run_and_the_page_of_the_run_leads_there(viewer):
    many_cases(0, 2)
    other = Run.objects.create(job_type="orphans_fix", status="COMPLETED", completed_at=timezone.now())
    change = QuarantineChange.objects.create(
        driver_id="x", status_old="quarantined", status_new="resolved_relinked", change_reason="relinked",
        changed_by="ana.quispe", run=other,
    )  # fmt: skip
    assert [item.pk for item in viewer.get(HISTORY, {"run": other.pk}).context_data["cl"].result_list] == [change.pk]
    assert f"{HISTORY}?run={other.pk}" in viewer.get(page_of(other)).content.decode()
    body = viewer.get(page_of(change)).content.decode()
    assert "Linked to a lead" in body
    assert "Quarantined → Relinked" in body


# --- finding ------------------------------------------------------------------------------------------------------


TYPED = ["+51 945 111 222", "945-111-222", "51945111222", "q-45678901", "juan QUISPE", "Mamaní Quispe"]


@pytest.mark.parametrize(
    ("typed", "in_index"),
    [(typed, in_index) for typed in TYPED for in_index in (True, False)] + [("abc-123", True)],  # a person has no plate
)
def test_a_driver_is_found_by_what_people_type(viewer, typed, in_index):
    if in_index:
        orphan = an_orphan(driver_id=a_driver("QUISPE MAMANI JUAN", phone=PHONE, licence=LICENCE, plate=PLATE))
        refresh()
    else:
        orphan = an_orphan("QUISPE MAMANI JUAN", phone=PHONE, licence=LICENCE)
    a_case(orphan.driver_id, person_id=orphan.person)
    other = an_orphan(PEDRO, phone="911222333", licence="Q11111112")
    a_case(other.driver_id, person_id=other.person)
    assert found(viewer, q=typed) == [orphan.driver_id]
    start = viewer.get("/admin/", {"q": typed}).content.decode()
    assert page_of(QuarantinedDriver(driver_id=orphan.driver_id)) in start
    assert page_of(QuarantinedDriver(driver_id=other.driver_id)) not in start


def test_a_driver_is_found_by_its_id_and_by_the_key_of_its_person(viewer):
    orphan = an_orphan()
    a_case(orphan.driver_id, person_id=orphan.person)
    a_case("another")
    assert found(viewer, q=orphan.driver_id) == [orphan.driver_id]
    assert found(viewer, q=str(orphan.person)) == [orphan.driver_id]
    assert found(viewer, q="another") == ["another"]


@pytest.mark.parametrize("typed", ["zzz", "999999998", "quispe zzz", str(uuid.UUID(int=5)), "%", "   ."])
def test_a_search_that_fits_nobody_finds_nobody(viewer, typed):
    orphan = an_orphan(phone=PHONE, licence=LICENCE)
    a_case(orphan.driver_id, person_id=orphan.person)
    assert found(viewer, q=typed) == []


def test_a_search_that_fits_very_many_says_that_it_stops(viewer, monkeypatch):
    for name in ("identity", "orphans"):
        monkeypatch.setattr(f"{name}.admin.finding.MOST", 1)
    for _number in range(2):
        orphan = an_orphan(phone=PHONE)
        a_case(orphan.driver_id, person_id=orphan.person)
    answer = viewer.get(DRIVERS, {"q": PHONE})
    assert len(answer.context_data["cl"].result_list) == 1
    assert "The first 1 are shown" in answer.content.decode()


def test_a_resolved_driver_is_found_on_the_start_page_and_in_the_list_of_all(viewer):
    orphan = an_orphan(phone=PHONE)
    a_case(orphan.driver_id, person_id=orphan.person, status="resolved_relinked")
    assert found(viewer, q=PHONE) == []
    assert found(viewer, q=PHONE, status="all") == [orphan.driver_id]
    assert (
        page_of(QuarantinedDriver(driver_id=orphan.driver_id)) in viewer.get("/admin/", {"q": PHONE}).content.decode()
    )


def test_the_start_page_shows_drivers_without_lead_to_those_only_who_may_see_them(client):
    orphan = an_orphan(phone=PHONE)
    a_case(orphan.driver_id, person_id=orphan.person)
    user = User.objects.create_user("solo", is_staff=True)
    signed_in(client, user)
    for query in ({}, {"q": PHONE}, {"q": orphan.driver_id}):
        assert DRIVERS not in client.get("/admin/", query).content.decode()
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_quarantineddriver", "view_pii"]))
    for query in ({}, {"q": PHONE}, {"q": orphan.driver_id}):
        assert DRIVERS in client.get("/admin/", query).content.decode()


# --- start page -----------------------------------------------------------------------------------------------


def test_the_start_page_counts_drivers_by_status_and_those_in_quarantine_by_reason(viewer, monkeypatch):
    for number in range(3):
        a_case(f"legacy-{number}", detected_reason="legacy_driver_without_origin")
    a_case("failed", detected_reason="no_lead_has_events_repair_failed")
    a_case("relinked", status="resolved_relinked")
    request = viewer.get("/admin/").wsgi_request
    counts = {str(name): str(count) for name, count in drivers_without_lead(request).rows}
    by_address = {name.split('href="')[1].split('"')[0]: count for name, count in counts.items()}
    assert by_address == {
        f"{DRIVERS}?status=quarantined": "4",
        f"{DRIVERS}?detected_reason__exact=legacy_driver_without_origin": '<span class="quiet small">3</span>',
        f"{DRIVERS}?detected_reason__exact=no_lead_has_events_repair_failed": '<span class="quiet small">1</span>',
        f"{DRIVERS}?status=resolved_relinked": "1",
        f"{DRIVERS}?status=resolved_created_lead": "0",
        f"{DRIVERS}?status=purged": "0",
    }
    assert len(found(viewer, detected_reason__exact="legacy_driver_without_origin")) == 3
    monkeypatch.setattr("ct4site.paginators.CappedPaginator.cap", 2)
    assert "more than 2" in viewer.get("/admin/").content.decode()


# --- the page of one driver -------------------------------------------------------------------------------------


def test_every_outcome_and_strategy_is_told_in_words(viewer):
    pieces = [a_piece(outcome, source_pk=f"pk-{outcome}") for outcome in labels.OUTCOMES]
    pieces += [
        a_piece("used", match_strategy=strategy, source_pk=f"pk-{strategy}", level=1) for strategy in labels.STRATEGIES
    ]
    driver = a_case(evidence_json={"evidence": pieces}, lead_events_count=len(pieces))
    evidence = sections(viewer, driver.pk)["Evidence"]
    assert len(evidence.rows) == len(pieces)
    with translation.override("en"):
        for code, outcome in labels.OUTCOMES.items():
            row = row_of(evidence, f"pk-{code}")
            assert f'<span class="pill pill-{outcome.tone}">{escape(outcome.name)}</span>' in row
            assert escape(str(outcome.why)) in row
        for code, words in labels.STRATEGIES.items():
            assert escape(str(words)) in row_of(evidence, f"pk-{code}")


def test_a_piece_of_evidence_leads_to_its_row_its_event_and_the_other_person(viewer):
    record = a_registration(JUAN, phone=PHONE)
    event = an_event(record)
    other = Person.objects.create(confidence_level="HIGH", primary_full_name="HUAMAN FLORES ROSA")
    gone = uuid.UUID(int=9)
    driver = a_case(
        evidence_json={
            "evidence": [
                a_piece(
                    "linked_to_other_person", source_pk=record.source_pk, event_id=event, other_person_key=str(other.pk)
                ),
                a_piece("linked_to_other_person", source_pk="gone", event_id=event + 1, other_person_key=str(gone)),
            ]
        }
    )
    evidence = sections(viewer, driver.pk)["Evidence"]
    row = row_of(evidence, page_of(other))
    assert "HUAMAN FLORES ROSA" in row
    assert page_of(LeadEvent(pk=event)) in row
    assert page_of(ScoutingRegistration(pk=int(record.source_pk))) in row
    # What is gone is named, and leads nowhere.
    lost = row_of(evidence, str(gone))
    assert "href" not in lost


def test_the_levels_are_counted_and_the_empty_ones_are_shown(viewer):
    pieces = [a_piece("used", level=1), a_piece("ambiguous_key", level=2), a_piece("name_contradicts", level=2)]
    driver = a_case(evidence_json={"evidence": pieces})
    rows = [list(map(str, row)) for row in sections(viewer, driver.pk)["What was found"].rows]
    assert [row[1:3] for row in rows] == [["1", "1"], ["2", "0"], ["0", "0"]]
    assert ["suffices" in row[3] for row in rows] == [True, False, False]
    assert "does not suffice" in rows[1][3]
    assert rows[2][3] == "–"


def test_the_page_says_how_the_driver_was_linked_and_that_the_link_is_history(viewer):
    orphan = an_orphan(
        driver_id=a_driver("QUISPE MAMANI JUAN", phone=PHONE, licence=LICENCE, plate=PLATE), phone="911000111",
        rule="RT_PHONE_EXACT", evidence={"phone_normalized": PHONE},
    )  # fmt: skip
    refresh()
    a_case(
        orphan.driver_id, person_id=orphan.person,
        evidence_json={
            "primary_phone": "911000222", "creation_rule": "R2_LICENSE_EXACT", "original_evidence": {"phone": "911000222"},
        },
    )  # fmt: skip
    link = Link.objects.get(source_pk=orphan.driver_id)
    shown = sections(viewer, orphan.driver_id)
    how = {str(row[0]): [str(cell) for cell in row[1:]] for row in shown["How the driver was linked"].rows}
    assert [page_of(link) in how["State"][0], page_of(link.person) in how["Person"][0]] == [True, True]
    assert ["RT_PHONE_EXACT" in how["Rule"][0], "Same phone" in how["Rule"][0]] == [True, True]
    assert ["R2_LICENSE_EXACT" in how["Rule"][1], "Same licence" in how["Rule"][1]] == [True, True]
    assert "Predecessor&#x27;s history" in how["Run"][0]
    assert page_of(link.run) in how["Run"][0]
    assert "21 Dec 2025 03:10" in how["When"][0]
    assert f"<dd>{PHONE}</dd>" in how["Evidence of the link"][0]
    assert "<dd>911000222</dd>" in how["Evidence of the link"][1]
    the_driver = shown["The driver"]
    assert "/admin/identity/driverindexentry/" in the_driver.columns[1]
    told = {str(row[0]): [str(cell) for cell in row[1:]] for row in the_driver.rows}
    assert told["Phone"] == [PHONE, "911000111", "911000222"]
    assert told["Name"][:2] == ["QUISPE MAMANI JUAN", JUAN]
    assert (told["Licence"][0], told["Plate"][0], told["Vanished"][0]) == (LICENCE, PLATE, "–")
    assert "10 Jan 2026" in told["Hired"][0]
    assert page_of(link) in row_of(shown["All links of its person"], orphan.driver_id)


def test_a_driver_whose_link_was_taken_away_still_says_how_it_was_linked(viewer):
    driver = a_case(
        status="purged",
        evidence_json={
            "creation_rule": "R2_LICENSE_EXACT", "linked_at": "2025-12-21T08:10:00+00:00", "original_evidence": {"license": LICENCE},
        },
    )  # fmt: skip
    shown = sections(viewer, driver.pk)
    how = {str(row[0]): [str(cell) for cell in row[1:]] for row in shown["How the driver was linked"].rows}
    assert "Not linked any more" in how["State"][0]
    assert "R2_LICENSE_EXACT" in how["Rule"][1]
    assert "21 Dec 2025 03:10" in how["When"][1]
    assert LICENCE in how["Evidence of the link"][1]
    assert shown["The driver"].columns == ["", "Not in the drivers index"]


def test_the_page_shows_the_history_and_the_audit_of_this_driver_and_no_other(viewer):
    orphan = an_orphan()
    second = an_orphan(person=orphan.person)
    run = Run.objects.create(job_type="orphans_fix", status="COMPLETED", completed_at=timezone.now())
    for driver_id in (orphan.driver_id, second.driver_id):
        a_case(driver_id, person_id=orphan.person)
        QuarantineChange.objects.create(
            driver_id=driver_id, status_new="quarantined", detected_reason_new="no_lead_no_events",
            change_reason="detected", changed_by=f"by {driver_id}", run=run,
        )  # fmt: skip
        AuditEntry.objects.create(
            run=run, actor="system", action="quarantine_driver", subject_table="driver_orphan_quarantine",
            subject_key=driver_id, person_key=orphan.person, after={"status": "quarantined"},
        )  # fmt: skip
    write_without_run("system")
    AuditEntry.objects.create(
        actor="system", action="link", subject_table="identity_links", subject_key="1", person_key=orphan.person
    )
    shown = sections(viewer, orphan.driver_id)
    assert len(shown["History of the quarantine"].rows) == 1
    history = row_of(shown["History of the quarantine"], f"by {orphan.driver_id}")
    for text in ("Found without a lead", "– → Quarantined", "No lead, no lead events", page_of(run)):
        assert text in history, text
    audit = " ".join(str(row) for row in shown["Audit"].rows)
    assert "Driver quarantined" in audit
    assert "identity_links" in audit
    assert orphan.driver_id in audit
    assert second.driver_id not in audit


def test_what_the_job_writes_is_what_the_page_tells(viewer):
    """The whole story once, through the real job: one driver relinked, one whose record is somebody else's, one without."""
    relinked, taken, bare = an_orphan(JUAN, phone=PHONE), an_orphan(ROSA, phone="945111333"), an_orphan(PEDRO)
    own = a_registration(JUAN, phone=PHONE)
    theirs = a_registration(ROSA, phone="945111333")
    other = Person.objects.create(confidence_level="HIGH")
    Link.objects.create(
        person=other, source_table=theirs.source_table, source_pk=theirs.source_pk, snapshot_date=timezone.now(),
        match_rule="R1_PHONE_EXACT", match_score=95, confidence_level="HIGH",
    )  # fmt: skip
    fix_orphans()
    assert found(viewer) == sorted([taken.driver_id, bare.driver_id])
    assert found(viewer, status="resolved_relinked") == [relinked.driver_id]
    assert found(viewer, has_events="yes") == [taken.driver_id]
    shown = sections(viewer, relinked.driver_id)
    assert "pill-good" in row_of(shown["Evidence"], own.source_pk)
    assert page_of(link_of(own)) in str(shown["All links of its person"].rows)
    assert "Linked to this driver&#x27;s person" in row_of(
        shown["Nearest leads"], f"scoutingregistration/{own.source_pk}/"
    )
    assert "Driver relinked" in str(shown["Audit"].rows)
    assert "Linked to a lead" in str(shown["History of the quarantine"].rows)
    assert page_of(other) in row_of(sections(viewer, taken.driver_id)["Evidence"], "Somebody else")
    assert sections(viewer, bare.driver_id)["Evidence"].rows == []


STORED = [
    None, [], {}, "text", 7, {"evidence": None}, {"evidence": "text"}, {"evidence": {}}, {"evidence": [None, 7, "x", [], {}]},
    {"evidence": [{"event_id": "x", "source_table": ["a"], "source_pk": {"a": 1}, "event_date": 7, "level": "two", "outcome": [1]}]},
    {"evidence": [{"event_id": 2**70, "level": 9, "outcome": "new", "match_strategy": "new", "other_person_key": "no uuid"}]},
    {"evidence": [{"event_id": True, "level": True, "event_date": "2026-99-99", "other_person_key": 7}]},
    {"linked_at": "0001-01-01T00:00:00+00:00", "evidence": [{"event_date": "0001-01-01"}]},
    {"linked_at": "never", "original_evidence": "x", "creation_rule": 7, "primary_phone": {"a": [1]}},
]  # fmt: skip


@pytest.mark.parametrize("stored", STORED, ids=range(len(STORED)))
def test_the_page_survives_whatever_is_stored_as_evidence(viewer, stored):
    a_case(evidence_json=stored)
    assert viewer.get(f"{DRIVERS}driver-1/change/").status_code == 200
    assert viewer.get(DRIVERS).status_code == 200


def test_hostile_texts_are_shown_as_text(viewer):
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    driver_id = a_driver(f"{hostile} QUISPE MAMANI", phone=PHONE, park=hostile)
    orphan = an_orphan(hostile, driver_id=driver_id, rule=hostile, evidence={hostile: hostile})
    a_registration(f"{hostile} QUISPE MAMANI", phone=PHONE)
    refresh()
    match()
    piece = a_piece(
        hostile,
        **dict.fromkeys(("source_table", "source_pk", "event_date", "match_strategy", "other_person_key"), hostile),
    )
    a_case(
        driver_id, person_id=orphan.person, creation_rule=hostile, resolution_notes=hostile,
        evidence_json={"evidence": [piece], "primary_full_name": hostile, "linked_at": hostile, hostile: hostile},
    )  # fmt: skip
    QuarantineChange.objects.create(driver_id=driver_id, change_reason=hostile, changed_by=hostile, notes=hostile)
    page = page_of(QuarantinedDriver(driver_id=driver_id))
    for address in (DRIVERS, page, HISTORY, page_of(QuarantineChange.objects.get()), f"/admin/?q={PHONE}"):
        body = viewer.get(address).content.decode()
        assert "<script>alert" not in body, address
        assert "<img src=x" not in body, address


# --- nearest leads ------------------------------------------------------------------------------------------------


@pytest.fixture
def orphan() -> Any:
    """Juan, with an account that has all keys; in quarantine."""
    orphan = an_orphan(driver_id=a_driver("QUISPE MAMANI JUAN", phone=PHONE, licence=LICENCE, plate=PLATE))
    refresh()
    a_case(orphan.driver_id, person_id=orphan.person)
    return orphan


def near(client: Client, orphan: Any) -> Any:
    return sections(client, orphan.driver_id)["Nearest leads"]


@pytest.mark.parametrize(
    ("columns", "agrees", "differs"),
    [
        ({"name": None, "phone": PHONE}, ["Same phone"], []),
        ({"name": ROSA, "phone": "945111223"}, ["Phone but for one digit"], ["Name"]),
        ({"name": ROSA, "licence": LICENCE}, ["Same licence"], ["Name"]),
        ({"name": None, "licence": "Q45678902"}, ["Licence but for one character"], []),
        ({"name": None, "licence": "Q4567890"}, ["Licence but for one character"], []),
        ({"name": None, "licence": "Q456789011", "phone": "911222333"}, ["Licence but for one character"], ["Phone"]),
        ({"name": "MAMANI JUAN"}, ["2 words of the name"], []),
        ({"name": "JUAN CARLOS MAMANI QUISPE", "licence": "Z99999999"}, ["3 words of the name"], ["Licence"]),
    ],
)
def test_a_near_registration_is_shown_with_what_agrees_and_what_differs(viewer, orphan, columns, agrees, differs):
    record = a_registration(columns.pop("name"), **columns)
    an_event(record, **keys_as_events_have_them(record))
    section = near(viewer, orphan)
    row = next(row for row in section.rows if f"scoutingregistration/{record.source_pk}/" in str(row[0]))
    assert [str(row[2]).count(words) for words in agrees] == [1] * len(agrees), row[2]
    assert str(row[2]).count("<div>") == len(agrees)
    assert str(row[3]) == (", ".join(differs) or "–")


def keys_as_events_have_them(record: Any) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "select phone_norm, license_norm, name_norm from canon.stg_scouting_daily where source_pk = %s",
            [record.source_pk],
        )
        return dict(zip(("phone_norm", "license_norm", "name_norm"), cursor.fetchone(), strict=True))


@pytest.mark.parametrize(
    "columns",
    [
        {"name": "JUAN ROJAS"},
        {"name": None, "phone": "945111233"},
        {"name": None, "licence": "Q45678923"},
        {"name": "DE LA MAMANI"},
    ],
)
def test_a_registration_that_is_not_near_is_left_out(viewer, orphan, columns):
    record = a_registration(columns.pop("name"), **columns)
    an_event(record, **keys_as_events_have_them(record))
    assert near(viewer, orphan).rows == []


def test_a_near_lead_says_whose_it_is(viewer, orphan):
    open_one = a_registration("CASTRO LEON LUIS", phone="945111223")
    linked = a_registration(ROSA, phone="945111224")
    undecided = a_registration(ROSA, phone="945111225")
    other = Person.objects.create(confidence_level="HIGH", primary_full_name="SOTO VEGA INES")
    match()
    Link.objects.create(
        person=other, source_table=linked.source_table, source_pk=linked.source_pk, snapshot_date=timezone.now(),
        match_rule="R1_PHONE_EXACT", match_score=95, confidence_level="HIGH",
    )  # fmt: skip
    unmatched_of(undecided).delete()
    section = near(viewer, orphan)
    assert page_of(unmatched_of(open_one)) in row_of(section, f"scoutingregistration/{open_one.source_pk}/")
    assert '<span class="pill pill-warn">Open</span>' in row_of(section, f"scoutingregistration/{open_one.source_pk}/")
    row = row_of(section, f"scoutingregistration/{linked.source_pk}/")
    assert page_of(other) in row
    assert "SOTO VEGA INES" in row
    assert "Not decided yet" in row_of(section, f"scoutingregistration/{undecided.source_pk}/")
    assert "94511122<mark>5</mark>" in row_of(section, f"scoutingregistration/{undecided.source_pk}/")


def test_a_lead_of_the_same_car_is_near_whether_open_or_linked(viewer, orphan):
    a_driver(ROSA, plate=PLATE)
    linked = a_lead(ROSA, plate=PLATE)
    open_one = a_lead("CASTRO LEON LUIS", plate=PLATE)
    elsewhere = a_lead("CASTRO LEON LUIS", plate="XYZ987")
    match()
    assert link_of(linked) is not None
    section = near(viewer, orphan)
    for record in (linked, open_one):
        assert "Same plate" in row_of(section, record.source_pk)
    assert elsewhere.source_pk not in str(section.rows)


def test_a_migration_that_names_the_driver_is_the_nearest_of_all(viewer, orphan):
    a_registration(JUAN, phone=PHONE)
    migration = a_migration(orphan.driver_id)
    an_event(migration, driver_id=orphan.driver_id)
    first = near(viewer, orphan).rows[1]
    assert f"migrationrecord/{migration.source_pk}/" in str(first[0])
    assert "Names the driver" in str(first[2])


def test_at_most_ten_leads_are_shown_and_the_nearest_come_first(viewer, orphan):
    for number in range(12):
        a_registration(ROSA, phone=f"94511122{number % 10}", licence=LICENCE if number == 7 else None)
    match()
    rows = near(viewer, orphan).rows
    assert len(rows) == 1 + nearest.SHOWN
    assert "This driver" in str(rows[0][0])
    assert "Same licence" in str(rows[1][2])


def test_names_are_compared_near_the_first_day_only_and_the_page_says_so(viewer, orphan, monkeypatch):
    for days in (0, nearest.NAME_DAYS, nearest.NAME_DAYS + 1, -nearest.NAME_DAYS - 1):
        record = a_registration("MAMANI JUAN", on=LEAD_DATE + dt.timedelta(days=days))
        an_event(record, on=LEAD_DATE + dt.timedelta(days=days), name_norm="MAMANI JUAN")
    section = near(viewer, orphan)
    assert len(section.rows) == 1 + 2
    assert "among the 2 leads from 10 Jan 2026 to 10 May 2026" in section.note
    monkeypatch.setattr(nearest, "NAME_EVENTS", 1)
    assert "among the 1 leads from 10 Jan 2026 to 10 Jan 2026" in near(viewer, orphan).note


def test_a_driver_without_a_usable_name_says_that_names_were_not_compared(viewer):
    orphan = an_orphan(None, phone=PHONE)
    a_case(orphan.driver_id, person_id=orphan.person)
    an_event(a_registration("MAMANI JUAN"), name_norm="MAMANI JUAN")
    section = near(viewer, orphan)
    assert section.rows == []
    assert "fewer than two words" in section.note


@pytest.mark.parametrize("hired", [dt.date.min, dt.date.max, None])
def test_a_driver_may_have_been_hired_on_any_day(viewer, hired):
    orphan = an_orphan(driver_id=a_driver(JUAN, hired=hired))
    refresh()
    a_case(orphan.driver_id, person_id=orphan.person)
    assert near(viewer, orphan).rows == []


def test_a_driver_without_person_and_without_account_still_has_a_page(viewer):
    a_case()
    shown = sections(viewer, "driver-1")
    assert shown["Nearest leads"].rows == []
    assert shown["All links of its person"].rows == []
    assert shown["Audit"].rows == []


def test_variants_of_keys_differ_in_exactly_one_place():
    phones = nearest.one_digit_off("945111222")
    assert len(set(phones)) == len(phones) == 81
    assert "945111222" not in phones
    licences = set(nearest.one_edit_off(LICENCE))
    assert LICENCE not in licences
    with connection.cursor() as cursor:
        cursor.execute(
            "select bool_and(canon.within_one_edit(%s, near)) from unnest(%s) as near", [LICENCE, sorted(licences)]
        )
        assert cursor.fetchone()[0] is True
    assert nearest.one_digit_off(None) == nearest.one_edit_off("") == []
