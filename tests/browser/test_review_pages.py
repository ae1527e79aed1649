"""The pages of review in a real browser: cases decided by mouse and by keyboard, taken back, and looked at."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from attribution.models import LedgerEntry
from ct4site.models import CaseKind, Decision, JobType, ReviewCase
from ct4site.review import approving, cases, many
from ct4site.review.deciding import Wish
from identity.models import Person
from orphans.models import OrphanStatus, QuarantinedDriver
from tests import factories
from tests.attribution import stories
from tests.browser.conftest import Visit
from tests.browser.looks import assert_looks_right, assert_pages_look_right
from tests.factories import Record, link_of
from tests.reviewers import a_reviewer, case_of, decided, is_open, previewed, refresh, taken_back

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

KINDS = (CaseKind.CONFLICT, CaseKind.ORPHAN, CaseKind.UNMATCHED)
QUEUE = reverse("admin:ct4site_reviewcase_changelist")


class Story(NamedTuple):
    """An open case, the answer that its first candidate is, and the case that follows it in the queue."""

    case: ReviewCase
    target: dict[str, Any]
    following: ReviewCase

    @property
    def address(self) -> str:
        return page_of(self.case)


def page_of(case: ReviewCase) -> str:
    return reverse("admin:ct4site_reviewcase_decide", args=[case.pk])


@pytest.fixture
def world(superuser, settings, tmp_path) -> dict[str, Story]:
    """A conflict, a driver without lead and a record without person, each with candidates, and one more record."""
    settings.REPORTS_ROOT = tmp_path
    torn = stories.a_person("SALAZAR RIOS MARIA FERNANDA")
    for scout, name in ((70, "HUAMAN FLORES ROSA ELENA DEL PILAR"), (71, "TORRES VEGA PEDRO PABLO")):
        stories.a_scout(scout, name)
        stories.a_registration_of(torn, scout, scout - 69)
    factories.run_job(JobType.PROCESS_LEDGER)
    juan = factories.a_driver("QUISPE MAMANI JUAN CARLOS", phone="945111222", licence="Q45678901", plate="ABC123")
    factories.refresh()
    factories.an_orphan("QUISPE MAMANI JUAN CARLOS", driver_id=juan, phone="945111222")
    near = factories.a_registration("JUAN QUISPE MAMANI", phone="945111223")
    factories.match()
    factories.fix_orphans()
    family = ""
    for _number in range(2):
        phone, drivers = factories.a_family_phone(factories.ROSA, factories.PEDRO)
        factories.a_lead(None, phone=phone)
        factories.match()
        family = family or drivers[0]
    refresh()
    found = list(ReviewCase.objects.order_by("-money_at_risk", "opened_at", "pk"))
    assert [case.kind for case in found] == [*KINDS, CaseKind.UNMATCHED]
    targets: dict[str, dict[str, Any]] = {
        CaseKind.CONFLICT: {"scout_id": 70}, CaseKind.ORPHAN: near._asdict(), CaseKind.UNMATCHED: {"driver_id": family}
    }  # fmt: skip
    return {case.kind: Story(case, targets[case.kind], following) for case, following in pairwise(found)}


def stored(story: Story) -> list[Any]:
    """What a decision of the case writes: the ledger's answer; the quarantine and the persons of lead and driver."""
    case = story.case
    if case.kind == CaseKind.CONFLICT:
        return list(LedgerEntry.objects.values_list("attributed_scout_id", "attribution_rule").get(pk=case.person_key))
    if case.kind == CaseKind.ORPHAN:
        lead, driver = Record(**story.target), case.subject_key
    else:
        lead, driver = Record(*case.subject_key.split(":")), story.target["driver_id"]
    links = [link_of(lead), link_of(Record("drivers", driver))]
    status = QuarantinedDriver.objects.filter(pk=driver).values_list("status", flat=True).first()
    return [status, *(link and link.person_id for link in links)]


def assert_decided(story: Story, before: list[Any], reason: str) -> Decision:
    """The first candidate was decided and stands in the tables; return the receipt."""
    decision = Decision.objects.get(case=story.case)
    assert (decision.target, decision.reason_code) == (story.target, reason)
    now = stored(story)
    if story.case.kind == CaseKind.CONFLICT:
        assert now == [70, "RESOLVED_MANUAL_CONFLICT"]
    else:
        status, of_lead, of_driver = now
        assert of_lead == of_driver is not None
        assert status == (OrphanStatus.RESOLVED_RELINKED if story.case.kind == CaseKind.ORPHAN else None)
    assert now != before
    assert not is_open(story.case.kind, story.case.subject_key)
    return decision


def assert_taken_back(story: Story, before: list[Any], decision: Decision) -> None:
    assert Decision.objects.filter(reverses=decision).count() == 1
    assert stored(story) == before
    assert is_open(story.case.kind, story.case.subject_key)


@pytest.mark.parametrize("kind", KINDS)
def test_a_case_is_decided_by_mouse_in_spanish_and_taken_back_from_its_receipt(visit, superuser, world, kind):
    story = world[kind]
    before = stored(story)
    window: Visit = visit(superuser)
    page = window.go(QUEUE)
    page.locator(f"#result_list a[href$='/{story.case.pk}/change/']").click()
    page.wait_for_url(f"**{story.address}")
    page.get_by_role("radio").first.check()
    page.get_by_label("Motivo", exact=True).select_option(label="Documentos revisados")
    page.get_by_label("En palabras", exact=True).fill("visto en la oficina")
    page.get_by_role("button", name="Ver consecuencias").click()
    expect(page.locator("#consequences-title")).to_be_visible()
    assert stored(story) == before
    page.locator(".consequences").get_by_role("button", name=re.compile("^Decidir")).click()
    page.wait_for_url(f"**{page_of(story.following)}")
    decision = assert_decided(story, before, "documents")
    assert decision.reason_text == "visto en la oficina"

    page.locator(".messagelist").get_by_role("link").click()
    page.wait_for_url(f"**/decision/{decision.pk}/change/")
    page.get_by_role("link", name="Ver qué hace deshacerla").click()
    page.get_by_role("button", name="Deshacer").click()
    page.wait_for_url(f"**/decision/{decision.pk}/change/")
    assert_taken_back(story, before, decision)
    assert window.complaints == []


@pytest.mark.parametrize(("kind", "deciding_key"), [*zip(KINDS, ("Enter", "s", "Enter"), strict=True)])
def test_a_case_is_decided_and_taken_back_without_a_mouse_in_english(visit, superuser, world, kind, deciding_key):
    story = world[kind]
    before = stored(story)
    window: Visit = visit(superuser, language="en")
    page = window.go(QUEUE)
    press(page, *"j" * (KINDS.index(kind) + 2), "k", "Enter")
    page.wait_for_url(f"**{story.address}")
    press(page, "?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    press(page, "Escape", "1")
    assert page.evaluate("document.activeElement.id") == "id_reason_code"
    page.keyboard.type("The keys")
    press(page, "Escape", "s")
    expect(page.locator("#consequences-title")).to_be_visible()
    assert stored(story) == before
    press(page, deciding_key)
    page.wait_for_url(f"**{page_of(story.following)}")
    decision = assert_decided(story, before, "same_keys")

    press(page, "u")
    page.wait_for_url(f"**/decision/{decision.pk}/reverse/")
    press(page, "Enter")
    page.wait_for_url(f"**/decision/{decision.pk}/change/")
    assert_taken_back(story, before, decision)
    assert window.complaints == []


@pytest.fixture
def pages(superuser, world) -> dict[str, str]:
    """Every page of review that an address leads to, in every state that looks different."""
    ana, purged = a_reviewer(), world[CaseKind.ORPHAN].case
    for _number in range(5):
        stories.a_claimed_person(("scouting", 70, 1), ("scouting", 71, 3))
    factories.run_job(JobType.PROCESS_LEDGER)
    refresh()
    known = [story.case.pk for story in world.values()]
    held, alone, undone, later, raced = ReviewCase.objects.filter(kind=CaseKind.CONFLICT).exclude(pk__in=known)
    cases.lease(held.pk, ana)
    receipt = decided(alone, "choose_scout", scout_id=70)
    stood_on = decided(later, "choose_scout", scout_id=70)
    stories.events_of(Person.objects.get(pk=later.person_key), ("scouting", 72, 4))
    refresh()
    decided(case_of(CaseKind.CONFLICT, later.person_key), "choose_scout", scout_id=72)
    gone = decided(undone, "no_scout")
    reversal = taken_back(gone)
    purge = approving.decide_or_propose(
        case_id=purged.pk, wish=Wish("purge", {}, "no_evidence", "nadie lo conoce"), actor=ana,
        expected_version=purged.version, shown=previewed(purged, "purge").digest,
    )  # fmt: skip
    following = world[CaseKind.UNMATCHED].following
    own = many.propose_many(
        chosen=[(following.pk, following.version)], wish=Wish("set_aside", {}, "no_evidence", "basura"), actor=superuser
    )
    return {
        "queue": f"{QUEUE}?status=all",
        "queue-empty": f"{QUEUE}?kind__exact={CaseKind.ORIGIN}",
        "many": f"{QUEUE}many/?kind__exact={CaseKind.CONFLICT}",
        "many-kinds": f"{QUEUE}many/",
        "conflict": world[CaseKind.CONFLICT].address,
        "unmatched": world[CaseKind.UNMATCHED].address,
        "waiting": page_of(purged),
        "held": page_of(held),
        "decided": page_of(alone),
        "decisions": reverse("admin:ct4site_decision_changelist"),
        "receipt": receipt_of(receipt),
        "receipt-undone": receipt_of(gone),
        "receipt-reversal": receipt_of(reversal),
        "reverse": receipt_of(receipt, "reverse"),
        "reverse-stood-on": receipt_of(stood_on, "reverse"),
        "reverse-undone": receipt_of(gone, "reverse"),
        "proposals": reverse("admin:ct4site_proposal_changelist"),
        "proposal": reverse("admin:ct4site_proposal_change", args=[purge.pk]),
        "proposal-own": reverse("admin:ct4site_proposal_change", args=[own.pk]),
        "raced": page_of(raced),
    }


def receipt_of(decision: Decision, page: str = "change") -> str:
    return reverse(f"admin:ct4site_decision_{page}", args=[decision.pk])


def test_every_page_fits_every_window_reads_well_and_breaks_no_security_policy(visit, superuser, pages, screenshot):
    raced = pages.pop("raced")
    window: Visit = visit(superuser)
    assert_pages_look_right(window, pages, "review", screenshot)

    page = window.go(pages["conflict"])
    page.get_by_label("Motivo", exact=True).select_option("called")
    page.get_by_role("button", name="Ver consecuencias").click()
    page.get_by_text("Elige qué decidir").wait_for()
    refused(window, 422)
    assert_looks_right(window, "review-incomplete", screenshot)
    preview(page)
    assert_looks_right(window, "review-preview", screenshot)

    page = window.go(raced)
    preview(page)
    case = ReviewCase.objects.get(pk=raced.split("/")[-3])
    cases.release(case.pk, superuser)
    decided(case, "no_scout")
    page.locator(".consequences button").click()
    page.get_by_text("No se aplicó nada").wait_for()
    refused(window, 409)
    assert_looks_right(window, "review-refused", screenshot)


def preview(page: Page) -> None:
    page.get_by_role("radio").first.check()
    page.get_by_label("Motivo", exact=True).select_option("called")
    page.get_by_role("button", name="Ver consecuencias").click()
    page.locator("#consequences-title").wait_for()


def refused(window: Visit, status: int) -> None:
    """The console tells of the page's status, and of nothing else."""
    assert [str(status) in complaint for complaint in window.complaints] == [True]
    window.complaints.clear()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
