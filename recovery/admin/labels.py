"""Stored codes of recovery in words (domain.md 7, 8), and the colours of their pills."""

from __future__ import annotations

from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ct4site.admin_base import NOTHING, pill, words
from recovery.models import FAIL_REASONS, ClaimStatusBucket, GapReason, ImpactBucket, RetryStatus, RiskLevel

MISSING: dict[str, Promise] = {
    GapReason.NO_IDENTITY: _("Nobody knows whose lead it is, so nothing can be claimed for it."),
    GapReason.NO_ORIGIN: _("Its person is known, but on record the person did not come in by a cabinet lead."),
    GapReason.INCONSISTENT_ORIGIN: _("Its person is known, but on record it came in by a lead of somebody else."),
    GapReason.RESOLVED: _("Nothing: its person is known and came in by a cabinet lead of its own."),
}

GAP_TONES = {
    GapReason.NO_IDENTITY: "bad",
    GapReason.NO_ORIGIN: "warn",
    GapReason.INCONSISTENT_ORIGIN: "bad",
    GapReason.RESOLVED: "good",
}
# Of risks and of severities, whose codes are the same.
RISK_TONES = {RiskLevel.HIGH: "bad", RiskLevel.MEDIUM: "warn", RiskLevel.LOW: "plain"}
RETRY_TONES = {RetryStatus.MATCHED: "good", RetryStatus.PENDING: "info", RetryStatus.FAILED: "bad"}
IMPACT_TONES = {
    ImpactBucket.STILL_UNIDENTIFIED: "bad",
    ImpactBucket.IN_TIME_NO_CLAIM: "info",
    ImpactBucket.IN_TIME_CLAIM: "good",
    ImpactBucket.LATE: "warn",
    ImpactBucket.MISSING_ORIGIN: "warn",
    ImpactBucket.NO_CLAIM: "plain",
    ImpactBucket.CLAIM: "good",
}
CLAIM_TONES = {
    ClaimStatusBucket.UNIDENTIFIED: "bad",
    ClaimStatusBucket.NO_ORIGIN: "warn",
    ClaimStatusBucket.NO_CLAIM: "plain",
    ClaimStatusBucket.CLAIM: "good",
}


def coded(item: Any, column: str, tones: dict[Any, str]) -> SafeString | str:
    """Return a stored code of an object in words, as a pill of its tone."""
    code = getattr(item, column)
    return pill(code, getattr(item, f"get_{column}_display")(), tones.get(code, "plain"))


def fail_reason(code: str | None) -> str:
    """Return why a try came to nothing in words; the stored code for one without words."""
    return words(FAIL_REASONS, code)


def signed(number: int | None) -> str:
    """Return a difference with its sign; a dash where there is nothing to compare with."""
    if number is None:
        return NOTHING
    return f"{'+' if number > 0 else '−' if number < 0 else ''}{intcomma(abs(number))}"
