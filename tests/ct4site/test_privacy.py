"""Nobody sees, finds or guesses a phone, licence or document without the right to (reliability.md P9, F6)."""

from __future__ import annotations

import io
import logging
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import IntegrityError, connection, transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path, reverse
from django_q.models import OrmQ

from ct4site import admin_base, invariants, jobs, privacy, urls
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from ct4site.rollback import start_roll_back
from ct4site.sealing import write_without_run
from identity.admin.comparing import marked_personal
from identity.models import CabinetLead, Driver, DriverIndexEntry, Link, Origin, Person
from tests import factories
from tests.ct4site.test_permissions import (
    ADMIN,
    APPROVER,
    BACKEND,
    OPERATOR,
    REVIEWER,
    ROUTES,
    SCREENS,
    SETTLEMENT,
    VIEWER,
    a_world,
    told,
    written,
)
from tests.shared import made_once

pytestmark = pytest.mark.django_db

KNOWN = 8  # characters from which on a value is found by nothing but itself


# --- the world and who looks at it -------------------------------------------------------------------------


def a_personal_world() -> None:
    """A row for every screen, and in every column that may hold one a phone, a licence or a document."""
    a_world()
    factories.a_registration("QUIROZ VERA TOMAS", phone=factories.a_phone(9_200_000), licence="Q77000001")
    factories.match()
    factories.run_job(JobType.LINKS_BACKFILL)
    for number, driver in enumerate(Driver.objects.order_by("pk")):
        driver.document_number, driver.license_normalized_number = f"DOC{40_000_000 + number}", driver.license_number
        driver.save()
    for number, person in enumerate(Person.objects.order_by("pk")):
        person.primary_document = f"DOC{50_000_000 + number}"
        person.primary_phone = person.primary_phone or factories.a_phone(9_000_000 + number)
        person.primary_license = person.primary_license or f"Z{60_000_000 + number}"
        person.flags = {"phones": [{"old": factories.a_phone(9_100_000 + number)}], "seen": factories.JUAN}
        person.save()
    # As a row of the audit log tells of a person: of one column, before and after.
    person = Person.objects.order_by("pk").first()
    write_without_run("tests")
    AuditEntry.objects.create(
        actor="tests",
        action="complete_person",
        subject_table="identity_registry",
        subject_key=str(person.pk),
        person_key=person.pk,
        before={"primary_phone": "955000111", "primary_document": None},
        after={"primary_phone": person.primary_phone, "primary_document": person.primary_document},
    )


personal_world = made_once("personal_world", a_personal_world)


def sentinels() -> dict[str, set[str]]:
    """Every phone, licence and document that some table holds in a column of its own, by table and column."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select columns.table_schema, columns.table_name, columns.column_name from information_schema.columns"
            " inner join information_schema.tables using (table_schema, table_name)"
            " where table_type = 'BASE TABLE' and data_type in ('text', 'character varying')"
            " and table_schema in ('public', 'canon', 'observational', 'ops')"
            " and column_name ~ 'phone|licen|document' and column_name !~ 'country|type'"
        )
        columns = cursor.fetchall()
        found = {}
        for schema, table, column in columns:
            cursor.execute(f'select distinct "{column}" from "{schema}"."{table}" where length("{column}") >= {KNOWN}')
            found[f"{table}.{column}"] = {value for (value,) in cursor.fetchall()}
    return found


@pytest.fixture
def secrets(personal_world: None) -> set[str]:
    """All values that nobody may see masked only; no column is without one, or it would prove nothing."""
    found = sentinels()
    assert [column for column, values in found.items() if not values] == []
    return set().union(*found.values()) | {"955000111"}


@pytest.fixture
def as_role(personal_world: None, caplog: pytest.LogCaptureFixture) -> Callable[[str], Client]:
    """A function that signs somebody of a role in, in English."""
    caplog.set_level(logging.CRITICAL, "django.request")

    def sign_in(role: str) -> Client:
        user = User.objects.get_or_create(username=role, is_staff=True)[0]
        user.groups.set([Group.objects.get(name=role)])
        client = Client()
        client.cookies["django_language"] = "en"
        client.force_login(user, backend=BACKEND)
        return client

    return sign_in


def screens() -> Iterator[tuple[type[Model], Any]]:
    """The screens that a viewer may open, with their models."""
    for model, screen in admin.site._registry.items():
        if VIEWER in SCREENS[model._meta.label_lower].view:
            yield model, screen


def page_of(item: Model) -> str:
    return reverse(f"admin:{item._meta.app_label}_{item._meta.model_name}_change", args=[quote(item.pk)])


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def all_of(screen: Any) -> str:
    """The query that takes away what a list hides unless asked."""
    hiding = [
        item for item in screen.list_filter if isinstance(item, type) and issubclass(item, admin_base.OpenFirstFilter)
    ]
    return "".join(f"?{item.parameter_name}=all" for item in hiding)


def addresses(pages: int) -> Iterator[str]:
    """Lists, some pages of each, files and the start page: all that a viewer may open and that shows data."""
    for model, screen in screens():
        yield list_of(model) + all_of(screen)
        for item in model._default_manager.order_by("pk")[:pages]:
            yield page_of(item)
    for route in ROUTES.values():
        if VIEWER in route.who and route.answer == 200:
            yield route.address()
    person = Person.objects.order_by("pk").first()
    yield reverse("admin:index") + f"?q={person.primary_full_name.split()[0]}"


def body(answer: Any) -> str:
    """All that an answer says; of a workbook its rows are compressed, so its sheets are read."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    if content[:2] == b"PK":
        book = zipfile.ZipFile(io.BytesIO(content))
        content = b"".join(book.read(name) for name in book.namelist())
    return content.decode(errors="replace")


def seen(client: Client, address: str, secrets: set[str]) -> set[str]:
    """The personal data that an address shows."""
    answer = client.get(address, follow=True)
    assert answer.status_code == 200, address
    text = body(answer)
    return {secret for secret in secrets if secret in text}


# --- what is personal, and how it is masked ----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "phone", "phones", "park_phone", "phone_norm", "primary_phone", "normalized_event_phone", "phone_normalized",
        "license", "licence", "driver_license", "license_norm", "license_number", "best_license", "document",
        "document_number", "primary_document",
    ],
)  # fmt: skip
def test_a_name_of_personal_data_is_known(name: str) -> None:
    assert privacy.is_personal(name)


@pytest.mark.parametrize(
    "name",
    [
        "plate_norm",
        "driver_id",
        "name",
        "license_country",
        "document_type",
        "license_issue_date",
        "phone_is_weak",
        "R1_PHONE_EXACT",
    ],
)
def test_a_name_of_other_data_is_not_taken_for_personal(name: str) -> None:
    assert not privacy.is_personal(name)


def test_a_masked_value_keeps_its_last_three_characters_and_a_short_one_keeps_none() -> None:
    assert [privacy.mask(value) for value in ("987654321", "Q1234", "Q123", "1", 987654321)] == [
        "***321", "***234", "***", "***", "***321",
    ]  # fmt: skip


def test_outside_of_a_page_all_is_masked_and_a_page_shows_it_to_whoever_has_the_right() -> None:
    assert privacy.personal("987654321") == "***321"
    with privacy.page_for(User(username="above", is_superuser=True)) as page:
        assert (privacy.personal("987654321"), page.has_masked) == ("987654321", False)
    with privacy.page_for(AnonymousUser()) as page:
        assert (privacy.personal(None), privacy.personal(True), page.has_masked) == (None, True, False)
        assert (privacy.personal("987654321"), page.has_masked, page.offers_reveal) == ("***321", True, False)
    assert privacy.current() is None


def test_a_json_value_is_masked_by_the_keys_it_stands_under_at_any_depth() -> None:
    stored = {
        "rule": "R1_PHONE_EXACT",
        "phone_normalized": "987654321",
        "phones": [{"old": "911111111", "weak": True}, ["922222222"]],
        "licences": ["Q12345678"],
        "plate": "ABC123",
    }
    shown = admin_base.json_table(stored)
    assert all(left in shown for left in ("R1_PHONE_EXACT", "ABC123", "***321", "***111", "***222", "***678"))
    assert not any(hidden in shown for hidden in ("987654321", "911111111", "922222222", "Q12345678"))


# --- nobody sees -------------------------------------------------------------------------------------------


def leaks(client: Client, secrets: set[str], pages: int) -> dict[str, set[str]]:
    return {address: shown for address in addresses(pages) if (shown := seen(client, address, secrets))}


@pytest.mark.slow
def test_a_viewer_sees_personal_data_on_no_list_in_no_file_and_on_the_first_page_of_no_screen(
    as_role: Callable[[str], Client], secrets: set[str]
) -> None:
    assert leaks(as_role(VIEWER), secrets, pages=1) == {}


@pytest.mark.slow
def test_a_viewer_sees_personal_data_nowhere_and_a_reviewer_sees_them_where_they_belong(
    as_role: Callable[[str], Client], secrets: set[str]
) -> None:
    assert leaks(as_role(VIEWER), secrets, pages=12) == {}
    open_screens = {"/".join(address.split("/")[2:4]) for address in leaks(as_role(REVIEWER), secrets, pages=12)}
    # The other screens hold no personal data; these do, so that the pages above were not merely empty.
    assert open_screens >= {
        "identity/person", "identity/link", "identity/unmatched", "identity/driverindexentry", "identity/leadevent",
        "orphans/quarantineddriver", "attribution/possiblesameperson", "attribution/linksbackfillentry",
        "recovery/identitygap", "recovery/gapalert", "recovery/recoveredlead",
        "ct4site/auditentry",
    }  # fmt: skip


@pytest.mark.slow
def test_the_page_and_the_list_of_persons_show_all_to_a_reviewer_and_ends_to_others(
    as_role: Callable[[str], Client], secrets: set[str]
) -> None:
    person = Person.objects.order_by("pk").first()
    own = {person.primary_phone, person.primary_license, person.primary_document}
    for role in (REVIEWER, ADMIN):
        assert own <= seen(as_role(role), page_of(person), secrets), role
        assert own - {person.primary_document} <= seen(as_role(role), list_of(Person), secrets), role
    for role in (VIEWER, APPROVER, OPERATOR, SETTLEMENT):
        client = as_role(role)
        assert seen(client, page_of(person), secrets) == seen(client, list_of(Person), secrets) == set(), role
        text = client.get(page_of(person)).content.decode()
        assert all(privacy.mask(value) in text for value in own), role


def test_what_a_person_lacks_is_a_dash_on_its_page_for_everybody(as_role: Callable[[str], Client]) -> None:
    person = Person.objects.create(confidence_level="LOW", primary_phone="", primary_full_name="SIN DATOS")
    for role in (VIEWER, APPROVER, REVIEWER):
        page = as_role(role).get(page_of(person)).content.decode()
        fields = re.findall('<div class="readonly">(.*?)</div>', page)
        assert (fields.count("–"), "None" in fields, BUTTON in page) == (4, False, False), role


def test_rows_as_other_systems_delivered_them_are_masked_for_whoever_may_open_them_without_the_right(
    as_role: Callable[[str], Client], secrets: set[str]
) -> None:
    client = as_role(VIEWER)
    User.objects.get(username=VIEWER).user_permissions.set(
        Permission.objects.filter(codename__in=["view_cabinetlead", "view_driver", "view_scoutingregistration"])
    )
    for model in (CabinetLead, Driver):
        for item in model._default_manager.order_by("pk")[:4]:
            assert seen(client, page_of(item), secrets) == set()
        assert seen(client, list_of(model), secrets) == set()
        assert "***" in client.get(list_of(model)).content.decode()


def test_what_is_compared_keeps_its_verdict_when_its_values_are_masked() -> None:
    assert marked_personal("987654321", "987654320") == "<mark>***321</mark>"
    assert marked_personal("987654321", "987654321") == marked_personal("987654321", None) == "***321"
    assert marked_personal(None, "987654321") == admin_base.NOTHING
    with privacy.page_for(User(is_superuser=True)):
        assert marked_personal("987654321", "987654320") == "98765432<mark>1</mark>"


# --- nobody finds or guesses -------------------------------------------------------------------------------


def guesses() -> list[tuple[str, str]]:
    """Pairs of a true value and one of the same shape that nobody has."""
    person = Person.objects.filter(links__source_table="drivers").order_by("pk").first()
    return [
        (person.primary_phone, "900000001"),
        (f"+51 {person.primary_phone}", "+51 900000001"),
        (person.primary_license, "Q00000001"),
        (person.primary_document, "DOC00000001"),
    ]


@pytest.mark.slow
def test_a_search_by_phone_or_licence_finds_nothing_anywhere_for_a_viewer(as_role: Callable[[str], Client]) -> None:
    viewer, reviewer = as_role(VIEWER), as_role(REVIEWER)
    found = {}
    for model, screen in screens():
        if not getattr(screen, "searches", ()):
            continue
        address = list_of(model) + (all_of(screen) or "?")
        for true, _false in guesses():
            changes = viewer.get(f"{address}&{urlencode({'q': true})}").context_data["cl"]
            if changes.result_count or list(changes.result_list):
                found[model._meta.label, true] = changes.result_count
    assert found == {}
    true = guesses()[0][0]
    assert reviewer.get(list_of(Person), {"q": true}).context_data["cl"].result_count == 1


def test_the_start_page_finds_by_phone_for_a_reviewer_only(as_role: Callable[[str], Client]) -> None:
    for true, false in guesses()[:3]:
        answers = [as_role(VIEWER).get(reverse("admin:index"), {"q": text}).content.decode() for text in (true, false)]
        assert all("Nothing and nobody fits." in answer for answer in answers), true
        assert (
            "Nothing and nobody fits."
            not in as_role(REVIEWER).get(reverse("admin:index"), {"q": true}).content.decode()
        )


def test_a_name_still_finds_its_person_for_a_viewer(as_role: Callable[[str], Client]) -> None:
    person = Person.objects.filter(links__source_table="drivers").order_by("pk").first()
    found = as_role(VIEWER).get(list_of(Person), {"q": person.primary_full_name}).context_data["cl"]
    assert person in found.result_list


def test_a_list_says_that_it_finds_by_phone_to_whoever_can(as_role: Callable[[str], Client]) -> None:
    for role, said in (
        (VIEWER, "Plate, name or driver"),
        (APPROVER, "Plate, name or driver"),
        (REVIEWER, "Phone, licence, plate, name or driver"),
    ):
        assert f'placeholder="{said}"' in as_role(role).get(list_of(DriverIndexEntry)).content.decode(), role
    assert "phone" not in as_role(VIEWER).get(reverse("admin:index")).content.decode().lower()
    assert "phone, licence" in as_role(REVIEWER).get(reverse("admin:index")).content.decode()


def personal_columns(model: type[Model]) -> list[str]:
    fields = [field for field in model._meta.concrete_fields if field.get_internal_type() in ("TextField", "CharField")]
    return [field.name for field in fields if any(word in field.name for word in ("phone", "licen", "document"))]


@pytest.mark.slow
def test_no_filter_and_no_lookup_tells_a_right_guess_from_a_wrong_one(as_role: Callable[[str], Client]) -> None:
    viewer = as_role(VIEWER)
    asked = 0
    for model, _screen in screens():
        for column in personal_columns(model):
            true = model._default_manager.exclude(**{column: None}).values_list(column, flat=True).first() or "x"
            for lookup, text in (
                ("", true), ("__exact", true), ("__startswith", true[:4]), ("__gte", true), ("__in", true),
                ("__isnull", "0"), ("__regex", "^9"), ("__regex", "("),
            ):  # fmt: skip
                answers = [viewer.get(list_of(model), {f"{column}{lookup}": typed}) for typed in (text, "900000001")]
                assert [answer.status_code for answer in answers] == [400, 400], (column, lookup)
                asked += 1
            # Neither through a relation nor as the key of a page.
            assert viewer.get(list_of(Link), {f"person__{column}__startswith": true[:4]}).status_code == 400
            for typed in (true, "900000001"):
                assert viewer.get(f"{list_of(model)}{quote(typed)}/change/?_to_field={column}").status_code == 400
    assert asked >= 8 * 9


@pytest.mark.slow
def test_no_list_can_be_sorted_by_personal_data(as_role: Callable[[str], Client]) -> None:
    viewer = as_role(VIEWER)
    for model, screen in screens():
        address = list_of(model) + (all_of(screen) or "?")
        columns = screen.get_list_display(viewer.get(reverse("admin:index")).wsgi_request)
        names = [column if isinstance(column, str) else column.__name__ for column in columns]
        for place, name in enumerate(names):
            if privacy.is_personal(name):
                there, back = (viewer.get(f"{address}&o={order}").context_data["cl"] for order in (place, f"-{place}"))
                assert there.result_list == back.result_list != [], (model, name)


# --- shown once, on record ---------------------------------------------------------------------------------

BUTTON = 'name="reveal"'


def ask(client: Client, item: Model) -> Any:
    return client.post(page_of(item), {"reveal": "1"})


@pytest.mark.parametrize("role", [APPROVER, OPERATOR, SETTLEMENT])
def test_a_click_shows_the_page_once_and_is_on_record(
    as_role: Callable[[str], Client], secrets: set[str], role: str
) -> None:
    client, person = as_role(role), Person.objects.order_by("pk").first()
    own = {person.primary_phone, person.primary_license, person.primary_document}
    assert BUTTON in client.get(page_of(person)).content.decode()
    before = AuditEntry.objects.count()
    answer = ask(client, person)
    assert (answer.status_code, answer["Location"]) == (302, page_of(person))
    entry = AuditEntry.objects.latest("pk")
    assert AuditEntry.objects.count() == before + 1
    assert (entry.actor, entry.action, entry.subject_table, entry.subject_key, entry.person_key) == (
        role, "reveal_personal_data", "identity.person", str(person.pk), person.pk,
    )  # fmt: skip
    assert (entry.before, entry.after, entry.run) == (None, None, None)
    shown = client.get(page_of(person))
    assert own <= {secret for secret in secrets if secret in shown.content.decode()}
    assert BUTTON not in shown.content.decode()
    assert "no-store" in shown["Cache-Control"]
    assert "Personal data shown" in shown.content.decode()
    again = client.get(page_of(person)).content.decode()
    assert (BUTTON in again, any(value in again for value in own)) == (True, False)
    assert AuditEntry.objects.count() == before + 1


def test_what_was_asked_for_one_page_shows_no_other_and_nobody_else(
    as_role: Callable[[str], Client], secrets: set[str]
) -> None:
    client, other_session = as_role(APPROVER), as_role(APPROVER)
    asked, other = Person.objects.order_by("pk")[:2]
    ask(client, asked)
    assert seen(other_session, page_of(asked), secrets) == set()
    assert seen(client, page_of(other), secrets) == seen(client, list_of(Person), secrets) == set()
    assert asked.primary_phone in seen(client, page_of(asked), secrets)


def test_what_was_asked_for_and_not_looked_at_is_masked_again_after_a_minute(
    as_role: Callable[[str], Client], secrets: set[str]
) -> None:
    client, person = as_role(APPROVER), Person.objects.order_by("pk").first()
    ask(client, person)
    session = client.session
    session["reveal"] = [page_of(person), time.time() - 61]
    session.save()
    assert seen(client, page_of(person), secrets) == set()


def test_a_page_of_a_driver_or_lead_is_shown_with_its_person_on_record(
    as_role: Callable[[str], Client], secrets: set[str]
) -> None:
    client = as_role(OPERATOR)
    entry = DriverIndexEntry.objects.filter(
        driver_id__in=Link.objects.filter(source_table="drivers").values("source_pk")
    ).first()
    ask(client, entry)
    written_down = AuditEntry.objects.latest("pk")
    link = Link.objects.get(source_table="drivers", source_pk=entry.pk)
    assert (written_down.subject_table, written_down.subject_key) == ("identity.driverindexentry", entry.pk)
    assert written_down.person_key == link.person_id
    assert entry.phone_norm in seen(client, page_of(entry), secrets)


@pytest.mark.parametrize("role", [VIEWER, REVIEWER])
def test_whoever_lacks_the_right_gets_no_button_and_a_refusal(as_role: Callable[[str], Client], role: str) -> None:
    client, person = as_role(role), Person.objects.order_by("pk").first()
    assert BUTTON not in client.get(page_of(person)).content.decode()
    before = written()
    assert (ask(client, person).status_code, written()) == (403, before)


def test_the_right_opens_no_page_that_one_may_not_open(as_role: Callable[[str], Client]) -> None:
    client, row = as_role(APPROVER), CabinetLead.objects.first()
    before = written()
    assert (ask(client, row).status_code, written()) == (403, before)


def test_a_page_that_is_not_there_or_a_request_from_elsewhere_writes_nothing(as_role: Callable[[str], Client]) -> None:
    client, person = as_role(APPROVER), Person.objects.order_by("pk").first()
    before = AuditEntry.objects.count()
    gone = client.post(page_of(Person(pk="00000000-0000-0000-0000-000000000001")), {"reveal": "1"})
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username=APPROVER), backend=BACKEND)
    assert (gone.status_code, told(ask(strict, person)), AuditEntry.objects.count()) == (404, 403, before)


def test_a_page_without_personal_data_offers_nothing(as_role: Callable[[str], Client]) -> None:
    client = as_role(APPROVER)
    assert BUTTON not in client.get(page_of(Run.objects.order_by("pk").first())).content.decode()
    assert BUTTON not in client.get(list_of(Person)).content.decode()


def test_a_look_leaves_the_history_of_rows_whole_and_keeps_nothing_from_being_rolled_back(
    as_role: Callable[[str], Client],
) -> None:
    client = as_role(APPROVER)
    names = ["chk_history_folds", "chk_link_is_audited", "chk_tally_is_audit"]
    before = [(finding.name, finding.count) for finding in invariants.check(names=names)]
    record = factories.a_recruited_driver("TORRES VEGA ELENA").lead
    factories.match()
    link = factories.link_of(record)
    for item in (link.person, link, Origin.objects.get(pk=link.person_id)):
        assert ask(client, item).status_code == 302
    assert [(finding.name, finding.count) for finding in invariants.check(names=names)] == before
    back = jobs.execute(start_roll_back(run_id=link.run_id, actor="tests").pk)
    assert (back.status, factories.link_of(record)) == (RunStatus.COMPLETED, None)
    assert not Person.objects.filter(pk=link.person_id).exists()


# --- errors and logs ---------------------------------------------------------------------------------------

PHONE = "955123456"


def refuse() -> None:
    """Make the database refuse a row in a text that quotes its phone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "create temp table if not exists numbers (phone text constraint one_number primary key) on commit drop;"
            " insert into numbers values (%s), (%s)",
            [PHONE, PHONE],
        )


def boom(request: HttpRequest) -> HttpResponse:
    refuse()
    return HttpResponse()


urlpatterns = [path("boom/", boom), *urls.urlpatterns]


def lines_of(records: list[logging.LogRecord]) -> str:
    """What the site's own handler writes of log records."""
    (formatter,) = {
        handler.formatter
        for handler in logging.getLogger().handlers
        if isinstance(handler.formatter, privacy.DiscreetFormatter)
    }
    return "\n".join(formatter.format(record) for record in records)


@pytest.mark.django_db
def test_the_database_quotes_the_row_so_that_these_tests_can_fail() -> None:
    with pytest.raises(IntegrityError, match=PHONE):
        refuse()


@pytest.mark.urls(__name__)
def test_an_error_of_a_page_is_logged_by_the_name_of_the_constraint(
    client: Client, caplog: pytest.LogCaptureFixture, db: None
) -> None:
    client.raise_request_exception = False
    with transaction.atomic():
        answer = client.get("/boom/")
        transaction.set_rollback(True)
    logged = lines_of(caplog.records)
    assert (answer.status_code, PHONE in answer.content.decode()) == (500, False)
    assert "Traceback" in logged
    assert "IntegrityError: one_number" in logged
    assert PHONE not in logged


def test_a_run_that_the_database_refused_names_the_constraint_in_its_page_its_log_and_its_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, db: None
) -> None:
    def fail(context: jobs.RunContext) -> None:
        refuse()

    job = jobs.Job(JobType.DRIVERS_INDEX_REFRESH, fail, "test", frozenset(), True)
    monkeypatch.setitem(jobs._JOBS, JobType.DRIVERS_INDEX_REFRESH, job)
    run = jobs.execute(jobs.start(job_code=JobType.DRIVERS_INDEX_REFRESH, actor="tests", dry_run=True).pk)
    assert run.status == RunStatus.FAILED
    assert "one_number" in run.error_message
    stored = f"{run.error_message} {run.log} {run.stats} {run.parameters} {lines_of(caplog.records)} {caplog.text}"
    assert PHONE not in stored


def test_an_error_that_came_from_another_is_discreet_too() -> None:
    formatter = privacy.DiscreetFormatter("%(message)s")
    try:
        try:
            with_savepoint()
        except IntegrityError as error:
            raise RuntimeError("the file could not be read") from error
    except RuntimeError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, __file__, 1, "failed", (), (RuntimeError, error, error.__traceback__)
        )
    record.exc_text = f"written by another handler: {PHONE}"
    line = formatter.format(record)
    assert ("the file could not be read" in line, "one_number" in line, PHONE in line) == (True, True, False)


def with_savepoint() -> None:
    with transaction.atomic():
        refuse()


def test_what_waits_in_the_queue_and_what_it_answered_hold_no_personal_data(secrets: set[str]) -> None:
    jobs.start(job_code=JobType.COLLECTION_REFRESH, actor="tests", queue=True)
    (row,) = OrmQ.objects.all()
    assert row.task["func"] == jobs.QUEUED_PATH
    assert not any(secret in str(row.task) for secret in secrets)
