"""The screens of attribution: what they find, what they say of a claim, what they refuse, what they cost."""

from __future__ import annotations

import datetime as dt
import html
import re
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

from attribution.admin import labels
from attribution.admin.home import scout_attribution
from attribution.models import (
    AttributionDay,
    BacklogPerson,
    DecisionStatus,
    EventsBackfillEntry,
    LeadScoutMapping,
    LedgerBackfillEntry,
    LedgerEntry,
    LinksBackfillEntry,
    PossibleSamePerson,
    Scout,
    ScoutConflict,
)
from ct4site import jobs
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from ct4site.rollback import start_roll_back
from ct4site.sealing import write_without_run
from identity.admin import finding
from identity.models import LeadEvent, Link, MigrationRecord, Person, ScoutingRegistration
from tests.attribution.stories import (
    TODAY,
    a_claimed_person,
    a_day,
    a_migration_of,
    a_payment_of,
    a_person,
    a_registration_of,
    a_run,
    a_scout,
    an_entry,
    events_of,
    many,
    own,
)
from tests.attribution.test_ledger import TABLES, day, decide
from tests.factories import Record, a_driver, a_lead, a_registration, an_event, refresh, run_job

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

B = "/admin/attribution/"
LEDGER, CONFLICTS, BACKLOG, SCOUTS = f"{B}ledgerentry/", f"{B}scoutconflict/", f"{B}backlogperson/", f"{B}scout/"
AUDITS = [LinksBackfillEntry, LedgerBackfillEntry, EventsBackfillEntry]
OUR_SCREENS = [LedgerEntry, ScoutConflict, BacklogPerson, Scout, *AUDITS, AttributionDay]
PHONE, LICENCE, PLATE = "945111222", "Q45678901", "ABC123"

each_screen = pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)


def signed_in(client: Client, user: User) -> Client:
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    client.cookies["django_language"] = "en"
    return client


@pytest.fixture
def viewer(client: Client) -> Client:
    """A signed-in user who may look at everything of ours and do nothing, in English."""
    user = User.objects.create_user("mirador", is_staff=True)
    apps = ["attribution", "identity", "ct4site"]
    user.user_permissions.set(Permission.objects.filter(content_type__app_label__in=apps, codename__startswith="view_"))
    return signed_in(client, user)


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(item: Model) -> str:
    return reverse(f"admin:{item._meta.app_label}_{item._meta.model_name}_change", args=[quote(item.pk)])


def listed(client: Client, address: str, **query: Any) -> list[Any]:
    """The keys of a list's rows, in their order."""
    answer = client.get(address, query)
    assert answer.status_code == 200
    return [item.pk for item in answer.context_data["cl"].result_list]


def sections(client: Client, item: Model) -> dict[str, Any]:
    answer = client.get(page_of(item))
    assert answer.status_code == 200
    return {section.title: section for section in answer.context_data["sections"]}


def visible(markup: Any) -> str:
    """The text of a piece of HTML; what is apart on the page is apart here."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", str(markup))).split())


def rows(section: Any) -> list[list[str]]:
    """The cells of a section as text without markup."""
    return [[visible(cell) for cell in row] for row in section.rows]


def dossier(client: Client, person: Person) -> dict[str, Any]:
    return sections(client, ScoutConflict(person=person))


def verdicts(client: Client, person: Person) -> dict[str, tuple[str, str]]:
    """The dossier's verdict: ``{scout: (verdict, why)}``, in the order of the page."""
    return {row[0]: (row[1], row[2]) for row in rows(dossier(client, person)["Who wins, and why the others do not"])}


def signs(client: Client, person: Person) -> list[str]:
    return [row[0] for row in rows(dossier(client, person)["Worth a look"])]


def text_of(client: Client, address: str) -> str:
    """A page's visible text."""
    return visible(client.get(address).content.decode())


# --- everything opens, whatever is asked ------------------------------------------------------------------


def test_every_screen_has_a_purpose_and_passes_the_checks_of_the_admin():
    for model in OUR_SCREENS:
        screen = admin.site.get_model_admin(model)
        assert screen.purpose, model
        assert screen.check() == []


def one_of(model: type[Model]) -> Any:
    many(0, 2)
    return model._default_manager.order_by("pk").first()


@each_screen
def test_nothing_can_be_added_changed_or_deleted_on_any_screen(admin_client, model):
    item = one_of(model)
    assert admin_client.post(list_of(model) + "add/", {}).status_code == 403
    assert admin_client.post(page_of(item), {}).status_code == 403
    assert admin_client.post(page_of(item).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403


BAD = [
    "q=%00", "%00=1", "kind=%00", "scout=%00", "run=x", "run=99999999999999999999999", "scout=x", "scout=-1", "scout=2147483648", "scout=%D9%A3",
    "unknown=1", "pk__in=x", "person=x", "person__primary_phone__startswith=9", "evidence_json__counts=9", "scout_ids__contains=7",
    "decision_status__in=%00", "decision_status__gt=x", "attributed_source__exact=NOPE", "attributed_source__isnull=x", "kind=NOPE", "rule=NOPE",
    "category=NOPE", "has_scout=NOPE", "active=NOPE", "o=99.-5.x", "o=-99999999999999999999", "p=-1", "after=x", "before=%ff",
    "after=2026-99-99", "all=", "q=" + "9" * 500, "q=%25%28%27%5C", "q=2147483648", "q=%ff%fe", "q=%ED%A0%80", "q=+++", "q=%23-1", "_to_field=x",
]  # fmt: skip


@each_screen
def test_no_question_put_to_a_list_is_a_fault_of_the_server(viewer, model):
    many(0, 3)
    viewer.raise_request_exception = False
    answers = {query: viewer.get(f"{list_of(model)}?{query}").status_code for query in BAD}
    assert {query: code for query, code in answers.items() if code not in (200, 302, 400)} == {}


ODD_KEYS = ["x", "_00", "%00", "-1", "9" * 30, "%27", "..%2f..", "1.5", str(uuid.UUID(int=7)), "2026-99-99", "0001-01-01"]  # fmt: skip


@each_screen
def test_a_page_of_nothing_leads_home_or_is_refused(viewer, model):
    answers = {key: viewer.get(f"{list_of(model)}{key}/change/").status_code for key in ODD_KEYS}
    assert {key: code for key, code in answers.items() if code not in (302, 400, 404)} == {}


@each_screen
def test_a_screen_is_shown_to_those_only_who_may_see_it(client, model):
    item = one_of(model)
    user = User.objects.create_user("solo", is_staff=True)
    signed_in(client, user)
    assert [client.get(address).status_code for address in (list_of(model), page_of(item))] == [403, 403]
    user.user_permissions.set(Permission.objects.filter(codename=f"view_{model._meta.model_name}"))
    assert [client.get(address).status_code for address in (list_of(model), page_of(item))] == [200, 200]


def test_an_empty_list_is_a_page_too(viewer):
    assert {model: listed(viewer, list_of(model)) for model in OUR_SCREENS} == {model: [] for model in OUR_SCREENS}


def test_hostile_texts_are_shown_as_text(viewer):
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    a_scout(7, hostile)
    person = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3), name=hostile)
    an_entry(
        person, 7, hostile, evidence_json={hostile: hostile, "event_id": hostile, "scouts_in_conflict": [{"scout_id": hostile}]}
    )  # fmt: skip
    write_without_run(hostile)
    AuditEntry.objects.create(
        actor=hostile, action=hostile, subject_table="lead_ledger", subject_key=hostile, person_key=person.pk, reason=hostile,
        after={"decision_status": hostile, "attributed_scout_id": hostile, "attribution_rule": hostile},
    )  # fmt: skip
    run = a_run(JobType.SCOUT_FIX, stats={hostile: hostile, "steps": {"views": f"failed: {hostile}"}}, log=[hostile])
    links = LinksBackfillEntry.objects.create(
        source_table=hostile, source_pk=hostile, match_method=hostile, match_result=hostile, action_type=hostile,
        evidence_json={hostile: hostile}, reason=hostile,
    )  # fmt: skip
    pages = [page_of(item) for item in (person.ledger, ScoutConflict(person=person), Scout(7), person, run, links)]
    lists = [f"{list_of(model)}" for model in OUR_SCREENS]
    for address in (*pages, *lists, f"{CONFLICTS}?kind=all", "/admin/", "/admin/?q=7"):
        body = viewer.get(address).content.decode()
        assert "<script>alert" not in body, address
        assert "<img src=x" not in body, address


STORED = [
    None, [], "text", 7, {"scouts_in_conflict": None}, {"scouts_in_conflict": [None, 7, "x", [], {}]}, {"counts": []},
    {"scouts_in_conflict": [{"scout_id": "x", "first_date": 7, "last_date": "2026-99-99", "count_events": []}]},
    {"counts": {"scouting": [1], "cabinet": None}, "event_id": 2**70, "event_date": "2026-99-99"},
    {"event_id": True, "conflict_window_days": "x", "conflict_scout_ids": [None, "x", 7], "previous_rule": [1]},
    {"event_id": -1, "event_date": 7, "conflict_scout_ids": 7, "previous_rule": {"a": 1}},
]  # fmt: skip


@pytest.mark.parametrize("stored", STORED, ids=range(len(STORED)))
def test_the_pages_survive_whatever_is_stored_as_evidence(viewer, stored):
    person = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3))
    entry = an_entry(person, evidence_json=stored)
    write_without_run("x")
    AuditEntry.objects.create(
        actor="x", action="x", subject_table="lead_ledger", subject_key="x", person_key=person.pk, before={"decision_status": stored},
        after={"decision_status": "assigned", "attributed_scout_id": stored},
    )  # fmt: skip
    assert viewer.get(page_of(person)).status_code == 200
    for rule in ("C", "RESOLVED_MANUAL_CONFLICT", "BACKFILL_SINGLE_SCOUT_FROM_EVENTS"):
        LedgerEntry.objects.update(attribution_rule=rule)
        assert viewer.get(page_of(entry)).status_code == 200
        assert viewer.get(page_of(ScoutConflict(person=person))).status_code in (200, 302)


# --- what it costs ------------------------------------------------------------------------------------------


ADDRESSES = [
    LEDGER, f"{LEDGER}?q=945111222", f"{LEDGER}?scout=3&has_scout=yes", CONFLICTS, f"{CONFLICTS}?kind=all&rule=A", BACKLOG,
    f"{BACKLOG}?category=D", SCOUTS, f"{SCOUTS}?q=scout", *(list_of(model) for model in (*AUDITS, AttributionDay)), "/admin/",
    "/admin/?q=3",
]  # fmt: skip


def test_a_page_asks_as_many_questions_for_ten_rows_as_for_two_hundred(viewer, monkeypatch):
    for model in OUR_SCREENS:
        monkeypatch.setattr(type(admin.site.get_model_admin(model)), "list_per_page", 100)

    def asked() -> dict[str, int]:
        counts = {}
        for address in ADDRESSES:
            with CaptureQueriesContext(connection) as queries:
                assert viewer.get(address).status_code == 200
            counts[address] = len(queries)
        return counts

    many(0, 10)
    viewer.get(LEDGER)
    few = asked()
    many(10, 200)
    # A list that fits one page is counted by its own rows: one question less.
    assert {address: count for address, count in asked().items() if count > few[address] + 1} == {}


def test_the_page_of_a_person_with_many_claims_asks_no_more_than_that_of_one_with_few(viewer):
    few, much = a_person(), a_person()
    for person, number in ((few, 2), (much, 40)):
        for which in range(number):
            a_scout(100 * number + which)
            a_registration_of(person, 100 * number + which, 1 + which)
            a_migration_of(person, 100 * number + which, 1 + which)
        an_entry(person, 100 * number)
    for make in (lambda person: ScoutConflict(person=person), lambda person: person.ledger, lambda person: person):
        counts = []
        for person in (few, few, much):
            with CaptureQueriesContext(connection) as queries:
                assert viewer.get(page_of(make(person))).status_code == 200
            counts.append(len(queries))
        assert counts[2] == counts[1]


def test_a_dossier_of_very_many_claims_says_that_it_stops(viewer, monkeypatch):
    monkeypatch.setattr("attribution.admin.claims.MOST", 3)
    person = a_claimed_person(*(("scouting", 7 + number, 1 + number) for number in range(5)))
    timeline = dossier(viewer, person)["Timeline of all claims"]
    assert (len(timeline.rows), timeline.has_more) == (3, True)


INDEXED = {
    LedgerEntry: ("updated_at", "pk", "person"), AttributionDay: ("metric_date", "pk"), Scout: ("scout_id", "pk"),
    ScoutConflict: ("distinct_scout_count", "pk"), BacklogPerson: ("pk",),
}  # fmt: skip


@each_screen
def test_a_list_is_not_sorted_by_a_column_that_nobody_offered(viewer, model):
    many(0, 2)
    for number in range(1, len(admin.site.get_model_admin(model).list_display) + 1):
        ordering = viewer.get(f"{list_of(model)}?o={number}").context_data["cl"].queryset.query.order_by
        terms = [getattr(getattr(term, "expression", term), "name", str(term)).lstrip("-") for term in ordering]
        assert terms[0] in INDEXED.get(model, ("id", "pk")), number


@pytest.mark.parametrize("address", [LEDGER, f"{CONFLICTS}?kind=all", f"{BACKLOG}?category=D", SCOUTS])
def test_a_list_is_paged_through_without_losing_or_repeating_a_row(viewer, monkeypatch, address):
    for model in OUR_SCREENS:
        monkeypatch.setattr(type(admin.site.get_model_admin(model)), "list_per_page", 4)
    many(0, 11)
    LedgerEntry.objects.filter(attribution_rule="A").delete()  # category D
    seen: list[Any] = []
    here = address
    while here:
        listing = viewer.get(here).context_data["cl"]
        seen += [item.pk for item in listing.result_list]
        here = address.split("?")[0] + listing.next_url if listing.next_url else ""
    expected = {LEDGER: LedgerEntry.objects.count()}.get(address, 11)
    assert len(set(seen)) == len(seen) == expected


def test_a_list_says_how_many_rows_there_are_whether_it_counted_them_before_or_not(viewer, monkeypatch):
    for model in (ScoutConflict, BacklogPerson):
        monkeypatch.setattr(type(admin.site.get_model_admin(model)), "list_per_page", 2)
    many(0, 5)
    far = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 30))
    an_entry(far, 9)
    bare = BacklogPerson.objects.filter(category="C").values_list("pk", flat=True)[0]
    for address, expected in (
        (CONFLICTS, 5), (f"{CONFLICTS}?kind=OPEN", 5), (f"{CONFLICTS}?kind=", 5), (f"{CONFLICTS}?kind=all", 6), (f"{CONFLICTS}?kind=HISTORICAL", 1),
        (f"{CONFLICTS}?kind=NOPE", 0), (f"{CONFLICTS}?kind=all&rule=A", 6), (f"{CONFLICTS}?kind=all&scout=9", 1),
        (BACKLOG, 5), (f"{BACKLOG}?category=C", 2), (f"{BACKLOG}?category=B", 3), (f"{BACKLOG}?category=NOPE", 0), (f"{BACKLOG}?q={bare}", 1),
    ):  # fmt: skip
        assert viewer.get(address).context_data["cl"].result_count == expected, address


# --- the ledger -----------------------------------------------------------------------------------------------


def test_the_ledger_is_filtered_by_decision_source_rule_and_scout(viewer):
    given = an_entry(a_person(), 7, "A")
    fleet = an_entry(a_person(), 8, "A_FLEET", attributed_source="fleet_migration")
    torn = an_entry(a_person(), None, "C", decision_status="conflict")
    gone = an_entry(a_person(), None, "U", decision_status="unassigned", attributed_source=None)
    expected = {
        "decision_status__exact=conflict": [torn], "decision_status__exact=assigned": [given, fleet],
        "attributed_source__exact=fleet_migration": [fleet], "attributed_source__exact=scouting": [given, torn],
        "rule=A_FLEET": [fleet], "rule=U": [gone], "scout=7": [given], "scout=99": [], "has_scout=yes": [given, fleet],
        "has_scout=no": [torn, gone], "has_scout=no&rule=C": [torn], "": [given, fleet, torn, gone],
    }  # fmt: skip
    for query, entries in expected.items():
        assert sorted(listed(viewer, f"{LEDGER}?{query}")) == sorted(entry.pk for entry in entries), query


TYPED = [
    "+51 945 111 222", "945-111-222", "51945111222", "q-45678901", "juan QUISPE", "Mamaní Quispe", "abc-123", "7", "rojas ANA",
]  # fmt: skip


def test_a_person_is_found_in_every_list_by_what_people_type_and_the_scout_too(viewer):
    a_scout(7, "ROJAS ANA")
    found = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3), primary_phone=PHONE, primary_license=LICENCE)
    other = a_claimed_person(
        ("scouting", 3, 1), ("scouting", 4, 3), name="TORRES VEGA PEDRO", primary_phone="911222333"
    )
    driver_id = a_driver("QUISPE MAMANI JUAN", phone=PHONE, licence=LICENCE, plate=PLATE)
    refresh()
    a_registration_of(found, 7, 2)  # no driver without a lead
    own(Record("drivers", driver_id), found)
    an_entry(found, 7)
    an_entry(other, 3)
    for typed in (*TYPED, str(found.pk), driver_id):
        assert listed(viewer, LEDGER, q=typed) == [found.pk], typed
    LedgerEntry.objects.update(attributed_scout_id=None)
    for typed in (*TYPED[:-2], str(found.pk)):
        for address in (CONFLICTS, BACKLOG):
            assert listed(viewer, address, q=typed) == [found.pk], (typed, address)


@pytest.mark.parametrize("typed", ["zzz", "999999998", "quispe zzz", str(uuid.UUID(int=5)), "%", "   ."])
def test_a_search_that_fits_nobody_finds_nobody(viewer, typed):
    person = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3), primary_phone=PHONE)
    an_entry(person)
    for address in (LEDGER, CONFLICTS, BACKLOG):
        assert listed(viewer, address, q=typed) == [], address


def test_a_search_that_fits_very_many_says_that_it_stops(viewer, monkeypatch):
    monkeypatch.setattr(finding, "MOST", 1)
    monkeypatch.setattr("attribution.admin.finding.MOST", 1)
    monkeypatch.setattr("identity.admin.finding.MOST", 1)
    for _number in range(2):
        an_entry(a_person(primary_phone=PHONE))
    answer = viewer.get(LEDGER, {"q": PHONE})
    assert len(answer.context_data["cl"].result_list) == 1
    assert "The first 1 are shown" in answer.content.decode()


def test_every_stored_rule_source_and_status_has_words(viewer):
    for rule in labels.RULES:
        an_entry(a_person(), 7, rule)
    body = text_of(viewer, LEDGER)
    with translation.override("en"):
        for rule, words in labels.RULES.items():
            assert f"{words} {rule}" in body
    assert "Scouting" in body and "Assigned" in body
    LedgerEntry.objects.all().delete()
    for status in DecisionStatus.values:
        an_entry(a_person(), None, None, decision_status=status)
    body = text_of(viewer, f"{LEDGER}?has_scout=no")
    # An assigned row without scout is no good news (domain.md 6.3).
    for words in ("Source only", "Unassigned", "Conflict"):
        assert words in body


@pytest.mark.parametrize(
    ("events", "sentences"),
    [
        ([("migration", 3, 1)], ["The newest migration names scout 3; a migration comes before registrations and cabinet leads."]),
        ([("migration", None, 1)], ["The person came with a migration, but none names a scout."]),
        ([("scouting", 7, 1)], ["The newest registration names scout 7 (ROJAS ANA).", "Decided by event #", "Considered: migrations 0, registrations 1, cabinet leads 0."]),
        ([("scouting", None, 1)], ["The person was registered in the field, but no registration names a scout."]),
        ([("cabinet", None, 1)], ["The person has only cabinet leads, and a cabinet lead gives no scout a person."]),
        (
            [("scouting", 7, 1), ("scouting", 9, 3), ("scouting", 9, 4)],
            ["Several scouts registered the person within 7 days, so none is credited until a person decides.", "scout 7 (ROJAS ANA): 1 Jan 2026 (events: 1)", "scout 9: 3 Jan 2026 to 4 Jan 2026 (events: 2)"],
        ),
    ],
    ids=["migration", "migration without scout", "registration", "registration without scout", "cabinet", "conflict"],
)  # fmt: skip
def test_the_page_of_an_entry_says_why_in_sentences(viewer, events, sentences):
    a_scout(7, "ROJAS ANA")
    person = a_claimed_person(*events)
    decide()
    shown = text_of(viewer, page_of(person.ledger))
    for sentence in sentences:
        assert sentence in shown, shown


def test_the_page_of_an_entry_leads_to_its_conflict_or_says_that_there_is_none(viewer):
    calm, torn = a_claimed_person(("scouting", 7, 1)), a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3))
    decide()
    assert "every source names the same scout" in text_of(viewer, page_of(calm.ledger))
    assert page_of(ScoutConflict(person=torn)) in viewer.get(page_of(torn.ledger)).content.decode()


def test_the_page_of_an_entry_shows_the_evidence_as_stored_and_only_its_own_history(viewer):
    person, other = a_claimed_person(("scouting", 7, 1)), a_claimed_person(("scouting", 8, 1))
    decide()
    body = viewer.get(page_of(person.ledger)).content.decode()
    assert "<dt>chosen_policy</dt><dd>origin_priority</dd>" in body
    history = rows(sections(viewer, person.ledger)["What the ledger said, and why"])
    assert len(history) == 1
    assert str(other.pk) not in body


# --- conflicts and the dossier --------------------------------------------------------------------------------


def test_the_list_shows_open_conflicts_until_asked_otherwise_and_counts_both_kinds(viewer):
    torn = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3))
    far = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 30))
    a_claimed_person(("scouting", 7, 1), ("scouting", 7, 30))
    decide()
    assert listed(viewer, CONFLICTS) == listed(viewer, CONFLICTS, kind="OPEN") == [torn.pk]
    assert listed(viewer, CONFLICTS, kind="HISTORICAL") == [far.pk]
    assert set(listed(viewer, CONFLICTS, kind="all")) == {torn.pk, far.pk}
    assert "Conflicts by kind" in viewer.get(CONFLICTS).content.decode()
    assert [(row[0], row[2]) for row in viewer.get(CONFLICTS).context_data["kinds"]] == [("OPEN", 1), ("HISTORICAL", 1)]
    assert listed(viewer, CONFLICTS, kind="all", rule="A") == [far.pk]
    assert listed(viewer, CONFLICTS, kind="all", scout=9) == listed(viewer, CONFLICTS, kind="all", scout="7")
    assert listed(viewer, CONFLICTS, kind="all", scout=8) == []


def test_the_worst_conflict_comes_first(viewer):
    two = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3))
    many_claims = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3), ("scouting", 9, 4))
    three = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3), ("scouting", 5, 4))
    assert listed(viewer, CONFLICTS) == [three.pk, many_claims.pk, two.pk]


def test_records_that_are_nobody_yet_never_form_a_conflict(viewer):
    for scout in (7, 9, 11):
        an_event(a_registration(scout=scout), scout_id=scout)
    assert listed(viewer, CONFLICTS, kind="all") == []


def test_two_scouts_within_the_window_go_to_nobody_and_the_dossier_says_why(viewer):
    a_scout(7, "ROJAS ANA")
    person = a_person()
    first, second = a_registration_of(person, 7, 1), a_registration_of(person, 9, 4)
    decide()
    found = verdicts(viewer, person)
    assert found == {
        "7 ROJAS ANA": ("Not credited", "It registered the person first; scout 9 did 3 days later."),
        "9 not listed": ("Not credited", "It registered the person 3 days after scout 7 (ROJAS ANA)."),
    }
    body = text_of(viewer, page_of(ScoutConflict(person=person)))
    assert (
        "Nobody: scout 7 (ROJAS ANA) and scout 9 registered the person within 3 days. Within 7 days none of them is credited "
        "until a person decides."
    ) in body  # fmt: skip
    assert "Nothing is settled for this person until a person decides." in body
    shown = dossier(viewer, person)
    timeline = rows(shown["Timeline of all claims"])
    assert [(row[0], row[1], row[2], row[3]) for row in timeline] == [
        ("1 Jan 2026", "same day", "7 ROJAS ANA", "Lead event"),
        ("1 Jan 2026", "same day", "7 ROJAS ANA", "Scouting registration"),
        ("4 Jan 2026", "3 days", "9 not listed", "Lead event"),
        ("4 Jan 2026", "3 days", "9 not listed", "Scouting registration"),
    ]
    links = str(shown["Timeline of all claims"].rows)
    for record in (first, second):
        assert page_of(ScoutingRegistration(pk=int(record.source_pk))) in links
        assert page_of(LeadEvent.objects.get(source_pk=record.source_pk)) in links
    assert signs(viewer, person) == [
        "The registrations lie 3 days apart, at most 7 days.",
        "Not in the list of scouts: 9.",
    ]
    ledger = dict(rows(shown["The ledger's decision"]))
    assert (ledger["Decision"], ledger["Scout"]) == ("Conflict", "–")


def test_registrations_of_one_day_and_the_first_of_three_are_told(viewer):
    person = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 1), ("migration", 3, 2), ("cabinet", 4, 2))
    decide()
    found = {scout.split()[0]: why for scout, (_verdict, why) in verdicts(viewer, person).items()}
    assert found == {
        "3": "Its migration does not settle the conflict between the registrations.",
        "4": "Its claims do not settle the conflict between the registrations.",
        "7": "It registered the person on the same day as scout 9.",
        "9": "It registered the person on the same day as scout 7.",
    }
    assert "registered the person on the same day. Within 7 days" in text_of(
        viewer, page_of(ScoutConflict(person=person))
    )
    assert "Claims of different scouts are of the same day." in signs(viewer, person)


def test_of_scouts_far_apart_the_newest_wins_and_the_conflict_is_history(viewer):
    person = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 20))
    decide()
    assert verdicts(viewer, person) == {
        "9 not listed": ("Wins", "The newest registration, of 20 Jan 2026, names scout 9."),
        "7 not listed": ("Not credited", "Its registration of 1 Jan 2026 is 19 days older than that of scout 9."),
    }
    assert "The registrations lie 19 days apart, more than 7 days." in signs(viewer, person)
    body = text_of(viewer, page_of(ScoutConflict(person=person)))
    assert "The ledger decided and the claims lie far apart: settlement goes on." in body
    # The ledger's word of today is no claim of today.
    assert "First claim: 1 Jan 2026 Last claim: 20 Jan 2026" in body
    assert "1 Jan 2026 20 Jan 2026" in text_of(viewer, f"{CONFLICTS}?kind=all")


def test_a_migration_comes_before_a_registration_however_new(viewer):
    person = a_person()
    migration, _registration = a_migration_of(person, 3, 1), a_registration_of(person, 7, 5)
    decide()
    assert verdicts(viewer, person) == {
        "3 not listed": ("Wins", "The newest migration, of 1 Jan 2026, names scout 3."),
        "7 not listed": ("Not credited", "It registered the person, but a migration comes before registrations."),
    }
    assert "A migration and a registration name different scouts." in signs(viewer, person)
    links = str(dossier(viewer, person)["Timeline of all claims"].rows)
    assert page_of(MigrationRecord(pk=int(migration.source_pk))) in links


def test_an_older_migration_loses_to_a_newer_one(viewer):
    person = a_claimed_person(("migration", 3, 1), ("migration", 4, 2))
    decide()
    assert (
        verdicts(viewer, person)["3 not listed"][1]
        == "Its migration of 1 Jan 2026 is 1 day older than that of scout 4."
    )


def test_a_tie_is_called_a_tie(viewer):
    person = a_claimed_person(("migration", 3, 1), ("migration", 4, 1))
    decide()
    assert verdicts(viewer, person) == {
        "4 not listed": ("Wins", "The newest migration, of 1 Jan 2026, names scout 4."),
        "3 not listed": ("Not credited", "A tie: both claims are of 1 Jan 2026, and of one day the highest record number counts."),
    }  # fmt: skip


def test_a_ledger_that_names_a_scout_whom_no_source_names_says_so(viewer):
    person = a_claimed_person(("scouting", 7, 1))
    an_entry(person, 5, "A")
    assert verdicts(viewer, person) == {
        "5 not listed": ("Wins", "The ledger names scout 5, whom no source names."),
        "7 not listed": ("Not credited", "The ledger names scout 5 instead."),
    }
    assert "The ledger names scout 5, whom no source names." in signs(viewer, person)


def test_a_conflict_that_a_person_decided_comes_back_only_with_a_scout_that_was_not_known(viewer):
    person = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3))
    entry = an_entry(person, 7, "RESOLVED_MANUAL_CONFLICT", evidence_json={"conflict_scout_ids": [7, 9]})
    assert listed(viewer, CONFLICTS, kind="all") == []
    assert viewer.get(page_of(ScoutConflict(person=person))).status_code == 302
    shown = text_of(viewer, page_of(entry))
    assert "A person decided the conflict for scout 7; no job overrules that. Against scout 9." in shown
    events_of(person, ("scouting", 11, 4))
    assert verdicts(viewer, person) == {
        "7 not listed": ("Wins", "A person gave this person to scout 7."),
        "9 not listed": ("Not credited", "A person decided for scout 7."),
        "11 not listed": ("Not credited", "A person decided for scout 7."),
    }


def test_what_came_after_a_backfill_does_not_overrule_it(viewer):
    person = a_claimed_person(("cabinet", 7, 1))
    run_job(JobType.LEDGER_BACKFILL)
    events_of(person, ("scouting", 9, 20))
    found = verdicts(viewer, person)
    assert found["7 not listed"][1] == "When the ledger was filled in, scout 7 was the only one the events named."
    assert found["9 not listed"][1].startswith("It was not among the events when the ledger was filled in")


def test_whoever_only_a_payment_a_cabinet_lead_or_a_changed_record_names_is_told_why_not(viewer):
    person = a_person()
    a_registration_of(person, 9, 1, event_scout=7)
    a_payment_of(person, 5, 3)
    events_of(person, ("cabinet", 4, 2))
    decide()
    found = {scout.split()[0]: why for scout, (_verdict, why) in verdicts(viewer, person).items()}
    assert found == {
        "7": "The newest registration, of 1 Jan 2026, names scout 7.",
        "4": "Only a cabinet lead names it, and a cabinet lead gives no scout a person.",
        "5": "Only a payment names it; leads decide, payments do not.",
        "9": "Only the record as it is today names it; its lead event, which decides, does not.",
    }
    assert "A record names another scout than its lead event." in signs(viewer, person)


def test_before_the_ledger_knows_a_person_the_best_source_comes_first_and_nothing_is_settled(viewer):
    person = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 30), ("scouting", 11, 30))
    a_payment_of(person, 5, 90)
    found = {scout.split()[0]: why for scout, (_verdict, why) in verdicts(viewer, person).items()}
    assert found["11"] == (
        "The ledger names nobody. Of the sources scout 11 comes first (Lead event, 30 Jan 2026), but nothing is settled until "
        "the ledger or a person decides."
    )  # fmt: skip
    assert found["7"] == "Its registration of 1 Jan 2026 is 29 days older than that of scout 11."
    assert found["9"].startswith("A tie: both claims are of 30 Jan 2026")
    assert found["5"] == "Its best source (Cabinet payment) comes after that of scout 11 (Lead event)."
    assert rows(dossier(viewer, person)["The ledger's decision"]) == []


def test_a_scout_who_left_and_a_person_known_twice_are_worth_a_look(viewer):
    a_scout(7, "ROJAS ANA", active=False)
    a_scout(9, "SOTO LUIS")
    person, double = a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3)), a_person()
    lower, higher = sorted((person, double), key=lambda one: one.pk)
    assert "The person may be known twice." not in signs(viewer, person)
    PossibleSamePerson.objects.create(person_a=lower, person_b=higher)
    assert {"Not active any more: scout 7 (ROJAS ANA).", "The person may be known twice."} <= set(signs(viewer, person))


def test_a_claim_without_a_date_and_one_of_a_record_that_is_gone_have_their_place(viewer):
    person = a_claimed_person(("scouting", 7, 1))
    payment = a_payment_of(person, 9, 1)
    type(payment).objects.update(date=None)
    timeline = rows(dossier(viewer, person)["Timeline of all claims"])
    assert [row[:4] for row in timeline] == [
        ["1 Jan 2026", "same day", "7 not listed", "Lead event"],
        ["–", "–", "9 not listed", "Cabinet payment"],
    ]


# --- backlog --------------------------------------------------------------------------------------------------


@pytest.fixture
def backlog() -> dict[str, Person]:
    """One person of each category, and of D one whose conflict waits and one whom the ledger was not asked about."""
    people = {
        "A": a_claimed_person(("cabinet", None, 1), ("cabinet", None, 2)),
        "D conflict": a_claimed_person(("scouting", 7, 1), ("scouting", 9, 3)),
        "D filled": a_claimed_person(("cabinet", 7, 1)),
        "B": a_person(), "C": a_person(), "E": a_person(),
    }  # fmt: skip
    decide()
    people["D"] = a_claimed_person(("scouting", 7, 1))
    an_entry(people["B"], None, "U", decision_status="unassigned")
    an_entry(people["E"], None, None, decision_status="unassigned")
    an_entry(a_person(), 7)
    return people


def test_the_backlog_is_filtered_by_category_and_counts_each(viewer, backlog):
    for letter in "ABCDE":
        expected = {person.pk for name, person in backlog.items() if name[0] == letter}
        assert set(listed(viewer, BACKLOG, category=letter)) == expected
    answer = viewer.get(BACKLOG)
    assert [(row[0], row[2]) for row in answer.context_data["categories"]] == [
        ("A", 1), ("B", 1), ("C", 1), ("D", 3), ("E", 1),
    ]  # fmt: skip
    assert answer.context_data["total"] == len(listed(viewer, BACKLOG)) == 7


def test_every_person_of_the_backlog_says_why_and_what_would_help(viewer, backlog):
    shown = {}
    for name, person in backlog.items():
        body = text_of(viewer, page_of(BacklogPerson(person=person)))
        shown[name] = body
        assert viewer.get(BACKLOG, {"q": str(person.pk)}).status_code == 200
    assert "2 lead events, and none names a scout; a mapping of leads to scouts would." in shown["A"]
    assert "In the ledger, but no lead event speaks of the person any more." in shown["B"]
    assert "Known from elsewhere: no lead event, not in the ledger." in shown["C"]
    assert "1 lead event, 1 with a scout, not in the ledger yet; the next refresh decides." in shown["D"]
    assert "1 lead event, 1 with a scout, but the ledger names none; filling in would." in shown["D filled"]
    assert "Several scouts registered the person within days: the conflict waits for a decision." in shown["D conflict"]
    assert "In the ledger without a rule and without events: look at it by hand." in shown["E"]
    body = viewer.get(BACKLOG).content.decode()
    for name, person in backlog.items():
        assert page_of(person) in body, name
    assert page_of(LedgerEntry(person=backlog["D conflict"])) in body


# --- scouts ---------------------------------------------------------------------------------------------------


def test_a_scout_shows_its_persons_and_open_conflicts_and_leads_to_both(viewer):
    for number, name in ((7, "ROJAS ANA"), (8, "SOTO LUIS")):
        a_scout(number, name, active=number == 7)
    mine, far = a_claimed_person(("scouting", 7, 1)), a_claimed_person(("scouting", 8, 1), ("scouting", 7, 30))
    torn = a_claimed_person(("scouting", 7, 1), ("scouting", 8, 3))
    decide()
    assert listed(viewer, SCOUTS) == [7, 8]
    assert (
        listed(viewer, SCOUTS, active="yes")
        == listed(viewer, SCOUTS, q="ana rojas")
        == listed(viewer, SCOUTS, q="7")
        == [7]
    )
    assert listed(viewer, SCOUTS, active="no") == [8]
    found = {
        item.pk: (item.person_count, item.conflict_count) for item in viewer.get(SCOUTS).context_data["cl"].result_list
    }
    assert found == {7: (2, 1), 8: (0, 1)}
    body = viewer.get(page_of(Scout(7))).content.decode()
    assert f'<a href="{LEDGER}?scout=7">2</a>' in body
    assert f'<a href="{CONFLICTS}?scout=7">1</a>' in body
    assert set(listed(viewer, f"{LEDGER}?scout=7")) == {mine.pk, far.pk}
    assert listed(viewer, f"{CONFLICTS}?scout=7") == [torn.pk]
    shown = sections(viewer, Scout(7))
    assert rows(shown["By rule"]) == [["Newest registration by a scout A", "2"]]
    assert page_of(ScoutConflict(person=torn)) in str(shown["Open conflicts"].rows)
    assert len(shown["Persons of the ledger, the last changed first"].rows) == 2


def test_a_scout_is_found_on_the_start_page_by_those_only_who_may_see_scouts(client, viewer):
    a_scout(7, "ROJAS ANA")
    for typed in ("7", "rojas", "Ana Rojás"):
        assert page_of(Scout(7)) in viewer.get("/admin/", {"q": typed}).content.decode(), typed
    user = User.objects.create_user("solo", is_staff=True)
    assert page_of(Scout(7)) not in signed_in(client, user).get("/admin/", {"q": "7"}).content.decode()


# --- audits of the backfills and days -------------------------------------------------------------------------


@pytest.mark.parametrize("model", AUDITS, ids=lambda model: model._meta.model_name)
def test_an_audit_is_filtered_by_run_and_the_page_of_the_run_leads_there(viewer, model):
    many(0, 2)
    run, other = Run.objects.get(), a_run()
    last = model.objects.latest("pk")
    copy = model.objects.get(pk=last.pk)
    copy.pk, copy.run, copy._state.adding = None, other, True
    copy.save(force_insert=True)
    assert listed(viewer, list_of(model), run=other.pk) == [copy.pk]
    assert len(listed(viewer, list_of(model), run=run.pk)) == 2
    assert listed(viewer, list_of(model))[0] == copy.pk
    assert f"{list_of(model)}?run={run.pk}" in viewer.get(page_of(run)).content.decode()


def test_the_audits_are_searched_by_what_they_have(viewer):
    many(0, 3)
    person = LedgerBackfillEntry.objects.earliest("pk").person_key
    assert listed(viewer, list_of(LedgerBackfillEntry), q=str(person)) == [
        LedgerBackfillEntry.objects.earliest("pk").pk
    ]
    assert listed(viewer, list_of(LinksBackfillEntry), q="2") == [LinksBackfillEntry.objects.get(source_pk="2").pk]
    event = EventsBackfillEntry.objects.get(lead_event_id=3).pk
    assert (
        listed(viewer, list_of(EventsBackfillEntry), q="#3")
        == listed(viewer, list_of(EventsBackfillEntry), q="3")
        == [event]
    )


def test_what_the_backfills_write_is_what_their_pages_tell(viewer):
    """Once through the real jobs: a linked registration, a filled-in entry, a mapped lead."""
    a_scout(7, "ROJAS ANA")
    driver_id = a_driver("QUISPE MAMANI JUAN", licence=LICENCE)
    record = a_registration("JUAN QUISPE MAMANI", licence=LICENCE, scout=7)
    person = a_claimed_person(("cabinet", 7, 1))
    lead = a_lead("PEDRO TORRES")
    an_event(lead)
    LeadScoutMapping.objects.create(source_key=lead.source_pk, scout_id=7)
    refresh()
    run_job(JobType.LINKS_BACKFILL)
    decide()
    run_job(JobType.LEDGER_BACKFILL)
    run_job(JobType.EVENTS_BACKFILL)
    body = text_of(viewer, page_of(LinksBackfillEntry.objects.get(source_pk=record.source_pk)))
    assert "Linked" in body and driver_id in body
    body = text_of(viewer, page_of(LedgerBackfillEntry.objects.get(person_key=person.pk)))
    assert "Cabinet lead only B" in body and "7 ROJAS ANA" in body and "Filled in: the events' only scout" in body
    body = text_of(viewer, page_of(EventsBackfillEntry.objects.get()))
    assert "Scout filled in" in body and "7 ROJAS ANA" in body
    for model in AUDITS:
        assert len(listed(viewer, list_of(model))) == 1


def test_a_day_shows_its_share_its_backlog_and_its_historical_conflicts(viewer):
    a_day()
    a_day(TODAY - dt.timedelta(days=1), total_persons=0, satisfactory_count=0, backlog=[])
    body = text_of(viewer, list_of(AttributionDay))
    assert "90.00" in body and "A 50 · B 20 · C 25 · D 5 · E 0" in body and "A 0 · B 0 · C 0 · D 0 · E 0" in body
    assert listed(viewer, list_of(AttributionDay)) == [TODAY, TODAY - dt.timedelta(days=1)]
    assert "0.00" in text_of(viewer, f"{B}attributionday/2026-03-01/change/")


# --- the start page -------------------------------------------------------------------------------------------


def panel(client: Client) -> list[tuple[str, str]]:
    with translation.override("en"):
        found = scout_attribution(client.get("/admin/").wsgi_request)
        assert found is not None
        return [tuple(visible(cell) for cell in row) for row in found.rows]


def test_the_start_page_says_that_attribution_is_well(viewer):
    a_day()
    assert panel(viewer) == [
        ("Health", "OK"), ("With scout", "90.00 % 900"), ("Without scout", "100"), ("– A · Events without scout", "50"),
        ("– B · In the ledger, without events", "20"), ("– C · Neither events nor ledger", "25"),
        ("– D · Scout in the events, not in the ledger", "5"), ("– E · Other", "0"), ("Open conflicts", "4"),
        ("Historical conflicts", "6"),
    ]  # fmt: skip


def test_the_start_page_says_what_is_not_well(viewer):
    a_day(satisfactory_count=700, conflicts_count=60)
    assert panel(viewer)[:3] == [
        ("Health", "Attention"), ("– Too few persons have a scout.", "Attention"),
        ("– Too many persons are claimed by several scouts.", "Attention"),
    ]  # fmt: skip


def test_the_start_page_says_what_fails_and_leads_to_the_run_that_failed(viewer):
    a_day(satisfactory_count=100, computed_at=timezone.now() - dt.timedelta(hours=13))
    run = a_run(status=RunStatus.FAILED)
    assert panel(viewer)[:4] == [
        ("Health", "Failing"), ("– Too few persons have a scout.", "Failing"), ("– The last refresh failed.", "Failing"),
        ("– The last refresh is too long ago.", "Failing"),
    ]  # fmt: skip
    assert page_of(run) in viewer.get("/admin/").content.decode()


def test_the_start_page_says_that_there_was_no_refresh_yet(viewer):
    assert panel(viewer) == [("Health", "Failing"), ("– The attribution was never refreshed.", "Failing")]


def test_the_start_page_links_only_to_lists_that_the_user_may_open(client):
    a_day()
    user = User.objects.create_user("solo", is_staff=True)
    signed_in(client, user)
    assert "Scout attribution" not in client.get("/admin/").content.decode()
    user.user_permissions.set(Permission.objects.filter(codename="view_attributionday"))
    body = client.get("/admin/").content.decode()
    assert "Scout attribution" in body
    assert [address for address in (LEDGER, CONFLICTS, BACKLOG) if address in body] == []


# --- the page of a person -------------------------------------------------------------------------------------


def test_the_page_of_a_person_tells_what_the_ledger_said_when_and_why(viewer):
    """Two decisions, a backfill that fills the scout in, and its roll-back."""
    a_scout(7, "ROJAS ANA")
    person = a_claimed_person(("cabinet", None, 1))
    decide()
    events_of(person, ("cabinet", 7, 2))
    decide()
    run_job(JobType.LEDGER_BACKFILL)
    backfill = Run.objects.get(job_type=JobType.LEDGER_BACKFILL)
    section = sections(viewer, person)["Attribution history"]
    assert "Now: Assigned 7 ROJAS ANA · Filled in: the events' only scout" in visible(section.note).replace(
        "&#x27;", "'"
    )
    undone = jobs.execute(start_roll_back(run_id=backfill.pk, actor="ana.quispe").pk)
    assert undone.status == RunStatus.COMPLETED, undone.error_message
    section = sections(viewer, person)["Attribution history"]
    told = rows(section)
    assert [(row[1], row[2], row[4], row[5]) for row in told] == [
        ("ana.quispe", "Source only", "Assigned 7 ROJAS ANA", "Rolled back"),
        ("tests", "Assigned 7 ROJAS ANA", "Source only", "Attribution filled in"),
        ("tests", "Source only", "Source only", "Attribution decided"),
        ("tests", "Source only", "No entry", "Attribution decided"),
    ]
    assert told[1][3].startswith("Filled in")
    assert told[3][3] == "Cabinet lead only B"
    assert page_of(backfill) in str(section.rows[1])
    assert page_of(undone) in str(section.rows[0])
    assert "Now: Source only · Cabinet lead only B · Ledger entry" in visible(section.note)
    same = sections(viewer, LedgerEntry(person=person))["What the ledger said, and why"]
    assert rows(same) == told


def test_the_page_of_a_person_without_an_entry_says_so(viewer):
    section = sections(viewer, a_person())["Attribution history"]
    assert (section.rows, section.note) == ([], "The ledger does not know this person yet.")


def test_the_history_of_attribution_is_for_those_only_who_may_see_the_ledger(client):
    person = a_claimed_person(("scouting", 7, 1))
    decide()
    user = User.objects.create_user("solo", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_person"))
    assert "Attribution history" not in sections(signed_in(client, user), person)


def test_a_long_history_says_that_it_stops(viewer, monkeypatch):
    monkeypatch.setattr("attribution.admin.history.SHOWN", 2)
    person = a_claimed_person(("scouting", 7, 1))
    for number in range(3):
        decide()
        an_event(
            Record(TABLES["scouting"], f"more-{number}"),
            person=person.pk,
            on=day(30 * (number + 1)),
            scout_id=8 + number,
        )
    section = sections(viewer, person)["Attribution history"]
    assert (len(section.rows), section.has_more) == (2, True)


# --- pages of runs --------------------------------------------------------------------------------------------


@pytest.fixture
def reports(settings, tmp_path):
    settings.REPORTS_ROOT = tmp_path / "reports"
    return settings.REPORTS_ROOT


def test_the_page_of_a_fix_is_its_report(viewer, reports):
    a_scout(7, "ROJAS ANA")
    torn = a_person()
    for person, scout, number in ((a_person(), 7, 1), (torn, 7, 1), (torn, 9, 3)):
        a_registration_of(person, scout, number)
    lead = own(a_lead(), a_person())
    an_event(lead, person=Link.objects.get(source_pk=lead.source_pk).person_id, scout_id=7)
    with translation.override("en"):
        run_job(JobType.SCOUT_FIX)
    run = Run.objects.latest("pk")
    shown = sections(viewer, run)
    steps = rows(shown["What each step did"])
    assert [row[2] for row in steps] == ["Done"] * 9
    changes = {row[1]: row[3] for row in steps}
    assert changes["Decide the ledger"] == (
        "Persons decided: 3 Lead events considered: 4 assigned: 2 in conflict: 1 Ledger entries changed: 3"
    )
    assert changes["Link scouting registrations"] == "Nothing to do"
    assert changes["Verification"] == "–"
    assert "scout filled in: 1" in changes["Scouts of the events into the ledger"]
    assert "SCOUT_ATTRIBUTION_AFTER_REPORT.md" in shown["What each step did"].note
    figures = {
        title.removeprefix("Before and after: "): {row[0]: row[1:] for row in rows(section)}
        for title, section in shown.items()
        if title.startswith("Before and after: ")
    }
    assert figures["Coverage"]["Persons with scout"] == ["0", "2", "+2"]
    assert figures["Coverage"]["Persons with scout, %"] == ["0.00", "66.67", "+66.67"]
    assert figures["Persons without scout by category"]["D · Scout in the events, not in the ledger"] == [
        "3",
        "1",
        "−2",
    ]
    assert figures["Conflicts"] == {
        "Conflicts": ["1", "1", "0"],
        "Open": ["1", "1", "0"],
        "Historical": ["0", "0", "0"],
    }
    assert figures["Persons by rule of the ledger"]["Newest registration by a scout A"] == ["0", "1", "+1"]
    assert figures["Persons by the best source that names a scout"]["In the ledger"] == ["0", "2", "+2"]
    assert figures["Persons by the best source that names a scout"]["Lead events only"] == ["3", "1", "−2"]
    assert figures["Warnings"]["Scouts who are claimed but not in the list"] == ["1", "1", "0"]
    assert figures["Sources"]["Lead ledger"][:3] == ["0 → 3", "0 → 2", "0 → 1"]
    body = text_of(viewer, page_of(run))
    assert "No mapping of leads to scouts is available" in body
    assert "Scouts of the events into the ledger · scout filled in 1" in body
    assert "before ·" not in body and "steps ·" not in body


def test_the_page_of_a_fix_that_failed_says_in_which_step_and_why(viewer, reports, monkeypatch):
    a_claimed_person(("scouting", 7, 1))
    monkeypatch.setattr("attribution.fixing.sqlfiles.out_of_date", lambda: ["ops.v_x"])
    with translation.override("en"):
        run = jobs.perform(job_code=JobType.SCOUT_FIX, actor="tests", parameters={}, dry_run=False)
    assert run.status == RunStatus.FAILED
    steps = rows(sections(viewer, run)["What each step did"])
    assert steps[0][2:] == ["Failed", "Views are out of date: ops.v_x. Run manage.py sync_views."]
    assert [row[2] for row in steps[1:]] == ["Not tried"] * 8
    assert not any(title.startswith("Before") for title in sections(viewer, run))


@pytest.mark.parametrize(
    "stats",
    [
        {}, {"before": 7, "after": [], "steps": "x", "report": None}, {"steps": {"views": 7, "links": None, "new": "done"}},
        {"before": {"coverage": 7, "rules": {"NEW": None}, "inventory": {"x": 7}}, "links_backfill": [1]},
        {"before": {"coverage": {"pct_scout_satisfactory": None}}, "after": {"coverage": {"pct_scout_satisfactory": "x"}}},
        {"after": {"inventory": {"x": {"rows": True, "first_date": "2026-99-99", "last_date": 7}}}, "audit": None},
    ],
    ids=range(6),
)  # fmt: skip
def test_the_page_of_a_fix_survives_whatever_its_tally_holds(viewer, stats):
    assert viewer.get(page_of(a_run(JobType.SCOUT_FIX, stats=stats))).status_code == 200


def test_a_fix_that_is_at_work_has_no_report_yet(viewer):
    run = Run.objects.create(job_type=JobType.SCOUT_FIX, attempt=1, stats={"before": {"coverage": {}}})
    assert sections(viewer, run) == {}


def test_every_count_of_every_job_has_words(viewer, reports, tmp_path):
    a_scout(7)
    a_registration_of(a_person(), 9, 3)
    a_registration("JUAN QUISPE MAMANI", licence=LICENCE)
    refresh()
    file = tmp_path / "mapping.csv"
    file.write_text("source_key,scout_id,other\nx,7,1\ny,0,1\n", encoding="utf-8")
    for code in (
        JobType.POPULATE_EVENTS, JobType.LINKS_BACKFILL, JobType.PROCESS_LEDGER, JobType.LEDGER_BACKFILL, JobType.EVENTS_BACKFILL,
        JobType.SCOUT_REFRESH, JobType.SCOUT_FIX,
    ):  # fmt: skip
        run_job(code)
    jobs.perform(
        job_code=JobType.SCOUT_MAPPING_LOAD, actor="tests", dry_run=False,
        parameters={"file": str(file), "rejects_dir": str(tmp_path)},
    )  # fmt: skip
    for run in Run.objects.exclude(job_type=JobType.DRIVERS_INDEX_REFRESH).order_by("pk"):
        tally = viewer.get(page_of(run)).context_data["tally"]
        assert tally, run
        assert [words for words, _value in tally if "_" in words] == [], run
    assert ("Unknown columns, ignored", "other") in tally


@pytest.mark.parametrize(
    ("code", "given", "stored"),
    [
        ("process_ledger", {"limit": "7"}, {"limit": 7}),
        ("identity_links_backfill", {"limit": "7"}, {"limit": 7}),
        ("lead_ledger_backfill", {}, {}),
        ("lead_events_backfill", {"limit": ""}, {}),
        ("populate_events", {"source": ["cabinet"], "date_from": "2026-01-01", "full": "on"}, {"source": ["cabinet"], "date_from": "2026-01-01"}),
        ("scout_attribution_refresh", {"limit": "7"}, {}),
        ("scout_attribution_fix", {"output_dir": "../.."}, {}),
    ],
)  # fmt: skip
def test_a_job_is_started_from_its_form(client, code, given, stored):
    user = User.objects.create_user("jefa", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_run", "run_jobs"]))
    signed_in(client, user)
    assert client.get("/admin/ct4site/run/start/", {"job": code}).status_code == 200
    answer = client.post("/admin/ct4site/run/start/", {"job": code, "dry_run": "on", **given})
    assert answer.status_code == 302
    run = Run.objects.get()
    assert (run.job_type, run.parameters, run.dry_run) == (code, stored, True)


def test_a_form_refuses_what_a_job_could_not_take(client):
    user = User.objects.create_user("jefa", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_run", "run_jobs"]))
    signed_in(client, user)
    for given in (
        {"job": "process_ledger", "limit": "0"}, {"job": "process_ledger", "limit": "x"}, {"job": "populate_events", "source": "x"},
        {"job": "populate_events", "date_from": "2026-02-01", "date_to": "2026-01-01"},
    ):  # fmt: skip
        assert client.post("/admin/ct4site/run/start/", given).status_code == 422, given
    assert not Run.objects.exists()
