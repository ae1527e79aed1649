"""The pages of settlement in a real browser: they fit every window, read well, print, and break no security policy."""

from __future__ import annotations

import re
from decimal import Decimal

import openpyxl
import pytest
from django.db import transaction

from attribution import settlement
from attribution.models import OriginTag, ScoutPayment, SettlementLine, SettlementPeriod, StatementItem
from ct4site import jobs
from ct4site.models import JobType
from identity.models import Person
from tests.attribution.stories import a_scout
from tests.browser.looks import assert_pages_look_right
from tests.collection.stories import a_recruit, ago
from tests.collection.test_settlement import belongs_to

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

B = "/admin/attribution/"
STATEMENT = f"{B}statementitem/statement/"


@pytest.fixture
def world(superuser):
    """A closed and an open period: scout 7 was settled for two persons, of whom one is of scout 9 by now."""
    with transaction.atomic():  # an account and its lead come together
        a_scout(7, "ROJAS ANA MARIA DEL PILAR")
        a_scout(9, "SOTO LUIS")
        stays, goes = (
            a_recruit(ago(40), trips={0: 5}, name=name) for name in ("HUAMAN FLORES ROSA ELENA", "QUISPE JUAN")
        )
        later = a_recruit(ago(12), trips={0: 1})
        for recruit in (stays, goes, later):
            Person.objects.filter(pk=recruit.person).update(primary_full_name=recruit.name)
            belongs_to(recruit.person, 7)
        settlement.open_period(starts_on=ago(90), ends_on=ago(10), actor="ana.quispe")
    perform(JobType.DRIVERS_INDEX_REFRESH)
    perform(JobType.COLLECTION_REFRESH)
    perform(JobType.SETTLEMENT_CLOSE)
    belongs_to(goes.person, 9)
    perform(JobType.COLLECTION_REFRESH)
    ScoutPayment.objects.create(payment_item_key="x", scout_id=7, amount=25, paid_by="luz")
    return superuser


def perform(code: str) -> None:
    jobs.perform(job_code=code, actor="ana.quispe", parameters={}, dry_run=False)


def addresses() -> dict[str, str]:
    closed, opened = SettlementPeriod.objects.order_by("starts_on").values_list("pk", flat=True)
    line = SettlementLine.objects.filter(milestone_value=5).latest("pk")
    item = StatementItem.objects.get(payment_item_key=line.payment_item_key)
    return {
        "periods": f"{B}settlementperiod/",
        "closed": f"{B}settlementperiod/{closed}/change/",
        "open": f"{B}settlementperiod/{opened}/change/",
        "lines": f"{B}settlementline/",
        "line": f"{B}settlementline/{line.pk}/change/",
        "items": f"{B}statementitem/",
        "item": f"{B}statementitem/{item.pk}/change/",
        "payments": f"{B}scoutpayment/",
        "payment": f"{B}scoutpayment/{ScoutPayment.objects.latest('pk').pk}/change/",
        "due": STATEMENT,
        "statement": f"{STATEMENT}?scout=7",
        "statement-closed": f"{STATEMENT}?scout=7&period={closed}",
        "statement-none": f"{STATEMENT}?scout=77",
        "print": f"{STATEMENT}print/?scout=7",
    }


def test_every_page_fits_every_window_reads_well_and_breaks_no_security_policy(visit, world, screenshot):
    assert_pages_look_right(visit(world), addresses(), "settlement", screenshot)


def test_a_statement_fits_beside_the_menu_in_both_languages(visit, world, screenshot):
    large = Decimal("12345.50")
    StatementItem.objects.filter(scout_id=7).update(
        origin_tag=OriginTag.FLEET_MIGRATION, owed_amount=2 * large, settled_amount=large
    )
    for language in ("es", "en"):
        for name in ("statement", "statement-closed"):
            window = visit(world, width=1440, language=language)
            page = window.go(addresses()[name])
            page.locator("table.statement-rows").scroll_into_view_if_needed()
            screenshot(window, f"{name}-{language}")
            assert page.locator(".site-nav").is_visible()
            hidden = page.locator(".scroll").evaluate_all(
                "found => found.map(box => box.scrollWidth - box.clientWidth)"
            )
            assert hidden == [0, 0], (language, name)


def test_a_statement_is_found_by_name_narrowed_downloaded_and_printed(visit, world, tmp_path):
    window = visit(world, language="en")
    page = window.go("/admin/")
    page.get_by_role("region", name="Settlement of scouts").get_by_role("link", name="Due now").click()
    page.get_by_label("Scout", exact=True).fill("rojas")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**scout=7")
    page.get_by_role("region", name="Sums").get_by_role("link", name="Settled").click()
    page.wait_for_url("**show=PAID")
    shown = page.locator("table.statement-rows tbody tr")
    assert set(shown.locator("td:first-child a").all_inner_texts()) == {"HUAMAN FLORES ROSA ELENA"}
    with page.expect_download() as download:
        page.get_by_role("link", name="Excel").click()
    file = tmp_path / "statement.xlsx"
    download.value.save_as(file)
    assert re.fullmatch(r"scout_7_\d{4}-\d\d-\d\d\.xlsx", download.value.suggested_filename)
    assert openpyxl.load_workbook(file)["Statement"].max_row == 1 + StatementItem.objects.filter(scout_id=7).count()
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Print view").click()
    paper = opened.value
    paper.wait_for_load_state()
    paper.evaluate("window.print = () => { window.printed = true; }")
    paper.get_by_role("button", name="Print").click()
    assert paper.evaluate("window.printed") is True
    paper.emulate_media(media="print", color_scheme="dark")
    assert not paper.get_by_role("button", name="Print").is_visible()
    assert paper.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert paper.evaluate("getComputedStyle(document.querySelector('.rows thead')).display") == "table-header-group"
    assert paper.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    assert window.complaints == []
