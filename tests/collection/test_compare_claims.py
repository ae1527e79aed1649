"""The comparison of existing claims with ours: what it finds, what it refuses, that it changes nothing (Q59)."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import openpyxl
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import translation

from attribution import comparing
from attribution.models import (
    Claim,
    ClaimComparison,
    ComparedClaim,
    ExistingClaim,
    ExistingClaimList,
    PartnerPaymentRule,
)
from ct4site import jobs
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from ct4site.rollback import start_roll_back
from identity.models import DriverIndexEntry
from tests.collection.stories import (
    a_person,
    a_recruit,
    ago,
    an_account,
    broken,
    collect,
    money,
    pays,
    quarantine,
    refresh,
    state,
)

pytestmark = pytest.mark.django_db

HEADER = "driver_id,milestone,amount_expected,status,lead_source_pk,lead_date,person_key"
SOME_TRIPS = {0: 1, 3: 6, 9: 20}


class Compared(NamedTuple):
    code: int
    tally: dict[str, Any]
    rejected: dict[int, str]
    said: str

    def group(self, name: str) -> tuple[int, str, str, int, str]:
        """Claims, listed, claimed, paid claims, paid amount of a group."""
        told = self.tally["groups"][name]
        return told["rows"], told["listed"], told["claimed"], told["paid_rows"], told["paid"]

    def rows(self) -> list[ComparedClaim]:
        found = ComparedClaim.objects.filter(comparison=self.tally["comparison_id"]).order_by("pk")
        return list(found.select_related("existing"))


@pytest.fixture(autouse=True)
def _english() -> Any:
    with translation.override("en"):
        yield


@pytest.fixture
def compare(tmp_path: Path, settings: Any) -> Any:
    """A function that compares text as a file; returns what the command told."""
    settings.REPORTS_ROOT = tmp_path / "reports"

    def perform(text: str | bytes, *flags: str) -> Compared:
        path = tmp_path / "claims.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        out, said, code = io.StringIO(), io.StringIO(), 0
        try:
            call_command(
                "compare_claims", str(path), "--rejects", str(tmp_path / "rejects"), "--json", *flags, stdout=out, stderr=said
            )  # fmt: skip
        except CommandError as error:
            code = error.returncode
            said.write(str(error))
        tally = json.loads(out.getvalue() or "{}")
        rejected: dict[int, str] = {}
        if tally.get("rejects_file"):
            with Path(tally["rejects_file"]).open(encoding="utf-8", newline="") as file:
                rejected = {int(row["line"]): f"{row['column']}: {row['reason']}" for row in csv.DictReader(file)}
        return Compared(code, tally, rejected, said.getvalue())

    return perform


def line_of(claim: Claim, **other: Any) -> str:
    """The line of a list that agrees with a claim, but for what is given."""
    values = {
        "driver_id": claim.driver_id, "milestone": claim.milestone, "amount_expected": claim.amount_expected,
        "status": claim.status, "lead_source_pk": claim.lead_source_pk, "lead_date": claim.lead_date,
        "person_key": claim.person_id,
    } | other  # fmt: skip
    return ",".join("" if value is None else str(value) for value in values.values())


def listing(*lines: str) -> str:
    return "\n".join((HEADER, *lines, ""))


def a_world() -> dict[int, Claim]:
    """A recruit who reached all milestones, the first one paid; returns the three claims."""
    recruit = a_recruit(ago(40), trips=SOME_TRIPS)
    pays(recruit.name, 1)
    collect()
    return {claim.milestone: claim for claim in Claim.objects.filter(driver_id=recruit.driver_id)}


# --- groups -----------------------------------------------------------------------------------------------


def test_a_list_that_says_what_we_say_stays_the_same(compare):
    claims = a_world()
    told = compare(listing(*map(line_of, claims.values())))
    assert told.code == 0
    assert told.group("same") == (3, "160.00", "160.00", 1, "25.00")
    assert [told.group(name)[0] for name in ("appears", "disappears", "changes")] == [0, 0, 0]


def test_a_claim_that_the_list_lacks_appears_and_says_when_it_was_reached(compare):
    claims = a_world()
    told = compare(listing(line_of(claims[25])))
    assert told.group("appears") == (2, "0.00", "60.00", 1, "25.00")
    first = next(row for row in told.rows() if row.milestone == 5)
    assert comparing.explain(first).startswith("The list does not have it: M5 was reached on ")


def test_a_claim_that_we_rejected_does_not_appear(compare):
    claims = a_world()
    Claim.objects.filter(pk=claims[5].pk).update(status="rejected")
    told = compare(listing(line_of(claims[1])))
    assert [row.milestone for row in told.rows() if row.group == "appears"] == [25]


def test_of_inflated_milestones_each_disappears_with_its_trips_and_the_paid_one_first(compare):
    recruit = a_recruit(ago(40), trips={0: 3})
    collect()
    first = Claim.objects.get(driver_id=recruit.driver_id)
    told = compare(
        listing(line_of(first), line_of(first, milestone=25, amount_expected=100), line_of(first, milestone=5, amount_expected=35, status="paid"))
    )  # fmt: skip
    assert told.group("disappears") == (2, "135.00", "0.00", 1, "35.00")
    gone = told.rows()[:2]
    assert [(row.milestone, row.reason, row.trips_14d) for row in gone] == [
        (5, "not_reached", 3),
        (25, "not_reached", 3),
    ]
    assert comparing.explain(gone[0]) == (
        "The account made 3 trips in the 14 days of its best lead; M5 needs more. It is paid by the list; we know of no payment."
    )


def test_every_reason_to_disappear_is_told_apart(compare):
    claims = a_world()
    held = a_recruit(ago(40), trips={0: 1})
    gone = a_recruit(ago(40), trips={0: 1})
    loose = an_account(None)
    migrated = a_recruit(ago(40), trips={0: 0})
    collect()
    quarantine(held.driver_id)
    Claim.objects.filter(driver_id=gone.driver_id).update(eligibility_disputed=True)
    with connection.cursor() as cursor:
        cursor.execute("delete from observational.lead_trips where driver_id = %s", [migrated.driver_id])
    PartnerPaymentRule.objects.filter(origin_tag="cabinet", milestone_trips=25).update(is_active=False)
    unpaid = a_recruit(ago(40), trips={0: 30})
    collect()
    with connection.cursor() as cursor:
        cursor.execute("delete from observational.lead_trips where driver_id = %s", [migrated.driver_id])
    Claim.objects.filter(driver_id=gone.driver_id).update(eligibility_disputed=True)
    accounts = [
        (claims[1].driver_id, 1, "paid"), (claims[1].driver_id, 1, "expected"), ("nobody", 1, ""), (held.driver_id, 1, ""),
        (gone.driver_id, 1, ""), (loose, 1, ""), (migrated.driver_id, 1, ""), (unpaid.driver_id, 25, ""),
    ]  # fmt: skip
    told = compare(listing(*(f"{driver},{milestone},25,{status},,," for driver, milestone, status in accounts)))
    found = {(row.driver_id, row.reason) for row in told.rows() if row.group == "disappears"}
    assert found == {
        (claims[1].driver_id, "duplicate"), ("nobody", "unknown_account"), (held.driver_id, "out_of_operation"),
        (gone.driver_id, "disputed"), (loose, "out_of_operation"), (migrated.driver_id, "no_lead"),
        (unpaid.driver_id, "not_claimed"),
    }  # fmt: skip
    sentences = [comparing.explain(row) for row in told.rows()]
    assert all(sentence.endswith(".") and len(sentence) > 20 for sentence in sentences)
    assert sum(told.tally["reasons"][reason]["rows"] for reason in told.tally["reasons"]) == told.group("disappears")[0]


@pytest.mark.parametrize(
    ("other", "difference", "sentence"),
    [
        ({"amount_expected": "100"}, "amount", "amount S/ 100.00 → S/ 35.00"),
        ({"lead_date": "2020-01-02"}, "lead_date", "lead date 2 Jan 2020 → "),
        ({"lead_source_pk": "another"}, "lead", "lead another → "),
        ({"status": "paid"}, "status", "status Paid → Expected"),
        ({"status": "rejected"}, "status", "status Rejected → Expected"),
    ],
)
def test_what_differs_is_named_with_both_sides(compare, other, difference, sentence):
    claims = a_world()
    told = compare(listing(line_of(claims[5], **other)))
    (row,) = [row for row in told.rows() if row.group == "changes"]
    assert row.differences == [difference]
    assert sentence in comparing.explain(row)
    assert told.tally["differences"] == {difference: 1}


def test_another_person_is_a_change_only_if_we_ever_had_that_person(compare):
    claims = a_world()
    known = compare(listing(line_of(claims[5], person_key=a_person())))
    assert known.tally["differences"] == {"person": 1}
    stranger = compare(listing(line_of(claims[5], person_key="00000000-0000-4000-8000-000000000000")))
    assert stranger.tally["differences"] == {}


def test_what_the_list_does_not_say_is_not_compared(compare):
    claims = a_world()
    told = compare(f"driver_id,milestone,amount_expected\n{claims[5].driver_id},5,35\n")
    assert told.group("same")[0] == 1


def test_of_claims_per_lead_the_paid_one_is_compared_else_the_one_of_our_lead(compare):
    claims = a_world()
    other = {"lead_source_pk": "other", "lead_date": "2020-01-02"}
    told = compare(
        listing(
            line_of(claims[1], status="expected"), line_of(claims[1], **other, status="paid"),
            line_of(claims[5], **other), line_of(claims[5]),
        )
    )  # fmt: skip
    rows = {(row.existing.line, row.group, row.reason, row.same_as_line) for row in told.rows() if row.existing}
    assert rows == {
        (2, "disappears", "duplicate", 3), (3, "changes", None, None), (4, "disappears", "duplicate", 5), (5, "same", None, None),
    }  # fmt: skip


def test_a_payment_that_only_we_know_of_marks_a_claim_as_paid(compare):
    claims = a_world()
    told = compare(listing(line_of(claims[1], status="expected")))
    (row,) = [row for row in told.rows() if row.group == "changes"]
    assert (row.is_paid, row.payment_known, row.differences) == (True, True, ["status"])
    assert comparing.explain(row).endswith("It is paid by the partner's payments.")


def test_a_paid_milestone_that_was_never_reached_is_marked_when_it_disappears(compare):
    recruit = a_recruit(ago(40), trips={0: 1})
    pays(recruit.name, 1, 5)
    collect()
    told = compare(listing(f"{recruit.driver_id},5,35,expected,,,"))
    assert told.group("disappears") == (1, "35.00", "0.00", 1, "35.00")


def test_totals_are_exact_to_the_cent_and_every_row_is_in_one_group(compare):
    claims = a_world()
    lines = [
        line_of(claims[1], amount_expected="0.10"),
        line_of(claims[5], amount_expected="0.20"),
        "x,1,0.30,,,,",
        "y,1,9999999999.99,,,,",
    ]
    told = compare(listing(*lines))
    totals = comparing.group_totals(ClaimComparison.objects.get())
    assert sum(row["listed"] for row in totals[:-1]) == totals[-1]["listed"] == Decimal("10000000000.59")
    assert totals[-1]["claimed"] == money(160)
    assert totals[-1]["difference"] == Decimal("-9999999840.59")
    assert totals[-1]["rows"] == len(told.rows()) == 5
    assert ExistingClaimList.objects.get().amount == totals[-1]["listed"]


# --- nothing is changed, and it may run again -------------------------------------------------------------


def test_a_comparison_changes_no_claim_and_writes_no_audit(compare):
    claims = a_world()
    before = state(), AuditEntry.objects.count()
    compare(listing(line_of(claims[1], status="rejected", amount_expected="7"), "nobody,5,35,paid,,,"))
    assert (state(), AuditEntry.objects.count()) == before
    assert broken() == []


def test_the_same_rows_are_kept_once_and_every_comparison_is_kept(compare):
    claims = a_world()
    lines = [line_of(claims[1]), line_of(claims[5])]
    first = compare(listing(*lines))
    again = compare(listing(*reversed(lines)))
    assert (first.tally["list_is_new"], again.tally["list_is_new"]) == (True, False)
    assert first.tally["list_id"] == again.tally["list_id"]
    assert (ExistingClaimList.objects.count(), ExistingClaim.objects.count()) == (1, 2)
    assert ClaimComparison.objects.count() == 2
    assert first.tally["groups"] == again.tally["groups"]


def test_a_comparison_stays_as_it_was_when_the_claims_change(compare):
    recruit = a_recruit(ago(10), trips={0: 1})
    collect()
    text = listing(line_of(Claim.objects.get()))
    first = compare(text)
    pays(recruit.name, 1)
    refresh()
    second = compare(text)
    assert (first.group("same")[0], second.group("changes")[0]) == (1, 1)
    assert [row.claim_status for row in first.rows()] == ["expected"]
    assert ClaimComparison.objects.get(pk=first.tally["comparison_id"]).figures["groups"]["same"]["rows"] == 1


def test_a_dry_run_tells_the_same_numbers_and_keeps_nothing(compare, tmp_path):
    claims = a_world()
    text = listing(line_of(claims[1]), "nobody,5,35,paid,,,")
    preview = compare(text, "--dry-run")
    assert (ClaimComparison.objects.count(), ExistingClaimList.objects.count()) == (0, 0)
    assert not (tmp_path / "reports").exists()
    real = compare(text)
    assert preview.tally["groups"] == real.tally["groups"]


def test_a_comparison_can_be_taken_back_like_any_run_and_changes_nothing_then_either(compare):
    a_world()
    compare(listing("nobody,5,35,paid,,,"))
    run = Run.objects.get(job_type=JobType.CLAIMS_COMPARISON)
    assert jobs.execute(start_roll_back(run_id=run.pk, actor="tests").pk).status == RunStatus.COMPLETED


def test_the_roll_back_of_a_refresh_is_not_held_up_by_comparisons(compare):
    claims = a_world()
    compare(listing(line_of(claims[1])))
    run = Run.objects.filter(job_type=JobType.COLLECTION_REFRESH).latest("pk")
    assert jobs.execute(start_roll_back(run_id=run.pk, actor="tests").pk).status == RunStatus.COMPLETED
    assert Claim.objects.count() == 0
    assert [comparing.explain(row) for row in ComparedClaim.objects.all()]


# --- files that are not as they should be -----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffdriver_id,milestone,amount_expected\r\n{driver},5,35\r\n",
        "amount_expected;milestone;driver_id\n35.00;M5;{driver}\n",
        '"DRIVER_ID","milestone","amount_expected","notes"\n" {upper} ","5.0","35.0","x"\n',
        "driver_id,milestone,amount_expected,status,paid\n{driver},5,35,UNPAID,no\n",
        "driver_id,milestone,amount_expected,paid\n{driver},5,35,false\n",
        "driver_id,milestone,amount_expected,status\n{driver},5,35,PAID_MISAPPLIED\n",
    ],
)
def test_the_usual_spellings_of_a_list_are_read(compare, text):
    claims = a_world()
    driver = claims[5].driver_id
    told = compare(text.format(driver=driver, upper=driver.upper()))
    assert (told.code, told.group("same")[0]) == (0, 1)


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (",5,35,,,,", "driver_id"),
        ("x,,35,,,,", "milestone"),
        ("x,7,35,,,,", "milestone"),
        ("x,five,35,,,,", "milestone"),
        ("x,99999999999999999999,35,,,,", "milestone"),
        ("x,5,,,,,", "amount_expected"),
        ("x,5,-35,,,,", "amount_expected"),
        ("x,5,S/ 35,,,,", "amount_expected"),
        ("x,5,35.005,,,,", "amount_expected"),
        ("x,5,1e5,,,,", "amount_expected"),
        ("x,5,NaN,,,,", "amount_expected"),
        ("x,5,10000000000,,,,", "amount_expected"),
        ("x,5," + "9" * 4000 + ",,,,", "amount_expected"),
        ("x,5,٣٥,,,,", "amount_expected"),
        ("x,5,=1+1,,,,", "amount_expected"),
        ("x,5,35,settled,,,", "status"),
        ("x,5,35,,,2026-02-30,", "lead_date"),
        ("x,5,35,,,,nobody", "person_key"),
        ("x" * 501 + ",5,35,,,,", "driver_id"),
        ("x,5", ""),
    ],
)
def test_a_row_that_cannot_be_read_is_rejected_by_name_and_the_others_are_compared(compare, line, column):
    told = compare(listing("nobody,5,35,,,,", line))
    assert told.code == 3
    assert told.rejected.keys() == {3}
    assert told.rejected[3].startswith(f"{column}: ")
    assert len(told.rejected[3]) > len(column) + 10
    assert (told.tally["read"], told.tally["compared"], told.tally["rejected"]) == (2, 1, 1)
    assert ClaimComparison.objects.get().rejected_count == 1


def test_a_row_that_says_paid_and_not_paid_is_rejected(compare):
    told = compare(
        "driver_id,milestone,amount_expected,status,paid\nx,5,35,expected,yes\nx,1,25,paid,no\ny,1,25,paid,yes\n"
    )
    assert (told.code, set(told.rejected), told.tally["compared"]) == (3, {2, 3}, 1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"", "empty"), (b"driver_id,milestone\nx,5\n", "amount_expected"), (b"milestone,amount_expected\n5,35\n", "driver_id"),
        (b"\xff\xfe", "UTF-8"), (b"driver_id,milestone,amount_expected\nx\0,5,35\n", "Line 2"),
        (b"driver_id,driver_id,milestone,amount_expected\n", "driver_id"),
        (b'driver_id,milestone,amount_expected\n"x,5,35\n', "Line 2"), (b"PK\x03\x04\x14\x00", "no text file"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_do_is_refused_whole(compare, text, named):
    told = compare(text)
    assert (told.code, told.tally) == (1, {})
    assert "claims.csv" in told.said and named in told.said.partition("claims.csv")[2]
    assert (ClaimComparison.objects.count(), ExistingClaimList.objects.count()) == (0, 0)


@pytest.mark.parametrize("name", ["gone.csv", "."])
def test_a_file_that_is_not_there_or_is_a_folder_is_named_and_nothing_is_kept(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(CommandError) as refused:
        call_command("compare_claims", str(path))
    assert path.resolve().name in str(refused.value) and refused.value.returncode == 1
    assert (ClaimComparison.objects.count(), ExistingClaimList.objects.count()) == (0, 0)


def test_a_folder_outside_the_reports_is_refused_before_anything_is_read(compare):
    told = compare(listing("nobody,5,35,,,,"), "--output-dir", "/etc")
    assert told.code == 1
    assert not Run.objects.filter(job_type=JobType.CLAIMS_COMPARISON).exists()


def test_a_list_without_rows_lets_everything_appear(compare):
    a_world()
    told = compare(f"{HEADER}\n")
    assert (told.code, told.group("appears")[0], told.tally["read"]) == (0, 3, 0)


# --- the files it writes ----------------------------------------------------------------------------------


def test_the_report_is_three_files_with_the_same_rows(compare, tmp_path):
    claims = a_world()
    driver = DriverIndexEntry.objects.get(pk=claims[1].driver_id)
    told = compare(listing(line_of(claims[1]), "nobody,5,35,paid,,2026-01-02,"), "--output-dir", "october")
    paths = {Path(name).suffix: tmp_path / "reports" / name for name in told.tally["reports"]}
    assert {path.parent.name for path in paths.values()} == {"october"}
    assert {path.stat().st_mode & 0o077 for path in paths.values()} == {0}
    report = json.loads(paths[".json"].read_text(encoding="utf-8"))
    with paths[".csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    book = openpyxl.load_workbook(paths[".xlsx"])
    totals, sheet = book.worksheets
    assert [row["explanation"] for row in report["claims"]] == [row["explanation"] for row in rows]
    assert [row["explanation"] for row in rows] == [cell.value for cell in sheet["R"][1:]]
    assert [row["driver_name"] for row in rows if row["driver_id"] == driver.pk] == [driver.full_name_norm] * 3
    assert report["figures"]["groups"] == told.tally["groups"]
    assert [cell.value for cell in totals["C"][1:6]] == [35, 0, 0, 25, 60]


def test_no_text_of_a_list_becomes_a_formula(compare, tmp_path):
    hostile = ["=1+1", "@sum(a1)", "+51", "-1", "#n/a", "=hyperlink(a1)"]
    told = compare(listing(*(f"{text},5,35,,{text},," for text in hostile)))
    assert told.code == 0
    paths = {Path(name).suffix: tmp_path / "reports" / name for name in told.tally["reports"]}
    with paths[".csv"].open(encoding="utf-8", newline="") as file:
        written = {row["driver_id"] for row in csv.DictReader(file)}
    assert written == {text if text[0] == "#" else f"'{text}" for text in hostile}
    sheet = openpyxl.load_workbook(paths[".xlsx"]).worksheets[1]
    cells = [cell for row in sheet.iter_rows(min_row=2) for cell in row]
    assert {cell.data_type for cell in cells}.isdisjoint({"f", "e"})
    assert {cell.value for cell in sheet["C"][1:]} == set(hostile)


def test_a_folder_that_cannot_be_written_fails_the_run_and_keeps_the_comparison(compare, tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "taken").write_text("a file", encoding="utf-8")
    told = compare(listing("nobody,5,35,,,,"), "--output-dir", "taken")
    assert told.code == 1
    assert "taken" in told.said
    assert ClaimComparison.objects.count() == 1
