"""The pages of drivers without lead in a real browser: they fit every window, read well, and break no security policy."""

from __future__ import annotations

import pytest
from django.utils import timezone

from identity.models import Person
from orphans.admin import labels
from orphans.models import QuarantineChange, QuarantinedDriver
from tests import factories
from tests.browser.looks import CONTRAST, barriers

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LIST = "/admin/orphans/quarantineddriver/"


@pytest.fixture
def world(superuser):
    """A driver in quarantine with a piece of evidence of every outcome and with near leads; a relinked one; one without all."""
    juan = factories.an_orphan(
        driver_id=factories.a_driver(
            "QUISPE MAMANI JUAN CARLOS", phone="945111222", licence="Q45678901", plate="ABC123"
        )
    )
    factories.a_registration("JUAN QUISPE MAMANI", phone="945111223")
    factories.a_lead("DIAZ MIGUEL SALDAA", plate="ABC123")
    factories.match()
    record = factories.a_registration("JUAN QUISPE MAMANI", phone="945111222")
    other = Person.objects.create(confidence_level="HIGH", primary_full_name="HUAMAN FLORES ROSA ELENA")
    pieces = [
        {
            "event_id": None, "source_table": record.source_table, "source_pk": record.source_pk, "event_date": "2026-01-10",
            "level": 2, "match_strategy": "phone_exact", "outcome": outcome, "other_person_key": str(other.pk),
        }
        for outcome in labels.OUTCOMES
    ]  # fmt: skip
    a_case(
        juan, "quarantined", detected_reason="no_lead_has_events_repair_failed", lead_events_count=9, evidence_json={"evidence": pieces}
    )  # fmt: skip
    a_case(factories.an_orphan(factories.ROSA), "resolved_relinked", resolution_notes="Relinked from 1 lead_event(s)")
    a_case(factories.an_orphan(factories.PEDRO), "quarantined")
    return superuser


def a_case(orphan, status, **columns):
    values = {"detected_reason": "no_lead_no_events", "creation_rule": "R1_PHONE_EXACT", "evidence_json": {}} | columns
    QuarantinedDriver.objects.create(
        driver_id=orphan.driver_id, person_id=orphan.person, status=status,
        resolved_at=None if status == "quarantined" else timezone.now(), **values,
    )  # fmt: skip
    QuarantineChange.objects.create(
        driver_id=orphan.driver_id, status_new=status, change_reason="detected", changed_by="system"
    )


def addresses() -> dict[str, str]:
    pages = {
        driver.person.primary_full_name.split()[0].lower(): f"{LIST}{driver.pk}/change/"
        for driver in QuarantinedDriver.objects.select_related("person")
    }
    return pages | {
        "home": "/admin/",
        "home-search": "/admin/?q=quispe",
        "list": LIST,
        "list-filtered": f"{LIST}?status=all&age=30&has_events=no&rule=RT_PHONE_EXACT",
        "list-empty": f"{LIST}?status=purged",
        "history": "/admin/orphans/quarantinechange/",
        "change": f"/admin/orphans/quarantinechange/{QuarantineChange.objects.first().pk}/change/",
    }


@pytest.mark.parametrize("width", [360, 768, 1440, 1920])
def test_every_page_fits_the_window_and_breaks_no_security_policy(visit, world, screenshot, width):
    window = visit(world, width=width)
    for name, address in addresses().items():
        page = window.go(address)
        screenshot(window, f"orphans-{name}-{width}")
        assert page.locator("h1").count() == 1, name
        assert window.overflow() <= 0, name
        assert window.complaints == [], name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_in_both_themes(visit, world, screenshot, scheme):
    window = visit(world)
    for name, address in addresses().items():
        page = window.go(address)
        page.emulate_media(color_scheme=scheme)
        screenshot(window, f"orphans-{name}-{scheme}")
        assert page.evaluate(CONTRAST) == [], name
        assert barriers(page) == [], name


def test_a_reviewer_goes_from_the_start_page_through_the_filters_to_the_evidence(visit, world):
    window = visit(world, language="en")
    page = window.go("/admin/")
    page.get_by_role("region", name="Drivers without lead").get_by_role(
        "link", name="Lead events, but none that repairs"
    ).click()
    page.wait_for_url(lambda address: "detected_reason__exact=no_lead_has_events_repair_failed" in address)
    assert page.locator("#result_list tbody tr").count() == 1
    page.locator("#result_list tbody th a").click()
    page.wait_for_url("**/change/**")
    titles = page.locator("section.module h2").all_inner_texts()
    assert [title.split("\n")[0].rstrip(" 0123456789") for title in titles] == [
        "What was found", "Evidence", "Nearest leads", "The driver", "How the driver was linked", "All links of its person",
        "History of the quarantine", "Audit",
    ]  # fmt: skip
    assert page.get_by_text("Phone but for one digit", exact=True).count() == 1
    assert page.get_by_text("Same plate", exact=True).count() == 1
    assert page.locator("input[type=submit], button:visible:text-matches('relink|purge', 'i')").count() == 0
    page.get_by_role("link", name="HUAMAN FLORES ROSA ELENA").first.click()
    page.wait_for_url("**/identity/person/**")
    assert window.complaints == []
