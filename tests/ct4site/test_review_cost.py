"""Opening a case and deciding it cost a person the same few questions to the database, whatever the kind of case."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ct4site.models import CaseKind, Decision, Proposal, ReviewCase
from tests import factories
from tests.attribution.test_reviewing import a_conflict
from tests.factories import JUAN, PEDRO, ROSA, a_lead, a_phone, match
from tests.orphans.test_reviewing import MISSING, at, quarantined
from tests.recovery.test_reviewing import a_contested_origin
from tests.reviewers import case_of, refresh

pytestmark = pytest.mark.django_db

MOST = 25
BACKEND = "django.contrib.auth.backends.ModelBackend"
Asked = tuple[ReviewCase, dict[str, Any]]


@pytest.fixture
def reviewer(client: Client) -> Iterator[Client]:
    client.force_login(User.objects.create_superuser("ana"), backend=BACKEND)
    yield client


def a_family_record() -> tuple[ReviewCase, str]:
    phone, (juan, _rosa) = factories.a_family_phone(JUAN, ROSA)
    lead = a_lead(None, phone=phone)
    match()
    refresh()
    return case_of(CaseKind.UNMATCHED, f"{lead.source_table}:{lead.source_pk}"), juan


def a_relinked_driver() -> Asked:
    phone = a_phone(918)
    for name in (PEDRO, ROSA, "CONDORI APAZA LUZ"):
        a_lead(name, phone=phone)
    lead = a_lead(PEDRO, phone=a_phone(919))
    case = quarantined(phone=f"51{phone}").case
    return case, {"pick": "relink", "relink-lead": "{source_table}:{source_pk}".format(**at(lead))}


def a_linked_record() -> Asked:
    case, driver = a_family_record()
    return case, {"pick": "link_driver", "link_driver-driver_id": driver}


DECISIONS: dict[str, Callable[[], Asked]] = {
    "relink": a_relinked_driver,
    "create the lead": lambda: (
        quarantined(phone=None).case,
        {"pick": "create_lead"} | {f"create_lead-{name}": value for name, value in MISSING.items()},
    ),
    "send back": lambda: (quarantined().case, {"pick": "send_back"}),
    "a scout": lambda: (a_conflict()[1], {"pick": "candidate-0"}),
    "no scout": lambda: (a_conflict()[1], {"pick": "no_scout"}),
    "a driver": a_linked_record,
    "a candidate": lambda: (a_family_record()[0], {"pick": "candidate-0"}),
    "a new person": lambda: (a_family_record()[0], {"pick": "create_person"}),
    "never this one": lambda: ((found := a_family_record())[0], {"pick": "refuse", "refuse-driver_id": found[1]}),
    "set aside": lambda: (a_family_record()[0], {"pick": "set_aside"}),
    "keep the origin": lambda: (a_contested_origin()[1], {"pick": "keep_origin"}),
    "the lead's origin": lambda: (a_contested_origin()[1], {"pick": "accept_lead"}),
}


def asked(work: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Do something; return its answer and what was asked of the database beside who is signed in."""
    with CaptureQueriesContext(connection) as captured:
        answer = work()
    told = [query["sql"] for query in captured.captured_queries]
    return answer, [text for text in told if "django_session" not in text and 'FROM "auth_user" WHERE' not in text]


def confirmed(case: ReviewCase, data: dict[str, Any], reviewer: Client) -> tuple[list[str], list[str]]:
    """Open a case, look at what a choice does, and confirm it; return what opening and confirming asked for."""
    address = reverse("admin:ct4site_reviewcase_decide", args=[case.pk])
    page, opening = asked(lambda: reviewer.get(address))
    assert page.status_code == 200
    case.refresh_from_db()
    data |= {"reason_code": "documents", "reason_text": "seen", "version": case.version, "shown": ""}
    preview = reviewer.post(address, data)
    assert preview.status_code == 200, preview.content.decode()
    found = re.search(r'name="shown" value="([^"]+)"', preview.content.decode())
    assert found is not None
    done, deciding = asked(lambda: reviewer.post(address, data | {"shown": found[1], "confirm": "1"}))
    assert done.status_code == 302
    return opening, deciding


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_case_is_opened_and_decided_with_few_statements(decision: str, reviewer: Client) -> None:
    opening, deciding = confirmed(*DECISIONS[decision](), reviewer)
    assert Decision.objects.count() == 1
    assert len(opening) <= MOST, opening
    assert len(deciding) <= MOST, deciding


@pytest.mark.slow
def test_a_purge_is_proposed_and_approved_with_few_statements(reviewer: Client, client: Client) -> None:
    _opening, proposing = confirmed(quarantined().case, {"pick": "purge"}, reviewer)
    assert len(proposing) <= MOST, proposing
    proposal = Proposal.objects.get()
    client.force_login(User.objects.create_superuser("eva"), backend=BACKEND)
    address = reverse("admin:ct4site_proposal_answer", args=[proposal.pk])
    done, approving = asked(lambda: client.post(address, {"approve": "1"}))
    assert done.status_code == 302
    assert Decision.objects.get().proposal == proposal
    assert len(approving) <= MOST, approving
