"""The pages of recovery in a real browser: they fit every window, read well, and break no security policy."""

from __future__ import annotations

import pytest

from ct4site.models import JobType, Run
from identity.models import DailyTrips, Link
from recovery.models import GapCase, IdentityGap, MatchingJob, RecoveredLead
from tests.browser.looks import assert_pages_look_right
from tests.factories import PEDRO, ROSA, a_driver, match, refresh, run_job
from tests.recovery.test_admin import a_day, a_known_lead, a_lost_lead, days_ago

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

B = "/admin/recovery/"


@pytest.fixture
def world(superuser):
    """A lead that came back, one with two candidates, one of nobody, one of every other gap, and figures of two days."""
    back = a_lost_lead(5, ROSA, plate="ABC123")
    a_lost_lead(20, "DIAZ MIGUEL", plate="XYZ987")
    for name in ("DIAZ MIGUEL ANGEL", "DIAZ MIGUEL JOSE"):
        a_driver(name, plate="XYZ987", hired=days_ago(19))
    a_lost_lead(30, PEDRO, external_id="0123456789abcdef0123456789abcdef")
    match()
    run_job(JobType.GAP_RECOVERY)
    driver = a_driver(ROSA, plate="ABC123", hired=days_ago(4))
    DailyTrips.objects.create(driver_id=driver, date_file=days_ago(4).strftime("%d-%m-%Y"), count_orders_completed=7)
    refresh()
    a_day(1, total_leads=7, no_identity=6, medium_risk=2)
    run_job(JobType.GAP_RECOVERY, limit=100, gap_reason="no_identity")
    a_known_lead(9)
    a_known_lead(8, origin="somebody-else")
    a_known_lead(7, origin="")
    assert RecoveredLead.objects.get().pk == back
    return superuser


def addresses() -> dict[str, str]:
    back = RecoveredLead.objects.get().pk
    case = GapCase.objects.get()
    lost = IdentityGap.objects.filter(gap_reason="no_identity").exclude(pk=case.pk).get()
    wrong = IdentityGap.objects.get(gap_reason="inconsistent_origin")
    run = Run.objects.filter(job_type=JobType.GAP_RECOVERY).latest("pk")
    return {
        "home": "/admin/",
        "gaps": f"{B}identitygap/",
        "gaps-filtered": f"{B}identitygap/?gap_reason=all&risk_level=high&alert_type=over_7d_unresolved",
        "gaps-none": f"{B}identitygap/?q=nobody",
        "gap-lost": f"{B}identitygap/{lost.pk}/change/",
        "gap-candidates": f"{B}identitygap/{case.pk}/change/",
        "gap-back": f"{B}identitygap/{back}/change/",
        "gap-wrong": f"{B}identitygap/{wrong.pk}/change/",
        "cases": f"{B}gapcase/",
        "case": f"{B}gapcase/{case.pk}/change/",
        "retries": f"{B}matchingjob/",
        "retry": f"{B}matchingjob/{MatchingJob.objects.get(source_id=back).pk}/change/",
        "recovered": f"{B}recoveredlead/",
        "recovered-one": f"{B}recoveredlead/{back}/change/",
        "impact": f"{B}recoveryimpact/",
        "impact-none": f"{B}recoveryimpact/?impact_bucket=recovered_late",
        "impact-one": f"{B}recoveryimpact/{back}/change/",
        "days": f"{B}gapday/",
        "day": f"{B}gapday/{days_ago(0)}/change/",
        "red": f"{B}redfigureday/",
        "alerts": f"{B}gapalert/",
        "alert": f"{B}gapalert/{lost.pk}/change/",
        "person": f"/admin/identity/person/{Link.objects.get(source_pk=back).person_id}/change/",
        "run": f"/admin/ct4site/run/{run.pk}/change/",
        "start": "/admin/ct4site/run/start/?job=identity_gap_recovery",
        "start-impact": "/admin/ct4site/run/start/?job=cabinet_recovery_impact",
    }


def test_every_page_fits_every_window_reads_well_and_breaks_no_security_policy(visit, world, screenshot):
    assert_pages_look_right(visit(world), addresses(), "recovery", screenshot)


def test_the_pages_of_an_empty_system_look_right_too(visit, superuser, screenshot):
    lists = (
        "identitygap",
        "gapcase",
        "matchingjob",
        "recoveredlead",
        "recoveryimpact",
        "gapday",
        "redfigureday",
        "gapalert",
    )
    pages = {name: f"{B}{name}/" for name in lists} | {"home": "/admin/"}
    assert_pages_look_right(visit(superuser, language="en"), pages, "recovery-empty", screenshot)


def test_an_operator_goes_from_the_start_page_through_the_filters_to_what_was_tried(visit, world):
    window = visit(world, language="en")
    page = window.go("/admin/")
    page.get_by_role("region", name="Lost leads").get_by_role("link", name="Unresolved").click()
    page.wait_for_url(f"**{B}identitygap/")
    assert page.locator("#result_list tbody tr").count() == 4
    page.get_by_text("Filter", exact=True).click()
    page.get_by_role("link", name="Unresolved for a week").click()
    page.wait_for_url(lambda address: "alert_type=over_7d_unresolved" in address)
    assert page.locator("#result_list tbody tr").count() == 3
    page.locator("#result_list tbody th a").nth(1).click()
    page.wait_for_url("**/change/**")
    titles = page.locator("section.module h2").all_inner_texts()
    assert [title.split("\n")[0].rstrip(" 0123456789") for title in titles] == [
        "Candidates", "Tries", "Recoveries", "Source row",
    ]  # fmt: skip
    assert page.get_by_text("Never tried before").count() == 1
    assert page.locator("input[type=submit]").count() == 0
    window.go(f"{B}recoveryimpact/").get_by_role("link", name="Recovered in time, no claim").first.click()
    page.wait_for_url(lambda address: "impact_bucket=recovered_within_14d_but_no_claim" in address)
    assert page.locator("#result_list tbody tr").count() == 1
    assert window.complaints == []
