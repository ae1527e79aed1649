"""``manage.py load_legacy_identity``: a thin door to ``identity.legacy``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site.commands import LoadCommand
from ct4site.models import JobType


class Command(LoadCommand):
    job_code = JobType.LEGACY_LOAD

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
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        run = self.load(options, persons=str(options["persons"].resolve()), links=str(options["links"].resolve()))
        tally = run.stats
        if options["json"]:
            self.stdout.write(json.dumps({"run_id": run.pk, **tally}, ensure_ascii=False))
        for name, title in (("persons", _("Persons")), ("links", _("Links"))):
            self.tell_ignored(tally[name], f"{title}: ")
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
        self.end(run, tally["persons"], tally["links"])
