"""What the commands of recovery share."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site.commands import JobCommand, positive


class LimitedCommand(JobCommand):
    """A job command whose limit is its first word, as the runbooks write it (RB2, RB4)."""

    has_limit = False

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("limit", nargs="?", type=positive, metavar="LIMIT", help=_("Take at most this many leads."))

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        return super().parameters(options) | {"limit": options["limit"]}
