"""Bring the matching index up to date with the drivers feed."""

from ct4site.commands import JobCommand
from ct4site.models import JobType


class Command(JobCommand):
    help = "Bring canon.drivers_index up to date with public.drivers; touches only what changed."
    job_code = JobType.DRIVERS_INDEX_REFRESH
    has_limit = False
