"""The recurring refresh looks only when something was written that could change an outcome (RB1)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from attribution.models import AttributionDay, LedgerEntry
from ct4site.models import AuditEntry, JobType, Run
from ct4site.privacy import REVEALED
from ct4site.sealing import write_without_run
from identity.models import ScoutingRegistration
from tests.factories import JUAN, a_registration, changes, match, run_job
from tests.shared import made_once

pytestmark = pytest.mark.django_db


def refreshed(**parameters: Any) -> dict[str, Any]:
    return run_job(JobType.SCOUT_REFRESH, **parameters)


def has_looked() -> bool:
    """Whether the last refresh looked: it says so when it did not."""
    return not Run.objects.filter(job_type=JobType.SCOUT_REFRESH, dry_run=False).latest("pk").log


def _settle() -> None:
    """A world in which the last refresh found nothing to do."""
    a_registration(JUAN, phone="987000111", scout=7)
    match()
    refreshed()
    refreshed()


settled = made_once("settled", _settle)


def test_a_refresh_after_which_nothing_was_written_is_the_last_that_looks(settled):
    assert LedgerEntry.objects.get().attributed_scout_id == 7
    assert not has_looked()
    assert set(changes({k: v for k, v in refreshed().items() if k != "metrics"})) == set()


def test_the_figures_of_the_day_are_told_either_way(settled):
    assert refreshed()["metrics"] == refreshed(full=True)["metrics"]


def test_a_new_day_is_stored_though_nothing_was_written(settled):
    AttributionDay.objects.update(metric_date=dt.date(2026, 1, 1))
    refreshed()
    assert AttributionDay.objects.count() == 2


def test_full_looks_in_any_case(settled):
    refreshed(full=True)
    assert has_looked()


def test_a_registration_from_outside_is_seen(settled):
    a_registration(JUAN, phone="987000222", scout=9)
    refreshed()
    assert has_looked()
    assert LedgerEntry.objects.count() == 2


def test_a_registration_that_was_changed_from_outside_is_seen(settled):
    record = a_registration("ANA", scout=9)
    match()
    refreshed()
    refreshed()
    assert not has_looked()
    ScoutingRegistration.objects.filter(pk=record.source_pk).update(driver_phone="987000333")
    refreshed()
    assert has_looked()
    assert LedgerEntry.objects.count() == 2


def test_another_run_is_news(settled):
    match()
    refreshed()
    assert has_looked()


def test_what_a_person_did_is_news(settled):
    write_without_run("ana")
    AuditEntry.objects.create(actor="ana", action="decide", subject_table="lead_ledger", subject_key="x")
    refreshed()
    assert has_looked()


def test_whoever_looked_at_personal_data_made_no_news(settled):
    write_without_run("ana")
    AuditEntry.objects.create(actor="ana", action=REVEALED, subject_table="identity.person", subject_key="x")
    refreshed()
    assert not has_looked()


def test_a_dry_run_is_no_news_and_no_refresh(settled):
    refreshed(dry_run=True)
    refreshed()
    assert not has_looked()
