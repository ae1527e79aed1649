"""What tests of recovery share: its jobs, their being taken back, and what its record says."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection

from ct4site import invariants, jobs
from ct4site.models import JobType, Run, RunStatus
from ct4site.rollback import start_roll_back
from recovery.models import RecoveryEvent
from tests.factories import run_job

RETRY, IMPACT = JobType.GAP_RECOVERY, JobType.RECOVERY_IMPACT


def retry(**parameters: Any) -> dict[str, Any]:
    return run_job(RETRY, **parameters)


def impact(**parameters: Any) -> dict[str, Any]:
    return run_job(IMPACT, **parameters)


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
