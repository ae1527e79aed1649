"""The pages of collection in a real browser: they fit every window, read well, and break no security policy."""

from __future__ import annotations

import pytest
from django.db import transaction

from attribution.models import (
    Claim,
    ClaimComparison,
    PartnerPaymentRule,
    PossibleSamePerson,
    YangoPayment,
)
from ct4site import jobs
from ct4site.models import JobType
from tests.browser.looks import assert_pages_look_right
from tests.collection.stories import a_recruit, ago, pays
from tests.collection.test_admin import suspect

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

B = "/admin/attribution/"
CLAIMS = f"{B}claimincollection/"


@pytest.fixture
def world(superuser, tmp_path, settings):
    """A driver with three claims, one paid, another driver, a pair that may be one person, a list of existing claims."""
    settings.REPORTS_ROOT = tmp_path / "reports"
    with transaction.atomic():  # an account and its lead come together
        long = a_recruit(ago(40), trips={0: 1, 3: 6, 9: 20}, name="HUAMAN FLORES ROSA ELENA DEL PILAR")
        a_recruit(ago(5), trips={0: 1})
        pays(long.name, 1)
    for code in (JobType.DRIVERS_INDEX_REFRESH, JobType.COLLECTION_REFRESH):
        jobs.perform(job_code=code, actor="ana.quispe", parameters={}, dry_run=False)
    suspect()
    existing = tmp_path / "claims of the predecessor in october.csv"
    lines = ["driver_id,milestone,amount_expected,status", f"{long.driver_id},1,25,paid", f"{long.driver_id},5,100,"]
    existing.write_text("\n".join([*lines, f"{'f' * 32},25,100,paid", ""]), encoding="utf-8")
    asked = {"file": str(existing), "rejects_dir": str(tmp_path)}
    jobs.perform(job_code=JobType.CLAIMS_COMPARISON, actor="ana.quispe", parameters=asked, dry_run=False)
    return superuser


def addresses() -> dict[str, str]:
    claim = Claim.objects.get(milestone=5)
    return {
        "home": "/admin/",
        "claims": f"{CLAIMS}?collectable=yes",
        "claim": f"{B}claim/{claim.pk}/change/",
        "payment": f"{B}yangopayment/{YangoPayment.objects.latest('pk').pk}/change/",
        "states": f"{B}paymentstate/",
        "rule": f"{B}partnerpaymentrule/{PartnerPaymentRule.objects.latest('pk').pk}/change/",
        "comparisons": f"{B}claimcomparison/",
        "comparison": f"{B}claimcomparison/{ClaimComparison.objects.latest('pk').pk}/change/",
        "pair": f"{B}possiblesameperson/{PossibleSamePerson.objects.latest('pk').pk}/change/",
    }


def test_every_page_fits_every_window_reads_well_and_breaks_no_security_policy(visit, world, screenshot):
    assert_pages_look_right(visit(world), addresses(), "collection", screenshot)


def test_the_sums_follow_the_list_and_a_claim_is_explained(visit, world):
    window = visit(world, language="en")
    page = window.go("/admin/")
    page.get_by_role("region", name="Collection").get_by_role("link", name="To collect").click()
    page.wait_for_url("**collectable=yes")
    page.locator("#sums strong").nth(2).wait_for()
    assert page.locator("#sums strong").all_inner_texts() == ["S/ 160.00", "S/ 0.00", "S/ 160.00"]
    page.locator("#result_list").get_by_role("link", name="HUAMAN FLORES ROSA ELENA DEL PILAR").first.click()
    page.wait_for_url("**/claim/*/change/**")
    assert page.get_by_text("that begin with the lead of").count() == 1
    assert page.locator("input[type=submit]").count() == 0
    assert window.complaints == []


def test_a_comparison_leads_from_its_totals_to_its_rows_to_a_claim_and_is_handed_out(visit, world):
    window = visit(world, language="en")
    page = window.go(f"{B}claimcomparison/")
    page.get_by_role("link", name="claims of the predecessor").click()
    page.get_by_role("link", name="Would change").click()
    page.wait_for_url("**group=changes")
    assert page.locator("#result_list tbody tr").count() == 1
    with page.expect_download() as download:
        page.get_by_role("link", name="Download XLSX").click()
    assert download.value.suggested_filename.endswith(".xlsx")
    page.locator("#result_list").get_by_role("link", name="HUAMAN FLORES ROSA").click()
    page.wait_for_url("**/claim/*/change/**")
    assert window.complaints == []


def test_a_new_amount_becomes_a_new_version(visit, world):
    window = visit(world, language="en")
    rule = PartnerPaymentRule.objects.get(origin_tag="cabinet", milestone_trips=5)
    page = window.go(f"{B}partnerpaymentrule/{rule.pk}/change/")
    page.get_by_label("Amount").fill("40.50")
    page.get_by_label("Reason").fill("agreed with the partner")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("A new amount is a new version").wait_for()
    page.get_by_label("Valid from").fill("2999-01-01")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/partnerpaymentrule/")
    assert page.locator("#result_list").get_by_text("S/ 40.50").count() == 1
    assert window.complaints == []
    rule.refresh_from_db()
    assert rule.valid_to is not None
