"""``manage.py fix_drivers_without_leads``: runbook RB3's flags, files and fields; a dry run tells what a run would do."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django_q.models import OrmQ

from ct4site.models import JobType, Run
from identity.models import LeadEvent, Link
from orphans import jobs
from orphans.models import QuarantineChange, QuarantinedDriver
from tests.factories import (
    JUAN,
    LEAD_DATE,
    PEDRO,
    ROSA,
    Orphan,
    a_migration,
    a_phone,
    a_registration,
    an_event,
    an_orphan,
    case_of,
    link_of,
    state_hash,
    verdict,
)

pytestmark = pytest.mark.django_db

COMMAND = "fix_drivers_without_leads"
STATS = [
    "processed", "with_events", "without_events", "links_created", "links_skipped", "quarantined",
    "resolved_relinked", "errors",
]  # fmt: skip
FIELDS = [
    "driver_id", "person_key", "creation_rule", "lead_events_count", "action", "status", "detected_driver_id_path",
    "event_source_table", "links_created", "error",
]  # fmt: skip
MORE_FIELDS = [
    "previous_status", "matched_event_count", "match_strategy", "matched_source_table", "matched_event_sample_ids",
    "normalized_event_license", "normalized_event_phone",
]  # fmt: skip
PHONE, LICENCE = a_phone(900), "Q29000001"


def fix(*arguments: str) -> dict[str, Any]:
    """Run the command; return what --json says."""
    out = io.StringIO()
    call_command(COMMAND, "--json", *arguments, stdout=out, stderr=io.StringIO())
    with connection.cursor() as cursor:
        cursor.execute("discard temp")  # a test's transaction does not commit, so nothing else drops them
    return dict(json.loads(out.getvalue()))


def runs() -> list[Run]:
    return list(Run.objects.filter(job_type=JobType.ORPHANS_FIX))


def report_of(told: dict[str, Any], root: Path) -> dict[str, Any]:
    return dict(json.loads((root / told["report"]).read_text("utf-8")))


def rows_of(told: dict[str, Any], root: Path) -> list[list[str]]:
    with (root / told["report"]).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def orphans_of_every_kind() -> dict[str, Orphan]:
    """One orphan for every action a report can name."""
    found = {"relinked": an_orphan(JUAN, licence=LICENCE, rule="R2_LICENSE_EXACT"), "migrated": an_orphan(PEDRO)}
    a_registration(JUAN, licence=LICENCE)
    a_migration(found["migrated"].driver_id)
    found["alone"] = an_orphan(ROSA)
    found["contradicted"] = an_orphan(ROSA, phone=PHONE)
    a_registration(PEDRO, phone=PHONE)
    found["weak"] = an_orphan(ROSA)
    an_event(a_registration(ROSA), person=found["weak"].person)
    found["legacy"] = an_orphan(ROSA, linked=dt.date(2023, 5, 1))
    return found


# --- dry run and run ----------------------------------------------------------------------------------


def test_without_execute_nothing_changes_and_the_report_tells_what_would(reports_root: Path) -> None:
    orphans_of_every_kind()
    before = state_hash()
    told = fix()
    assert told["dry_run"] is True
    assert (told["processed"], told["resolved_relinked"], told["quarantined"]) == (6, 2, 4)
    assert state_hash() == before
    assert not QuarantineChange.objects.exists()
    assert report_of(told, reports_root)["dry_run"] is True


@pytest.mark.parametrize("chunk", [1, 1000])
@pytest.mark.parametrize("arguments", [(), ("--limit", "4")])
def test_dry_run_and_execution_report_the_same(
    chunk: int, arguments: tuple[str, ...], reports_root: Path, settings: Any
) -> None:
    settings.CHUNK_SIZE = chunk
    orphans_of_every_kind()
    reports = [report_of(fix(*mode, *arguments), reports_root) for mode in ((), ("--dry-run",), ("--execute",))]
    assert [report.pop("dry_run") for report in reports] == [True, True, False]
    assert len({report.pop("timestamp") for report in reports}) == 3
    assert reports[0] == reports[1] == reports[2]
    assert reports[0]["stats"]["processed"] == (4 if arguments else 6)


def test_dry_run_and_execution_report_the_same_when_looking_again(reports_root: Path) -> None:
    orphans_of_every_kind()
    fix("--execute")
    a_registration(ROSA, phone=PHONE)
    reports = [report_of(fix("--reprocess-quarantined", *mode), reports_root) for mode in ((), ("--execute",))]
    for report in reports:
        del report["dry_run"], report["timestamp"]
    assert reports[0] == reports[1]
    assert (reports[0]["stats"]["processed"], reports[0]["stats"]["resolved_relinked"]) == (4, 1)


def test_a_second_execution_processes_nobody(reports_root: Path) -> None:
    orphans_of_every_kind()
    assert fix("--execute")["processed"] == 6
    before = state_hash()
    again = fix("--execute")
    assert report_of(again, reports_root)["stats"] == dict.fromkeys(STATS, 0)
    assert (again["audit"], report_of(again, reports_root)["drivers"]) == (0, [])
    assert state_hash() == before


def test_both_execute_and_dry_run_are_a_contradiction() -> None:
    with pytest.raises(CommandError, match="--execute"):
        fix("--execute", "--dry-run")
    assert not runs()


# --- the files ----------------------------------------------------------------------------------------


def test_the_report_has_the_names_and_fields_of_the_runbook(reports_root: Path) -> None:
    orphans = orphans_of_every_kind()
    told = fix("--execute")
    match = re.fullmatch(r"orphans_report_(\d{8}_\d{6})\.json", told["report"])
    assert match
    report = report_of(told, reports_root)
    assert list(report) == ["timestamp", "dry_run", "mode", "stats", "drivers"]
    assert (report["timestamp"], report["mode"]) == (match[1], "fix_new_orphans")
    assert list(report["stats"]) == STATS
    assert report["stats"] == {name: told[name] for name in STATS}
    assert [list(driver) for driver in report["drivers"]] == [FIELDS] * 6
    by_driver = {driver["driver_id"]: driver for driver in report["drivers"]}
    seen = {
        name: (
            by_driver[orphan.driver_id]["action"], by_driver[orphan.driver_id]["status"],
            by_driver[orphan.driver_id]["lead_events_count"], by_driver[orphan.driver_id]["detected_driver_id_path"],
            by_driver[orphan.driver_id]["event_source_table"], by_driver[orphan.driver_id]["links_created"],
        )
        for name, orphan in orphans.items()
    }  # fmt: skip
    scouting, migrations = "module_ct_scouting_daily", "module_ct_migrations"
    mapped, named, no_events = "via_license_phone_mapping", "payload_json.driver_id", "no_events_found"
    assert seen == {
        "relinked": ("resolved_relinked", "resolved_relinked", 1, mapped, scouting, 1),
        "migrated": ("resolved_relinked", "resolved_relinked", 1, named, migrations, 1),
        "alone": ("quarantined", "quarantined", 0, no_events, None, 0),
        "contradicted": ("quarantined_repair_failed", "quarantined", 1, mapped, scouting, 0),
        "weak": ("skipped_ambiguous", "quarantined", 1, "via_person_key", scouting, 0),
        "legacy": ("quarantined_legacy", "quarantined", 0, no_events, None, 0),
    }
    assert (
        by_driver[orphans["relinked"].driver_id] | {"links_created": 1, "error": None}
        == (by_driver[orphans["relinked"].driver_id])
    )
    assert by_driver[orphans["relinked"].driver_id]["creation_rule"] == "R2_LICENSE_EXACT"
    assert by_driver[orphans["relinked"].driver_id]["person_key"] == str(orphans["relinked"].person)


def test_the_numbers_of_the_report_add_up(reports_root: Path) -> None:
    orphans_of_every_kind()
    report = report_of(fix("--execute"), reports_root)
    stats, drivers = report["stats"], report["drivers"]
    assert stats["processed"] == stats["with_events"] + stats["without_events"] == len(drivers)
    assert stats["processed"] == stats["quarantined"] + stats["resolved_relinked"] + stats["errors"]
    assert stats["links_created"] == sum(driver["links_created"] for driver in drivers)
    assert stats["links_created"] == Link.objects.filter(match_rule="LEAD_EVENT_RECONSTRUCTION").count()
    assert stats["quarantined"] == QuarantinedDriver.objects.filter(status="quarantined").count()


def test_the_table_holds_the_same_rows_as_the_report(reports_root: Path) -> None:
    orphans_of_every_kind()
    told = fix()
    header, *rows = rows_of(told, reports_root)
    assert header == FIELDS
    assert rows == [
        ["" if value is None else str(value) for value in driver.values()]
        for driver in report_of(told, reports_root)["drivers"]
    ]


def test_looking_again_has_a_report_of_its_own_with_more_fields(reports_root: Path) -> None:
    orphan = an_orphan(JUAN, phone=PHONE, licence=LICENCE)
    alone = an_orphan(ROSA)
    fix("--execute")
    event = an_event(
        a_registration(JUAN, phone=PHONE, licence=LICENCE), phone_norm=PHONE, license_norm=LICENCE, name_norm=JUAN
    )
    told = fix("--reprocess-quarantined", "--execute")
    assert re.fullmatch(r"reprocess_quarantined_\d{8}_\d{6}\.json", told["report"])
    report = report_of(told, reports_root)
    assert report["mode"] == "reprocess_quarantined"
    assert [list(driver) for driver in report["drivers"]] == [FIELDS + MORE_FIELDS] * 2
    by_driver = {driver["driver_id"]: driver for driver in report["drivers"]}
    assert {name: by_driver[orphan.driver_id][name] for name in MORE_FIELDS} == {
        "previous_status": "quarantined", "matched_event_count": 1, "match_strategy": "both_exact",
        "matched_source_table": "module_ct_scouting_daily", "matched_event_sample_ids": [event],
        "normalized_event_license": LICENCE, "normalized_event_phone": PHONE,
    }  # fmt: skip
    assert by_driver[alone.driver_id]["matched_event_count"] == 0
    header, *rows = rows_of(told, reports_root)
    assert header == FIELDS + MORE_FIELDS
    assert [row[header.index("matched_event_sample_ids")] for row in rows if row[0] == orphan.driver_id] == [
        f"[{event}]"
    ]


def test_cells_of_the_table_are_no_formulas(reports_root: Path) -> None:
    orphan = an_orphan(driver_id="=cmd|' /C calc'!A0", rule="@SUM(1+1)*cmd|' /C calc'!A0")
    told = fix()
    header, row = rows_of(told, reports_root)
    cells = dict(zip(header, row, strict=True))
    assert (cells["driver_id"], cells["creation_rule"]) == (f"'{orphan.driver_id}", "'@SUM(1+1)*cmd|' /C calc'!A0")
    assert report_of(told, reports_root)["drivers"][0]["driver_id"] == orphan.driver_id


# --- where the files go -------------------------------------------------------------------------------


def test_a_folder_below_the_root_is_made_when_it_is_missing(reports_root: Path) -> None:
    told = fix("--output-dir", "2026/orphans")
    assert Path(told["report"]).parent == Path("2026/orphans")
    assert report_of(told, reports_root)["drivers"] == []


def test_an_absolute_folder_below_the_root_is_taken(reports_root: Path) -> None:
    assert Path(fix("--output-dir", str(reports_root / "here"))["report"]).parent == Path("here")


@pytest.mark.parametrize(
    "folder",
    ["..", "../elsewhere", "a/../../elsewhere", "/", "a\0b", "x" * 300, "x/" * 40 + "../" * 41 + "elsewhere", "{outside}", "{link}", "{link}/deeper"],
    ids=["parent", "sibling", "detour", "root", "nul", "too long", "long detour", "absolute", "link", "through link"],
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
    an_orphan()
    with pytest.raises(CommandError) as refused:
        fix("--execute", "--output-dir", folder.format(outside=outside, link=link))
    assert refused.value.returncode == 1
    assert not runs()
    assert not QuarantinedDriver.objects.exists()
    assert list(outside.iterdir()) == []


def test_a_tilde_is_no_home_folder(reports_root: Path) -> None:
    """No shell has read it: it is a folder of that name inside the root, or it is refused."""
    home = set(Path.home().iterdir())
    told = fix("--output-dir", "~")
    assert (reports_root / told["report"]).is_file()
    assert set(Path.home().iterdir()) == home


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_only_their_owner_may_read_the_files(reports_root: Path) -> None:
    told = fix()
    for suffix in (".json", ".csv"):
        path = (reports_root / told["report"]).with_suffix(suffix)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- flags --------------------------------------------------------------------------------------------


def test_limit_takes_the_oldest_links_and_the_next_run_the_rest(reports_root: Path) -> None:
    orphans = [an_orphan(linked=dt.date(2025, 12, 20 + number)) for number in (3, 1, 2)]
    first = report_of(fix("--execute", "--limit", "2"), reports_root)
    assert {driver["driver_id"] for driver in first["drivers"]} == {orphans[1].driver_id, orphans[2].driver_id}
    assert fix("--execute", "--limit", "2")["processed"] == 1


@pytest.mark.parametrize("limit", ["0", "-1", "many", "1.5"])
def test_a_limit_that_is_no_positive_number_is_refused(limit: str) -> None:
    with pytest.raises(CommandError):
        fix("--limit", limit)
    assert not runs()


def test_queue_hands_the_same_run_to_the_worker(reports_root: Path) -> None:
    orphan = an_orphan()
    told = fix("--execute", "--queue", "--limit", "7", "--output-dir", "later")
    assert told["status"] == "QUEUED"
    assert OrmQ.objects.count() == 1
    run = Run.objects.get(pk=told["run_id"])
    assert (run.dry_run, run.parameters) == (False, {"limit": 7, "output_dir": str(reports_root / "later")})
    assert case_of(orphan.driver_id) is None


def test_people_are_told_where_the_report_is(reports_root: Path) -> None:
    err = io.StringIO()
    out = io.StringIO()
    call_command(COMMAND, stdout=out, stderr=err)
    assert out.getvalue() == ""
    assert str(next(reports_root.glob("*.json"))) in err.getvalue()


# --- what changes while a run decides -----------------------------------------------------------------


def test_drivers_changed_since_the_plan_are_left_alone_and_the_exit_code_says_so(
    reports_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between plan and apply a person decides one driver, and another one's record is linked elsewhere."""
    decided, robbed, quiet = an_orphan(ROSA), an_orphan(JUAN, licence=LICENCE), an_orphan(PEDRO)
    record = a_registration(JUAN, licence=LICENCE)
    stranger = an_orphan(JUAN)
    stored = jobs.store_plan

    def store_plan_then_life_goes_on(*arguments: Any) -> None:
        stored(*arguments)
        QuarantinedDriver.objects.create(
            driver_id=decided.driver_id, person_id=decided.person, detected_reason="manual_detection",
            status="quarantined", evidence_json={"seen": "by a person"},
        )  # fmt: skip
        Link.objects.create(
            person_id=stranger.person, source_table=record.source_table, source_pk=record.source_pk,
            snapshot_date=dt.datetime(2026, 1, 10, tzinfo=dt.UTC), match_rule="MANUAL_RESOLUTION", match_score=100,
            confidence_level="HIGH",
        )  # fmt: skip

    monkeypatch.setattr(jobs, "store_plan", store_plan_then_life_goes_on)
    with pytest.raises(CommandError) as raised:
        fix("--execute")
    assert raised.value.returncode == 1
    monkeypatch.undo()
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    (path,) = reports_root.glob("*.json")
    report = json.loads(path.read_text("utf-8"))
    errors = {driver["driver_id"] for driver in report["drivers"] if driver["error"]}
    assert errors == {decided.driver_id, robbed.driver_id, stranger.driver_id}
    assert (report["stats"]["processed"], report["stats"]["errors"], report["stats"]["quarantined"]) == (4, 3, 1)
    assert report["stats"]["links_created"] == 0
    assert verdict(decided.driver_id) == ("quarantined", "manual_detection")
    assert verdict(quiet.driver_id) == ("quarantined", "no_lead_no_events")
    assert case_of(robbed.driver_id) is None
    assert link_of(record).person_id == stranger.person
    assert Run.objects.latest("pk").stats["errors"] == 3

    told = fix("--execute")
    assert (told["processed"], told["errors"]) == (1, 0)
    assert verdict(robbed.driver_id) == ("quarantined", "no_lead_has_events_repair_failed")


def test_an_event_with_only_the_person_of_its_driver_is_no_crash(reports_root: Path) -> None:
    """The predecessor failed here, and committed nothing."""
    weak, good = an_orphan(ROSA), an_orphan(JUAN, licence=LICENCE)
    an_event(a_registration(ROSA), person=weak.person, on=LEAD_DATE)
    a_registration(JUAN, licence=LICENCE)
    told = fix("--execute")
    assert (told["status"], told["resolved_relinked"], told["quarantined"], told["errors"]) == ("COMPLETED", 1, 1, 0)
    assert LeadEvent.objects.filter(person_id=good.person).count() == 1
