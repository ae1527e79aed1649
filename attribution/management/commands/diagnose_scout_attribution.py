"""Inventory and diagnosis of scout attribution (runbook RB0, scripts 00, 01 and 03)."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import InterfaceError, OperationalError
from django.utils.translation import gettext as _

from attribution.diagnosis import diagnose
from ct4site.commands import flatten


class Command(BaseCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Shows where scouts come from, how far they got, and what is in the way. Changes nothing.")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help=_("Print the figures as one JSON line on stdout."))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            figures = diagnose()
        except (OperationalError, InterfaceError) as error:
            raise CommandError(_("The database cannot be reached. Run it again when it is back.")) from error
        if options["json"]:
            self.stdout.write(json.dumps(figures, sort_keys=True))
            return
        for section, values in figures.items():
            self.stdout.write(section)
            for name, value in flatten(values):
                self.stdout.write(f"  {name}: {'–' if value is None else value}")
