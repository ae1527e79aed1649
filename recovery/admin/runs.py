"""What the jobs of recovery show on the pages of their runs: the forms that start them, the words of their tally."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from ct4site.models import JobType
from ct4site.run_pages import DateRangeForm, LimitedForm, RunPage, limit_field, register
from recovery.models import GapReason, RiskLevel

ANY = ("", _("Any"))


class RetryForm(DateRangeForm):
    """Parameters of the job that matches lost leads again (runbook RB4)."""

    limit = limit_field(_("At most this many leads, the oldest first."))
    gap_reason = forms.ChoiceField(
        label=_("Gap"),
        required=False,
        choices=[ANY, *((code, words) for code, words in GapReason.choices if code != GapReason.RESOLVED)],
    )
    risk_level = forms.ChoiceField(label=_("Risk"), required=False, choices=[ANY, *RiskLevel.choices])
    field_order = ("limit", "date_from", "date_to", "gap_reason", "risk_level", "dry_run")

    def parameters(self) -> dict[str, Any]:
        return self.days() | self.given("limit", "gap_reason", "risk_level")


class ImpactForm(LimitedForm):
    """Parameters of the recovery impact job (runbook RB2)."""

    limit = limit_field(_("At most this many leads, the newest first; 10,000 when none is given."))


RECOVERED = {
    "links_created": _("Leads linked to a person"),
    "links_updated": _("Links changed"),
    "origins_created": _("Origins set"),
    "origins_updated": _("Origins changed"),
    "audit_created": _("Recovered for the first time"),
    "audit_updated": _("Recovered again"),
}
REST = {
    "settled": _("Open tries ended, settled otherwise"),
    "drivers_released": _("Drivers released from quarantine"),
    "skipped_changed_since_plan": _("Left for the next run, changed meanwhile"),
    "errors": _("Errors"),
    "audit": _("Audit entries"),
    "gaps": _("Gaps"),
    "total_leads": _("Leads"),
    "unresolved": _("Unresolved"),
    **dict(GapReason.choices),
    "elapsed_seconds": _("Seconds"),
}

register(
    JobType.GAP_RECOVERY,
    RunPage(
        form=RetryForm,
        key_numbers=("matched", "pending", "failed"),
        words={
            "processed": _("Leads looked at"),
            "matched": _("matched"),
            "pending": _("still open"),
            "failed": _("given up"),
            "skipped": _("left alone, nothing changed since their last try"),
            "recovered": _("Leads recovered"),
            **RECOVERED,
            "persons_created": _("Persons created"),
            "persons_completed": _("Persons completed"),
            "driver_links": _("Driver links"),
            "events": _("Lead events"),
            "origins": _("Origins"),
            "origin_history": _("Origin history"),
            "unmatched_resolved": _("Unmatched records resolved"),
            **REST,
        },
    ),
)
register(
    JobType.RECOVERY_IMPACT,
    RunPage(
        form=ImpactForm,
        key_numbers=("processed", "skipped"),
        words={
            "processed": _("Leads recovered"),
            "skipped": _("left alone: nobody, or with an origin that a person decided"),
            **RECOVERED,
            **REST,
        },
    ),
)
