"""What every job command shares: flags, progress, tally, exit code."""

from __future__ import annotations

import datetime as dt
import json
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from tqdm import tqdm

from ct4site import jobs
from ct4site.models import Run, RunStatus, phase_label
from ct4site.reports import report_folder

REJECTED_ROWS = 3


class ProgressBar:
    """Progress on a terminal; silent elsewhere (the run's row carries it anyway)."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.phase = ""

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        if not sys.stderr.isatty():
            return
        if self.bar is None or phase != self.phase:
            self.close()
            self.phase, self.bar = phase, tqdm(total=total, desc=phase_label(phase), leave=False, file=sys.stderr)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


@contextmanager
def telling_progress() -> Iterator[ProgressBar]:
    """Show a run's progress; what refuses it, or a database that does not answer, ends the command with one sentence."""
    progress = ProgressBar()
    try:
        yield progress
    except jobs.JobError as error:
        raise CommandError(str(error)) from error
    except (OperationalError, InterfaceError) as error:
        raise CommandError(_("The database cannot be reached. Run it again when it is back.")) from error
    finally:
        progress.close()


def add_output_dir(parser: CommandParser) -> None:
    """Add ``--output-dir``: where below the reports root a report goes."""
    parser.add_argument(
        "--output-dir", metavar="DIR", help=_("Folder for the report, below %(root)s.") % {"root": settings.REPORTS_ROOT}
    )  # fmt: skip


def output_dir(name: str | None) -> str:
    """Return the folder that ``--output-dir`` means; raises ``CommandError`` for one outside the reports root."""
    try:
        return str(report_folder(name))
    except jobs.JobError as error:
        raise CommandError(str(error)) from error


def flatten(tally: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of a nested tally as ``("cabinet.matched", 3)`` pairs."""
    rows: list[tuple[str, Any]] = []
    for key, value in tally.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows


class JobCommand(BaseCommand):
    """A thin door to one job: parses, calls ``jobs``, presents.

    Human text goes to stderr, ``--json`` prints the tally as one line on stdout, and the exit code
    is 0 only when the run completed.
    """

    job_code: str
    has_limit = True

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help=_("Run the same statements and roll them back."))
        parser.add_argument("--json", action="store_true", help=_("Print the tally as one JSON line on stdout."))
        parser.add_argument("--queue", action="store_true", help=_("Hand the run to the queue worker and return."))
        if self.has_limit:
            parser.add_argument("--limit", type=positive, help=_("Take at most this many records."))

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the job's parameters from the parsed options; subclasses extend it."""
        return {"limit": options["limit"]} if self.has_limit else {}

    def start(self, options: dict[str, Any], **extra: Any) -> Run:
        return jobs.start(
            job_code=self.job_code,
            actor=jobs.current_actor(),
            parameters=self.parameters(options),
            dry_run=options["dry_run"],
            queue=options["queue"],
            **extra,
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with telling_progress() as progress:
            run = self.start(options)
            if options["queue"]:
                self.stderr.write(_("Run %(id)s is queued.") % {"id": run.pk})
                if options["json"]:
                    self.stdout.write(json.dumps({"run_id": run.pk, "status": "QUEUED"}))
                return
            run = jobs.execute(run.pk, progress)
        self.present(run, options)
        if run.status != RunStatus.COMPLETED:
            raise CommandError(_("Run %(id)s failed. %(why)s") % {"id": run.pk, "why": run.error_message or ""})

    def present(self, run: Run, options: dict[str, Any]) -> None:
        """Print the run's tally, zeros included."""
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {"run_id": run.pk, "status": run.status, "dry_run": run.dry_run, **run.stats}, sort_keys=True
                )
            )
        title = _("Dry run %(id)s of %(job)s: nothing was changed.") if run.dry_run else _("Run %(id)s of %(job)s")
        self.stderr.write(title % {"id": run.pk, "job": run.get_job_type_display()})
        for line in run.log:
            self.stderr.write(f"  {line}")
        for name, value in flatten(run.stats):
            self.stderr.write(f"  {name}: {value}")


class ReportCommand(JobCommand):
    """A door to a job that writes a report; its place comes from ``--output-dir``."""

    report_line = gettext_lazy("Report: %(file)s")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_output_dir(parser)

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        given = super().parameters(options)
        return given if options["output_dir"] is None else given | {"output_dir": output_dir(options["output_dir"])}

    def present(self, run: Run, options: dict[str, Any]) -> None:
        super().present(run, options)
        if run.stats.get("report"):
            self.stderr.write(self.report_line % {"file": settings.REPORTS_ROOT / run.stats["report"]})


class DiagnosisCommand(BaseCommand):
    """A thin door to a diagnosis, which reads only: its figures by section, in words or as one JSON line on stdout."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help=_("Print the figures as one JSON line on stdout."))

    def diagnose(self) -> dict[str, Any]:
        """Return the figures by section."""
        raise NotImplementedError

    def in_words(self, figures: Mapping[str, Any]) -> Iterable[tuple[str, list[tuple[str, Any]]]]:
        """Yield the title and the lines of each section; stored names unless a subclass has words for them."""
        for section, values in figures.items():
            yield section, flatten(values)

    def handle(self, *args: Any, **options: Any) -> None:
        with telling_progress():
            figures = self.diagnose()
        if options["json"]:
            self.stdout.write(json.dumps(figures, sort_keys=True))
            return
        for title, lines in self.in_words(figures):
            self.stdout.write(title)
            for name, value in lines:
                self.stdout.write(f"  {name}: {'–' if value is None else value}")


class LoadCommand(BaseCommand):
    """A thin door to a job that loads files, and leaves the rows it rejects in files of their own.

    Exit code 0: every row accepted; 1: refused, nothing loaded; 3: some rows rejected, the others loaded.
    """

    job_code: str

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rejects", type=Path, metavar="DIR", help=_("folder for rejected rows"))
        parser.add_argument("--dry-run", action="store_true", help=_("do everything, then roll back"))
        parser.add_argument("--json", action="store_true", help=_("print the tally as one JSON line"))

    def load(self, options: dict[str, Any], **parameters: str) -> Run:
        """Perform the job with these parameters; return its run. Raises ``CommandError`` unless it completed."""
        with telling_progress() as progress:
            run = jobs.perform(
                job_code=self.job_code,
                actor=jobs.current_actor(),
                parameters={**parameters, "rejects_dir": str(options["rejects"] or settings.CT4_HOME / "rejects")},
                dry_run=options["dry_run"],
                on_progress=progress,
            )
        if run.status != RunStatus.COMPLETED:
            raise CommandError(run.error_message or "")
        return run

    def tell_ignored(self, tally: Mapping[str, Any], title: str = "") -> None:
        """Say which columns of a file were ignored, if any."""
        if tally["ignored_columns"]:
            columns = ", ".join(tally["ignored_columns"])
            self.stderr.write(title + _("Unknown columns, ignored: %(columns)s.") % {"columns": columns})

    def end(self, run: Run, *files: Mapping[str, Any]) -> None:
        """Say that a dry run kept nothing; raise ``CommandError`` when rows of a file were rejected."""
        if run.dry_run:
            self.stderr.write(_("Dry run: nothing was kept."))
        rejected = [tally for tally in files if tally["rejected"]]
        if rejected:
            raise CommandError(
                _("Rows rejected: %(count)s, see %(file)s")
                % {
                    "count": sum(tally["rejected"] for tally in rejected),
                    "file": ", ".join(tally["rejects_file"] for tally in rejected),
                },
                returncode=REJECTED_ROWS,
            )


def day(text: str) -> dt.date:
    """Argument type: a day, written YYYY-MM-DD."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(_("%(text)s is not a day (YYYY-MM-DD).") % {"text": text}) from error


def positive(text: str) -> int:
    """Argument type: a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(_("%(text)s is not a whole number from 1 on.") % {"text": text})
    return int(text)
