"""What every page of a kind is looked at for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.browser.conftest import Visit
from tests.browser.test_skin import CONTRAST


def assert_pages_look_right(
    window: Visit, addresses: Mapping[str, str], room: str, screenshot: Callable[[Visit, str], None]
) -> None:
    """Every page has one heading, fits narrow and wide windows, reads well in both themes, and breaks no policy.

    Takes a window, the addresses by name, and what the pictures are called.
    """
    for name, address in addresses.items():
        page = window.go(address)
        assert page.locator("h1").count() == 1, name
        for width in (360, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            screenshot(window, f"{room}-{name}-{width}")
            assert window.overflow() <= 0, (name, width)
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            screenshot(window, f"{room}-{name}-{scheme}")
            assert page.evaluate(CONTRAST) == [], (name, scheme)
        assert window.complaints == [], name
