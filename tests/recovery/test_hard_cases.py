"""Hard cases of recovery: odd keys, half-undone histories, limits that cut persons in two (RB4, RB2, domain.md 7, 8)."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from ct4site import jobs
from ct4site.models import AuditEntry, JobType, Run
from ct4site.rollback import start_roll_back
from identity.models import CabinetLead, Driver, Link, Origin, Person, Unmatched
from recovery.models import (
    GapDay,
    IdentityGap,
    MatchingAttempt,
    MatchingJob,
    RecoveredLead,
    RecoveryEvent,
    RecoveryImpact,
)
from tests.factories import (
    JUAN,
    PEDRO,
    ROSA,
    Record,
    a_driver,
    a_lead,
    a_migration,
    a_name,
    a_phone,
    an_orphan,
    case_of,
    changes,
    fix_orphans,
    link_of,
    match,
    refresh,
    verdict,
)
from tests.recovery.stories import (
    IMPACT,
    OTHER_PHONE,
    PHONE,
    RETRY,
    a_linked_lead,
    causes_of,
    complaints,
    impact,
    on_record,
    origin_of,
    replayed,
    retry,
    roll_back,
    tries_of,
)

pytestmark = pytest.mark.django_db

TODAY = timezone.localdate()


def events_of(lead: Record) -> list[str]:
    return list(RecoveryEvent.objects.filter(lead_id=lead.source_pk).order_by("id").values_list("event", flat=True))


def time_passes(days: int) -> None:
    """Make all that was decided so far older: inside a test's one transaction the database clock stands still."""
    by = dt.timedelta(days=days)
    for model, names in ((Link, ["linked_at"]), (Origin, ["created_at", "decided_at"]), (Unmatched, ["created_at"])):
        for name in names:
            for row in model.objects.all():
                model.objects.filter(pk=row.pk).update(**{name: getattr(row, name) - by})


def a_late_lead(name: str = JUAN, phone: str = PHONE, **columns: Any) -> Record:
    """A lead that matching left open at first, and linked by a later run."""
    lead = a_lead(name, phone=phone, **columns)
    match()
    time_passes(3)
    a_driver(name, phone=phone)
    match()
    return lead


def a_person_with_two_leads(name: str = JUAN, phone: str = PHONE) -> list[Record]:
    """A person with two cabinet leads, linked at once, whose origin is of another kind; the earlier one first."""
    a_driver(name, phone=phone)
    leads = [a_lead(name, phone=phone, on=dt.date(2026, 1, day)) for day in (3, 12)]
    match()
    Origin.objects.filter(person=link_of(leads[0]).person_id).update(origin_tag="migration", origin_source_id="12")
    return leads


# --- keys and dates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("external_id", ["", "   ", None])
def test_a_lead_without_external_id_is_recovered_under_its_row(external_id: str | None) -> None:
    a_lead(JUAN, phone=PHONE, external_id=external_id)
    lead = Record("module_ct_cabinet_leads", str(CabinetLead.objects.get().pk))
    assert retry()["pending"] == 1
    a_driver(JUAN, phone=PHONE)
    refresh()
    assert retry()["matched"] == 1
    assert RecoveredLead.objects.get().lead_id == lead.source_pk
    assert complaints() == {}


def test_a_row_whose_id_is_the_external_id_of_another_lead_is_tried_apart() -> None:
    a_lead(JUAN, phone=PHONE, external_id="")
    row = CabinetLead.objects.get()
    a_lead(ROSA, phone=OTHER_PHONE, external_id=str(row.pk))
    a_driver(JUAN, phone=PHONE)
    refresh()
    retry()
    assert dict(MatchingJob.objects.values_list("source_id", "status")) == {
        f"row:{row.pk}": "matched", str(row.pk): "pending",
    }  # fmt: skip
    assert complaints() == {}


def test_a_lead_that_stands_twice_in_the_feed_is_one_lead_with_its_first_date() -> None:
    a_lead(JUAN, phone=PHONE, on=dt.date(2026, 1, 12), external_id="twice")
    a_lead(JUAN, phone=OTHER_PHONE, on=dt.date(2026, 1, 3), external_id=" twice")
    refresh()
    assert retry()["pending"] == 1
    assert IdentityGap.objects.get().lead_date == dt.date(2026, 1, 3)
    assert retry()["processed"] == 1
    assert len(Unmatched.objects.all()) == 1
    assert complaints() == {}


@pytest.mark.parametrize(
    ("clock", "age"), [("00:00:00", 0), ("23:59:59.999999", 0), ("next", -1), ("before", 1)]
)  # fmt: skip
def test_a_day_of_a_lead_ends_at_midnight_in_lima(clock: str, age: int) -> None:
    day = TODAY + dt.timedelta(days={"next": 1, "before": -1}.get(clock, 0))
    time = dt.time.fromisoformat({"next": "00:00:00", "before": "23:59:59.999999"}.get(clock, clock))
    a_lead(JUAN, on=dt.datetime.combine(day, time))
    assert IdentityGap.objects.get().gap_age_days == age


def test_a_lead_of_tomorrow_is_tried_recovered_and_counted() -> None:
    lead = a_lead(JUAN, phone=PHONE, on=TODAY + dt.timedelta(days=2))
    retry()
    a_driver(JUAN, phone=PHONE)
    refresh()
    assert retry()["matched"] == 1
    gap, bucket = IdentityGap.objects.get(), RecoveryImpact.objects.get()
    assert (gap.gap_age_days, gap.risk_level, gap.gap_reason) == (-2, "low", "resolved")
    assert (bucket.lead_id, bucket.impact_bucket) == (lead.source_pk, "recovered_within_14d_but_no_claim")
    assert complaints() == {}


# --- whatever the limit, every lead once ----------------------------------------------------------------


@pytest.mark.slow
def test_every_filter_with_a_limit_of_one_tries_every_lead_once() -> None:
    linked = a_linked_lead(on=TODAY - dt.timedelta(days=5))
    match()
    Origin.objects.all().delete()
    leads = [linked]
    for number, days in enumerate((0, 1, 2, 6, 7, 8, 40)):
        leads.append(a_lead(a_name(number), phone=a_phone(950 + number), on=TODAY - dt.timedelta(days=days)))
    bound = str(TODAY - dt.timedelta(days=6))
    tallies = []
    for given in (
        {"risk_level": "high", "date_to": bound},
        {"risk_level": "medium", "gap_reason": "no_identity"},
        {"gap_reason": "no_origin", "risk_level": "medium", "date_from": bound},
        {"date_from": bound, "date_to": str(TODAY), "gap_reason": "no_identity", "risk_level": "low"},
        {},
    ):
        while True:
            tally = retry(limit=1, **given)
            tallies.append(tally["matched"] + tally["pending"])
            if not tallies[-1]:
                break
    assert set(tallies) == {0, 1}
    assert sum(tallies) == len(leads)
    assert [len(causes_of(lead)) for lead in leads] == [1] * len(leads)


@pytest.mark.parametrize("job", [retry, impact])
def test_a_limit_does_not_cut_a_person_in_two(job: Any) -> None:
    leads = a_person_with_two_leads()
    for _turn in range(2):
        job(limit=1)
    assert set(RecoveredLead.objects.values_list("lead_id", flat=True)) == {lead.source_pk for lead in leads}
    assert complaints() == {}


def test_a_lead_outside_the_filter_whose_person_gets_its_origin_is_on_record() -> None:
    a_driver(JUAN, phone=PHONE)
    known = a_lead(JUAN, phone=PHONE, on=dt.date(2026, 1, 3))
    match()
    Origin.objects.update(origin_tag="migration", origin_source_id="12")
    new = a_lead(JUAN, phone=PHONE, on=dt.date(2026, 1, 12))
    assert retry(gap_reason="no_identity")["matched"] >= 1
    assert origin_of(new).origin_tag == "cabinet_lead"
    assert set(RecoveredLead.objects.values_list("lead_id", flat=True)) == {known.source_pk, new.source_pk}


def test_a_chunk_of_one_with_persons_of_several_leads_ends_as_usual(settings: Any) -> None:
    settings.CHUNK_SIZE = 1
    leads = [lead for number in range(3) for lead in a_person_with_two_leads(a_name(number), a_phone(970 + number))]
    retry()
    assert RecoveredLead.objects.count() == len(leads)
    assert {tries_of(lead)[0] for lead in leads} == {"matched"}
    assert complaints() == {}


# --- the moment of recovery -----------------------------------------------------------------------------


def test_a_lead_that_only_now_gets_its_origin_was_not_recovered_when_it_was_linked() -> None:
    a_driver(JUAN, phone=PHONE)
    known = a_lead(JUAN, phone=PHONE, on=TODAY - dt.timedelta(days=30))
    match()
    Origin.objects.update(origin_tag="migration", origin_source_id="12")
    time_passes(20)
    new = a_lead(JUAN, phone=PHONE, on=TODAY)
    retry()
    assert origin_of(new).origin_tag == "cabinet_lead"
    moment = RecoveredLead.objects.get(lead_id=known.source_pk).first_recovered_at
    assert timezone.localtime(moment).date() == TODAY
    assert RecoveryImpact.objects.get(lead_id=known.source_pk).impact_bucket == "recovered_late"


# --- taken back -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_retries_and_roll_backs_in_turn_leave_one_story() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    match()
    a_driver(JUAN, phone=PHONE)
    refresh()
    for turn in range(3):
        assert retry()["matched"] == 1
        assert on_record() == replayed() != {}
        roll_back(RETRY)
        assert (link_of(lead), on_record(), replayed()) == (None, {}, {})
        assert tries_of(lead) == ("pending", turn + 1, "rolled_back")
        assert complaints() == {}
    assert events_of(lead) == ["recovered", "undone"] * 3
    assert not Person.objects.exists()


@pytest.mark.slow
def test_a_roll_back_of_a_roll_back_brings_the_recovery_back() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    match()
    a_driver(JUAN, phone=PHONE)
    refresh()
    retry()
    before = on_record()
    roll_back(RETRY)
    roll_back(JobType.ROLL_BACK)
    assert link_of(lead) is not None
    assert on_record() == replayed() == before
    assert events_of(lead) == ["recovered", "undone", "recovered"]
    retry()
    assert tries_of(lead)[0] == "matched"
    assert complaints() == {}
    roll_back(JobType.ROLL_BACK)
    assert on_record() == replayed() == {}
    assert complaints() == {}


def test_a_roll_back_of_what_the_impact_job_only_recorded_takes_the_record_back() -> None:
    lead = a_late_lead()
    assert impact()["audit_created"] == 1
    tally = roll_back(IMPACT).stats
    assert tally["cabinet_lead_recovery_audit"]["restored"] == 1
    assert (on_record(), replayed()) == ({}, {})
    assert link_of(lead) is not None
    assert impact()["audit_created"] == 1
    assert complaints(by_hand=True) == {}


def test_a_lead_whose_link_is_rolled_back_was_not_recovered() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    retry()
    time_passes(3)
    a_driver(JUAN, phone=PHONE)
    match()
    impact()
    assert tries_of(lead)[0] == "matched"
    assert RecoveredLead.objects.get().recovery_method == "identity_link"
    roll_back(JobType.IDENTITY_RUN)
    assert link_of(lead) is None
    assert tries_of(lead) == ("pending", 1, "rolled_back")
    assert (on_record(), replayed()) == ({}, {})
    assert events_of(lead) == ["recovered", "undone"]
    assert not Person.objects.exists()
    assert complaints(by_hand=True) == {}
    assert retry()["matched"] == 1
    assert complaints(by_hand=True) == {}


def test_a_roll_back_takes_an_origin_and_its_recovery_back_together() -> None:
    lead = a_linked_lead()
    match()
    Origin.objects.all().delete()
    retry()
    roll_back(RETRY)
    assert (origin_of(lead), on_record(), replayed()) == (None, {}, {})
    assert retry()["matched"] == 1
    assert complaints() == {}


# --- people decide --------------------------------------------------------------------------------------


def test_an_origin_that_nobody_holds_any_longer_is_set() -> None:
    lead = a_linked_lead()
    match()
    Origin.objects.update(origin_tag="migration", origin_source_id="12", decided_by="manual")
    retry()
    assert tries_of(lead) == ("failed", 1, "manual_origin_conflict")
    Origin.objects.update(decided_by="system")  # the decision was taken back: the row of before, its date included
    assert retry()["matched"] == 1
    assert tries_of(lead) == ("matched", 2, None)
    Origin.objects.update(origin_tag="migration", origin_source_id="12", decided_by="manual")
    assert retry()["failed"] == 1
    Origin.objects.all().delete()
    assert retry()["matched"] == 1
    assert complaints(by_hand=True) == {}


def test_a_conflict_of_origins_of_the_system_stays_for_review_once_it_is_right() -> None:
    lead = a_linked_lead()
    match()
    Origin.objects.update(resolution_status="pending_review")
    assert (retry()["processed"], impact()["processed"]) == (0, 0)
    assert origin_of(lead).resolution_status == "pending_review"


@pytest.mark.parametrize(
    ("status", "set_anew"), [("resolved_auto", True), ("pending_review", True), ("marked_legacy", False)]
)
def test_an_origin_of_the_predecessor_gives_way_unless_a_person_marked_it(status: str, set_anew: bool) -> None:
    lead = a_linked_lead()
    match()
    Origin.objects.update(origin_tag="legacy_external", origin_source_id="x", resolution_status=status)
    impact()
    assert (origin_of(lead).origin_tag == "cabinet_lead") is set_anew


def test_a_lead_that_was_set_aside_and_taken_up_again_is_tried() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    retry()
    Unmatched.objects.update(status="IGNORED")
    assert retry()["pending"] == 0
    a_driver(JUAN, phone=PHONE)
    refresh()
    Unmatched.objects.update(status="OPEN", is_stale=True)
    assert retry()["matched"] == 1
    assert tries_of(lead) == ("matched", 2, None)


# --- what comes and goes --------------------------------------------------------------------------------


def test_a_settled_try_is_settled_once() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    retry()
    a_driver(JUAN, phone=PHONE)
    match()
    Origin.objects.update(origin_tag="migration", origin_source_id="12", decided_by="manual")
    CabinetLead.objects.all().delete()
    assert retry()["settled"] == 1
    assert tries_of(lead) == ("failed", 1, "manual_origin_conflict")
    assert retry()["settled"] == 0


def test_a_matched_lead_whose_link_moved_follows_it() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    retry()
    a_driver(JUAN, phone=PHONE)
    refresh()
    retry()
    other = Person.objects.create(confidence_level="HIGH")
    link = link_of(lead)
    with connection.cursor() as cursor:
        cursor.execute("update canon.identity_links set person_key = %s where id = %s", [other.pk, link.pk])
        cursor.execute("update canon.identity_origin set person_key = %s", [other.pk])
    retry()
    assert MatchingJob.objects.get().matched_person_id == other.pk
    assert "chk_matched_lead_has_its_link" not in complaints()


def test_a_lead_that_vanishes_while_linked_and_comes_back_is_still_the_recovered_one() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    retry()
    a_driver(JUAN, phone=PHONE)
    refresh()
    retry()
    row = CabinetLead.objects.values().get()
    CabinetLead.objects.all().delete()
    assert changes(retry()).get("audit_created") is None
    CabinetLead.objects.create(**row)
    retry()
    assert tries_of(lead) == ("matched", 2, None)
    assert events_of(lead) == ["recovered"]
    assert complaints() == {}


@pytest.mark.slow
def test_a_driver_that_vanishes_takes_nothing_back() -> None:
    lead = a_lead(JUAN, phone=PHONE)
    retry()
    driver = a_driver(JUAN, phone=PHONE)
    refresh()
    retry()
    Driver.objects.filter(driver_id=driver).delete()
    refresh()
    assert retry()["processed"] == 0
    assert link_of(lead) is not None
    assert complaints() == {}


@pytest.mark.slow
def test_a_quarantined_driver_whose_lead_is_found_is_released_and_a_roll_back_locks_it_up_again() -> None:
    driver = a_driver(JUAN, phone=PHONE)
    refresh()
    an_orphan(JUAN, phone=PHONE, driver_id=driver)
    fix_orphans()
    assert case_of(driver).status == "quarantined"
    lead = a_lead(JUAN, phone=PHONE)
    for _turn in range(2):
        tally = retry()
        assert (tally["matched"], tally["drivers_released"]) == (1, 1)
        assert verdict(driver)[0] == "resolved_relinked"
        assert complaints() == {}
        roll_back(RETRY)
        assert (link_of(lead), verdict(driver)[0]) == (None, "quarantined")
        assert on_record() == replayed() == {}
        assert complaints() == {}


def test_a_lead_of_a_person_with_a_migration_is_cabinet_from_then_on() -> None:
    driver = a_driver(JUAN, phone=PHONE)
    a_migration(driver)
    match()
    lead = a_lead(JUAN, phone=PHONE)
    retry()
    assert origin_of(lead).origin_source_id == lead.source_pk
    assert retry()["processed"] == 0
    assert impact()["processed"] == 0
    assert complaints() == {}


# --- doors ----------------------------------------------------------------------------------------------


def everything() -> list[Any]:
    models = (Link, Person, Origin, Unmatched, MatchingJob, MatchingAttempt, RecoveredLead, RecoveryEvent, GapDay)
    return [list(model.objects.order_by("pk").values()) for model in (*models, AuditEntry)]


@pytest.mark.parametrize("job", [retry, impact])
def test_a_dry_run_leaves_no_trace(job: Any) -> None:
    a_late_lead()
    a_person_with_two_leads(ROSA, OTHER_PHONE)
    a_lead(PEDRO)
    before = everything()
    job(dry_run=True)
    assert everything() == before
    assert not Run.objects.filter(has_plan=True).exists()


@pytest.mark.parametrize("command", ["retry_identity_matching", "cabinet_recovery_impact"])
def test_a_command_tells_its_tally_in_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    a_linked_lead()
    refresh()
    call_command(command, "5", "--json", "--dry-run")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    told = json.loads(out)
    assert (told["status"], told["dry_run"], told["errors"]) == ("COMPLETED", True, [])


@pytest.mark.parametrize(
    "arguments",
    [["0"], ["-1"], ["many"], ["--risk-level", "none"], ["--gap-reason", "resolved"], ["--date-from", "2026-02-30"]],
)
def test_a_command_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("retry_identity_matching", *arguments)
    assert not Run.objects.exists()


def test_a_roll_back_is_refused_while_the_retry_runs() -> None:
    run = jobs.start(job_code=RETRY, actor="tests", parameters={})
    with transaction.atomic(), pytest.raises(jobs.JobError):
        start_roll_back(run_id=run.pk, actor="tests")
