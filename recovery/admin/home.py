"""What recovery adds to the start page: what is lost, whether it is being recovered, and what is wrong (domain.md 7.7)."""

from __future__ import annotations

from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _

from ct4site import home
from ct4site.admin import linked, may_view
from ct4site.admin_base import lima_time, pill
from recovery import health
from recovery.models import GapDay, IdentityGap, RiskLevel

STATE_TONES = {
    health.RecoveryState.ACTIVE: "good",
    health.RecoveryState.NOT_SET_UP: "bad",
    health.RecoveryState.NO_SIGNAL: "warn",
    health.RecoveryState.DONE: "good",
}
FRESH_TONES = {health.Freshness.NEVER: "bad", health.Freshness.STALE: "warn", health.Freshness.OK: "good"}


@home.panel(place=16)
def lost_leads(request: HttpRequest) -> home.Panel | None:
    """State and freshness of recovery, its alerts, unresolved leads by risk: as the last run stored them."""
    if not may_view(request, GapDay):
        return None
    standing = health.standing()
    # The codes stay beside the words: the runbooks speak in codes.
    rows: list[tuple[Any, ...]] = [
        (standing.state.label, pill(standing.state, tone=STATE_TONES[standing.state])),
        (
            format_html("{}: {}", _("Last run"), standing.freshness.label),
            pill(standing.freshness, tone=FRESH_TONES[standing.freshness]),
        ),
    ]
    rows += [
        (format_html('<span class="small">– {}</span>', alert.text), pill(alert.code, _("Attention"), "warn"))
        for alert in standing.alerts
    ]
    day = standing.day
    if day is None:
        return home.Panel(_("Lost leads"), rows)
    share = format_html(
        '{} % <span class="quiet small">{}</span>', f"{standing.pct_unresolved:.2f}", intcomma(day.unresolved)
    )
    rows.append((linked(request, IdentityGap, _("Unresolved")), share))
    rows += [
        (
            format_html('<span class="small">– {}</span>', linked(request, IdentityGap, words, risk_level=risk.value)),
            format_html('<span class="quiet small">{}</span>', intcomma(number)),
        )
        for risk, words, number in (
            (RiskLevel.HIGH, _("High risk"), day.high_risk), (RiskLevel.MEDIUM, _("Medium risk"), day.medium_risk),
            (RiskLevel.LOW, _("Low risk"), day.low_risk),
        )
    ]  # fmt: skip
    note = format_html(
        "{} {} · {}", _("As of the run of"), lima_time(day.taken_at), linked(request, GapDay, _("By day"))
    )
    return home.Panel(_("Lost leads"), rows, note)
