"""Bad days of recovery: killed, doubled or taken back, the retry ends where an undisturbed one ends (F7, F8, F11, F23).

Every test begins with a matched world that forgot all its decisions: all its cabinet leads are lost.
"""

from __future__ import annotations

import json
import time
from random import Random

import pytest

from tests.faults.conftest import KILLED, Place, kill_tree

pytestmark = pytest.mark.faults

RETRY, IMPACT = "retry_identity_matching", "cabinet_recovery_impact"
UNCLAIMED_AGE = "update ops.ingestion_runs set heartbeat_at = heartbeat_at - interval '1 day' where attempt = 0"


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> list[str]:
    place.empty()
    place.succeed(RETRY)
    return place.state()


@pytest.fixture
def lost(undisturbed: list[str], fresh: Place) -> Place:
    fresh.undisturbed = undisturbed
    return fresh


def test_the_world_has_something_to_lose(undisturbed: list[str]) -> None:
    assert sum(fact.startswith("recovered|") for fact in undisturbed) > 50
    assert sum("|pending|" in fact for fact in undisturbed if fact.startswith("try|")) > 20


@pytest.mark.parametrize("point", ["chunk:2:picked", "chunk:2:effected", "chunk:3:committed"])
def test_a_retry_killed_at_a_named_point_is_finished_by_the_next(lost: Place, point: str) -> None:
    code, _out, _err = lost.run(RETRY, CT4_FAULT=point)
    assert code == KILLED
    lost.succeed(RETRY)
    assert lost.is_sound()


def test_a_retry_killed_at_any_moment_ends_well(lost: Place) -> None:
    seed = Random().randrange(10**6)
    print(f"seed {seed}")
    rng = Random(seed)
    for _kill in range(2):
        process = lost.start(RETRY, CT4_CHUNK_SIZE="5")
        time.sleep(rng.uniform(0.9, 2.2))
        kill_tree(process)
        process.communicate()
    lost.query(UNCLAIMED_AGE, rows=False)
    lost.succeed(RETRY)
    assert lost.is_sound(), f"seed {seed}"


def test_a_server_killed_under_a_retry_costs_nothing(lost: Place) -> None:
    if lost.server is None:
        pytest.skip("DATABASE_URL is set: that server is not ours to kill")
    process = lost.start(RETRY, CT4_CHUNK_SIZE="5")
    time.sleep(Random().uniform(1.0, 1.8))
    running = lost.server._server_process()
    assert running is not None
    running.kill()
    process.communicate(timeout=60)
    lost.server.ensure_running()
    lost.query(UNCLAIMED_AGE, rows=False)
    lost.succeed(RETRY)
    assert lost.is_sound()


def test_retries_started_at_once_try_every_lead_once(lost: Place) -> None:
    processes = [lost.start(RETRY, "--json") for _number in range(2)]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert all(code in (0, 1) and "Traceback" not in err for _out, err, code in ended)
    told = [json.loads(out) for out, _err, code in ended if code == 0]
    tried = [tally["matched"] + tally["failed"] + tally["pending"] for tally in told]
    assert sum(tried) == sum(fact.startswith("try|") for fact in lost.undisturbed)
    assert lost.is_sound()


def test_retry_impact_and_matching_at_once_neither_wait_in_a_circle_nor_double_anything(lost: Place) -> None:
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    before = lost.query(deadlocks)
    processes = [lost.start(name, CT4_CHUNK_SIZE="7") for name in (RETRY, "run_identity", IMPACT)]
    for process in processes:
        _out, err = process.communicate(timeout=120)
        assert process.returncode in (0, 1), err
        assert "Traceback" not in err
    for name in ("run_identity", RETRY, IMPACT):
        lost.succeed(name)
    assert lost.query(deadlocks) == before
    code, _out, err = lost.run("check_invariants")
    assert code == 0, err
    links = "select count(*) from canon.identity_links where source_table = 'module_ct_cabinet_leads'"
    linked = sum(fact.startswith("link|module_ct_cabinet_leads") for fact in lost.undisturbed)
    assert lost.query(links) == [(linked,)]


def test_what_a_killed_retry_did_is_taken_back_whole(lost: Place) -> None:
    code, _out, _err = lost.run(RETRY, CT4_FAULT="chunk:3:committed")
    assert code == KILLED
    run = lost.succeed(RETRY)["run_id"]
    first = lost.query("select min(id) from ops.ingestion_runs where job_type = 'identity_gap_recovery'")[0][0]
    for number in sorted({run, first}, reverse=True):
        lost.succeed("roll_back_run", str(number))
    assert lost.query("select count(*) from canon.identity_links") == [(0,)]
    assert lost.query("select count(*) from ops.cabinet_lead_recovery_audit") == [(0,)]
    assert lost.query("select count(*) from ops.identity_matching_jobs where status = 'matched'") == [(0,)]
    lost.succeed(RETRY)
    assert {fact for fact in lost.state() if fact.startswith("link|")} == {
        fact for fact in lost.undisturbed if fact.startswith("link|")
    }
