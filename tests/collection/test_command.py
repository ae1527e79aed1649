"""``manage.py refresh_collection``: a dry run is the run, a second run is nothing, a run can be taken back."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django_q.models import OrmQ

from ct4site import jobs
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from ct4site.rollback import start_roll_back
from identity.models import DailyTrips
from tests import factories
from tests.collection.stories import (
    CLAIMS,
    Recruit,
    a_cabinet_lead,
    a_recruit,
    ago,
    broken,
    claims,
    collect,
    drives,
    pays,
    quarantine,
    refresh,
    rows,
    state,
)

pytestmark = pytest.mark.django_db

COMMAND = "refresh_collection"


def command(*arguments: str) -> tuple[dict[str, Any], str]:
    """Run the command; return what --json says and what it told people."""
    out, err = io.StringIO(), io.StringIO()
    call_command(COMMAND, "--json", *arguments, stdout=out, stderr=err)
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    (line,) = out.getvalue().splitlines()
    return json.loads(line), err.getvalue()


def last_run() -> Run:
    return Run.objects.filter(job_type=JobType.COLLECTION_REFRESH).latest("pk")


def roll_back(run: Run) -> dict[str, Any]:
    ended = jobs.execute(start_roll_back(run_id=run.pk, actor="tests").pk)
    assert ended.status == RunStatus.COMPLETED, ended.error_message
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    return dict(ended.stats)


def some_world() -> list[Recruit]:
    """Every kind of claim, with payments that fit, that do not, and that nobody can tell."""
    recruits = [
        a_recruit(ago(15 + 3 * number), trips={0: trips}) for number, trips in enumerate((0, 1, 4, 5, 24, 25, 60))
    ]
    pays(recruits[1].name, 1)
    pays(recruits[3].name, 1, 25)
    pays("NADIE CONOCIDO AQUI", 1, 5, 25, paid=False)
    a_cabinet_lead(recruits[2].person, ago(10), driver=recruits[2].driver_id)
    drives(recruits[2].driver_id, ago(10), {1: 30})
    quarantine(recruits[6].driver_id)
    a_cabinet_lead(None, ago(12))
    factories.refresh()
    return recruits


def life_goes_on(recruits: list[Recruit]) -> None:
    """New trips, trips that vanish, a payment: claims are added, disputed and paid."""
    DailyTrips.objects.filter(driver_id=recruits[5].driver_id).update(count_orders_completed=1)
    made = DailyTrips.objects.filter(driver_id=recruits[4].driver_id).count()
    drives(recruits[4].driver_id, recruits[4].lead_date, {2 * made: 9})
    pays(recruits[4].name, 5 if made == 1 else 25)


def told(tally: dict[str, Any]) -> dict[str, Any]:
    """What a tally counts, without what differs between runs of the same effect."""
    return {name: value for name, value in tally.items() if name not in ("run_id", "dry_run", "seconds", "status")}


# --- dry run, run, again ----------------------------------------------------------------------------------


def test_a_dry_run_changes_nothing_and_tells_what_the_run_does():
    recruits = some_world()
    before = state()
    for _time in range(2):
        dry, _err = command("--dry-run")
        assert state() == before
        assert not AuditEntry.objects.filter(run=last_run()).exists()
        run, _err = command()
        assert told(dry) == told(run)
        assert run["audit"] == AuditEntry.objects.filter(run=last_run()).count() > 0
        life_goes_on(recruits)
        before = state()


def test_a_second_run_changes_nothing():
    recruits = some_world()
    for _time in range(2):
        refresh()
        stored, moments = state(), rows(CLAIMS, "claim_id", "created_at", "updated_at", "expected_at", "paid_at")
        again = refresh()
        assert again["audit"] == 0
        assert not AuditEntry.objects.filter(run=last_run()).exists()
        assert state() == stored
        assert rows(CLAIMS, "claim_id", "created_at", "updated_at", "expected_at", "paid_at") == moments
        assert broken() == []
        life_goes_on(recruits)


def test_the_size_of_chunks_changes_nothing(settings):
    stored = []
    for size in (1, 1000):
        settings.CHUNK_SIZE = size
        with factories.rolled_back():
            recruits = some_world()
            refresh()
            first = last_run().stats
            life_goes_on(recruits)
            refresh()
            names = {recruit.driver_id: str(number) for number, recruit in enumerate(recruits)}
            names |= {str(recruit.person): f"p{number}" for number, recruit in enumerate(recruits)}
            seen = rows(
                CLAIMS, "driver_id", "milestone", "lead_date", "achieved_date", "amount_expected", "status",
                "eligibility_disputed",
            )  # fmt: skip
            stored.append((told(first), told(last_run().stats), sorted((names[row[0]], *row[1:]) for row in seen)))
    assert stored[0] == stored[1]


def test_the_order_of_the_rows_decides_nothing():
    seen = []
    for backwards in (False, True):
        with factories.rolled_back():
            recruits = some_world()
            if backwards:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "create temporary table shuffled on commit drop as"
                        " select * from public.summary_daily order by driver_id desc, date_file desc;"
                        " delete from public.summary_daily; insert into public.summary_daily select * from shuffled"
                    )
            refresh()
            names = {recruit.driver_id: number for number, recruit in enumerate(recruits)}
            stored = rows(CLAIMS, "driver_id", "milestone", "lead_date", "achieved_date", "amount_expected", "status")
            seen.append(sorted((names[row[0]], *row[1:]) for row in stored))
    assert seen[0] == seen[1]


def test_an_empty_world_is_no_error():
    tally, _err = command()
    assert (tally["status"], tally["audit"], state()) == ("COMPLETED", 0, [])


# --- taking back --------------------------------------------------------------------------------------------


def claims_now() -> list[Any]:
    return rows(CLAIMS, "driver_id", "milestone", "status", "eligibility_disputed", "lead_source_pk", "amount_expected")


def test_the_claims_of_a_run_go_with_it_and_the_next_run_makes_them_again():
    some_world()
    refresh()
    made = claims_now()
    assert made
    roll_back(last_run())
    assert claims_now() == []
    assert broken() == []
    refresh()
    assert claims_now() == made


def test_taking_back_a_later_run_leaves_the_claims_of_the_earlier_as_they_were():
    recruits = some_world()
    refresh()
    before = claims_now()
    life_goes_on(recruits)
    refresh()
    changed = claims_now()
    assert {"expected", "paid"} == {row[2] for row in changed}
    assert True in {row[3] for row in changed}
    roll_back(last_run())
    assert claims_now() == before
    refresh()
    assert claims_now() == changed


def test_a_claim_that_a_person_changed_since_is_not_taken_back():
    recruit, other = a_recruit(trips={0: 1}), a_recruit(trips={0: 1})
    collect()
    run = last_run()
    with connection.cursor() as cursor:
        cursor.execute(f"update {CLAIMS} set status = 'generated' where driver_id = %s", [recruit.driver_id])
    roll_back(run)
    assert claims(recruit.driver_id, "milestone", "status") == [(1, "generated")]
    assert claims(other.driver_id) == []


# --- the door -------------------------------------------------------------------------------------------------


def test_queue_hands_the_run_to_the_worker():
    recruit = a_recruit(trips={0: 1})
    queued, _err = command("--queue")
    assert (queued["status"], OrmQ.objects.count(), claims(recruit.driver_id)) == ("QUEUED", 1, [])
    assert jobs.run_queued(queued["run_id"]) == "COMPLETED"
    assert len(claims(recruit.driver_id)) == 1


def test_a_second_run_at_once_is_refused():
    jobs.start(job_code=JobType.COLLECTION_REFRESH, actor="tests")
    with pytest.raises(CommandError):
        command()


def test_an_unknown_flag_is_refused():
    with pytest.raises(CommandError):
        command("--execute-everything")


def test_a_claim_that_changes_between_plan_and_apply_is_left_to_the_next_run(monkeypatch):
    """Somebody rejects a claim while the run is about to mark it paid."""
    recruit = a_recruit(trips={0: 1})
    collect()
    pays(recruit.name, 1)
    stored = jobs.store_plan

    def store_plan_then_somebody_rejects(*arguments: Any, **parts: Any) -> None:
        stored(*arguments, **parts)
        with connection.cursor() as cursor:
            cursor.execute(f"update {CLAIMS} set status = 'rejected'")

    for module in ("attribution.collection", "ct4site.jobs"):
        monkeypatch.setattr(f"{module}.store_plan", store_plan_then_somebody_rejects, raising=False)
    refresh()
    assert claims(recruit.driver_id, "status") == ["rejected"]
