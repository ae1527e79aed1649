"""Existing claims, told in a file, against the claims as they are now: what would appear, disappear, change (Q59).

The rules are sql/jobs/compare_claims*.sql. Nothing is claimed, paid or changed by a comparison (RB0, principle 4): it
keeps the list and what it found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.utils import dateformat, timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from attribution.collection_models import ClaimStatus, OriginTag, PartnerPaymentRule
from attribution.comparison_models import (
    ClaimComparison,
    ClaimDifference,
    ComparedClaim,
    ComparisonGroup,
    DisappearReason,
)
from ct4site.jobs import JobError, RunContext, job, statement
from ct4site.models import JobType
from ct4site.reports import report_folder, write_reports
from ct4site.spreadsheets import Sheet, write_xlsx
from identity.models import DriverIndexEntry
from identity.sources.files import Column, CsvFile, one_of, to_moment, to_text
from identity.sources.reading import FORMATS

REPORT = "CLAIMS_COMPARISON"
CHUNK = 2000

# --- the file ---------------------------------------------------------------------------------------

_AMOUNT = re.compile(r"\d+(\.\d{1,2})?", re.ASCII)
_LARGEST_AMOUNT = Decimal("9999999999.99")  # numeric(12,2)

# What the exports of collection call a claim that is not paid (domain.md 12.4, 12.5).
_UNPAID = {"unpaid": "expected", "not_paid": "expected", "paid_misapplied": "expected"}


def _to_amount(text: str) -> str:
    if text.startswith("-") and _AMOUNT.fullmatch(text[1:]):
        raise ValueError(_("an amount cannot be negative"))
    if not _AMOUNT.fullmatch(text):
        raise ValueError(_("not an amount; write it like 35.00, without currency or thousands separators"))
    if len(text) > 15 or Decimal(text) > _LARGEST_AMOUNT:
        raise ValueError(_("number too large"))
    return text


def _to_milestone(known: list[int]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        number = int(FORMATS["int4"].convert(text.upper().removeprefix("M")))
        if number not in known:
            raise ValueError(_("not one of %(words)s") % {"words": ", ".join(map(str, known))})
        return str(number)

    return convert


def _columns() -> tuple[Column, ...]:
    """The columns of a list, named as the predecessor's table of claims names them (domain.md 3.7)."""
    rules = PartnerPaymentRule.objects.filter(origin_tag=OriginTag.CABINET).order_by()
    milestones = sorted(set(rules.values_list("milestone_trips", flat=True)))
    status = one_of(ClaimStatus.values, lambda text: _UNPAID.get(text.lower(), text.lower()))
    return (
        Column("driver_id", lambda text: to_text(text).lower(), required=True),
        Column("milestone", _to_milestone(milestones), required=True),
        Column("amount_expected", _to_amount, required=True),
        Column("status", status),
        Column("paid", FORMATS["bool"].convert),
        Column("person_key", FORMATS["uuid"].convert),
        Column("lead_source_pk", to_text),
        Column("lead_date", FORMATS["date"].convert),
        Column("paid_at", to_moment),
    )


_STAGE = """
create temp table listed_claims (
    line bigint, driver_id text, milestone integer, amount_expected numeric(12, 2), status text, paid boolean,
    person_key uuid, lead_source_pk text, lead_date date, paid_at timestamptz
) on commit drop
"""
_CONTRADICTING = "delete from listed_claims where paid <> (status = 'paid') returning line, status"


# --- the job ----------------------------------------------------------------------------------------


@job(
    JobType.CLAIMS_COMPARISON,
    purpose=gettext_lazy("Compares a list of existing claims with ours; changes neither."),
    parameters=("file", "rejects_dir", "output_dir"),
    queueable=False,
)
def compare_claims(context: RunContext) -> None:
    """Compare a file of existing claims with the claims as they are now; keep the comparison, write it as files (Q59).

    Parameters: ``file``, ``rejects_dir``, ``output_dir`` (below the reports root). Rows that cannot be read are rejected
    and not compared. The same rows are kept once, however often they are told; every run is a comparison of its own.
    The tally holds the figures and the names of the files; a dry run keeps and writes nothing. Raises ``JobError``
    when the file is refused as a whole, or the report cannot be written: the comparison is kept then.
    """
    given = context.parameters
    folder = report_folder(given.get("output_dir"))
    file = CsvFile(Path(given["file"]), "listed_claims", _columns(), Path(given["rejects_dir"]))
    try:
        with context.transaction():
            comparison_id = _compare(context, file)
    except BaseException:
        file.rejects.discard()
        raise
    if not context.run.dry_run:
        context.tally["reports"] = write_files(ClaimComparison.objects.get(pk=comparison_id), folder)


def _compare(context: RunContext, file: CsvFile) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_STAGE)
        file.copy(cursor, lambda rows: context.progress("read", rows))
        cursor.execute(_CONTRADICTING)
        reason = _("paid contradicts status; say it once, or the same in both")
        file.reject_lines({line: ("paid", reason) for line, _status in cursor.fetchall()})
        context.progress("plan", file.read, file.read)
        asked = {"run_id": context.run_id, "file_name": file.path.name}
        list_id, is_new = statement("compare_claims_list", asked)
        cursor.execute("drop table listed_claims; analyze ops.existing_claims")
    tally = file.tally({"compared": file.read - file.rejects.count})
    comparison_id, figures = statement(
        "compare_claims",
        {
            "list_id": list_id, "actor": context.run.actor, "run_id": context.run_id, "rejected": file.rejects.count,
        },
    )  # fmt: skip
    context.tally.update(
        {**tally, "list_id": list_id, "list_is_new": is_new, "comparison_id": comparison_id, **json.loads(figures)}
    )
    context.progress("apply", file.read, file.read)
    return int(comparison_id)


# --- what a comparison says -------------------------------------------------------------------------


def explain(row: ComparedClaim) -> str:
    """Return in one sentence what becomes of a claim, and why; of a paid one a second, that it is paid."""
    if row.group == ComparisonGroup.SAME:
        said = _("The list and CT4 agree.")
    elif row.group == ComparisonGroup.APPEARS:
        said = _("The list does not have it: M%(milestone)s was reached on %(day)s by the lead of %(lead)s.") % {
            "milestone": row.milestone, "day": _day(row.claim_achieved_date), "lead": _day(row.claim_lead_date),
        }  # fmt: skip
    elif row.group == ComparisonGroup.CHANGES:
        changes = "; ".join(_change(row, ClaimDifference(code)) for code in row.differences)
        said = _("The same claim with something else: %(changes)s.") % {"changes": changes}
    else:
        said = _why_it_disappears(row)
    return f"{said} {_paid(row)}" if row.is_paid else said


def _why_it_disappears(row: ComparedClaim) -> str:
    if row.reason == DisappearReason.DUPLICATE:
        return _("Line %(line)s claims the same milestone of the same account; it can be claimed once.") % {
            "line": row.same_as_line
        }
    if row.reason == DisappearReason.NOT_REACHED:
        made = ngettext("%(number)s trip", "%(number)s trips", row.trips_14d or 0) % {"number": row.trips_14d}
        return _("The account made %(trips)s in the 14 days of its best lead; M%(milestone)s needs more.") % {
            "trips": made, "milestone": row.milestone,
        }  # fmt: skip
    return str(_REASONS[DisappearReason(str(row.reason))])


_REASONS = {
    DisappearReason.UNKNOWN_ACCOUNT: gettext_lazy("No driver of ours has this account."),
    DisappearReason.OUT_OF_OPERATION: gettext_lazy(
        "The account may not operate: it is in quarantine, or linked to no person who has a lead."
    ),
    DisappearReason.DISPUTED: gettext_lazy(
        "It was claimed, and the milestone is no longer reached: the claim stays, marked as disputed."
    ),
    DisappearReason.NO_LEAD: gettext_lazy("No dated lead of the cabinet leads to the account."),
    DisappearReason.NOT_CLAIMED: gettext_lazy(
        "The trips are there and no claim is: no rule pays for them, or collection was not refreshed since."
    ),
}


def _paid(row: ComparedClaim) -> str:
    listed = row.existing is not None and row.existing.status == ClaimStatus.PAID
    if listed and row.payment_known:
        return _("It is paid, by the list and by the partner's payments.")
    if listed:
        return _("It is paid by the list; we know of no payment.")
    return _("It is paid by the partner's payments.")


def _change(row: ComparedClaim, what: ClaimDifference) -> str:
    listed = row.existing
    assert listed is not None
    before, after = {
        ClaimDifference.AMOUNT: lambda: (_money(listed.amount_expected), _money(row.claim_amount)),
        ClaimDifference.LEAD_DATE: lambda: (_day(listed.lead_date), _day(row.claim_lead_date)),
        ClaimDifference.LEAD: lambda: (listed.lead_source_pk, row.claim_lead_source_pk),
        ClaimDifference.PERSON: lambda: (listed.person_key, row.claim_person_key),
        ClaimDifference.STATUS: lambda: (listed.get_status_display(), our_status(row)),
    }[what]()
    return _("%(what)s %(before)s → %(after)s") % {"what": str(what.label).lower(), "before": before, "after": after}


def our_status(row: ComparedClaim) -> str:
    """Return the status of our claim in words; paid where the partner's payments say so. Nothing without a claim."""
    return str(ClaimStatus.PAID.label if row.payment_known and row.claim_id else row.get_claim_status_display() or "")


def _money(amount: Decimal | None) -> str:
    return f"S/ {number_format(amount or Decimal(), 2, force_grouping=True)}"


def _day(day: Any) -> str:
    return dateformat.format(day, "j M Y") if day else "–"


# --- files ------------------------------------------------------------------------------------------


def rows_of(comparison: ClaimComparison) -> Iterator[ComparedClaim]:
    """Return all rows of a comparison in reading order, each with its list row and ``driver_name``, chunk by chunk."""
    found = ComparedClaim.objects.filter(comparison=comparison).select_related("existing").order_by("pk")
    rows = found.iterator(chunk_size=CHUNK)
    while chunk := list(islice(rows, CHUNK)):
        name(chunk)
        yield from chunk


def name(rows: Iterable[Any]) -> None:
    """Give rows the name of their account as ``driver_name``, in one query."""
    wanted = {row.driver_id for row in rows}
    known = DriverIndexEntry.objects.filter(pk__in=wanted).order_by().values_list("driver_id", "full_name_norm")
    names = dict(known) if wanted else {}
    for row in rows:
        row.driver_name = names.get(row.driver_id)


# Column of the CSV file -> its heading for people, its value.
_CELLS: Mapping[str, tuple[Any, Callable[[Any], Any]]] = {
    "group": (gettext_lazy("Group"), lambda row: row.group),
    "is_paid": (gettext_lazy("Paid"), lambda row: row.is_paid),
    "driver_id": (gettext_lazy("Driver"), lambda row: row.driver_id),
    "driver_name": (gettext_lazy("Name"), lambda row: row.driver_name),
    "milestone": (gettext_lazy("Milestone"), lambda row: row.milestone),
    "listed_line": (gettext_lazy("Line"), lambda row: row.existing and row.existing.line),
    "listed_amount": (gettext_lazy("Amount in the list"), lambda row: row.existing and row.existing.amount_expected),
    "listed_status": (gettext_lazy("Status in the list"), lambda row: row.existing and row.existing.status),
    "listed_lead": (gettext_lazy("Lead in the list"), lambda row: row.existing and row.existing.lead_source_pk),
    "listed_lead_date": (gettext_lazy("Lead date in the list"), lambda row: row.existing and row.existing.lead_date),
    "claim_id": (gettext_lazy("Our claim"), lambda row: row.claim_id),
    "claim_amount": (gettext_lazy("Our amount"), lambda row: row.claim_amount),
    "claim_status": (gettext_lazy("Our status"), lambda row: row.claim_status),
    "claim_lead": (gettext_lazy("Our lead"), lambda row: row.claim_lead_source_pk),
    "claim_lead_date": (gettext_lazy("Our lead date"), lambda row: row.claim_lead_date),
    "reason": (gettext_lazy("Reason"), lambda row: row.reason),
    "differences": (gettext_lazy("Differences"), lambda row: " ".join(row.differences)),
    "explanation": (gettext_lazy("Explanation"), explain),
}
COLUMNS = tuple(_CELLS)


def cells(row: ComparedClaim) -> list[Any]:
    """Return the cells of a row of ``rows_of``, in the order of ``COLUMNS``."""
    return [value(row) for _heading, value in _CELLS.values()]


def group_totals(comparison: ClaimComparison) -> list[dict[str, Any]]:
    """Return by group, the gravest first: ``group``, ``rows``, ``paid_rows``, and to the cent ``listed``, ``claimed``,
    ``difference``, ``paid``; at last the total, of ``group`` None."""
    totals: list[dict[str, Any]] = []
    for group in ComparisonGroup:
        told = comparison.figures["groups"][group]
        money = {key: Decimal(told[key]) for key in ("listed", "claimed", "paid")}
        counts = {"rows": told["rows"], "paid_rows": told["paid_rows"]}
        totals.append({"group": group, **counts, **money, "difference": money["claimed"] - money["listed"]})
    summed = {key: sum((row[key] for row in totals), Decimal(0)) for key in totals[0] if key != "group"}
    return [*totals, {"group": None, **summed, "rows": int(summed["rows"]), "paid_rows": int(summed["paid_rows"])}]


def sheets_of(comparison: ClaimComparison) -> Iterator[Sheet]:
    """Return the sheets of a comparison: its totals, and every row."""
    yield Sheet(
        _("Totals"),
        [_("Group"), _("Claims"), _("In the list"), _("By CT4"), _("Difference"), _("Paid claims"), _("Paid amount")],
        [
            *(
                [
                    row["group"].label if row["group"] else _("Total"), row["rows"], row["listed"], row["claimed"],
                    row["difference"], row["paid_rows"], row["paid"],
                ]
                for row in group_totals(comparison)
            ),
            [],
            *([what, value] for what, value in facts(comparison)),
        ],
    )  # fmt: skip
    yield Sheet(_("Claims"), [str(heading) for heading, _value in _CELLS.values()], map(cells, rows_of(comparison)))


def facts(comparison: ClaimComparison) -> list[tuple[str, Any]]:
    """Return what a comparison is about, in words: the list, when, by whom, and what was left out."""
    return [
        (_("List"), comparison.claim_list.file_name),
        (_("Our claims as of (Lima)"), comparison.compared_at),
        (_("Compared by"), comparison.actor),
        (_("Rows of the file that were rejected and are not compared"), comparison.rejected_count),
    ]


def write_files(comparison: ClaimComparison, folder: Path) -> list[str]:
    """Write a comparison as JSON, CSV and XLSX into a folder; return their paths below the reports root.

    Raises ``JobError`` when the folder cannot be written.
    """
    head = {
        "comparison_id": comparison.pk, "list": comparison.claim_list.file_name, "figures": comparison.figures,
        "compared_at": timezone.localtime(comparison.compared_at).isoformat(), "rejected": comparison.rejected_count,
    }  # fmt: skip
    path = write_reports(folder, REPORT, head, "claims", COLUMNS, map(_told, rows_of(comparison)))
    workbook = path.with_suffix(".xlsx")
    try:
        write_xlsx(workbook, sheets_of(comparison))
    except OSError as error:
        raise JobError(
            _("The report cannot be written to %(folder)s: %(reason)s.")
            % {"folder": folder, "reason": error.strerror or type(error).__name__}
        ) from error
    return [str(made.relative_to(settings.REPORTS_ROOT)) for made in (path, path.with_suffix(".csv"), workbook)]


def _told(row: ComparedClaim) -> tuple[str, list[Any]]:
    values = cells(row)
    return json.dumps(dict(zip(COLUMNS, values, strict=True)), cls=DjangoJSONEncoder, ensure_ascii=False), values
