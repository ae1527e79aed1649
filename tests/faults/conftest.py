"""A place of its own for commands that are killed: a real database, real processes, nothing rolled back.

Without DATABASE_URL every module gets a server of its own, which may be killed too; with it, a database of its own on
that server.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest
from django.conf import settings

from ct4site import sqlfiles
from ct4site.embedded.server import EmbeddedServer
from tests import factories
from tests.guards import unguarded

LEADS = 300
TABLES = ("drivers", "module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations")
KILLED = -getattr(signal, "SIGKILL", signal.SIGTERM)

EMPTY = (
    unguarded(
        """
        truncate ops.identity_matching_attempts, ops.identity_matching_jobs, ops.cabinet_lead_recovery_events,
            ops.cabinet_lead_recovery_audit, ops.identity_gap_days,
            observational.lead_ledger, canon.driver_orphan_quarantine_history, canon.driver_orphan_quarantine,
            ops.audit_log, canon.identity_origin_history, canon.identity_links, canon.identity_unmatched,
            canon.identity_origin, observational.lead_events, canon.identity_registry, ops.ingestion_runs,
            public.django_q_ormq restart identity cascade
        """
    )
    + """
do $$
declare
    plan text;
begin
    for plan in select relname from pg_class where relnamespace = 'ops'::regnamespace and relname ~ '^plan_[0-9]+$' loop
        execute format('drop table ops.%I', plan);
    end loop;
end
$$;
"""
)

PREPARE = f"""
import os, pathlib, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "ct4site.settings"
import django
django.setup()
from django.core.management import call_command
from identity.demo import generate
from identity.sources import load_source
files, leads, with_history = pathlib.Path(sys.argv[1]), int(sys.argv[2]), len(sys.argv) > 3
call_command("migrate", verbosity=0)
generate(leads=leads, seed=11, directory=files)
for table in {TABLES}:
    load_source(table=table, path=files / (table + ".csv"), rejects_dir=files, actor="tests")
if with_history:
    call_command("load_legacy_identity", files / "legacy_persons.csv", files / "legacy_links.csv", rejects=files)
call_command("refresh_drivers_index")
call_command("run_identity")
"""


class Place:
    """One database, and the commands that work on it."""

    def __init__(self, home: Path, environment: dict[str, str], server: EmbeddedServer | None) -> None:
        self.home, self.environment, self.server = home, environment, server
        self.undisturbed = ""

    # --- commands

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command; chunks are small, so that there are many moments to die at."""
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=settings.BASE_DIR,
            env=self.environment | {"CT4_CHUNK_SIZE": "30"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run a command to its end; return exit code, stdout, stderr."""
        with self.start(*arguments, **environment) as process:
            out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def succeed(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """Run a job command that must succeed, waiting while the work of a killed one still ends; return its tally."""
        for _attempt in range(60):
            code, out, err = self.run(*arguments, "--json", **environment)
            if code == 0:
                return dict(json.loads(out))
            assert self.query("select count(*) from ops.ingestion_runs where status = 'RUNNING'")[0][0], err
            time.sleep(0.5)
        raise AssertionError(err)

    # --- the database

    def query(self, statement: str, *, rows: bool = True) -> list[Any]:
        with contextlib.closing(psycopg2.connect(**self._connection())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if rows else []

    def _connection(self) -> dict[str, Any]:
        if self.server is not None:
            return {"dbname": "ct4", **self.server.connection(), "options": settings.CONNECTION_SETTINGS}
        return {"dsn": self.environment["DATABASE_URL"], "options": settings.CONNECTION_SETTINGS}

    def empty(self) -> None:
        """Forget all decisions and runs; sources and drivers index stay."""
        self.query(EMPTY, rows=False)

    def state(self) -> list[str]:
        """What was decided, free of keys and times; see ``factories.state_hash``."""
        return [row[0] for row in self.query(factories._STATE.format(what="fact") + ' order by fact collate "C"')]

    def is_sound(self) -> bool:
        """Whether the state is that of an undisturbed run and no invariant is broken."""
        for check in sqlfiles.checks():
            assert not self.query(check.sql), check.name
        assert self.state() == self.undisturbed
        running = self.query("select count(*) from ops.ingestion_runs where status = 'RUNNING' or has_plan")
        return bool(running == [(0,)])


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A matched world of 300 leads; a module that sets HISTORY_OF_LEADS gets as many, with the predecessor's history."""
    history = getattr(request.module, "HISTORY_OF_LEADS", None)
    home = Path(tempfile.mkdtemp(prefix="ct4-faults-")).resolve()
    home.chmod(0o755)  # the server may run as another user
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CT4_")}
    environment |= {"CT4_HOME": str(home)}
    url = os.environ.get("DATABASE_URL")
    name = f"test_faults_{uuid.uuid4().hex[:12]}"
    server = None if url else EmbeddedServer(home)
    if url:
        environment["DATABASE_URL"] = urlsplit(url)._replace(path=f"/{name}").geturl()
        _on_server(url, f"create database {name}")
    try:
        made = Place(home, environment, server)
        subprocess.run(
            [
                sys.executable,
                "-c",
                PREPARE,
                str(home / "files"),
                str(history or LEADS),
                *(["history"] if history else []),
            ],
            cwd=settings.BASE_DIR,
            env=environment,
            check=True,
        )
        made.undisturbed = made.state()
        yield made
    finally:
        if server is not None:
            server.stop("immediate")
        else:
            _on_server(str(url), f"drop database if exists {name} with (force)")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def fresh(place: Place) -> Place:
    """The place with nothing decided."""
    place.empty()
    return place


def _on_server(url: str, statement: str) -> None:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


def kill_tree(process: subprocess.Popen[str]) -> None:
    """End a process and what it started, at once, as a power cut would."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        for member in [*parent.children(recursive=True), parent]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
