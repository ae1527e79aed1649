"""Whether the attribution of scouts is well: one rule for the start page, the health page and the API (Q25)."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from django.db import models
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from attribution.models import AttributionDay
from ct4site.models import JobType, Run, RunStatus


class HealthStatus(models.TextChoices):
    """From well to ill; the order is that of severity."""

    OK = "OK", _("OK")
    WARN = "WARN", _("Attention")
    FAIL = "FAIL", _("Failing")


@dataclass(frozen=True)
class Thresholds:
    """Bounds of Q25. A percentage must be above ``pct_ok``; a number of conflicts must be below ``conflicts_warn``."""

    pct_ok: float = 80
    pct_fail: float = 50
    conflicts_warn: int = 50
    conflicts_fail: int = 100
    late: datetime.timedelta = datetime.timedelta(hours=5)
    stopped: datetime.timedelta = datetime.timedelta(hours=12)


@dataclass(frozen=True)
class Reason:
    """One thing that is not well: a stable code, how bad it is, and a sentence."""

    code: str
    status: HealthStatus
    text: Promise


@dataclass(frozen=True)
class Health:
    """The worst of the reasons; OK when there are none."""

    status: HealthStatus
    reasons: tuple[Reason, ...]


REASONS = {
    "pct_low": _("Too few persons have a scout."),
    "conflicts_many": _("Too many persons are claimed by several scouts."),
    "refresh_failed": _("The last refresh failed."),
    "refresh_late": _("The last refresh is too long ago."),
    "never_refreshed": _("The attribution was never refreshed."),
}


def health(
    *,
    total_persons: int,
    pct_satisfactory: float,
    conflicts: int,
    refreshed_at: datetime.datetime | None,
    last_refresh_failed: bool,
    now: datetime.datetime | None = None,
    thresholds: Thresholds = Thresholds(),
) -> Health:
    """Return the health of attribution with its reasons (Q25, domain.md 6.10).

    ``pct_satisfactory`` is 0 to 100 and says nothing without persons; ``conflicts`` counts open and historical ones
    (contract of conflicts_count, Q13); ``refreshed_at`` is the end of the last refresh that succeeded.
    OK: more than 80 %, fewer than 50 conflicts, refreshed within 5 hours (the schedule of 4 plus one). FAIL: less than
    50 %, more than 100 conflicts, more than 12 hours, never, or the last refresh failed. WARN: between.
    """
    now = now or timezone.now()
    found: list[tuple[str, HealthStatus]] = []
    if total_persons and pct_satisfactory <= thresholds.pct_ok:
        found.append(("pct_low", _worse(pct_satisfactory < thresholds.pct_fail)))
    if conflicts >= thresholds.conflicts_warn:
        found.append(("conflicts_many", _worse(conflicts > thresholds.conflicts_fail)))
    if last_refresh_failed:
        found.append(("refresh_failed", HealthStatus.FAIL))
    if refreshed_at is None:
        found.append(("never_refreshed", HealthStatus.FAIL))
    elif now - refreshed_at > thresholds.late:
        found.append(("refresh_late", _worse(now - refreshed_at > thresholds.stopped)))
    reasons = tuple(Reason(code, status, REASONS[code]) for code, status in found)
    order = list(HealthStatus)
    return Health(max((reason.status for reason in reasons), key=order.index, default=HealthStatus.OK), reasons)


def _worse(is_failing: bool) -> HealthStatus:
    return HealthStatus.FAIL if is_failing else HealthStatus.WARN


@dataclass(frozen=True)
class Standing:
    """How attribution stood at the last refresh, the run that ended last, and the health now."""

    day: AttributionDay | None
    last_run: Run | None
    health: Health

    @property
    def pct_satisfactory(self) -> float:
        """Percentage of persons with a scout in the ledger; 0 without persons (domain.md 6.10)."""
        return percent(self.day)


def percent(day: AttributionDay | None) -> float:
    """Return the percentage of persons with a scout on a day, with two decimals; 0 without persons (domain.md 6.10)."""
    if day is None or not day.total_persons:
        return 0.0
    return round(100 * day.satisfactory_count / day.total_persons, 2)


def standing(now: datetime.datetime | None = None) -> Standing:
    """Return how attribution stands, from what the last refresh stored: two look-ups at any size."""
    day = AttributionDay.objects.order_by("-metric_date").first()
    finished = Run.objects.filter(job_type=JobType.SCOUT_REFRESH, dry_run=False).exclude(status=RunStatus.RUNNING)
    last_run = finished.order_by("-id").first()
    return Standing(
        day=day,
        last_run=last_run,
        health=health(
            total_persons=day.total_persons if day else 0,
            pct_satisfactory=percent(day),
            conflicts=day.conflicts_count if day else 0,
            refreshed_at=day.computed_at if day else None,
            last_refresh_failed=last_run is not None and last_run.status == RunStatus.FAILED,
            now=now,
        ),
    )
