"""The money that hangs on a person: claims not paid yet, and what is open with scouts (ops.v_money_at_risk)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from tests.collection.stories import CLAIMS, Recruit, a_recruit, ago, claims, collect, pays, refresh, rows
from tests.collection.test_settlement import belongs_to, close, opened, summed

RISK = "ops.v_money_at_risk"

pytestmark = pytest.mark.django_db


def at_risk(recruit: Recruit) -> list[tuple[Decimal, Decimal, Decimal]]:
    columns = ("claims_amount", "scouts_amount", "amount")
    return rows(RISK, *columns, person_key=recruit.person)


def test_claims_that_are_not_paid_and_what_scouts_are_owed_add_up():
    recruit = a_recruit(ago(40), trips={0: 5})
    belongs_to(recruit.person, 7)
    collect()
    claimed = sum(amount for _milestone, amount in claims(recruit.driver_id))
    owed = sum(rows("ops.scout_statements", "owed_amount", person_key=recruit.person))
    assert claimed > 0 < owed
    assert at_risk(recruit) == [(claimed, owed, claimed + owed)]


def test_what_is_paid_and_settled_is_at_risk_no_more_and_the_person_is_left_out():
    recruit = a_recruit(ago(40), trips={0: 5})
    belongs_to(recruit.person, 7)
    pays(recruit.name, 1, 5)
    collect()
    assert rows(CLAIMS, "status", driver_id=recruit.driver_id) == ["paid", "paid"]
    opened(until=1)
    close(next_ends_on=dt.date.isoformat(ago(0)))
    assert at_risk(recruit) == []


def test_what_a_scout_has_to_give_back_is_at_risk_as_well():
    recruit = a_recruit(ago(40), trips={0: 5})
    belongs_to(recruit.person, 7)
    pays(recruit.name, 1, 5)
    collect()
    opened(until=1)
    close(next_ends_on=dt.date.isoformat(ago(0)))
    settled = summed()[7]
    belongs_to(recruit.person, 9)
    refresh()
    assert at_risk(recruit) == [(Decimal(0), 2 * settled, 2 * settled)]


def test_nobody_without_money_is_listed():
    a_recruit(ago(40))
    collect()
    assert rows(RISK, "person_key") == []
