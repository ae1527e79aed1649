"""``manage.py load_scout_mapping``: a thin door to ``attribution.mapping`` (Q28)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site.commands import LoadCommand
from ct4site.models import JobType


class Command(LoadCommand):
    job_code = JobType.SCOUT_MAPPING_LOAD

    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Loads which scout brought which cabinet lead (columns source_key, scout_id). One scout per lead; a scout that "
            "is there is never overwritten. Exit code 0: every row accepted; 1: the file was refused and nothing loaded; "
            "3: some rows were rejected (see the rejects file), the others are loaded."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.csv", help=_("the file"))
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        run = self.load(options, file=str(options["file"].resolve()))
        tally = run.stats
        if options["json"]:
            self.stdout.write(json.dumps({"run_id": run.pk, **tally}, ensure_ascii=False))
        self.tell_ignored(tally)
        self.stderr.write(
            _(
                "Rows read %(read)s: inserted %(inserted)s, unchanged %(unchanged)s, superseded %(superseded)s, "
                "rejected %(rejected)s."
            )
            % tally
        )
        self.end(run, tally)
