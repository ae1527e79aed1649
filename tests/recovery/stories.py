"""What tests of recovery share: its jobs, their being taken back, and what its record says."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection

from ct4site import invariants, jobs
from ct4site.models import JobType, Run, RunStatus
from ct4site.rollback import start_roll_back
from identity.models import Origin
from recovery.models import MatchingAttempt, MatchingJob, RecoveryEvent
from tests.factories import JUAN, Record, a_driver, a_lead, a_phone, link_of, run_job

PHONE, OTHER_PHONE = a_phone(800), a_phone(801)
RETRY, IMPACT = JobType.GAP_RECOVERY, JobType.RECOVERY_IMPACT


def retry(**parameters: Any) -> dict[str, Any]:
    return run_job(RETRY, **parameters)


def impact(**parameters: Any) -> dict[str, Any]:
    return run_job(IMPACT, **parameters)


def a_linked_lead(name: str = JUAN, phone: str = PHONE, **columns: Any) -> Record:
    """A cabinet lead and its account; linked by the next matching."""
    a_driver(name, phone=phone)
    return a_lead(name, phone=phone, **columns)


def tries_of(lead: Record) -> tuple[str, int, str | None]:
    """Status, number of tries and reason of a lead."""
    return MatchingJob.objects.values_list("status", "attempt_count", "fail_reason").get(source_id=lead.source_pk)


def causes_of(lead: Record) -> list[str]:
    return list(MatchingAttempt.objects.filter(lead_id=lead.source_pk).order_by("id").values_list("cause", flat=True))


def origin_of(lead: Record) -> Origin | None:
    """The origin of the person that a lead is linked to."""
    link = link_of(lead)
    return Origin.objects.filter(person=link.person_id).first() if link else None


def complaints(*, by_hand: bool = False) -> dict[str, int]:
    """What the invariants find; a test that changed rows by hand wrote past the audit, as that invariant would say."""
    found = {finding.name: finding.count for finding in invariants.check() if finding.count}
    if by_hand:
        found.pop("chk_history_folds", None)
    return found


def roll_back(what: str | int) -> Run:
    """Take back a run, or the last one of a job; return the run that did."""
    run_id = what if isinstance(what, int) else Run.objects.filter(job_type=what).latest("pk").pk
    ended = jobs.execute(start_roll_back(run_id=run_id, actor="tests").pk)
    assert ended.status == RunStatus.COMPLETED, ended.error_message
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    return ended


def replayed() -> dict[str, Any]:
    """The recovered leads as the event log alone tells them, each event standing on the one before."""
    state: dict[str, Any] = {}
    for event in RecoveryEvent.objects.order_by("id"):
        assert state.get(event.lead_id) == event.before
        state[event.lead_id] = event.after
    return {lead_id: row for lead_id, row in state.items() if row is not None}


def on_record() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("select lead_id, to_jsonb(known)::text from ops.cabinet_lead_recovery_audit as known")
        return {lead_id: json.loads(row) for lead_id, row in cursor.fetchall()}
