"""What of review stands on the start page."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from ct4site import home
from ct4site.admin_base import NOTHING
from ct4site.models import CaseKind, CaseStatus, Proposal, ProposalStatus, ReviewCase
from ct4site.review_admin.words import money


@home.panel(0)
def waiting_panel(request: HttpRequest) -> home.Panel | None:
    """Return the panel of the start page: open cases by kind, and proposals that wait; None without the right."""
    if not request.user.has_perm("ct4site.view_reviewcase"):
        return None
    address = reverse("admin:ct4site_reviewcase_changelist")
    counted = (
        ReviewCase.objects.filter(status=CaseStatus.OPEN)
        .order_by()
        .values("kind")
        .annotate(number=Count("pk"), amount=Sum("money_at_risk"))
        .values_list("kind", "number", "amount")
    )
    labels = dict(CaseKind.choices)
    rows: list[Any] = [
        (format_html('<a href="{}?kind__exact={}">{}</a>', address, kind, labels[kind]), f"{number:,}", money(amount))
        for kind, number, amount in sorted(counted, key=lambda row: -row[2])
    ]
    waiting = Proposal.objects.filter(status=ProposalStatus.WAITING).count()
    if waiting:
        link = format_html('<a href="{}">{}</a>', reverse("admin:ct4site_proposal_changelist"), _("Wait for approval"))
        rows.append((link, f"{waiting:,}", NOTHING))
    return home.Panel(_("Cases that need a person"), rows, note="" if rows else _("Nothing waits for a person."))
