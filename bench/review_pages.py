"""How long a reviewer waits: cases opened, previewed and decided through their pages, with a short queue and a long one."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ct4site.models import CaseKind, CaseStatus, ReviewCase

SHORT, LONG = 100, 100_000
# What is decided of each kind; the other kinds are rare in the worlds of the bench.
CHOICES = {CaseKind.CONFLICT: "candidate-0", CaseKind.UNMATCHED: "create_person", CaseKind.ORPHAN: "send_back"}
STEPS = OPEN, DECIDE = "opened", "decided"
TIMES = 7
REASON = {"reason_code": "called", "reason_text": "bench"}
SHOWN = re.compile(r'name="shown" value="([^"]+)"')
SIGNED_IN = re.compile(r'django_session|FROM "auth_user" WHERE')

_SHORTEN = """
delete from ops.review_cases
where id not in (
    select ranked.id
    from (select id, row_number() over (partition by kind order by id) as place from ops.review_cases) as ranked
    where ranked.place <= %s
)
"""

# Cases whose causes are of no interest: nobody opens them.
_LENGTHEN = """
insert into ops.review_cases (
    kind, subject_key, raised_by, signature, cause_digest, opened_at, due_on, money_at_risk, status, closed_because,
    version, is_frozen
)
select
    cases.kind, 'bench ' || number, cases.raised_by, cases.signature, cases.cause_digest,
    cases.opened_at - number * interval '1 minute', cases.due_on, number %% 500, 'OPEN', '', 1, false
from generate_series(1, %s) as number
inner join (
    select *, row_number() over (order by id) as place, count(*) over () as cases from ops.review_cases
) as cases on cases.place = number %% cases.cases + 1;
analyze ops.review_cases
"""


def measure() -> dict[tuple[str, str], tuple[float, float, int]]:
    """Return by step and kind the median seconds with the short and the long queue, and the most statements.

    Works on the present world, whose cases are up to date; a kind without cases is left out. Raises ``RuntimeError`` for
    a page that fails.
    """
    user, _is_new = User.objects.get_or_create(username="bench", defaults={"is_staff": True, "is_superuser": True})
    client = Client()
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        _ask(_SHORTEN, [SHORT])
        short = _of_all(client)
        _ask(_LENGTHEN, [LONG])
        return {place: (short[place][0], *told) for place, told in _of_all(client).items()}


def _ask(statement: str, parameters: list[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def _of_all(client: Client) -> dict[tuple[str, str], tuple[float, int]]:
    return {(step, kind): told for kind in CHOICES for step, told in _of_kind(client, kind).items()}


def _of_kind(client: Client, kind: str) -> dict[str, tuple[float, int]]:
    """Return by step the median seconds and the most statements of some cases of a kind; nothing where there are none."""
    told: dict[str, list[tuple[float, int]]] = {step: [] for step in STEPS}
    for case in _some(kind):
        address = reverse("admin:ct4site_reviewcase_decide", args=[case.pk])
        told[OPEN].append(_timed(partial(client.get, address), 200))
        case.refresh_from_db()
        data = REASON | {"pick": CHOICES[kind], "version": str(case.version)}  # type: ignore[index]
        shown = SHOWN.search(client.post(address, data).content.decode())
        if shown is None:
            raise RuntimeError(f"{address} shows no preview")
        data |= {"shown": shown[1], "confirm": "1"}
        told[DECIDE].append(_timed(partial(client.post, address, data), 302))
    return {
        step: (statistics.median(seconds for seconds, _count in times), max(count for _seconds, count in times))
        for step, times in told.items()
        if times
    }


def _some(kind: str) -> Iterator[ReviewCase]:
    cases = ReviewCase.objects.filter(kind=kind, status=CaseStatus.OPEN).exclude(subject_key__startswith="bench ")
    yield from list(cases.order_by("pk")[:TIMES])


def _timed(ask: Callable[[], HttpResponse], expected: int) -> tuple[float, int]:
    """Return the seconds a page takes and its statements, beside those of who is signed in."""
    started = time.perf_counter()
    with CaptureQueriesContext(connection) as queries:
        answer = ask()
    seconds = time.perf_counter() - started
    if answer.status_code != expected:
        raise RuntimeError(f"{answer.request['PATH_INFO']} answered {answer.status_code}")  # type: ignore[attr-defined]
    return seconds, sum(not SIGNED_IN.search(query["sql"]) for query in queries.captured_queries)
