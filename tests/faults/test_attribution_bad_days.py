"""Bad days of scout attribution: killed in any of its steps, doubled or cut off, it ends where an undisturbed run ends.

reliability.md F7, F8, F11, F12. The world is a generated one, matched once; it is copied as it stands before each step
that writes, so that a run can be killed in that step and no other.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from django.conf import settings

from ct4site import sqlfiles
from tests.faults.conftest import KILLED, Place

pytestmark = pytest.mark.faults

FIX, REFRESH = "execute_scout_attribution_fix", "refresh_scout_attribution"
REPORT = "SCOUT_ATTRIBUTION_AFTER_REPORT.md"
SMALL = {"CT4_CHUNK_SIZE": "3"}
# The other strategy copies how far a sequence is ahead of its log: after a crash it would hand out ids again.
COPY = "create database {to} template {of} strategy file_copy"
DROP = "drop database if exists {name} with (force)"
UNCLAIMED_AGE = "update ops.ingestion_runs set heartbeat_at = heartbeat_at - interval '1 day' where attempt = 0"

# Steps that write, in their order, and the command that does each alone.
STEPS = {
    "links": "backfill_identity_links_scouting_daily",
    "ledger": "process_ledger",
    "ledger_backfill": "backfill_lead_ledger",
    "events_backfill": "backfill_lead_events",
}

# Generated leads name no scout and have no mapping: work for the last two steps.
MORE_WORK = """
with lonely as (
    select events.id, events.source_pk, row_number() over (order by events.source_pk collate "C") as place
    from observational.lead_events as events
    where events.source_table = 'module_ct_cabinet_leads' and events.person_key is not null
        and not exists (
            select 1 from observational.lead_events as others
            where others.person_key = events.person_key and others.id <> events.id
        )
),
named as (
    update observational.lead_events as events set payload_json = events.payload_json || '{"scout_id": " 12 "}'
    from lonely where lonely.id = events.id and lonely.place <= 10
)
insert into ops.lead_scout_mapping (source_key, scout_id)
select lonely.source_pk, 9 from lonely where lonely.place between 11 and 20
"""

# Copies the database as it stands before each step, does the steps one by one, and then the refresh from the beginning.
STAGES = """
import contextlib, io, json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "ct4site.settings"
os.environ["CT4_CHUNK_SIZE"] = "30"
import django
django.setup()
import psycopg2
from django.core.management import call_command
from django.db import connection
name, options, steps, refresh, copy, drop = json.loads(sys.argv[1])

def administer(*statements):
    connection.close()
    with contextlib.closing(psycopg2.connect(**options)) as server:
        server.autocommit = True
        for statement in statements:
            server.cursor().execute(statement)

def perform(command):
    out = io.StringIO()
    call_command(command, "--json", stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue())

counts = {}
for step, command in steps:
    administer(copy.format(to=f"{name}_{step}", of=name))
    counts[step] = perform(command)
administer(drop.format(name=name), copy.format(to=name, of=f"{name}_links"))
perform(refresh)
print(json.dumps(counts))
"""

# What attribution decided and told, free of random keys and of the time.
FACTS = """
with labels as (
    select person_key, string_agg(source_table || ' ' || source_pk, ', ' order by source_table || ' ' || source_pk collate "C")
        as label
    from canon.identity_links group by person_key
)
select concat_ws(
    '|', 'ledger', labels.label, attributed_source, coalesce(attributed_scout_id, 0), attribution_rule,
    attribution_score, confidence_level, decision_status, evidence_json - 'event_id' - 'backfill_timestamp'
) as fact
from observational.lead_ledger left join labels using (person_key)
union all
select concat_ws('|', 'scout', source_table, source_pk, scout_id) from observational.lead_events
union all
select concat_ws('|', 'told of link', source_table, source_pk, driver_id, match_method, match_result, reason)
from ops.identity_links_backfill_audit
union all
select concat_ws(
    '|', 'told of ledger', labels.label, old_attributed_scout_id, new_attributed_scout_id, attribution_rule_old,
    attribution_rule_new
)
from ops.lead_ledger_scout_backfill_audit left join labels using (person_key)
union all
select concat_ws('|', 'told of event', source_table, source_pk, old_scout_id, new_scout_id, action_type)
from ops.lead_events_scout_backfill_audit
union all
select concat_ws('|', 'audit', entries.action, entries.subject_table, labels.label, count(*))
from ops.audit_log as entries left join labels using (person_key)
where entries.subject_table in ('lead_ledger', 'identity_links', 'lead_events')
group by entries.action, entries.subject_table, labels.label
union all
select concat_ws('|', 'suspected', least(one.label, two.label), greatest(one.label, two.label), suspected.status)
from canon.possible_same_persons as suspected
left join labels as one on one.person_key = suspected.person_a_id
left join labels as two on two.person_key = suspected.person_b_id
union all
select concat_ws(
    '|', 'day', total_persons, satisfactory_count, missing_count, conflicts_count, open_conflicts_count, backlog,
    by_source_scouting_daily, by_source_lead_ledger
)
from ops.scout_attribution_days
"""


class Attribution:
    """A place as it stands before each step, and what an undisturbed fix and refresh make of it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        place.query(MORE_WORK, rows=False)
        name, options = self._server()
        # One process for all: starting one costs more than most of these steps.
        done = subprocess.run(
            [sys.executable, "-c", STAGES, json.dumps([name, options, list(STEPS.items()), REFRESH, COPY, DROP])],
            cwd=settings.BASE_DIR, env=place.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.counts: dict[str, dict[str, Any]] = json.loads(done.stdout)
        self.undisturbed = {REFRESH: self.facts()}
        self.begin_again("links")
        place.succeed(FIX)
        self.undisturbed[FIX] = self.facts()

    def facts(self) -> list[str]:
        return sorted([*self.place.state(), *(row[0] for row in self.place.query(FACTS))])

    def is_sound_after(self, command: str) -> bool:
        """Whether the state is that of an undisturbed run, no invariant is broken, and no run is left half done."""
        for check in sqlfiles.checks():
            assert not self.place.query(check.sql), check.name
        assert self.facts() == self.undisturbed[command]
        return bool(
            self.place.query("select count(*) from ops.ingestion_runs where status = 'RUNNING' or has_plan") == [(0,)]
        )

    def begin_again(self, step: str) -> None:
        self._administer(DROP.format(name="{name}"), COPY.format(to="{name}", of=f"{{name}}_{step}"))
        shutil.rmtree(self.place.home / "reports", ignore_errors=True)

    def report(self, folder: str = ".") -> str | None:
        path = self.place.home / "reports" / folder / REPORT
        return path.read_text("utf-8") if path.exists() else None

    def close(self) -> None:
        self._administer(*(DROP.format(name=f"{{name}}_{step}") for step in STEPS))

    def _server(self) -> tuple[str, dict[str, Any]]:
        """Name of the place's database, and how to connect to another one on its server."""
        if self.place.server is not None:
            self.place.server.ensure_running()
            return "ct4", {"dbname": "postgres", **self.place.server.connection()}
        url = urlsplit(self.place.environment["DATABASE_URL"])
        return url.path[1:], {"dsn": url._replace(path="/postgres").geturl()}

    def _administer(self, *statements: str) -> None:
        name, options = self._server()
        with contextlib.closing(psycopg2.connect(**options)) as connection:
            connection.autocommit = True
            for statement in statements:
                connection.cursor().execute(statement.format(name=name))


@pytest.fixture(scope="module")
def world(place: Place) -> Iterator[Attribution]:
    made = Attribution(place)
    yield made
    made.close()


def test_every_step_has_something_to_lose(world: Attribution) -> None:
    counts = world.counts
    assert min(counts["links"]["created"], counts["ledger"]["changed_count"]) >= 9
    assert counts["ledger_backfill"]["updated"] == counts["events_backfill"]["updated"] == 10


# --- F7: the command is killed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "step", "point"),
    [
        (FIX, "links", "chunk:2:effected"),
        (REFRESH, "ledger", "chunk:3:committed"),
        (FIX, "events_backfill", "chunk:2:effected"),
    ],
)
def test_a_run_killed_in_a_step_is_finished_by_the_next(
    world: Attribution, command: str, step: str, point: str
) -> None:
    world.begin_again(step)
    code, _out, _err = world.place.run(command, CT4_FAULT=point, **SMALL)
    assert code == KILLED
    assert world.report() is None
    tally = world.place.succeed(command)
    assert world.is_sound_after(command)
    if command == FIX:
        assert set(tally["steps"].values()) == {"done"}
        assert f" {tally['run_id']}, " in str(world.report())


def test_what_a_killed_fix_left_may_be_done_by_a_refresh_first(world: Attribution) -> None:
    """The plan of the fix is then an old one: what it finds done already it leaves alone."""
    world.begin_again("ledger_backfill")
    code, _out, _err = world.place.run(FIX, CT4_FAULT="chunk:2:picked", **SMALL)
    assert code == KILLED
    world.place.succeed(REFRESH)
    world.place.succeed(FIX)
    assert world.is_sound_after(FIX)


# --- F8: the server is killed -------------------------------------------------------------------------


def test_a_server_killed_under_a_run_costs_nothing(world: Attribution) -> None:
    server = world.place.server
    if server is None:
        pytest.skip("DATABASE_URL is set: that server is not ours to kill")
    world.begin_again("links")
    process = world.place.start(FIX, CT4_CHUNK_SIZE="1")
    time.sleep(Random().uniform(1.0, 1.8))
    running = server._server_process()
    assert running is not None
    running.kill()
    _out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    server.ensure_running()
    world.place.query(UNCLAIMED_AGE, rows=False)
    world.place.succeed(FIX)
    assert world.is_sound_after(FIX)


# --- F11: two at once ---------------------------------------------------------------------------------


def test_commands_started_at_once_do_everything_once(world: Attribution) -> None:
    """The same twice, and the refresh beside it: different jobs may interleave."""
    world.begin_again("links")
    place = world.place
    deadlocks = "select sum(deadlocks) from pg_stat_database"
    before = place.query(deadlocks)
    commands = ((FIX, "--json"), (FIX, "--json"), (REFRESH, "--json"))
    processes = [place.start(*command, **SMALL) for command in commands]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    for _out, err, code in ended:
        assert code in (0, 1) and "Traceback" not in err, err
    assert 0 in {code for _out, _err, code in ended}
    place.succeed(FIX)
    assert place.query(deadlocks) == before
    for check in sqlfiles.checks():
        assert not place.query(check.sql), check.name
    doubled = (
        "select person_key from ops.lead_ledger_scout_backfill_audit group by person_key having count(*) > 1",
        "select source_pk from ops.lead_events_scout_backfill_audit group by source_pk having count(*) > 1",
        "select source_pk from ops.identity_links_backfill_audit where match_result = 'created'"
        " group by source_pk having count(*) > 1",
    )
    assert [place.query(query) for query in doubled] == [[], [], []]
    assert _scouts(world.facts()) == _scouts(world.undisturbed[FIX])
    tallies = [json.loads(out) for out, _err, code in ended if code == 0 and out]
    assert all(tally["status"] == "COMPLETED" for tally in tallies)


def _scouts(facts: list[str]) -> list[str]:
    """Who has which scout, whichever run gave him and by whichever rule."""
    return sorted("|".join(fact.split("|")[1:4:2]) for fact in facts if fact.startswith("ledger|"))
