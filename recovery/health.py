"""Whether recovery is well: one rule each for the diagnosis, the start page and the API (RB4, domain.md 7.7)."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from django.db import models
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ct4site.models import JobType, Run, RunStatus
from recovery.models import GapDay, MatchingJob, RetryStatus

LATE = datetime.timedelta(hours=24)
"""The retry job runs at least this often (RB4, success metrics)."""

SILENT = datetime.timedelta(hours=48)
"""Nothing matched for longer than this, while leads are open, is an alert (RB4, next steps)."""


class Freshness(models.TextChoices):
    """How long ago the retry job last completed; the codes are those of the screens (domain.md 7.7)."""

    NEVER = "NUNCA", _("Never run")
    STALE = "STALE", _("Overdue")
    OK = "OK", _("Up to date")


class RecoveryState(models.TextChoices):
    """What recovery is doing; the codes are those of the screens (domain.md 7.7)."""

    ACTIVE = "ACTIVO", _("Active: leads are being recovered")
    NOT_SET_UP = "NO CONFIGURADO", _("Not set up: never run")
    NO_SIGNAL = "SIN SEÑAL", _("No signal: leads are open, none was recovered in a day")
    DONE = "COMPLETO", _("Complete: no lead is open")


@dataclass(frozen=True)
class Alert:
    """One thing about the retry job that somebody should look at: a stable code and a sentence."""

    code: str
    text: str | Promise


ALERTS = {
    "never_run": _("Lost leads were never matched again: the job is not scheduled."),
    "run_late": _("Lost leads were last matched again more than 24 hours ago."),
    "run_failed": _("The last run of the job failed."),
    "nothing_matched": _("No lead was recovered for more than 48 hours, although leads are open."),
}


@dataclass(frozen=True)
class Signs:
    """What the rules look at. ``first_run_at`` and ``last_run_at`` are ends of runs that completed, dry runs left out.

    From the runs, not from the tries: a run that found nothing to do is a run (domain.md 7.7).
    """

    first_run_at: datetime.datetime | None = None
    last_run_at: datetime.datetime | None = None
    last_run_failed: bool = False
    last_matched_at: datetime.datetime | None = None
    matched_24h: int = 0
    unresolved: int = 0


def freshness(signs: Signs, now: datetime.datetime) -> Freshness:
    """Return NUNCA without a run, STALE when the last is more than 24 hours old, else OK (domain.md 7.7)."""
    if signs.last_run_at is None:
        return Freshness.NEVER
    return Freshness.STALE if now - signs.last_run_at > LATE else Freshness.OK


def recovery_state(signs: Signs) -> RecoveryState:
    """Return the first that holds: matched within a day, never run, leads open, nothing to do (domain.md 7.7)."""
    if signs.matched_24h:
        return RecoveryState.ACTIVE
    if signs.last_run_at is None:
        return RecoveryState.NOT_SET_UP
    return RecoveryState.NO_SIGNAL if signs.unresolved else RecoveryState.DONE


def alerts(signs: Signs, now: datetime.datetime) -> tuple[Alert, ...]:
    """Return what is wrong with the job (RB4, next steps): not run for 24 hours, failed, nothing matched for 48 hours.

    Before anything was ever matched, the 48 hours count from the first run.
    """
    found = []
    fresh = freshness(signs, now)
    if fresh == Freshness.NEVER:
        found.append("never_run")
    elif fresh == Freshness.STALE:
        found.append("run_late")
    if signs.last_run_failed:
        found.append("run_failed")
    since = signs.last_matched_at or signs.first_run_at
    if signs.unresolved and since is not None and now - since > SILENT:
        found.append("nothing_matched")
    return tuple(Alert(code, ALERTS[code]) for code in found)


@dataclass(frozen=True)
class Standing:
    """How recovery stood at the last run, and how its job stands now."""

    day: GapDay | None
    signs: Signs
    freshness: Freshness
    state: RecoveryState
    alerts: tuple[Alert, ...]

    @property
    def pct_unresolved(self) -> float:
        """Percentage of leads without what they need, with two decimals; 0 without leads (domain.md 10.2)."""
        if self.day is None or not self.day.total_leads:
            return 0.0
        return round(100 * self.day.unresolved / self.day.total_leads, 2)


def standing(now: datetime.datetime | None = None) -> Standing:
    """Return how recovery stands; the open leads are those of the last stored day, so it costs the same at any size."""
    now = now or timezone.now()
    day = GapDay.objects.first()
    finished = Run.objects.filter(job_type=JobType.GAP_RECOVERY, dry_run=False).exclude(status=RunStatus.RUNNING)
    completed = finished.filter(status=RunStatus.COMPLETED).aggregate(
        first=models.Min("completed_at"), last=models.Max("completed_at")
    )
    last_status = finished.values_list("status", flat=True).first()
    matched = MatchingJob.objects.filter(status=RetryStatus.MATCHED)
    signs = Signs(
        first_run_at=completed["first"],
        last_run_at=completed["last"],
        last_run_failed=last_status == RunStatus.FAILED,
        last_matched_at=matched.aggregate(last=models.Max("last_attempt_at"))["last"],
        matched_24h=matched.filter(last_attempt_at__gte=now - datetime.timedelta(hours=24)).count(),
        unresolved=day.unresolved if day else 0,
    )
    return Standing(day, signs, freshness(signs, now), recovery_state(signs), alerts(signs, now))
