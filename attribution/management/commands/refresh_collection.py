"""What the partner owes and paid, brought up to date (runbook RB0)."""

from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.models import JobType


class Command(JobCommand):
    job_code = JobType.COLLECTION_REFRESH
    has_limit = False

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Read what the partner paid and what drivers drove, and bring the claims up to date.")
