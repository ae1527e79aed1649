"""Give lead rows their events (domain.md 6.1)."""

import datetime as dt
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.models import JobType
from identity.jobs import FEEDS


class Command(JobCommand):
    job_code = JobType.POPULATE_EVENTS

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Give every lead its event, and every event the person of its lead's link. Incremental.")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--source", action="append", choices=list(FEEDS), help=_("Only this feed; may be repeated.")
        )
        parser.add_argument(
            "--date-from", type=dt.date.fromisoformat, help=_("First day of the records (YYYY-MM-DD, Lima).")
        )
        parser.add_argument(
            "--date-to", type=dt.date.fromisoformat, help=_("Last day of the records (YYYY-MM-DD, Lima).")
        )

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        dates = {name: options[name].isoformat() if options[name] else None for name in ("date_from", "date_to")}
        sources = list(dict.fromkeys(options["source"])) if options["source"] else None
        return super().parameters(options) | dates | {"source": sources}
