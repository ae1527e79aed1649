"""Repair or quarantine drivers without a lead (runbook RB3)."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site.commands import ReportCommand
from ct4site.models import JobType, Run


class Command(ReportCommand):
    job_code = JobType.ORPHANS_FIX
    report_line = gettext_lazy("Report: %(file)s and .csv")

    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Finds drivers whose person has no lead: links the lead where there is evidence, puts the others into "
            "quarantine, and writes a report. Changes nothing without --execute."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--execute", action="store_true", help=_("Apply the changes; without it, a dry run."))
        parser.add_argument(
            "--reprocess-quarantined", action="store_true", help=_("Decide the drivers in quarantine again.")
        )

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        return super().parameters(options) | {"reprocess_quarantined": options["reprocess_quarantined"] or None}

    def handle(self, *args: Any, **options: Any) -> None:
        if options["execute"] and options["dry_run"]:
            raise CommandError(_("Choose one of --execute and --dry-run; without either it is a dry run."))
        super().handle(*args, **options | {"dry_run": not options["execute"]})

    def present(self, run: Run, options: dict[str, Any]) -> None:
        super().present(run, options)
        if run.stats.get("errors"):
            raise CommandError(
                _("%(count)s drivers changed while the run decided them and were left alone. Run it again.")
                % {"count": run.stats["errors"]}
            )
