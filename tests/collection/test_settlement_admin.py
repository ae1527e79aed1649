"""The screens of settlement: what they show of periods, lines and payments, and the statement of a scout to the cent."""

from __future__ import annotations

import datetime as dt
import io
import uuid
from decimal import Decimal
from typing import Any, NamedTuple

import openpyxl
import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from attribution import settlement
from attribution.admin import labels
from attribution.admin.collection import filters
from attribution.admin.settlement import items, statement, words
from attribution.admin.settlement.home import settlement as panel
from attribution.models import (
    ClaimInCollection,
    LineReason,
    PaymentStatus,
    PersonScout,
    ScoutPayment,
    ScoutPaymentRule,
    ScoutQuality,
    SettlementLine,
    SettlementPeriod,
    StatementItem,
)
from attribution.settlement_models import BLOCKS
from identity.models import DailyTrips, Person
from tests.attribution.stories import a_scout
from tests.attribution.test_admin import ODD_KEYS, list_of, listed, page_of, rows, sections, signed_in, text_of, visible
from tests.collection.stories import Recruit, a_person, ago, collect, quarantine, refresh
from tests.collection.test_admin import CLAIMS, a_user, viewer  # noqa: F401  a fixture
from tests.collection.test_settlement import a_recruit_of, belongs_to, close, opened, suspected
from tests.shared import made_once

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

B = "/admin/attribution/"
STATEMENT, PRINT, XLSX = (f"{B}statementitem/statement/{part}" for part in ("", "print/", "xlsx/"))
LINES, ITEMS = f"{B}settlementline/", f"{B}statementitem/"
OUR_SCREENS = [SettlementPeriod, SettlementLine, StatementItem, ScoutPayment]

each_screen = pytest.mark.parametrize("model", OUR_SCREENS, ids=lambda model: model._meta.model_name)


class World(NamedTuple):
    """A closed and an open period. Of scout 7: one settled, one held, one not payable yet, one lost to scout 9."""

    settled: Recruit
    held: Recruit
    later: Recruit
    lost: Recruit
    nothing: Recruit
    closed: SettlementPeriod
    open: SettlementPeriod


def a_world() -> World:
    a_scout(7, "ROJAS ANA")
    a_scout(9, "SOTO LUIS")
    opened(until=10)
    settled, held, lost = (a_recruit_of(7, trips) for trips in ({0: 5}, {0: 1}, {0: 1}))
    later, nothing = a_recruit_of(7, {0: 1}, since=12), a_recruit_of(7, {})
    suspected(held.person, a_person())
    collect()
    close()
    belongs_to(lost.person, 9)
    refresh()
    closed, open_ = SettlementPeriod.objects.order_by("starts_on")
    ScoutPayment.objects.create(
        payment_item_key="x", scout_id=7, person_key=settled.person, driver_id=settled.driver_id, lead_origin="cabinet",
        milestone_type="trips", milestone_value=5, amount=Decimal("25.00"), paid_by="luz", payment_ref="OP-1",
    )  # fmt: skip
    return World(settled, held, later, lost, nothing, closed, open_)


world = made_once("world", a_world)


def told(client: Client, **query: Any) -> dict[tuple[str, str], list[str]]:
    """The rows of a statement's page by (person, milestone): why, status and note, owed, settled, amount."""
    context = client.get(STATEMENT, query).context_data
    with translation.override("en"):  # amounts are put in words when they are asked for
        return {
            (row.item.person_id, row.milestone): [row.why, visible(row.pill), row.note, *row.money]
            for row in context["rows"]
        }  # fmt: skip


def sums(client: Client, **query: Any) -> dict[str, tuple[int, ...]]:
    context = client.get(STATEMENT, query).context_data
    return {sum_.words: (sum_.number, *sum_.money) for sum_ in context["sums"]}


# --- everything opens, whatever is asked ------------------------------------------------------------------


def test_every_screen_has_a_purpose_and_passes_the_checks_of_the_admin():
    for model in OUR_SCREENS:
        screen = admin.site.get_model_admin(model)
        assert screen.purpose, model
        assert screen.check() == []


@each_screen
def test_nothing_of_a_settlement_can_be_added_changed_or_deleted_on_a_screen(admin_client, model, world):
    page = page_of(model._default_manager.order_by("pk").first())
    assert admin_client.post(list_of(model) + "add/", {}).status_code == 403
    assert admin_client.post(page, {}).status_code == 403
    assert admin_client.post(page.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403


BAD = [
    "q=%00", "scout=x", "scout=-1", "scout=2147483648", "scout=%D9%A3", "period=x", "period=-1", "period=99999999999999", "block=NOPE",
    "due=NOPE", "kind__exact=NOPE", "payment_status__exact=NOPE", "status__exact=NOPE", "unknown=1", "pk__in=x", "person__primary_phone__startswith=9",
    "after=x", "before=%ff", "after=99999999999999999999", "o=99.-5.x", "p=-1", "all=", "q=" + "9" * 500, "q=%25%28%27%5C", "q=+++",
    "scout=7&show=NOPE", "scout=7&show=PAID&after=x", "scout=7&period=77777", "scout=7&period=x", "scout=7&after=99999999999999999999",
    "scout=%27--", "scout=" + "9" * 300, "scout=+++", "scout=7&before=1", "period=1",
    "scout=%00", "scout=ro%00jas", "scout=7&period=%00", "scout=7&show=%00",
]  # fmt: skip


@pytest.mark.parametrize(
    "address", [*map(list_of, OUR_SCREENS), STATEMENT, PRINT, XLSX], ids=lambda address: address.split("/")[-2]
)
def test_no_question_put_to_a_list_or_a_statement_is_a_fault_of_the_server(viewer, address, world):  # noqa: F811
    viewer.raise_request_exception = False
    answers = {query: viewer.get(f"{address}?{query}").status_code for query in BAD}
    assert {query: code for query, code in answers.items() if code not in (200, 302, 400, 404)} == {}


@pytest.mark.parametrize("address", [STATEMENT, PRINT, XLSX], ids=["page", "print", "workbook"])
def test_a_statement_that_cannot_be_is_refused_in_words(viewer, address):  # noqa: F811
    viewer.raise_request_exception = False
    for query in ("scout=7&period=x", "scout=7&period=99999999999", "scout=99999999999", "scout=%00"):
        answer = viewer.get(f"{address}?{query}")
        assert answer.status_code == 400 and "This address cannot be read" in answer.content.decode(), query
    assert viewer.get(f"{address}?scout=7&period=77777").status_code == 404


@each_screen
def test_a_page_of_nothing_leads_home_or_is_refused(viewer, model):  # noqa: F811
    answers = {key: viewer.get(f"{list_of(model)}{key}/change/").status_code for key in ODD_KEYS}
    assert {key: code for key, code in answers.items() if code not in (302, 400, 404)} == {}


@each_screen
def test_a_screen_is_shown_to_those_only_who_may_see_it(client, model, world):
    user = a_user("solo")
    signed_in(client, user)
    addresses = [list_of(model), page_of(model._default_manager.order_by("pk").first())]
    if model is StatementItem:
        addresses += [
            STATEMENT,
            f"{STATEMENT}?scout=7",
            f"{STATEMENT}?scout=rojas",
            f"{PRINT}?scout=7",
            f"{XLSX}?scout=7",
        ]
    assert {client.get(address).status_code for address in addresses} == {403}
    user.user_permissions.set(Permission.objects.filter(codename=f"view_{model._meta.model_name}"))
    assert {client.get(address, follow=True).status_code for address in addresses} == {200}


def test_before_anything_is_settled_every_page_is_a_page_too(viewer):  # noqa: F811
    assert {model: listed(viewer, list_of(model)) for model in OUR_SCREENS} == {model: [] for model in OUR_SCREENS}
    assert "No settlement period is open" in text_of(viewer, STATEMENT)
    for address in (STATEMENT, PRINT, XLSX):
        assert viewer.get(f"{address}?scout=7").status_code == 200
    opened()
    assert "would settle S/ 0.00" in text_of(viewer, STATEMENT)


def test_hostile_texts_are_shown_as_text(viewer, world):  # noqa: F811
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    a_scout(8, hostile)
    belongs_to(world.settled.person, 8)
    Person.objects.update(primary_full_name=hostile)
    refresh()
    ScoutPayment.objects.update(notes=hostile, paid_by=hostile, payment_ref=hostile, lead_origin=hostile)
    pages = [page_of(model._default_manager.order_by("pk").first()) for model in OUR_SCREENS]
    queries = (f"scout={number}{more}" for number in (7, 8) for more in ("", f"&period={world.closed.pk}"))
    for address in (*pages, *map(list_of, OUR_SCREENS), STATEMENT, *(f"{door}?{query}" for query in queries for door in (STATEMENT, PRINT))):  # fmt: skip
        body = viewer.get(address).content.decode()
        assert "<script>alert" not in body, address
        assert "<img src=x" not in body, address


# --- the statement of a scout -------------------------------------------------------------------------------


def test_a_statement_says_of_each_person_why_it_is_the_scouts_how_it_stands_and_what_would_unblock_it(viewer, world):  # noqa: F811
    found = told(viewer, scout=7)
    block = BLOCKS["POSSIBLE_SAME_PERSON"]
    with translation.override("en"):
        held = f"{block.reason} {block.remedy}"
        payable = labels.day(ago(12) + dt.timedelta(days=7))
    why, status, note, *amounts = found[world.settled.person, "5 trips"]
    assert why.startswith("The newest registration of the person names the scout")
    assert (status, note, amounts) == (
        "Settled",
        f"Settled in {world.closed.name}.",
        ["S/ 25.00", "S/ 25.00", "S/ 0.00"],
    )
    assert found[world.held.person, "1 trip"][1:] == ["Blocked", held, "S/ 20.00", "S/ 0.00", "S/ 20.00"]
    assert found[world.later.person, "1 trip"][1:] == [
        "Eligible", f"Payable from {payable}, after the end of the open period.", "S/ 20.00", "S/ 0.00", "S/ 20.00",
    ]  # fmt: skip
    assert found[world.nothing.person, "None yet"][1:3] == ["Pending", "No milestone was reached that a rule pays for."]
    assert found[world.settled.person, "Connection"][2] == "The rule pays nothing for this milestone."
    # The adjustment of the earlier period, with its sign and its reason.
    assert found[world.lost.person, "1 trip"] == [
        "It was settled while the person was of this scout; now the person is of scout 9 (SOTO LUIS).", "Eligible",
        "S/ 20.00 had been settled; the person is of scout 9 (SOTO LUIS) now, so it is taken back.",
        "S/ 0.00", "S/ 20.00", "S/ -20.00",
    ]  # fmt: skip


def test_the_sums_of_a_statement_are_those_of_its_rows_to_the_cent(viewer, world):  # noqa: F811
    ScoutPaymentRule.objects.filter(milestone_value=5).update(amount=Decimal("25.33"))
    refresh()
    items_of = StatementItem.objects.filter(scout_id=7)
    expected = {}
    for code, label in PaymentStatus.choices:
        found = list(items_of.filter(payment_status=code))
        parts = [(item.owed_amount, item.settled_amount, item.owed_amount - item.settled_amount) for item in found]
        totals = [sum((part[place] for part in parts), Decimal("0.00")) for place in range(3)]
        with translation.override("en"):
            name = str(label)
        expected[name] = (len(found), *(f"S/ {total}" for total in totals))
    shown = sums(viewer, scout=7)
    assert shown.pop("All") == (9, "S/ 85.33", "S/ 65.00", "S/ 20.33")
    assert shown == expected
    assert "would settle S/ -19.67" in text_of(viewer, f"{STATEMENT}?scout=7")


def test_the_statement_of_a_closed_period_tells_what_was_settled_then_and_the_adjustments_by_themselves(viewer, world):  # noqa: F811
    assert sums(viewer, scout=7, period=world.closed.pk) == {
        "New": (3, "S/ 65.00", "S/ 0.00", "S/ 65.00"), "Adjustments of earlier periods": (0, "S/ 0.00", "S/ 0.00", "S/ 0.00"),
        "All": (3, "S/ 65.00", "S/ 0.00", "S/ 65.00"),
    }  # fmt: skip
    close()
    assert sums(viewer, scout=7, period=world.open.pk)["Adjustments of earlier periods"] == (
        1,
        "S/ 0.00",
        "S/ 20.00",
        "S/ -20.00",
    )
    (row,) = told(viewer, scout=7, period=world.open.pk).values()
    assert row[1:] == [
        "Adjustment", "S/ 20.00 had been settled; the person is of scout 9 (SOTO LUIS) now, so it is taken back.", "S/ 0.00",
        "S/ 20.00", "S/ -20.00",
    ]  # fmt: skip
    # The earlier one is told as before.
    assert sums(viewer, scout=7, period=world.closed.pk)["All"] == (3, "S/ 65.00", "S/ 0.00", "S/ 65.00")


def test_a_statement_is_narrowed_to_one_status_while_its_sums_stay_whole(viewer, world):  # noqa: F811
    found = told(viewer, scout=7, show="BLOCKED")
    assert {person for person, _milestone in found} == {world.held.person}
    assert sums(viewer, scout=7, show="BLOCKED") == sums(viewer, scout=7)


def test_a_statement_is_paged_through_without_losing_or_repeating_a_row(viewer, monkeypatch, world):  # noqa: F811
    monkeypatch.setattr(items, "PAGE", 2)
    for query, expected in (("scout=7", 9), (f"scout=7&period={world.closed.pk}", 3), ("scout=7&show=PENDING", 3)):
        seen, back, here = [], [], f"{STATEMENT}?{query}"
        while here:
            context = viewer.get(here).context_data
            seen += [row.item.pk for row in context["rows"]]
            last, here = here, context["next"]
        while last:
            context = viewer.get(last).context_data
            back += [row.item.pk for row in reversed(context["rows"])]
            last = context["previous"]
        assert len(set(seen)) == len(seen) == expected, query
        assert set(back) == set(seen), query


def test_a_scout_is_chosen_by_number_or_by_name(viewer, world):  # noqa: F811
    a_scout(10, "ROJAS PEDRO")
    answer = viewer.get(STATEMENT, {"scout": "soto", "period": world.closed.pk})
    assert answer.status_code == 302 and answer["Location"] == f"{STATEMENT}?scout=9&period={world.closed.pk}"
    assert "7 · ROJAS ANA" in text_of(viewer, f"{STATEMENT}?scout=rojas")
    assert "10 · ROJAS PEDRO" in text_of(viewer, f"{STATEMENT}?scout=rojas")
    assert "None." in text_of(viewer, f"{STATEMENT}?scout=nobody")


def test_the_printed_statement_has_all_rows_and_sums_without_any_navigation(viewer, world):  # noqa: F811
    page = viewer.get(PRINT, {"scout": 7})
    body, text = page.content.decode(), text_of(viewer, f"{PRINT}?scout=7")
    assert "<nav" not in body and "<script>" not in body and "style=" not in body
    assert body.count("<tr>") + body.count('<tr class="total">') == 2 + 4 + 1 + 9
    assert "Statement of 7 · ROJAS ANA" in text
    assert "All 9 S/ 85.00 S/ 65.00 S/ 20.00" in text
    assert f"Statement of 7 · ROJAS ANA, {world.closed.name}" in text_of(
        viewer, f"{PRINT}?scout=7&period={world.closed.pk}"
    )


def test_a_very_long_print_says_that_it_stops(viewer, monkeypatch, world):  # noqa: F811
    monkeypatch.setattr(items, "PRINTED", 3)
    assert "Only the first 3 rows are printed; the sums are of all." in text_of(viewer, f"{PRINT}?scout=7")


def sheets_of(client: Client, **query: Any) -> dict[str, list[tuple[Any, ...]]]:
    answer = client.get(XLSX, query)
    assert answer.status_code == 200
    book = openpyxl.load_workbook(io.BytesIO(answer.content))
    return {sheet.title: [tuple(cell.value for cell in row) for row in sheet.iter_rows()] for sheet in book}


def test_the_workbook_has_every_row_as_numbers_and_dates_and_no_formula(viewer, world):  # noqa: F811
    Person.objects.filter(pk=world.settled.person).update(primary_full_name='=HYPERLINK("http://x")')
    refresh()
    sheets = sheets_of(viewer, scout=7)
    head, *found = sheets["Statement"]
    cells = [dict(zip(head, row, strict=True)) for row in found]
    assert len(cells) == StatementItem.objects.filter(scout_id=7).count() == 9
    (settled,) = [row for row in cells if (row["Person"], row["Milestone"]) == (str(world.settled.person), "5 trips")]
    assert (settled["Name"], settled["Owed"], settled["Settled"], settled["To settle"]) == (
        '=HYPERLINK("http://x")',
        25,
        25,
        0,
    )
    assert settled["Reached"].date() == ago(40) and settled["Driver"] == world.settled.driver_id
    assert sum(row["To settle"] for row in cells) == 20
    assert sum(row[5] for row in sheets["Sums"][1:]) == 20
    book = openpyxl.load_workbook(io.BytesIO(viewer.get(XLSX, {"scout": 7}).content))
    assert {cell.data_type for row in book["Statement"].iter_rows() for cell in row} <= {"s", "n", "d", "inlineStr"}


def test_page_print_and_workbook_of_a_statement_tell_the_same(viewer, world):  # noqa: F811
    for query in ({"scout": 7}, {"scout": 7, "period": world.closed.pk}):
        page = [
            (str(row.item.person_id), row.milestone, row.why, row.note, row.amount)
            for row in viewer.get(STATEMENT, query).context_data["rows"]
        ]
        with translation.override("en"):
            printed = statement.account_of(7, query.get("period"))
            assert page == [
                (str(row.item.person_id), row.milestone, row.why, row.note, row.amount)
                for row in printed.in_words(printed.told.rows)
            ]
        sheet = sheets_of(viewer, **query)["Statement"][1:]
        assert page == [
            (row[1], row[5], row[3], row[10] or "", Decimal(row[14]).quantize(Decimal("0.01"))) for row in sheet
        ]
        body = text_of(viewer, f"{PRINT}?{'&'.join(f'{name}={value}' for name, value in query.items())}")
        assert all(why in body and note in body for _person, _milestone, why, note, _amount in page)


def test_every_reason_block_and_quality_has_a_sentence_in_both_languages():
    item = StatementItem(
        scout_id=7, current_scout_id=7, person_id=uuid.uuid4(), currency="PEN", owed_amount=Decimal(20), settled_amount=Decimal(5),
        due_amount=Decimal(15), payment_status="ELIGIBLE", scout_quality_bucket="SATISFACTORY_LEDGER",
    )  # fmt: skip
    for language in ("en", "es"):
        with translation.override(language):
            for code in LineReason.values:
                item.line_reason = code
                assert words.reason(item, {}), code
            sentences = set()
            for rule in (*words.BY_RULE, None):
                item.ledger_rule = rule
                sentences.add(words.why(item, {}))
            for quality in words.BY_QUALITY:
                item.ledger_rule, item.scout_quality_bucket = None, quality
                sentences.add(words.why(item, {}))
            assert len(sentences) == len(words.BY_RULE) + len(words.BY_QUALITY)
            item.scout_quality_bucket, item.current_scout_id = "SATISFACTORY_LEDGER", 7


# --- lists and pages ------------------------------------------------------------------------------------------


def test_items_are_filtered_by_status_block_what_is_due_and_scout_and_found_by_person_and_account(viewer, world):  # noqa: F811

    def persons(query: str) -> set[Any]:
        return set(
            StatementItem.objects.filter(pk__in=listed(viewer, f"{ITEMS}?{query}")).values_list("person_id", flat=True)
        )

    assert persons("payment_status__exact=PAID") == {world.settled.person}
    assert persons("block=POSSIBLE_SAME_PERSON") == {world.held.person}
    assert persons("due=yes") == {world.lost.person}
    assert persons("due=back") == {world.lost.person}
    assert StatementItem.objects.get(pk=listed(viewer, f"{ITEMS}?due=back")[0]).scout_id == 7
    assert persons("scout=9") == {world.lost.person}
    assert persons(f"q={world.held.person}") == {world.held.person}
    assert persons(f"q={world.held.driver_id}") == {world.held.person}
    assert persons("block=CONFLICT") == set()


def test_lines_are_filtered_by_period_scout_and_kind_and_found_by_person_and_account(viewer, world):  # noqa: F811
    close()
    by_number = SettlementLine.objects.order_by("-id")
    expected = {
        f"period={world.closed.pk}": by_number.filter(period=world.closed), f"period={world.open.pk}": by_number.filter(period=world.open),
        "scout=7": by_number.filter(scout_id=7), "scout=9": by_number.filter(scout_id=9), "kind__exact=adjustment": by_number.filter(kind="adjustment"),
        f"period={world.open.pk}&scout=7": by_number.filter(scout_id=7, period=world.open), f"q={world.lost.person}": by_number.filter(person_id=world.lost.person),
        f"q={world.settled.driver_id}": by_number.filter(driver_id=world.settled.driver_id), "period=77": by_number.none(),
    }  # fmt: skip
    assert len(listed(viewer, LINES)) == 5
    for query, found in expected.items():
        assert listed(viewer, f"{LINES}?{query}") == list(found.values_list("pk", flat=True)), query
        assert bool(found) == (query != "period=77"), query


def test_the_page_of_a_line_says_where_it_comes_from_and_what_became_of_it(viewer, world):  # noqa: F811
    close()
    first, back = SettlementLine.objects.filter(person_id=world.lost.person, scout_id=7).order_by("id")
    text = text_of(viewer, page_of(first))
    with translation.override("en"):
        reached, lead = (labels.day(ago(40)) for _time in range(2))
    assert f"reached 1 trip on {reached}, within the 7 days that begin with the lead of {lead}." in text
    assert "By the rule valid on the day of that lead a scout gets S/ 20.00 for it, once per person." in text
    assert f"The closing of the period {world.closed.name} settled S/ +20.00 for it." in text
    assert "The newest registration of the person names the scout" in text
    assert "so it is taken back" in text_of(viewer, page_of(back))
    history = rows(sections(viewer, back)["Lines of the item"])
    assert [row[4] for row in history] == ["S/ +20.00", "S/ -20.00"] and history[1][6] == "This line"


def test_the_page_of_an_item_leads_to_its_lines_its_payments_and_to_what_blocks_it(viewer, world):  # noqa: F811
    settled = StatementItem.objects.get(person_id=world.settled.person, milestone_value=5)
    found = sections(viewer, settled)
    assert [row[4] for row in rows(found["Lines of the item"])] == ["S/ +25.00"]
    assert [row[1:] for row in rows(found["Payments on record"])] == [["S/ 25.00", "luz", "OP-1"]]
    held = StatementItem.objects.get(person_id=world.held.person, milestone_type="trips")
    assert f'possiblesameperson/?q={world.held.person}"' in viewer.get(page_of(held)).content.decode()


def test_a_closed_period_shows_who_closed_it_its_digest_and_each_scout_to_the_cent(viewer, world):  # noqa: F811
    text = text_of(viewer, page_of(world.closed))
    assert world.closed.digest is not None
    for fact in ("tests", world.closed.digest, f"#{world.closed.run_id}", "S/ 65.00", "3 new, 0 adjustments"):
        assert fact in text, fact
    assert rows(sections(viewer, world.closed)["By scout"]) == [
        ["7 ROJAS ANA", "3", "S/ 65.00", "0", "S/ 0.00", "S/ 65.00", "Lines", "Statement"]
    ]


def test_the_open_period_shows_what_closing_would_settle_and_then_closing_settles_just_that(viewer, world):  # noqa: F811
    found = sections(viewer, world.open)
    assert rows(found["Due now, by scout"]) == [
        ["7 ROJAS ANA", "0", "1", "1", "S/ -20.00", "Statement"], ["9 SOTO LUIS", "1", "0", "1", "S/ 20.00", "Statement"],
    ]  # fmt: skip
    # A connection that is worth nothing is held too.
    assert [row[2:] for row in rows(found["Blocked"])] == [["2", "S/ 20.00"]]
    text = text_of(viewer, STATEMENT)
    assert f"--expect {settlement.due().fingerprint}" in text
    assert f"Closing the open period {world.open.name} now would settle S/ 0.00." in text
    close(expected=settlement.due().fingerprint)
    world.open.refresh_from_db()
    assert [row[-3] for row in rows(sections(viewer, world.open)["By scout"])] == ["S/ -20.00", "S/ 20.00"]


def test_a_quarantined_account_blocks_and_the_release_unblocks(viewer, world):  # noqa: F811
    quarantine(world.later.driver_id)
    refresh()
    # Trips of an account that may not operate reach nothing; the person stays on the statement, and why.
    blocked = told(viewer, scout=7)[world.later.person, "None yet"]
    with translation.override("en"):
        assert blocked[1:3] == ["Blocked", f"{BLOCKS['QUARANTINED'].reason} {BLOCKS['QUARANTINED'].remedy}"]
    quarantine(world.later.driver_id, "resolved_created_lead")
    refresh()
    assert told(viewer, scout=7)[world.later.person, "1 trip"][1] == "Eligible"


def test_what_was_paid_before_its_item_was_settled_counts_as_settled_and_says_so(viewer):  # noqa: F811
    recruit = a_recruit_of(7, {0: 1})
    ScoutPayment.objects.create(
        payment_item_key="y", scout_id=7, person_key=recruit.person, driver_id=recruit.driver_id, lead_origin="cabinet",
        milestone_type="trips", milestone_value=1, amount=Decimal("20.00"),
    )  # fmt: skip
    opened()
    collect()
    assert told(viewer, scout=7)[recruit.person, "1 trip"][1:3] == [
        "Settled",
        "It was on record as paid before it was ever settled.",
    ]
    payment = ScoutPayment.objects.get()
    assert rows(sections(viewer, payment)["How the item stands now"]) == [["1 trip", "Settled", "S/ 20.00", "S/ 20.00"]]
    assert listed(viewer, list_of(ScoutPayment), q=str(recruit.person)) == [payment.pk]
    assert listed(viewer, list_of(ScoutPayment), scout=9) == []


def test_a_milestone_that_is_gone_is_told_as_money_to_take_back(viewer, world):  # noqa: F811
    DailyTrips.objects.filter(driver_id=world.settled.driver_id).delete()
    refresh()
    row = told(viewer, scout=7)[world.settled.person, "5 trips"]
    assert row[2:] == [
        "S/ 25.00 had been settled; the milestone is not reached any more, so it is taken back.", "S/ 0.00", "S/ 25.00", "S/ -25.00",
    ]  # fmt: skip


def test_the_page_of_a_scout_and_the_start_page_lead_to_statements(viewer, rf, world):  # noqa: F811
    assert f"{STATEMENT}?scout=7" in viewer.get(f"{B}scout/7/change/").content.decode()
    rf_request = rf.get("/")
    rf_request.user = User.objects.get(username="mirador")
    with translation.override("en"):
        shown = panel(rf_request)
        assert shown is not None
        assert [[visible(cell) for cell in row] for row in shown.rows] == [
            ["Open period", SettlementPeriod.objects.get(status="open").name], ["Due now", "S/ 0.00 2"], ["Blocked", "S/ 20.00 2"],
            ["Last closed", f"{SettlementPeriod.objects.get(status='closed').name} · S/ 65.00"],
        ]  # fmt: skip
        rf_request.user = User.objects.create_user("nadie", is_staff=True)
        assert panel(rf_request) is None


# --- what it costs ------------------------------------------------------------------------------------------

COSTS = [
    LINES, f"{LINES}?scout=7", f"{LINES}?period={{closed}}", f"{LINES}?kind__exact=line&scout=7&period={{closed}}", f"{LINES}?q=qqq",
    ITEMS, f"{ITEMS}?due=yes", f"{ITEMS}?payment_status__exact=ELIGIBLE&scout=7", f"{ITEMS}?q=qqq", list_of(ScoutPayment), list_of(SettlementPeriod),
    f"{STATEMENT}?scout=7", f"{STATEMENT}?scout=7&show=ELIGIBLE", f"{STATEMENT}?scout=7&period={{closed}}", f"{PRINT}?scout=7", f"{XLSX}?scout=7",
    STATEMENT, f"{B}settlementperiod/{{closed}}/change/", f"{B}settlementperiod/{{open}}/change/",
]  # fmt: skip


def grow(period: int, number: int) -> None:
    """Items, lines and payments of many persons more, of scout 7, as a closing would have left them."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with people as (
                insert into canon.identity_registry (person_key, confidence_level, primary_full_name)
                select gen_random_uuid(), 'HIGH', 'ANA ROJAS' from generate_series(1, %(number)s) returning person_key
            ),
            paid as (
                insert into ops.scout_liquidation_ledger (payment_item_key, scout_id, person_key, amount)
                select person_key, 7, person_key, 20 from people
            ),
            stated as (
                insert into ops.scout_statements (
                    payment_item_key, currency, scout_id, person_key, person_name, origin_tag, milestone_type, milestone_value,
                    owed_amount, settled_amount, due_amount, payment_status, current_scout_id, line_kind, line_reason, last_period_id
                )
                select person_key, 'PEN', 7, person_key, 'ANA ROJAS', 'cabinet', 'trips', 5, 25, 0, 25, 'ELIGIBLE', 7, 'line',
                    'REACHED', %(period)s
                from people
            )
            insert into ops.settlement_lines (
                period_id, kind, reason, payment_item_key, scout_id, person_key, origin_tag, milestone_type, milestone_value,
                owed_amount, settled_before, amount, currency, current_scout_id
            )
            select %(period)s, 'line', 'REACHED', person_key, 7, person_key, 'cabinet', 'trips', 1, 20, 0, 20, 'PEN', 7 from people
            """,
            {"number": number, "period": period},
        )


def test_a_page_takes_at_most_ten_statements_however_many_rows_there_are(viewer, monkeypatch):  # noqa: F811
    for model in OUR_SCREENS:
        monkeypatch.setattr(type(admin.site.get_model_admin(model)), "list_per_page", 100)
    monkeypatch.setattr(items, "PAGE", 100)
    a_scout(7, "ROJAS ANA")
    period = opened()
    grow(period.pk, 10)
    SettlementPeriod.objects.filter(pk=period.pk).update(
        status="closed", closed_at=period.opened_at, closed_by="x", digest="x"
    )
    following = SettlementPeriod.objects.create(
        name="next", starts_on=period.ends_on + dt.timedelta(days=1), ends_on=ago(0)
    )
    addresses = [address.format(closed=period.pk, open=following.pk) for address in COSTS]

    def asked() -> dict[str, int]:
        counts = {}
        for address in addresses:
            with CaptureQueriesContext(connection) as queries:
                assert viewer.get(address).status_code == 200
            counts[address] = len(queries)
        return counts

    viewer.get(LINES)
    few = asked()
    with connection.cursor() as cursor:  # more lines of a period that is closed already
        cursor.execute("set constraints all immediate")
        cursor.execute("alter table ops.settlement_lines disable trigger settlement_lines_need_an_open_period")
    grow(period.pk, 190)
    much = asked()
    # A list that fits one page is counted by its own rows: one question less.
    assert {address: (few[address], count) for address, count in much.items() if count > few[address] + 1} == {}
    # A search looks in several places first.
    assert {address: count for address, count in much.items() if count > 10 and "?q=" not in address} == {}


def test_the_filter_of_claims_by_scout_quality_agrees_with_the_rows_whether_few_or_many(viewer, monkeypatch, world):  # noqa: F811
    belongs_to(a_recruit_of(None, {0: 1}).person, None)
    collect()
    expected: dict[str, list[int]] = {code: [] for code in ScoutQuality.values}
    for key, code in ClaimInCollection.objects.values_list("pk", "scout_quality_bucket"):
        expected[code].append(key)
    assert expected["MISSING"] and expected["SATISFACTORY_LEDGER"]
    for most in (5000, 1):
        monkeypatch.setattr(filters, "FEW", most)
        for code, claims in expected.items():
            assert sorted(listed(viewer, f"{CLAIMS}?quality={code}")) == sorted(claims), (most, code)
    PersonScout.objects.update(scout_id=None, scout_quality_bucket=None)
    assert len(listed(viewer, f"{CLAIMS}?quality=MISSING")) == sum(map(len, expected.values()))
