"""Which milestone is reached when: the table "Collection" of domain.md 14.3 and the edges around it (1.6, 12.1, 12.2)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.db import connection

from identity.models import DailyTrips
from tests.collection.stories import (
    CABINET,
    a_cabinet_lead,
    a_day,
    a_person,
    a_recruit,
    ago,
    an_account,
    claims,
    collect,
    drives,
    link,
    milestones,
    money,
    of_claim,
    pays,
    quarantine,
    refresh,
    rows,
)
from tests.factories import OTHER_PARK, Record, a_migration

pytestmark = pytest.mark.django_db


# --- the worked examples of domain.md 14.3 ------------------------------------------------------------


@pytest.mark.parametrize(
    ("trips", "reached", "expected"),
    [
        ({}, {}, 0),
        ({13: 1}, {1: 13}, 25),
        ({14: 1}, {}, 0),
        ({0: 4, 2: 1}, {1: 0, 5: 2}, 60),
        (dict.fromkeys(range(13), 2), {1: 0, 5: 2, 25: 12}, 160),
    ],
    ids=["none", "day 13", "day 14", "4 and 1", "26"],
)
def test_the_worked_examples_come_out_exactly(trips, reached, expected):
    """The lead is 19 days old: its claims are five days overdue, in the bucket of one to seven."""
    recruit = a_recruit(ago(19), trips=trips)
    collect()
    assert milestones(recruit.driver_id) == reached
    assert dict(claims(recruit.driver_id)) == {
        milestone: money({1: 25, 5: 35, 25: 100}[milestone]) for milestone in reached
    }
    listed = rows(
        "ops.v_yango_collection_with_scout", "milestone_value", "expected_amount", "yango_due_date", "days_overdue_yango",
        "overdue_bucket_yango", "yango_payment_status", "is_collectable", driver_id=recruit.driver_id,
    )  # fmt: skip
    assert listed == [
        (milestone, money({1: 25, 5: 35, 25: 100}[milestone]), ago(5), 5, "1_1_7", "UNPAID", True)
        for milestone in sorted(reached)
    ]
    financial = rows(
        "ops.v_cabinet_financial_14d", "lead_date", "total_trips_14d", "reached_m1_14d", "reached_m5_14d",
        "reached_m25_14d", "expected_total_yango", "total_paid_yango", "amount_due_yango", driver_id=recruit.driver_id,
    )  # fmt: skip
    in_window = sum(count for offset, count in trips.items() if offset < 14)
    assert financial == [
        (ago(19), in_window, 1 in reached, 5 in reached, 25 in reached, money(expected), money(0), money(expected))
    ]


def test_both_sets_of_buckets_change_where_they_should():
    expected = {
        -1: (0, "0_not_due", "0_not_due"),
        0: (0, "0_not_due", "0_not_due"),
        1: (1, "1_1_7", "1_1_7"),
        7: (7, "1_1_7", "1_1_7"),
        8: (8, "2_8_14", "2_8_14"),
        14: (14, "2_8_14", "2_8_14"),
        15: (15, "3_15_30", "3_15_30"),
        30: (30, "3_15_30", "3_15_30"),
        31: (31, "4_31_60", "4_30_plus"),
        60: (60, "4_31_60", "4_30_plus"),
        61: (61, "5_60_plus", "4_30_plus"),
    }
    recruits = {overdue: a_recruit(ago(14 + overdue), trips={0: 1}) for overdue in expected}
    collect()
    seen = {}
    for overdue, recruit in recruits.items():
        due, days, bucket = of_claim(
            recruit.driver_id,
            1,
            "due_date",
            "days_overdue",
            "bucket_overdue",
            view="ops.v_claims_payment_status_cabinet",
        )
        listed = of_claim(recruit.driver_id, 1, "yango_due_date", "days_overdue_yango", "overdue_bucket_yango")
        assert (due, days) == listed[:2] == (ago(overdue), days)
        seen[overdue] = (days, bucket, listed[2])
    assert seen == expected


def test_what_to_do_follows_from_the_days_overdue():
    expected = {
        0: "P2_not_due", 1: "P1_watch", 7: "P1_watch", 8: "P1_watch", 14: "P1_watch", 15: "P0_collect_now",
    }  # fmt: skip
    recruits = {overdue: a_recruit(ago(14 + overdue), trips={0: 1}) for overdue in expected}
    paid = a_recruit(ago(40), trips={0: 1})
    pays(paid.name, 1)
    collect()
    view = "ops.v_claims_payment_status_cabinet"
    seen = {days: of_claim(recruit.driver_id, 1, "action_priority", view=view) for days, recruit in recruits.items()}
    assert seen == expected
    assert of_claim(paid.driver_id, 1, "action_priority", view=view) == "P0_confirmed_paid"


# --- counting trips -----------------------------------------------------------------------------------


def test_one_real_trip_is_one_trip_however_many_rules_there_are():
    """Seven rules are valid for a cabinet lead: the predecessor counted every trip seven times."""
    recruit = a_recruit(trips={0: 1})
    collect()
    assert milestones(recruit.driver_id) == {1: 0}
    told = rows(
        "ops.v_payment_calculation", "rule_scope", "milestone_trips", "window_days", "milestone_achieved",
        "achieved_trips_in_window", driver_id=recruit.driver_id,
    )  # fmt: skip
    assert len(told) == 7
    trips = {(scope, count): (is_achieved, seen) for scope, count, _window, is_achieved, seen in told if count > 1}
    assert set(trips.values()) == {(False, 1)}


def test_four_real_trips_are_not_twenty_five():
    recruit = a_recruit(trips={0: 4})
    collect()
    assert milestones(recruit.driver_id) == {1: 0}


def test_trips_before_the_lead_do_not_count():
    recruit = a_recruit(trips={-1: 30, 0: 1})
    collect()
    assert milestones(recruit.driver_id) == {1: 0}


def test_days_are_read_in_both_spellings_and_what_is_no_day_is_left_out():
    recruit = a_recruit(trips={})
    on = recruit.lead_date
    a_day(recruit.driver_id, f"{on:%d-%m-%Y}", 2)
    a_day(recruit.driver_id, (on + dt.timedelta(days=1)).isoformat(), 2)
    for text in ("", "  ", "ayer", "31-02-2026", "2026-13-01", f"{on:%d-%m-%y}", "00-00-0000", f"{on:%Y%m%d}"):
        a_day(recruit.driver_id, text, 40)
    collect()
    assert milestones(recruit.driver_id) == {1: 0}


def test_a_day_is_parsed_or_null_and_never_an_error():
    expected = {
        "05-01-2026": "2026-01-05", "2026-01-05": "2026-01-05", " 05-01-2026 ": "2026-01-05", "29-02-2024": "2024-02-29",
        "31-12-2025": "2025-12-31", "29-02-2025": None, "29-02-1900": None, "29-02-2000": "2000-02-29",
        "2026-02-30": None, "31-04-2026": None, "00-01-2026": None, "2026-00-10": None, "": None, "x": None,
        "5-1-26": None, "infinity": None, "now": None, "2026-01-05 10:00": None, "0000-01-01": None,
        "12-31-2025": None, "٠٥-٠١-٢٠٢٦": None, "99999-01-01": None,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            "select array_agg(canon.parse_day(said)::text order by place), canon.parse_day(null)"
            " from unnest(%s) with ordinality as days (said, place)", [list(expected)],
        )  # fmt: skip
        parsed, of_null = cursor.fetchone()
    assert (dict(zip(expected, parsed, strict=True)), of_null) == (expected, None)


def test_of_two_rows_of_a_day_the_newest_counts():
    recruit = a_recruit(trips={})
    on = recruit.lead_date
    a_day(recruit.driver_id, on.isoformat(), 9, created_at=dt.datetime(2026, 1, 7))  # noqa: DTZ001
    a_day(recruit.driver_id, f"{on:%d-%m-%Y}", 4, created_at=dt.datetime(2026, 1, 8))  # noqa: DTZ001
    collect()
    assert milestones(recruit.driver_id) == {1: 0}


def test_a_day_without_a_count_is_a_day_without_trips():
    recruit = a_recruit(trips={0: 3})
    a_day(recruit.driver_id, (recruit.lead_date + dt.timedelta(days=1)).isoformat(), None)
    collect()
    told = rows("observational.lead_trips", "trips_14d", source_pk=recruit.lead.source_pk)
    assert told == [3]


def test_the_facts_of_a_lead_are_half_open_in_each_window():
    recruit = a_recruit(ago(40), trips={6: 1, 7: 10, 13: 100, 14: 1000, 29: 10_000, 30: 100_000})
    collect()
    assert rows(
        "observational.lead_trips", "lead_date", "driver_id", "person_key", "first_connection_date", "first_trip_date",
        "trips_7d", "trips_14d", "trips_30d", source_table=CABINET, source_pk=recruit.lead.source_pk,
    ) == [(ago(40), recruit.driver_id, recruit.person, ago(34), ago(34), 1, 111, 11_111)]  # fmt: skip


def test_a_day_online_without_trips_is_a_connection_and_no_trip():
    recruit = a_recruit(trips={1: 0, 3: 2})
    a_day(recruit.driver_id, recruit.lead_date.isoformat(), 0, sum_work_time_seconds=0)
    collect()
    facts = rows("observational.lead_trips", "first_connection_date", "first_trip_date", driver_id=recruit.driver_id)
    assert facts == [(ago(18), ago(16))]


def test_milestones_are_stored_for_the_window_of_every_rule():
    """Partner rules ask for 14 days, scout rules for 7: day 10 is inside one and outside the other."""
    recruit = a_recruit(trips={0: 1, 10: 4})
    collect()
    stored = rows(
        "observational.lead_milestones", "window_days", "milestone_trips", "achieved_date", "trips_in_window",
        source_table=CABINET, source_pk=recruit.lead.source_pk,
    )  # fmt: skip
    assert stored == [(7, 1, ago(19), 1), (14, 1, ago(19), 5), (14, 5, ago(9), 5)]


# --- which lead, which account --------------------------------------------------------------------------


def test_a_lead_is_dated_by_when_it_was_made_and_not_by_when_it_was_loaded():
    recruit = a_recruit(ago(19), trips={0: 1})
    undated = a_cabinet_lead(recruit.person, None, driver=recruit.driver_id, created_at=dt.datetime(2026, 1, 1))  # noqa: DTZ001
    collect()
    assert rows("observational.lead_trips", "lead_date", driver_id=recruit.driver_id) == [ago(19)]
    assert rows("observational.lead_trips", "lead_date", source_pk=undated.source_pk) == []


def test_a_lead_late_in_the_evening_in_lima_is_of_that_day():
    person = a_person()
    driver = an_account(person)
    lead = a_cabinet_lead(person, ago(19), driver=driver)
    collect()
    assert rows("observational.lead_trips", "lead_date", source_pk=lead.source_pk) == [ago(19)]


def test_the_earliest_lead_in_whose_window_a_milestone_was_reached_is_owed():
    """Lead 40 days ago and again 30 days ago. M1 on day 1 of the first; five trips only ten days later (Q62)."""
    recruit = a_recruit(ago(40), trips={1: 1})
    again = a_cabinet_lead(recruit.person, ago(30), driver=recruit.driver_id)
    drives(recruit.driver_id, ago(30), {5: 30})
    collect()
    assert claims(recruit.driver_id, "milestone", "lead_source_pk", "lead_date", "achieved_date") == [
        (1, recruit.lead.source_pk, ago(40), ago(39)),
        (5, again.source_pk, ago(30), ago(25)),
        (25, again.source_pk, ago(30), ago(25)),
    ]


def test_of_two_leads_of_a_day_the_one_with_the_smaller_id_is_owed():
    recruit = a_recruit(trips={0: 1})
    other = a_cabinet_lead(recruit.person, recruit.lead_date, driver=recruit.driver_id)
    collect()
    assert claims(recruit.driver_id, "lead_source_pk") == [min(recruit.lead.source_pk, other.source_pk)]


def test_a_driver_in_two_parks_is_two_accounts_and_the_one_that_matched_the_lead_counts():
    recruit = a_recruit(trips={0: 5})
    elsewhere = an_account(recruit.person, park=OTHER_PARK)
    drives(elsewhere, recruit.lead_date, {0: 25})
    collect()
    assert milestones(recruit.driver_id) == {1: 0, 5: 0}
    assert claims(elsewhere) == []


def test_each_account_of_a_person_counts_for_the_lead_that_it_matched():
    recruit = a_recruit(ago(40), trips={0: 1})
    elsewhere = an_account(recruit.person, park=OTHER_PARK)
    second = a_cabinet_lead(recruit.person, ago(30), driver=elsewhere)
    drives(elsewhere, ago(30), {0: 1})
    collect()
    assert claims(recruit.driver_id, "lead_source_pk") == [recruit.lead.source_pk]
    assert claims(elsewhere, "lead_source_pk") == [second.source_pk]


def test_two_accounts_with_leads_of_one_day_are_two_claims():
    recruit = a_recruit(ago(40), trips={0: 1})
    elsewhere = an_account(recruit.person, park=OTHER_PARK)
    second = a_cabinet_lead(recruit.person, ago(40), driver=elsewhere)
    drives(elsewhere, ago(40), {0: 1})
    collect()
    assert claims(recruit.driver_id, "lead_source_pk") == [recruit.lead.source_pk]
    assert claims(elsewhere, "lead_source_pk") == [second.source_pk]


def test_without_a_known_account_the_newest_of_the_objective_park_counts():
    person = a_person()
    old = an_account(person, linked=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    new = an_account(person, linked=dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    elsewhere = an_account(person, park=OTHER_PARK, linked=dt.datetime(2026, 1, 3, tzinfo=dt.UTC))
    held = an_account(person, linked=dt.datetime(2026, 1, 4, tzinfo=dt.UTC))
    quarantine(held)
    lead = a_cabinet_lead(person, ago(19))
    for driver in (old, new, elsewhere, held):
        drives(driver, ago(19), {0: 1})
    collect()
    assert rows("observational.lead_trips", "driver_id", source_pk=lead.source_pk) == [new]
    assert [driver for driver in (old, new, elsewhere, held) if claims(driver)] == [new]


def test_a_migration_has_milestones_of_its_own_rules_and_is_no_claim():
    person = a_person()
    driver = an_account(person)
    migration = link(person, a_migration(driver, on=ago(40)), driver=driver)
    drives(driver, ago(40), {0: 20, 29: 30})
    collect()
    stored = rows(
        "observational.lead_milestones", "window_days", "milestone_trips", "achieved_date",
        source_table="module_ct_migrations", source_pk=migration.source_pk,
    )  # fmt: skip
    assert stored == [(14, 1, ago(40)), (14, 5, ago(40)), (30, 50, ago(11))]
    assert claims(driver) == []


def test_a_registration_of_a_scout_is_no_claim():
    person = a_person()
    driver = an_account(person)
    link(person, Record("module_ct_scouting_daily", "77"), driver=driver)
    drives(driver, ago(19), {0: 30})
    collect()
    assert claims(driver) == []


def test_a_lead_that_is_nobody_has_a_date_and_nothing_else():
    lead = a_cabinet_lead(None, ago(19))
    collect()
    facts = rows("observational.lead_trips", "lead_date", "driver_id", "trips_14d", source_pk=lead.source_pk)
    assert facts == [(ago(19), None, 0)]


# --- what changes ---------------------------------------------------------------------------------------


def test_facts_and_milestones_follow_the_trips_both_ways():
    recruit = a_recruit(trips={0: 1, 1: 4})
    collect()
    assert rows("observational.lead_trips", "trips_14d", driver_id=recruit.driver_id) == [5]
    DailyTrips.objects.filter(driver_id=recruit.driver_id, count_orders_completed=4).delete()
    drives(recruit.driver_id, recruit.lead_date, {2: 1})
    refresh()
    assert rows("observational.lead_trips", "trips_14d", driver_id=recruit.driver_id) == [2]
    stored = rows("observational.lead_milestones", "milestone_trips", source_pk=recruit.lead.source_pk, window_days=14)
    assert stored == [1]


# --- eligibility and conversion -------------------------------------------------------------------------


def test_eligibility_says_by_which_rule_how_much_and_when_it_is_payable():
    recruit = a_recruit(ago(30), trips={2: 5})
    collect()
    told = rows(
        "ops.v_payment_calculation", "rule_scope", "milestone_type", "milestone_trips", "milestone_achieved", "amount",
        "achieved_date", "payable_date", "payment_scheme", "is_payable", driver_id=recruit.driver_id,
    )  # fmt: skip
    on = ago(28)
    assert told == [
        ("partner", "trips", 1, True, money(25), on, ago(14), "yango_14d_1trips", True),
        ("partner", "trips", 5, True, money(35), on, ago(14), "yango_14d_5trips", True),
        ("partner", "trips", 25, False, money(100), None, None, "yango_14d_25trips", False),
        ("scout", "connection", 1, True, money(0), on, ago(21), "cabinet_7d_1trips", True),
        ("scout", "trips", 1, True, money(20), on, ago(21), "cabinet_7d_1trips", True),
        ("scout", "trips", 5, True, money(25), on, ago(21), "cabinet_7d_5trips", True),
        ("scout", "trips", 25, False, money(55), None, None, "cabinet_7d_25trips", False),
    ]


def test_a_migration_is_payable_thirty_days_after_fifty_trips():
    person = a_person()
    driver = an_account(person)
    link(person, a_migration(driver, scout=9, on=ago(40)), driver=driver)
    drives(driver, ago(40), {10: 50})
    collect()
    told = rows(
        "ops.v_payment_calculation", "origin_tag", "milestone_trips", "achieved_date", "payable_date", "payment_scheme",
        "amount", driver_id=driver, rule_scope="scout",
    )  # fmt: skip
    assert told == [("fleet_migration", 50, ago(30), ago(0), "migration_30d_50trips", money(50))]


def test_conversion_begins_with_the_first_lead_of_a_person():
    recruit = a_recruit(ago(60), trips={1: 1, 3: 4, 20: 1, 33: 25})
    a_cabinet_lead(recruit.person, ago(30), driver=recruit.driver_id)
    link(recruit.person, a_migration(recruit.driver_id, on=ago(50)), driver=recruit.driver_id)
    collect()
    told = rows(
        "observational.v_conversion_metrics", "origin_tag", "lead_date", "driver_id", "first_trip_date", "trip_1_date",
        "trip_5_date", "trip_25_date", "trips_14d", "trips_30d", person_key=recruit.person,
    )  # fmt: skip
    assert told == [
        ("cabinet", ago(60), recruit.driver_id, ago(59), ago(59), ago(57), None, 5, 6),
        ("fleet_migration", ago(50), recruit.driver_id, ago(40), ago(40), None, None, 1, 26),
    ]


def test_amounts_are_decimals():
    recruit = a_recruit(trips={0: 30})
    collect()
    (amounts,) = rows(
        "ops.v_cabinet_financial_14d", "expected_amount_m1", "expected_amount_m5", "expected_amount_m25",
        "expected_total_yango", "total_paid_yango", "amount_due_yango", driver_id=recruit.driver_id,
    )  # fmt: skip
    assert all(isinstance(amount, Decimal) for amount in amounts)
    assert [str(amount) for amount in amounts] == ["25.00", "35.00", "100.00", "160.00", "0.00", "160.00"]
