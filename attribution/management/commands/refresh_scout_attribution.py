"""The recurring refresh of scout attribution (runbook RB1)."""

from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.models import JobType


class Command(JobCommand):
    job_code = JobType.SCOUT_REFRESH
    has_limit = False

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Bring the attribution of scouts up to date, and store how it stands today.")
