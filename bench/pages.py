"""How long pages of collection and settlement take, asked for as a reviewer's browser does."""

from __future__ import annotations

import statistics
import time

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

ADMIN = "/admin/attribution/"
PAGES = {
    "claims": "claimincollection/",
    "claims to demand": "claimincollection/?collectable=yes",
    "claims by quality": "claimincollection/?quality=SATISFACTORY_LEDGER",
    "claims of a scout": "claimincollection/?scout=7",
    "payments": "paymentstate/",
    "payments of a milestone": "paymentstate/?paid=yes&milestone=5",
    "settlement lines": "settlementline/",
    "lines of a scout": "settlementline/?scout=7",
    "statement of a scout": "statementitem/statement/?scout=7",
}
TIMES = 9


def measure() -> dict[str, tuple[float, int]]:
    """Ask for every page several times; return the median seconds and the number of statements of each, by name.

    Raises ``RuntimeError`` for a page that is not shown.
    """
    user, _is_new = User.objects.get_or_create(username="bench", defaults={"is_staff": True, "is_superuser": True})
    client = Client()
    measured = {}
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        for name, page in PAGES.items():
            times = []
            for _number in range(TIMES):
                started = time.perf_counter()
                with CaptureQueriesContext(connection) as queries:
                    response = client.get(ADMIN + page)
                times.append(time.perf_counter() - started)
                if response.status_code != 200:
                    raise RuntimeError(f"{page} answered {response.status_code}")
            measured[name] = statistics.median(times), len(queries)
    return measured
