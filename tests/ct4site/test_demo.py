"""The demo runs the chain on made-up data, says truthfully what came of it, and never touches real data."""

from __future__ import annotations

import http.client
import http.cookiejar
import os
import re
import signal
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from ct4site import demo
from ct4site.demo import ACTOR, Demo
from ct4site.models import JobType, Run, RunStatus
from identity import demo_chain
from identity.models import LEAD_TABLES
from identity.sources import SOURCE_TABLES
from tests.ct4site.installation import Installation, descendants, eventually, new_installation

LEADS = 300
SIZE = ("--leads", str(LEADS))
STATE = """
select
    (select count(*) from canon.identity_links),
    (select count(*) from canon.identity_registry),
    (select count(*) from canon.identity_unmatched),
    (select count(*) from observational.lead_events),
    (select max(id) from ops.audit_log),
    (select sum(hashtext(links::text)::bigint) from canon.identity_links as links)
"""
only_posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with new_installation() as made:
        yield made


@pytest.fixture(scope="module")
def first_summary(installation: Installation) -> str:
    done = installation.manage("demo", *SIZE, "--no-serve")
    assert done.returncode == 0, done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_summary_counts_every_lead_record_once(installation: Installation, first_summary: str) -> None:
    # Later steps of the chain link what matching left open.
    rules = dict(
        installation.ask(
            "select match_rule, count(*)::int from canon.identity_links as links"
            " inner join ops.ingestion_runs as runs on runs.id = links.run_id"
            " where source_table <> 'drivers' and job_type = 'identity_run' group by 1"
        )
    )
    shown = {name: int(count) for name, count in re.findall(r"^ +(\w+) +(\d+)$", first_summary, re.MULTILINE)}
    assert {name: shown[name] for name in rules} == rules
    [(is_open,)] = installation.ask("select count(*) from canon.identity_unmatched where status = 'OPEN'")
    [(linked,)] = installation.ask("select count(*) from canon.identity_links where source_table <> 'drivers'")
    assert linked + is_open == LEADS
    loaded = [table for table in SOURCE_TABLES if re.search(rf"^ +{table}: ", first_summary, re.MULTILINE)]
    assert loaded == list(SOURCE_TABLES)


def test_the_demo_finds_people_right(installation: Installation, first_summary: str) -> None:
    done = installation.manage(
        "shell", "-v", "0", "-c",
        "from django.conf import settings; from identity.demo_chain import quality;"
        "print(*(' '.join(map(str, row)) for row in quality(settings.CT4_HOME / 'demo')), sep='\\n')",
    )  # fmt: skip
    rows = [line.split() for line in done.stdout.splitlines()]
    assert sorted(row[0] for row in rows) == sorted(LEAD_TABLES)
    linked, right, linkable, found = (sum(int(row[n]) for row in rows) for n in range(1, 5))
    assert right >= 0.99 * linked
    assert found >= 0.9 * linkable
    assert linkable > LEADS / 2


def test_running_the_demo_again_changes_nothing(installation: Installation, first_summary: str) -> None:
    before = installation.ask(STATE)
    done = installation.manage("demo", *SIZE, "--no-serve")
    assert done.returncode == 0, done.stderr
    assert installation.ask(STATE) == before


def test_the_demo_refuses_a_database_with_rows_of_somebody_else(installation: Installation, first_summary: str) -> None:
    before = installation.ask(STATE)
    installation.ask("insert into public.module_ct_scouts_list (scout_id, raw_name) values (990001, 'A REAL SCOUT')")
    try:
        done = installation.manage("demo", *SIZE, "--no-serve")
    finally:
        installation.ask("delete from public.module_ct_scouts_list where scout_id = 990001")
    assert done.returncode == 1
    assert "module_ct_scouts_list" in done.stderr
    assert "Traceback" not in done.stderr
    assert installation.ask(STATE) == before


@only_posix
@pytest.mark.faults
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_the_site_and_the_worker_run_and_end_together(
    installation: Installation, first_summary: str, end: signal.Signals
) -> None:
    port = free_port()
    site = installation.start("demo", *SIZE, "--port", str(port))
    password = eventually(
        lambda: site.poll() or re.search(r"demo\b.+: +(\S{12})$", installation.output(site), re.MULTILINE)
    )
    assert site.poll() is None, installation.output(site)
    assert log_in(port, password[1]).startswith("/admin/")
    assert log_in(port, "wrong").startswith("/admin/login/")
    run = queue_run(installation)
    eventually(
        lambda: installation.ask("select status from ops.ingestion_runs where id = %s", [run]) == [("COMPLETED",)]
    )
    parts = descendants(site.pid)
    assert len(parts) >= 5
    site.send_signal(end)
    assert site.wait(60) == (-signal.SIGKILL if end == signal.SIGKILL else 0), installation.output(site)
    eventually(lambda: not [part for part in parts if part.is_running()])
    assert "Traceback" not in installation.output(site)


def queue_run(installation: Installation) -> int:
    done = installation.manage("run_identity", "--queue")
    assert done.returncode == 0, done.stderr
    return int(installation.ask("select max(id) from ops.ingestion_runs")[0][0])


def log_in(port: int, password: str) -> str:
    """Log in as a browser does, style sheet included; return the path one ends at."""
    site = f"http://127.0.0.1:{port}"
    cookies = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(cookies))
    with browser.open(f"{site}/admin/login/?next=/admin/") as page:
        assert page.status == http.client.OK
        style = re.search(r'href="(/static/[^"]+\.css)"', page.read().decode())
    assert style
    with browser.open(site + style[1]) as sheet:
        assert sheet.headers["Content-Type"].startswith("text/css")
    token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
    form = urllib.parse.urlencode(
        {"username": "demo", "password": password, "csrfmiddlewaretoken": token, "next": "/admin/"}
    )
    with browser.open(f"{site}/admin/login/?next=/admin/", form.encode()) as page:
        return str(urllib.parse.urlparse(page.url).path)


def test_a_busy_port_is_said_before_anything_is_done() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=str(port)):
            call_command("demo", port=port)  # no database is marked: using it would fail the test
    with pytest.raises(CommandError, match="99999"):
        call_command("demo", port=99999)


def test_the_demo_does_not_run_in_production(settings: Any) -> None:
    settings.PRODUCTION = True
    with pytest.raises(CommandError):
        call_command("demo")


@pytest.mark.django_db
def test_another_data_set_in_the_same_database_is_not_compared_with_the_truth(tmp_path: Any) -> None:
    for leads in (10, 20):
        Run.objects.create(
            job_type=JobType.SOURCE_LOAD, actor=ACTOR, parameters={"leads": leads, "seed": 1},
            status=RunStatus.COMPLETED, completed_at=Now(),
        )  # fmt: skip
    [(_sentence, value)] = demo_chain.compare_with_truth(Demo(20, 1, tmp_path))
    assert value is None


def test_steps_run_in_their_order_and_no_order_is_taken_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_STEPS", {})
    later = demo.step(20, "later")(lambda context: [])
    demo.step(10, "earlier")(lambda context: [])
    demo.step(20, "later")(later)
    assert [step.title for step in demo.steps()] == ["earlier", "later"]
    with pytest.raises(ValueError, match="20"):
        demo.step(20, "other")(lambda context: [])
