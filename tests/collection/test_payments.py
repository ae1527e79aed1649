"""What the partner paid: states kept over flips, names that are one driver's and names that are not (domain.md 4.3, 12.3)."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from identity.models import CabinetPayment, Driver
from tests.collection.stories import (
    a_person,
    a_recruit,
    ago,
    an_account,
    broken,
    claims,
    collect,
    money,
    of_claim,
    pays,
    refresh,
    rows,
    says,
)

pytestmark = pytest.mark.django_db

LEDGER = "ops.yango_payment_status_ledger"


def states(payment: str, milestone: int = 1) -> list[bool]:
    """The states of one payment as they were stored, oldest first."""
    found = rows(LEDGER, "id", "is_paid", source_pk=payment, milestone_value=milestone)
    return [is_paid for _id, is_paid in found]


# --- the ledger -----------------------------------------------------------------------------------------


def test_a_payment_that_flips_true_false_true_is_three_states():
    recruit = a_recruit(trips={0: 1})
    payment = pays(recruit.name, 1)
    collect()
    for paid in (False, True):
        says(payment, trip_1=paid)
        refresh()
    assert states(payment) == [True, False, True]
    assert of_claim(recruit.driver_id, 1, "yango_payment_status") == "PAID"
    says(payment, trip_1=False)
    refresh()
    assert states(payment) == [True, False, True, False]
    assert of_claim(recruit.driver_id, 1, "yango_payment_status") == "UNPAID"


def test_a_state_that_stays_is_stored_once():
    payment = pays("NADIE CONOCIDO AQUI", 1, 5)
    collect()
    assert [refresh()["audit"], states(payment), states(payment, 5), states(payment, 25)] == [0, [True], [True], []]


def test_every_flag_that_says_something_is_a_row():
    pays("NADIE CONOCIDO AQUI", 1, trip_5=False)
    collect()
    columns = ("milestone_type", "milestone_value", "is_paid", "paid_flag_source", "source_table")
    assert rows(LEDGER, *columns) == [
        ("trips", 1, True, "trip_1", "module_ct_cabinet_payments"),
        ("trips", 5, False, "trip_5", "module_ct_cabinet_payments"),
    ]


def test_a_flag_that_says_nothing_any_more_leaves_what_was_said():
    recruit = a_recruit(trips={0: 1})
    payment = pays(recruit.name, 1)
    collect()
    says(payment, trip_1=None)
    refresh()
    assert states(payment) == [True]


def test_a_payment_that_is_gone_from_the_feed_stays_in_the_ledger():
    recruit = a_recruit(trips={0: 1})
    payment = pays(recruit.name, 1)
    collect()
    CabinetPayment.objects.all().delete()
    refresh()
    assert states(payment) == [True]
    assert claims(recruit.driver_id, "status") == ["paid"]


@pytest.mark.parametrize(
    "statement", ["update {} set is_paid = not is_paid", "delete from {}"], ids=["update", "delete"]
)
def test_the_ledger_is_append_only(statement):
    pays("NADIE CONOCIDO AQUI", 1)
    collect()
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(LEDGER))


# --- whose it is ----------------------------------------------------------------------------------------


def test_a_name_in_any_order_and_spelling_is_its_only_bearers():
    recruit = a_recruit(trips={0: 1}, name="PEREZ DIAZ ANA MARIA")
    spellings = (
        "PEREZ DÍAZ ANA MARÍA",
        "Ana María Pérez Díaz",
        "  perez   diaz ana maria ",
        "PEREZ DE LA DIAZ ANA-MARIA",
    )
    written = [pays(name, 1) for name in spellings]
    collect()
    taken_for = ("ops.v_yango_payments_enriched", "source_pk", "driver_id_final", "match_rule", "identity_status")
    assert rows(*taken_for) == [(payment, recruit.driver_id, "name_unique", "enriched") for payment in sorted(written)]
    columns = ("yango_payment_status", "match_rule", "match_confidence", "identity_status", "is_reconcilable_enriched")
    assert of_claim(recruit.driver_id, 1, *columns) == ("PAID", "name_unique", "medium", "enriched", True)


def test_a_name_that_two_drivers_bear_pays_neither():
    one, other = (a_recruit(trips={0: 1}, name=name) for name in ("PEREZ DIAZ ANA", "ANA DIAZ PEREZ"))
    pays("PEREZ DIAZ ANA", 1)
    collect()
    for recruit in (one, other):
        assert of_claim(recruit.driver_id, 1, "yango_payment_status", "is_collectable") == ("UNPAID", True)


def test_a_name_counts_as_ambiguous_though_the_namesake_was_never_linked():
    recruit = a_recruit(trips={0: 1}, name="PEREZ DIAZ ANA")
    an_account(None, name="DIAZ PEREZ ANA")
    pays("PEREZ DIAZ ANA", 1)
    collect()
    assert of_claim(recruit.driver_id, 1, "yango_payment_status") == "UNPAID"


def test_a_name_becomes_unique_when_the_namesake_leaves():
    recruit = a_recruit(trips={0: 1}, name="PEREZ DIAZ ANA")
    namesake = an_account(None, name="DIAZ PEREZ ANA")
    pays("PEREZ DIAZ ANA", 1)
    collect()
    Driver.objects.filter(driver_id=namesake).delete()
    collect()
    assert of_claim(recruit.driver_id, 1, "yango_payment_status") == "PAID"


def test_a_name_that_becomes_unique_is_matched_for_all_the_row_ever_said():
    """What was said of five trips stands though the list is silent about them now; it is of the same driver."""
    payment = pays("PEREZ DIAZ ANA", 1, 5)
    collect()
    says(payment, trip_5=None)
    refresh()
    recruit = a_recruit(trips={0: 5}, name="ANA PEREZ DIAZ")
    collect()
    assert claims(recruit.driver_id, "milestone", "status") == [(1, "paid"), (5, "paid")]


def test_whom_a_payment_was_taken_for_stays_when_a_namesake_appears():
    recruit = a_recruit(trips={0: 1}, name="PEREZ DIAZ ANA")
    pays("PEREZ DIAZ ANA", 1)
    collect()
    an_account(None, name="DIAZ PEREZ ANA")
    collect()
    assert of_claim(recruit.driver_id, 1, "yango_payment_status") == "PAID"


def test_a_payment_that_names_the_account_needs_no_name():
    recruit = a_recruit(trips={0: 1}, name="PEREZ DIAZ ANA")
    a_recruit(trips={0: 1}, name="ANA DIAZ PEREZ")
    pays("OTRO NOMBRE CUALQUIERA", 1, driver_id=recruit.driver_id)
    collect()
    assert of_claim(recruit.driver_id, 1, "yango_payment_status", "match_rule", "match_confidence", "identity_status") == (
        "PAID", "source_upstream", "high", "confirmed",
    )  # fmt: skip


def test_a_name_match_never_poses_as_told_by_the_source():
    """In the predecessor a name match of the day of ingestion became "confirmed" the day after."""
    recruit = a_recruit(trips={0: 1})
    pays(recruit.name, 1)
    for _time in range(2):
        collect()
        assert of_claim(recruit.driver_id, 1, "identity_status", "match_confidence") == ("enriched", "medium")


def test_a_payment_without_a_name_pays_nobody():
    a_recruit(trips={0: 1}, name="PEREZ DIAZ ANA")
    an_account(None, name="TEST")
    for name in (None, "", "  ", "---", "TEST"):
        pays(name, 1)
    collect()
    assert rows("ops.v_yango_collection_with_scout", "yango_payment_status") == ["UNPAID"]
    assert set(rows("ops.v_yango_payments_enriched", "driver_id_final", "is_paid")) == {(None, True)}


def test_a_payment_of_the_person_under_another_account_is_told():
    recruit = a_recruit(trips={0: 1}, name="PEREZ DIAZ ANA")
    other = an_account(recruit.person, name="PEREZ DIAZ ANITA")
    pays("PEREZ DIAZ ANITA", 1)
    collect()
    columns = ("reason_code", "yango_payment_status", "suggested_driver_id", "is_collectable")
    assert of_claim(recruit.driver_id, 1, *columns) == ("payment_found_person_key_only", "UNPAID", other, True)


def test_of_several_payments_the_newest_is_shown():
    recruit = a_recruit(trips={0: 1})
    pays(recruit.name, 1, on=ago(4))
    pays(recruit.name, 1, on=ago(2))
    pays(recruit.name, 1, on=ago(3))
    collect()
    assert of_claim(recruit.driver_id, 1, "pay_date") == ago(2)


def test_what_is_paid_stays_paid_when_a_later_list_says_nothing_of_it():
    recruit = a_recruit(trips={0: 5})
    pays(recruit.name, 1, on=ago(4))
    pays(recruit.name, 5, on=ago(2))
    collect()
    assert claims(recruit.driver_id, "milestone", "status") == [(1, "paid"), (5, "paid")]


# --- paid without achievement -----------------------------------------------------------------------------


def test_a_payment_without_achievement_stays_as_it_is():
    """Yango computes on its own data: an accepted final state, no claim and no correction (domain.md 12.9)."""
    recruit = a_recruit(trips={0: 1})
    payment = pays(recruit.name, 1, 5)
    before = list(CabinetPayment.objects.values())
    collect()
    assert claims(recruit.driver_id, "milestone", "status") == [(1, "paid")]
    reconciled = rows(
        "ops.v_cabinet_milestones_reconciled", "milestone_value", "reconciliation_status", driver_id=recruit.driver_id
    )
    assert reconciled == [(1, "OK"), (5, "PAID_WITHOUT_ACHIEVEMENT")]
    (owed,) = rows(
        "ops.v_cabinet_financial_14d", "expected_total_yango", "total_paid_yango", "amount_due_yango", "claim_m5_exists",
        "claim_m5_paid", driver_id=recruit.driver_id,
    )  # fmt: skip
    assert owed == (money(25), money(60), money(-35), False, True)
    assert list(CabinetPayment.objects.values()) == before
    assert states(payment, 5) == [True]
    assert broken() == []


def test_a_milestone_reached_and_not_paid_is_told():
    recruit = a_recruit(trips={0: 1})
    collect()
    assert rows("ops.v_cabinet_milestones_reconciled", "milestone_value", "reconciliation_status") == [
        (1, "ACHIEVED_NOT_PAID")
    ]
    assert recruit.driver_id in rows("ops.v_cabinet_milestones_reconciled", "driver_id")


def test_the_mirror_of_the_demand_list_shows_every_payment_matched_or_not():
    recruit = a_recruit(trips={0: 1})
    pays(recruit.name, 1)
    pays("NADIE CONOCIDO AQUI", 5)
    pays("NADIE CONOCIDO AQUI", 1, person_key=a_person())
    collect()
    assert len(rows("ops.v_yango_cabinet_payments_reportamos", "milestone_value")) == 3
