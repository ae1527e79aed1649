"""Bring the matching index up to date with the drivers feed."""

from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.models import JobType


class Command(JobCommand):
    job_code = JobType.DRIVERS_INDEX_REFRESH
    has_limit = False

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Bring canon.drivers_index up to date with public.drivers; touches only what changed.")
