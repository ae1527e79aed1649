"""What the pages of review show to whom, once every kind of case was decided (F2, F6)."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from ct4site.models import CaseStatus, Decision, Proposal, ReviewCase
from ct4site.review import approving, deciding, kinds
from ct4site.review.deciding import Wish
from ct4site.roles import Role
from identity.models import CabinetLead, Driver, ScoutingRegistration
from tests import factories
from tests.ct4site.test_review import BACKEND, a_user
from tests.ct4site.test_review_stories import a_world
from tests.shared import made_once

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

SCRIPT = "<script>alert(1)</script>"
CHOSEN = {
    "orphan": "create_lead", "conflict": "no_scout", "unmatched": "link_driver", "origin_conflict": "accept_lead",
    "not_restored": "accept",
}  # fmt: skip


def a_decided_world() -> None:
    """A case of each kind decided, another one proposed to be purged; names and reasons are hostile."""
    a_world()
    ana = User.objects.get(username="ana")
    open_cases = ReviewCase.objects.filter(status=CaseStatus.OPEN)
    first = open_cases.filter(kind="orphan").order_by("pk")[0]
    asked: dict[str, Any] = {"actor": ana, "expected_version": first.version, "case_id": first.pk}
    asked["wish"] = Wish("purge", {}, "documents", SCRIPT)
    approving.decide_or_propose(**asked, shown=deciding.preview(**asked).digest)
    for kind, choice in CHOSEN.items():
        case = open_cases.filter(kind=kind, is_frozen=False).order_by("pk")[0]
        target: dict[str, Any] = {}
        if kind == "orphan":
            target = {"lead_date": "2026-01-09", "full_name": SCRIPT, "phone": factories.a_phone(4321)}
        if kind == "unmatched":
            target = dict(kinds.kind_of(case).candidates(case)[0].target)
        asked |= {
            "case_id": case.pk,
            "expected_version": case.version,
            "wish": Wish(choice, target, "documents", SCRIPT),
        }
        assert isinstance(deciding.decide(**asked, shown=deciding.preview(**asked).digest), Decision)


decided_world = made_once("decided_world", a_decided_world)


def secrets() -> set[str]:
    """The phones and licences of everybody."""
    found = {str(phone)[-9:] for phone in Driver.objects.values_list("phone", flat=True)}
    found |= {str(licence) for licence in Driver.objects.values_list("license_number", flat=True)}
    found |= {str(phone)[-9:] for phone in ScoutingRegistration.objects.values_list("driver_phone", flat=True)}
    found |= {str(phone)[-9:] for phone in CabinetLead.objects.values_list("park_phone", flat=True)}
    with connection.cursor() as cursor:
        cursor.execute("select phone from canon.manual_leads")
        found |= {str(row[0])[-9:] for row in cursor.fetchall()}
    return found - {"None"}


@pytest.mark.parametrize("role", Role.values)
def test_phones_licences_and_scripts_are_on_no_page_of_whoever_may_not_see_them(role: str, decided_world: None) -> None:
    client = Client()
    client.force_login(a_user(f"some {role}", Role(role)), backend=BACKEND)
    pages = [(f"admin:ct4site_{name}_changelist", []) for name in ("reviewcase", "decision", "proposal", "auditentry")]
    pages += [("admin:ct4site_reviewcase_decide", [case.pk]) for case in ReviewCase.objects.all()]
    pages += [("admin:ct4site_proposal_change", [proposal.pk]) for proposal in Proposal.objects.all()]
    for decision in Decision.objects.all():
        pages += [("admin:ct4site_decision_change", [decision.pk]), ("admin:ct4site_run_change", [decision.run_id])]
        if role in (Role.REVIEWER, Role.ADMIN):
            pages.append(("admin:ct4site_decision_reverse", [decision.pk]))
    hidden = secrets()
    assert len(hidden) > 10
    for name, key in pages:
        answer = client.get(reverse(name, args=key))
        assert answer.status_code == 200, name
        body = answer.content.decode()
        assert SCRIPT not in body, name
        if role not in (Role.REVIEWER, Role.ADMIN):
            assert not [word for word in hidden if word in body], name
