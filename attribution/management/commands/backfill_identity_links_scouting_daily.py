"""Link scouting registrations (domain.md 6.11)."""

from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.models import JobType


class Command(JobCommand):
    job_code = JobType.LINKS_BACKFILL

    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Link scouting registrations that have a scout and no person. What is not certain stays open, with its reason."
        )
