"""Decide the lead ledger (domain.md 6.2)."""

from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.models import JobType


class Command(JobCommand):
    job_code = JobType.PROCESS_LEDGER

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Decide for every person whose evidence changed which source and which scout get the person.")
