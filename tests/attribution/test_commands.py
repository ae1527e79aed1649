"""The commands of attribution alone: flags, exit codes, JSON on stdout and nothing else there (domain.md 14.2)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone, translation
from django_q.models import OrmQ

from attribution.models import (
    AttributionDay,
    EventsBackfillEntry,
    LeadScoutMapping,
    LedgerBackfillEntry,
    LedgerEntry,
    LinksBackfillEntry,
)
from ct4site import jobs
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from identity.models import LeadEvent, Link
from tests.attribution.test_ledger import a_person_with
from tests.factories import JUAN, PEDRO, a_lead, a_migration, a_phone, a_registration

pytestmark = pytest.mark.django_db

JOBS = {
    "process_ledger": JobType.PROCESS_LEDGER,
    "refresh_scout_attribution": JobType.SCOUT_REFRESH,
    "populate_events": JobType.POPULATE_EVENTS,
    "backfill_identity_links_scouting_daily": JobType.LINKS_BACKFILL,
    "backfill_lead_ledger": JobType.LEDGER_BACKFILL,
    "backfill_lead_events": JobType.EVENTS_BACKFILL,
}
LIMITED = [name for name in JOBS if name != "refresh_scout_attribution"]
WRITTEN = (
    LedgerEntry, LinksBackfillEntry, LedgerBackfillEntry, EventsBackfillEntry, AttributionDay, AuditEntry, Link,
    LeadEvent, LeadScoutMapping,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Any:
    """Run a command as a shell sees it: exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code, told = 0, ""
        try:
            call_command(*arguments)
        except CommandError as error:
            code, told = error.returncode, str(error)
        except SystemExit as error:  # the parser's own
            code = int(error.code or 0)
        with connection.cursor() as cursor:
            cursor.execute("discard temp")  # a test's transaction does not commit, so nothing else drops them
        out, err = capfd.readouterr()
        return code, out, err + told

    return run


@pytest.fixture
def work() -> None:
    """Two of everything: each command finds two things to do. Events of known scouts are made by hand, without links."""
    for number, name in enumerate((JUAN, PEDRO)):
        a_registration(name, phone=a_phone(720 + number), scout=7 + number)
        lead = a_lead(name)
        a_migration(None, scout=7)
        LeadScoutMapping.objects.create(source_key=lead.source_pk, scout_id=5)
    call_command("populate_events", "--source", "cabinet", stdout=io.StringIO(), stderr=io.StringIO())
    for scout in (7, 8):
        a_person_with(("cabinet", scout, 1))


def rows() -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in WRITTEN]


def done(name: str, told: dict[str, Any]) -> int:
    """How many things a command says it did."""
    if name == "populate_events":
        return sum(told[feed]["inserted"] for feed in ("scouting", "cabinet", "migrations"))
    if name == "process_ledger":
        return int(told["changed_count"])
    if name == "refresh_scout_attribution":
        return int(told["links_backfill"]["created"] + told["changed_count"])
    return int(told.get("created", 0) or told.get("updated", 0) + told.get("inserted", 0))


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("name", JOBS)
@pytest.mark.slow
def test_a_dry_run_tells_what_a_run_does_and_keeps_nothing(name: str, call: Any) -> None:
    before = rows()
    code, out, err = call(name, "--dry-run", "--json")
    preview = json.loads(out)
    assert (code, preview["dry_run"], preview["status"]) == (0, True, "COMPLETED"), err
    assert done(name, preview) >= 2
    assert rows() == before
    code, out, err = call(name, "--json")
    told = json.loads(out)
    assert (code, told["dry_run"]) == (0, False), err
    assert rows() != before
    assert comparable(preview) == comparable(told)


def comparable(told: dict[str, Any]) -> dict[str, Any]:
    """What a command says without what tells one run from another."""
    return {name: value for name, value in told.items() if name not in ("run_id", "dry_run", "seen")}


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("name", JOBS)
def test_doing_it_again_does_nothing(name: str, call: Any) -> None:
    call(name, "--json")
    models = [model for model in WRITTEN if model is not AttributionDay]
    before = [list(model.objects.order_by("pk").values()) for model in models]
    code, out, err = call(name, "--json")
    assert (code, done(name, json.loads(out)), json.loads(out)["audit"]) == (0, 0, 0), err
    assert [list(model.objects.order_by("pk").values()) for model in models] == before


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("name", LIMITED)
def test_a_limit_is_kept_and_the_rest_is_left_to_the_next_run(name: str, call: Any) -> None:
    counts = [done(name, json.loads(call(name, "--json", "--limit", "1")[1])) for _run in range(2)]
    assert counts == [1, 1]


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("name", JOBS)
def test_without_json_nothing_is_on_stdout_and_a_person_can_read_the_counts(name: str, call: Any) -> None:
    code, out, err = call(name)
    assert (code, out) == (0, "")
    assert f"Run {Run.objects.latest('pk').pk} of" in err
    assert "audit: " in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("name", JOBS)
def test_a_queued_run_is_a_row_and_a_task_and_is_done_by_the_worker(name: str, call: Any) -> None:
    before = rows()
    code, out, _err = call(name, "--queue", "--json")
    told = json.loads(out)
    assert (code, told["status"], OrmQ.objects.count()) == (0, "QUEUED", 1)
    assert rows() == before
    assert jobs.run_queued(told["run_id"]) == "COMPLETED"
    assert done(name, Run.objects.get(pk=told["run_id"]).stats) >= 2


@pytest.mark.parametrize("name", JOBS)
def test_a_second_runner_is_refused_with_the_first_ones_number(name: str, call: Any) -> None:
    running = jobs.start(job_code=JOBS[name], actor="somebody else")
    code, out, err = call(name, "--json")
    assert (code, out) == (1, "")
    assert f"run {running.pk} " in err


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5"])
def test_a_limit_that_is_no_number_above_zero_is_refused(name: str, limit: str, call: Any) -> None:
    code, out, err = call(name, "--limit", limit)
    assert code != 0
    assert (out, Run.objects.count()) == ("", 0)
    assert "limit" in err


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize("name", JOBS)
def test_a_run_the_database_refuses_ends_with_1_and_without_values(name: str, call: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "create function public.refuse() returns trigger language plpgsql as"
            " $$ begin raise exception 'no place for %', to_jsonb(new); end $$;"
        )
        for table in ("observational.lead_ledger", "observational.lead_events", "canon.identity_links"):
            cursor.execute(
                f"create trigger refused before insert or update on {table} for each row execute function public.refuse()"
            )
    code, out, err = call(name, "--json")
    assert (code, json.loads(out)["status"]) == (1, "FAILED")
    assert "no place" not in out + str(Run.objects.latest("pk").error_message)
    assert "payload_json" not in err
    assert Run.objects.latest("pk").status == RunStatus.FAILED


# --- populate_events ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("--source", "drivers"), ("--date-from", "2026-13-01"), ("--date-to", "yesterday")]
)
def test_a_feed_or_a_day_that_does_not_exist_is_refused(arguments: tuple[str, ...], call: Any) -> None:
    code, out, _err = call("populate_events", *arguments)
    assert code != 0
    assert (out, Run.objects.count()) == ("", 0)


def test_a_feed_named_twice_is_read_once(call: Any) -> None:
    a_registration()
    a_lead()
    _code, out, _err = call("populate_events", "--source", "scouting", "--source", "scouting", "--json")
    told = json.loads(out)
    assert (told["scouting"]["inserted"], "cabinet" in told, LeadEvent.objects.count()) == (1, False, 1)


# --- load_scout_mapping -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "stored"),
    [
        ("source_key,scout_id\na,1\nb,2\n", 0, 2),
        ("source_key,scout_id\na,1\nb,doce\n", 3, 1),
        ("source_key,scout_id\na,1\na,2\n", 3, 0),
        ("source_key,scout_id\n", 0, 0),
        ("lead,scout\na,1\n", 1, 0),
        ("", 1, 0),
        ("\0\0\0", 1, 0),
        ("source_key,scout_id\n\xff", 1, 0),
    ],
)
def test_a_mapping_ends_with_the_exit_code_of_a_load(
    text: str, code: int, stored: int, call: Any, tmp_path: Path
) -> None:
    file = tmp_path / "mapping.csv"
    file.write_bytes(text.encode("latin-1"))
    rejects = tmp_path / "rejects"
    ended, out, err = call("load_scout_mapping", str(file), "--json", "--rejects", str(rejects))
    assert (ended, LeadScoutMapping.objects.count()) == (code, stored), err
    assert "Traceback" not in err
    if code == 1:
        assert out == ""
    else:
        assert json.loads(out)["inserted"] == stored
        assert out.count("\n") == 1
    assert (code == 3) == (rejects.exists() and any(rejects.iterdir()))


def test_a_mapping_file_that_is_not_there_is_told(call: Any, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.csv", tmp_path):
        code, out, err = call("load_scout_mapping", str(path), "--json")
        assert (code, out) == (1, ""), err
        assert "Traceback" not in err


# --- diagnose_scout_attribution -----------------------------------------------------------------------


@pytest.mark.usefixtures("work")
def test_the_diagnosis_reads_only_and_tells_the_same_in_words_and_json(call: Any) -> None:
    call("refresh_scout_attribution")
    before = rows()
    code, out, err = call("diagnose_scout_attribution", "--json")
    figures = json.loads(out)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert list(figures) == sorted(["inventory", "coverage", "categories", "rules", "buckets", "conflicts", "warnings"])
    assert (
        figures["coverage"]["persons_with_scout"] == LedgerEntry.objects.exclude(attributed_scout_id=None).count() == 4
    )
    assert sum(figures["categories"].values()) == figures["coverage"]["total_persons"] - 4
    code, out, err = call("diagnose_scout_attribution")
    assert (code, err) == (0, "")
    assert f"  persons_with_scout: {figures['coverage']['persons_with_scout']}\n" in out
    assert rows() == before
    assert not Run.objects.filter(job_type=JobType.SCOUT_FIX).exists()


def test_the_diagnosis_of_an_empty_database_is_all_zeros(call: Any) -> None:
    code, out, _err = call("diagnose_scout_attribution", "--json")
    figures = json.loads(out)
    assert code == 0
    assert figures["categories"] == dict.fromkeys("ABCDE", 0)
    assert figures["conflicts"] == {"total": 0, "open": 0, "historical": 0}
    assert (figures["coverage"]["total_persons"], float(figures["coverage"]["pct_scout_satisfactory"])) == (0, 0.0)
    assert len(figures["inventory"]) == 6


# --- roll_back_backfill -------------------------------------------------------------------------------

METHOD = "BACKFILL_SINGLE_SCOUT_FROM_EVENTS"


@pytest.mark.usefixtures("work")
def test_a_roll_back_is_a_preview_unless_told_otherwise(call: Any) -> None:
    since = f"{timezone.localtime():%Y-%m-%d} 00:00:00"
    call("backfill_lead_ledger")
    before = rows()
    code, out, err = call("roll_back_backfill", "--method", METHOD, "--since", since, "--json")
    told = json.loads(out)
    assert (code, told["executed"], told["runs"][0]["untouched"]) == (0, False, 2), err
    assert "Preview: nothing was changed" in err
    assert rows() == before
    code, out, err = call("roll_back_backfill", "--method", METHOD, "--since", since, "--json", "--execute")
    assert (code, json.loads(out)["executed"]) == (0, True), err
    assert not LedgerEntry.objects.exists()
    assert LedgerBackfillEntry.objects.count() == 4
    code, out, err = call("roll_back_backfill", "--method", METHOD, "--since", since, "--json", "--execute")
    assert code == 0
    assert LedgerBackfillEntry.objects.count() == 4, "taken back a second time"


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("--method", METHOD), ("--since", "2026-01-01"), ("--method", "NONE", "--since", "2026-01-01"),
        ("--method", METHOD, "--since", "yesterday"), ("--method", METHOD, "--since", "2026-02-30"),
        ("--method", METHOD, "--since", "2026-01-01", "--until", "x"),
    ],
)  # fmt: skip
def test_a_roll_back_that_does_not_say_what_and_when_is_refused(arguments: tuple[str, ...], call: Any) -> None:
    code, out, _err = call("roll_back_backfill", *arguments)
    assert code != 0
    assert (out, Run.objects.count()) == ("", 0)


def test_a_roll_back_of_a_time_without_runs_has_nothing_to_do(call: Any) -> None:
    code, out, err = call("roll_back_backfill", "--method", METHOD, "--since", "2026-01-01", "--json", "--execute")
    assert (code, json.loads(out)["runs"]) == (0, [])
    assert "No run of that time" in err
