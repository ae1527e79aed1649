"""The scout attribution fix (runbook RB0)."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.jobs import JobError
from ct4site.models import JobType, Run
from ct4site.reports import report_folder


class Command(JobCommand):
    job_code = JobType.SCOUT_FIX
    has_limit = False

    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Repairs scout attribution step by step and writes a report before and after. Ends with 1 if a step failed."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--output-dir", metavar="DIR", help=_("Folder for the report, below %(root)s.") % {"root": settings.REPORTS_ROOT}
        )  # fmt: skip

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        if options["output_dir"] is None:
            return {}
        try:
            return {"output_dir": str(report_folder(options["output_dir"]))}
        except JobError as error:
            raise CommandError(str(error)) from error

    def present(self, run: Run, options: dict[str, Any]) -> None:
        super().present(run, options)
        if run.stats.get("report"):
            self.stderr.write(_("Report: %(file)s") % {"file": settings.REPORTS_ROOT / run.stats["report"]})
