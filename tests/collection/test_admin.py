"""The screens of collection: what they find and sum, how they explain a claim, what changing a rule may do."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from attribution.admin.collection import filters, story, versions
from attribution.admin.collection.home import collection
from attribution.models import (
    Claim,
    ClaimInCollection,
    LedgerEntry,
    OverdueBucket,
    PartnerPaymentRule,
    PaymentState,
    PossibleSamePerson,
    ScoutConflict,
    ScoutPaymentRule,
    YangoPayment,
)
from ct4site.models import AuditEntry, JobType, Run
from identity.models import Person
from tests.attribution.stories import a_registration_of, a_scout, an_entry
from tests.attribution.test_admin import (
    ODD_KEYS,
    list_of,
    listed,
    page_of,
    rows,
    sections,
    signed_in,
    text_of,
    visible,
)
from tests.collection.stories import a_day, a_recruit, ago, collect, drives, pays, quarantine, refresh, says, today
from tests.shared import made_once

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

B = "/admin/attribution/"
CLAIMS, STORED, SUMS = f"{B}claimincollection/", f"{B}claim/", f"{B}claimincollection/sums/"
RULES = [PartnerPaymentRule, ScoutPaymentRule]
READ_ONLY = [ClaimInCollection, Claim, YangoPayment, PaymentState, PossibleSamePerson]
OUR_SCREENS = [*READ_ONLY, *RULES]
SOME_TRIPS = {0: 1, 3: 6, 9: 20}

each_screen = pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)


def a_user(name: str, *permissions: str) -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="attribution", codename__in=permissions)
    )
    return user


@pytest.fixture
def viewer(client: Client) -> Client:
    """A signed-in user who may look at everything of ours and do nothing, in English."""
    user = User.objects.create_user("mirador", is_staff=True)
    apps = ["attribution", "identity", "orphans", "ct4site"]
    user.user_permissions.set(Permission.objects.filter(content_type__app_label__in=apps, codename__startswith="view_"))
    return signed_in(client, user)


@pytest.fixture
def editor() -> Client:
    """A signed-in user who may change rules."""
    codes = [f"{verb}_{model._meta.model_name}" for verb in ("view", "add", "change") for model in RULES]
    return signed_in(Client(), a_user("ana.quispe", *codes))


def claim_of(recruit: Any, milestone: int) -> Claim:
    return Claim.objects.get(driver_id=recruit.driver_id, milestone=milestone)


def keys(*claims: tuple[Any, int]) -> list[int]:
    return sorted(claim_of(recruit, milestone).pk for recruit, milestone in claims)


def suspect() -> PossibleSamePerson:
    """Two persons whom two scouts registered under nearly one name and phone."""
    ours = Person.objects.create(
        confidence_level="HIGH", primary_full_name="QUISPE MAMANI JUAN", primary_phone="945111222"
    )
    theirs = Person.objects.create(
        confidence_level="HIGH", primary_full_name="QUISPE MAMANI JUANA", primary_phone="945111223"
    )
    for number, scout in enumerate(("ROJAS ANA", "SOTO LUIS"), 7):
        a_scout(number, scout)
    records = [a_registration_of(ours, 7, 1), a_registration_of(theirs, 8, 4)]
    first, second = sorted((ours, theirs), key=lambda person: person.pk)
    return PossibleSamePerson.objects.create(
        person_a=first, person_b=second,
        evidence_json={
            "kind": "phone", "name_likeness": 0.94,
            "records": [
                {"source_table": record.source_table, "source_pk": record.source_pk, "scout_id": scout, "date": f"2026-01-0{day}"}
                for record, scout, day in zip(records, (7, 8), (1, 4), strict=True)
            ],
        },
    )  # fmt: skip


# --- everything opens, whatever is asked ------------------------------------------------------------------


def a_world() -> Any:
    """A recruit with three claims, the first paid, and a suspicion."""
    recruit = a_recruit(ago(40), trips=SOME_TRIPS)
    pays(recruit.name, 1)
    collect()
    suspect()
    return recruit


world = made_once("world", a_world)


def test_every_screen_has_a_purpose_and_passes_the_checks_of_the_admin():
    for model in OUR_SCREENS:
        screen = admin.site.get_model_admin(model)
        assert screen.purpose, model
        assert screen.check() == []


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model._meta.model_name)
def test_what_jobs_write_cannot_be_added_changed_or_deleted(admin_client, model, world):
    item = model._default_manager.order_by("pk").first()
    page = page_of(Claim(pk=item.pk)) if model is ClaimInCollection else page_of(item)
    assert admin_client.post(list_of(model) + "add/", {}).status_code == 403
    assert admin_client.post(page, {}).status_code == 403
    assert admin_client.post(page.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403


def test_a_rule_is_never_deleted(admin_client):
    for model in RULES:
        page = page_of(model._default_manager.first())
        assert admin_client.post(page.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403


BAD = [
    "q=%00", "%00=1", "scout=x", "scout=-1", "scout=2147483648", "scout=%D9%A3", "milestone=x", "milestone=-1", "milestone=99999999999999",
    "milestone=%D9%A3", "week=x", "week=2026-99-99", "week=0001-01-01", "week=9999-12-31", "week=%00", "overdue=NOPE", "quality=NOPE",
    "paid=NOPE", "collectable=NOPE", "claim_status__exact=NOPE", "claim_status__gt=x", "eligibility_disputed__exact=NOPE",
    "status__exact=NOPE", "status=NOPE", "identity_status=NOPE", "match_rule=NOPE", "unknown=1", "pk__in=x", "person_key=x",
    "person__primary_phone__startswith=9", "raw_driver_name__startswith=Q", "expected_amount__gt=1", "o=99.-5.x", "p=-1", "after=x",
    "before=%ff", "after=99999999999999999999", "all=", "q=" + "9" * 500, "q=%25%28%27%5C", "q=2147483648", "q=%ff%fe", "q=+++",
    "origin_tag__exact=NOPE", "is_active__exact=NOPE", "quarantine=NOPE",
]  # fmt: skip


@each_screen
def test_no_question_put_to_a_list_is_a_fault_of_the_server(viewer, model, world):
    viewer.raise_request_exception = False
    # Every parameter of ours on the two lists that have filters of their own; on the others what is bad everywhere.
    queries = BAD if model in (ClaimInCollection, PaymentState) else BAD[::3]
    answers = {query: viewer.get(f"{list_of(model)}?{query}").status_code for query in queries}
    assert {query: code for query, code in answers.items() if code not in (200, 302, 400)} == {}


def test_no_question_put_to_the_sums_is_a_fault_of_the_server(viewer, world):
    viewer.raise_request_exception = False
    answers = {query: viewer.get(f"{SUMS}?{query}").status_code for query in BAD[::2]}
    assert {query: code for query, code in answers.items() if code not in (200, 302, 400)} == {}


@each_screen
def test_a_page_of_nothing_leads_home_or_is_refused(viewer, model):
    answers = {key: viewer.get(f"{list_of(model)}{key}/change/").status_code for key in ODD_KEYS}
    assert {key: code for key, code in answers.items() if code not in (302, 400, 404)} == {}


@each_screen
def test_a_screen_is_shown_to_those_only_who_may_see_it(client, model, world):
    item = Claim.objects.first() if model is ClaimInCollection else model._default_manager.order_by("pk").first()
    user = a_user("solo")
    signed_in(client, user)
    addresses = [list_of(model), page_of(item), *([SUMS] if model is ClaimInCollection else [])]
    assert {client.get(address).status_code for address in addresses} == {403}
    codes = {f"view_{model._meta.model_name}", f"view_{item._meta.model_name}"}
    user.user_permissions.set(Permission.objects.filter(codename__in=codes))
    assert {client.get(address).status_code for address in addresses} == {200}


def test_an_empty_list_is_a_page_too(viewer):
    assert {model: listed(viewer, list_of(model)) for model in READ_ONLY} == {model: [] for model in READ_ONLY}
    assert viewer.get(SUMS).status_code == 200


def test_hostile_texts_are_shown_as_text(viewer):
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    recruit = a_recruit(ago(40), trips=SOME_TRIPS, name=hostile)
    pays(hostile, 1)
    pair = suspect()
    Person.objects.update(primary_full_name=hostile)
    collect()
    Claim.objects.update(reason=hostile)
    PartnerPaymentRule.objects.update(notes=hostile)
    PossibleSamePerson.objects.update(
        evidence_json={"kind": hostile, "name_likeness": hostile, "records": [{"source_pk": hostile}, 7]}
    )
    payment = YangoPayment.objects.first()
    pages = [page_of(item) for item in (claim_of(recruit, 1), pair, payment, PaymentState.objects.first(), PartnerPaymentRule.objects.first())]  # fmt: skip
    for address in (*pages, *map(list_of, OUR_SCREENS), SUMS, f"/admin/identity/person/{pair.person_a_id}/change/"):
        body = viewer.get(address).content.decode()
        assert "<script>alert" not in body, address
        assert "<img src=x" not in body, address


@pytest.mark.parametrize("stored", [None, [], "text", 7, {"records": None}, {"records": [None, 7, {}]}, {"records": [{"date": 7, "scout_id": "x"}]}, {"records": [{"date": "2026-99-99"}] * 3, "name_likeness": True}], ids=range(8))  # fmt: skip
def test_the_page_of_a_pair_survives_whatever_is_stored_as_evidence(viewer, stored):
    pair = suspect()
    PossibleSamePerson.objects.update(evidence_json=stored if stored is not None else {})
    assert viewer.get(page_of(pair)).status_code == 200
    assert listed(viewer, list_of(PossibleSamePerson)) == [pair.pk]


# --- what it costs ------------------------------------------------------------------------------------------

FILTERS = [
    "", "?paid=no&overdue=5_60_plus&milestone=5", "?collectable=yes&quality=MISSING", "?claim_status__exact=paid&eligibility_disputed__exact=0",
    "?week=2026-10-05", "?scout=7&collectable=yes",
]  # fmt: skip


def test_a_page_of_claims_takes_at_most_ten_statements_however_many_rows_there_are(viewer, monkeypatch):
    others = [
        STORED, f"{STORED}?status__exact=paid", list_of(YangoPayment), list_of(PaymentState), list_of(PossibleSamePerson), "/admin/",
        SUMS, f"{SUMS}?collectable=yes&scout=7", *map(list_of, RULES),
    ]  # fmt: skip
    addresses = [*(CLAIMS + query for query in FILTERS), *others]
    for model in OUR_SCREENS:
        monkeypatch.setattr(type(admin.site.get_model_admin(model)), "list_per_page", 100)

    def asked() -> dict[str, int]:
        counts = {}
        for address in addresses:
            with CaptureQueriesContext(connection) as queries:
                assert viewer.get(address).status_code == 200
            counts[address] = len(queries)
        return counts

    grow(10)
    viewer.get(CLAIMS)
    few = asked()
    grow(200)
    much = asked()
    # A list that fits one page is counted by its own rows: one question less.
    assert {address: (few[address], count) for address, count in much.items() if count > few[address] + 1} == {}
    assert {address: count for address, count in much.items() if address.startswith(CLAIMS) and count > 10} == {}


def grow(number: int) -> None:
    """Claims, payments and their states of some accounts more, as a refresh would have left them."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with people as (
                insert into canon.identity_registry (person_key, confidence_level, primary_full_name)
                select gen_random_uuid(), 'HIGH', 'ANA ROJAS' from generate_series(1, %(number)s) returning person_key
            ),
            linked as (
                insert into canon.identity_links (
                    person_key, source_table, source_pk, snapshot_date, match_rule, match_score, confidence_level
                )
                select people.person_key, feeds.name, 'x' || people.person_key, now(), 'R1_PHONE_EXACT', 95, 'HIGH'
                from people cross join (values ('module_ct_cabinet_leads'), ('drivers')) as feeds (name)
            ),
            known as (
                insert into ops.person_scouts (person_key, scout_id, scout_quality_bucket, has_open_conflict)
                select person_key, 7, 'EVENTS_ONLY', false from people
            ),
            claimed as (
                insert into canon.claims_yango_cabinet_14d (
                    person_key, driver_id, lead_source_pk, lead_date, milestone, amount_expected, status
                )
                select person_key, 'x' || person_key, 'y' || person_key, date '2026-10-06', 5, 35, 'expected' from people
            )
            select 1
            """,
            {"number": number},
        )
        cursor.execute(
            """
            with told as (
                insert into ops.yango_payment_status_ledger (
                    source_table, milestone_type, source_pk, milestone_value, is_paid, paid_flag_source, driver_id,
                    match_rule, match_confidence, payment_key, state_hash
                )
                select 'module_ct_cabinet_payments', 'trips', gen_random_uuid()::text, 1, true, 'trip_1', driver_id,
                    'driver_name_unique', 'medium', gen_random_uuid()::text, 'x'
                from canon.claims_yango_cabinet_14d
                where driver_id like 'x%%'
                returning *
            )
            insert into ops.yango_payment_states (
                payment_key, ledger_id, source_pk, milestone_value, is_paid, driver_id, identity_status, match_rule,
                match_confidence, is_newest_paid
            )
            select payment_key, id, source_pk, 1, true, driver_id, 'enriched', 'name_unique', 'medium', false from told
            """,
            {},
        )


def test_the_page_of_a_claim_asks_as_much_for_many_payments_as_for_one(viewer):
    recruit = a_recruit(ago(40), trips=SOME_TRIPS)
    pays(recruit.name, 1)
    collect()

    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert viewer.get(page_of(claim_of(recruit, 1))).status_code == 200
        return len(queries)

    asked()
    one = asked()
    for _number in range(20):
        pays(recruit.name, 1, 5, 25)
    refresh()
    assert asked() == one


def test_claims_are_paged_through_without_losing_or_repeating_one(viewer, monkeypatch):
    for model in (ClaimInCollection, Claim, PaymentState, YangoPayment):
        monkeypatch.setattr(type(admin.site.get_model_admin(model)), "list_per_page", 4)
    grow(7)
    grow(4)
    for address, expected in (
        (CLAIMS, 11),
        (f"{CLAIMS}?collectable=yes", 11),
        (STORED, 11),
        (list_of(PaymentState), 18),
    ):
        seen: list[Any] = []
        here = address
        while here:
            listing = viewer.get(here).context_data["cl"]
            seen += [item.pk for item in listing.result_list]
            here = address.split("?")[0] + listing.next_url if listing.next_url else ""
        assert len(set(seen)) == len(seen) == expected, address


# --- the list of claims ------------------------------------------------------------------------------------


@pytest.mark.parametrize("few", [filters.FEW, 0], ids=["few", "many"])
def test_claims_are_filtered_by_what_they_are_worth_how_they_stand_and_through_whom(few, viewer, monkeypatch):
    monkeypatch.setattr(filters, "FEW", few)
    old, new, gone = (
        a_recruit(ago(60), trips=SOME_TRIPS),
        a_recruit(ago(5), trips={0: 1}),
        a_recruit(ago(30), trips={1: 1}),
    )
    pays(old.name, 1)
    collect()
    a_scout(7, "ROJAS ANA")
    an_entry(Person.objects.get(pk=old.person), 7)
    gone_days(gone)
    refresh()
    all_of_old = [(old, 1), (old, 5), (old, 25)]
    monday = new.lead_date - dt.timedelta(days=new.lead_date.weekday())
    expected: dict[str, list[tuple[Any, int]]] = {
        "": [*all_of_old, (new, 1), (gone, 1)], "paid=yes": [(old, 1)], "paid=no": [*all_of_old[1:], (new, 1), (gone, 1)],
        "collectable=yes": [*all_of_old[1:], (new, 1)], "collectable=no": [(old, 1), (gone, 1)], "milestone=5": [(old, 5)],
        "milestone=7": [], "overdue=0_not_due": [(new, 1)], "overdue=4_31_60": all_of_old, "overdue=3_15_30": [(gone, 1)],
        "overdue=5_60_plus": [], "overdue=4_31_60&collectable=yes": all_of_old[1:], "claim_status__exact=paid": [(old, 1)],
        "claim_status__exact=expected&milestone=1": [(new, 1), (gone, 1)], "eligibility_disputed__exact=1": [(gone, 1)],
        "quality=SATISFACTORY_LEDGER": all_of_old, "quality=MISSING": [(new, 1), (gone, 1)], "scout=7": all_of_old, "scout=8": [],
        f"week={monday}": [(new, 1)], f"week={new.lead_date}": [(new, 1)], "week=2020-01-06": [],
    }  # fmt: skip
    for query, claims in expected.items():
        assert sorted(listed(viewer, f"{CLAIMS}?{query}")) == keys(*claims), query


def gone_days(recruit: Any) -> None:
    """Let the daily summary forget what a driver drove, as a late correction does."""
    with connection.cursor() as cursor:
        cursor.execute("delete from public.summary_daily where driver_id = %s", [recruit.driver_id])


def test_the_filter_by_days_overdue_agrees_with_the_rows_at_every_border_whatever_the_windows(viewer):
    borders = [0, 1, 7, 8, 14, 15, 30, 31, 60, 61]
    for border in borders:
        a_recruit(ago(14 + border), trips={0: 1})
    collect()
    expected = dict(ClaimInCollection.objects.order_by().values_list("pk", "bucket_overdue"))
    assert len(expected) == len(borders) and set(expected.values()) == set(OverdueBucket.values)
    for number in (1, 2):
        found = {pk: bucket for bucket in OverdueBucket.values for pk in listed(viewer, f"{CLAIMS}?overdue={bucket}")}
        assert found == expected
        PartnerPaymentRule.objects.create(
            origin_tag="cabinet",
            window_days=30 * number,
            milestone_trips=500,
            amount=1,
            valid_from=ago(900),
            is_active=False,
        )


def test_a_claim_is_found_by_what_people_type(viewer):
    recruit, other = a_recruit(ago(40), trips={0: 1}, name="QUISPE MAMANI JUAN"), a_recruit(ago(40), trips={0: 1})
    Person.objects.filter(pk=recruit.person).update(primary_phone="945111222", primary_license="Q45678901")
    collect()
    with connection.cursor() as cursor:
        cursor.execute("update canon.drivers_index set plate_norm = 'ABC123' where driver_id = %s", [recruit.driver_id])
    typed = [
        "+51 945 111 222", "q-45678901", "abc-123", "juan QUISPE", recruit.driver_id, recruit.driver_id.upper(),
        recruit.lead.source_pk, str(recruit.person),
    ]  # fmt: skip
    for text in typed:
        for address in (CLAIMS, STORED):
            assert listed(viewer, address, q=text) == [claim_of(recruit, 1).pk], (text, address)
    for text in ("zzz", "999999998", "quispe zzz", "%", "   ."):
        assert listed(viewer, CLAIMS, q=text) == [], text
    assert claim_of(other, 1).pk in listed(viewer, CLAIMS)


def test_the_sums_are_those_of_the_filter_and_exact_to_the_cent(viewer):
    recruit = a_recruit(ago(60), trips=SOME_TRIPS)
    a_recruit(ago(5), trips={0: 1})
    pays(recruit.name, 1)
    collect()
    Claim.objects.filter(milestone=25).update(amount_expected=Decimal("100.10"))
    expected = {
        "": "Expected S/ 185.10 4 Paid S/ 25.00 1 To collect S/ 160.10 3",
        "?paid=yes": "Expected S/ 25.00 1 Paid S/ 25.00 1 To collect S/ 0.00 0",
        "?milestone=25": "Expected S/ 100.10 1 Paid S/ 0.00 0 To collect S/ 100.10 1",
        f"?q={recruit.driver_id}": "Expected S/ 160.10 3 Paid S/ 25.00 1 To collect S/ 135.10 2",
        "?milestone=7": "Expected S/ 0.00 0 Paid S/ 0.00 0 To collect S/ 0.00 0",
    }
    for query, text in expected.items():
        body = viewer.get(SUMS + query).content.decode()
        shown = re.search(r'<nav class="module" id="sums".*?</nav>', body, re.DOTALL)
        assert visible(shown.group(0) if shown else "") == text, query
        with CaptureQueriesContext(connection) as queries:
            viewer.get(SUMS + query)
        assert sum("SUM(" in asked["sql"] for asked in queries) == 1, query
    list_page = viewer.get(f"{CLAIMS}?paid=yes&after=1&o=3").content.decode()
    assert f'hx-get="{SUMS}?paid=yes"' in list_page


def test_a_row_of_the_list_leads_to_the_page_of_its_claim(viewer):
    recruit = a_recruit(ago(40), trips={0: 1})
    collect()
    claim = claim_of(recruit, 1)
    assert f'href="{page_of(claim)}"' in viewer.get(CLAIMS).content.decode()
    assert viewer.get(f"{CLAIMS}{claim.pk}/change/").url == page_of(claim)


def test_claims_of_accounts_that_may_not_operate_are_only_among_the_stored_ones(viewer):
    recruit = a_recruit(ago(40), trips={0: 1})
    collect()
    quarantine(recruit.driver_id)
    claim = claim_of(recruit, 1)
    assert (listed(viewer, CLAIMS), listed(viewer, STORED)) == ([], [claim.pk])
    other = a_recruit(ago(40), trips={0: 1})
    collect()
    assert listed(viewer, f"{STORED}?quarantine=yes") == [claim.pk]
    assert listed(viewer, CLAIMS) == [claim_of(other, 1).pk]
    body = text_of(viewer, page_of(claim))
    assert "The account may not operate, so the claim is in no list" in body
    assert rows(sections(viewer, claim)["Why it is not in collection"])[0][1] == "Quarantined"


# --- the page of a claim -----------------------------------------------------------------------------------


def test_a_claim_is_told_day_by_day_to_the_day_it_was_reached(viewer):
    recruit = a_recruit(ago(40), trips={0: 2, 3: 4, 13: 7, 14: 90})
    collect()
    section = sections(viewer, claim_of(recruit, 5))["Day by day"]
    told = rows(section)
    assert len(told) == 14
    assert [(row[0], row[2], row[4], row[5]) for row in told if row[2] != "0"] == [
        ("1", "2", "2", "M1"), ("4", "4", "6", "M5"), ("14", "7", "13", "–"),
    ]  # fmt: skip
    body = text_of(viewer, page_of(claim_of(recruit, 5)))
    assert "reached 5 trips on" in body and "day 4 of the 14 days that begin with the lead" in body
    assert "The partner owes S/ 35.00 for it" in body
    assert "It is not paid: 26 days overdue." in body


def test_the_days_of_a_page_are_those_of_the_staging_view(viewer):
    recruit = a_recruit(ago(40), trips={0: 1, 1: 2})
    day = recruit.lead_date + dt.timedelta(days=2)
    a_day(recruit.driver_id, day.isoformat(), 3, created_at=dt.datetime(2026, 1, 1))  # noqa: DTZ001
    a_day(recruit.driver_id, f"{day:%d-%m-%Y}", 9, created_at=dt.datetime(2026, 1, 9))  # noqa: DTZ001
    a_day(recruit.driver_id, "31-31-2026", 50)
    a_day(recruit.driver_id, f"{day + dt.timedelta(days=1):%d-%m-%Y}", None)
    a_day(recruit.driver_id.upper(), f"{day + dt.timedelta(days=2):%d-%m-%Y}", 4)
    with connection.cursor() as cursor:
        cursor.execute(
            "select day, trips from observational.stg_summary_daily where driver_id = %s", [recruit.driver_id]
        )
        expected = {found: trips for found, trips in cursor.fetchall() if trips}
    told = {day.date: day.trips for day in story.days_of(recruit.driver_id, recruit.lead_date, 14) if day.trips}
    assert told == expected
    assert sum(told.values()) == 1 + 2 + 9 + 4


def test_a_claim_whose_days_changed_says_so(viewer):
    recruit = a_recruit(ago(40), trips={0: 1})
    collect()
    gone_days(recruit)
    drives(recruit.driver_id, recruit.lead_date, {6: 3})
    refresh()
    assert "By the days told now it was reached on" in text_of(viewer, page_of(claim_of(recruit, 1)))
    gone_days(recruit)
    refresh()
    body = text_of(viewer, page_of(claim_of(recruit, 1)))
    assert "Disputed: by the days as they are told now" in body
    assert "The days told now come to 0 trips in that time." in body


def test_a_claim_shows_its_payment_with_all_its_states(viewer):
    recruit = a_recruit(ago(40), trips=SOME_TRIPS)
    payment = pays(recruit.name, 1)
    collect()
    for paid in (False, True):
        says(payment, trip_1=paid)
        refresh()
    claim = claim_of(recruit, 1)
    told = rows(sections(viewer, claim)["Payments of the account"])
    assert [(row[0], row[2], row[3]) for row in told] == [
        ("M1", "Paid", "Now"),
        ("M1", "Not paid", "–"),
        ("M1", "Paid", "–"),
    ]
    assert "Its list says paid, on" in text_of(viewer, page_of(claim))
    other = text_of(viewer, page_of(claim_of(recruit, 5)))
    assert "The partner paid another milestone of this account, which pays nothing of this one." in other
    assert "as the partner is told: Another milestone is paid" in other


def test_a_claim_names_its_rule_scout_other_claims_and_audit(viewer):
    recruit = a_recruit(ago(40), trips={0: 6})
    a_scout(7, "ROJAS ANA")
    an_entry(Person.objects.get(pk=recruit.person), 7)
    collect()
    claim = claim_of(recruit, 5)
    found = sections(viewer, claim)
    scout = dict(rows(found["Scout, and why"]))
    assert (scout["Scout"], scout["Known by"]) == ("7 ROJAS ANA", "In the ledger")
    assert "The newest registration names scout 7 (ROJAS ANA)." in scout["Why"]
    assert [row[0] for row in rows(found["Other claims of the account"])] == ["M1"]
    assert [row[2] for row in rows(found["Audit"])] == ["Claim brought up to date"]
    assert "S/ 35.00 for 5 trips within 14 days leads from 1 Jan 2020 on" in text_of(viewer, page_of(claim))
    LedgerEntry.objects.all().delete()
    refresh()
    assert "No source names a scout." in text_of(viewer, page_of(claim))


# --- payments ----------------------------------------------------------------------------------------------


def test_payments_are_filtered_by_what_the_list_says_and_whose_they_are(viewer):
    recruit = a_recruit(ago(40), trips={0: 1})
    mine, nobodys = pays(recruit.name, 1), pays("NADIE CONOCE ESTE NOMBRE", 5)
    collect()
    says(mine, trip_1=False)
    refresh()
    states, ledger = list_of(PaymentState), list_of(YangoPayment)
    key = {state.source_pk: state.pk for state in PaymentState.objects.all()}
    for query, expected in {
        "": [mine, nobodys], "paid=yes": [nobodys], "paid=no": [mine], "milestone=5": [nobodys], "identity_status=enriched": [mine],
        "identity_status=ambiguous": [nobodys], f"q={recruit.driver_id}": [mine], f"q={nobodys}": [nobodys], "q=zzz": [],
    }.items():  # fmt: skip
        assert sorted(listed(viewer, f"{states}?{query}")) == sorted(key[pk] for pk in expected), query
    assert len(listed(viewer, ledger)) == 3
    assert len(listed(viewer, f"{ledger}?paid=no")) == 1
    assert len(listed(viewer, f"{ledger}?q={recruit.driver_id}")) == 2
    assert len(listed(viewer, f"{ledger}?match_rule=none")) == 1
    item = YangoPayment.objects.filter(source_pk=mine).first()
    assert [row[1] for row in rows(sections(viewer, item)["States over time"])] == ["Not paid", "Paid"]


def test_a_payment_without_claim_says_so_and_is_no_fault(viewer):
    recruit = a_recruit(ago(40), trips={0: 1})
    pays(recruit.name, 1, 25)
    collect()
    paid = {state.milestone_value: text_of(viewer, page_of(state)) for state in PaymentState.objects.all()}
    assert "No claim: paid without achievement by our count." in paid[25]
    assert "No claim" not in paid[1]


# --- rules -------------------------------------------------------------------------------------------------


def a_rule(milestone: int = 5, **columns: Any) -> PartnerPaymentRule:
    return PartnerPaymentRule.objects.get(origin_tag="cabinet", milestone_trips=milestone, **columns)


def asked_of(rule: Any, **changes: Any) -> dict[str, Any]:
    values = {
        "amount": rule.amount, "currency": rule.currency, "valid_from": rule.valid_from, "valid_to": rule.valid_to or "",
        "is_active": "on" if rule.is_active else "", "notes": rule.notes or "", "reason": "agreed with the partner",
        "seen": rule.updated_at.isoformat(),
    } | changes  # fmt: skip
    return {name: value for name, value in values.items() if value != ""}


def change(client: Client, rule: Any, **changes: Any) -> dict[str, list[str]]:
    """Post the form of a rule; return its errors, none when it was taken."""
    answer = client.post(page_of(rule), asked_of(rule, **changes))
    if answer.status_code == 302:
        return {}
    assert answer.status_code == 200
    return dict(answer.context_data["adminform"].form.errors)


def all_versions(rule: Any) -> list[tuple[Decimal, Any, Any, bool]]:
    return [(item.amount, item.valid_from, item.valid_to, item.is_active) for item in versions.versions_of(rule)]


SINCE = dt.date(2020, 1, 1)


def test_a_new_amount_is_a_new_version_and_the_old_one_ends_the_day_before(editor):
    rule = a_rule()
    tomorrow = today() + dt.timedelta(days=1)
    assert change(editor, rule, amount="40.50", valid_from=tomorrow) == {}
    assert all_versions(rule) == [
        (Decimal("35.00"), SINCE, today(), True), (Decimal("40.50"), tomorrow, None, True),
    ]  # fmt: skip
    told = list(AuditEntry.objects.filter(subject_table="partner_payment_rules").order_by("id"))
    assert [(entry.actor, entry.action, entry.reason) for entry in told] == [
        ("ana.quispe", "change_rule", "agreed with the partner"), ("ana.quispe", "add_rule", "agreed with the partner"),
    ]  # fmt: skip
    assert (told[0].before["valid_to"], told[0].after["valid_to"]) == (None, today().isoformat())
    assert (told[1].before, told[1].after["amount"]) == (None, 40.5)
    page = sections(editor, rule)
    assert [row[1] for row in rows(page["All versions of this rule"])] == ["S/ 35.00", "S/ 40.50"]
    assert [row[4] for row in rows(page["Audit"])] == ["agreed with the partner"]


def test_a_new_amount_on_the_first_day_of_a_version_is_refused_with_the_way_out(editor):
    rule = a_rule()
    before = all_versions(rule)
    errors = change(editor, rule, amount="40", reaches_back="on")
    assert "give the first day of the leads it is for, after 1 Jan 2020" in errors["valid_from"][0]
    assert "is active" in change(editor, rule, amount="40", valid_from=today(), is_active="")["is_active"][0]
    assert all_versions(rule) == before
    assert not AuditEntry.objects.filter(subject_table="partner_payment_rules").exists()


def test_a_change_that_concerns_days_gone_by_has_to_be_meant(editor):
    recruit = a_recruit(ago(20), trips={0: 6})
    collect()
    rule = a_rule()
    errors = change(editor, rule, amount="40", valid_from=ago(30))
    assert "1 claim of these days was made already and keeps its amount." in errors["reaches_back"][0]
    assert change(editor, rule, amount="40", valid_from=ago(30), reaches_back="on") == {}
    refresh()
    assert claim_of(recruit, 5).amount_expected == Decimal("35.00")
    later = a_recruit(ago(20), trips={0: 6})
    collect()
    assert claim_of(later, 5).amount_expected == Decimal("40.00")
    assert [amount for amount, *_rest in all_versions(rule)] == [Decimal("35.00"), Decimal("40.00")]


def test_leads_keep_the_amount_of_their_day_when_a_rule_changes(editor):
    assert change(editor, a_rule(), amount="40", valid_from=ago(10), reaches_back="on") == {}
    before, since = a_recruit(ago(11), trips={0: 5}), a_recruit(ago(10), trips={0: 5})
    collect()
    assert [claim_of(recruit, 5).amount_expected for recruit in (before, since)] == [Decimal("35.00"), Decimal("40.00")]


def test_two_versions_are_never_valid_on_one_day_and_the_message_says_which(editor):
    rule = a_rule()
    first = today() + dt.timedelta(days=10)
    assert change(editor, rule, amount="40", valid_from=first) == {}
    rule.refresh_from_db()
    errors = change(editor, rule, valid_to=first + dt.timedelta(days=5))
    assert "Another version (S/ 40.00, from " in errors["valid_to"][0]
    errors = change(editor, rule, amount="50", valid_from=first - dt.timedelta(days=5), valid_to="")
    assert "End this one by " in errors["valid_to"][0]
    form = {
        "origin_tag": "cabinet", "milestone_trips": 5, "window_days": 14, "amount": 60, "currency": "PEN", "reason": "x",
        "valid_from": first + dt.timedelta(days=3),
        "is_active": "on",
    }  # fmt: skip
    answer = editor.post(list_of(PartnerPaymentRule) + "add/", form)
    assert "End that one first." in answer.context_data["adminform"].form.errors["valid_from"][0]
    assert len(all_versions(rule)) == 2


def test_a_version_may_end_and_the_days_without_one_are_told(editor):
    rule = a_rule()
    end = today() + dt.timedelta(days=3)
    assert change(editor, rule, valid_to=end) == {}
    rule.refresh_from_db()
    answer = editor.post(
        page_of(rule), asked_of(rule, amount="41", valid_from=end + dt.timedelta(days=3)) | {"valid_to": ""}, follow=True
    )  # fmt: skip
    assert "leads of those days earn nothing" in answer.content.decode()
    assert all_versions(rule)[0][2] == end
    assert change(editor, a_rule(amount=41), valid_to=SINCE)["valid_to"] == ["It ends before it begins."]


def test_a_version_that_has_not_begun_may_be_put_right_and_withdrawn(editor):
    first = today() + dt.timedelta(days=10)
    assert change(editor, a_rule(), amount="400", valid_from=first) == {}
    wrong = a_rule(amount=400)
    assert change(editor, wrong, amount="40", valid_from=first + dt.timedelta(days=1)) == {}
    assert [amount for amount, *_rest in all_versions(wrong)] == [Decimal("35.00"), Decimal("40.00")]
    wrong.refresh_from_db()
    assert change(editor, wrong, is_active="") == {}
    assert all_versions(wrong)[1][3] is False
    old = a_rule(amount=35)
    assert change(editor, old, valid_to="") == {}
    assert all_versions(old)[0] == (Decimal("35.00"), SINCE, None, True)


def test_who_changed_it_meanwhile_is_not_overwritten(editor):
    rule = a_rule()
    stale = asked_of(rule, notes="mine")
    assert change(editor, rule, notes="theirs") == {}
    answer = editor.post(page_of(rule), stale)
    assert "Somebody changed this version in the meantime" in answer.content.decode()
    assert a_rule().notes == "theirs"


@pytest.mark.parametrize(
    ("field", "value"),
    [("reason", " "), ("reason", ""), ("amount", "-1"), ("amount", "1.005"), ("amount", "1e30"), ("amount", "x"), ("valid_from", "x"), ("valid_from", ""), ("currency", "X"), ("valid_to", "2026-99-99")],
)  # fmt: skip
def test_a_form_that_is_not_filled_in_well_changes_nothing(editor, field, value):
    rule = a_rule()
    before = all_versions(rule)
    assert field in change(editor, rule, **{field: value})
    assert all_versions(rule) == before


def test_a_new_rule_of_scouts_is_added_with_its_reason(editor):
    form = {
        "origin_tag": "cabinet", "milestone_type": "trips", "milestone_value": 50, "window_days": 7, "amount": "80.00", "currency": "PEN",
        "valid_from": today(), "reason": "a bonus", "is_active": "on",
    }  # fmt: skip
    assert editor.post(list_of(ScoutPaymentRule) + "add/", form).status_code == 302
    rule = ScoutPaymentRule.objects.get(milestone_value=50, origin_tag="cabinet")
    assert (rule.amount, rule.milestone_trips, rule.is_active) == (Decimal("80.00"), 50, True)
    entry = AuditEntry.objects.get(subject_table="scout_payment_rules")
    assert (entry.actor, entry.reason, entry.subject_key) == ("ana.quispe", "a bonus", str(rule.pk))
    assert change(editor, rule, amount="90", valid_from=today() + dt.timedelta(days=1)) == {}
    assert len(all_versions(rule)) == 2


def test_whoever_may_only_look_changes_no_rule(viewer):
    rule = a_rule()
    assert viewer.post(page_of(rule), asked_of(rule, amount="1", valid_from=today())).status_code == 403
    assert viewer.post(list_of(PartnerPaymentRule) + "add/", {}).status_code == 403
    body = viewer.get(page_of(rule)).content.decode()
    assert 'type="submit" value="Save"' not in body and "S/" in visible(body) + "S/"
    assert len(all_versions(rule)) == 1


# --- persons who may be one --------------------------------------------------------------------------------


def test_a_possible_same_person_is_shown_side_by_side_with_what_differs_marked(viewer):
    pair = suspect()
    found = sections(viewer, pair)
    side = {row[0]: [str(cell) for cell in row[1:]] for row in found["Side by side"].rows}
    assert sum(cell.count("<mark>") for cell in side["Phone"]) == 2
    assert {re.sub("<[^>]+>", "", cell) for cell in side["Phone"]} == {"945111222", "945111223"}
    told = {row[0]: row[1:] for row in rows(found["The registrations that raised it"])}
    assert sorted(told["Scout"]) == ["7 ROJAS ANA", "8 SOTO LUIS"]
    assert told["Linked to"] == [str(pair.person_a), str(pair.person_b)]
    body = text_of(viewer, page_of(pair))
    assert "Nothing is settled for either of the two until a person decides." in body
    assert "Similar names; phones equal or one digit apart names alike by 94 %" in body


def test_possible_same_persons_are_listed_while_open_and_found_by_either_person(viewer):
    pair = suspect()
    address = list_of(PossibleSamePerson)
    assert listed(viewer, address) == listed(viewer, f"{address}?status=open") == [pair.pk]
    body = text_of(viewer, address)
    assert "7 ROJAS ANA 8 SOTO LUIS" in body and "3 days apart" in body
    for text in ("945111222", "945-111-223", str(pair.person_a_id), str(pair.person_b_id)):
        assert listed(viewer, address, q=text) == [pair.pk], text
    assert listed(viewer, address, q="945111999") == []
    PossibleSamePerson.objects.update(status="dismissed")
    assert listed(viewer, address) == []
    assert listed(viewer, f"{address}?status=dismissed") == listed(viewer, f"{address}?status=all") == [pair.pk]


def test_the_person_and_the_dossier_lead_to_the_possible_same_person(viewer):
    pair = suspect()
    for person in (pair.person_a, pair.person_b):
        section = sections(viewer, person)["Possible same persons"]
        assert page_of(pair) in str(section.rows[0][0])
    stranger = Person.objects.create(confidence_level="HIGH")
    assert "Possible same persons" not in sections(viewer, stranger)
    a_registration_of(pair.person_a, 9, 2)
    assert page_of(pair) in viewer.get(page_of(ScoutConflict(person=pair.person_a))).content.decode()


# --- runs and the start page ----------------------------------------------------------------------------------------


def test_every_count_of_the_refresh_has_words(viewer):
    a_recruit(ago(40), trips={0: 1})
    collect()
    tally = viewer.get(page_of(Run.objects.get(job_type=JobType.COLLECTION_REFRESH))).context_data["tally"]
    assert tally and [words for words, _value in tally if "_" in words] == []


def panel(user: User) -> dict[str, str]:
    request = RequestFactory().get("/admin/")
    request.user = user
    with translation.override("en"):
        made = collection(request)
    assert made is not None
    return {visible(row[0]): visible(row[1]) for row in made.rows}


def test_the_start_page_tells_what_is_owed_paid_and_to_collect_in_two_statements():
    user = a_user("solo", "view_claimincollection")
    assert panel(user) == {"Claims": "0"}
    recruit = a_recruit(ago(60), trips=SOME_TRIPS)
    a_recruit(ago(5), trips={0: 1})
    pays(recruit.name, 1)
    a_scout(7)
    an_entry(Person.objects.get(pk=recruit.person), 7)
    collect()
    panel(user)
    with CaptureQueriesContext(connection) as queries:
        told = panel(user)
    assert len(queries) <= 2
    assert told == {
        "Claims": "4", "Expected": "S/ 185.00", "Paid": "S/ 25.00", "To collect": "S/ 160.00 3", "– Not due yet": "S/ 25.00 1",
        "– 1 to 7 days": "S/ 0.00 0", "– 8 to 14 days": "S/ 0.00 0", "– 15 to 30 days": "S/ 0.00 0", "– 31 to 60 days": "S/ 135.00 2",
        "– More than 60 days": "S/ 0.00 0", "With scout": "75.00 % 3",
    }  # fmt: skip


def test_the_start_page_of_whoever_may_not_see_claims_has_no_panel_of_them():
    request = RequestFactory().get("/admin/")
    request.user = a_user("solo", "view_scout")
    assert collection(request) is None
