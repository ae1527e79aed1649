"""Open the first settlement period; closing one opens the next (domain.md 6.13)."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.translation import gettext as _

from attribution.settlement import open_period
from ct4site import jobs
from ct4site.commands import day, telling_progress


class Command(BaseCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Opens the first settlement period. Closing a period opens the next one.")

    def add_arguments(self, parser: CommandParser) -> None:
        a_day: dict[str, Any] = {"required": True, "type": day, "metavar": "DAY"}
        parser.add_argument("--from", dest="starts_on", help=_("First day (YYYY-MM-DD)."), **a_day)
        parser.add_argument("--until", dest="ends_on", help=_("Last day (YYYY-MM-DD)."), **a_day)
        parser.add_argument("--name", default="", help=_("Name of the period; its days unless told."))

    def handle(self, *args: Any, **options: Any) -> None:
        with telling_progress():
            period = open_period(
                starts_on=options["starts_on"], ends_on=options["ends_on"], name=options["name"],
                actor=jobs.current_actor(),
            )  # fmt: skip
        self.stderr.write(_("The period %(name)s is open.") % {"name": period.name})
