"""Link leads to persons and drivers."""

import datetime as dt
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.models import JobType
from identity.jobs import FEEDS


class Command(JobCommand):
    job_code = JobType.IDENTITY_RUN

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Link leads to persons and drivers; every lead that does not link gets a reason. Incremental.")

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
        parser.add_argument("--full", action="store_true", help=_("Try every open unmatched record again."))

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        dates = {name: options[name].isoformat() if options[name] else None for name in ("date_from", "date_to")}
        sources = list(dict.fromkeys(options["source"])) if options["source"] else None
        return super().parameters(options) | dates | {"source": sources, "full": options["full"] or None}
