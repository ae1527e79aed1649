"""``manage.py load_legacy_identity``: a thin door to ``identity.legacy``."""

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
            "Loads persons and links of the predecessor as history. Loading the files again changes nothing. "
            "Exit code 0: every row accepted; 1: a file was refused and nothing loaded; "
            "3: some rows were rejected (see the rejects files), the others are loaded."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("persons", type=Path, metavar="PERSONS.csv", help=_("the file of persons"))
        parser.add_argument("links", type=Path, metavar="LINKS.csv", help=_("the file of links"))
        parser.add_argument("--rejects", type=Path, metavar="DIR", help=_("folder for rejected rows"))
        parser.add_argument("--dry-run", action="store_true", help=_("do everything, then roll back"))
        parser.add_argument("--json", action="store_true", help=_("print the tally as one JSON line"))

    def handle(self, *args: Any, **options: Any) -> None:
        run = self._load(options)
        tally = run.stats
        if options["json"]:
            self.stdout.write(json.dumps({"run_id": run.pk, **tally}, ensure_ascii=False))
        self._tell(tally, dry_run=run.dry_run)
        rejected = [tally[name] for name in ("persons", "links") if tally[name]["rejected"]]
        if rejected:
            raise CommandError(
                _("Rows rejected: %(count)s, see %(file)s")
                % {
                    "count": sum(counts["rejected"] for counts in rejected),
                    "file": ", ".join(counts["rejects_file"] for counts in rejected),
                },
                returncode=REJECTED_ROWS,
            )

    def _load(self, options: dict[str, Any]) -> Run:
        progress = ProgressBar()
        try:
            run = jobs.perform(
                job_code=JobType.LEGACY_LOAD,
                actor=jobs.current_actor(),
                parameters={
                    "persons": str(options["persons"].resolve()),
                    "links": str(options["links"].resolve()),
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

    def _tell(self, tally: dict[str, Any], *, dry_run: bool) -> None:
        for name, title in (("persons", _("Persons")), ("links", _("Links"))):
            if tally[name]["ignored_columns"]:
                columns = ", ".join(tally[name]["ignored_columns"])
                self.stderr.write(f"{title}: " + _("Unknown columns, ignored: %(columns)s.") % {"columns": columns})
        self.stderr.write(
            _(
                "Persons read %(read)s: inserted %(inserted)s, completed %(completed)s, unchanged %(unchanged)s, "
                "superseded %(superseded)s, rejected %(rejected)s."
            )
            % tally["persons"]
        )
        self.stderr.write(
            _(
                "Links read %(read)s: inserted %(inserted)s, unchanged %(unchanged)s, superseded %(superseded)s, "
                "rejected %(rejected)s."
            )
            % tally["links"]
        )
        self.stderr.write(
            _(
                "md5 keys mapped %(md5_keys_mapped)s, lead events %(events)s, origins %(origins)s "
                "(%(legacy_origins)s legacy), unmatched records resolved %(unmatched_resolved)s."
            )
            % tally
        )
        if tally["persons_with_junk"] or tally["persons_over_limit"]:
            self.stderr.write(
                _(
                    "To be looked at: %(persons_with_junk)s persons had a placeholder as phone, licence or name, "
                    "%(persons_over_limit)s hold more than %(limit)s records."
                )
                % {**tally, "limit": settings.PERSON_SOURCE_LIMIT}
            )
        if dry_run:
            self.stderr.write(_("Dry run: nothing was kept."))
