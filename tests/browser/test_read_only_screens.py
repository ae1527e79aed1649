"""Read-only lists, their detail pages and the error pages in a real browser."""

import datetime
import uuid

import pytest

from identity.models import Person

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.ct4site.test_admin_base"),
]

LIST = "/admin/identity/person/"


@pytest.fixture
def persons(superuser):
    Person.objects.bulk_create(
        Person(
            person_key=uuid.UUID(int=number * 7919),
            confidence_level=("HIGH", "MEDIUM", "LOW")[number % 3],
            primary_full_name=f"ROJAS ÑAHUI ANA MARÍA {number}",
            primary_phone="987654321",
            flags={"rule": "R1_PHONE_EXACT", "evidence": {"phone": "987654321", "scores": [1, 0.92]}},
            created_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        )
        for number in range(30)
    )
    return superuser


def test_a_list_is_read_page_by_page_and_a_person_is_found_by_phone(visit, persons, screenshot):
    window = visit(persons)
    page = window.go(LIST)
    screenshot(window, "readonly-list")
    first = page.locator("#result_list tbody").inner_text()
    page.locator(".pager a[rel=next]").click()
    page.wait_for_selector(".pager a[rel=prev]")
    assert page.locator("#result_list tbody").inner_text() != first
    page.locator(".pager a[rel=prev]").click()
    page.wait_for_url(lambda address: "before=" in address)
    assert page.locator("#result_list tbody").inner_text() == first
    page.locator("#searchbar").fill("ana rojas")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda address: "q=ana" in address)
    assert page.locator("#result_list tbody tr").count() == 7
    page.locator("#searchbar").fill("+51 911 111 112")
    page.keyboard.press("Enter")
    page.wait_for_selector(".empty")
    screenshot(window, "readonly-nobody")
    assert window.complaints == []


def test_a_detail_page_fits_every_window(visit, persons, screenshot):
    window = visit(persons)
    page = window.go(f"{LIST}{uuid.UUID(int=0)}/change/")
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        screenshot(window, f"readonly-detail-{width}")
        assert window.overflow() <= 0
    assert page.locator("input[type=submit]").count() == 0
    assert window.complaints == []


@pytest.mark.parametrize(("address", "code"), [(f"{LIST}?phone__startswith=9", "400"), ("/nowhere", "404")])
def test_an_error_page_wears_the_skin_and_leads_home(visit, persons, screenshot, address, code):
    window = visit(persons, width=360)
    page = window.go(address)
    screenshot(window, f"error-{code}")
    assert page.locator(".code").inner_text() == code
    assert page.get_by_role("main").get_by_role("link").get_attribute("href") == "/"
    assert window.overflow() <= 0
    assert [text for text in window.complaints if "Failed to load resource" not in text] == []
