"""A real Chromium against the live site; skipped, saying so, where none is found.

The sync API of Playwright runs an event loop in the test's own thread; Django refuses ORM calls in such a
thread unless DJANGO_ALLOW_ASYNC_UNSAFE is set, so the session fixture below sets it for its own lifetime.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless, with a fresh profile. BROWSER_EXECUTABLE names another one."""
    executable = os.environ.get("BROWSER_EXECUTABLE") or next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip(f"browser test: no Chromium on PATH (looked for {', '.join(NAMES)})")
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    try:
        # Without collected files WhiteNoise warns of the missing folder; the live server finds them by itself.
        with override_settings(STATIC_ROOT=None), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
            yield browser
            browser.close()
    finally:
        if before is None:
            del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
        else:
            os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = before


@dataclass
class Visit:
    """One browser window and all that its console complained about."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        """Open a path of the site; scripts with ``defer`` have run when this returns."""
        self.page.goto(self.base + path)
        return self.page

    def overflow(self) -> int:
        """How many pixels the page is wider than its window (0 = nothing is cut or scrolls sideways)."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture
def visit(chromium: Browser, live_server, db) -> Iterator[Callable[..., Visit]]:
    """Return a function that opens a window: ``visit(user=None, width=1280, language="es")``."""
    contexts: list[BrowserContext] = []

    def open_window(user: User | None = None, width: int = 1280, language: str = "es") -> Visit:
        context = chromium.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
        context.set_default_timeout(15_000)
        contexts.append(context)
        cookies = {"django_language": language}
        if user is not None:
            client = Client()
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
            cookies["sessionid"] = client.cookies["sessionid"].value
        context.add_cookies([{"name": name, "value": value, "url": live_server.url} for name, value in cookies.items()])
        window = Visit(context.new_page(), live_server.url)
        window.page.on(
            "console",
            lambda message: message.type in ("error", "warning") and window.complaints.append(message.text),
        )
        window.page.on("pageerror", lambda error: window.complaints.append(str(error)))
        return window

    yield open_window
    for context in contexts:
        context.close()


@pytest.fixture
def superuser(db) -> User:
    return User.objects.create_superuser("ana.quispe", "ana@example.test", "a long test password")


@pytest.fixture
def screenshot() -> Callable[[Visit, str], None]:
    """Return a function that saves a picture to the folder BROWSER_SCREENSHOTS names; nothing without it."""
    folder = os.environ.get("BROWSER_SCREENSHOTS")

    def save(window: Visit, name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            window.page.screenshot(path=Path(folder) / f"{name}.png")

    return save
