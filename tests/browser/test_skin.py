"""The admin's skin in a real browser: nothing refused by the content security policy, nothing cut off."""

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from tests.browser.looks import CONTRAST, barriers

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WIDTHS = (360, 768, 1280, 1920)


@pytest.fixture
def people(superuser):
    group = Group.objects.create(name="Supervisión")
    users = User.objects.bulk_create(
        User(
            username=f"usuario.{number:03}",
            first_name="Juan Carlos",
            last_name="de la Cruz Ñahui",
            email=f"usuario.con.una.direccion.larga.{number:03}@correo.example.test",
            is_staff=number % 3 == 0,
            is_active=number % 5 != 0,
        )
        for number in range(130)
    )
    group.user_set.set(users)
    return superuser


def pages():
    return {
        "index": reverse("admin:index"),
        "list": reverse("admin:auth_user_changelist"),
        "filtered": reverse("admin:auth_user_changelist") + "?is_staff__exact=1&q=usuario",
        "empty": reverse("admin:auth_user_changelist") + "?q=nadie",
        "detail": reverse("admin:auth_user_change", args=[User.objects.get(username="usuario.003").pk]),
        "app": reverse("admin:app_list", args=["auth"]),
        "delete": reverse("admin:auth_group_delete", args=[Group.objects.get(name="Supervisión").pk]),
        "password": reverse("admin:password_change"),
    }


def test_every_kind_of_page_fits_every_window_reads_well_and_breaks_no_policy(visit, people, screenshot):
    """No sideways scrolling at any width; contrast of at least 4.5 to 1 (WCAG AA), measured on the painted colours."""
    signed_in, anonymous = visit(people), visit(None)
    for name, path in {**pages(), "login": reverse("admin:login")}.items():
        window = anonymous if name == "login" else signed_in
        page = window.go(path)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            screenshot(window, f"{name}-{width}")
            assert window.overflow() <= 0, f"{name} is wider than {width} pixels"
        # The two lists of the stock form of a user have fields without a name.
        assert name == "detail" or barriers(page) == [], name
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            screenshot(window, f"{name}-{scheme}")
            assert page.evaluate(CONTRAST) == [], f"{name}, {scheme}"
    assert signed_in.complaints == []
    assert anonymous.complaints == []


def test_a_wide_table_scrolls_inside_its_own_frame_under_a_fixed_heading(visit, people):
    window = visit(people, width=768)
    page = window.go(reverse("admin:auth_user_changelist"))
    frame = page.locator(".results")
    assert frame.evaluate("node => node.scrollWidth > node.clientWidth")
    frame.evaluate("node => node.scrollTo(node.scrollWidth, 600)")
    heading = page.locator("#result_list thead th").nth(1)
    assert frame.evaluate("node => node.scrollTop") == 600
    assert heading.bounding_box()["y"] == pytest.approx(frame.bounding_box()["y"], abs=2)
    assert window.overflow() <= 0


def test_the_language_switch_turns_spanish_into_english_and_back(visit, people):
    window = visit(people)
    page = window.go(reverse("admin:auth_user_changelist"))
    assert page.locator("html").get_attribute("lang") == "es"
    assert "Usuarios" in page.locator("h1").inner_text()
    page.get_by_role("button", name="English").click()
    page.wait_for_selector("html[lang=en]")
    assert page.locator("html").get_attribute("lang") == "en"
    assert "Users" in page.locator("h1").inner_text()
    assert page.url.endswith(reverse("admin:auth_user_changelist"))
    page.get_by_role("button", name="Español").click()
    page.wait_for_selector("html[lang=es]")
    assert "Usuarios" in page.locator("h1").inner_text()
    assert window.complaints == []


def test_the_theme_button_switches_between_light_and_dark(visit, people):
    window = visit(people)
    page = window.go(reverse("admin:index"))
    grounds = set()
    for _turn in range(3):
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.locator(".theme-toggle").click()
    assert len(grounds) == 2


def test_the_navigation_opens_and_closes_on_a_phone_and_with_the_escape_key(visit, people, screenshot):
    window = visit(people, width=360, language="en")
    page = window.go(reverse("admin:index"))
    navigation, button = page.locator("#site-nav"), page.locator("#nav-button")
    assert not navigation.is_visible()
    button.click()
    assert navigation.is_visible()
    assert button.get_attribute("aria-expanded") == "true"
    screenshot(window, "navigation-360")
    page.keyboard.press("Escape")
    assert not navigation.is_visible()


def test_a_closed_navigation_stays_closed_on_the_next_page(visit, people):
    window = visit(people)
    page = window.go(reverse("admin:index"))
    page.locator("#nav-button").click()
    assert not page.locator("#site-nav").is_visible()
    window.go(reverse("admin:auth_user_changelist"))
    assert not page.locator("#site-nav").is_visible()


def test_a_person_signs_in_and_out_with_the_keyboard(visit, people):
    window = visit(None)
    page = window.go(reverse("admin:login"))
    page.keyboard.type("ana.quispe")
    page.keyboard.press("Tab")
    page.keyboard.type("a long test password")
    page.keyboard.press("Enter")
    page.wait_for_url(window.base + reverse("admin:index"))
    page.locator(".user-menu summary").click()
    page.locator("#logout-form button").click()
    page.wait_for_selector("body:not(:has(#site-nav))")
    assert window.complaints == []
