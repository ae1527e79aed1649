"""Stories of collection: drivers whom the cabinet sent, what they drove, what the partner paid.

Days count from the lead: ``trips={0: 4, 2: 1}`` are four trips on the day of the lead and one two days later.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection
from psycopg2 import sql

from ct4site import sqlfiles
from ct4site.models import JobType
from identity.models import CabinetPayment, DailyTrips, Link, Person
from orphans.models import QuarantinedDriver
from tests import factories
from tests.factories import OBJECTIVE_PARK, Record

LIMA = ZoneInfo("America/Lima")
CABINET = "module_ct_cabinet_leads"
CLAIMS = "canon.claims_yango_cabinet_14d"
COLLECTION = "ops.v_yango_collection_with_scout"
_numbers = itertools.count(500)


class Recruit(NamedTuple):
    """A person with an account and a cabinet lead that leads to it."""

    driver_id: str
    person: UUID
    lead: Record
    name: str
    lead_date: dt.date


def today() -> dt.date:
    """Return the date in Lima by the clock of the database, which stands still during a test: what is due depends on it."""
    with connection.cursor() as cursor:
        cursor.execute("select (now() at time zone 'America/Lima')::date")
        found: dt.date = cursor.fetchone()[0]
    return found


def ago(days: int) -> dt.date:
    return today() - dt.timedelta(days=days)


def a_person() -> UUID:
    return Person.objects.create(confidence_level="HIGH", primary_full_name="QUISPE MAMANI JUAN").pk


def link(person: UUID, record: Record, *, driver: str | None = None, linked: dt.datetime | None = None) -> Record:
    """Link a source record to a person; ``driver`` is the account that matched it, as matching writes it down."""
    moment = linked or dt.datetime(2026, 1, 10, 12, tzinfo=LIMA)
    with connection.cursor() as cursor:  # a job of this test may have left them immediate: account first, lead second
        cursor.execute("set constraints all deferred")
    Link.objects.create(
        person_id=person, source_table=record.source_table, source_pk=record.source_pk, snapshot_date=moment,
        linked_at=moment, match_rule="R1_PHONE_EXACT", match_score=95, confidence_level="HIGH",
        evidence={"driver_id": driver} if driver else {},
    )  # fmt: skip
    return record


def an_account(
    person: UUID | None,
    *,
    name: str | None = None,
    park: str | None = OBJECTIVE_PARK,
    linked: dt.datetime | None = None,
) -> str:
    """Open an account of a person, by default under a name that no other account has."""
    driver_id = factories.a_driver(name or fresh_name(), park=park)
    if person:
        link(person, Record("drivers", driver_id), driver=driver_id, linked=linked)
    return driver_id


def fresh_name() -> str:
    number = next(_numbers)
    words = ("ZULU", "YARA", "XENA", "WARI")
    return " ".join(word + "ABCDEFGHIJ"[number // 10**place % 10] for place, word in enumerate(words))


def a_cabinet_lead(person: UUID | None, on: dt.date | None, *, driver: str | None = None, **columns: Any) -> Record:
    """Add a cabinet lead, linked to the person if there is one."""
    lead = factories.a_lead(None, on=on and dt.datetime.combine(on, dt.time(21, 30)), **columns)
    return link(person, lead, driver=driver) if person else lead


def a_recruit(
    on: dt.date | None = None,
    *,
    trips: Mapping[int, int] | None = None,
    name: str | None = None,
    park: str | None = OBJECTIVE_PARK,
) -> Recruit:
    """A person whom the cabinet sent on a day (19 days ago unless told), with one account and its trips."""
    on, name, person = on or ago(19), name or fresh_name(), a_person()
    driver_id = an_account(person, name=name, park=park)
    recruit = Recruit(driver_id, person, a_cabinet_lead(person, on, driver=driver_id), name, on)
    drives(driver_id, on, trips or {})
    return recruit


def drives(driver_id: str, since: dt.date, trips: Mapping[int, int], **columns: Any) -> None:
    """Write the trips of days after a date, the two spellings in turn."""
    for offset, count in trips.items():
        day = since + dt.timedelta(days=offset)
        a_day(driver_id, f"{day:%d-%m-%Y}" if offset % 2 else day.isoformat(), count, **columns)


def a_day(driver_id: str, text: str, trips: int | None, **columns: Any) -> None:
    """Write one row of the daily summary, the day as given."""
    values = {"sum_work_time_seconds": 3600, "created_at": dt.datetime(2026, 1, 5, 5, 30)} | columns  # noqa: DTZ001
    DailyTrips.objects.create(driver_id=driver_id, date_file=text, count_orders_completed=trips, **values)


def pays(name: str | None, *milestones: int, on: dt.date | None = None, paid: bool = True, **columns: Any) -> str:
    """Add a row of the partner's list that says paid (or not) for milestones; return its id."""
    flags = {f"trip_{milestone}": paid for milestone in milestones}
    return str(CabinetPayment.objects.create(date=on or ago(2), driver=name, **(flags | columns)).pk)


def says(payment: str, **flags: bool | None) -> None:
    """Let a row of the partner's list say otherwise."""
    CabinetPayment.objects.filter(pk=payment).update(**flags)


def quarantine(driver_id: str, status: str = "quarantined") -> None:
    resolved = None if status == "quarantined" else dt.datetime(2026, 1, 10, tzinfo=LIMA)
    values = {
        "detected_reason": "manual_detection",
        "status": status,
        "resolved_at": resolved,
        "evidence_json": {"by": "hand"},
    }
    QuarantinedDriver.objects.update_or_create(driver_id=driver_id, defaults=values)


def collect(**parameters: Any) -> dict[str, Any]:
    """Refresh the drivers index, then collection; return the tally of the latter."""
    factories.refresh()
    return refresh(**parameters)


def refresh(**parameters: Any) -> dict[str, Any]:
    return factories.run_job(JobType.COLLECTION_REFRESH, **parameters)


def rows(relation: str, *columns: str, **where: Any) -> list[Any]:
    """Return the rows of a relation in the order of the columns: tuples, or bare values of one column."""
    schema, name = relation.split(".")
    condition = sql.SQL(" and ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(str(value) if isinstance(value, UUID) else value))
        for column, value in where.items()
    )
    query = sql.SQL("select {} from {} where {} order by {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(schema, name),
        condition if where else sql.SQL("true"),
        sql.SQL(", ").join(map(sql.Literal, range(1, len(columns) + 1))),
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        found = cursor.fetchall()
    return [row[0] for row in found] if len(columns) == 1 else found


def claims(driver_id: str, *columns: str) -> list[Any]:
    """Return the stored claims of an account, by default milestone and amount."""
    return rows(CLAIMS, *(columns or ("milestone", "amount_expected")), driver_id=driver_id)


def milestones(driver_id: str) -> dict[int, int]:
    """Return the day, counted from the lead, on which the claimed milestones of an account were reached."""
    found = claims(driver_id, "milestone", "lead_date", "achieved_date")
    return {milestone: (achieved - lead_date).days for milestone, lead_date, achieved in found}


def of_claim(driver_id: str, milestone: int, *columns: str, view: str = COLLECTION) -> Any:
    """Return what a view says of one claim."""
    found = rows(view, *columns, driver_id=driver_id, milestone_value=milestone)
    assert len(found) == 1, found
    return found[0]


def money(value: int | str) -> Decimal:
    return Decimal(value).quantize(Decimal("0.01"))


def broken() -> list[str]:
    """Return what the invariants say, of those that collection is responsible for."""
    found = []
    with connection.cursor() as cursor:
        for check in sqlfiles.checks():
            if any(
                word in check.name for word in ("claim", "collect", "quarantined_", "money", "week", "tally", "payment")
            ):
                cursor.execute(check.sql)
                found += [f"{check.name}: {row}" for row in cursor.fetchall()]
    return found


def state() -> list[str]:
    """Return all that collection stores, in words, without serial ids and times."""
    facts = []
    for table, left_out in (
        (CLAIMS, "'{claim_id,rule_id,expected_at,generated_at,paid_at,created_at,updated_at}'"),
        ("observational.lead_trips", "'{id,computed_at}'"),
        ("observational.lead_milestones", "'{id,computed_at}'"),
        ("ops.yango_payment_status_ledger", "'{id,snapshot_at,created_at}'"),
        ("ops.yango_payment_states", "'{ledger_id}'"),
        ("ops.person_scouts", "'{}'"),
    ):
        with connection.cursor() as cursor:
            cursor.execute(f"select (to_jsonb(found) - {left_out}::text[])::text from {table} as found")
            facts += [f"{table} {row[0]}" for row in cursor.fetchall()]
    return sorted(facts)
