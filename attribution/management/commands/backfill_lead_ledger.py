"""Fill the ledger's scouts from the events (domain.md 6.11)."""

from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.models import JobType


class Command(JobCommand):
    job_code = JobType.LEDGER_BACKFILL

    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Give persons the one scout whom their events name and the ledger lacks. Never touches a conflict or a decision of a person."
        )
