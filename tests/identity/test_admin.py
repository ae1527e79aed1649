"""The screens of identity: what they find, what they show, what they refuse, and what they cost."""

import datetime
import uuid

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ct4site.models import Run
from identity.admin import finding
from identity.admin.comparing import marked, marked_name
from identity.admin.records import source_rows
from identity.models import (
    CabinetLead,
    DailyTrips,
    Driver,
    DriverIndexEntry,
    LeadEvent,
    Link,
    Origin,
    OriginChange,
    Person,
    Unmatched,
)
from tests import factories
from tests.shared import made_once

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

PERSONS = "/admin/identity/person/"
UNMATCHED = "/admin/identity/unmatched/"
DRIVERS = "/admin/identity/driverindexentry/"
LINKS = "/admin/identity/link/"
OUR_SCREENS = [model for model in admin.site._registry if model._meta.app_label in ("identity", "ct4site")]


@pytest.fixture
def viewer(client: Client) -> Client:
    """A signed-in user who may look at everything of ours and do nothing, in English."""
    user = User.objects.create_user("mirador", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label__in=["identity", "ct4site"], codename__startswith="view_")
    )
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    client.cookies["django_language"] = "en"
    return client


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(item: Model) -> str:
    return reverse(f"admin:{item._meta.app_label}_{item._meta.model_name}_change", args=[quote(item.pk)])


def found(client: Client, address: str, **query) -> list:
    return client.get(address, query).context_data["cl"].result_list


def a_world() -> None:
    """Rows in every table: linked leads of three feeds, an account of its own, and an unmatched lead with candidates."""
    factories.a_recruited_driver(licence="Q45678901", plate="ABC123")
    factories.a_lead_known_by_its_car()
    factories.a_migrated_driver()
    factories.a_driver("SALDANA DIAZ MIGUEL RUBEN", plate="V5B305")
    factories.a_lead("DIAZ MIGUEL SALDAA", plate="V5B305")
    factories.match()
    DailyTrips.objects.create(
        driver_id=Driver.objects.first().driver_id, date_file="01-02-2026", count_orders_completed=9
    )


world = made_once("world", a_world)


# --- everything opens, whatever is asked --------------------------------------------------------------------


def test_every_screen_has_a_purpose_and_passes_the_checks_of_the_admin():
    for model in OUR_SCREENS:
        screen = admin.site.get_model_admin(model)
        assert screen.purpose, model
        assert screen.check() == []


@pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)
def test_every_list_opens_empty_and_full_and_so_does_every_page(viewer, model):
    assert viewer.get(list_of(model)).status_code == 200
    factories.a_recruited_driver()
    factories.match()
    assert viewer.get(list_of(model)).status_code == 200
    for item in model._default_manager.all()[:3]:
        assert viewer.get(page_of(item)).status_code == 200


@pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)
def test_nothing_can_be_added_changed_or_deleted_on_any_screen(admin_client, model):
    many_rows(0, 3)
    assert admin_client.post(list_of(model) + "add/", {}).status_code == 403
    for item in model._default_manager.all()[:1]:
        assert admin_client.post(page_of(item), {}).status_code == 403
        assert admin_client.post(page_of(item).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403


BAD = [
    "q=%00", "%00=1", "o=%00", "status=%00", "run=%00", "rule=%00",
    "run=x", "run=-1", "run=1.5", "run=99999999999999999999999", "run__actor=x", "run__id__exact=x", "id__exact=x",
    "unknown=1", "pk__in=x", "id__regex=(", "source_pk__regex=(", "primary_phone=987654321", "person__primary_phone__startswith=9",
    "confidence_level__in=%00", "event_date__gte=x", "event_date__gte=99999-01-01", "created_at__gte=2026-13-45",
    "o=99.-5.x", "o=1.2.3.4", "o=-99999999999999999999", "p=abc", "p=-1", "all=", "after=x", "before=99999999999999999999",
    "q=" + "9" * 500, "q=%27%3B--", "q=%25%28%5C", "q=99999999999999999999999", "q=%F0%9F%98%80", "q=%ff%fe", "q=%ED%A0%80",
    "rule=NOPE", "status=NOPE", "vanished=NOPE", "person=NOPE", "reason_code__exact=NOPE", "_popup=1", "_to_field=x", "e=1",
]  # fmt: skip


@pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)
def test_no_question_put_to_a_list_is_a_fault_of_the_server(viewer, model):
    many_rows(0, 3)
    viewer.raise_request_exception = False
    answers = {query: viewer.get(f"{list_of(model)}?{query}").status_code for query in BAD}
    assert {query: code for query, code in answers.items() if code not in (200, 302, 400)} == {}


ODD_KEYS = ["x", "_00", "%00", "-1", "9" * 30, "%27", "00000000-0000-0000-0000-000000000001", "..%2f..", "1.5"]


@pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)
def test_a_page_of_nothing_leads_home_or_is_refused(viewer, model):
    answers = {key: viewer.get(f"{list_of(model)}{key}/change/").status_code for key in ODD_KEYS}
    assert {key: code for key, code in answers.items() if code not in (302, 400, 404)} == {}


@pytest.mark.parametrize(
    "query",
    [f"q={text}" for text in ("%ff", "x" * 5000, "%27+or+1=1", "%25", "99999999999999999999", "%F0%9F%98%80", "+++")],
)
def test_the_search_of_the_start_page_answers_whatever_is_typed(viewer, world, query):
    assert viewer.get(f"/admin/?{query}").status_code == 200


# --- what it costs --------------------------------------------------------------------------------------------


def many_rows(first: int, last: int) -> None:
    """Rows of every list, made without matching: as many persons, links, unmatched, events and drivers."""
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    run = Run.objects.create()
    Run.objects.filter(pk=run.pk).update(status="COMPLETED", completed_at=day)
    numbers = range(first, last)
    persons = Person.objects.bulk_create(
        Person(confidence_level="HIGH", primary_full_name="ANA ROJAS") for _n in numbers
    )
    common = [
        {"source_table": "module_ct_cabinet_leads", "source_pk": f"lead-{n}", "person": p}
        for n, p in zip(numbers, persons, strict=True)
    ]
    Link.objects.bulk_create(
        Link(**row, snapshot_date=day, match_rule="R1_PHONE_EXACT", match_score=95, confidence_level="HIGH", run=run)
        for row in common
    )
    Unmatched.objects.bulk_create(
        Unmatched(
            source_table=row["source_table"],
            source_pk=row["source_pk"],
            snapshot_date=day,
            reason_code="NO_CANDIDATES",
            run=run,
        )
        for row in common
    )
    LeadEvent.objects.bulk_create(LeadEvent(**row, event_date=day.date()) for row in common)
    DriverIndexEntry.objects.bulk_create(
        DriverIndexEntry(driver_id=f"driver-{n}", snapshot_date=day.date()) for n in numbers
    )
    Origin.objects.bulk_create(
        Origin(person=p, origin_tag="cabinet_lead", origin_source_id="1", origin_confidence=95, origin_created_at=day)
        for p in persons
    )
    OriginChange.objects.bulk_create(OriginChange(person=p, changed_by="system", run=run) for p in persons)
    CabinetLead.objects.bulk_create(CabinetLead(external_id=f"lead-{n}") for n in numbers)


@pytest.mark.parametrize(
    "model",
    [Person, Link, Unmatched, LeadEvent, DriverIndexEntry, Origin, OriginChange, CabinetLead, Run],
    ids=lambda model: model._meta.model_name,
)
def test_a_list_asks_as_many_questions_for_ten_rows_as_for_two_hundred(viewer, model, monkeypatch):
    monkeypatch.setattr(type(admin.site.get_model_admin(model)), "list_per_page", 100)
    many_rows(0, 10)
    viewer.get(list_of(model))
    with CaptureQueriesContext(connection) as few:
        viewer.get(list_of(model))
    many_rows(10, 200)
    with CaptureQueriesContext(connection) as many:
        viewer.get(list_of(model))
    # A list that fits one page is counted by its own rows: one question less.
    assert len(many) <= len(few) + 1


def test_the_page_of_a_person_with_two_hundred_records_asks_no_more_than_that_of_one_with_ten(viewer):
    many_rows(0, 200)
    person, other = Person.objects.all()[:2]
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    Link.objects.filter(pk__in=Link.objects.values("pk")[:10]).update(person=person)
    viewer.get(page_of(person))
    with CaptureQueriesContext(connection) as few:
        viewer.get(page_of(person))
    Link.objects.update(person=other, snapshot_date=day)
    LeadEvent.objects.update(person=other)
    with CaptureQueriesContext(connection) as many:
        answer = viewer.get(page_of(other))
    assert len(many) <= len(few)
    assert "Only the first 100 are shown." in answer.content.decode()


@pytest.mark.parametrize("model", [Person, Link, Unmatched, LeadEvent, DriverIndexEntry, Origin, CabinetLead])
def test_a_list_is_not_sorted_by_a_column_without_an_index(viewer, model):
    columns = len(admin.site.get_model_admin(model).list_display)
    for number in range(1, columns + 1):
        ordering = viewer.get(f"{list_of(model)}?o={number}").context_data["cl"].queryset.query.order_by
        assert [str(term).lstrip("-") for term in ordering] in (
            ["pk"],
            ["id"],
            ["driver_id"],
            ["driver_id", "pk"],
            ["id", "pk"],
        ), number


# --- finding ------------------------------------------------------------------------------------------------------


def test_a_person_and_the_driver_are_found_by_what_people_type(viewer):
    factories.a_driver("TORRES VEGA PEDRO", phone="911222333")
    driver_id = factories.a_driver("QUISPE MAMANI JUAN", phone="+51945111222", licence="Q45678901", plate="ABC123")
    factories.a_registration("QUISPE MAMANI JUAN", phone="945111222")
    factories.a_migrated_driver()
    factories.match()
    person = Link.objects.get(source_table="drivers", source_pk=driver_id).person
    for typed in (
        "+51 945 111 222", "945-111-222", "51945111222", "q-45678901", "abc-123", "juan QUISPE", "Mamaní Quispe",
    ):  # fmt: skip
        assert found(viewer, PERSONS, q=typed) == [person], typed
        assert [entry.pk for entry in found(viewer, DRIVERS, q=typed)] == [driver_id], typed
        start = viewer.get("/admin/", {"q": typed}).content.decode()
        assert page_of(person) in start, typed
        assert f"{DRIVERS}{driver_id}/change/" in start, typed


def test_a_person_is_found_by_the_own_key_and_by_the_id_of_any_record(viewer, world):
    for link in Link.objects.all():
        same_id = Link.objects.filter(source_pk=link.source_pk)  # rows of two feeds may have one number
        assert set(found(viewer, PERSONS, q=link.source_pk)) == {other.person for other in same_id}
        assert found(viewer, PERSONS, q=str(link.person_id)) == [link.person]


@pytest.mark.parametrize("typed", ["zzz", "999999998", "quispe zzz", str(uuid.UUID(int=5)), "%", "   ."])
def test_a_search_that_fits_nobody_finds_nobody(viewer, world, typed):
    assert found(viewer, PERSONS, q=typed) == []
    assert "Nothing and nobody fits." in viewer.get("/admin/", {"q": typed}).content.decode()


def test_a_search_that_fits_very_many_says_that_it_stops(viewer, world, monkeypatch):
    monkeypatch.setattr(finding, "MOST", 1)
    factories.a_recruited_driver()
    factories.match()
    answer = viewer.get(PERSONS, {"q": "quispe"})
    assert len(answer.context_data["cl"].result_list) == 1
    assert "The first 1 are shown" in answer.content.decode()


def test_the_search_shows_a_person_no_list_that_they_may_not_open(client, world):
    user = User.objects.create_user("solo", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_driverindexentry"))
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    body = client.get("/admin/", {"q": "quispe"}).content.decode()
    assert DRIVERS in body
    assert f"{PERSONS}?" not in body
    assert not [person for person in Person.objects.all() if str(person.pk) in body]


# --- showing --------------------------------------------------------------------------------------------------------


def test_the_page_of_a_person_holds_all_there_is_to_know(viewer):
    driver_id = factories.a_driver("QUISPE MAMANI JUAN", phone="945111222")
    record = factories.a_registration("JUAN QUISPE MAMANI", phone="945111222", scout=77, acquisition_method="REFERIDO")
    factories.match()
    person = Person.objects.get()
    body = viewer.get(page_of(person)).content.decode()
    link = factories.link_of(record)
    for text in (
        "Same phone", "R1_PHONE_EXACT", "DRIVER_MATCH", "pill-good", "<dt>phone_normalized</dt><dd>945111222</dd>",
        "REFERIDO", f"/admin/identity/scoutingregistration/{record.source_pk}/change/", driver_id,
        page_of(LeadEvent.objects.get()), page_of(Origin.objects.get()), "first record linked", page_of(link.run),
        "Person created", "Linked", page_of(link),
    ):  # fmt: skip
        assert text in body, text


def test_what_was_unmatched_before_is_told_on_the_page_of_the_person(viewer):
    record = factories.a_registration("QUISPE MAMANI JUAN", phone="945111222")
    factories.match()
    factories.a_driver("QUISPE MAMANI JUAN", phone="945111222")
    factories.match()
    sections = {
        section.title: section for section in viewer.get(page_of(Person.objects.get())).context_data["sections"]
    }
    rows = sections["Records that were unmatched before"].rows
    assert len(rows) == 1
    assert page_of(factories.unmatched_of(record)) in str(rows[0])
    assert "Resolved" in str(rows[0])


def test_the_runbooks_name_of_a_rule_filters_like_the_stored_one(viewer, world):
    expected = list(Link.objects.filter(match_rule="R1_PHONE_EXACT").order_by("-id"))
    assert expected
    assert found(viewer, LINKS, rule="RT_PHONE_EXACT") == found(viewer, LINKS, rule="R1_PHONE_EXACT") == expected


def test_the_unmatched_list_shows_the_open_ones_until_asked_otherwise(viewer):
    factories.a_registration("QUISPE MAMANI JUAN", phone="945111222")
    factories.a_lead("TORRES VEGA PEDRO", plate="XYZ987")
    factories.match()
    factories.a_driver("QUISPE MAMANI JUAN", phone="945111222")
    factories.match()
    assert {item.status for item in found(viewer, UNMATCHED)} == {"OPEN"}
    assert {item.status for item in found(viewer, UNMATCHED, status="RESOLVED")} == {"RESOLVED"}
    assert len(found(viewer, UNMATCHED, status="all")) == 2
    run = Unmatched.objects.get(status="OPEN").run_id
    assert {item.run_id for item in found(viewer, UNMATCHED, status="all", run=run)} == {run}


def test_a_candidate_stands_beside_the_record_with_the_difference_marked_and_what_it_lacked(viewer):
    driver_id = factories.a_driver(
        "SALDANA DIAZ MIGUEL RUBEN", plate="V5B305", phone="945111222", hired=datetime.date(2026, 1, 20)
    )
    record = factories.a_lead("DIAZ MIGUEL SALDAA", plate="V5B305")
    factories.match()
    body = viewer.get(page_of(factories.unmatched_of(record))).content.decode()
    assert "SALDA<mark>N</mark>A DIAZ MIGUEL <mark>RUBEN</mark>" in body
    for text in (driver_id, "945111222", factories.OBJECTIVE_PARK, "20 Jan 2026", "The names are not similar enough.", "R3_PLATE_EXACT_NAME_SIMILAR"):  # fmt: skip
        assert text in body, text


PREVIEWS = [
    None, [], {}, {"candidates": []}, {"candidates": [None, 7, {}]}, "text", {"candidates": 7},
    {"candidates": [{"driver_id": "gone", "lacked": "new", "similarity": "x", "rule": 7}]},
]  # fmt: skip


@pytest.mark.parametrize("details", [None, [], {}, "text"])
def test_the_page_of_an_unmatched_record_survives_any_stored_preview(viewer, details):
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    for number, preview in enumerate(PREVIEWS):
        item = Unmatched.objects.create(
            source_table="drivers", source_pk=str(number), snapshot_date=day, reason_code="ERROR",
            candidates_preview=preview, details=details,
        )  # fmt: skip
        assert viewer.get(page_of(item)).status_code == 200, preview
    assert viewer.get(UNMATCHED).status_code == 200


def test_marks_show_differing_characters_and_are_escaped():
    assert marked("945111222", "945111223") == "94511122<mark>2</mark>"
    assert marked("SAME", "SAME") == "SAME"
    assert marked("ALONE", None) == "ALONE"
    assert marked("<b>", "<i>") == "&lt;<mark>b</mark>&gt;"
    assert marked_name("PEREZ ANA", "ANA PERES") == "PERE<mark>Z</mark> ANA"
    assert marked_name("<i> ANA", "ANA") == "<mark>&lt;i&gt;</mark> ANA"


def test_a_vanished_account_is_told_from_a_present_one_and_leads_to_its_person(viewer, world):
    gone = Driver.objects.order_by("pk").first().driver_id
    Driver.objects.filter(driver_id=gone).delete()
    factories.refresh()
    assert [entry.pk for entry in found(viewer, DRIVERS, vanished="yes")] == [gone]
    assert gone not in [entry.pk for entry in found(viewer, DRIVERS, vanished="no")]
    link = Link.objects.get(source_table="drivers", source_pk=gone)
    assert f"{PERSONS}{link.person_id}/change/" in viewer.get(f"{DRIVERS}{gone}/change/").content.decode()


def test_the_rows_behind_records_are_those_of_the_feeds(world):
    links = list(Link.objects.all())
    rows = source_rows((link.source_table, link.source_pk) for link in links)
    assert len(rows) == len(links)
    assert {(key[0], row._meta.db_table) for key, row in rows.items()} == {
        (link.source_table, link.source_table) for link in links
    }


def test_a_lead_without_external_id_is_found_by_its_row_and_not_mistaken_for_a_namesake():
    nameless = CabinetLead.objects.create(external_id=None)
    CabinetLead.objects.create(external_id=str(nameless.pk))
    rows = source_rows(
        [("module_ct_cabinet_leads", f"row:{nameless.pk}"), ("module_ct_cabinet_leads", str(nameless.pk))]
    )
    assert rows[("module_ct_cabinet_leads", f"row:{nameless.pk}")] == nameless
    assert rows[("module_ct_cabinet_leads", str(nameless.pk))].external_id == str(nameless.pk)


def test_a_source_row_says_who_it_is_or_why_it_is_not_linked(viewer, world):
    for record in [*Link.objects.all(), *Unmatched.objects.all()]:
        row = source_rows([(record.source_table, record.source_pk)])[(record.source_table, record.source_pk)]
        body = viewer.get(page_of(row)).content.decode()
        assert (f"{PERSONS}{record.person_id}/change/" if isinstance(record, Link) else page_of(record)) in body


def test_the_page_of_a_driver_shows_the_trips_which_have_no_list_of_their_own(viewer, world):
    driver = Driver.objects.first()
    for address in (page_of(driver), f"{DRIVERS}{driver.driver_id}/change/"):
        assert "01-02-2026" in viewer.get(address).content.decode()


def test_hostile_texts_of_the_feeds_are_shown_as_text_on_every_page(viewer):
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    driver_id = factories.a_driver(hostile, phone="945111222", plate="V5B305", park=hostile)
    lead = factories.a_lead(hostile, phone="945111222", status=hostile)
    factories.a_lead(f"{hostile} PEREZ DIAZ RUIZ SOTO", plate="V5B305", external_id=hostile)
    factories.match()
    addresses = [list_of(model) for model in OUR_SCREENS] + ["/admin/", "/admin/?q=script"]
    addresses += [page_of(item) for model in OUR_SCREENS for item in model._default_manager.all()]
    assert factories.link_of(lead) is not None
    assert Driver.objects.get(driver_id=driver_id).park_id == hostile
    for address in addresses:
        body = viewer.get(address).content.decode()
        assert "<script>alert" not in body, address
        assert "<img src=x" not in body, address


# --- start page -------------------------------------------------------------------------------------------------


def test_the_start_page_counts_open_records_by_reason_and_stops_at_the_lists_limit(viewer, world, monkeypatch):
    body = viewer.get("/admin/").content.decode()
    assert f"{UNMATCHED}?reason_code__exact=WEAK_MATCH_ONLY" in body
    assert "Identity matching #" in body
    many_rows(0, 30)
    monkeypatch.setattr("ct4site.paginators.CappedPaginator.cap", 20)
    assert "more than 20" in viewer.get("/admin/").content.decode()


def test_the_start_page_asks_the_same_number_of_questions_whatever_the_size(viewer):
    many_rows(0, 10)
    viewer.get("/admin/")
    with CaptureQueriesContext(connection) as few:
        viewer.get("/admin/")
    many_rows(10, 200)
    with CaptureQueriesContext(connection) as many:
        viewer.get("/admin/")
    assert len(many) == len(few)


def test_the_start_page_shows_no_numbers_of_what_a_person_may_not_see(client, world):
    client.force_login(
        User.objects.create_user("nadie", is_staff=True), backend="django.contrib.auth.backends.ModelBackend"
    )
    answer = client.get("/admin/")
    assert answer.status_code == 200
    assert b"WEAK_MATCH_ONLY" not in answer.content
    assert b'id="panel-1"' not in answer.content
