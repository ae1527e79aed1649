"""The pages of attribution in a real browser: they fit every window, read well, and break no security policy."""

from __future__ import annotations

import pytest

from attribution.models import LinksBackfillEntry, ScoutConflict
from ct4site import jobs
from ct4site.models import JobType, Run
from tests.attribution import stories
from tests.attribution.test_ledger import decide
from tests.browser.looks import assert_pages_look_right

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

B = "/admin/attribution/"
CONFLICTS = f"{B}scoutconflict/"


@pytest.fixture
def world(superuser, settings, tmp_path):
    """A conflict of every kind, a person of most categories, backfills, a fix with its report."""
    settings.REPORTS_ROOT = tmp_path
    stories.many(0, 4)
    stories.a_scout(70, "HUAMAN FLORES ROSA ELENA DEL PILAR", active=False)
    stories.a_scout(71, "TORRES VEGA PEDRO PABLO")
    torn = stories.a_person("QUISPE MAMANI JUAN CARLOS", primary_phone="945111222")
    stories.a_registration_of(torn, 70, 1)
    stories.a_registration_of(torn, 71, 4)
    stories.a_registration_of(torn, 99, 5, event_scout=71)
    stories.a_migration_of(torn, 72, 2)
    stories.a_payment_of(torn, 73, 9)
    far = stories.a_person("SALAZAR RIOS MARIA FERNANDA")
    stories.a_registration_of(far, 70, 1)
    stories.a_registration_of(far, 71, 40)
    decide()
    # Its last step fails: the first persons' events are of records that nobody linked. The page has all to show.
    jobs.perform(job_code=JobType.SCOUT_FIX, actor="ana.quispe", parameters={}, dry_run=False)
    return superuser


def addresses() -> dict[str, str]:
    open_one = ScoutConflict.objects.order_by("-total_records").first()
    return {
        "home": "/admin/",
        "ledger": f"{B}ledgerentry/?decision_status__exact=conflict&has_scout=no&rule=C",
        "conflicts": f"{CONFLICTS}?kind=all",
        "dossier": f"{CONFLICTS}{open_one.pk}/change/",
        "entry": f"{B}ledgerentry/{open_one.pk}/change/",
        "person": f"/admin/identity/person/{open_one.pk}/change/",
        "backlog": f"{B}backlogperson/",
        "backlog-empty": f"{B}backlogperson/?category=E",
        "scouts": f"{B}scout/",
        "scout": f"{B}scout/70/change/",
        "days": f"{B}attributionday/",
        "filled": f"{B}ledgerbackfillentry/",
        "linked": f"{B}linksbackfillentry/{LinksBackfillEntry.objects.latest('pk').pk}/change/",
        "fix": f"/admin/ct4site/run/{Run.objects.filter(job_type=JobType.SCOUT_FIX).latest('pk').pk}/change/",
    }


def test_every_page_fits_every_window_reads_well_and_breaks_no_security_policy(visit, world, screenshot):
    assert_pages_look_right(visit(world), addresses(), "attribution", screenshot)


def test_a_reviewer_goes_from_the_start_page_to_the_dossier_and_its_evidence(visit, world):
    window = visit(world, language="en")
    page = window.go("/admin/")
    page.get_by_role("region", name="Scout attribution").get_by_role("link", name="Open conflicts").click()
    page.wait_for_url(f"**{CONFLICTS}")
    page.locator("#result_list").get_by_role("link", name="QUISPE MAMANI JUAN CARLOS").click()
    page.wait_for_url("**/change/**")
    titles = page.locator("section.module h2").all_inner_texts()
    assert [title.split("\n")[0].rstrip(" 0123456789") for title in titles] == [
        "Who wins, and why the others do not", "Timeline of all claims", "Worth a look", "The ledger's decision",
        "What the ledger said, and why",
    ]  # fmt: skip
    assert page.get_by_text("none of them is credited until a person decides").count() == 1
    assert page.locator("input[type=submit]").count() == 0
    page.get_by_role("link", name="70 HUAMAN FLORES ROSA ELENA DEL PILAR").first.click()
    page.wait_for_url("**/scout/70/change/")
    assert window.complaints == []
