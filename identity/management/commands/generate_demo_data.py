"""`manage.py generate_demo_data`: an invented data set for trying, testing and measuring."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from identity.demo import MAX_LEADS, generate


class Command(BaseCommand):
    requires_system_checks: list[str] = []

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Write an invented data set for all source tables, with files that say who is who.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--leads", type=int, default=10_000, help=_("lead rows over the three feeds (default 10000)")
        )
        parser.add_argument("--seed", type=int, default=1, help=_("same seed, same bytes (default 1)"))
        parser.add_argument("--out", required=True, type=Path, metavar="DIR", help=_("directory for the CSV files"))
        parser.add_argument("--json", action="store_true", help=_("print the rows per file as one JSON line on stdout"))

    def handle(self, *args: Any, **options: Any) -> None:
        leads, seed, directory = options["leads"], options["seed"], options["out"]
        if not 1 <= leads <= MAX_LEADS:
            raise CommandError(
                _("--leads must be between 1 and %(max)d, not %(given)d.") % {"max": MAX_LEADS, "given": leads}
            )
        if seed < 0:
            raise CommandError(_("--seed must be 0 or more, not %(given)d.") % {"given": seed})
        try:
            rows = generate(leads=leads, seed=seed, directory=directory)
        except OSError as error:
            raise CommandError(
                _("Cannot write the data set to %(directory)s: %(reason)s")
                % {"directory": directory, "reason": error.strerror or error}
            ) from error
        self.stderr.write(_("Demo data set written to %(directory)s:") % {"directory": directory})
        for table, count in rows.items():
            self.stderr.write(f"  {table:<28}{count:>10}")
        if options["json"]:
            self.stdout.write(json.dumps({"leads": leads, "seed": seed, "rows": rows}))
