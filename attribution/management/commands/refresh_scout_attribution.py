"""The recurring refresh of scout attribution (runbook RB1)."""

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.models import JobType


class Command(JobCommand):
    job_code = JobType.SCOUT_REFRESH
    has_limit = False

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Bring the attribution of scouts up to date, and store how it stands today.")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--full", action="store_true", help=_("Look at everything, also when nothing was written since the last.")
        )

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        return super().parameters(options) | {"full": options["full"] or None}
