"""What recovery adds to the page of a person: its leads that were lost and came back."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.translation import gettext as _

from ct4site.admin import may_view
from ct4site.admin_base import Section, link_to
from identity.admin.persons import SHOWN, person_sections
from identity.models import Person
from recovery.models import RecoveredLead


def recovered_leads(request: HttpRequest, person: Person) -> Section | None:
    """Return the section with a person's recovered leads; None for whoever may not see them."""
    if not may_view(request, RecoveredLead):
        return None
    columns = {
        _("Lead"): lambda lead: link_to(lead),
        _("First recovered"): lambda lead: lead.first_recovered_at,
        _("Last recovered"): lambda lead: lead.last_recovered_at,
        _("How"): lambda lead: lead.get_recovery_method_display(),
        _("Who"): lambda lead: lead.recovered_by,
    }
    leads = RecoveredLead.objects.filter(recovered_person_key=person.pk).order_by("-first_recovered_at", "pk")
    return Section.of(_("Recovered leads"), columns, leads, SHOWN)


person_sections.append(recovered_leads)
