"""Fill the events' scouts from the mapping (domain.md 6.11)."""

from django.utils.translation import gettext as _

from ct4site.commands import JobCommand
from ct4site.models import JobType


class Command(JobCommand):
    job_code = JobType.EVENTS_BACKFILL

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Give events of cabinet leads the scout that the loaded mapping names.")
