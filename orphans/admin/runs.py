"""What the orphan job shows on the pages of its runs: the form that starts it, the words of its tally."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from ct4site.models import JobType
from ct4site.run_pages import RunForm, RunPage, limit_field, register


class OrphansForm(RunForm):
    """Parameters of the orphan job (runbook RB3); its report goes to the reports folder."""

    limit = limit_field(_("At most this many drivers, the oldest links first."))
    reprocess_quarantined = forms.BooleanField(
        label=_("Those in quarantine"),
        required=False,
        help_text=_("Decides the drivers in quarantine again, instead of looking for new ones."),
    )
    field_order = ("limit", "reprocess_quarantined", "dry_run")

    def parameters(self) -> dict[str, Any]:
        return self.given("limit", "reprocess_quarantined")


register(
    JobType.ORPHANS_FIX,
    RunPage(
        form=OrphansForm,
        key_numbers=("resolved_relinked", "quarantined"),
        words={
            "processed": _("Drivers decided"),
            "with_events": _("with lead events"),
            "without_events": _("without lead events"),
            "links_created": _("Leads linked"),
            "links_skipped": _("Lead events that did not suffice"),
            "resolved_relinked": _("Relinked"),
            "quarantined": _("Quarantined"),
            "unchanged": _("of those, as before"),
            "skipped_in_review": _("Skipped, somebody is deciding them"),
            "drivers_released": _("Released by a lead of their person"),
            "errors": _("Left alone, changed meanwhile"),
            "report": _("Report"),
            "events": _("Lead events"),
            "origins": _("Origins"),
            "origin_history": _("Origin history"),
            "unmatched_resolved": _("Unmatched records resolved"),
            "persons_completed": _("Persons completed"),
            "audit": _("Audit entries"),
        },
    ),
)
