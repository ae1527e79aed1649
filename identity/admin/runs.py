"""What the jobs of identity show on the pages of their runs: the form that starts them, the words of their tally."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from ct4site.models import JobType
from ct4site.run_pages import DateRangeForm, RunPage, limit_field, register
from identity.admin import labels
from identity.models import ReasonCode

FEED_WORDS = [
    ("cabinet", _("Cabinet leads")),
    ("scouting", _("Scouting registrations")),
    ("migrations", _("Migrations")),
]


class IdentityRunForm(DateRangeForm):
    """Parameters of the identity run (domain.md 3.11, 5.6)."""

    source = forms.MultipleChoiceField(
        label=_("Feeds"), choices=FEED_WORDS, required=False, widget=forms.CheckboxSelectMultiple,
        help_text=_("All of them when none is chosen."),
    )  # fmt: skip
    full = forms.BooleanField(
        label=_("Full"),
        required=False,
        help_text=_("Tries all open unmatched records again, not only the new and the changed."),
    )
    limit = limit_field(_("At most this many records."))
    field_order = ("source", "date_from", "date_to", "limit", "full", "dry_run")

    def parameters(self) -> dict[str, Any]:
        return self.days() | self.given("source", "full", "limit")


register(
    JobType.IDENTITY_RUN,
    RunPage(
        form=IdentityRunForm,
        key_numbers=("matched", "unmatched"),
        words={
            "cabinet_leads": _("Cabinet leads"),
            "scouting_daily": _("Scouting registrations"),
            "migrations": _("Migrations"),
            "processed": _("read"),
            "matched": _("linked"),
            "unmatched": _("unmatched"),
            "skipped": _("skipped"),
            "persons_created": _("Persons created"),
            "persons_completed": _("Persons completed"),
            "driver_links": _("Driver links"),
            "events": _("Lead events"),
            "origins": _("Origins"),
            "origin_history": _("Origin history"),
            "unmatched_resolved": _("Unmatched records resolved"),
            "rules": _("Rule"),
            **labels.RULES,
            "reasons": _("Reason"),
            **{code: ReasonCode(code).label for code in ReasonCode.values},
            "skipped_changed_since_plan": _("Left for the next run, changed meanwhile"),
            "audit": _("Audit entries"),
        },
    ),
)
register(
    JobType.DRIVERS_INDEX_REFRESH,
    RunPage(
        key_numbers=("rows_affected",),
        words={
            "inserted": _("Inserted"),
            "updated": _("Updated"),
            "returned": _("Came back"),
            "vanished": _("Vanished"),
            "rows_affected": _("rows changed"),
            "unmatched_to_retry": _("Unmatched records to be tried again"),
        },
    ),
)
