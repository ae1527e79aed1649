"""Put right and record leads that have a person by now (runbook RB2)."""

from __future__ import annotations

from django.utils.translation import gettext as _

from ct4site.models import JobType
from recovery.commands import LimitedCommand


class Command(LimitedCommand):
    job_code = JobType.RECOVERY_IMPACT

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Sets the missing origin of leads that have a person, and records which leads came back.")
