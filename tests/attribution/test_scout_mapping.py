"""The file of mapped scouts: formats, rejects, one scout per lead (Q28)."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils.translation import gettext

from attribution.models import LeadScoutMapping
from ct4site import invariants, jobs
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from ct4site.rollback import start_roll_back

pytestmark = pytest.mark.django_db


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """A function that loads text as a file; returns (exit code, tally, rejected lines with their reasons)."""

    def perform(text: str | bytes, *flags: str) -> tuple[int, dict[str, Any], dict[int, str]]:
        path = tmp_path / "mapping.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        out, code = io.StringIO(), 0
        try:
            call_command(
                "load_scout_mapping", str(path), "--rejects", str(tmp_path / "rejects"), "--json", *flags,
                stdout=out, stderr=io.StringIO(),
            )  # fmt: skip
        except CommandError as error:
            code = error.returncode
        tally = json.loads(out.getvalue() or "{}")
        rejected: dict[int, str] = {}
        if tally.get("rejects_file"):
            with Path(tally["rejects_file"]).open(encoding="utf-8", newline="") as file:
                rejected = {int(row["line"]): row["reason"] for row in csv.DictReader(file)}
        return code, tally, rejected

    return perform


def stored() -> dict[str, int]:
    return dict(LeadScoutMapping.objects.values_list("source_key", "scout_id"))


def test_every_line_with_a_lead_and_a_scout_is_stored(load):
    code, tally, _rejected = load("source_key,scout_id\nabc,7\ndef,9\n")
    assert (code, stored()) == (0, {"abc": 7, "def": 9})
    assert (tally["read"], tally["inserted"], tally["rejected"]) == (2, 2, 0)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffsource_key,scout_id\r\nabc,7\r\n",
        "scout_id;source_key\n7;abc\n",
        '"SOURCE_KEY","scout_id"\n" abc ","7"\n',
        "source_key,other,scout_id\nabc,x,7.0\n",
    ],
)
def test_the_usual_spellings_of_a_file_are_read(load, text):
    assert (load(text)[0], stored()) == (0, {"abc": 7})


def test_a_key_with_two_scouts_in_the_file_is_rejected_with_all_its_lines(load):
    code, tally, rejected = load("source_key,scout_id\nabc,7\ndef,9\nabc,8\n")
    assert (code, stored(), set(rejected)) == (3, {"def": 9}, {2, 4})
    assert (tally["read"], tally["inserted"], tally["rejected"]) == (3, 1, 2)


def test_a_key_that_has_another_scout_is_rejected_and_never_overwritten(load):
    load("source_key,scout_id\nabc,7\n")
    code, _tally, rejected = load("source_key,scout_id\nabc,8\n")
    assert (code, stored()) == (3, {"abc": 7})
    assert rejected == {2: gettext("the lead already has another scout: %(other)s") % {"other": 7}}


@pytest.mark.parametrize(
    "line", ["abc,", ",7", "abc,siete", "abc,0", "abc,-3", "abc,7.5", "abc,99999999999", "abc", "a,7,8"]
)
def test_a_line_without_a_usable_value_is_rejected_and_the_others_are_stored(load, line):
    code, tally, rejected = load(f"source_key,scout_id\n{line}\ndef,9\n")
    assert (code, stored(), set(rejected)) == (3, {"def": 9}, {2})
    assert tally["rejected"] == 1


def test_the_same_line_twice_counts_once(load):
    tally = load("source_key,scout_id\nabc,7\nabc,7\n")[1]
    assert (tally["inserted"], tally["superseded"], tally["rejected"]) == (1, 1, 0)


@pytest.mark.parametrize(
    "text",
    ["", "source_key\nabc\n", "scout_id\n7\n", "source_key,scout_id\nab\xff", b"\xff\xfe", "source_key,source_key\n"],
)
def test_a_file_that_cannot_do_is_refused_whole(load, text):
    text = text.encode("latin-1") if isinstance(text, str) else text
    assert (load(text)[0], stored()) == (1, {})


def test_loading_a_file_again_changes_nothing(load):
    load("source_key,scout_id\nabc,7\n")
    code, tally, _rejected = load("source_key,scout_id\nabc,7\n")
    assert (code, tally["inserted"], tally["unchanged"], tally["audit"]) == (0, 0, 1, 0)


def test_a_dry_run_keeps_nothing_and_tells_the_same_numbers(load):
    text = "source_key,scout_id\nabc,7\nabc,8\ndef,9\n"
    preview = load(text, "--dry-run")
    assert stored() == {}
    real = load(text)
    assert preview[0] == real[0]
    differing = {"run_id", "rejects_file"}
    assert {k: v for k, v in preview[1].items() if k not in differing} == {
        k: v for k, v in real[1].items() if k not in differing
    }


def test_a_load_is_audited_and_can_be_taken_back(load):
    load("source_key,scout_id\nabc,7\n")
    entry = AuditEntry.objects.get(subject_table="lead_scout_mapping")
    assert (entry.action, entry.before, entry.after["scout_id"]) == ("map_scout", None, 7)
    run = Run.objects.get(job_type=JobType.SCOUT_MAPPING_LOAD)
    ended = jobs.execute(start_roll_back(run_id=run.pk, actor="tests").pk)
    assert (ended.status, stored()) == (RunStatus.COMPLETED, {})
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    assert [finding.name for finding in invariants.check() if finding.count] == []
