"""Fixtures of the whole suite. The database is real PostgreSQL: embedded, or DATABASE_URL's."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator

import hypothesis
import pytest
import pytest_django
from django.db import connection
from django.test import override_settings

from tests.shared import ask_last, put_rules_back

# No deadline: a slow machine is not a fault. Nothing is stored: a failure prints what repeats it.
hypothesis.settings.register_profile("ct4", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("ct4")

AS_MIGRATED = ("django_content_type", "auth_permission", "auth_group_permissions")
_skipped_browser_tests: list[str] = []


@pytest.fixture
def empty_source_tables() -> Callable[[], None]:
    """A function that empties the seven source tables and lets their ids begin at 1 again."""
    from identity.sources import SOURCE_TABLES  # needs Django, which pytest-django sets up after this file is read

    def empty() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"truncate {', '.join(SOURCE_TABLES)} restart identity")

    return empty


@pytest.fixture(autouse=True, scope="session")
def _cheap_starts() -> Iterator[None]:
    """What is dear once and done by hundreds of tests.

    A password hash is slow on purpose, and few tests care for the password. The site looks at every static file when it
    starts, which for tests is with every client.
    """
    with override_settings(
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"], WHITENOISE_AUTOREFRESH=True
    ):
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Tests are small and lose nothing in a power cut: no waiting for the disk, few buffers to look through for each
    temporary table that goes.
    """
    options = connection.settings_dict["OPTIONS"]
    options["options"] += " -c synchronous_commit=off -c temp_buffers=4MB"


@pytest.fixture(autouse=True)
def _source_tables_end_empty(request: pytest.FixtureRequest, empty_source_tables: Callable[[], None]) -> Iterator[None]:
    """After a test that commits: Django's flush knows nothing of unmanaged tables."""
    yield
    marker = request.node.get_closest_marker("django_db")
    commits = marker is not None and marker.kwargs.get("transaction", False)
    if commits or {"transactional_db", "live_server"} & set(request.fixturenames):
        blocker = request.getfixturevalue("django_db_blocker")
        with blocker.unblock():
            empty_source_tables()


@pytest.fixture(autouse=True)
def _rules_are_there(request: pytest.FixtureRequest) -> None:
    """Django's flush after a test that commits takes the rules that a migration seeded; later tests get them back."""
    marker = request.node.get_closest_marker("django_db")
    if marker is None:
        return
    request.getfixturevalue("transactional_db" if marker.kwargs.get("transaction", False) else "db")
    put_rules_back()


def _that_hold_rows(tables: list[str]) -> list[str]:
    """The tables that a test filled: each one emptied costs new files. What may be done by which role is as migrated."""
    from ct4site.roles import Role

    tables = [table for table in tables if table not in AS_MIGRATED]
    only = {"auth_group": "where name <> all (%(roles)s)"}
    with connection.cursor() as cursor:
        asked = ", ".join(
            f"exists (select 1 from {connection.ops.quote_name(table)} {only.get(table, '')})" for table in tables
        )
        cursor.execute(f"select {asked}", {"roles": Role.values})
        return [table for table, holds_rows in zip(tables, cursor.fetchone(), strict=True) if holds_rows]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[None]:
    """Empty cheaply after a test that commits, and end what still holds the test database when it is to be dropped: a
    browser's last request may be in the air.
    """
    whole = connection.ops.sql_flush
    connection.ops.sql_flush = lambda style, tables, **options: whole(
        style, _that_hold_rows(tables), **options | {"allow_cascade": True}
    )
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever drives a browser, starts servers of its own or kills them is slow; whoever shares a world comes last."""
    for item in items:
        starts_much = {"installation", "live_server"} & set(getattr(item, "fixturenames", ()))
        if starts_much or item.get_closest_marker("faults") or item.get_closest_marker("browser"):
            item.add_marker("slow")
    ask_last(items)


def pytest_collection_finish() -> None:
    """What was imported stays until the end; the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and "browser" in report.keywords:
        _skipped_browser_tests.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """On a build machine (CI=true) a skipped browser test is a failure: nobody reads its skip line."""
    if _skipped_browser_tests and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped_browser_tests:
        terminalreporter.write_line(f"{len(_skipped_browser_tests)} browser tests were skipped: no Chromium was found.")
