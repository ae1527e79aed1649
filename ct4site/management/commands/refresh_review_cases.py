"""Bring the queue of cases up to date."""

from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.models import JobType


class Command(JobCommand):
    job_code = JobType.REVIEW_REFRESH
    has_limit = False

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Open a case for everything that needs a person, and close those whose cause is gone.")
