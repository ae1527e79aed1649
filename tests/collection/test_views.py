"""Lists and sums of collection: weeks, funnel, limbo, gap, scouts (domain.md 6.9, 6.12, 6.13, 12.6 to 12.10; Q26, Q27)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from attribution.models import LedgerEntry, PossibleSamePerson
from tests.attribution.stories import a_scout
from tests.collection.stories import (
    Recruit,
    a_cabinet_lead,
    a_person,
    a_recruit,
    ago,
    an_account,
    broken,
    collect,
    drives,
    link,
    money,
    pays,
    quarantine,
    refresh,
    rows,
)
from tests.factories import LEAD_DATE, Record, a_migration, a_registration, an_event

pytestmark = pytest.mark.django_db

FUNNEL = "ops.v_cabinet_funnel_status"
LIMBO = "ops.v_cabinet_leads_limbo"
FINANCIAL = "ops.v_cabinet_financial_14d"
WITH_SCOUT = "ops.v_yango_collection_with_scout"
DAILY = "ops.v_scout_daily_expected_base"
PAYMENT_BASE = "ops.v_scout_payment_base"


def assign(person: UUID, scout: int, *, status: str = "assigned") -> None:
    """What the ledger says of a person."""
    LedgerEntry.objects.update_or_create(
        person_id=person,
        defaults={
            "attributed_source": "scouting", "attributed_scout_id": scout if status == "assigned" else None,
            "attribution_rule": "A", "attribution_score": "0.95", "confidence_level": "high", "decision_status": status,
        },
    )  # fmt: skip


def claimed_by(person: UUID, scout: int, on: dt.date = LEAD_DATE) -> Record:
    """A registration of a person by a scout, with its lead event."""
    record = link(person, a_registration(None, scout=scout, on=on))
    an_event(record, person=person, on=on, scout_id=scout)
    return record


# --- funnel ---------------------------------------------------------------------------------------------


def funnel(driver_id: str, *columns: str) -> Any:
    found = rows(FUNNEL, *(columns or ("funnel_status",)), driver_id=driver_id)
    assert len(found) == 1
    return found[0]


def test_the_funnel_says_how_far_a_driver_came():
    shapes = [
        ({}, "registered_complete", 0),
        ({0: 0}, "connected_no_trips", 0),
        ({0: 1}, "reached_m1", 1),
        ({0: 4}, "reached_m1", 1),
        ({0: 5}, "reached_m5", 5),
        ({0: 24}, "reached_m5", 5),
        ({0: 25}, "reached_m25", 25),
        ({13: 25}, "reached_m25", 25),
        ({0: 1, 14: 25}, "reached_m1", 1),
    ]
    recruits = [a_recruit(trips=trips) for trips, _status, _highest in shapes]
    collect()
    seen = [funnel(recruit.driver_id, "funnel_status", "highest_milestone", "origin_tag") for recruit in recruits]
    assert seen == [(status, highest, "cabinet") for _trips, status, highest in shapes]


def test_the_funnel_of_a_driver_sent_twice_begins_with_the_first_lead():
    """The milestone is that of the earliest lead in whose window it was reached, as its claim says (Q62)."""
    recruit = a_recruit(ago(60), trips={1: 1})
    a_cabinet_lead(recruit.person, ago(30), driver=recruit.driver_id)
    drives(recruit.driver_id, ago(30), {2: 5})
    collect()
    assert funnel(recruit.driver_id, "funnel_status", "connected_date", "m1_date", "m5_date", "m25_date") == (
        "reached_m5", ago(59), ago(59), ago(28), None,
    )  # fmt: skip


def test_the_funnel_has_the_day_of_each_milestone():
    recruit = a_recruit(ago(40), trips={1: 1, 2: 4, 5: 20, 29: 2, 30: 100})
    collect()
    assert funnel(
        recruit.driver_id, "connected_flag", "connected_date", "m1_date", "m5_date", "m25_date", "trips_total"
    ) == (True, ago(39), ago(39), ago(38), ago(35), 27)


def test_an_account_that_is_nobody_is_registered_incompletely():
    driver = an_account(None)
    collect()
    assert funnel(driver, "funnel_status", "person_key", "origin_tag") == ("registered_incomplete", None, "unknown")


def test_a_migrated_driver_is_of_the_fleet_unless_the_cabinet_sent_him_too():
    person = a_person()
    driver = an_account(person)
    link(person, a_migration(driver, on=ago(30)), driver=driver)
    collect()
    assert funnel(driver, "origin_tag") == "fleet_migration"
    a_cabinet_lead(person, ago(20), driver=driver)
    collect()
    assert funnel(driver, "origin_tag") == "cabinet"


# --- limbo, expected, gap ---------------------------------------------------------------------------------


def limbo(lead: Record, *columns: str) -> Any:
    found = rows(LIMBO, *(columns or ("limbo_stage",)), lead_source_pk=lead.source_pk)
    assert len(found) == 1, found
    return found[0]


def test_the_stages_of_limbo_are_told_in_their_order():
    nobody = a_cabinet_lead(None, ago(19))
    carless = a_cabinet_lead(a_person(), ago(19))
    idle, done = a_recruit(), a_recruit(trips={0: 1})
    collect()
    late = a_recruit(trips={0: 1})
    assert [limbo(lead) for lead in (nobody, carless, idle.lead, done.lead)] == [
        "NO_IDENTITY", "NO_DRIVER", "NO_TRIPS_14D", "OK",
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("delete from canon.claims_yango_cabinet_14d where driver_id = %s", [done.driver_id])
    assert limbo(done.lead) == "TRIPS_NO_CLAIM"
    refresh()
    assert [limbo(done.lead), limbo(late.lead)] == ["OK", "OK"]


def test_limbo_shows_what_a_lead_has_come_to():
    recruit = a_recruit(ago(19), trips={0: 6})
    collect()
    assert limbo(
        recruit.lead, "lead_date", "week_start", "person_key", "driver_id", "trips_14d", "window_end_14d",
        "reached_m1_14d", "reached_m5_14d", "reached_m25_14d", "expected_amount_14d", "has_claim_m1", "has_claim_m5",
        "has_claim_m25",
    ) == (
        ago(19), ago(19) - dt.timedelta(days=ago(19).weekday()), recruit.person, recruit.driver_id, 6, ago(5),
        True, True, False, money(60), True, True, False,
    )  # fmt: skip


def test_a_second_lead_of_a_driver_is_not_in_limbo_for_a_milestone_that_the_first_claimed():
    """Yango owes a milestone once per account: the second lead lacks nothing (Q62)."""
    recruit = a_recruit(ago(22), trips={5: 1})
    again = a_cabinet_lead(recruit.person, ago(19), driver=recruit.driver_id)
    collect()
    assert [limbo(recruit.lead), limbo(again)] == ["OK", "OK"]


def test_ids_of_leads_are_told_as_text_and_as_number():
    recruit = a_recruit()
    collect()
    row_id, lead_id = limbo(recruit.lead, "lead_row_id", "lead_id")
    assert (isinstance(row_id, int), lead_id) == (True, recruit.lead.source_pk)


def test_what_is_expected_of_a_lead_is_told_per_milestone():
    nobody, carless = a_cabinet_lead(None, ago(19)), a_cabinet_lead(a_person(), ago(19))
    recruit = a_recruit(trips={0: 1})
    collect()
    columns = ("milestone_value", "milestone_reached", "claim_expected", "expected_reason_detail")
    view = "ops.v_cabinet_claims_expected_14d"
    assert rows(view, *columns, lead_source_pk=recruit.lead.source_pk) == [
        (1, True, True, "OK"), (5, False, False, "INSUFFICIENT_TRIPS"), (25, False, False, "INSUFFICIENT_TRIPS"),
    ]  # fmt: skip
    assert set(rows(view, *columns[1:], lead_source_pk=nobody.source_pk)) == {(False, False, "NO_IDENTITY")}
    assert set(rows(view, *columns[1:], lead_source_pk=carless.source_pk)) == {(False, False, "NO_DRIVER")}


def test_the_gap_names_a_claim_that_was_not_made_until_it_is():
    recruit = a_recruit(trips={0: 1})
    collect()
    gap = ("ops.v_cabinet_claims_gap_14d", "milestone_value", "gap_reason")
    of_lead = {"lead_source_pk": recruit.lead.source_pk}
    with connection.cursor() as cursor:
        cursor.execute("delete from canon.claims_yango_cabinet_14d")
    assert rows(*gap, **of_lead) == [(1, "CLAIM_NOT_GENERATED"), (5, "INSUFFICIENT_TRIPS"), (25, "INSUFFICIENT_TRIPS")]
    refresh()
    assert rows(*gap, **of_lead) == [(1, "OK"), (5, "INSUFFICIENT_TRIPS"), (25, "INSUFFICIENT_TRIPS")]


# --- money ------------------------------------------------------------------------------------------------


def many_drivers() -> list[Recruit]:
    """Drivers of several weeks, some of them paid, in part or too much."""
    shapes = [{0: 1}, {0: 5}, {0: 25}, {}, {13: 5}, {14: 9}, {0: 2, 3: 30}]
    recruits = [a_recruit(ago(14 + 5 * number), trips=shapes[number % len(shapes)]) for number in range(21)]
    for number, recruit in enumerate(recruits):
        if number % 3:
            pays(recruit.name, *(1, 5, 25)[: number % 4])
    return recruits


def test_sums_of_weeks_are_the_totals_to_the_cent():
    recruits = many_drivers()
    a_cabinet_lead(recruits[0].person, ago(3), driver=recruits[0].driver_id)
    collect()
    for view, amounts, day in (
        (FINANCIAL, ("expected_total_yango", "total_paid_yango", "amount_due_yango"), "lead_date"),
        (WITH_SCOUT, ("expected_amount",), "lead_date"),
    ):
        for amount in amounts:
            listed = rows(view, "driver_id", "week_start", day, amount)
            of_weeks: dict[dt.date, Decimal] = {}
            for _driver, start, on, value in listed:
                assert (start.weekday(), 0 <= (on - start).days < 7, type(value)) == (0, True, Decimal)
                of_weeks[start] = of_weeks.get(start, money(0)) + value
            with connection.cursor() as cursor:
                cursor.execute(f"select sum({amount}) from {view}")
                assert cursor.fetchone() == (sum(of_weeks.values()),)
            assert len(of_weeks) > 5
    owed = sum(rows(FINANCIAL, "expected_total_yango", "driver_id")[n][0] for n in range(len(recruits)))
    with connection.cursor() as cursor:
        cursor.execute(f"select sum(expected_amount) from {WITH_SCOUT}")
        assert cursor.fetchone() == (owed,)
    assert broken() == []


def test_what_is_due_is_what_is_expected_less_what_is_paid():
    many_drivers()
    collect()
    for expected, m1, m5, m25, paid, p1, p5, p25, due, _driver in rows(
        FINANCIAL, "expected_total_yango", "expected_amount_m1", "expected_amount_m5", "expected_amount_m25",
        "total_paid_yango", "paid_amount_m1", "paid_amount_m5", "paid_amount_m25", "amount_due_yango", "driver_id",
    ):  # fmt: skip
        assert expected == m1 + m5 + m25
        assert paid == p1 + p5 + p25
        assert due == expected - paid
        assert (m1, m5, m25) in [(0, 0, 0), (25, 0, 0), (25, 35, 0), (25, 35, 100)]


def test_the_debt_of_the_list_is_that_of_the_claims_not_paid():
    recruits = [a_recruit(trips=trips) for trips in ({0: 1}, {0: 5}, {0: 25})]
    pays(recruits[2].name, 1, 25)
    collect()
    listed = rows(WITH_SCOUT, "driver_id", "milestone_value", "expected_amount", "is_collectable")
    assert sum(amount for *_rest, amount, is_collectable in listed if is_collectable) == money(25 + 60 + 35)
    demanded = rows("ops.v_yango_cabinet_claims_exigimos", "driver_id", "milestone_value", "expected_amount")
    assert sum(row[2] for row in demanded) == money(120)
    assert len(set(rows("ops.v_yango_cabinet_claims_exigimos", "claim_key"))) == len(demanded) == 4


def test_a_driver_sent_twice_is_one_row_under_the_latest_lead_and_owes_what_the_claims_say():
    recruit = a_recruit(ago(40), trips={0: 1})
    a_cabinet_lead(recruit.person, ago(20), driver=recruit.driver_id)
    collect()
    assert rows(FINANCIAL, "lead_date", "total_trips_14d", "expected_total_yango", driver_id=recruit.driver_id) == [
        (ago(20), 1, money(25))
    ]


def test_the_iso_week_of_the_turn_of_the_year_is_named_by_its_own_year():
    recruit = a_recruit(dt.date(2025, 12, 29), trips={0: 1})
    collect()
    assert rows(FINANCIAL, "iso_week", "week_start", driver_id=recruit.driver_id) == [
        ("2026-01", dt.date(2025, 12, 29))
    ]


# --- scouts of claims ---------------------------------------------------------------------------------------


def test_every_quality_of_a_scout_has_its_bucket():
    recruits = {
        name: a_recruit(trips={0: 1}) for name in ("ledger", "events", "migration", "scouting", "payment", "none")
    }
    assign(recruits["ledger"].person, 7)
    an_event(Record("module_ct_scouting_daily", "900001"), person=recruits["events"].person, on=ago(20), scout_id=8)
    link(recruits["migration"].person, a_migration(recruits["migration"].driver_id, scout=9, on=ago(20)))
    link(recruits["scouting"].person, a_registration(None, scout=10, on=ago(20)))
    pays(None, driver_id=recruits["payment"].driver_id, person_key=recruits["payment"].person, scout_id=11)
    a_scout(7, "ROJAS ANA")
    collect()
    seen = {
        name: rows(WITH_SCOUT, "scout_id", "scout_quality_bucket", "is_scout_resolved", driver_id=recruit.driver_id)
        for name, recruit in recruits.items()
    }
    assert seen == {
        "ledger": [(7, "SATISFACTORY_LEDGER", True)],
        "events": [(8, "EVENTS_ONLY", True)],
        "migration": [(9, "MIGRATIONS_ONLY", True)],
        "scouting": [(10, "SCOUTING_DAILY_ONLY", True)],
        "payment": [(11, "CABINET_PAYMENTS_ONLY", True)],
        "none": [(None, "MISSING", False)],
    }
    assert rows(WITH_SCOUT, "scout_name", "scout_is_active", driver_id=recruits["ledger"].driver_id) == [
        ("ROJAS ANA", True)
    ]


def test_a_claim_is_listed_once_however_many_scouts_claim_the_person():
    recruit = a_recruit(trips={0: 5})
    for number, scout in enumerate((7, 8, 9)):
        claimed_by(recruit.person, scout, ago(30 - number))
    collect()
    assert rows(WITH_SCOUT, "milestone_value", driver_id=recruit.driver_id) == [1, 5]


# --- the base of daily settlement (Q26) -----------------------------------------------------------------------


def test_the_daily_base_has_the_scouts_amounts_and_the_partners_beside_them():
    one, other = a_recruit(ago(19), trips={0: 5}), a_recruit(ago(19), trips={6: 1})
    elsewhere = a_recruit(ago(18), trips={0: 25})
    for recruit, scout in ((one, 7), (other, 7), (elsewhere, 8)):
        assign(recruit.person, scout)
    a_recruit(ago(19), trips={0: 1})
    collect()
    listed = rows(
        DAILY, "scout_id", "date", "milestone_value", "drivers_count", "driver_ids_count", "milestone_occurrences",
        "total_expected_amount", "yango_expected_amount", "m1_count", "m5_count", "m25_count", "satisfactory_ledger_count",
    )  # fmt: skip
    assert listed == [
        (7, ago(19), 1, 2, 2, 2, money(40), money(50), 2, 0, 0, 2),
        (7, ago(19), 5, 1, 1, 1, money(25), money(35), 0, 1, 0, 1),
        (8, ago(18), 1, 1, 1, 1, money(20), money(25), 1, 0, 0, 1),
        (8, ago(18), 5, 1, 1, 1, money(25), money(35), 0, 1, 0, 1),
        (8, ago(18), 25, 1, 1, 1, money(55), money(100), 0, 0, 1, 1),
    ]


def test_the_window_of_the_daily_base_is_that_of_the_rule():
    recruit = a_recruit(ago(19), trips={0: 1})
    assign(recruit.person, 7)
    collect()
    assert rows(DAILY, "earliest_scout_window_start", "latest_scout_window_end") == [(ago(19), ago(12))]


def test_the_daily_base_leaves_out_drivers_in_quarantine():
    recruit = a_recruit(trips={0: 1})
    assign(recruit.person, 7)
    collect()
    assert len(rows(DAILY, "scout_id")) == 1
    quarantine(recruit.driver_id)
    assert rows(DAILY, "scout_id") == []


# --- the base of liquidation (Q27) ------------------------------------------------------------------------------


def base(person: UUID, *columns: str) -> Any:
    found = rows(PAYMENT_BASE, *(columns or ("payment_status", "block_reason")), person_key=person)
    assert len(found) == 1, found
    return found[0]


def test_a_scout_may_expect_what_was_reached_in_seven_days():
    shapes = [
        ({}, 0, None, 0, "PENDING"),
        ({0: 1}, 1, 0, 20, "ELIGIBLE"),
        ({6: 1}, 1, 6, 20, "ELIGIBLE"),
        ({7: 1}, 0, None, 0, "PENDING"),
        ({1: 1, 3: 4}, 5, 3, 45, "ELIGIBLE"),
        ({0: 1, 2: 30}, 25, 2, 100, "ELIGIBLE"),
        ({0: 1, 7: 30}, 1, 0, 20, "ELIGIBLE"),
    ]
    recruits = [a_recruit(ago(19), trips=shape[0]) for shape in shapes]
    for recruit in recruits:
        assign(recruit.person, 7)
    collect()
    columns = ("scout_id", "milestone_reached", "milestone_date", "eligible_7d", "amount_payable", "payment_status")
    assert [base(recruit.person, *columns, "block_reason") for recruit in recruits] == [
        (7, milestone, None if day is None else ago(19 - day), milestone > 0, money(amount), status, None)
        for _trips, milestone, day, amount, status in shapes
    ]


def test_a_migration_is_worth_fifty_after_fifty_trips_in_thirty_days():
    person = a_person()
    driver = an_account(person)
    link(person, a_migration(driver, scout=7, on=ago(40)), driver=driver)
    assign(person, 7)
    drives(driver, ago(40), {0: 49, 29: 1})
    collect()
    assert base(person, "milestone_reached", "milestone_date", "amount_payable", "payment_status") == (
        50, ago(11), money(50), "ELIGIBLE",
    )  # fmt: skip


def test_a_person_without_scout_is_blocked():
    recruit = a_recruit(trips={0: 1})
    collect()
    assert base(recruit.person) == ("BLOCKED", "NO_SCOUT")


def test_a_driver_in_quarantine_is_blocked():
    recruit = a_recruit(trips={0: 1})
    assign(recruit.person, 7)
    quarantine(recruit.driver_id)
    collect()
    assert base(recruit.person) == ("BLOCKED", "QUARANTINED")


def test_only_an_open_conflict_blocks():
    open_, historical = a_recruit(trips={0: 1}), a_recruit(trips={0: 1})
    claimed_by(open_.person, 7, ago(20))
    claimed_by(open_.person, 8, ago(18))
    assign(open_.person, 7)
    claimed_by(historical.person, 7, ago(60))
    claimed_by(historical.person, 8, ago(18))
    assign(historical.person, 8)
    collect()
    conflicts = "ops.v_scout_attribution_conflicts"
    assert {rows(conflicts, "conflict_type", person_key=person)[0] for person in (open_.person, historical.person)} == {
        "OPEN", "HISTORICAL",
    }  # fmt: skip
    assert base(open_.person) == ("BLOCKED", "CONFLICT")
    assert base(historical.person) == ("ELIGIBLE", None)


def test_a_possible_same_person_blocks_both_until_somebody_decides():
    one, other = a_recruit(trips={0: 1}), a_recruit(trips={0: 1})
    assign(one.person, 7)
    assign(other.person, 8)
    small, large = sorted((one.person, other.person))
    pair = PossibleSamePerson.objects.create(person_a_id=small, person_b_id=large)
    collect()
    assert [base(one.person)[0], base(other.person)[0]] == ["BLOCKED", "BLOCKED"]
    assert base(one.person)[1] == base(other.person)[1]
    PossibleSamePerson.objects.filter(pk=pair.pk).update(status="dismissed")
    assert [base(one.person), base(other.person)] == [("ELIGIBLE", None), ("ELIGIBLE", None)]


def test_the_first_reason_that_holds_is_told():
    """Without a scout nothing else matters; a conflict comes before the rest."""
    recruit = a_recruit(trips={0: 1})
    claimed_by(recruit.person, 7, ago(20))
    claimed_by(recruit.person, 8, ago(19))
    collect()
    assert base(recruit.person) == ("BLOCKED", "CONFLICT")


# --- contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("view", "columns"),
    [
        ("observational.v_conversion_metrics", "person_key origin_tag lead_date scout_id driver_id first_connection_date first_trip_date trip_1_date trip_5_date trip_25_date trips_7d trips_14d trips_30d"),
        ("ops.v_payment_calculation", "person_key origin_tag scout_id driver_id lead_date rule_id rule_scope milestone_trips window_days currency amount rule_valid_from rule_valid_to milestone_achieved achieved_date achieved_trips_in_window is_payable payable_date payment_scheme"),
        ("ops.v_claims_payment_status_cabinet", "driver_id person_key milestone_value lead_date expected_amount due_date days_overdue bucket_overdue paid_flag paid_date payment_key payment_identity_status payment_match_rule payment_match_confidence payment_status payment_reason reason_code action_priority"),
        ("ops.v_yango_cabinet_claims_for_collection", "driver_id person_key driver_name milestone_value lead_date expected_amount yango_due_date days_overdue_yango overdue_bucket_yango yango_payment_status payment_key pay_date reason_code match_rule match_confidence identity_status suggested_driver_id is_reconcilable_enriched is_collectable"),
        (WITH_SCOUT, "driver_id person_key driver_name milestone_value lead_date expected_amount yango_due_date days_overdue_yango overdue_bucket_yango yango_payment_status payment_key pay_date reason_code match_rule match_confidence identity_status suggested_driver_id is_reconcilable_enriched is_collectable scout_id scout_name scout_name_normalized scout_is_active scout_quality_bucket is_scout_resolved scout_source_table scout_attribution_date scout_priority"),
        (FUNNEL, "driver_id person_key origin_tag funnel_status connected_flag connected_date trips_total highest_milestone m1_date m5_date m25_date"),
        (FINANCIAL, "driver_id driver_name lead_date iso_week week_start connected_flag connected_date total_trips_14d reached_m1_14d reached_m5_14d reached_m25_14d expected_amount_m1 expected_amount_m5 expected_amount_m25 expected_total_yango claim_m1_exists claim_m1_paid paid_amount_m1 claim_m5_exists claim_m5_paid paid_amount_m5 claim_m25_exists claim_m25_paid paid_amount_m25 total_paid_yango amount_due_yango scout_id scout_name scout_quality_bucket is_scout_resolved scout_source_table scout_attribution_date scout_priority person_key"),
        (LIMBO, "lead_id lead_source_pk lead_row_id lead_date week_start park_phone asset_plate_number lead_name person_key driver_id trips_14d window_end_14d reached_m1_14d reached_m5_14d reached_m25_14d expected_amount_14d has_claim_m1 has_claim_m5 has_claim_m25 limbo_stage limbo_reason_detail"),
        (DAILY, "scout_id date milestone_value drivers_count driver_ids_count milestone_occurrences total_expected_amount m1_count m5_count m25_count expected_amount_m1 expected_amount_m5 expected_amount_m25 satisfactory_ledger_count events_only_count scouting_daily_only_count earliest_scout_window_start latest_scout_window_end yango_expected_amount"),
        (PAYMENT_BASE, "person_key driver_id scout_id origin_tag source_table source_pk attribution_date milestone_reached milestone_date eligible_7d amount_payable payment_status block_reason"),
    ],
    ids=lambda value: value if "." in value else "",
)  # fmt: skip
def test_a_view_has_every_column_of_its_contract(view, columns):
    schema, name = view.split(".")
    with connection.cursor() as cursor:
        cursor.execute(
            "select column_name from information_schema.columns where table_schema = %s and table_name = %s",
            [schema, name],
        )
        found = {row[0] for row in cursor.fetchall()}
    assert set(columns.split()) - found == set()
