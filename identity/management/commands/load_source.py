"""``manage.py load_source``: a thin door to ``identity.sources.load_source``."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from ct4site import jobs
from ct4site.commands import ProgressBar
from ct4site.models import JobType, RunStatus
from identity.sources import SOURCE_TABLES, LoadTally

REJECTED_ROWS = 3


class Command(BaseCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Loads a CSV file into a source table. Loading a file again changes nothing. "
            "Exit code 0: every row accepted; 1: the file was refused and nothing loaded; "
            "3: some rows were rejected (see the rejects file), the others are loaded."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("table", choices=tuple(SOURCE_TABLES), metavar="TABLE", help=", ".join(SOURCE_TABLES))
        parser.add_argument("file", metavar="FILE.csv", help=_("the file; - reads standard input"))
        parser.add_argument("--rejects", type=Path, metavar="DIR", help=_("folder for rejected rows"))
        parser.add_argument("--dry-run", action="store_true", help=_("do everything, then roll back"))
        parser.add_argument("--json", action="store_true", help=_("print the tally as one JSON line"))

    def handle(self, *args: Any, **options: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="load_source-") as spool:
            path = Path(options["file"])
            if options["file"] == "-":
                path = Path(spool) / "stdin.csv"
                with path.open("wb") as file:
                    shutil.copyfileobj(sys.stdin.buffer, file)
            tally = self._load(path, options)
        if options["json"]:
            self.stdout.write(json.dumps(dataclasses.asdict(tally), ensure_ascii=False))
        self._tell(tally, dry_run=options["dry_run"])
        if tally.rejected:
            raise CommandError(
                _("Rows rejected: %(count)s, see %(file)s") % {"count": tally.rejected, "file": tally.rejects_file},
                returncode=REJECTED_ROWS,
            )

    def _load(self, path: Path, options: dict[str, Any]) -> LoadTally:
        progress = ProgressBar()
        try:
            run = jobs.perform(
                job_code=JobType.SOURCE_LOAD,
                actor=jobs.current_actor(),
                parameters={
                    "table": options["table"],
                    "file": str(path.resolve()),
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
        return LoadTally(**run.stats)

    def _tell(self, tally: LoadTally, *, dry_run: bool) -> None:
        if tally.ignored_columns:
            columns = ", ".join(tally.ignored_columns)
            self.stderr.write(_("Unknown columns, ignored: %(columns)s.") % {"columns": columns})
        self.stderr.write(
            _(
                "Rows read %(read)s: inserted %(inserted)s, updated %(updated)s, unchanged %(unchanged)s, "
                "superseded %(superseded)s, rejected %(rejected)s."
            )
            % dataclasses.asdict(tally)
        )
        if dry_run:
            self.stderr.write(_("Dry run: nothing was kept."))
