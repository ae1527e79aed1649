"""What attribution adds to the page of a person: what the ledger says, what it said before, when and why."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _

from attribution.admin import history, labels
from attribution.models import LedgerEntry
from ct4site.admin import may_view
from ct4site.admin_base import Section, link_to
from identity.admin.persons import person_sections
from identity.models import Person


def attribution_history(request: HttpRequest, person: Person) -> Section | None:
    """Return the section with the history of a person's attribution; None for whoever may not see the ledger."""
    if not may_view(request, LedgerEntry):
        return None
    section = history.section(person.pk, _("Attribution history"))
    entry = LedgerEntry.objects.filter(pk=person.pk).defer("evidence_json").first()
    if entry is None:
        section.note = _("The ledger does not know this person yet.")
    else:
        names = labels.scouts_by_number([entry.attributed_scout_id])
        said = history.said(
            {"decision_status": entry.decision_status, "attributed_scout_id": entry.attributed_scout_id}, names
        )
        section.note = format_html(
            "{} {} · {} · {}", _("Now:"), said, labels.rule(entry.attribution_rule), link_to(entry, _("Ledger entry"))
        )
    return section


person_sections.append(attribution_history)
