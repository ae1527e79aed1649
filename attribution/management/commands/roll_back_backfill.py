"""Take back what a backfill did, by method and time (runbook RB0, "Rollback")."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from attribution.undo import BACKFILLS, roll_back_backfill
from ct4site import jobs


class Command(BaseCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Takes back what a backfill did, run by run: rows that are still as it left them. Rows that changed since, and "
            "those of persons whose scout was paid, are listed and stay. Changes nothing without --execute."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--method", required=True, choices=list(BACKFILLS), help=_("Which backfill."))
        parser.add_argument(
            "--since", required=True, type=_moment, metavar="TIME",
            help=_("Runs that wrote at this time or later (YYYY-MM-DD HH:MM:SS, Lima)."),
        )  # fmt: skip
        parser.add_argument("--until", type=_moment, metavar="TIME", help=_("Runs that wrote at this time or before."))
        parser.add_argument("--execute", action="store_true", help=_("Apply the changes; without it, a preview."))
        parser.add_argument("--json", action="store_true", help=_("Print the result as one JSON line on stdout."))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            parts = roll_back_backfill(
                method=options["method"],
                since=options["since"],
                until=options["until"],
                actor=jobs.current_actor(),
                execute=options["execute"],
            )
        except jobs.JobError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(
                json.dumps({"method": options["method"], "executed": options["execute"], "runs": parts}, sort_keys=True)
            )
        if not parts:
            self.stderr.write(_("No run of that time did such a backfill."))
        for part in parts:
            self.stderr.write(
                _(
                    "Run %(run_id)s: untouched %(untouched)s, changed since %(changed)s, already settled %(settled)s, "
                    "taken back before %(already_restored)s."
                )
                % part
            )
            for line in part["log"]:
                self.stderr.write(f"  {line}")
        if parts and not options["execute"]:
            self.stderr.write(_("Preview: nothing was changed. Add --execute to take the untouched rows back."))


def _moment(text: str) -> dt.datetime:
    """Argument type: a point in time; without a zone it is Lima time."""
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo("America/Lima"))
