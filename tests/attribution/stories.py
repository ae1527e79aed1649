"""Stories of attribution: scouts, persons they claim, what the ledger says of them, what a refresh stored."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import connection
from django.utils import timezone

from attribution.models import (
    AttributionDay,
    EventsBackfillEntry,
    LedgerBackfillEntry,
    LedgerEntry,
    LinksBackfillEntry,
    Scout,
)
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from identity.models import CabinetPayment, LeadEvent, Link, Person
from identity.models.sources import ScoutListEntry
from tests.attribution.test_ledger import TABLES, day
from tests.factories import Record, a_migration, a_registration, an_event

TODAY = dt.date(2026, 3, 2)


def a_scout(number: int, name: str = "ROJAS ANA", *, active: bool = True) -> Scout:
    """Put a scout on the recruiters' list."""
    ScoutListEntry.objects.create(scout_id=number, raw_name=name, name=name, is_active=active)
    return Scout(scout_id=number, scout_name_normalized=name)


def a_person(name: str = "QUISPE MAMANI JUAN", **columns: Any) -> Person:
    return Person.objects.create(confidence_level="HIGH", primary_full_name=name, **columns)


def events_of(person: Person, *events: tuple[str, int | None, int]) -> None:
    """Give a person lead events ``(kind, scout, day)`` whose records are in no feed; keys count up in the order given."""
    for kind, scout, number in events:
        key = str(LeadEvent.objects.count() + 1_000_000)
        an_event(Record(TABLES[kind], key), person=person.pk, on=day(number), scout_id=scout)


def a_claimed_person(*events: tuple[str, int | None, int], **columns: Any) -> Person:
    """Make a person with lead events, see ``events_of``."""
    person = a_person(**columns)
    events_of(person, *events)
    return person


def an_entry(person: Person, scout: int | None = None, rule: str | None = "A", **columns: Any) -> LedgerEntry:
    """Put a row into the ledger as a job or a person would have; it stays as it is while no job decides anew."""
    values: dict[str, Any] = {
        "attributed_source": "scouting", "attribution_score": "0.95", "confidence_level": "high", "decision_status": "assigned",
    } | columns  # fmt: skip
    return LedgerEntry.objects.create(person=person, attributed_scout_id=scout, attribution_rule=rule, **values)


def own(record: Record, person: Person) -> Record:
    """Link a source record to a person."""
    Link.objects.create(
        person=person, source_table=record.source_table, source_pk=record.source_pk, snapshot_date=timezone.now(),
        match_rule="R1_PHONE_EXACT", match_score=95, confidence_level="HIGH",
    )  # fmt: skip
    return record


def a_registration_of(person: Person, scout: int | None, number: int, event_scout: int | None = None) -> Record:
    """Add a registration of a person and its lead event, which may have read another scout."""
    record = own(a_registration(None, scout=scout, on=day(number)), person)
    an_event(record, person=person.pk, on=day(number), scout_id=event_scout or scout)
    return record


def a_migration_of(person: Person, scout: int, number: int) -> Record:
    """Add a migration of a person and its lead event."""
    record = own(a_migration(f"{person.pk.hex}", scout=scout, on=day(number)), person)
    an_event(record, person=person.pk, on=day(number), scout_id=scout)
    return record


def a_payment_of(person: Person, scout: int, number: int) -> CabinetPayment:
    """Add a payment of the partner that names a scout for a person."""
    return CabinetPayment.objects.create(date=day(number), scout_id=scout, person_key=person.pk, driver="X")


def a_day(date: dt.date = TODAY, **columns: Any) -> AttributionDay:
    """Store the metrics of a day as a refresh would have; a healthy one unless told otherwise."""
    values: dict[str, Any] = {
        "total_persons": 1000, "satisfactory_count": 900, "missing_count": 100, "conflicts_count": 10, "open_conflicts_count": 4,
        "backlog": {"a": 50, "b": 20, "c": 25, "d": 5, "e": 0}, "by_source_scouting_daily": 0, "by_source_cabinet_leads": 0,
        "by_source_lead_ledger": 0,
    } | columns  # fmt: skip
    return AttributionDay.objects.create(metric_date=date, **values)


def a_run(job: str = JobType.SCOUT_REFRESH, status: str = RunStatus.COMPLETED, **columns: Any) -> Run:
    """A run that has ended."""
    return Run.objects.create(job_type=job, status=status, attempt=1, completed_at=timezone.now(), **columns)


def many(first: int, last: int) -> None:
    """Persons with everything the lists show: conflicts, ledger, audit, backlog, scouts, audits of the backfills, days."""
    numbers = range(first, last)
    run = Run.objects.filter(job_type=JobType.SCOUT_FIX).first() or a_run(JobType.SCOUT_FIX)
    ScoutListEntry.objects.bulk_create(
        ScoutListEntry(scout_id=1 + number, name=f"SCOUT {number}", raw_name=f"SCOUT {number}") for number in numbers
    )
    persons = Person.objects.bulk_create(
        Person(confidence_level="HIGH", primary_full_name="ANA ROJAS", primary_phone="945111222") for _number in numbers
    )
    bare = Person.objects.bulk_create(Person(confidence_level="HIGH", primary_full_name="LUIS SOTO") for _ in numbers)
    both = list(zip(numbers, persons, strict=True))
    LeadEvent.objects.bulk_create(
        LeadEvent(
            source_table=TABLES["scouting"], source_pk=f"{number}-{which}", event_date=day(1 + which), person=person,
            scout_id=1 + number + which, payload_json={},
        )
        for number, person in both
        for which in (0, 1)
    )  # fmt: skip
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            person=person, attributed_source="scouting", attributed_scout_id=1 + number, attribution_rule="A",
            attribution_score="0.95", confidence_level="high", decision_status="assigned",
        )
        for number, person in both
    )  # fmt: skip
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            person=person, attributed_source="scouting", attribution_rule="C", attribution_score="0.5",
            confidence_level="low", decision_status="conflict",
        )
        for person in bare[::2]
    )  # fmt: skip
    AuditEntry.objects.bulk_create(
        AuditEntry(
            run=run, actor="system", action="decide_ledger", subject_table="lead_ledger", subject_key=str(person.pk),
            person_key=person.pk, after={"decision_status": "assigned", "attributed_scout_id": 1 + number},
        )
        for number, person in both
    )  # fmt: skip
    LinksBackfillEntry.objects.bulk_create(
        LinksBackfillEntry(
            run=run, source_table=TABLES["scouting"], source_pk=str(number), person_key=person.pk, match_method="license",
            match_result="created", action_type="CREATED",
        )
        for number, person in both
    )  # fmt: skip
    LedgerBackfillEntry.objects.bulk_create(
        LedgerBackfillEntry(
            run=run, person_key=person.pk, new_attributed_scout_id=1 + number, attribution_rule_old="B",
            attribution_rule_new="BACKFILL_SINGLE_SCOUT_FROM_EVENTS", backfill_method="BACKFILL_SINGLE_SCOUT_FROM_EVENTS",
        )
        for number, person in both
    )  # fmt: skip
    EventsBackfillEntry.objects.bulk_create(
        EventsBackfillEntry(
            run=run, lead_event_id=1 + number, source_table=TABLES["cabinet"], source_pk=str(number), person_key=person.pk,
            new_scout_id=1 + number, mapping_method="lead_scout_mapping", action_type="UPDATED", backfill_method="X",
        )
        for number, person in both
    )  # fmt: skip
    for number in numbers:
        a_day(dt.date(2025, 1, 1) + dt.timedelta(days=number))
    with connection.cursor() as cursor:
        # As a job does at its end: statistics of empty tables make a plan that suits them.
        cursor.execute("analyze canon.identity_registry, observational.lead_events, observational.lead_ledger")
