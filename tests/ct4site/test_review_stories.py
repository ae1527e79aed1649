"""Random stories of people who decide and take back, with jobs between: what was decided stays, what is taken back is
as if it had never been (promises P4, P6 and P7; reliability F23, F30)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.db.models import Q

from ct4site import invariants, jobs
from ct4site.models import AuditEntry, CaseKind, CaseStatus, Decision, JobType, ProposalStatus, ReviewCase, Run
from ct4site.review import approving, cases, deciding, kinds, reversing
from ct4site.review.deciding import Wish
from ct4site.review.kinds import Unacceptable
from ct4site.roles import Role
from ct4site.rollback import start_roll_back
from identity.models import DriverIndexEntry, LeadEvent, Link, Origin, Unmatched
from tests import factories
from tests.attribution import stories
from tests.factories import JUAN, PEDRO, ROSA, run_job
from tests.recovery.stories import a_linked_lead, impact, retry
from tests.reviewers import everything, refresh
from tests.shared import made_once

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def a_user(name: str, role: Role) -> User:
    user = User.objects.create_user(name, email=f"{name}@example.org")
    user.groups.set(Group.objects.filter(name=role))
    return User.objects.get(pk=user.pk)


def all_jobs() -> None:
    factories.match(full=True)
    factories.fix_orphans()
    factories.fix_orphans(reprocess_quarantined=True)
    retry()
    impact()
    for job in (
        JobType.PROCESS_LEDGER, JobType.SCOUT_REFRESH, JobType.LEDGER_BACKFILL, JobType.EVENTS_BACKFILL,
        JobType.COLLECTION_REFRESH, JobType.REVIEW_REFRESH,
    ):  # fmt: skip
        run_job(job)


def a_world() -> dict[str, int]:
    """A small world with cases of every kind, whose persons, drivers and leads may meet."""
    for number in (7, 8, 9):
        stories.a_scout(number, f"SCOUT {number}")
    # Contested origin.
    lead = a_linked_lead()
    factories.match()
    link = factories.link_of(lead)
    assert link is not None
    Origin.objects.filter(person=link.person_id).update(
        origin_tag="migration", origin_source_id="12", decided_by="manual"
    )
    retry()
    # Records that no rule can link.
    phone, _drivers = factories.a_family_phone(JUAN, ROSA)
    factories.a_lead(None, phone=phone)
    factories.a_registration(None, phone=phone, scout=8)
    # Recruited drivers, some claimed by two scouts.
    number = factories.a_phone(77001)
    factories.a_driver(PEDRO, phone=f"51{number}")
    factories.a_registration(PEDRO, phone=number, scout=7, on=stories.day(1))
    factories.a_registration(PEDRO, phone=number, scout=8, on=stories.day(3))
    factories.a_recruited_driver(factories.a_name(31))
    # Drivers without lead.
    for index in (33, 35):
        driver = factories.a_driver(factories.a_name(index), phone=None, plate=None, licence=None)
        factories.refresh()
        factories.an_orphan(factories.a_name(index), driver_id=driver)
    factories.a_lead(factories.a_name(33), plate="Z99999")
    factories.match()
    # A row that a roll-back left alone.
    driver, _record = factories.a_recruited_driver(factories.a_name(37))
    factories.match()
    former = Run.objects.filter(job_type=JobType.IDENTITY_RUN).latest("pk").pk
    factories.a_migration(driver, scout=9)
    factories.match()
    assert jobs.execute(start_roll_back(run_id=former, actor="tests").pk).error_message in (None, "")
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    all_jobs()
    a_user("ana", Role.REVIEWER)
    a_user("luis", Role.REVIEWER)
    a_user("eva", Role.APPROVER)
    return complaints()


world = made_once("world", a_world)


def complaints() -> dict[str, int]:
    return {finding.name: finding.count for finding in invariants.check() if finding.count}


def facts() -> list[str]:
    """The state without what only grows: histories, and events of records that are nobody's again."""
    return [
        fact
        for fact in factories.state_facts()
        if not fact.startswith("quarantine history|") and (not fact.startswith("event|") or fact.split("|")[4] != "-")
    ]


class Story:
    """What happens, at random but repeatable; ``told`` says it when something is not as it should be."""

    def __init__(self, seed: int, faults_before: dict[str, int]) -> None:
        self.dice = random.Random(seed)
        self.faults_before = faults_before
        self.ana, self.luis, self.eva = (User.objects.get(username=name) for name in ("ana", "luis", "eva"))
        self.told: list[str] = []

    def tell(self, text: str) -> None:
        self.told.append(text)

    def target_of(self, case: ReviewCase, choice: kinds.Choice) -> dict[str, Any] | None:
        offered = [dict(found.target) for found in kinds.kind_of(case).candidates(case) if found.choice == choice.code]
        if choice.form is None:
            return {}
        if choice.code in ("link_driver", "link_person", "refuse"):
            drivers = [
                {"driver_id": key} for key in DriverIndexEntry.objects.order_by("pk").values_list("pk", flat=True)
            ]
            persons = [
                {"person_key": str(key)} for key in Link.objects.order_by("id").values_list("person_id", flat=True)
            ]
            offered = [*offered * 3, *drivers, *persons]
        if choice.code == "relink":
            leads = LeadEvent.objects.order_by("id").values_list("source_table", "source_pk")
            open_ones = Unmatched.objects.order_by("id").values_list("source_table", "source_pk")
            offered = [*offered * 3, *({"source_table": table, "source_pk": pk} for table, pk in [*leads, *open_ones])]
        if choice.code == "create_lead":
            number = self.dice.randrange(100)
            offered = [
                {
                    "lead_date": "2026-01-09",
                    "full_name": factories.a_name(33),
                    "phone": factories.a_phone(88_000 + number),
                }
                | ({"scout_id": 7} if number % 2 else {})
            ]
        return self.dice.choice(offered) if offered else None

    def decide(self) -> Decision | None:
        refresh()
        open_cases = list(ReviewCase.objects.filter(status=CaseStatus.OPEN).order_by("kind", "id"))
        if not open_cases:
            return None
        kind = self.dice.choice(sorted({case.kind for case in open_cases}))
        case = self.dice.choice([case for case in open_cases if case.kind == kind])
        choice = self.dice.choice(list(kinds.kind_of(case).choices(case)))
        target = self.target_of(case, choice)
        if target is None:
            return None
        self.tell(f"decide {case.kind} {case.pk} {choice.code} {target}")
        wish = Wish(choice.code, target, "documents", "seen")
        ReviewCase.objects.update(leased_to=None, leased_since=None, leased_until=None)
        for other in self.dice.sample(open_cases, self.dice.choice([0, 0, 1, 2])):
            if other.pk != case.pk:
                self.tell(f"  luis holds {other.kind} {other.pk}")
                cases.lease(other.pk, self.luis)
        asked: dict[str, Any] = {"case_id": case.pk, "wish": wish, "actor": self.ana, "expected_version": case.version}
        before = everything()
        try:
            shown = deciding.preview(**asked)
        except Unacceptable as refusal:
            self.tell(f"  refused: {refusal}")
            assert everything() == before
            return None
        assert everything() == before, "a preview changed something"
        again = deciding.preview(**asked)
        assert again.digest == shown.digest, "two previews differ"
        if shown.needs_approval:
            proposal = approving.decide_or_propose(**asked, shown=shown.digest)
            ended = approving.answer(proposal_id=proposal.pk, approver=self.eva, approve=True)  # type: ignore[union-attr]
            assert ended.status == ProposalStatus.APPROVED
            done: Any = Decision.objects.latest("pk")
        else:
            done = deciding.decide(**asked, shown=shown.digest)
        assert isinstance(done, Decision)
        assert done.consequences == shown.consequences
        self.check()
        self.there_and_back(done, before)
        return done

    def there_and_back(self, done: Decision, before: dict[str, Any]) -> None:
        """Taken back at once a decision leaves no trace; done again it is the same."""
        after, stands = everything(), facts()
        with factories.rolled_back():
            (receipt,) = self.taken_back(done)
            self.same(before, everything(), "taking back at once")
            self.check()
            (redone,) = self.taken_back(receipt)
            self.same(after, everything(), "taking back the reversal")
            assert facts() == stands
            self.check()
            self.taken_back(redone)
            self.same(before, everything(), "taking back once more")
            self.check()

    def same(self, old: dict[str, Any], new: dict[str, Any], when: str) -> None:
        told = []
        for key in {*old, *new}:
            if old.get(key) != new.get(key):
                a, b = old.get(key) or {}, new.get(key) or {}
                told.append(
                    (key, {name: (a.get(name), b.get(name)) for name in {*a, *b} if a.get(name) != b.get(name)})
                )
        assert not told, (when, self.told, told[:6])

    def taken_back(self, decision: Decision, together: bool = False) -> list[Decision]:
        asked: dict[str, Any] = {
            "decision_id": decision.pk, "wish": Wish("reverse", {}, "mistake"), "actor": self.ana, "together": together,
        }  # fmt: skip
        before = everything()
        shown = reversing.preview(**asked)
        assert everything() == before
        if shown.needs_approval:
            self.tell("  by two")
            proposal = approving.propose_reversal(**asked, shown=shown.digest)
            ended = approving.answer(proposal_id=proposal.pk, approver=self.eva, approve=True)  # type: ignore[union-attr]
            assert ended.status == ProposalStatus.APPROVED
            return list(ended.decisions.order_by("pk"))
        done = reversing.reverse(**asked, shown=shown.digest)
        assert isinstance(done, list), "the reversal is not what was shown"
        return done

    def take_back(self) -> None:
        stands = list(Decision.objects.filter(reversed_by=None).order_by("pk"))
        if not stands:
            return
        decision = self.dice.choice(stands)
        self.tell(f"take back {decision.pk} {decision.choice}")
        try:
            self.taken_back(decision)
        except reversing.StandsFirm as refusal:
            self.tell(f"  stands firm: {refusal.decisions} {refusal.rows}")
            if refusal.decisions:
                try:
                    with transaction.atomic():
                        self.taken_back(decision, together=True)
                    self.tell("  taken back together")
                except reversing.StandsFirm as still:
                    self.tell(f"  still stands: {still.decisions} {still.rows}")
        self.check()

    def run_jobs(self) -> None:
        self.tell("jobs")
        ReviewCase.objects.update(leased_to=None, leased_since=None, leased_until=None)
        stands = self.decided()
        all_jobs()
        self.same(stands, self.decided(), "jobs")
        self.check()

    def decided(self) -> dict[str, Any]:
        """The rows that people decided, as they are now."""
        now = everything()
        runs = Decision.objects.filter(reversed_by=None).exclude(
            choice__in=["send_back", "reverse", "try_again", "accept"]
        )
        told = AuditEntry.objects.filter(run__in=runs.values("run")).exclude(subject_table="identity_registry")
        # What followed from a decision is derived: jobs may bring it on.
        told = told.exclude(~Q(action="decide_conflict"), subject_table="lead_ledger")
        keys = told.values_list("subject_table", "subject_key")
        return {key: now[key] for key in keys if key in now}

    def check(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("set constraints all immediate; set constraints all deferred")
        found = complaints()
        assert found == self.faults_before, (self.told, found)

    def step(self) -> None:
        self.dice.choices([self.decide, self.take_back, self.run_jobs], [10, 5, 1])[0]()


@pytest.mark.parametrize("seed", range(4))
def test_what_people_decide_stays_and_what_they_take_back_is_gone(seed: int, world: dict[str, int]) -> None:
    story = Story(seed, world)
    for _step in range(8):
        story.step()
    story.run_jobs()


def test_several_runs_of_every_job_change_nothing_that_was_decided(world: dict[str, int]) -> None:
    story = Story(1, world)
    for _step in range(8):
        story.decide()
    assert len(story.decided()) > 5
    for _again in range(3):  # more hold too many locks in one transaction
        story.run_jobs()


def test_the_world_has_cases_of_every_kind_and_no_fault(world: dict[str, int]) -> None:
    assert {*ReviewCase.objects.filter(status=CaseStatus.OPEN).values_list("kind", flat=True)} == {*CaseKind.values}
    assert world == {}
