"""Scout attribution as a whole: the recurring refresh (RB1), and the fix of RB0, its steps as one run with a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.backfills import (
    EVENTS,
    LEDGER,
    LEDGER_STATS,
    LINKS,
    LINKS_STATS,
    events_step,
    ledger_step,
    links_step,
)
from attribution.diagnosis import diagnose
from attribution.jobs import LEDGER_COUNTS, SAME_PERSON_COUNTS, decide_ledger, raise_same_persons, store_day
from ct4site import invariants, sqlfiles
from ct4site.commands import flatten
from ct4site.jobs import JobError, LostPlace, RunContext, drop_plan, job, statement
from ct4site.models import JobType
from ct4site.reports import report_folder

REPORT = "SCOUT_ATTRIBUTION_AFTER_REPORT.md"
DRY_RUN_REPORT = "SCOUT_ATTRIBUTION_DRY_RUN_REPORT.md"


@dataclass(frozen=True)
class Step:
    """One step of the fix. What comes after a failed prerequisite is not tried; after another failed step it is (Q29)."""

    name: str
    title: str | Promise
    perform: Callable[[RunContext], None]
    is_prerequisite: bool = False


def _relations(context: RunContext) -> None:
    """Views are made by migrations; here they must be there and current (RB0 steps 2, 4 and 8)."""
    outdated = sqlfiles.out_of_date()
    if outdated:
        raise JobError(
            _("Views are out of date: %(names)s. Run manage.py sync_views.") % {"names": ", ".join(outdated)}
        )


def _before(context: RunContext) -> None:
    context.tally["before"] = diagnose()


def _after(context: RunContext) -> None:
    context.tally["after"] = diagnose()


def _mapped(context: RunContext) -> None:
    """A scout whom the mapping gives to an event is in the ledger at once, not at the next run."""
    events_step(context)
    if context.tally[EVENTS.name]["updated"]:
        ledger_step(context)


def _day(context: RunContext) -> None:
    raise_same_persons(context)
    with context.transaction():
        store_day()


def _verify(context: RunContext) -> None:
    """RB0 step 9: the invariants that speak of attribution must find nothing."""
    broken = [finding.name for finding in invariants.check(names=OURS) if finding.count]
    if broken:
        raise JobError(
            _("Invariants do not hold: %(names)s. See manage.py check_invariants.") % {"names": ", ".join(broken)}
        )


NOTHING_DONE = {
    **dict.fromkeys((*LEDGER_COUNTS, *SAME_PERSON_COUNTS), 0),
    LINKS.name: dict.fromkeys(LINKS_STATS, 0),
    LEDGER.name: dict.fromkeys(LEDGER_STATS, 0),
}
OURS = (
    "chk_backlog_is_whole",
    "chk_only_assigned_has_scout",
    "chk_event_person_is_link_person",
    "chk_history_is_guarded",
)
STEPS = (
    Step("views", gettext_lazy("Relations are there and current"), _relations, is_prerequisite=True),
    Step("before", gettext_lazy("Inventory and diagnosis before"), _before, is_prerequisite=True),
    Step("links", gettext_lazy("Link scouting registrations"), links_step, is_prerequisite=True),
    Step("ledger", gettext_lazy("Decide the ledger"), decide_ledger, is_prerequisite=True),
    Step("ledger_backfill", gettext_lazy("Scouts of the events into the ledger"), ledger_step),
    Step("events_backfill", gettext_lazy("Mapped scouts into the events"), _mapped),
    Step("day", gettext_lazy("Possible same persons, metrics of the day"), _day),
    Step("after", gettext_lazy("Diagnosis after"), _after),
    Step("verify", gettext_lazy("Verification"), _verify),
)


@job(
    JobType.SCOUT_REFRESH,
    purpose=gettext_lazy("Brings the attribution of scouts up to date and stores how it stands today."),
    parameters=("full",),
)
def refresh_scout_attribution(context: RunContext) -> None:
    """The recurring refresh of RB1: both backfills around the ledger's decision, then the day (domain.md 6.10, 6.11).

    Parameter: ``full`` (look at everything, also when nothing was written since the last refresh). The tally holds the
    counts of the decision, of each backfill under its name, and ``metrics``.
    """
    since = None
    if not context.parameters.get("full"):
        seen = _fingerprint()
        since = _nothing_new_since(context, seen)
    if since is not None:
        context.note(_("Nothing that counts was written since run %(id)s; there is nothing to decide.") % {"id": since})
        with context.transaction():
            context.count(NOTHING_DONE)
    else:
        for step in (links_step, decide_ledger, ledger_step, raise_same_persons):
            step(context)
    with context.transaction():
        context.tally["metrics"] = store_day(is_unchanged=since is not None)
        context.tally["seen"] = _fingerprint() if since is None else seen


def _nothing_new_since(context: RunContext, seen: str) -> int | None:
    """Return the last refresh, if nothing was written since that could change an outcome."""
    found = statement("refresh_news", {"run_id": context.run_id, "seen": seen})
    return found[0] if found else None


def _fingerprint() -> str:
    """What tells whether rows changed that others may write without a word to our audit."""
    return str(statement("refresh_fingerprint", {})[0])


@job(
    JobType.SCOUT_FIX,
    purpose=gettext_lazy("The whole repair of scout attribution, step by step, with a report before and after."),
    parameters=("output_dir",),
)
def fix_scout_attribution(context: RunContext) -> None:
    """Perform RB0's steps in order; each is a transaction of its own or several (domain.md 6.14, Q29).

    Parameter: ``output_dir`` (below the reports root). The tally holds ``before`` and ``after`` (see ``diagnose``), and
    ``steps`` with what became of each. The report is written in any case. Raises ``JobError`` when a step failed.
    """
    folder = report_folder(context.parameters.get("output_dir"))
    outcomes: dict[str, str] = {}
    failed = ""
    for number, step in enumerate(STEPS, 1):
        if failed == "prerequisite":
            outcomes[step.name] = "not tried"
            continue
        context.progress("fix", number, len(STEPS))
        try:
            step.perform(context)
            outcomes[step.name] = "done"
        except LostPlace:
            raise  # another attempt goes on with the run, and writes its report
        except (JobError, DatabaseError) as error:
            reason = str(error) if isinstance(error, JobError) else type(error).__name__
            outcomes[step.name] = f"failed: {reason}"
            context.note(f"{step.title}: {reason}")
            if not step.is_prerequisite:
                _abandon_plan(context)
            failed = "prerequisite" if step.is_prerequisite else failed or "step"
    context.tally["steps"] = outcomes
    context.tally["report"] = str(_write_report(context, folder).relative_to(settings.REPORTS_ROOT))
    if failed:
        with context.transaction():
            pass  # what the steps before did is told even of a run that failed
        raise JobError(
            _("Steps failed: %(names)s. The report says why.")
            % {"names": "; ".join(str(step.title) for step in STEPS if outcomes[step.name].startswith("failed"))}
        )


def _abandon_plan(context: RunContext) -> None:
    """Drop what a failed step planned: the next step would have to finish it first, and fail as it did."""
    if context.run.has_plan:
        with context.transaction():
            drop_plan(context.run)
            context.run.has_plan = False


def _write_report(context: RunContext, folder: Path) -> Path:
    """Write the report of RB0 as Markdown: figures before and after, what each step did, warnings, the log."""
    before, after = (dict(_lines(context.tally.get(name, {}))) for name in ("before", "after"))
    changes = [
        (name, value)
        for name, value in flatten(context.tally)
        if name.split(".")[0] not in ("before", "after", "steps", "report")
    ]
    about = _("Run") + f" {context.run_id}, {timezone.localtime():%Y-%m-%d %H:%M} (Lima)"
    if context.run.dry_run:
        about += ", " + _("dry run: nothing was kept")
    lines = [
        "# " + _("Scout attribution: before and after"),
        "",
        about,
        "",
        *_table(
            (_("Figure"), _("Before"), _("After")),
            [(name, before.get(name, "–"), after.get(name, "–")) for name in sorted({*before, *after})],
        ),
        "",
        "## " + _("Steps"),
        "",
        *_table(
            (_("Step"), _("Outcome")), [(step.title, context.tally["steps"].get(step.name, "–")) for step in STEPS]
        ),
        "",
        "## " + _("Changes"),
        "",
        *_table((_("Count"), _("Number")), changes),
        "",
        "## " + _("Log"),
        "",
        *(f"- {line}" for line in context.run.log),
        "",
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (DRY_RUN_REPORT if context.run.dry_run else REPORT)
        part = path.with_suffix(".part")
        part.write_text("\n".join(lines), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise JobError(
            _("The report cannot be written to %(folder)s: %(reason)s.")
            % {"folder": folder, "reason": error.strerror or type(error).__name__}
        ) from error
    return path


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    lines = [f"| {' | '.join(map(str, row))} |" for row in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def _lines(figures: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, "–" if value is None else value) for name, value in flatten(figures)]
