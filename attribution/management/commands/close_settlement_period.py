"""Close the open settlement period (domain.md 6.13)."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site.commands import JobCommand, day
from ct4site.models import JobType


class Command(JobCommand):
    job_code = JobType.SETTLEMENT_CLOSE
    has_limit = False

    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Writes what scouts are due as lines of the open settlement period, closes it and opens the next. "
            "Pays nothing. A closed period is never edited: what changes later is an adjustment in the open one."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--until", type=day, metavar="DAY", help=_("Close it up to this day (YYYY-MM-DD)."))
        parser.add_argument("--next-until", type=day, metavar="DAY", help=_("Last day of the next period."))
        parser.add_argument(
            "--expect", metavar="FINGERPRINT", help=_("Close only if what is due is still what the preview showed.")
        )

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        days = {"ends_on": options["until"], "next_ends_on": options["next_until"]}
        return {name: day.isoformat() for name, day in days.items() if day} | {"expected": options["expect"]}
