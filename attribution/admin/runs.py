"""What the jobs of attribution show on the pages of their runs: forms, words of their tallies, the report of the fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.utils.dateparse import parse_date
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from attribution.admin import labels
from attribution.fixing import STEPS
from attribution.jobs import LEDGER_COUNTS
from attribution.models import BacklogCategory, ClaimDifference, ComparisonGroup, DisappearReason
from ct4site.admin_base import NOTHING, Section, lima_time, pill
from ct4site.models import JobType, Run
from ct4site.run_pages import LimitedForm, RunPage, register
from identity.admin.runs import IdentityRunForm

LEDGER_WORDS: dict[str, str | Promise] = {
    "processed_person_keys": _("Persons decided"),
    "processed_events": _("Lead events considered"),
    "assigned_count": _("assigned"),
    "conflict_count": _("in conflict"),
    "unassigned_count": _("unassigned"),
    "changed_count": _("Ledger entries changed"),
    "skipped_changed_since_plan": _("Left for the next run, changed meanwhile"),
}
STEP_WORDS: dict[str, str | Promise] = {
    "links_backfill": _("Links of registrations"),
    "ledger_backfill": _("Scouts of the events into the ledger"),
    "events_backfill": _("Mapped scouts into the events"),
}
BACKFILL_WORDS: dict[str, str | Promise] = {
    "total": _("looked at"),
    "created": _("linked"),
    "created_with_driver": _("of them to a driver's person"),
    "created_new_person": _("of them to a new person"),
    "updated": _("scout filled in"),
    "inserted": _("entry made"),
    "skipped": _("left as they were"),
    "ambiguous": _("several could be meant"),
    "not_found": _("nobody found"),
    "errors": _("left alone, changed meanwhile"),
    "persons_created": _("Persons created"),
    "persons_completed": _("Persons completed"),
    "driver_links": _("Driver links"),
    "events": _("Lead events"),
    "origins": _("Origins"),
    "origin_history": _("Origin history"),
    "unmatched_written": _("Left unmatched"),
    "unmatched_resolved": _("Unmatched records resolved"),
    "drivers_released": _("Released by a lead of their person"),
    "backfill_audit": _("Audit entries of the backfill"),
}
SUSPICION_WORDS: dict[str, str | Promise] = {
    "same_persons_raised": _("Possible same persons raised"),
    "same_persons_closed": _("Possible same persons closed"),
}
METRIC_WORDS: dict[str, str | Promise] = {
    "metrics": _("Today"),
    "seen": _("Mark of what was looked at"),
    "total_persons": _("Persons"),
    "with_scout": _("with scout"),
    "without_scout": _("without scout"),
    "conflicts": _("Conflicts"),
    "open_conflicts": _("Open conflicts"),
    "backlog": _("Backlog"),
    **{str(letter).lower(): words for letter, words in BacklogCategory.choices},
}
DERIVED_WORDS: dict[str, str | Promise] = {
    "leads_read": _("Leads read"),
    "leads_with_driver": _("Leads with a driver"),
    "leads_changed": _("Leads whose trips changed"),
    "leads_gone": _("Leads that are gone"),
    "milestones_reached": _("Milestones reached"),
    "milestones_changed": _("Milestones new or changed"),
    "milestones_gone": _("Milestones no longer reached"),
    "persons_with_scout": _("Persons with scout"),
    "scouts_changed": _("Scouts of persons changed"),
    "items_owed": _("Items owed to scouts"),
    "items_changed": _("Items owed to scouts, changed"),
    "items_gone": _("Items no longer owed"),
}
AUDIT_WORDS: dict[str, str | Promise] = {"audit": _("Audit entries")}
REFRESH_WORDS = LEDGER_WORDS | STEP_WORDS | BACKFILL_WORDS | SUSPICION_WORDS | METRIC_WORDS | AUDIT_WORDS


class PopulateForm(IdentityRunForm):
    """Parameters of the lead events (domain.md 6.1): those of matching, which may also start anew."""

    full = None  # type: ignore[assignment]  # how Django takes away an inherited field
    field_order = ("source", "date_from", "date_to", "limit", "dry_run")  # type: ignore[assignment]

    def clean(self) -> dict[str, Any]:
        return super().clean() | {"full": False}


# --- the report of the fix ----------------------------------------------------------------------------


def _title(name: str) -> str:
    return gettext("Before and after: %(what)s") % {"what": name}


COVERAGE_WORDS: dict[str, str | Promise] = {
    "total_persons": _("Persons"),
    "persons_with_scout": _("Persons with scout"),
    "pct_scout_satisfactory": _("Persons with scout, %"),
    "scouting_daily_with_scout": _("Registrations with scout"),
    "scouting_daily_with_links": _("of them linked to a person"),
    "scouting_daily_with_ledger_scout": _("of them with a scout in the ledger"),
}
BUCKET_WORDS: dict[str, str | Promise] = {
    "SATISFACTORY_LEDGER": _("In the ledger"),
    "EVENTS_ONLY": _("Lead events only"),
    "MIGRATIONS_ONLY": _("Migrations only"),
    "SCOUTING_DAILY_ONLY": _("Scouting registrations only"),
    "CABINET_PAYMENTS_ONLY": _("Cabinet payments only"),
}
CONFLICT_WORDS: dict[str, str | Promise] = {
    "total": _("Conflicts"),
    "open": _("Open"),
    "historical": _("Historical"),
}
WARNING_WORDS: dict[str, str | Promise] = {
    "scouts_not_in_the_list": _("Scouts who are claimed but not in the list"),
    "possible_same_persons": _("Possible same persons"),
    "events_without_person_with_scout": _("Lead events with a scout but without a person"),
}
CATEGORY_WORDS: dict[str, str | Promise] = {
    str(letter): format_lazy("{} · {}", letter, words) for letter, words in BacklogCategory.choices
}


@dataclass(frozen=True)
class _Group:
    """One part of the diagnosis: its key in the tally, its title, the words of its figures in reading order."""

    key: str
    title: str | Promise
    words: Mapping[str, str | Promise]


GROUPS = (
    _Group("coverage", _("Coverage"), COVERAGE_WORDS),
    _Group("categories", _("Persons without scout by category"), CATEGORY_WORDS),
    _Group("conflicts", _("Conflicts"), CONFLICT_WORDS),
    _Group("rules", _("Persons by rule of the ledger"), labels.RULES),
    _Group("buckets", _("Persons by the best source that names a scout"), BUCKET_WORDS),
    _Group("warnings", _("Warnings"), WARNING_WORDS),
)
SOURCE_WORDS: dict[str, str | Promise] = {**labels.SOURCES, "ops.lead_scout_mapping": _("Mapped scouts")}
TOLD = ("before", "after", "steps", "report")


def fix_sections(run: Run) -> Iterator[Section]:
    """Return the report of the fix as tables: each step with what it changed, then every figure before and after.

    Takes a run of ``fix_scout_attribution`` that is over; one that stopped early has fewer tables (domain.md 6.14).
    """
    tally = _dict(run.stats)
    yield _steps(tally)
    before, after = _dict(tally.get("before")), _dict(tally.get("after"))
    if not before and not after:
        return
    for group in GROUPS:
        # A figure of the diagnosis is there with its zero; a rule or a bucket without persons is not.
        was, is_now = (_dict(figures.get(group.key)) for figures in (before, after))
        yield _compared(group, was, is_now, missing=0 if before and after else None)
    yield _inventory(_dict(before.get("inventory")), _dict(after.get("inventory")))


def _steps(tally: Mapping[str, Any]) -> Section:
    outcomes = _dict(tally.get("steps"))
    counted = {
        "links": _dict(tally.get("links_backfill")),
        "ledger": {name: tally.get(name) for name in LEDGER_COUNTS},
        "ledger_backfill": _dict(tally.get("ledger_backfill")),
        "events_backfill": _dict(tally.get("events_backfill")),
        "day": {name: tally.get(name) for name in SUSPICION_WORDS},
    }
    rows = [
        (number, str(step.title), _outcome(outcomes.get(step.name)), _changes(counted.get(step.name), outcomes.get(step.name)))
        for number, step in enumerate(STEPS, 1)
    ]  # fmt: skip
    report = tally.get("report")
    return Section(
        title=gettext("What each step did"),
        columns=[gettext("No."), gettext("Step"), gettext("Outcome"), gettext("Changes")],
        rows=rows,
        is_list=False,
        note=gettext("The same as a file, in the folder of reports: %(name)s") % {"name": report} if report else "",
    )


def _outcome(told: Any) -> SafeString | str:
    """A stored outcome: "done", "not tried", or "failed: why"."""
    text = str(told or "")
    if text == "done":
        return pill(text, gettext("Done"), "good")
    if text.startswith("failed"):
        return pill("failed", gettext("Failed"), "bad")
    return pill(text, gettext("Not tried"), "plain") if text == "not tried" else NOTHING


def _changes(counts: Mapping[str, Any] | None, told: Any) -> SafeString | str:
    """What a step counted, zeros left out: the tally below has them all; of a step that failed, why."""
    if str(told).startswith("failed"):
        return str(told).partition(": ")[2] or NOTHING
    if counts is None or told != "done":
        return NOTHING
    shown = [
        (REFRESH_WORDS.get(name, name), intcomma(number))
        for name, number in _ordered(counts, REFRESH_WORDS)
        if isinstance(number, int) and number and name not in ("audit", "backfill_audit")
    ]
    return format_html_join("", "<div>{}: {}</div>", shown) or gettext("Nothing to do")


def _compared(group: _Group, before: Mapping[str, Any], after: Mapping[str, Any], missing: int | None) -> Section:
    rows = []
    for name, _value in _ordered({**dict.fromkeys(group.words), **before, **after}, group.words):
        was, is_now = (figures.get(name, missing) for figures in (before, after))
        words = labels.rule(name) if group.key == "rules" else str(group.words.get(name, name))
        rows.append((words, _figure(was), _figure(is_now), _difference(was, is_now)))
    columns = ["", gettext("Before"), gettext("After"), gettext("Difference")]
    return Section(title=_title(str(group.title)), columns=columns, rows=rows, is_list=False)


def _inventory(before: Mapping[str, Any], after: Mapping[str, Any]) -> Section:
    rows = []
    for source, _value in _ordered({**before, **after}, SOURCE_WORDS):
        was, is_now = _dict(before.get(source)), _dict(after.get(source))
        counts = [
            _moved(_figure(was.get(name)), _figure(is_now.get(name))) for name in ("rows", "with_scout", "scouts")
        ]
        dates = [_moved(_date(was.get(name)), _date(is_now.get(name))) for name in ("first_date", "last_date")]
        rows.append((str(SOURCE_WORDS.get(source, source)), *counts, *dates))
    columns = [
        gettext("Source"), gettext("Rows"), gettext("With scout"), gettext("Scouts"), gettext("First day"), gettext("Last day"),
    ]  # fmt: skip
    return Section(title=_title(gettext("Sources")), columns=columns, rows=rows, is_list=False)


def _moved(was: Any, is_now: Any) -> Any:
    return is_now if was in (is_now, NOTHING) else was if is_now == NOTHING else format_html("{} → {}", was, is_now)


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return intcomma(value) if _is_number(value) else NOTHING if value is None else str(value)


def _difference(was: Any, is_now: Any) -> str:
    if not (_is_number(was) and _is_number(is_now)):
        return NOTHING
    change = is_now - was
    if isinstance(change, float):
        change = round(change, 2)
    return f"{'+' if change > 0 else '−' if change < 0 else ''}{_figure(abs(change))}"


def _date(value: Any) -> SafeString | str:
    try:
        return lima_time(parse_date(value)) if isinstance(value, str) else NOTHING
    except ValueError:
        return NOTHING


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _ordered(figures: Mapping[str, Any], words: Iterable[str]) -> list[tuple[str, Any]]:
    """Figures in the order of their words; unknown ones last."""
    order = {name: number for number, name in enumerate(words)}
    return sorted(figures.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))


# --- pages --------------------------------------------------------------------------------------------

register(
    JobType.PROCESS_LEDGER,
    RunPage(form=LimitedForm, key_numbers=("changed_count", "conflict_count"), words=LEDGER_WORDS | AUDIT_WORDS),
)
register(
    JobType.SCOUT_REFRESH,
    RunPage(key_numbers=("changed_count", "with_scout", "open_conflicts"), words=REFRESH_WORDS),
)
register(
    JobType.SCOUT_FIX,
    RunPage(key_numbers=("created", "changed_count", "updated"), words=REFRESH_WORDS, sections=fix_sections, told=TOLD),
)
register(
    JobType.POPULATE_EVENTS,
    RunPage(
        form=PopulateForm,
        key_numbers=("inserted", "persons_updated"),
        words={
            "cabinet": _("Cabinet leads"),
            "scouting": _("Scouting registrations"),
            "migrations": _("Migrations"),
            "total": _("without event"),
            "inserted": _("events made"),
            "errors": _("left alone, changed meanwhile"),
            "persons_updated": _("Events whose person followed the link"),
            **AUDIT_WORDS,
        },
    ),
)
for _code, _keys in (
    (JobType.LINKS_BACKFILL, ("created", "ambiguous")),
    (JobType.LEDGER_BACKFILL, ("inserted", "updated")),
    (JobType.EVENTS_BACKFILL, ("updated",)),
):
    register(_code, RunPage(form=LimitedForm, key_numbers=_keys, words=BACKFILL_WORDS | AUDIT_WORDS))
register(
    JobType.COLLECTION_REFRESH,
    RunPage(
        key_numbers=("claims_made", "claims_paid", "claims_disputed"),
        words={
            "payment_flags_read": _("Milestones of the partner's list read"),
            "payment_states_added": _("States of payment new or changed"),
            "payments_with_driver": _("Payments with a driver"),
            "payments_changed": _("Current payment states changed"),
            **DERIVED_WORDS,
            "statement_rows": _("Rows of the scouts' statements"),
            "statement_rows_changed": _("Rows of the scouts' statements, changed"),
            "claims_made": _("Claims made"),
            "claims_paid": _("Claims found paid"),
            "claims_disputed": _("Claims disputed, their achievement is gone"),
            "claims_undisputed": _("Claims no longer disputed"),
            "skipped_changed_since_plan": _("Left for the next run, changed meanwhile"),
            **AUDIT_WORDS,
        },
    ),
)
register(
    JobType.SETTLEMENT_CLOSE,
    RunPage(
        key_numbers=("lines", "adjustments", "scouts"),
        words={
            "lines": _("Lines"),
            "adjustments": _("Adjustments"),
            "scouts": _("Scouts"),
            "persons": _("Persons"),
            "amounts": _("Amounts"),
            "blocked": _("Items that are blocked"),
            "not_payable_yet": _("Items that are not payable yet"),
            **DERIVED_WORDS,
            **AUDIT_WORDS,
        },
    ),
)
register(
    JobType.SCOUT_MAPPING_LOAD,
    RunPage(
        key_numbers=("inserted", "rejected"),
        words={
            "read": _("Rows read"),
            "inserted": _("Mapped scouts added"),
            "unchanged": _("as before"),
            "superseded": _("repeated in the file"),
            "rejected": _("rejected"),
            "rejects_file": _("Rejected rows"),
            "ignored_columns": _("Unknown columns, ignored"),
            **AUDIT_WORDS,
        },
    ),
)
register(
    JobType.CLAIMS_COMPARISON,
    RunPage(
        key_numbers=("compared", "rejected"),
        words={
            "read": _("Rows read"),
            "compared": _("compared"),
            "rejected": _("rejected"),
            "rejects_file": _("Rejected rows"),
            "ignored_columns": _("Unknown columns, ignored"),
            "list_id": _("List"),
            "list_is_new": _("The list was not known"),
            "comparison_id": _("Comparison"),
            "groups": _("Groups"),
            **{str(group): words for group, words in ComparisonGroup.choices},
            "rows": _("claims"),
            "listed": _("in the list"),
            "claimed": _("by CT4"),
            "paid_rows": _("paid claims"),
            "paid": _("paid amount"),
            "reasons": _("Reasons to disappear"),
            **{str(reason): words for reason, words in DisappearReason.choices},
            "differences": _("Differences"),
            **{str(what): words for what, words in ClaimDifference.choices},
            "reports": _("Files of the report"),
        },
    ),
)
