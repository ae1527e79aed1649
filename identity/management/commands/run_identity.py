"""Link leads to persons and drivers."""

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site.models import JobType
from identity.commands import FeedsCommand


class Command(FeedsCommand):
    job_code = JobType.IDENTITY_RUN

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Link leads to persons and drivers; every lead that does not link gets a reason. Incremental.")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--full", action="store_true", help=_("Try every open unmatched record again."))

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        return super().parameters(options) | {"full": options["full"] or None}
