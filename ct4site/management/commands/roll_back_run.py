"""Take a run back."""

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site import jobs
from ct4site.commands import JobCommand, positive
from ct4site.models import JobType, Run
from ct4site.rollback import start_roll_back


class Command(JobCommand):
    job_code = JobType.ROLL_BACK
    has_limit = False

    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Put back what a run changed. Rows that changed since stay as they are and are listed; nothing is forced."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("run_id", type=positive, metavar="RUN_ID", help=_("Number of the run to take back."))

    def start(self, options: dict[str, Any], **extra: Any) -> Run:
        return start_roll_back(
            run_id=options["run_id"], actor=jobs.current_actor(), dry_run=options["dry_run"], queue=options["queue"]
        )
