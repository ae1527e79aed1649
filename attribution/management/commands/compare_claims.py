"""``manage.py compare_claims``: a thin door to ``attribution.comparing`` (Q59)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from attribution.comparison_models import ComparisonGroup
from ct4site.commands import LoadCommand, add_output_dir, output_dir
from ct4site.models import JobType


class Command(LoadCommand):
    job_code = JobType.CLAIMS_COMPARISON

    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Compares a list of existing claims (columns driver_id, milestone, amount_expected; optional status or paid, "
            "lead_source_pk, lead_date, person_key, paid_at) with ours and writes what would appear, disappear and change. "
            "Claims are not touched. Exit code 0: every row compared; 1: the file was refused and nothing compared; "
            "3: some rows were rejected (see the rejects file), the others are compared."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.csv", help=_("the file"))
        add_output_dir(parser)
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        run = self.load(
            options, file=str(options["file"].resolve()), output_dir=output_dir(options["output_dir"])
        )  # fmt: skip
        tally = run.stats
        if options["json"]:
            self.stdout.write(json.dumps({"run_id": run.pk, "dry_run": run.dry_run, **tally}, ensure_ascii=False))
        self.tell_ignored(tally)
        self.stderr.write(_("Rows read %(read)s: compared %(compared)s, rejected %(rejected)s.") % tally)
        for group in ComparisonGroup:
            told = _(
                "claims %(rows)s, in the list S/ %(listed)s, by CT4 S/ %(claimed)s; of them paid %(paid_rows)s, S/ %(paid)s"
            )
            self.stderr.write(f"  {group.label}: {told % tally['groups'][group]}")
        for name in tally.get("reports", ()):
            self.stderr.write(_("Report: %(file)s") % {"file": settings.REPORTS_ROOT / name})
        self.end(run, tally)
