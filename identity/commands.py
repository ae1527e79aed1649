"""What commands over the lead feeds share: which feeds, and the records of which days."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site.commands import JobCommand, day
from identity.jobs import FEEDS


class DatedCommand(JobCommand):
    """A door to a job with the parameters ``date_from`` and ``date_to``."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--date-from", type=day, help=_("First day of the records (YYYY-MM-DD, Lima)."))
        parser.add_argument("--date-to", type=day, help=_("Last day of the records (YYYY-MM-DD, Lima)."))

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        dates = {name: options[name].isoformat() if options[name] else None for name in ("date_from", "date_to")}
        return super().parameters(options) | dates


class FeedsCommand(DatedCommand):
    """A door to a job with the parameters ``source``, ``date_from`` and ``date_to``."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--source", action="append", choices=list(FEEDS), help=_("Only this feed; may be repeated.")
        )

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        sources = list(dict.fromkeys(options["source"])) if options["source"] else None
        return super().parameters(options) | {"source": sources}
