"""``manage.py load_source``: a thin door to ``identity.sources.load_source``."""

from __future__ import annotations

import dataclasses
import getpass
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from identity.sources import SOURCE_TABLES, LoadTally, SourceFileRefused, load_source

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
        try:
            return load_source(
                table=options["table"],
                path=path,
                rejects_dir=options["rejects"] or settings.CT4_HOME / "rejects",
                actor=_operator(),
                dry_run=options["dry_run"],
                progress=self._progress if self.stderr.isatty() else None,
            )
        except SourceFileRefused as error:
            reason = str(error)
        except OSError as error:
            reason = error.strerror or str(error)
        raise CommandError(_("%(file)s was not loaded. %(reason)s") % {"file": path.name, "reason": reason})

    def _progress(self, rows: int) -> None:
        self.stderr.write("\r" + _("%(rows)s rows read") % {"rows": rows}, ending="")

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


def _operator() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "load_source"
