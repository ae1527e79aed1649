"""Claims: what a refresh adds, pays, disputes, and never touches (domain.md 3.7, Q59, Q60, Q62)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction

from ct4site.models import AuditEntry
from identity.models import DailyTrips, Link
from tests.collection.stories import (
    CLAIMS,
    Recruit,
    a_recruit,
    ago,
    broken,
    claims,
    collect,
    drives,
    milestones,
    money,
    of_claim,
    pays,
    quarantine,
    refresh,
    rows,
)

pytestmark = pytest.mark.django_db

CLAIM_VIEWS = (
    "ops.v_claims_payment_status_cabinet",
    "ops.v_yango_cabinet_claims_for_collection",
    "ops.v_yango_cabinet_claims_exigimos",
    "ops.v_yango_collection_with_scout",
    "ops.v_cabinet_financial_14d",
    "ops.v_payment_calculation",
    "ops.v_cabinet_funnel_status",
    "ops.v_cabinet_milestones_reconciled",
    "ops.v_cabinet_leads_limbo",
    "ops.v_cabinet_claims_expected_14d",
    "ops.v_cabinet_claims_gap_14d",
    "observational.v_conversion_metrics",
)


def execute(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def set_status(driver_id: str, milestone: int, status: str) -> None:
    """What a person does to a claim."""
    execute(f"update {CLAIMS} set status = %s where driver_id = %s and milestone = %s", status, driver_id, milestone)


def takes_back_trips(driver_id: str) -> None:
    DailyTrips.objects.filter(driver_id=driver_id).update(count_orders_completed=0)


# --- new and paid ---------------------------------------------------------------------------------------


def test_a_new_claim_is_expected_and_says_why():
    recruit = a_recruit(trips={3: 1})
    collect()
    (claim,) = claims(
        recruit.driver_id, "status", "person_key", "lead_source_pk", "lead_date", "achieved_date", "amount_expected",
        "eligibility_disputed", "paid_at",
    )  # fmt: skip
    assert claim == (
        "expected", recruit.person, recruit.lead.source_pk, ago(19), ago(16), Decimal("25.00"), False, None,
    )  # fmt: skip
    rules = rows("ops.partner_payment_rules", "origin_tag", "window_days", "milestone_trips", "amount",
                 id=claims(recruit.driver_id, "rule_id")[0])  # fmt: skip
    assert rules == [("cabinet", 14, 1, money(25))]


def test_a_milestone_reached_later_is_a_claim_of_its_own():
    recruit = a_recruit(ago(10), trips={0: 1})
    collect()
    drives(recruit.driver_id, ago(10), {5: 4})
    refresh()
    assert milestones(recruit.driver_id) == {1: 0, 5: 5}


def test_a_payment_moves_an_expected_claim_to_paid():
    recruit = a_recruit(trips={0: 5})
    pays(recruit.name, 1)
    collect()
    assert claims(recruit.driver_id, "milestone", "status") == [(1, "paid"), (5, "expected")]
    assert claims(recruit.driver_id, "paid_at")[0] is not None


def test_a_payment_that_is_taken_back_leaves_the_claim_paid_and_shows():
    """The claim is history; the list says how it stands."""
    recruit = a_recruit(trips={0: 1})
    payment = pays(recruit.name, 1)
    collect()
    execute("update public.module_ct_cabinet_payments set trip_1 = false where id = %s", payment)
    refresh()
    assert claims(recruit.driver_id, "status") == ["paid"]
    assert of_claim(recruit.driver_id, 1, "yango_payment_status", "is_collectable") == ("UNPAID", True)


def test_a_status_that_a_person_set_stays_whatever_is_paid():
    statuses = ("generated", "rejected", "expired")
    recruits = {status: a_recruit(trips={0: 1}) for status in statuses}
    collect()
    for status, recruit in recruits.items():
        set_status(recruit.driver_id, 1, status)
        pays(recruit.name, 1)
        takes_back_trips(recruit.driver_id)
    refresh()
    assert [claims(recruit.driver_id, "eligibility_disputed") for recruit in recruits.values()] == [[True]] * 3
    for recruit in recruits.values():
        drives(recruit.driver_id, ago(19), {4: 1})
    refresh()
    assert [claims(recruit.driver_id, "eligibility_disputed") for recruit in recruits.values()] == [[False]] * 3
    assert [claims(recruit.driver_id, "status", "paid_at") for recruit in recruits.values()] == [
        [(status, None)] for status in statuses
    ]


def test_the_status_of_a_claim_is_one_of_the_known():
    recruit = a_recruit(trips={0: 1})
    collect()
    with pytest.raises(IntegrityError), transaction.atomic():
        set_status(recruit.driver_id, 1, "forgotten")


def test_an_account_has_one_claim_per_milestone():
    recruit = a_recruit(trips={0: 1})
    collect()
    with pytest.raises(IntegrityError), transaction.atomic():
        execute(
            f"insert into {CLAIMS} (driver_id, lead_source_pk, lead_date, milestone, amount_expected, achieved_date,"
            " status, eligibility_disputed) values (%s, 'other', '2026-01-01', 1, 25, '2026-01-01', 'expected', false)",
            recruit.driver_id,
        )


# --- disputed -------------------------------------------------------------------------------------------


def test_a_claim_whose_trips_are_gone_stays_and_is_disputed_until_they_are_back():
    recruit = a_recruit(trips={0: 1})
    collect()
    takes_back_trips(recruit.driver_id)
    refresh()
    assert claims(recruit.driver_id, "status", "eligibility_disputed") == [("expected", True)]
    drives(recruit.driver_id, ago(19), {1: 1})
    refresh()
    assert claims(recruit.driver_id, "status", "eligibility_disputed") == [("expected", False)]


def test_a_paid_claim_is_disputed_too_and_stays_paid():
    recruit = a_recruit(trips={0: 1})
    pays(recruit.name, 1)
    collect()
    takes_back_trips(recruit.driver_id)
    refresh()
    assert claims(recruit.driver_id, "status", "eligibility_disputed") == [("paid", True)]


def test_a_disputed_claim_is_not_demanded():
    recruit = a_recruit(trips={0: 1})
    collect()
    takes_back_trips(recruit.driver_id)
    refresh()
    assert rows("ops.v_yango_cabinet_claims_exigimos", "driver_id", driver_id=recruit.driver_id) == []
    listed = rows("ops.v_yango_collection_with_scout", "is_collectable", driver_id=recruit.driver_id)
    assert listed in ([], [False])


def test_a_disputed_claim_breaks_no_invariant_and_an_undisputed_one_without_achievement_does():
    recruit = a_recruit(trips={0: 1})
    collect()
    takes_back_trips(recruit.driver_id)
    refresh()
    assert broken() == []
    execute(f"update {CLAIMS} set eligibility_disputed = false where driver_id = %s", recruit.driver_id)
    assert broken()


# --- misapplied and collectable (Q60) ---------------------------------------------------------------------


def test_a_milestone_not_paid_is_collectable_though_another_is_paid():
    """The normal case: M1 paid, M5 not yet. The word of the predecessor stays, the debt does not vanish."""
    recruit = a_recruit(trips={0: 5})
    pays(recruit.name, 1)
    collect()
    columns = ("yango_payment_status", "reason_code", "is_collectable", "suggested_driver_id")
    assert of_claim(recruit.driver_id, 1, *columns)[:3] == ("PAID", "paid", False)
    assert of_claim(recruit.driver_id, 5, *columns) == (
        "PAID_MISAPPLIED", "payment_found_other_milestone", True, recruit.driver_id,
    )  # fmt: skip
    demanded = rows("ops.v_yango_cabinet_claims_exigimos", "milestone_value", driver_id=recruit.driver_id)
    assert demanded == [5]


def test_a_claim_that_nobody_paid_is_unpaid():
    recruit = a_recruit(trips={0: 1})
    pays("NADIE CONOCIDO AQUI", 1)
    collect()
    assert of_claim(recruit.driver_id, 1, "yango_payment_status", "reason_code", "is_collectable") == (
        "UNPAID", "no_payment_found", True,
    )  # fmt: skip


# --- quarantine -------------------------------------------------------------------------------------------


def test_a_driver_in_quarantine_is_in_no_view():
    held, purged, free = (a_recruit(trips={0: 25}) for _driver in range(3))
    collect()

    def shown(recruit: Recruit) -> list[str]:
        return [view for view in CLAIM_VIEWS if rows(view, "driver_id", driver_id=recruit.driver_id)]

    assert [shown(recruit) for recruit in (held, purged, free)] == [list(CLAIM_VIEWS)] * 3
    quarantine(held.driver_id)
    quarantine(purged.driver_id, "purged")
    for _time in range(2):
        assert [shown(recruit) for recruit in (held, purged, free)] == [[], [], list(CLAIM_VIEWS)]
        refresh()
    assert broken() == []
    assert [len(claims(recruit.driver_id)) for recruit in (held, purged, free)] == [3, 3, 3]


def test_a_driver_in_quarantine_gets_no_claims_and_gets_them_when_released():
    recruit = a_recruit(trips={0: 1})
    quarantine(recruit.driver_id)
    collect()
    assert claims(recruit.driver_id) == []
    quarantine(recruit.driver_id, "resolved_relinked")
    refresh()
    assert milestones(recruit.driver_id) == {1: 0}


def test_a_driver_whose_lead_was_unlinked_is_in_no_view():
    recruit = a_recruit(trips={0: 1})
    collect()
    Link.objects.filter(source_pk=recruit.lead.source_pk).delete()
    refresh()
    assert [view for view in CLAIM_VIEWS if rows(view, "driver_id", driver_id=recruit.driver_id)] == []
    assert len(claims(recruit.driver_id)) == 1


# --- rules ------------------------------------------------------------------------------------------------


def change_the_rule(milestone: int, amount: int, since: dt.date) -> None:
    """A new amount from a day on: the old rule ends the day before, as an editor does it."""
    execute(
        "update ops.partner_payment_rules set valid_to = %s where origin_tag = 'cabinet' and milestone_trips = %s",
        since - dt.timedelta(days=1), milestone,
    )  # fmt: skip
    execute(
        "insert into ops.partner_payment_rules (origin_tag, window_days, milestone_trips, amount, currency, valid_from,"
        " is_active) values ('cabinet', 14, %s, %s, 'PEN', %s, true)",
        milestone, amount, since,
    )  # fmt: skip


def test_a_rule_holds_for_leads_of_its_time():
    before, on, after = (a_recruit(ago(days), trips={0: 5}) for days in (21, 20, 19))
    change_the_rule(5, 40, ago(20))
    collect()
    assert [claims(recruit.driver_id)[1] for recruit in (before, on, after)] == [
        (5, money(35)), (5, money(40)), (5, money(40)),
    ]  # fmt: skip


def test_a_rule_that_is_changed_leaves_claims_of_earlier_leads_as_they_are():
    before, after = a_recruit(ago(30), trips={0: 5}), a_recruit(ago(10), trips={0: 1})
    collect()
    change_the_rule(5, 40, ago(20))
    refresh()
    drives(after.driver_id, ago(10), {1: 4})
    refresh()
    assert claims(before.driver_id) == [(1, money(25)), (5, money(35))]
    assert claims(after.driver_id) == [(1, money(25)), (5, money(40))]
    assert claims(before.driver_id, "eligibility_disputed") == [False, False]


def test_a_milestone_is_what_the_rules_say_it_is():
    """Ten trips in ten days: no code knows of them."""
    execute(
        "insert into ops.partner_payment_rules (origin_tag, window_days, milestone_trips, amount, currency, valid_from,"
        " is_active) values ('cabinet', 10, 10, 12.34, 'PEN', %s, true)",
        ago(100),
    )  # fmt: skip
    inside, outside = a_recruit(trips={9: 10}), a_recruit(trips={10: 10})
    collect()
    assert (10, money("12.34")) in claims(inside.driver_id)
    assert [milestone for milestone, _amount in claims(outside.driver_id)] == [1, 5]


def test_a_rule_that_is_not_active_makes_no_claim():
    execute("update ops.partner_payment_rules set is_active = false where milestone_trips = 5")
    recruit = a_recruit(trips={0: 30})
    collect()
    assert milestones(recruit.driver_id) == {1: 0, 25: 0}


# --- audit ------------------------------------------------------------------------------------------------


def test_every_change_of_a_claim_is_audited():
    recruit = a_recruit(trips={0: 5})
    audited = AuditEntry.objects.filter(subject_table="claims_yango_cabinet_14d")
    tally = collect()
    assert (audited.count(), tally["audit"]) == (2, 2)
    pays(recruit.name, 1)
    refresh()
    paid = audited.latest("pk")
    assert (audited.count(), paid.before["status"], paid.after["status"]) == (3, "expected", "paid")
    takes_back_trips(recruit.driver_id)
    assert refresh()["audit"] == 2
    assert refresh()["audit"] == 0
