"""What stands between a lead and its worth, and what became of it (domain.md 7.1 to 7.4, 8, 14.3; Q32 to Q47).

Days count back from today in Lima by the clock of the database, which stands still during a test.
"""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from attribution.models import Claim
from identity.models import CabinetLead
from recovery.models import GapDay, IdentityGap, ImpactBucket, RecoveryImpact
from tests.collection.stories import (
    LIMA,
    a_cabinet_lead,
    a_day,
    a_person,
    ago,
    an_account,
    drives,
    fresh_name,
    link,
    rows,
    today,
)
from tests.factories import (
    Record,
    a_day_passes,
    a_driver,
    a_lead,
    an_origin,
    match,
    recovered,
    retry_leads,
)

pytestmark = pytest.mark.django_db

GAPS = "ops.v_identity_gap_analysis"
ALERTS = "ops.v_identity_gap_alerts"
IMPACT = "ops.v_cabinet_identity_recovery_impact_14d"
EFFECTIVE = "ops.v_cabinet_lead_identity_effective"
KPI_RED = "ops.v_cabinet_kpi_red_backlog"
KPI_RED_DAYS = "ops.v_cabinet_kpi_red_recovery_metrics_daily"
UNLINKED = "ops.v_identity_driver_unlinked_activity"

NO_ALERT = None
IN_LIMA_AND_ELSEWHERE = pytest.mark.parametrize("zone", ["UTC", "America/Lima", "Pacific/Kiritimati"])


def of_lead(lead: Record, *columns: str, view: str = GAPS) -> Any:
    """What a view says of a lead, None when it does not know the lead."""
    found = rows(view, *columns, lead_id=lead.source_pk)
    assert len(found) <= 1, found
    return found[0] if found else None


def an_owned_lead(days_ago: int, origin: str | None = "own") -> tuple[Record, UUID]:
    """A lead that has a person; the origin of the person is this lead, somebody else's, of another kind, or missing."""
    person = a_person()
    lead = a_cabinet_lead(person, ago(days_ago))
    if origin == "own":
        an_origin(person, lead.source_pk)
    elif origin == "other id":
        an_origin(person, a_cabinet_lead(a_person(), ago(days_ago)).source_pk)
    elif origin is not None:
        an_origin(person, "4711", origin)
    return lead, person


def a_claim(lead: Record, person: UUID, milestone: int = 1, *, driver: str | None = "its driver") -> None:
    Claim.objects.create(
        person_id=person, driver_id=driver and f"{driver} {lead.source_pk}", lead_source_pk=lead.source_pk,
        lead_date=ago(19), milestone=milestone, amount_expected=25, achieved_date=ago(18),
    )  # fmt: skip


def at(day: dt.date, clock: str) -> dt.datetime:
    """A moment in Lima."""
    return dt.datetime.combine(day, dt.time.fromisoformat(clock), LIMA)


def in_zone(zone: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("set local time zone %s", [zone])


# --- gap and risk -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "origin", "gap", "risk", "alert"),
    [
        # domain.md 14.3, last column; severity as Q35 has it
        (0, "nobody", "no_identity", "low", NO_ALERT),
        (1, "nobody", "no_identity", "low", ("over_24h_no_identity", "low", "retry_matching")),
        (2, "nobody", "no_identity", "medium", ("over_24h_no_identity", "medium", "retry_matching")),
        (6, "nobody", "no_identity", "medium", ("over_24h_no_identity", "medium", "retry_matching")),
        (7, "nobody", "no_identity", "high", ("over_7d_unresolved", "high", "review_manually")),
        (1, None, "no_origin", "low", NO_ALERT),
        (10, None, "no_origin", "medium", ("over_7d_unresolved", "high", "review_manually")),
        (10, "migration", "no_origin", "medium", ("over_7d_unresolved", "high", "review_manually")),
        (1, "other id", "inconsistent_origin", "high", ("inconsistent_origin", "high", "review_origin")),
        (50, "own", "resolved", "low", NO_ALERT),
        # the bounds between
        (-1, "nobody", "no_identity", "low", NO_ALERT),
        (30, "nobody", "no_identity", "high", ("over_7d_unresolved", "high", "review_manually")),
        (0, None, "no_origin", "low", NO_ALERT),
        (2, None, "no_origin", "medium", NO_ALERT),
        (6, "scout_registration", "no_origin", "medium", NO_ALERT),
        (7, None, "no_origin", "medium", ("over_7d_unresolved", "high", "review_manually")),
        (365, None, "no_origin", "medium", ("over_7d_unresolved", "high", "review_manually")),
        (0, "other id", "inconsistent_origin", "high", ("inconsistent_origin", "high", "review_origin")),
        (365, "other id", "inconsistent_origin", "high", ("inconsistent_origin", "high", "review_origin")),
        (0, "own", "resolved", "low", NO_ALERT),
    ],
)
def test_a_lead_has_its_gap_its_risk_and_its_alert(
    days: int, origin: str | None, gap: str, risk: str, alert: tuple[str, str, str] | None
) -> None:
    lead, person = (a_cabinet_lead(None, ago(days)), None) if origin == "nobody" else an_owned_lead(days, origin)
    assert of_lead(
        lead, "lead_date", "person_key", "has_identity", "has_origin", "gap_reason", "gap_age_days", "risk_level"
    ) == (ago(days), person, person is not None, origin == "own", gap, days, risk)
    told = of_lead(lead, "alert_type", "severity", "suggested_action", "days_open", view=ALERTS)
    assert told == (alert and (*alert, days))


@IN_LIMA_AND_ELSEWHERE
def test_a_lead_shortly_before_or_after_midnight_counts_from_its_day_in_lima(zone: str) -> None:
    before = a_lead(on=dt.datetime.combine(ago(7), dt.time(23, 59)))
    after = a_lead(on=dt.datetime.combine(ago(6), dt.time(0, 1)))
    new = a_lead(on=dt.datetime.combine(today(), dt.time(0, 1)))
    expected = {before: (ago(7), 7, "high"), after: (ago(6), 6, "medium"), new: (today(), 0, "low")}
    windows = {lead: (day, day + dt.timedelta(days=14)) for lead, (day, _age, _risk) in expected.items()}
    in_zone(zone)
    for lead in (before, after, new):
        assert of_lead(lead, "lead_date", "gap_age_days", "risk_level") == expected[lead]
        assert of_lead(lead, "lead_date", "window_end_14d", view=IMPACT) == windows[lead]
        assert rows(KPI_RED, "lead_date", "age_days", lead_source_pk=lead.source_pk) == [expected[lead][:2]]
    assert rows(ALERTS, "lead_id", "alert_type") == sorted(
        [(before.source_pk, "over_7d_unresolved"), (after.source_pk, "over_24h_no_identity")]
    )


@pytest.mark.parametrize("which", [0, 1])
def test_both_leads_of_a_person_are_resolved_by_the_one_origin(which: int) -> None:
    person = a_person()
    leads = [a_cabinet_lead(person, ago(30)), a_cabinet_lead(person, ago(3))]
    an_origin(person, leads[which].source_pk)
    for lead in leads:
        assert of_lead(lead, "gap_reason", "has_origin", "risk_level") == ("resolved", True, "low")
        assert of_lead(lead, "origin_ok", "impact_bucket", view=IMPACT) == (True, "identified_origin_no_claim")
    assert rows(ALERTS, "lead_id") == []


def test_an_origin_that_names_no_lead_at_all_is_inconsistent() -> None:
    person = a_person()
    lead = a_cabinet_lead(person, ago(3))
    an_origin(person, "no such lead")
    assert of_lead(lead, "gap_reason", "has_origin") == ("inconsistent_origin", False)
    assert of_lead(lead, "origin_ok", "claim_status_bucket", view=IMPACT) == (False, "identified_no_origin")


def test_an_origin_of_another_kind_with_the_key_of_the_lead_does_not_count() -> None:
    person = a_person()
    lead = a_cabinet_lead(person, ago(3))
    an_origin(person, lead.source_pk, "scout_registration")
    assert of_lead(lead, "gap_reason", "has_origin") == ("no_origin", False)


def test_the_trips_of_a_lead_are_those_of_fourteen_days_on_all_accounts_of_its_person() -> None:
    person, other = a_person(), a_person()
    first, second, theirs = an_account(person), an_account(person), an_account(other)
    lead, later = a_cabinet_lead(person, ago(30)), a_cabinet_lead(person, ago(20))
    nobody = a_cabinet_lead(None, ago(30))
    idle = a_cabinet_lead(other, ago(3))
    drives(first, ago(30), {-1: 1000, 0: 1, 13: 20, 14: 4000})
    drives(second, ago(30), {9: 300, 10: 7})
    drives(theirs, ago(30), {5: 50_000})
    assert of_lead(lead, "trips_14d") == 1 + 20 + 300 + 7
    assert of_lead(later, "trips_14d") == 7 + 20 + 4000
    assert (of_lead(nobody, "trips_14d"), of_lead(idle, "trips_14d")) == (0, 0)


def test_a_lead_told_twice_under_one_key_is_one_lead() -> None:
    a_lead(None, on=dt.datetime.combine(ago(9), dt.time(8)), external_id="twice")
    a_lead(None, on=dt.datetime.combine(ago(3), dt.time(8)), external_id=" twice")
    assert rows(GAPS, "lead_id", "gap_age_days") == [("twice", 9)]
    assert rows(EFFECTIVE, "lead_id", "lead_date") == [("twice", ago(9))]


# --- leads without a date -----------------------------------------------------------------------------


def test_a_lead_without_a_date_is_no_gap_and_still_has_its_impact() -> None:
    person = a_person()
    known, unknown = a_cabinet_lead(person, None), a_cabinet_lead(None, None)
    an_origin(person, known.source_pk)
    recovered(known, at(ago(1), "12:00"), person)
    for view in (GAPS, ALERTS):
        assert rows(view, "lead_id") == []
    assert rows(KPI_RED, "lead_source_pk") == []
    told = ("lead_date", "window_end_14d", "recovered_within_14d", "impact_bucket")
    assert of_lead(known, *told, view=IMPACT) == (None, None, None, "identified_origin_no_claim")
    assert of_lead(unknown, *told, view=IMPACT) == (None, None, None, "still_unidentified")
    effective = ("lead_date", "person_key_effective", "identity_link_source", "identity_effective")
    assert of_lead(known, *effective, view=EFFECTIVE) == (None, person, "existing_link", True)
    assert of_lead(unknown, *effective, view=EFFECTIVE) == (None, None, "none", False)


# --- recovery impact ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "origin", "recovered_on", "claim", "on_its_way", "impact"),
    [
        # domain.md 14.3: a lead of day 0, its window ends on day 14
        (False, False, None, False, "unidentified", "still_unidentified"),
        (True, False, None, False, "identified_no_origin", "identified_but_missing_origin"),
        (True, True, None, False, "identified_origin_no_claim", "identified_origin_no_claim"),
        (True, True, None, True, "identified_origin_claim", "identified_origin_claim"),
        (True, True, 9, False, "identified_origin_no_claim", "recovered_within_14d_but_no_claim"),
        (True, True, 9, True, "identified_origin_claim", "recovered_within_14d_and_claim"),
        (True, True, 15, True, "identified_origin_claim", "recovered_late"),
        # what the table leaves open: the first condition of 8.2 that holds decides
        (False, False, 9, False, "unidentified", "still_unidentified"),
        (True, False, 9, False, "identified_no_origin", "recovered_within_14d_but_no_claim"),
        (True, False, None, True, "identified_no_origin", "identified_but_missing_origin"),
        (True, True, 15, False, "identified_origin_no_claim", "recovered_late"),
    ],
)
def test_a_lead_is_in_the_bucket_of_what_became_of_it(
    identity: bool, origin: bool, recovered_on: int | None, claim: bool, on_its_way: str, impact: str
) -> None:
    person = a_person()
    lead = a_cabinet_lead(person if identity else None, ago(19))
    if origin:
        an_origin(person, lead.source_pk)
    moment = None
    if recovered_on is not None:
        moment = at(ago(19 - recovered_on), "12:00")
        recovered(lead, moment, person)
    if claim:
        a_claim(lead, person)
    assert of_lead(
        lead, "lead_date", "window_end_14d", "identity_effective", "origin_ok", "has_claim", "claim_status_bucket",
        "recovered_at", "recovered_within_14d", "impact_bucket", view=IMPACT,
    ) == (
        ago(19), ago(5), identity, origin, claim, on_its_way, moment,
        None if recovered_on is None else recovered_on <= 14, impact,
    )  # fmt: skip


@IN_LIMA_AND_ELSEWHERE
@pytest.mark.parametrize(
    ("after", "clock", "in_time"),
    [(14, "00:00", True), (14, "00:01", True), (14, "23:59", True), (15, "00:00", False), (15, "00:01", False)],
)
def test_the_last_day_of_the_window_counts_until_it_ends_in_lima(
    after: int, clock: str, in_time: bool, zone: str
) -> None:
    lead, person = an_owned_lead(19)
    recovered(lead, at(ago(19 - after), clock), person)
    in_zone(zone)
    assert of_lead(lead, "recovered_within_14d", "impact_bucket", view=IMPACT) == (
        in_time, "recovered_within_14d_but_no_claim" if in_time else "recovered_late",
    )  # fmt: skip


def test_the_first_recovery_decides_not_the_last() -> None:
    lead, person = an_owned_lead(19)
    row = recovered(lead, at(ago(10), "12:00"), person)
    row.last_recovered_at = at(ago(1), "12:00")
    row.save()
    assert of_lead(lead, "recovered_at", "impact_bucket", view=IMPACT) == (
        at(ago(10), "12:00"), "recovered_within_14d_but_no_claim",
    )  # fmt: skip


def test_a_claim_is_one_of_the_lead_itself_for_a_milestone_and_an_account() -> None:
    person = a_person()
    lead, other = a_cabinet_lead(person, ago(19)), a_cabinet_lead(person, ago(19))
    an_origin(person, lead.source_pk)
    a_claim(other, person)
    a_claim(lead, person, driver=None)
    a_claim(lead, person, milestone=50)
    told = ("has_claim", "impact_bucket", "claimed_amount")
    assert of_lead(lead, *told, view=IMPACT) == (False, "identified_origin_no_claim", 0)
    assert of_lead(other, *told, view=IMPACT) == (True, "identified_origin_claim", 25)
    for milestone in (1, 5, 25):
        a_claim(lead, person, milestone)
    assert of_lead(lead, *told, view=IMPACT) == (True, "identified_origin_claim", 75)


def test_every_lead_is_in_exactly_one_bucket_with_or_without_date() -> None:
    for origin in ("own", "other id", "migration", None):
        an_owned_lead(19, origin)
    for after in (3, 15):
        for is_claimed in (False, True):
            lead, person = an_owned_lead(19)
            recovered(lead, at(ago(19 - after), "12:00"), person)
            if is_claimed:
                a_claim(lead, person)
    claimed, person = an_owned_lead(19)
    a_claim(claimed, person)
    a_cabinet_lead(None, ago(19))
    a_cabinet_lead(None, None)
    a_cabinet_lead(a_person(), None)
    leads = CabinetLead.objects.count()
    for column in ("impact_bucket", "claim_status_bucket"):
        buckets = list(RecoveryImpact.objects.values_list(column, flat=True))
        assert len(buckets) == leads
        assert set(buckets) <= {value for value, _label in RecoveryImpact._meta.get_field(column).flatchoices}
    assert set(RecoveryImpact.objects.values_list("impact_bucket", flat=True)) == set(ImpactBucket.values)
    assert len(rows(EFFECTIVE, "lead_id")) == leads
    assert IdentityGap.objects.count() == leads - 2


# --- figures apart ------------------------------------------------------------------------------------


def test_the_red_figure_is_the_dated_leads_that_are_nobody() -> None:
    lost, disputed = a_cabinet_lead(None, ago(12)), a_cabinet_lead(None, ago(3))
    a_claim(disputed, a_person())
    for origin in ("own", "migration", None):
        an_owned_lead(12, origin)
    a_cabinet_lead(None, None)
    assert rows(KPI_RED, "age_days", "lead_date", "lead_source_pk", "reason_bucket") == [
        (3, ago(3), disputed.source_pk, "no_identity"),
        (12, ago(12), lost.source_pk, "both"),
    ]


@pytest.mark.slow
def test_the_red_figure_adds_up_day_by_day() -> None:
    """What a day begins with is what the day before ended with; come minus gone is the rest."""

    def a_night() -> None:
        a_day_passes()
        for day in GapDay.objects.order_by("snapshot_date"):
            GapDay.objects.filter(pk=day.pk).update(
                snapshot_date=day.snapshot_date - dt.timedelta(days=1), taken_at=day.taken_at - dt.timedelta(days=1)
            )

    def a_lost_lead(plate: str) -> tuple[Record, str]:
        name = fresh_name()
        return a_lead(name, plate=plate, on=ago(5)), name

    lost = {plate: a_lost_lead(plate) for plate in ("ABA111", "ABA222", "ABA333")}
    match()
    retry_leads()
    a_night()

    a_driver(lost["ABA111"][1], plate="ABA111", hired=ago(5))
    a_lost_lead("ABA444")
    retry_leads()
    a_night()

    for plate in ("ABA222", "ABA333"):
        a_driver(lost[plate][1], plate=plate, hired=ago(5))
    retry_leads()
    a_night()

    retry_leads()
    a_night()

    known = fresh_name()  # never lost: it comes and goes on the same day
    a_driver(known, plate="ABA555", hired=ago(5))
    a_lead(known, plate="ABA555", on=ago(5))
    a_lost_lead("ABA666")
    match()
    retry_leads()

    told = rows(
        KPI_RED_DAYS, "metric_date", "backlog_start", "new_backlog_in", "matched_out", "backlog_end", "net_change",
        "top_fail_reason",
    )  # fmt: skip
    assert told == [
        (ago(4), 0, 3, 0, 3, 3, "NO_CANDIDATES"),
        (ago(3), 3, 1, 1, 3, 0, "NO_CANDIDATES"),
        (ago(2), 3, 0, 2, 1, -2, "NO_CANDIDATES"),
        (ago(1), 1, 0, 0, 1, 0, "NO_CANDIDATES"),
        (ago(0), 1, 2, 1, 2, 1, "NO_CANDIDATES"),
    ]
    for (_day, start, came, gone, end, net, _reason), after in zip(told, [*told[1:], None], strict=True):
        assert (end, net) == (start + came - gone, came - gone)
        assert after is None or after[1] == end
    assert told[-1][4] == len(rows(KPI_RED, "lead_source_pk"))


def test_a_day_of_which_nothing_is_stored_leaves_no_hole_in_the_red_figure() -> None:
    for days, nobody in ((9, 4), (3, 6)):
        GapDay.objects.create(
            snapshot_date=ago(days), total_leads=10, unresolved=nobody, no_identity=nobody, no_origin=0,
            inconsistent_origin=0, high_risk=nobody, medium_risk=0, low_risk=0, matched_24h=0, matched_out=0,
        )  # fmt: skip
    assert rows(KPI_RED_DAYS, "metric_date", "backlog_start", "new_backlog_in", "backlog_end") == [
        (ago(9), 0, 4, 4),
        (ago(3), 4, 2, 6),
    ]


def test_activity_without_identity_counts_accounts_and_trips_per_day() -> None:
    person = a_person()
    linked = an_account(person)
    a_cabinet_lead(person, ago(3), driver=linked)
    strangers = [a_driver(fresh_name()), "f" * 32]
    for driver in (linked, *strangers):
        drives(driver, ago(3), {0: 5, 1: 2})
    a_day(strangers[1], ago(2).isoformat(), 9, created_at=dt.datetime(2026, 1, 6))  # told again # noqa: DTZ001
    a_day(strangers[0], "no day", 100)
    assert rows(UNLINKED, "date_file", "drivers_without_identity_count", "trips_from_unlinked_drivers") == [
        (ago(3), 2, 10),
        (ago(2), 2, 11),
    ]
    link(person, Record("drivers", strangers[1]), driver=strangers[1])
    assert rows(UNLINKED, "date_file", "drivers_without_identity_count", "trips_from_unlinked_drivers") == [
        (ago(3), 1, 5),
        (ago(2), 1, 2),
    ]


@pytest.mark.parametrize(
    ("view", "column"),
    [
        *((view, "lead_id") for view in (GAPS, ALERTS, IMPACT, EFFECTIVE, "ops.v_identity_gap_cases")),
        (KPI_RED, "lead_source_pk"), (KPI_RED_DAYS, "metric_date"), (UNLINKED, "date_file"),
    ],
)  # fmt: skip
def test_a_view_of_an_empty_database_is_empty(view: str, column: str) -> None:
    assert rows(view, column) == []
