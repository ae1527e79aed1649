"""The admin's base classes: paging by position, refusals, search in any format, escaped display."""

import datetime
import random
import uuid
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path, reverse
from django.utils import translation

from ct4site import admin_base, paginators
from ct4site.models import Run
from identity.models import CabinetLead, DriverIndexEntry, Person

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


@admin.action(description="without permission")
def act_without_permission(modeladmin, request, queryset):
    raise AssertionError("an action without declared permissions ran")


class PersonAdmin(admin_base.SearchMixin, admin_base.ReadOnlyAdmin):
    purpose = "Every human being that some record speaks of."
    list_display = ("person_key", "primary_full_name", "primary_phone", "confidence")
    list_filter = ("confidence_level", "created_at")
    ordering = ("-created_at",)
    list_per_page = 7
    actions = (act_without_permission,)
    searches = (
        admin_base.key_search("person_key", "uuid"),
        admin_base.key_search("primary_phone", "phone"),
        admin_base.key_search("primary_license", "license"),
        admin_base.word_search("primary_full_name"),
    )

    @admin.display(description="confidence")
    def confidence(self, obj):
        return admin_base.pill(obj.confidence_level, obj.get_confidence_level_display())

    def get_sections(self, request, obj):
        columns = {"Key": lambda person: person.person_key, "Name": lambda person: person.primary_full_name}
        yield admin_base.Section.of("Same phone", columns, Person.objects.filter(primary_phone=obj.primary_phone), 2)


@admin.action(description="count", permissions=["view"])
def count_them(modeladmin, request, queryset):
    modeladmin.message_user(request, f"{queryset.count()} counted")


class LeadAdmin(admin_base.ReadOnlyAdmin):
    list_display = ("id", "last_name", "last_active_date", "lead_created_at")
    list_per_page = 7
    actions = (count_them,)


class DriverAdmin(admin_base.SearchMixin, admin_base.ReadOnlyAdmin):
    searches = (
        admin_base.key_search("plate_norm", "plate"),
        admin_base.key_search("driver_id", "text"),
        admin_base.word_search("name_tokens", is_array=True),
    )


site = admin.AdminSite(name="admin")
site.register(Person, PersonAdmin)
site.register(CabinetLead, LeadAdmin)
site.register(DriverIndexEntry, DriverAdmin)
urlpatterns = [path("i18n/", include("django.conf.urls.i18n")), path("admin/", site.urls)]

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.ct4site.test_admin_base")]

PERSONS = "/admin/identity/person/"
DRIVERS = "/admin/identity/driverindexentry/"
LEADS = "/admin/identity/cabinetlead/"


@pytest.fixture(autouse=True)
def no_collected_files(settings):
    settings.STATIC_ROOT = None


@pytest.fixture
def viewer(client: Client) -> Client:
    """A signed-in user who may look at persons, leads and drivers and do nothing else."""
    user = User.objects.create_user("mirador", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_person", "view_driverindexentry", "view_cabinetlead", "view_pii"])
    )
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def some_persons(count: int, **fields) -> list[Person]:
    """Persons that share two moments of creation, as rows written by two statements do."""
    moments = [datetime.datetime(2026, 1, day, 5, tzinfo=datetime.UTC) for day in (1, 2)]
    return Person.objects.bulk_create(
        Person(
            **{"person_key": uuid.UUID(int=number * 7919), "confidence_level": "HIGH", "primary_full_name": "ANA ROJAS"}
            | fields,
            created_at=moments[number % 2],
        )
        for number in range(count)
    )


def some_leads(count: int) -> None:
    """Leads with many equal and many empty values in every sortable column but the key."""
    dice = random.Random(7)
    naive_moments = [datetime.datetime.fromisoformat(text) for text in ("2026-01-01T08:00", "2026-01-01T23:00")]
    CabinetLead.objects.bulk_create(
        CabinetLead(
            last_name=dice.choice([None, "ROJAS", "PEREZ", "DIAZ"]),
            last_active_date=dice.choice([None, datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)]),
            lead_created_at=dice.choice([None, *naive_moments]),
        )
        for _number in range(count)
    )


def walk(client: Client, address: str, direction: str, start: str = "") -> tuple[list[str], str]:
    """Follow the links of one direction to the end; return all keys met, page after page, and the last address."""
    keys: list[str] = []
    here = start or address
    for _step in range(100):
        page = client.get(here).context_data["cl"]
        found = [str(row.pk) for row in page.result_list]
        keys = keys + found if direction == "next_url" else found + keys
        onward = getattr(page, direction)
        if not onward:
            return keys, here
        here = urlsplit(address).path + onward
    raise AssertionError("the pages never end")


@pytest.mark.parametrize("order", ["", "?o=1", "?o=-1", "?o=2", "?o=-2", "?o=3.-2", "?o=-4.1", "?o=2.3.4"])
@pytest.mark.slow
def test_every_row_is_met_once_forwards_and_backwards_whatever_the_order(viewer, order):
    some_leads(40)
    expected = [str(row.pk) for row in viewer.get(LEADS + order).context_data["cl"].queryset]
    forwards, last = walk(viewer, LEADS + order, "next_url")
    assert forwards == expected
    assert len(set(forwards)) == 40
    backwards, _first = walk(viewer, LEADS + order, "previous_url", start=last)
    assert backwards == expected


def test_rows_of_one_moment_are_read_as_one_range_of_an_index(viewer):
    some_persons(30)
    first = viewer.get(PERSONS).context_data["cl"]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        viewer.get(PERSONS + first.next_url)
    paged = [query["sql"] for query in queries if "LIMIT 8" in query["sql"]]
    assert len(paged) == 1
    assert '("identity_registry"."created_at", "identity_registry"."person_key") <' in paged[0]
    assert "OFFSET" not in paged[0]


def test_a_page_is_named_by_a_key_and_never_by_a_value_of_a_row(viewer):
    some_persons(30, primary_phone="987654321")
    page = viewer.get(PERSONS + "?o=3").context_data["cl"]
    assert set(parse_qs(page.next_url.lstrip("?"))) == {"o", "after"}
    assert "987654321" not in page.next_url


@pytest.mark.parametrize(
    "mark", ["after=", "after=x", "before=x", "after=7d2277b1-2b49-4c77-a37f-b7f3514c42ca", "after=1&before=2", "p=999"]
)
def test_a_mark_that_names_no_row_gives_the_first_page(viewer, mark):
    some_persons(30)
    first = viewer.get(PERSONS).context_data["cl"].result_list
    answer = viewer.get(f"{PERSONS}?{mark}")
    assert answer.status_code == 200
    assert answer.context_data["cl"].result_list == first


def test_a_reader_keeps_the_place_when_the_last_row_has_left_the_filter(viewer):
    some_persons(30)
    filtered = f"{PERSONS}?confidence_level__exact=HIGH"
    first = viewer.get(filtered).context_data["cl"]
    expected = viewer.get(PERSONS + first.next_url).context_data["cl"].result_list
    Person.objects.filter(pk=first.result_list[-1].pk).update(confidence_level="LOW")
    assert viewer.get(PERSONS + first.next_url).context_data["cl"].result_list == expected


def test_a_filter_starts_again_on_its_first_page(viewer):
    some_persons(30)
    second = viewer.get(PERSONS + viewer.get(PERSONS).context_data["cl"].next_url)
    assert "after=" not in second.context_data["cl"].get_query_string({"confidence_level__exact": "HIGH"})


def test_a_list_counts_no_further_than_its_limit_and_says_so(viewer, monkeypatch):
    monkeypatch.setattr(paginators.CappedPaginator, "cap", 20)
    viewer.cookies["django_language"] = "en"
    some_persons(21)
    with CaptureQueriesContext(connection) as queries:
        capped = viewer.get(PERSONS)
    counting = [query["sql"] for query in queries if "COUNT(*)" in query["sql"]]
    assert len(counting) == 1
    assert "LIMIT 21" in counting[0]
    assert "more than 20 results" in capped.content.decode()
    Person.objects.all()[:1].get().delete()
    exact = viewer.get(PERSONS)
    assert exact.context_data["cl"].result_count == 20
    assert "more than" not in exact.content.decode()


def test_an_action_over_all_rows_is_offered_only_when_their_number_is_known(viewer, monkeypatch):
    some_leads(21)
    assert 'class="question' in viewer.get(LEADS).content.decode()
    monkeypatch.setattr(paginators.CappedPaginator, "cap", 20)
    assert 'class="question' not in viewer.get(LEADS).content.decode()
    chosen = [str(key) for key in CabinetLead.objects.values_list("pk", flat=True)[:2]]
    answer = viewer.post(LEADS, {"action": "count_them", "_selected_action": chosen, "index": "0"}, follow=True)
    assert "2 counted" in answer.content.decode()


def test_a_list_asks_as_many_questions_for_ten_rows_as_for_two_hundred(viewer, monkeypatch):
    monkeypatch.setattr(PersonAdmin, "list_per_page", 100)
    some_persons(10)
    viewer.get(PERSONS + "?o=1")
    with CaptureQueriesContext(connection) as few:
        viewer.get(PERSONS + "?o=1")
    Person.objects.all().delete()
    some_persons(200)
    with CaptureQueriesContext(connection) as many:
        viewer.get(PERSONS + "?o=1")
    # A list that fits one page is counted by its own rows: one question less.
    assert len(many) <= len(few) + 1


@pytest.mark.parametrize(
    "query",
    [
        "status=%00", "q=%00", "%00=1", "o=%00", "created_at__gte=%00",
        "phone__startswith=9", "primary_phone__startswith=9", "primary_phone=987654321", "primary_full_name__regex=(",
        "confidence_level__regex=(", "run__actor=x", "created_at__gte=not-a-date", "person_key__startswith=0",
        "pk__in=x", "_to_field=primary_phone", "unknown=1",
    ],
)  # fmt: skip
def test_a_question_outside_the_declared_filters_is_refused_with_400(viewer, query):
    some_persons(3, primary_phone="987654321")
    assert viewer.get(f"{PERSONS}?{query}").status_code == 400


@pytest.mark.parametrize(
    "query",
    ["all=", "p=-1", "p=abc", "p=99999999999999999999", "o=99.-5.x", "e=1", "confidence_level__exact=NOPE", "q=%27%3B--",
     "q=" + "9" * 5000, "q=%25%28%5C", "created_at__gte=0001-01-01T00:00Z", "created_at__lt=9999-12-31T00:00Z", "_popup=1", "q=%F0%9F%98%80"],
)  # fmt: skip
def test_odd_but_readable_questions_are_answered(viewer, query):
    some_persons(30)
    assert viewer.get(f"{PERSONS}?{query}").status_code == 200


def test_a_refusal_is_a_page_in_the_skin_and_in_the_chosen_language(viewer):
    answer = viewer.get(PERSONS + "?q=%00")
    assert b"ct4/ct4.css" in answer.content
    assert answer["Content-Language"] == "es"


def test_nothing_can_be_written_through_a_read_only_screen(viewer, admin_client):
    person = some_persons(1)[0]
    change = reverse("admin:identity_person_change", args=[person.pk])
    for client in (viewer, admin_client):
        assert client.get(change).status_code == 200
        assert client.post(change, {"primary_full_name": "OTRO", "confidence_level": "LOW"}).status_code == 403
        assert client.get(PERSONS + "add/").status_code == 403
        assert (
            client.post(reverse("admin:identity_person_delete", args=[person.pk]), {"post": "yes"}).status_code == 403
        )
        bulk = {"action": "delete_selected", "_selected_action": [str(person.pk)], "index": "0", "post": "yes"}
        client.post(PERSONS, bulk)
        client.post(PERSONS, bulk | {"action": "act_without_permission"})
    person.refresh_from_db()
    assert (person.primary_full_name, person.confidence_level) == ("ANA ROJAS", "HIGH")


@pytest.mark.parametrize(("screen", "model"), [(PersonAdmin, Person), (LeadAdmin, CabinetLead)])
def test_a_declared_screen_passes_the_checks_of_the_admin(screen, model):
    assert screen(model, site).check() == []


def test_a_screen_is_closed_to_those_who_may_not_look(client):
    user = User.objects.create_user("nadie", is_staff=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(PERSONS).status_code == 403


@pytest.mark.parametrize("key", ["x", "_00", "00000000-0000-0000-0000-000000000001"])
def test_the_page_of_an_object_that_does_not_exist_leads_home(viewer, key):
    answer = viewer.get(f"{PERSONS}{key}/change/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_hostile_names_are_shown_as_text_on_list_and_detail(viewer):
    person = some_persons(3, primary_full_name=HOSTILE, primary_phone="987654321", flags={HOSTILE: [HOSTILE]})[0]
    for address in (PERSONS, reverse("admin:identity_person_change", args=[person.pk])):
        body = viewer.get(address).content.decode()
        assert "&lt;script&gt;" in body
        assert "<script>alert" not in body
        assert "<img src=x" not in body


def test_a_section_stops_at_its_limit_and_says_so(viewer):
    person = some_persons(3, primary_phone="987654321")[0]
    section = viewer.get(reverse("admin:identity_person_change", args=[person.pk])).context_data["sections"][0]
    assert (len(section.rows), section.has_more) == (2, True)


# --- search ---------------------------------------------------------------------------------------


def test_a_text_is_classified_with_one_question_to_the_database():
    with CaptureQueriesContext(connection) as queries:
        keys = admin_base.classify_query("  +51 987-654-321 ")
    assert len(queries) == 1
    assert keys["phone"] == "987654321"
    assert keys["text"] == "+51 987-654-321"
    assert "name" not in keys


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("987.654.321", "phone", "987654321"),
        ("q-12345678", "license", "Q12345678"),
        ("abc-123", "plate", "ABC123"),
        ("María  Ñahui", "name", "MARIA NAHUI"),
        ("José de la Cruz", "words", ["JOSE", "CRUZ"]),
        ("42", "integer", 42),
        ("00000000-0000-0000-0000-00000000002a", "uuid", uuid.UUID(int=42)),
    ],
)
def test_what_people_type_becomes_a_comparison_key(text, key, value):
    assert admin_base.classify_query(text)[key] == value


@pytest.mark.parametrize("text", ["", "   ", "\x00"])
def test_an_empty_text_is_nothing_to_look_for(text):
    assert admin_base.classify_query(text) == {}


@pytest.mark.parametrize(
    "typed", ["+51 987 654 321", "987-654-321", "51987654321", "q 12345678", "Q-12345678", "rojas ana", "Ána MARÍA"]
)
def test_a_person_is_found_in_any_format_and_word_order(viewer, typed):
    some_persons(5, primary_full_name="LUIS PEREZ")
    Person.objects.create(
        person_key=uuid.UUID(int=1),
        confidence_level="HIGH",
        primary_full_name="ANA MARIA ROJAS",
        primary_phone="987654321",
        primary_license="Q12345678",
    )
    found = viewer.get(PERSONS, {"q": typed}).context_data["cl"].result_list
    assert [person.primary_full_name for person in found] == ["ANA MARIA ROJAS"]


@pytest.mark.parametrize("typed", ["ana lopez", "1234567", "%", "' or 1=1 --", "999999999"])
def test_a_search_that_fits_nobody_finds_nobody(viewer, typed):
    some_persons(5)
    assert viewer.get(PERSONS, {"q": typed}).context_data["cl"].result_list == []


def test_a_driver_is_found_by_the_words_of_an_array_by_plate_and_by_key(viewer):
    for number in range(3):
        DriverIndexEntry.objects.create(
            driver_id=f"driver-{number:03}",
            name_tokens=["ROJAS", "ANA"] if number == 1 else ["ROJAS", "LUIS"],
            plate_norm="QQQ111" if number == 1 else "AAA222",
            snapshot_date=datetime.date(2026, 3, 1),
        )
    for typed in ("ana rojas", "qqq 111", "driver-001"):
        found = viewer.get(DRIVERS, {"q": typed}).context_data["cl"].result_list
        assert [driver.pk for driver in found] == ["driver-001"], typed


# --- display --------------------------------------------------------------------------------------


def test_a_pill_shows_the_label_and_colours_by_the_stored_code():
    assert admin_base.pill("FAILED", "Falló") == '<span class="pill pill-bad">Falló</span>'
    assert admin_base.pill("SOMETHING") == '<span class="pill pill-plain">SOMETHING</span>'
    assert "&lt;script&gt;" in admin_base.pill("<script>")
    assert admin_base.pill(None) == "–"


def test_a_json_value_becomes_nested_lists_of_escaped_text():
    shown = admin_base.json_table({"rule": "R1", "score": 0, "found": False, "ids": [1, 2], HOSTILE: [{"a": HOSTILE}]})
    assert "<dt>rule</dt><dd>R1</dd>" in shown
    assert "<dt>score</dt><dd>0</dd>" in shown
    assert "<dd>1, 2</dd>" in shown
    assert "<script>" not in shown
    assert "<img" not in shown


def test_a_json_value_without_end_is_cut():
    deep: dict = {}
    for _level in range(500):
        deep = {"a": deep or 1}
    assert admin_base.json_table(deep).count("<dl") == admin_base.DEEPEST
    assert admin_base.json_table(list(range(5000))).endswith("99…")


def test_times_are_shown_on_the_clock_of_lima_and_days_do_not_move():
    moment = datetime.datetime(2026, 3, 1, 4, 59, tzinfo=datetime.UTC)
    with translation.override("en"):
        assert "28 Feb 2026 23:59" in admin_base.lima_time(moment)
        assert "1 Mar 2026<" in admin_base.lima_time(datetime.date(2026, 3, 1))
        assert "1 Mar 2026 04:59" in admin_base.lima_time(moment.replace(tzinfo=None))
    with translation.override("es"):
        assert "1 Ene 2026" in admin_base.lima_time(datetime.date(2026, 1, 1))
    assert admin_base.lima_time(None) == "–"


def test_a_link_leads_to_the_page_of_an_object_and_escapes_its_name():
    person = some_persons(1, primary_full_name=HOSTILE)[0]
    assert f'href="/admin/identity/person/{person.pk}/change/"' in admin_base.link_to(person)
    assert "<script>" not in admin_base.link_to(person)
    assert admin_base.link_to(Run(pk=1), "run 1") == "run 1"
    assert admin_base.link_to(None) == "–"
