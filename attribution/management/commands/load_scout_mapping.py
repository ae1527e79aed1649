"""``manage.py load_scout_mapping``: a thin door to ``attribution.mapping`` (Q28)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from ct4site import jobs
from ct4site.commands import ProgressBar
from ct4site.models import JobType, Run, RunStatus

REJECTED_ROWS = 3


class Command(BaseCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Loads which scout brought which cabinet lead (columns source_key, scout_id). One scout per lead; a scout that "
            "is there is never overwritten. Exit code 0: every row accepted; 1: the file was refused and nothing loaded; "
            "3: some rows were rejected (see the rejects file), the others are loaded."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.csv", help=_("the file"))
        parser.add_argument("--rejects", type=Path, metavar="DIR", help=_("folder for rejected rows"))
        parser.add_argument("--dry-run", action="store_true", help=_("do everything, then roll back"))
        parser.add_argument("--json", action="store_true", help=_("print the tally as one JSON line"))

    def handle(self, *args: Any, **options: Any) -> None:
        run = self._load(options)
        tally = run.stats
        if options["json"]:
            self.stdout.write(json.dumps({"run_id": run.pk, **tally}, ensure_ascii=False))
        if tally["ignored_columns"]:
            columns = ", ".join(tally["ignored_columns"])
            self.stderr.write(_("Unknown columns, ignored: %(columns)s.") % {"columns": columns})
        self.stderr.write(
            _(
                "Rows read %(read)s: inserted %(inserted)s, unchanged %(unchanged)s, superseded %(superseded)s, "
                "rejected %(rejected)s."
            )
            % tally
        )
        if run.dry_run:
            self.stderr.write(_("Dry run: nothing was kept."))
        if tally["rejected"]:
            raise CommandError(
                _("Rows rejected: %(count)s, see %(file)s")
                % {"count": tally["rejected"], "file": tally["rejects_file"]},
                returncode=REJECTED_ROWS,
            )

    def _load(self, options: dict[str, Any]) -> Run:
        progress = ProgressBar()
        try:
            run = jobs.perform(
                job_code=JobType.SCOUT_MAPPING_LOAD,
                actor=jobs.current_actor(),
                parameters={
                    "file": str(options["file"].resolve()),
                    "rejects_dir": str(options["rejects"] or settings.CT4_HOME / "rejects"),
                },
                dry_run=options["dry_run"],
                on_progress=progress,
            )
        except jobs.JobError as error:
            raise CommandError(str(error)) from error
        finally:
            progress.close()
        if run.status != RunStatus.COMPLETED:
            raise CommandError(run.error_message or "")
        return run
