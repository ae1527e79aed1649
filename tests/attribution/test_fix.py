"""``manage.py execute_scout_attribution_fix`` (runbook RB0, domain.md 6.14, Q29) and the recurring refresh (RB1)."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import translation
from django_q.models import OrmQ

from attribution import fixing
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
from identity.models import CabinetPayment, LeadEvent, Link
from tests.attribution.test_ledger import a_person_with, day
from tests.factories import JUAN, PEDRO, ROSA, a_driver, a_lead, a_migration, a_phone, a_registration, match, run_job
from tests.shared import made_once

pytestmark = pytest.mark.django_db

COMMAND = "execute_scout_attribution_fix"
REPORT = "SCOUT_ATTRIBUTION_AFTER_REPORT.md"
STEPS = ["views", "before", "links", "ledger", "ledger_backfill", "events_backfill", "day", "after", "verify"]
WRITTEN = (LedgerEntry, LinksBackfillEntry, LedgerBackfillEntry, EventsBackfillEntry, AttributionDay, AuditEntry, Link)


@pytest.fixture(autouse=True)
def reports_root(settings: Any, tmp_path: Path) -> Iterator[Path]:
    settings.REPORTS_ROOT = tmp_path / "reports"
    with translation.override("en"):
        yield settings.REPORTS_ROOT


def call(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run the command with --json; return exit code, what stdout says, and stderr."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        call_command(COMMAND, "--json", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        code = error.returncode
        err.write(str(error))
    with connection.cursor() as cursor:
        cursor.execute("discard temp")  # a test's transaction does not commit, so nothing else drops them
    return code, json.loads(out.getvalue()) if out.getvalue() else {}, err.getvalue()


def last_run() -> Run:
    return Run.objects.filter(job_type=JobType.SCOUT_FIX).latest("pk")


def written() -> list[Any]:
    """All rows of all tables the fix writes, whatever they say."""
    return [list(model.objects.order_by("pk").values()) for model in WRITTEN]


def rows_of(report: str, title: str) -> dict[str, list[str]]:
    """The rows of a table of the report: first cell -> other cells."""
    part = report.split(f"## {title}\n")[1].split("\n## ")[0] if title else report.split("\n## ")[0]
    cells = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("| ")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells[1:]}


def _break_a_world() -> dict[str, Any]:
    """What RB0 was written for: registrations without links, a scout only in the events, a lead with a mapped scout."""
    licence, phone = "Q27100001", a_phone(710)
    a_driver(JUAN, licence=licence)
    found = {"mapped": a_lead(PEDRO, phone=a_phone(711))}
    a_driver(PEDRO, phone=f"51{a_phone(711)}")
    a_migration(a_driver(ROSA), scout=9)
    match()
    found["registered"] = a_registration(JUAN, licence=licence, scout=7)
    found["founded"] = a_registration("VARGAS LLOSA MARIO", phone=phone, scout=8)
    a_registration("NADIE", scout=7)
    found["in events"] = a_person_with(("cabinet", 12, 1))
    LeadScoutMapping.objects.create(source_key=found["mapped"].source_pk, scout_id=3)
    return found


broken_world = made_once("broken_world", _break_a_world)


def refuse(table: str) -> None:
    """Let a table refuse new rows, as a foreign trigger or a full disk would."""
    with connection.cursor() as cursor:
        cursor.execute(
            "create function public.refuse() returns trigger language plpgsql as"
            " $$ begin raise exception 'no place for %', new.person_key; end $$;"
            f" create trigger refused before insert on {table} for each row execute function public.refuse()"
        )


# --- the way it should go -----------------------------------------------------------------------------


def test_the_steps_are_done_in_the_order_of_the_runbook(broken_world: dict[str, Any], monkeypatch: Any) -> None:
    order: list[str] = []
    for step in fixing.STEPS:
        watched = fixing.Step(step.name, step.title, watch(step, order), step.is_prerequisite)
        monkeypatch.setattr(fixing, "STEPS", tuple(watched if old is step else old for old in fixing.STEPS))
    # The event made by hand has no link: the invariant that minds must not end the run here.
    monkeypatch.setattr(
        fixing, "OURS", tuple(name for name in fixing.OURS if name != "chk_event_person_is_link_person")
    )
    code, told, err = call()
    assert (code, order, list(told["steps"])) == (0, STEPS, sorted(STEPS)), err
    assert set(told["steps"].values()) == {"done"}


def watch(step: fixing.Step, order: list[str]) -> Any:
    def perform(context: Any) -> None:
        order.append(step.name)
        step.perform(context)

    return perform


@pytest.fixture
def lenient(monkeypatch: Any) -> None:
    """Events made by hand have no links; the invariant that minds is not what these tests are about."""
    monkeypatch.setattr(
        fixing, "OURS", tuple(name for name in fixing.OURS if name != "chk_event_person_is_link_person")
    )


@pytest.mark.usefixtures("lenient")
def test_what_was_broken_is_mended(broken_world: dict[str, Any]) -> None:
    code, told, err = call()
    assert code == 0, err
    before, after = told["before"]["coverage"], told["after"]["coverage"]
    assert (before["scouting_daily_with_links"], before["scouting_daily_with_ledger_scout"]) == (0, 0)
    assert (after["scouting_daily_with_links"], after["scouting_daily_with_ledger_scout"]) == (2, 2)
    assert (before["persons_with_scout"], after["persons_with_scout"]) == (0, 5)
    assert (told["before"]["categories"]["D"], told["before"]["categories"]["A"]) == (2, 1)
    assert told["links_backfill"]["created"] == 2
    assert told["ledger_backfill"]["updated"] == 2
    assert told["events_backfill"]["updated"] == 1
    assert LeadEvent.objects.get(source_pk=broken_world["mapped"].source_pk).scout_id == 3
    assert LinksBackfillEntry.objects.count() == 3
    assert set(LedgerBackfillEntry.objects.values_list("person_key", "new_attributed_scout_id")) == {
        (broken_world["in events"].pk, 12),
        (LeadEvent.objects.get(source_pk=broken_world["mapped"].source_pk).person_id, 3),
    }
    assert EventsBackfillEntry.objects.get().new_scout_id == 3
    assert AttributionDay.objects.get().satisfactory_count == 5


@pytest.mark.usefixtures("lenient")
def test_a_scout_mapped_by_one_fix_is_in_the_ledger_by_the_same(broken_world: dict[str, Any]) -> None:
    """Category A is resolved by the mapping (RB0, "Salida Final Esperada"), not left in D for somebody to run it again."""
    call()
    person = LeadEvent.objects.get(source_pk=broken_world["mapped"].source_pk).person_id
    assert LedgerEntry.objects.get(pk=person).attributed_scout_id == 3


@pytest.mark.usefixtures("lenient")
def test_a_second_fix_changes_nothing(broken_world: dict[str, Any]) -> None:
    call()
    before = written()
    code, told, err = call()
    assert code == 0, err
    assert told["before"] == told["after"]
    assert [rows for model, rows in zip(WRITTEN, written(), strict=True) if model is not AttributionDay] == [
        rows for model, rows in zip(WRITTEN, before, strict=True) if model is not AttributionDay
    ]


@pytest.mark.usefixtures("lenient")
def test_the_report_tells_all_with_before_and_after(broken_world: dict[str, Any], reports_root: Path) -> None:
    CabinetPayment.objects.create(scout_id=9, person_key=broken_world["in events"].pk, date=day(3))
    _code, told, _err = call("--output-dir", "rb0/today")
    assert told["report"] == str(Path("rb0") / "today" / REPORT)
    report = (reports_root / told["report"]).read_text("utf-8")
    figures = rows_of(report, "")
    wanted = (
        "coverage.total_persons", "coverage.persons_with_scout", "coverage.pct_scout_satisfactory",
        "coverage.scouting_daily_with_links", "coverage.scouting_daily_with_ledger_scout", "conflicts.total",
        "conflicts.open", "conflicts.historical", *(f"categories.{letter}" for letter in "ABCDE"),
        "buckets.SATISFACTORY_LEDGER", "warnings.scouts_not_in_the_list",
        "inventory.public.module_ct_scouting_daily.with_scout",
    )  # fmt: skip
    assert set(wanted) - figures.keys() == set()
    flat = {part: dict(fixing._lines(told[part])) for part in ("before", "after")}
    assert figures == {
        name: [str(flat["before"].get(name, "–")), str(flat["after"].get(name, "–"))]
        for name in flat["before"].keys() | flat["after"].keys()
    }
    assert figures["coverage.persons_with_scout"] == ["0", "5"]
    assert figures["conflicts.total"] == ["1", "1"]
    assert list(rows_of(report, "Steps").values()) == [["done"]] * len(STEPS)
    changes = rows_of(report, "Changes")
    assert (changes["links_backfill.created"], changes["events_backfill.updated"]) == (["2"], ["1"])
    assert "## Log" in report
    assert f"Run {told['run_id']}," in report
    assert [path.name for path in (reports_root / "rb0" / "today").iterdir()] == [REPORT]


def test_a_report_says_that_no_mapping_was_there(reports_root: Path) -> None:
    code, told, err = call()
    assert (code, told["events_backfill"]["total"]) == (0, 0), err
    assert "- No mapping of leads to scouts is available" in (reports_root / told["report"]).read_text("utf-8")


# --- a dry run ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("lenient")
def test_a_dry_run_tells_the_numbers_of_the_run_and_keeps_nothing(broken_world: dict[str, Any]) -> None:
    before = written()
    code, preview, err = call("--dry-run")
    assert (code, preview["dry_run"]) == (0, True), err
    assert written() == before
    code, told, err = call()
    assert code == 0, err
    apart = {"run_id", "dry_run", "report"}
    assert preview.keys() == told.keys()
    assert {name for name in told if preview[name] != told[name]} - apart == set()


def test_a_dry_run_leaves_the_report_of_a_run_alone(reports_root: Path) -> None:
    call()
    report = (reports_root / REPORT).read_text("utf-8")
    _code, told, _err = call("--dry-run")
    assert (reports_root / REPORT).read_text("utf-8") == report
    assert "dry run: nothing was kept" in (reports_root / told["report"]).read_text("utf-8")


# --- something fails ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "harm",
    [
        "drop view ops.v_cabinet_leads_missing_scout_daily",
        "create or replace view ops.v_cabinet_leads_missing_scout_daily as"
        " select null::date as event_date, null::text as source_table, 0::bigint as events_without_scout,"
        " 0::bigint as distinct_persons, 0::bigint as distinct_source_pks, null::text[] as sample_source_pks",
    ],
    ids=["dropped", "altered"],
)  # fmt: skip
def test_nothing_is_tried_with_a_view_that_is_out_of_date(
    harm: str, broken_world: dict[str, Any], reports_root: Path
) -> None:
    before = written()
    with connection.cursor() as cursor:
        cursor.execute(harm)
    code, told, err = call()
    assert code == 1
    assert told["status"] == "FAILED"
    assert told["steps"]["views"].startswith("failed: Views are out of date: ops.v_cabinet_leads_missing_scout_daily")
    assert {outcome for name, outcome in told["steps"].items() if name != "views"} == {"not tried"}
    assert "sync_views" in err
    assert written() == before
    report = (reports_root / REPORT).read_text("utf-8")
    assert list(rows_of(report, "Steps").values())[1:] == [["not tried"]] * (len(STEPS) - 1)
    assert "v_cabinet_leads_missing_scout_daily" in report.split("## Log")[1]


def test_an_invariant_that_does_not_hold_is_told_after_the_work_is_done(
    broken_world: dict[str, Any], reports_root: Path
) -> None:
    """The event of the world that was made by hand has a person, though its record has no link."""
    code, told, err = call()
    assert (code, told["status"]) == (1, "FAILED")
    assert told["steps"]["verify"] == (
        "failed: Invariants do not hold: chk_event_person_is_link_person. See manage.py check_invariants."
    )
    assert {told["steps"][name] for name in STEPS if name != "verify"} == {"done"}
    assert "Steps failed: Verification" in err
    assert LedgerBackfillEntry.objects.count() == 2
    assert rows_of((reports_root / REPORT).read_text("utf-8"), "Steps")["Verification"] == [told["steps"]["verify"]]
    run = last_run()
    assert (run.status, run.has_plan, run.stats["steps"]) == (RunStatus.FAILED, False, told["steps"])


@pytest.mark.slow
def test_after_a_step_that_others_do_not_need_the_others_go_on(broken_world: dict[str, Any], monkeypatch: Any) -> None:
    refuse("ops.lead_ledger_scout_backfill_audit")
    code, told, err = call()
    assert code == 1
    assert told["steps"]["ledger_backfill"].startswith("failed")
    assert str(broken_world["in events"].pk) not in json.dumps(told) + err, "the database's words quote rows"
    assert {told["steps"][name] for name in ("day", "after")} == {"done"}
    assert LedgerEntry.objects.get(pk=broken_world["in events"].pk).attributed_scout_id is None
    assert told["events_backfill"]["updated"] == EventsBackfillEntry.objects.count() == 1
    run = last_run()
    assert run.has_plan is False, "the next run would have to finish it, and fail as this one did"
    with connection.cursor() as cursor:
        cursor.execute("drop trigger refused on ops.lead_ledger_scout_backfill_audit")
    code, told, _err = call()
    assert LedgerEntry.objects.get(pk=broken_world["in events"].pk).attributed_scout_id == 12


def test_after_a_failed_prerequisite_no_later_step_is_tried(broken_world: dict[str, Any]) -> None:
    refuse("ops.identity_links_backfill_audit")
    links = Link.objects.count()
    code, told, _err = call()
    assert code == 1
    assert [told["steps"][name] for name in ("views", "before")] == ["done", "done"]
    assert told["steps"]["links"].startswith("failed")
    assert {told["steps"][name] for name in STEPS[3:]} == {"not tried"}
    assert Link.objects.count() == links
    assert not LedgerEntry.objects.exists()


def test_a_run_that_lost_its_place_stops_at_once_and_writes_no_report(reports_root: Path, monkeypatch: Any) -> None:
    """Another attempt has taken the run over: what this one would write is no longer its to write."""

    def taken_over(context: Any) -> None:
        Run.objects.filter(pk=context.run_id).update(attempt=2)
        with context.transaction():
            pass

    tried: list[str] = []
    steps = (
        fixing.Step("first", "First", taken_over),
        fixing.Step("second", "Second", lambda context: tried.append("second")),
    )
    monkeypatch.setattr(fixing, "STEPS", steps)
    run = jobs.perform(job_code=JobType.SCOUT_FIX, actor="tests")
    assert run.status == RunStatus.RUNNING
    assert tried == []
    assert not (reports_root / REPORT).exists()


def test_a_report_that_cannot_be_written_is_told(reports_root: Path) -> None:
    (reports_root / REPORT).mkdir(parents=True)
    code, _told, err = call()
    assert code == 1
    assert "The report cannot be written" in err
    assert last_run().status == RunStatus.FAILED


# --- flags --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "folder",
    ["..", "../elsewhere", "a/../../elsewhere", "/", "a\0b", "x" * 300, "{outside}", "{link}", "{link}/deeper"],
    ids=["parent", "sibling", "detour", "root", "nul", "too long", "absolute", "link", "through link"],
)  # fmt: skip
def test_a_folder_outside_the_root_is_refused_before_any_run(folder: str, reports_root: Path, tmp_path: Path) -> None:
    outside, link = tmp_path / "outside", reports_root / "link"
    outside.mkdir()
    reports_root.mkdir()
    try:
        link.symlink_to(outside, target_is_directory=True)
    except OSError:
        if "link" in folder:
            pytest.skip("this system makes no symbolic links for us")
    a_registration(JUAN, phone=a_phone(712))
    code, told, _err = call("--output-dir", folder.format(outside=outside, link=link))
    assert (code, told) == (1, {})
    assert not Run.objects.filter(job_type=JobType.SCOUT_FIX).exists()
    assert list(outside.iterdir()) == []


def test_a_tilde_is_no_home_folder(reports_root: Path) -> None:
    home = set(Path.home().iterdir())
    _code, told, _err = call("--output-dir", "~")
    assert (reports_root / told["report"]).is_file()
    assert set(Path.home().iterdir()) == home


@pytest.mark.usefixtures("lenient")
def test_a_queued_fix_is_done_by_the_worker(broken_world: dict[str, Any], reports_root: Path) -> None:
    before = written()
    code, told, err = call("--queue", "--output-dir", "queued")
    assert (code, told["status"]) == (0, "QUEUED"), err
    assert OrmQ.objects.count() == 1
    assert written() == before
    assert jobs.run_queued(told["run_id"]) == "COMPLETED"
    assert (reports_root / "queued" / REPORT).is_file()
    assert LedgerEntry.objects.filter(attributed_scout_id__isnull=False).count() == 5


def test_stdout_is_one_line_of_json_or_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    call_command(COMMAND, "--json")
    out, err = capfd.readouterr()
    assert json.loads(out)["steps"]["verify"] == "done"
    assert out.count("\n") == 1
    assert REPORT in err
    call_command(COMMAND)
    out, err = capfd.readouterr()
    assert (out, REPORT in err) == ("", True)


@pytest.mark.parametrize("flag", ["--limit", "--nonsense"])
def test_a_flag_it_does_not_have_is_refused(flag: str) -> None:
    with pytest.raises((CommandError, TypeError)):
        call_command(COMMAND, flag, "3", stdout=io.StringIO(), stderr=io.StringIO())
    assert not Run.objects.exists()


@pytest.mark.skipif(os.name == "nt", reason="another separator")
def test_the_report_is_named_below_the_root_only(reports_root: Path) -> None:
    """Where the server keeps its files is nobody's business who reads the run."""
    _code, told, _err = call("--output-dir", "deep/er")
    assert told["report"] == f"deep/er/{REPORT}"


# --- the refresh --------------------------------------------------------------------------------------


def refresh(**parameters: Any) -> dict[str, Any]:
    return run_job(JobType.SCOUT_REFRESH, **parameters)


def facts() -> list[Any]:
    """Everything attribution decided and told, without the run's own row and the time of the day's figures."""
    return [
        list(model.objects.order_by("pk").values(*(name.attname for name in model._meta.fields if name.name != "computed_at")))
        for model in WRITTEN
    ]  # fmt: skip


def test_a_refresh_links_then_decides_then_fills(broken_world: dict[str, Any], monkeypatch: Any) -> None:
    order: list[str] = []
    for name in ("links_step", "decide_ledger", "ledger_step", "raise_same_persons", "store_day"):
        original = getattr(fixing, name)

        def watched(*given: Any, _name: str = name, _original: Any = original, **named: Any) -> Any:
            order.append(_name)
            return _original(*given, **named)

        monkeypatch.setattr(fixing, name, watched)
    tally = refresh()
    assert order == ["links_step", "decide_ledger", "ledger_step", "raise_same_persons", "store_day"]
    assert tally["links_backfill"]["created"] == 2
    assert (tally["metrics"]["with_scout"], tally["ledger_backfill"]["inserted"]) == (4, 0)
    # A row that the same refresh linked is decided by the same refresh.
    person = Link.objects.get(source_pk=broken_world["founded"].source_pk).person_id
    assert LedgerEntry.objects.get(pk=person).attributed_scout_id == 8


def test_a_second_refresh_writes_nothing_but_the_day(broken_world: dict[str, Any]) -> None:
    refresh()
    before = facts()
    refresh()
    assert facts() == before
    refresh(dry_run=True)
    assert facts() == before


@pytest.mark.parametrize("change", ["event", "payment", "scout of a row", "row", "ledger"])
@pytest.mark.slow
def test_a_refresh_sees_what_others_wrote_without_telling(broken_world: dict[str, Any], change: str) -> None:
    """The source tables belong to other systems, and so did events and ledger; nobody writes them into our audit."""
    refresh()
    person = broken_world["in events"]
    if change == "event":
        LeadEvent.objects.filter(person=None).delete()
        a_person_with(("scouting", 5, 9))
    elif change == "payment":
        CabinetPayment.objects.create(scout_id=9, person_key=person.pk, date=day(3))
    elif change == "scout of a row":
        with connection.cursor() as cursor:
            cursor.execute(
                "update public.module_ct_scouting_daily set scout_id = 99 where id = %s",
                [broken_world["registered"].source_pk],
            )
    elif change == "row":
        a_registration("OTRA PERSONA MAS", phone=a_phone(713), scout=4)
    else:
        LedgerEntry.objects.filter(pk=person.pk).delete()
    tally = refresh()
    with connection.cursor() as cursor:
        cursor.execute(
            "select persons_with_scout_satisfactory, conflicts_count, total_persons from ops.v_scout_attribution_metrics_snapshot"
        )
        now = cursor.fetchone()
    stored = AttributionDay.objects.get()
    assert (stored.satisfactory_count, stored.conflicts_count, stored.total_persons) == now
    assert tally["metrics"]["with_scout"] == now[0]
    assert now == {
        "event": (5, 0, 6), "payment": (4, 1, 5), "scout of a row": (4, 1, 5), "row": (5, 0, 6), "ledger": (4, 0, 5),
    }[change]  # fmt: skip


def test_a_database_error_in_a_refresh_is_told_without_values(broken_world: dict[str, Any]) -> None:
    refuse("observational.lead_ledger")
    run = jobs.perform(job_code=JobType.SCOUT_REFRESH, actor="tests")
    assert run.status == RunStatus.FAILED
    assert "no place" not in str(run.error_message)
    assert not LedgerEntry.objects.exists()
