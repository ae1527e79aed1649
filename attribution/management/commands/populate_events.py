"""Give lead rows their events (domain.md 6.1)."""

from django.utils.translation import gettext as _

from ct4site.models import JobType
from identity.commands import FeedsCommand


class Command(FeedsCommand):
    job_code = JobType.POPULATE_EVENTS

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Give every lead its event, and every event the person of its lead's link. Incremental.")
