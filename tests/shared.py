"""Worlds that several tests of a file look at: made once, changed by none for the others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
import pytest_django
from django.db import connection, transaction

_names: set[str] = set()


def made_once(name: str, make: Callable[[], Any]) -> Any:
    """Return a fixture of what ``make`` returns, made for the first test of a file that asks for it.

    It lies in a transaction around the tests that ask for it, each of which has a savepoint of its own in it; so
    ``now()`` is one moment for all. Those that do not ask come before (``ask_last``). One for a file, and not for a file
    with a test that commits.
    """
    _names.add(name)

    @pytest.fixture(scope="module", name=name)
    def world(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[Any]:
        around = transaction.atomic()
        around._from_testcase = True  # a durable block may begin inside, as in Django's own setUpTestData
        with django_db_blocker.unblock():
            around.__enter__()
        try:
            with django_db_blocker.unblock():
                put_rules_back()
                made = make()
                connection.check_constraints()
            yield made
        finally:
            with django_db_blocker.unblock():
                transaction.set_rollback(True)
                around.__exit__(None, None, None)

    return world


def ask_last(items: list[pytest.Item]) -> None:
    """Put the tests that share a world behind the others of their file, which must not see it; in place."""
    items[:] = [
        item
        for _path, of_file in itertools.groupby(items, key=lambda item: item.path)
        for item in sorted(of_file, key=lambda item: bool(_names & set(getattr(item, "fixturenames", ()))))
    ]


def put_rules_back() -> None:
    """Write the payment rules that a migration seeded, where Django's flush after a test that commits has taken them."""
    with connection.cursor() as cursor:
        cursor.execute("select not exists (select 1 from ops.partner_payment_rules)")
        if cursor.fetchone()[0]:
            cursor.execute(import_module("attribution.migrations.0004_collection").SEED)
