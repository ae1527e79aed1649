"""The pages of comparisons: what they list and find, what they hand out, to whom, and what they cost."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from attribution.models import Claim, ClaimComparison, ComparedClaim, ExistingClaimList
from ct4site.models import JobType, Run
from tests.attribution.test_admin import list_of, listed, page_of, signed_in, visible
from tests.collection.stories import a_recruit, ago, collect, pays
from tests.collection.test_admin import a_user
from tests.factories import run_job

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

COMPARISONS = "/admin/attribution/claimcomparison/"


@pytest.fixture
def viewer(client: Client) -> Client:
    """A signed-in user who may look at comparisons only, in English."""
    return signed_in(client, a_user("mirador", "view_claimcomparison"))


@pytest.fixture
def comparison(tmp_path: Path, settings: Any) -> ClaimComparison:
    """One claim that stays, one that changes, one that appears, and a paid one that disappears."""
    settings.REPORTS_ROOT = tmp_path / "reports"
    recruit = a_recruit(ago(40), trips={0: 1, 3: 6, 9: 20}, name="HUAMAN FLORES ROSA")
    pays(recruit.name, 1)
    collect()
    lines = [f"{recruit.driver_id},1,25,paid", f"{recruit.driver_id},5,100,expected", "<b>nobody,25,100,paid"]
    return compared(tmp_path, "\n".join(["driver_id,milestone,amount_expected,status", *lines, ""]))


def compared(folder: Path, text: str) -> ClaimComparison:
    path = folder / "claims of october.csv"
    path.write_text(text, encoding="utf-8")
    tally = run_job(JobType.CLAIMS_COMPARISON, file=str(path), rejects_dir=str(folder / "rejects"))
    return ClaimComparison.objects.get(pk=tally["comparison_id"])


def groups(client: Client, comparison: ClaimComparison, **query: str) -> list[str]:
    answer = client.get(page_of(comparison), query)
    assert answer.status_code == 200
    return [row.group for row in answer.context_data["cl"].result_list]


def test_the_list_names_every_comparison_with_its_numbers(viewer, comparison):
    assert listed(viewer, COMPARISONS) == [comparison.pk]
    text = visible(viewer.get(COMPARISONS).content.decode())
    assert "claims of october.csv" in text
    assert "1 paid" in text
    assert "−S/ 65.00" in text


def test_the_page_shows_totals_to_the_cent_and_every_row_with_its_sentence(viewer, comparison):
    answer = viewer.get(page_of(comparison))
    text = visible(answer.content.decode())
    assert [row["difference"] for row in answer.context_data["totals"]] == [
        "−S/ 100.00", "−S/ 65.00", "+S/ 100.00", "S/ 0.00", "−S/ 65.00",
    ]  # fmt: skip
    assert [row.group for row in answer.context_data["cl"].result_list] == ["disappears", "changes", "appears", "same"]
    for sentence in (
        "No driver of ours has this account. It is paid by the list; we know of no payment.",
        "The same claim with something else: amount S/ 100.00 → S/ 35.00.",
        "The list and CT4 agree. It is paid, by the list and by the partner's payments.",
    ):
        assert sentence in text
    claim = Claim.objects.get(milestone=5)
    assert f'href="{page_of(claim)}"' in answer.content.decode()
    assert "<b>nobody" not in answer.content.decode()


def test_rows_are_filtered_by_group_paid_and_reason_and_found_by_driver(viewer, comparison):
    assert groups(viewer, comparison, group="changes") == ["changes"]
    assert groups(viewer, comparison, paid="yes") == ["disappears", "same"]
    assert groups(viewer, comparison, paid="no", group="appears") == ["appears"]
    assert groups(viewer, comparison, reason="unknown_account") == ["disappears"]
    assert groups(viewer, comparison, reason="duplicate") == []
    assert groups(viewer, comparison, q="rosa huaman") == ["changes", "appears", "same"]
    assert groups(viewer, comparison, q="<b>NOBODY") == ["disappears"]
    assert groups(viewer, comparison, q="somebody else") == []


def test_a_comparison_shows_its_own_rows_only(viewer, comparison, tmp_path):
    other = compared(tmp_path, "driver_id,milestone,amount_expected\nelse,5,35\n")
    assert len(groups(viewer, comparison)) == 4
    assert groups(viewer, other, group="disappears") == ["disappears"]


def test_both_files_hold_every_row_whatever_is_filtered(viewer, comparison):
    answer = viewer.get(f"{COMPARISONS}{comparison.pk}/claims.csv")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [row["group"] for row in rows] == ["disappears", "changes", "appears", "same"]
    answer = viewer.get(f"{COMPARISONS}{comparison.pk}/claims.xlsx")
    assert answer["Content-Disposition"].startswith("attachment")
    book = openpyxl.load_workbook(io.BytesIO(b"".join(answer.streaming_content)))
    assert [cell.value for cell in book.worksheets[1]["A"][1:]] == ["disappears", "changes", "appears", "same"]
    assert book.worksheets[0]["E6"].value == -65


def test_pages_and_files_are_closed_to_those_who_may_not_see_comparisons(client, comparison):
    signed_in(client, a_user("solo", "view_claim"))
    addresses = [
        COMPARISONS,
        page_of(comparison),
        *(f"{COMPARISONS}{comparison.pk}/claims.{kind}" for kind in ("csv", "xlsx")),
    ]
    assert {client.get(address).status_code for address in addresses} == {403}
    assert {Client().get(address).status_code for address in addresses} == {302}


def test_a_comparison_cannot_be_added_changed_or_deleted(admin_client, comparison):
    assert admin_client.post(f"{COMPARISONS}add/", {}).status_code == 403
    assert admin_client.post(page_of(comparison), {}).status_code == 403
    assert admin_client.post(f"{COMPARISONS}{comparison.pk}/delete/", {"post": "yes"}).status_code == 403
    assert ComparedClaim.objects.count() == 4


def test_no_address_is_a_fault_of_the_server(viewer, comparison):
    viewer.raise_request_exception = False
    queries = [
        "group=NOPE", "paid=NOPE", "reason=NOPE", "q=%00", "q=%25%27", "after=x", "after=99999999999999999999", "o=1", "p=3",
        "driver_id=x", "comparison=7", "existing__line=1", "group__exact=x", "all=",
    ]  # fmt: skip
    answers = {query: viewer.get(f"{page_of(comparison)}?{query}").status_code for query in queries}
    assert {query: code for query, code in answers.items() if code not in (200, 302, 400)} == {}
    pages = ["0/change/", "x/change/", "99999999999999999999/change/", "%00/change/", "7777/claims.csv", "99999999999/claims.csv", f"{comparison.pk}/claims.exe"]  # fmt: skip
    answers = {page: viewer.get(f"{COMPARISONS}{page}").status_code for page in pages}
    assert {page: code for page, code in answers.items() if code not in (302, 400, 404)} == {}


def test_an_empty_list_and_an_empty_comparison_are_pages_too(viewer, tmp_path, settings):
    settings.REPORTS_ROOT = tmp_path / "reports"
    assert listed(viewer, COMPARISONS) == []
    assert groups(viewer, compared(tmp_path, "driver_id,milestone,amount_expected\n")) == []


def test_the_screen_has_a_purpose_and_passes_the_checks_of_the_admin():
    screen = admin.site.get_model_admin(ClaimComparison)
    assert screen.purpose
    assert screen.check() == []


def test_a_page_of_rows_takes_at_most_ten_statements_however_many_there_are(viewer, comparison):
    addresses = [
        page_of(comparison), f"{page_of(comparison)}?group=disappears&paid=yes", f"{page_of(comparison)}?q=nobody", list_of(ClaimComparison),
    ]  # fmt: skip

    def asked() -> dict[str, int]:
        counts = {}
        for address in addresses:
            with CaptureQueriesContext(connection) as queries:
                assert viewer.get(address).status_code == 200
            counts[address] = len(queries)
        return counts

    grow(comparison, 10)
    viewer.get(COMPARISONS)
    few = asked()
    grow(comparison, 200)
    much = asked()
    # A list that fits one page is counted by its own rows: one question less.
    assert {address: (few[address], count) for address, count in much.items() if count > few[address] + 1} == {}
    assert {address: count for address, count in much.items() if count > 10} == {}


def grow(comparison: ClaimComparison, number: int) -> None:
    """Rows and comparisons more."""
    ComparedClaim.objects.bulk_create(
        ComparedClaim(
            comparison=comparison, group="disappears", reason="unknown_account", differences=[], is_paid=True, payment_known=False,
            driver_id=f"nobody {place}", milestone=5, existing=comparison.rows.exclude(existing=None).first().existing,
        )
        for place in range(number)
    )  # fmt: skip
    told = {
        "claim_list": ExistingClaimList.objects.get(), "actor": "tests", "run": Run.objects.latest("pk"), "rejected_count": 0,
        "figures": comparison.figures,
    }  # fmt: skip
    ClaimComparison.objects.bulk_create(ClaimComparison(**told) for _place in range(number))


def test_a_superuser_finds_comparisons_in_the_navigation(client, comparison):
    signed_in(client, User.objects.create_superuser("ana.quispe"))
    assert f'href="{COMPARISONS}"' in client.get("/admin/").content.decode()


def test_rows_that_were_left_out_cannot_be_overlooked(viewer, comparison, tmp_path):
    partial = compared(tmp_path, "driver_id,milestone,amount_expected\nelse,5,35\nelse,5,many\n")
    warning = '<span class="pill pill-warn">1</span>'
    assert warning in viewer.get(page_of(partial)).content.decode()
    assert warning not in viewer.get(page_of(comparison)).content.decode().partition('id="changelist"')[0]
