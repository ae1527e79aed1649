"""The scout attribution fix (runbook RB0)."""

from django.utils.translation import gettext as _

from ct4site.commands import ReportCommand
from ct4site.models import JobType


class Command(ReportCommand):
    job_code = JobType.SCOUT_FIX
    has_limit = False

    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Repairs scout attribution step by step and writes a report before and after. Ends with 1 if a step failed."
        )
