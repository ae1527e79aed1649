"""How the identity gap and its retries stand, as one report (runbook RB4, domain.md 7.7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ct4site.jobs import diagnosed
from recovery.health import ALERTS, Freshness, RecoveryState, Signs, alerts, freshness, recovery_state
from recovery.models import FAIL_REASONS, MAX_ATTEMPTS, GapReason, RiskLevel

TITLES: dict[str, str | Promise] = {
    "metrics": _("Identity gap"),
    "breakdown": _("Leads by what is missing and by risk"),
    "freshness": _("Job that matches again"),
    "alerts": _("Alerts of the job"),
    "fail_reasons": _("Most frequent reasons for not matching"),
    "volume_24h": _("Tries of the last 24 hours"),
    "links": _("Links of cabinet leads, and what was recovered"),
    "integrity": _("What should be zero, or looked at"),
    "evolution": _("Change since the figures of the day before"),
}
WORDS: dict[str, str | Promise] = {
    "taken_at": _("taken (Lima)"),
    "total_leads": _("leads with a date"),
    "unresolved": _("unresolved"),
    "resolved": _("resolved"),
    "pct_unresolved": _("unresolved, percent"),
    "leads_without_date": _("leads without a date, in no other figure"),
    "freshness": _("freshness"),
    "state": _("state"),
    "first_run_at": _("first completed run (Lima)"),
    "last_run_at": _("last completed run (Lima)"),
    "last_run_failed": _("the last run failed"),
    "last_matched_at": _("last lead recovered by it (Lima)"),
    "jobs_24h": _("leads tried in 24 hours"),
    "matched_24h": _("of those, matched"),
    "tries": _("tries"),
    "leads": _("different leads"),
    "matched": _("matched"),
    "pending": _("still pending"),
    "failed": _("given up"),
    "links_24h": _("links made in 24 hours"),
    "links_7d": _("links made in 7 days"),
    "recovered_24h": _("leads recovered in 24 hours"),
    "recovered_7d": _("leads recovered in 7 days"),
    "matched_without_link": _("matched tries without a link"),
    "links_without_origin": _("links whose person has no origin"),
    "stuck": _("leads with five tries or more, still open"),
    "no_identity": _("without person"),
    "no_origin": _("without origin"),
    "inconsistent_origin": _("wrong origin"),
}


def diagnose() -> dict[str, Any]:
    """Return the figures of the diagnosis; reads only, and all of one moment (domain.md 7.7).

    Sections: ``metrics``, ``breakdown`` (leads per gap_reason and risk_level), ``freshness`` (of the job, from its runs,
    with the state of recovery), ``alerts`` (codes), ``fail_reasons`` (the ten most frequent of open leads), ``volume_24h``,
    ``links``, ``integrity``, ``evolution`` (now against the last day stored before today, null without one).
    Moments are ISO texts.
    """
    figures = diagnosed("diagnose_gaps", {"max_attempts": MAX_ATTEMPTS})
    told = figures["freshness"]
    signs = Signs(
        first_run_at=_moment(told["first_run_at"]),
        last_run_at=_moment(told["last_run_at"]),
        last_run_failed=told["last_run_failed"],
        last_matched_at=_moment(told["last_matched_at"]),
        matched_24h=told["matched_24h"],
        unresolved=figures["metrics"]["unresolved"],
    )
    now = datetime.fromisoformat(figures["metrics"]["taken_at"])
    told |= {"freshness": freshness(signs, now).value, "state": recovery_state(signs).value}
    figures["alerts"] = [alert.code for alert in alerts(signs, now)]
    return {section: figures[section] for section in TITLES}


def in_words(figures: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Yield each section of ``diagnose`` with its title and its lines, for people; codes stand beside their words."""
    for section, title in TITLES.items():
        yield str(title), list(_lines(section, figures[section]))


def _lines(section: str, values: Any) -> Iterator[tuple[str, Any]]:
    if section == "breakdown":
        for reason in GapReason:
            risks = [f"{risk.label} {values[reason.value][risk.value]}" for risk in RiskLevel]
            yield _coded(reason.label, reason.value), ", ".join(risks)
    elif section == "alerts":
        yield gettext("how many"), len(values)
        for code in values:
            yield code, ALERTS[code]
    elif section == "fail_reasons":
        yield gettext("how many"), len(values)
        for row in values:
            words = gettext(
                "%(leads)s leads, %(average_tries)s tries on average, %(most_tries)s at most, %(stuck)s stuck"
            )
            yield _coded(FAIL_REASONS.get(row["reason"]), row["reason"]), words % row
    elif section == "evolution":
        yield gettext("day compared with"), values["day_before"]
        for name, change in values.items():
            if name != "day_before" and change["before"] is not None:
                yield str(WORDS[name]), f"{change['before']} → {change['now']} ({change['change']:+d})"
    else:
        for name in (name for name in WORDS if name in values):
            yield str(WORDS[name]), _shown(name, values[name])


def _coded(words: str | Promise | None, code: str) -> str:
    return f"{words} ({code})" if words else code


def _shown(name: str, value: Any) -> Any:
    if name == "freshness":
        return _coded(Freshness(value).label, value)
    if name == "state":
        return _coded(RecoveryState(value).label, value)
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if name.endswith("_at") and value:
        return f"{timezone.localtime(datetime.fromisoformat(value)):%Y-%m-%d %H:%M}"
    return value


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
