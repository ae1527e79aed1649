"""How attribution stands: backlog and repair by table 14.3, conflicts, the winner under any plan, metrics day by day."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.utils import timezone

from attribution.models import AttributionDay, LedgerBackfillEntry, LedgerEntry
from ct4site import invariants
from ct4site.models import JobType
from identity.models import CabinetPayment, LeadEvent, MigrationRecord, Person
from tests.attribution.test_ledger import TABLES, a_person_with, day, decide
from tests.factories import JUAN, Record, a_lead, a_migration, a_registration, an_event, changes, match, run_job

pytestmark = pytest.mark.django_db

LIMA = ZoneInfo("America/Lima")
METHOD = "BACKFILL_SINGLE_SCOUT_FROM_EVENTS"


def rows_of(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def category(person: Person) -> str | None:
    found = rows_of("select category from ops.v_persons_without_scout_categorized where person_key = %s", person.pk)
    return found[0][0] if found else None


def conflict(person: Person) -> tuple[list[int], str] | None:
    found = rows_of(
        "select scout_ids, conflict_type from ops.v_scout_attribution_conflicts where person_key = %s", person.pk
    )
    return found[0] if found else None


def winner(person: Person) -> tuple[Any, ...] | None:
    found = rows_of(
        "select scout_id, priority, source_pk from ops.v_scout_attribution where person_key = %s", person.pk
    )
    return found[0] if found else None


# --- 14.3, table "Scout attribution" --------------------------------------------------------------------


class Line(NamedTuple):
    """A line of the table: what there is, which category and conflict that is, what the backfill makes of it."""

    ledger: tuple[str | None, int | None, str] | None
    events: tuple[tuple[str, int | None, int], ...]
    category: str | None
    conflict: list[int] | None
    filled: bool


TABLE = {
    "rule A has it": Line(("A", 7, "assigned"), (("scouting", 7, 1),), None, None, False),
    "rule B lacks it": Line(("B", None, "assigned"), (("scouting", 7, 1),), "D", None, True),
    "rule B, two scouts": Line(
        ("B", None, "assigned"), (("scouting", 7, 1), ("scouting", 9, 2)), "D", [7, 9], False
    ),
    "rule C, two scouts": Line(
        ("C", None, "conflict"), (("scouting", 7, 1), ("scouting", 9, 2)), "D", [7, 9], False
    ),
    "events without scout": Line(("B", None, "assigned"), (("cabinet", None, 1),), "A", None, False),
    "no events": Line(("U", None, "unassigned"), (), "B", None, False),
    "no ledger": Line(None, (("scouting", 7, 1),), "D", None, True),
    "nothing": Line(None, (), "C", None, False),
    "no rule": Line((None, None, "unassigned"), (), "E", None, False),
    "the ledger says 5": Line(("A", 5, "assigned"), (("scouting", 7, 1),), None, [5, 7], False),
}  # fmt: skip


def people_of_the_table() -> dict[str, Person]:
    """A person for every line of the table."""
    people = {case: a_person_with(*line.events) for case, line in TABLE.items()}
    for case, line in TABLE.items():
        if line.ledger is not None:
            rule, scout, status = line.ledger
            LedgerEntry.objects.create(
                person=people[case], attributed_source="cabinet", attributed_scout_id=scout, attribution_rule=rule,
                attribution_score="0.80", confidence_level="medium", decision_status=status,
            )  # fmt: skip
    return people


def test_category_conflict_and_backfill_are_those_of_the_table() -> None:
    people = people_of_the_table()
    before = {case: LedgerEntry.objects.filter(pk=person.pk).values().first() for case, person in people.items()}
    for case, line in TABLE.items():
        assert category(people[case]) == line.category, case
        assert (conflict(people[case]) or (None,))[0] == line.conflict, case
    run_job(JobType.LEDGER_BACKFILL)
    for case, line in TABLE.items():
        person = people[case]
        after = LedgerEntry.objects.filter(pk=person.pk).values().first()
        audit = LedgerBackfillEntry.objects.filter(person_key=person.pk)
        if not line.filled:
            assert (after, audit.count(), category(person)) == (before[case], 0, line.category), case
            continue
        assert after is not None, case
        filled = (after["attributed_scout_id"], after["attribution_rule"], after["decision_status"])
        assert filled == (7, METHOD, "assigned"), case
        told = audit.get()
        assert (told.old_attributed_scout_id, told.new_attributed_scout_id) == (None, 7), case
        assert told.attribution_rule_old == (line.ledger[0] if line.ledger else None), case
        assert (category(person), conflict(person)) == (None, None), case


def test_the_refresh_takes_no_scout_away_and_invents_none() -> None:
    """The ledger's own decision runs before the backfill; together they give what the table's backfill gives."""
    people = people_of_the_table()
    run_job(JobType.SCOUT_REFRESH)
    for case, line in TABLE.items():
        person = people[case]
        found = LedgerEntry.objects.filter(pk=person.pk).first()
        expected = 7 if line.filled else line.ledger[1] if line.ledger else None
        assert (found.attributed_scout_id if found else None) == expected, case
        assert category(person) == (None if line.filled else line.category), case
        assert (conflict(person) or (None,))[0] == line.conflict, case
    assert changes({name: count for name, count in run_job(JobType.SCOUT_REFRESH).items() if name != "metrics"}) == {}


# --- conflicts ------------------------------------------------------------------------------------------


def test_registrations_of_nobody_are_no_conflict_however_many_scouts_brought_them() -> None:
    for scout in range(1, 30):
        a_registration(scout=scout)
        a_migration(None, scout=scout)
        CabinetPayment.objects.create(scout_id=scout, driver=JUAN, date=day(1))
    (metrics,) = rows_of("select conflicts_count, open_conflicts_count from ops.v_scout_attribution_metrics_snapshot")
    assert metrics == (0, 0)
    assert rows_of("select count(*), count(person_key) from ops.v_scout_attribution_raw") == [(87, 0)]
    assert rows_of("select count(*) from ops.v_scout_attribution") == [(0,)]


def test_every_source_can_contradict_every_other() -> None:
    person = a_person_with(("scouting", 7, 1))
    decide()
    CabinetPayment.objects.create(scout_id=9, person_key=person.pk, date=day(3))
    assert conflict(person) == ([7, 9], "OPEN")
    assert winner(person)[:2] == (7, 1)


@pytest.mark.parametrize(
    ("events", "ledger", "kind"),
    [
        ((("scouting", 7, 1), ("scouting", 9, 20)), None, "HISTORICAL"),
        ((("scouting", 7, 1), ("scouting", 9, 9)), None, "HISTORICAL"),
        ((("scouting", 7, 1), ("scouting", 9, 8)), None, "OPEN"),
        ((("scouting", 7, 1), ("scouting", 9, 20)), "C", "OPEN"),
        ((("migration", 3, 1), ("scouting", 7, 1)), None, "OPEN"),
        ((("migration", 3, 1), ("scouting", 7, 20)), None, "HISTORICAL"),
    ],
)
def test_a_conflict_is_history_once_the_ledger_decided_and_the_claims_lie_apart(
    events: tuple[Any, ...], ledger: str | None, kind: str
) -> None:
    person = a_person_with(*events)
    decide()
    if ledger:
        LedgerEntry.objects.update(attribution_rule=ledger, attributed_scout_id=None, decision_status="conflict")
    assert (conflict(person) or (None, None))[1] == kind


def test_a_conflict_a_person_decided_comes_back_with_a_new_scout() -> None:
    person = a_person_with(("scouting", 7, 1), ("scouting", 9, 2))
    LedgerEntry.objects.create(
        person=person, attributed_source="scouting", attributed_scout_id=9, attribution_score="0.95",
        attribution_rule="RESOLVED_MANUAL_CONFLICT", confidence_level="high", decision_status="assigned",
        evidence_json={"conflict_resolution": True, "conflict_scout_ids": [7, 9], "resolved_scout_id": 9},
    )  # fmt: skip
    assert conflict(person) is None
    an_event(Record(TABLES["migration"], "990"), person=person.pk, on=day(3), scout_id=3)
    decide()
    assert conflict(person) == ([3, 7, 9], "OPEN")
    assert winner(person)[:2] == (9, 1)


# --- the winner -----------------------------------------------------------------------------------------

PLANS = (
    "set local enable_hashjoin = off", "set local enable_mergejoin = off", "set local enable_nestloop = off",
    "set local enable_sort = off", "set local enable_hashagg = off", "set local enable_seqscan = off",
    "set local enable_indexscan = off; set local enable_indexonlyscan = off; set local enable_bitmapscan = off",
    "set local parallel_setup_cost = 0; set local parallel_tuple_cost = 0; set local min_parallel_table_scan_size = 0;"
    " set local max_parallel_workers_per_gather = 2",
    "set local work_mem = '64kB'", "set local from_collapse_limit = 1; set local join_collapse_limit = 1",
)  # fmt: skip


def ties(shuffle: Random) -> list[Person]:
    """Persons of whom several claims are of one day, one moment, one priority; their rows in an order of chance."""
    persons = [Person.objects.create(confidence_level="HIGH", person_key=f"{number:032x}") for number in range(1, 25)]
    moment = dt.datetime(2026, 1, 5, 12, tzinfo=LIMA)
    events = [
        LeadEvent(
            id=10_000 + 100 * place + number, source_table=table, source_pk=f"{8 + number}{place:03d}", person=person,
            event_date=day(5), scout_id=scout, payload_json={}, created_at=moment,
        )
        for place, person in enumerate(persons)
        for table in (TABLES["scouting"], TABLES["migration"])[: 1 + place % 2]
        for number, scout in enumerate((7, 9, 3, 12))
        if place % 3 or number < 1 + place % 4
    ]  # fmt: skip
    for place, event in enumerate(events):
        event.id = 10_000 + place
    payments = [
        CabinetPayment(pk=1 + 10 * place + number, scout_id=scout, person_key=person.pk, date=day(5), created_at=dt.datetime(2026, 1, 5))  # noqa: DTZ001
        for place, person in enumerate(persons)
        for number, scout in enumerate((9, 7, 12))
    ]  # fmt: skip
    shuffle.shuffle(events)
    shuffle.shuffle(payments)
    LeadEvent.objects.bulk_create(events, batch_size=7)
    CabinetPayment.objects.bulk_create(payments, batch_size=7)
    return persons


def verdicts() -> list[Any]:
    return [
        rows_of("select person_key, scout_id, priority, source_pk from ops.v_scout_attribution order by 1"),
        rows_of("select person_key, scout_ids, conflict_type, conflict_details::text from ops.v_scout_attribution_conflicts order by 1"),
        rows_of("select person_key, category, scout_id from ops.v_persons_without_scout_categorized order by 1"),
    ]  # fmt: skip


def ledger() -> list[Any]:
    return list(
        LedgerEntry.objects.order_by("pk").values_list("pk", "attribution_rule", "attributed_scout_id", "evidence_json")
    )


@pytest.mark.slow
def test_the_winner_of_a_tie_is_the_same_under_any_plan_and_any_order_of_rows() -> None:
    answers = []
    for seed in range(3):
        with connection.cursor() as cursor:
            cursor.execute("savepoint a_world")
            ties(Random(seed))
            for plan in ("analyze observational.lead_events, canon.identity_registry", *PLANS):
                cursor.execute("savepoint a_plan")
                cursor.execute(plan)
                found = verdicts()
                run_job(JobType.PROCESS_LEDGER)
                run_job(JobType.LEDGER_BACKFILL)
                answers.append((found, verdicts()[0], [row[:3] for row in ledger()]))
                cursor.execute("rollback to savepoint a_plan")
            cursor.execute("rollback to savepoint a_world")
    assert len(answers) == 3 * (1 + len(PLANS))
    assert len(answers[0][0][0]) == 24
    assert len({scout for _person, scout, *_rest in answers[0][0][0]}) > 1, "nothing to win"
    for answer in answers[1:]:
        assert answer == answers[0]


def test_of_two_claims_alike_the_highest_key_wins_though_keys_are_text() -> None:
    person = Person.objects.create(confidence_level="HIGH")
    for key, scout in ((9, 3), (10, 4), (8, 5)):
        MigrationRecord.objects.create(pk=key, scout_id=scout, hire_date=day(5), created_at=day(5))
    a_link_of("module_ct_migrations", ("9", "10", "8"), person)
    assert winner(person) == (4, 3, "10")


def test_a_migration_without_a_date_of_its_row_is_not_newer_than_one_with() -> None:
    """Of equal hiring dates the newest row wins (6.6); a row that does not say when it was made is not newer."""
    person = Person.objects.create(confidence_level="HIGH")
    MigrationRecord.objects.create(pk=2, scout_id=5, hire_date=day(20), created_at=None)
    MigrationRecord.objects.create(pk=1, scout_id=4, hire_date=day(20), created_at=day(3))
    a_link_of("module_ct_migrations", ("1", "2"), person)
    assert winner(person) == (4, 3, "1")


def a_link_of(table: str, keys: tuple[str, ...], person: Person) -> None:
    from identity.models import Link

    for key in keys:
        Link.objects.create(
            person=person, source_table=table, source_pk=key, snapshot_date=timezone.now(), match_rule="driver_direct",
            match_score=95, confidence_level="HIGH",
        )  # fmt: skip


# --- history --------------------------------------------------------------------------------------------


def test_a_decision_looked_at_again_is_no_gap_in_the_history() -> None:
    """What the job saw is a mark of its own, kept without an entry; the next entry's "before" has the new one."""
    person = a_person_with(("cabinet", None, 1))
    decide()
    LeadEvent.objects.update(scout_id=7)
    assert decide()["changed_count"] == 0
    run_job(JobType.LEDGER_BACKFILL)
    assert LedgerEntry.objects.get(pk=person.pk).attributed_scout_id == 7
    assert "chk_history_folds" not in {finding.name for finding in invariants.check() if finding.count}


# --- metrics --------------------------------------------------------------------------------------------


def refresh() -> dict[str, Any]:
    return run_job(JobType.SCOUT_REFRESH)


def test_a_refresh_stores_the_day_and_the_last_one_stays() -> None:
    a_person_with(("scouting", 7, 1))
    a_person_with(("cabinet", None, 1))
    tally = refresh()
    stored = AttributionDay.objects.get()
    assert stored.metric_date == dt.datetime.now(LIMA).date()
    assert (stored.total_persons, stored.satisfactory_count, stored.missing_count) == (2, 1, 1)
    assert stored.backlog == {"a": 1, "b": 0, "c": 0, "d": 0, "e": 0} == tally["metrics"]["backlog"]
    a_person_with(("scouting", 8, 1))
    refresh()
    stored = AttributionDay.objects.get()
    assert (stored.total_persons, stored.satisfactory_count, stored.missing_count) == (3, 2, 1)


def test_days_before_the_first_refresh_are_absent_and_earlier_ones_stay_as_they_were() -> None:
    AttributionDay.objects.create(
        metric_date=dt.date(2025, 12, 31), total_persons=10, satisfactory_count=3, missing_count=7, conflicts_count=1,
        open_conflicts_count=1, by_source_scouting_daily=1, by_source_cabinet_leads=0, by_source_lead_ledger=2,
    )  # fmt: skip
    a_person_with(("scouting", 7, 1))
    refresh()
    rows = rows_of(
        "select total_persons, satisfactory_count, pct_satisfactory, missing_count"
        " from ops.v_scout_attribution_metrics_daily order by metric_date"
    )
    assert rows == [(10, 3, Decimal("30.00"), 7), (1, 1, Decimal("100.00"), 0)]


def test_a_dry_refresh_stores_no_day() -> None:
    a_person_with(("scouting", 7, 1))
    run_job(JobType.SCOUT_REFRESH, dry_run=True)
    assert not AttributionDay.objects.exists()
    assert not LedgerEntry.objects.exists()


def test_the_day_counts_what_came_that_day_by_source() -> None:
    today = dt.datetime.now(LIMA).date()
    a_registration(phone="987003001")
    person = a_person_with(("cabinet", 8, 1))
    LeadEvent.objects.filter(person=person).update(event_date=today)
    old = a_person_with(("scouting", 9, 1))
    LedgerEntry.objects.create(
        person=old, attributed_source="scouting", attributed_scout_id=9, attribution_rule="A", attribution_score="0.95",
        confidence_level="high", decision_status="assigned", updated_at=timezone.now() - dt.timedelta(days=2),
    )  # fmt: skip
    run_job(JobType.LINKS_BACKFILL)
    refresh()
    stored = AttributionDay.objects.get()
    assert (stored.by_source_scouting_daily, stored.by_source_cabinet_leads, stored.by_source_lead_ledger) == (1, 1, 2)


def test_missing_is_the_sum_of_the_categories_in_a_world_of_all_kinds() -> None:
    for line in TABLE.values():
        person = a_person_with(*line.events)
        if line.ledger is not None:
            rule, scout, status = line.ledger
            LedgerEntry.objects.create(
                person=person, attributed_source="cabinet", attributed_scout_id=scout, attribution_rule=rule,
                attribution_score="0.80", confidence_level="medium", decision_status=status,
            )  # fmt: skip
    a_lead(JUAN)
    match()
    broken = {finding.name for finding in invariants.check() if finding.count}
    assert broken & {"chk_backlog_is_whole", "chk_only_assigned_has_scout"} == set()
    (metrics,) = rows_of("select persons_missing_scout, total_persons from ops.v_scout_attribution_metrics_snapshot")
    assert metrics == (8, 10)
