"""``manage.py load_source``: a thin door to ``identity.sources.load_source``."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site.commands import LoadCommand
from ct4site.models import JobType
from identity.sources import SOURCE_TABLES, LoadTally


class Command(LoadCommand):
    job_code = JobType.SOURCE_LOAD

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
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="load_source-") as spool:
            path = Path(options["file"])
            if options["file"] == "-":
                path = Path(spool) / "stdin.csv"
                with path.open("wb") as file:
                    shutil.copyfileobj(sys.stdin.buffer, file)
            run = self.load(options, table=options["table"], file=str(path.resolve()))
        tally = dataclasses.asdict(LoadTally(**run.stats))
        if options["json"]:
            self.stdout.write(json.dumps(tally, ensure_ascii=False))
        self.tell_ignored(tally)
        self.stderr.write(
            _(
                "Rows read %(read)s: inserted %(inserted)s, updated %(updated)s, unchanged %(unchanged)s, "
                "superseded %(superseded)s, rejected %(rejected)s."
            )
            % tally
        )
        self.end(run, tally)
