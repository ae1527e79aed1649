"""manage.py sync_views: functions and views as the files under sql/ say."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from ct4site import sqlfiles


class Command(BaseCommand):
    requires_system_checks: list[str] = []

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Makes functions and views from the files under sql/; migrate does the same at its end.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help=_("Change nothing; list what is out of date and exit with 1 if anything is."),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["check"]:
                self._check()
            else:
                self._sync()
        except sqlfiles.SyncError as error:
            raise CommandError(str(error)) from error

    def _check(self) -> None:
        differences = sqlfiles.out_of_date()
        for difference in differences:
            self.stdout.write(difference)
        if differences:
            sys.exit(1)
        self.stdout.write(_("Functions and views are as the files say."))

    def _sync(self) -> None:
        report = sqlfiles.sync()
        counts = {
            "functions": report.functions,
            "views": report.views,
            "removed": report.removed,
            "unchanged": report.unchanged,
        }
        self.stdout.write(
            _("%(functions)d functions and %(views)d views made, %(removed)d removed, %(unchanged)d left as they were.")
            % counts
        )
