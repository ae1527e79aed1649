"""The pages of identity and of runs in a real browser: they fit every window, and a run's page moves by itself."""

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.utils import timezone

from ct4site.models import JobType, Run, RunStatus
from ct4site.roles import Role
from identity.models import Person, Unmatched
from tests import factories
from tests.browser.looks import barriers

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def world(superuser):
    """A linked person, an unmatched lead with a candidate, and the runs that made them."""
    factories.a_driver("QUISPE MAMANI JUAN", phone="945111222", licence="Q45678901", plate="ABC123")
    factories.a_registration("JUAN QUISPE MAMANI", phone="945111222")
    factories.a_driver("SALDANA DIAZ MIGUEL RUBEN", plate="V5B305")
    factories.a_lead("DIAZ MIGUEL SALDAA", plate="V5B305")
    factories.match()
    return superuser


def addresses() -> dict[str, str]:
    return {
        "home": "/admin/",
        "home-search": "/admin/?q=quispe",
        "persons": "/admin/identity/person/",
        "person": f"/admin/identity/person/{Person.objects.get().pk}/change/",
        "links": "/admin/identity/link/",
        "unmatched": "/admin/identity/unmatched/",
        "unmatched-record": f"/admin/identity/unmatched/{Unmatched.objects.get().pk}/change/",
        "drivers": "/admin/identity/driverindexentry/",
        "runs": "/admin/ct4site/run/",
        "run": f"/admin/ct4site/run/{Run.objects.get(job_type=JobType.IDENTITY_RUN).pk}/change/",
        "start": "/admin/ct4site/run/start/?job=identity_run",
        "audit": "/admin/ct4site/auditentry/",
    }


@pytest.mark.parametrize("width", [360, 1280, 1920])
def test_every_page_fits_the_window_and_breaks_no_security_policy(visit, world, screenshot, width):
    window = visit(world, width=width)
    for name, address in addresses().items():
        page = window.go(address)
        screenshot(window, f"identity-{name}-{width}")
        assert page.locator("h1").count() == 1, name
        assert window.overflow() <= 0, name
        assert barriers(page) == [], name
        assert window.complaints == [], name


def test_the_page_of_a_run_moves_by_itself_and_rests_when_the_run_is_over(visit, superuser, screenshot):
    with connection.cursor() as cursor:
        cursor.execute("select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()")
        pid, started = cursor.fetchone()
    run = Run.objects.create(
        job_type=JobType.IDENTITY_RUN, attempt=1, backend_pid=pid, backend_started_at=started, phase="apply",
        progress_done=10, progress_total=100, stats={"audit": 10},
    )  # fmt: skip
    window = visit(superuser, language="en")
    polls: list[str] = []
    window.page.on("request", lambda request: polls.append(request.url) if request.url.endswith("/live/") else None)
    page = window.go(f"/admin/ct4site/run/{run.pk}/change/")
    assert page.locator("progress").get_attribute("value") == "10"
    screenshot(window, "run-at-work")
    Run.objects.filter(pk=run.pk).update(progress_done=60, stats={"audit": 60})
    page.wait_for_selector('progress[value="60"]')
    page.wait_for_selector("#run-tally td:text-is('60')")
    Run.objects.filter(pk=run.pk).update(status=RunStatus.COMPLETED, completed_at=timezone.now())
    page.wait_for_selector(".pill-good")
    page.wait_for_selector("progress", state="detached")
    before = len(polls)
    page.wait_for_timeout(2500)
    assert len(polls) == before
    assert page.locator("[hx-get]").count() == 0
    assert window.complaints == []


def test_a_run_is_started_from_its_page_by_keyboard(visit, superuser):
    window = visit(superuser, language="en")
    page = window.go("/admin/ct4site/run/")
    page.get_by_role("link", name="Start a run").press("Enter")
    page.get_by_role("link", name="Identity matching").press("Enter")
    page.get_by_label("Cabinet leads").press("Space")
    page.get_by_label("Dry run").press("Space")
    page.get_by_role("button", name="Start").press("Enter")
    page.wait_for_url("**/change/")
    run = Run.objects.get()
    assert (run.actor, run.parameters, run.dry_run) == (superuser.get_username(), {"source": ["cabinet"]}, True)
    assert window.complaints == []


@pytest.mark.parametrize("width", [375, 1280])
def test_a_click_shows_the_personal_data_of_a_page_once(visit, screenshot, world, width):
    approver = User.objects.create_user("aprueba", is_staff=True)
    approver.groups.set([Group.objects.get(name=Role.APPROVER)])
    window = visit(user=approver, width=width)
    page = window.go(addresses()["person"])
    screenshot(window, f"person-masked-{width}")
    assert "945111222" not in page.content()
    page.get_by_role("button", name="Mostrar datos personales").click()
    page.get_by_text("945111222").first.wait_for(state="attached")
    screenshot(window, f"person-shown-{width}")
    assert (window.overflow(), window.complaints) == (0, [])
    assert "945111222" not in window.go(addresses()["person"]).content()
