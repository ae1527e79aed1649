"""Settlement: closing writes what is due once; what changes later is an adjustment, never an edit (domain.md 6.13, Q27, Q79)."""

from __future__ import annotations

import datetime as dt
import random
import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import translation

from attribution import settlement
from attribution.models import (
    LedgerEntry,
    PossibleSamePerson,
    ScoutPayment,
    ScoutPaymentRule,
    SettlementLine,
    SettlementPeriod,
    StatementItem,
)
from attribution.settlement import due, open_period, period_lines, statement_of
from attribution.settlement_models import BLOCKS
from ct4site import jobs, sqlfiles
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from ct4site.rollback import start_roll_back
from identity.models import DailyTrips, Link, ScoutingRegistration
from tests import factories
from tests.collection.stories import (
    Recruit,
    a_cabinet_lead,
    a_day,
    a_person,
    a_recruit,
    ago,
    an_account,
    drives,
    link,
    money,
    quarantine,
    refresh,
    rows,
)

pytestmark = pytest.mark.django_db

DUE = "ops.v_settlement_due"
STATEMENT = "ops.v_scout_statement"
AMOUNTS = {1: 20, 5: 25, 25: 55}


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


def opened(until: int = 10) -> SettlementPeriod:
    """Open the first period; it ends so many days ago."""
    return open_period(starts_on=ago(90), ends_on=ago(until), actor="tests")


def close(**parameters: Any) -> dict[str, Any]:
    """Close the open period and return the tally; the next one is a day long, so that it can be closed too."""
    period = settlement.open_settlement_period()
    assert period is not None
    ends_on = dt.date.fromisoformat(parameters.get("ends_on") or period.ends_on.isoformat())
    tomorrow = ends_on + dt.timedelta(days=1)
    return factories.run_job(JobType.SETTLEMENT_CLOSE, **{"next_ends_on": tomorrow.isoformat()} | parameters)


def closing(**parameters: Any) -> Run:
    """Try to close the open period; return the run as it ended."""
    run = jobs.perform(job_code=JobType.SETTLEMENT_CLOSE, actor="tests", parameters=parameters)
    with connection.cursor() as cursor:
        cursor.execute("discard temp")
    return run


def belongs_to(person: UUID, scout: int | None) -> None:
    """Let the ledger give a person to a scout, or to nobody."""
    values = {
        "attributed_scout_id": scout, "attribution_rule": "A", "attribution_score": "0.95", "confidence_level": "high",
        "decision_status": "assigned" if scout else "unassigned", "attributed_source": "scouting",
    }  # fmt: skip
    LedgerEntry.objects.update_or_create(person_id=person, defaults=values)


def a_recruit_of(scout: int | None, trips: dict[int, int] | None = None, since: int = 40) -> Recruit:
    """A person of a scout, whom the cabinet sent so many days ago."""
    recruit = a_recruit(ago(since), trips={0: 5} if trips is None else trips)
    belongs_to(recruit.person, scout)
    return recruit


def suspected(person: UUID, other: UUID, status: str = "open") -> None:
    first, second = sorted([person, other])
    PossibleSamePerson.objects.update_or_create(person_a_id=first, person_b_id=second, defaults={"status": status})


def lines(number: int | None = None) -> list[tuple[int, int, Decimal, str]]:
    """Return (scout, milestone, amount, reason) of all lines, or of the period closed as the so-manieth."""
    found = SettlementLine.objects.order_by("id")
    if number is not None:
        found = found.filter(period=SettlementPeriod.objects.order_by("starts_on")[number])
    return list(found.values_list("scout_id", "milestone_value", "amount", "reason"))


def summed() -> dict[int, Decimal]:
    """Return what every scout was settled in all."""
    sums: dict[int, Decimal] = {}
    for scout, amount in SettlementLine.objects.values_list("scout_id", "amount"):
        sums[scout] = sums.get(scout, Decimal()) + amount
    return sums


def stale() -> list[Any]:
    """Return the rows in which the stored statements differ from the view that they are a copy of."""
    names = [field.column for field in StatementItem._meta.fields if field.column != "id"]
    stored, true = (Counter(rows(relation, *names)) for relation in ("ops.scout_statements", STATEMENT))
    return list((stored - true) + (true - stored))


def broken() -> list[str]:
    """Return what the invariants of settlement and of the audit say."""
    found = []
    with connection.cursor() as cursor:
        for check in sqlfiles.checks():
            if "settlement" in check.name or check.name in ("chk_tally_is_audit", "chk_history_folds"):
                cursor.execute(check.sql)
                found += [f"{check.name}: {row}" for row in cursor.fetchall()]
    return found


def execute(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


# --- closing ------------------------------------------------------------------------------------------


def test_closing_writes_exactly_what_was_due_and_opens_the_next_period():
    opened()
    recruits = [a_recruit_of(7), a_recruit_of(9, {0: 30})]
    refresh()
    columns = ("scout_id", "person_key", "milestone_value", "amount", "currency", "kind", "reason", "lead_date")
    before = rows(DUE, *columns)
    preview = due()
    tally = close(expected=preview.fingerprint)
    assert rows("ops.settlement_lines", *columns) == before
    assert lines() == [
        (7, 1, money(20), "REACHED"), (7, 5, money(25), "REACHED"),
        (9, 1, money(20), "REACHED"), (9, 5, money(25), "REACHED"), (9, 25, money(55), "REACHED"),
    ]  # fmt: skip
    assert preview.amounts == {"PEN": money(145)} and tally["amounts"] == {"PEN": "145.00"}
    assert [(part.scout_id, part.lines, part.adjustments, part.persons, part.amount) for part in preview.scouts] == [
        (7, 2, 0, 1, money(45)), (9, 3, 0, 1, money(100)),
    ]  # fmt: skip
    closed, after = SettlementPeriod.objects.order_by("starts_on")
    assert (closed.status, closed.lines_count, closed.scouts_count, closed.persons_count, closed.amounts) == (
        "closed", 5, 2, 2, {"PEN": "145.00"},
    )  # fmt: skip
    assert closed.closed_by == "tests" and closed.digest
    assert (after.status, after.starts_on, after.ends_on) == ("open", ago(9), ago(9))
    assert rows(DUE, "scout_id") == [] and due().scouts == []
    assert AuditEntry.objects.filter(action="close_period").count() == 1
    assert recruits and broken() == []


def test_a_line_explains_itself_when_everything_else_is_gone():
    opened()
    recruit = a_recruit_of(7, {2: 1})
    close()
    line = SettlementLine.objects.get()
    assert (line.person_id, line.driver_id, line.source_pk, line.lead_date) == (
        recruit.person, recruit.driver_id, recruit.lead.source_pk, recruit.lead_date,
    )  # fmt: skip
    assert (line.achieved_date, line.payable_date) == (ago(38), ago(31))
    assert (line.rule.amount, line.rule.window_days) == (money(20), 7)
    assert (line.ledger_rule, line.ledger_source, line.scout_quality_bucket) == ("A", "scouting", "SATISFACTORY_LEDGER")
    assert (line.scout_source_table, line.current_scout_id) == ("observational.lead_ledger", 7)
    assert line.run is not None and line.run.job_type == JobType.SETTLEMENT_CLOSE


def test_a_second_closing_of_the_same_facts_writes_nothing():
    opened()
    a_recruit_of(7)
    close()
    tally = close()
    assert (tally["lines"], tally["adjustments"], tally["amounts"]) == (0, 0, {})
    assert len(lines()) == 2 and lines(1) == []
    assert broken() == []


def test_a_dry_run_says_what_the_closing_does_and_changes_nothing():
    opened()
    a_recruit_of(7)
    refresh()
    rehearsal = close(dry_run=True)
    assert lines() == [] and SettlementPeriod.objects.get().status == "open"
    assert close() == rehearsal
    assert broken() == []


def test_what_is_payable_later_waits_for_the_period_of_its_day():
    opened(until=10)
    a_recruit_of(7, {0: 1, 3: 4}, since=17)  # payable 10 and 7 days ago
    tally = close()
    assert lines() == [(7, 1, money(20), "REACHED")]
    assert tally["not_payable_yet"] == 1
    close(ends_on=ago(8).isoformat())
    assert lines(1) == []
    close(ends_on=ago(7).isoformat())
    assert lines(2) == [(7, 5, money(25), "REACHED")]
    assert broken() == []


def test_what_an_earlier_period_missed_is_in_the_next_whatever_its_date():
    opened()
    close()
    a_recruit_of(7, since=80)
    close()
    assert lines(1) == [(7, 1, money(20), "REACHED"), (7, 5, money(25), "REACHED")]


def test_a_period_cannot_be_closed_before_it_ends():
    open_period(starts_on=ago(5), ends_on=ago(-2), actor="tests")
    run = closing()
    assert run.status == RunStatus.FAILED and "cannot be closed before" in run.error_message
    assert closing(ends_on=ago(0).isoformat()).status == RunStatus.COMPLETED


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"ends_on": "yesterday"}, "is not a day"),
        ({"ends_on": "2020-01-01"}, "cannot end before"),
        ({"next_ends_on": "2020-01-01"}, "The next period begins"),
        ({"expected": "something else"}, "look again"),
    ],
)
def test_a_closing_that_cannot_be_says_why_and_changes_nothing(parameters, words):
    opened()
    a_recruit_of(7)
    run = closing(**parameters)
    assert run.status == RunStatus.FAILED and words in run.error_message
    assert lines() == [] and SettlementPeriod.objects.get().status == "open"


def test_what_changed_since_the_preview_is_not_closed_blindly():
    opened()
    recruit = a_recruit_of(7, {0: 1})
    refresh()
    seen = due().fingerprint
    drives(recruit.driver_id, recruit.lead_date, {1: 4})
    run = closing(expected=seen)
    assert run.status == RunStatus.FAILED and lines() == []
    assert closing(expected=due().fingerprint).status == RunStatus.COMPLETED
    assert len(lines()) == 2


def test_there_is_no_closing_without_a_period_nor_while_collection_is_refreshed():
    assert "No settlement period is open" in closing().error_message
    opened()
    Run.objects.create(job_type=JobType.COLLECTION_REFRESH, actor="tests")
    assert "being refreshed" in closing().error_message


def test_the_closing_looks_at_the_facts_of_now_not_of_the_last_refresh():
    opened()
    recruit = a_recruit_of(7)
    refresh()
    belongs_to(recruit.person, 9)
    close()
    assert {scout for scout, *_ in lines()} == {9}


def test_stored_statements_follow_every_opening_refresh_and_closing():
    a_recruit_of(7)
    refresh()
    assert stale() == [] and due().scouts == []
    opened()
    assert stale() == [] and due().amounts == {"PEN": money(45)}
    recruit = a_recruit_of(9)
    refresh()
    assert stale() == [] and due().amounts == {"PEN": money(90)}
    assert factories.changes(refresh()).get("statement_rows_changed", 0) == 0
    close()
    assert stale() == [] and due().scouts == []
    suspected(recruit.person, a_person())
    assert stale() != []
    refresh()
    assert stale() == []


# --- adjustments --------------------------------------------------------------------------------------


def test_another_scout_after_the_closing_is_minus_and_plus_in_the_next_period_only():
    opened()
    recruit = a_recruit_of(7)
    close()
    first = lines(0)
    belongs_to(recruit.person, 9)
    close()
    assert lines(0) == first
    assert lines(1) == [
        (7, 1, money(-20), "SCOUT_CHANGED"), (7, 5, money(-25), "SCOUT_CHANGED"),
        (9, 1, money(20), "REACHED"), (9, 5, money(25), "REACHED"),
    ]  # fmt: skip
    taken = SettlementLine.objects.filter(amount__lt=0).first()
    assert (taken.kind, taken.current_scout_id, taken.driver_id) == ("adjustment", 9, recruit.driver_id)
    assert SettlementPeriod.objects.order_by("starts_on")[1].amounts == {"PEN": "0.00"}
    belongs_to(recruit.person, 7)
    close()
    assert lines(2) == [
        (7, 1, money(20), "OWED_AGAIN"), (7, 5, money(25), "OWED_AGAIN"),
        (9, 1, money(-20), "SCOUT_CHANGED"), (9, 5, money(-25), "SCOUT_CHANGED"),
    ]  # fmt: skip
    assert summed() == {7: money(45), 9: money(0)}
    assert broken() == []


def test_trips_that_vanish_are_taken_back_and_given_again_when_they_return():
    opened()
    recruit = a_recruit_of(7, {0: 4, 1: 1})
    close()
    DailyTrips.objects.filter(driver_id=recruit.driver_id, count_orders_completed=1).delete()
    close()
    assert lines(1) == [(7, 5, money(-25), "MILESTONE_GONE")]
    drives(recruit.driver_id, recruit.lead_date, {1: 1})
    close()
    assert lines(2) == [(7, 5, money(25), "OWED_AGAIN")]
    close()
    assert lines(3) == []
    assert broken() == []


def test_another_amount_is_the_difference():
    opened()
    a_recruit_of(7, {0: 1})
    close()
    ScoutPaymentRule.objects.filter(milestone_type="trips", milestone_value=1).update(amount="22.35")
    close()
    ScoutPaymentRule.objects.filter(milestone_type="trips", milestone_value=1).update(amount="0.05")
    close()
    assert [amount for _scout, _milestone, amount, _reason in lines()] == [money(20), money("2.35"), money("-22.30")]
    assert {reason for *_, reason in lines()[1:]} == {"AMOUNT_CHANGED"}
    assert summed() == {7: money("0.05")}
    assert broken() == []


def test_a_milestone_reached_later_than_thought_is_not_taken_back_and_given_again():
    opened()
    recruit = a_recruit_of(7, {0: 1}, since=17)  # payable on the last day
    close()
    DailyTrips.objects.filter(driver_id=recruit.driver_id).delete()
    drives(recruit.driver_id, recruit.lead_date, {6: 1})  # payable in a later period
    close()
    assert lines(1) == []


def test_another_currency_is_another_sum():
    opened()
    a_recruit_of(7, {0: 1})
    close()
    ScoutPaymentRule.objects.filter(milestone_type="trips", milestone_value=1).update(currency="USD")
    tally = close()
    assert tally["amounts"] == {"PEN": "-20.00", "USD": "20.00"}
    assert due().scouts == [] and broken() == []


def test_a_milestone_pays_once_however_many_leads_and_accounts_reach_it():
    opened()
    recruit = a_recruit_of(7, {0: 1})
    a_cabinet_lead(recruit.person, ago(35), driver=recruit.driver_id)
    drives(recruit.driver_id, ago(35), {1: 1})
    other = an_account(recruit.person)
    a_cabinet_lead(recruit.person, ago(30), driver=other)
    drives(other, ago(30), {0: 1})
    close()
    assert lines() == [(7, 1, money(20), "REACHED")]
    assert SettlementLine.objects.get().lead_date == ago(40)


def test_a_migration_pays_by_its_own_rule():
    opened(until=5)
    person = a_person()
    driver = an_account(person)
    migration = factories.a_migration(driver, scout=7, on=ago(70))
    link(person, migration, driver=driver)
    belongs_to(person, 7)
    drives(driver, ago(70), {29: 50})  # payable 11 days ago
    close()
    assert lines() == [(7, 50, money(50), "REACHED")]
    assert SettlementLine.objects.get().origin_tag == "fleet_migration"


# --- blocks -------------------------------------------------------------------------------------------


def blocks(recruit: Recruit, reason: str, other: UUID) -> None:
    """Do what blocks a person."""
    if reason == "NO_SCOUT":
        belongs_to(recruit.person, None)
    elif reason == "CONFLICT":
        registration = factories.a_registration(None, scout=8, on=ago(39))
        link(recruit.person, registration)
    elif reason == "POSSIBLE_SAME_PERSON":
        suspected(recruit.person, other)
    elif reason == "NO_IDENTITY":
        Link.objects.filter(person_id=recruit.person).delete()
    else:
        quarantine(recruit.driver_id)


def unblocks(recruit: Recruit, reason: str, other: UUID) -> None:
    if reason == "NO_SCOUT":
        belongs_to(recruit.person, 7)
    elif reason == "CONFLICT":
        ScoutingRegistration.objects.all().delete()
        LedgerEntry.objects.filter(person_id=recruit.person).update(attributed_scout_id=7)
    elif reason == "POSSIBLE_SAME_PERSON":
        suspected(recruit.person, other, "dismissed")
    elif reason == "NO_IDENTITY":
        link(recruit.person, recruit.lead, driver=recruit.driver_id)
        link(recruit.person, factories.Record("drivers", recruit.driver_id), driver=recruit.driver_id)
    else:
        quarantine(recruit.driver_id, "resolved_relinked")


@pytest.mark.parametrize("reason", [reason for reason in BLOCKS if reason != "ALREADY_SETTLED"])
def test_a_blocked_person_gets_nothing_until_it_is_unblocked(reason):
    opened()
    recruit, other = a_recruit_of(7), a_person()
    blocks(recruit, reason, other)
    close()
    assert lines() == []
    rows_of = [row for row in statement_of(7).rows if row.person_id == recruit.person]
    if reason != "NO_SCOUT":  # of nobody, so in nobody's statement
        assert {row.block_reason for row in rows_of} == {reason}
        assert {row.payment_status for row in rows_of} == {"BLOCKED"}
        assert str(rows_of[0].block.remedy).endswith(".")
    unblocks(recruit, reason, other)
    close()
    assert summed() == {7: money(45)}
    assert broken() == []


@pytest.mark.parametrize("reason", [reason for reason in BLOCKS if reason != "ALREADY_SETTLED"])
def test_a_person_blocked_after_the_closing_is_left_alone_until_it_is_unblocked(reason):
    opened()
    recruit, other = a_recruit_of(7), a_person()
    close()
    blocks(recruit, reason, other)
    DailyTrips.objects.all().delete()
    close()
    assert len(lines()) == 2
    assert {row.block_reason for row in statement_of(7).rows if row.settled_amount} == {reason}
    unblocks(recruit, reason, other)
    close()
    assert lines(2) == [(7, 1, money(-20), "MILESTONE_GONE"), (7, 5, money(-25), "MILESTONE_GONE")]
    assert broken() == []


def test_the_quarantined_account_of_a_person_with_another_one_is_left_alone():
    opened()
    recruit = a_recruit_of(7, {0: 1})
    close()
    an_account(recruit.person)
    quarantine(recruit.driver_id)
    close()
    assert lines(1) == []
    (row,) = [row for row in statement_of(7).rows if row.settled_amount]
    assert row.block_reason == "QUARANTINED"


def test_what_an_account_reached_is_not_settled_twice_when_the_account_moves_to_another_person():
    opened()
    recruit, other = a_recruit_of(7, {0: 1}), a_person()
    close()
    Link.objects.filter(person_id=recruit.person).update(person_id=other)
    belongs_to(other, 9)
    close()
    assert lines(1) == []
    (row,) = [row for row in statement_of(9).rows if row.owed_amount]
    assert (row.payment_status, row.block_reason) == ("BLOCKED", "ALREADY_SETTLED") and row.block is not None
    link(recruit.person, factories.a_registration(None, scout=7))
    close()
    assert lines(2) == [(7, 1, money(-20), "MILESTONE_GONE"), (9, 1, money(20), "REACHED")]
    assert broken() == []


# --- payments on record -------------------------------------------------------------------------------


def is_paid(recruit: Recruit, scout: int, milestone: int, amount: int, **columns: Any) -> ScoutPayment:
    return ScoutPayment.objects.create(
        payment_item_key=f"{recruit.person} {milestone}", scout_id=scout, person_key=recruit.person,
        lead_origin="cabinet", milestone_type="trips", milestone_value=milestone, amount=amount, **columns,
    )  # fmt: skip


def test_what_was_paid_before_settlement_existed_is_not_settled_again():
    opened()
    recruit = a_recruit_of(7)
    is_paid(recruit, 7, 1, 20)
    close()
    assert lines() == [(7, 5, money(25), "REACHED")]
    assert Counter(row.payment_status for row in statement_of(7).rows if row.owed_amount) == {"PAID": 2}
    belongs_to(recruit.person, 9)
    close()
    assert lines(1) == [
        (7, 1, money(-20), "SCOUT_CHANGED"), (7, 5, money(-25), "SCOUT_CHANGED"),
        (9, 1, money(20), "REACHED"), (9, 5, money(25), "REACHED"),
    ]  # fmt: skip
    close()
    assert lines(2) == [] and broken() == []


def test_the_payment_of_a_settlement_changes_nothing_of_what_is_due():
    opened()
    recruit = a_recruit_of(7, {0: 1})
    close()
    is_paid(recruit, 7, 1, 20)
    close()
    assert lines(1) == [] and summed() == {7: money(20)}


def test_the_liquidation_base_says_paid_when_all_of_a_person_is_settled():
    opened()
    recruit, blocked = a_recruit_of(7), a_recruit_of(7)
    refresh()
    base = "ops.v_scout_payment_base"
    assert rows(base, "payment_status", person_key=recruit.person) == ["ELIGIBLE"]
    close()
    assert rows(base, "payment_status", "amount_payable", person_key=recruit.person) == [("PAID", money(45))]
    drives(recruit.driver_id, recruit.lead_date, {2: 20})
    suspected(blocked.person, a_person())
    refresh()
    assert rows(base, "payment_status", "amount_payable", person_key=recruit.person) == [("ELIGIBLE", money(100))]
    assert rows(base, "payment_status", person_key=blocked.person) == ["BLOCKED"]


# --- the guards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "update ops.settlement_lines set amount = amount",
        "delete from ops.settlement_lines",
        "update ops.settlement_periods set name = 'x' where status = 'closed'",
        "delete from ops.settlement_periods where status = 'closed'",
        "insert into ops.settlement_lines (period_id, kind, reason, payment_item_key, scout_id, person_key, origin_tag,"
        " milestone_type, milestone_value, currency, owed_amount, settled_before, amount, current_scout_id)"
        " select period_id, kind, reason, 'x' || id, scout_id, person_key, origin_tag, milestone_type, milestone_value, currency,"
        " owed_amount, settled_before, amount, current_scout_id from ops.settlement_lines",
    ],
)
def test_the_database_refuses_every_change_of_a_closed_period(statement):
    opened()
    a_recruit_of(7)
    close()
    with pytest.raises(DatabaseError, match=r"append-only|takes no lines"), transaction.atomic():
        execute(statement)


def test_the_open_period_may_still_change():
    period = opened()
    SettlementPeriod.objects.filter(pk=period.pk).update(name="January")
    a_recruit_of(7)
    close()
    assert SettlementPeriod.objects.get(pk=period.pk).name == "January"


def test_a_line_that_was_changed_past_the_guards_is_found():
    opened()
    a_recruit_of(7)
    close()
    execute("set constraints all immediate; alter table ops.settlement_lines disable trigger all")
    execute("update ops.settlement_lines set driver_id = 'x' where milestone_value = 1")
    assert [line.partition(":")[0] for line in broken()] == ["chk_settlement_closed_period_stays"]


def test_a_closing_is_not_rolled_back_and_says_what_to_do_instead():
    opened()
    recruit = a_recruit_of(7)
    close()
    run = Run.objects.get(job_type=JobType.SETTLEMENT_CLOSE)
    ended = jobs.execute(start_roll_back(run_id=run.pk, actor="tests").pk)
    assert ended.status == RunStatus.FAILED
    assert "as adjustments" in ended.error_message and settlement.period_name(ago(90), ago(10)) in ended.error_message
    assert len(lines()) == 2 and recruit and broken() == []


def test_one_period_is_open_and_the_next_follows_it():
    period = opened()
    with pytest.raises(jobs.JobError, match="is open"):
        opened()
    with pytest.raises(DatabaseError), transaction.atomic():
        SettlementPeriod.objects.create(name="x", starts_on=ago(300), ends_on=ago(299))
    with pytest.raises(DatabaseError), transaction.atomic():
        execute("update ops.settlement_periods set status = 'closed' where id = %s", period.pk)


@pytest.mark.parametrize(
    ("first", "last", "following"),
    [
        ("2026-01-01", "2026-01-31", ("2026-02-01", "2026-02-28")),
        ("2025-12-01", "2025-12-31", ("2026-01-01", "2026-01-31")),
        ("2026-01-05", "2026-01-11", ("2026-01-12", "2026-01-18")),
        ("2026-01-01", "2026-02-28", ("2026-03-01", "2026-04-28")),
        ("2026-01-15", "2026-01-15", ("2026-01-16", "2026-01-16")),
    ],
)
def test_a_month_follows_a_month_and_a_week_a_week(first, last, following):
    found = settlement.next_period(dt.date.fromisoformat(first), dt.date.fromisoformat(last))
    assert tuple(day.isoformat() for day in found) == following


# --- statements ---------------------------------------------------------------------------------------


def test_a_statement_says_of_every_person_what_when_how_much_and_why_not():
    opened(until=10)
    reached, later, nothing = a_recruit_of(7, {0: 5}), a_recruit_of(7, {0: 1}, since=12), a_recruit_of(7, {})
    blocked = a_recruit_of(7, {0: 1})
    suspected(blocked.person, a_person())
    a_recruit_of(9)
    close()
    found = statement_of(7)
    shown = {
        (row.person_id, row.milestone_type, row.milestone_value): (
            row.payment_status, row.owed_amount, row.settled_amount, row.due_amount, row.block_reason,
        )
        for row in found.rows
    }  # fmt: skip
    zero = money(0)
    assert shown == {
        (reached.person, "connection", 1): ("PENDING", zero, zero, zero, None),
        (reached.person, "trips", 1): ("PAID", money(20), money(20), zero, None),
        (reached.person, "trips", 5): ("PAID", money(25), money(25), zero, None),
        (later.person, "connection", 1): ("PENDING", zero, zero, zero, None),
        (later.person, "trips", 1): ("ELIGIBLE", money(20), zero, zero, None),
        (nothing.person, None, None): ("PENDING", zero, zero, zero, None),
        (blocked.person, "connection", 1): ("BLOCKED", zero, zero, zero, "POSSIBLE_SAME_PERSON"),
        (blocked.person, "trips", 1): ("BLOCKED", money(20), zero, zero, "POSSIBLE_SAME_PERSON"),
    }
    assert found.sums == {
        "PEN": {"owed": money(85), "settled": money(45), "due": money(0), "blocked": money(20)},
    }
    first = next(row for row in found.rows if row.person_id == reached.person and row.milestone_value == 5)
    assert (first.ledger_rule, first.driver_id, first.lead_date, first.payable_date) == (
        "A", reached.driver_id, ago(40), ago(33),
    )  # fmt: skip
    assert first.block is None
    period = SettlementPeriod.objects.order_by("starts_on")[0]
    assert first.last_period_id == period.pk
    assert sum(line.amount for line in period_lines(period_id=period.pk, scout_id=7)) == money(45)


def test_a_statement_still_shows_what_a_scout_was_settled_for_a_person_of_another_now():
    opened()
    recruit = a_recruit_of(7, {0: 1})
    close()
    belongs_to(recruit.person, 9)
    refresh()
    (row,) = statement_of(7).rows
    assert (row.payment_status, row.owed_amount, row.settled_amount, row.due_amount, row.current_scout_id) == (
        "ELIGIBLE", money(0), money(20), money(-20), 9,
    )  # fmt: skip


def test_the_key_of_an_item_is_made_of_who_for_whom_and_what_only():
    opened()
    recruit = a_recruit_of(7, {0: 1})
    refresh()
    before = rows(DUE, "payment_item_key")
    DailyTrips.objects.all().delete()
    drives(recruit.driver_id, recruit.lead_date, {3: 1})
    refresh()
    assert rows(DUE, "payment_item_key") == before


# --- the commands -------------------------------------------------------------------------------------


def test_the_commands_open_and_close_periods(capsys):
    with pytest.raises(CommandError, match="not before"):
        call_command("open_settlement_period", "--from", "2026-01-31", "--until", "2026-01-01")
    call_command("open_settlement_period", "--from", ago(60).isoformat(), "--until", ago(2).isoformat())
    a_recruit_of(7)
    call_command("close_settlement_period", "--dry-run")
    execute("discard temp")
    assert lines() == []
    call_command("close_settlement_period", "--until", ago(3).isoformat(), "--next-until", ago(1).isoformat(), "--json")
    assert '"amounts": {"PEN": "45.00"}' in capsys.readouterr().out
    assert list(SettlementPeriod.objects.values_list("starts_on", "ends_on")) == [(ago(2), ago(1)), (ago(60), ago(3))]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["open_settlement_period", "--from", "31/01/2026", "--until", "2026-02-28"], "--from: 31/01/2026 is not a day (YYYY-MM-DD)"),
        (["open_settlement_period", "--from", "2026-02-01", "--until", "2026-02-30"], "--until: 2026-02-30 is not a day (YYYY-MM-DD)"),
        (["open_settlement_period", "--from", "2026-02-01"], "--until"),
        (["open_settlement_period", "--from", "2026-02-01", "--until", "2026-02-28", "--name", "x" * 101], "at most 100 characters"),
        (["close_settlement_period"], "No settlement period is open"),
        (["close_settlement_period", "--next-until", "tomorrow"], "--next-until: tomorrow is not a day (YYYY-MM-DD)"),
    ],
    ids=["no day", "no such day", "no last day", "long name", "nothing open", "no day at the closing"],
)  # fmt: skip
def test_a_wrong_word_to_a_command_of_settlement_is_named_and_opens_nothing(command, words):
    with pytest.raises(CommandError) as refused:
        call_command(*command)
    assert words in str(refused.value) and refused.value.returncode == 1
    assert not SettlementPeriod.objects.exists() and not AuditEntry.objects.filter(action="open_period").exists()


def test_a_period_that_ends_too_late_by_a_slip_is_closed_up_to_another_day():
    opened(until=-400)
    a_recruit_of(7)
    with pytest.raises(CommandError, match=r"say up to which day \(--until\)"):
        call_command("close_settlement_period")
    assert lines() == []
    call_command("close_settlement_period", "--until", ago(1).isoformat())
    assert len(lines()) == 2


# --- at once, and at random ---------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_two_closings_at_once_one_closes():
    with transaction.atomic():  # an account needs a lead in the same transaction
        opened()
        a_recruit_of(7)
    parameters = {"next_ends_on": ago(-3).isoformat()}
    found: list[str] = []

    def work() -> None:
        try:
            run = jobs.perform(job_code=JobType.SETTLEMENT_CLOSE, actor="tests", parameters=parameters)
            found.append(run.status)
        except jobs.AlreadyRunning:
            found.append("ALREADY")
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) in (["ALREADY", "COMPLETED"], ["COMPLETED", "FAILED"])
    assert len(lines()) == 2
    assert [period.status for period in SettlementPeriod.objects.order_by("starts_on")] == ["closed", "open"]


class History:
    """Persons whose scouts, trips, blocks and amounts change at random, and what is owed for them by the rules in Python."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.amounts = dict.fromkeys(AMOUNTS, Decimal()) | {key: money(value) for key, value in AMOUNTS.items()}
        self.recruits = [a_recruit(ago(40), trips={}) for _number in range(5)]
        self.trips: list[dict[int, int]] = [{} for _recruit in self.recruits]
        self.scouts: list[int | None] = [None for _recruit in self.recruits]
        self.quarantined: set[int] = set()
        self.suspects: set[int] = set()
        self.stranger = a_person()
        self.settled: dict[tuple[int, int, int], Decimal] = {}
        for number in range(len(self.recruits)):
            self.moves(number)
            self.gives(number)

    def moves(self, number: int) -> None:
        self.trips[number] = {day: self.dice.choice((1, 3, 4, 20)) for day in self.dice.sample(range(10), 3)}
        driver = self.recruits[number].driver_id
        DailyTrips.objects.filter(driver_id=driver).delete()
        for day, count in self.trips[number].items():
            a_day(driver, ago(40 - day).isoformat(), count)

    def gives(self, number: int) -> None:
        self.scouts[number] = self.dice.choice((7, 8, 9, None))
        belongs_to(self.recruits[number].person, self.scouts[number])

    def locks(self, number: int) -> None:
        self.quarantined ^= {number}
        quarantine(
            self.recruits[number].driver_id, "quarantined" if number in self.quarantined else "resolved_relinked"
        )

    def suspects_two(self, number: int) -> None:
        self.suspects ^= {number}
        person = self.recruits[number].person
        suspected(
            person,
            self.recruits[0].person if number else self.stranger,
            "open" if number in self.suspects else "dismissed",
        )

    def prices(self, number: int) -> None:
        milestone = self.dice.choice(list(AMOUNTS))
        self.amounts[milestone] = Decimal(self.dice.randrange(0, 9999)) / 100
        ScoutPaymentRule.objects.filter(origin_tag="cabinet", milestone_type="trips", milestone_value=milestone).update(
            amount=self.amounts[milestone]
        )

    def happens(self) -> None:
        for _number in range(self.dice.randrange(1, 6)):
            what = self.dice.choice((self.moves, self.gives, self.locks, self.suspects_two, self.prices))
            what(self.dice.randrange(len(self.recruits)))

    def is_blocked(self, number: int) -> bool:
        # Whoever is suspected to be the first person blocks both.
        suspected_too = number == 0 and bool(self.suspects - {0})
        return self.scouts[number] is None or number in self.quarantined or number in self.suspects or suspected_too

    def closes(self) -> None:
        """What every item has got once the period is closed: what is owed, and of blocked persons what it had."""
        for number in range(len(self.recruits)):
            if self.is_blocked(number):
                continue
            for key in [key for key in self.settled if key[1] == number]:
                self.settled[key] = money(0)
            total = sum(count for day, count in self.trips[number].items() if day < 7)
            for milestone, amount in self.amounts.items():
                if total >= milestone:
                    self.settled[self.scouts[number] or 0, number, milestone] = money(str(amount))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.slow
def test_whatever_happens_the_lines_of_an_item_add_up_to_what_is_owed_at_the_last_closing(seed):
    opened(until=10)
    history = History(seed)
    for _closing in range(6):
        frozen = list(SettlementLine.objects.order_by("id").values())
        close()
        history.closes()
        assert list(SettlementLine.objects.order_by("id").values())[: len(frozen)] == frozen
        numbers = {recruit.person: number for number, recruit in enumerate(history.recruits)}
        sums: dict[tuple[int, int, int], Decimal] = {}
        for line in SettlementLine.objects.all():
            key = line.scout_id, numbers[line.person_id], line.milestone_value
            sums[key] = sums.get(key, Decimal()) + line.amount
        assert {key: amount for key, amount in sums.items() if amount} == {
            key: amount for key, amount in history.settled.items() if amount
        }
        totals = sum(Decimal(period.amounts.get("PEN", 0)) for period in SettlementPeriod.objects.all())
        assert totals == sum(sums.values())
        assert broken() + stale() == []
        history.happens()
