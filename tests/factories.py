"""Stories for tests: a driver, a lead, a registration, a migration, and what became of them.

All people are invented. Every value not named is a fresh one of its own, so that two stories never meet by accident;
``None`` leaves a value out. The functions that add rows return what identifies them afterwards.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection, models, transaction
from django.db.models.functions import Now

from ct4site import jobs
from ct4site.models import JobType, Run, RunStatus
from identity.models import (
    CabinetLead,
    Driver,
    LeadEvent,
    Link,
    MigrationRecord,
    Origin,
    Person,
    ScoutingRegistration,
    Unmatched,
)
from orphans.models import QuarantinedDriver
from recovery.models import RecoveredLead
from tests.oracle.matcher import World

OBJECTIVE_PARK = "08e20910d81d42658d4334d3f6d10ac0"
OTHER_PARK = "1f2e3d4c5b6a79880716253443526170"

JUAN = "QUISPE MAMANI JUAN CARLOS"
ROSA = "HUAMAN FLORES ROSA ELENA"
PEDRO = "TORRES VEGA PEDRO PABLO"
LEAD_DATE = dt.date(2026, 1, 10)

_numbers = itertools.count(1)
_FRESH: Any = object()

_FIRST_NAMES = ("ABEL", "BERTA", "CIRO", "DORA", "ELMER", "FLOR", "GINO", "HILDA", "IVAN", "JULIA", "KATIA", "LUCIO")
_LAST_NAMES = (
    "ACUNA",
    "BALDEON",
    "CCOPA",
    "DIAZ",
    "ESPINO",
    "FARFAN",
    "GALVEZ",
    "HINOJOSA",
    "INGA",
    "JARA",
    "KURI",
    "LEON",
)


class Record(NamedTuple):
    """What identifies a source record everywhere (domain.md 3.12)."""

    source_table: str
    source_pk: str


def _or_fresh(value: Any, pattern: str, number: int) -> Any:
    return pattern.format(number) if value is _FRESH else value


def a_phone(number: int) -> str:
    """Return a Peruvian mobile that belongs to nobody else."""
    return f"9{71_000_000 + number % 20_000_000:08d}"


def a_name(number: int) -> str:
    """Return a name of four words; names of neighbouring numbers below 70 have no word in common."""
    size = len(_FIRST_NAMES)
    turn = number // size
    places = (number % size, (number + 5 + turn) % size, number % size, (number + 7 + turn) % size)
    return f"{_LAST_NAMES[places[0]]} {_LAST_NAMES[places[1]]} {_FIRST_NAMES[places[2]]} {_FIRST_NAMES[places[3]]}"


# --- rows of the source tables ------------------------------------------------------------------------


def a_driver(
    name: str | None = JUAN,
    *,
    phone: str | None = _FRESH,
    licence: str | None = _FRESH,
    plate: str | None = _FRESH,
    park: str | None = OBJECTIVE_PARK,
    hired: dt.date | None = LEAD_DATE,
    **columns: Any,
) -> str:
    """Add an account to ``public.drivers``; return its driver_id."""
    number = next(_numbers)
    values = {
        "driver_id": f"{number:032x}",
        "park_id": park,
        "full_name": name,
        "phone": f"51{a_phone(number)}" if phone is _FRESH else phone,
        "license_number": _or_fresh(licence, "Q{:08d}", 20_000_000 + number),
        "car_number": _or_fresh(plate, "D{:05d}", number % 100_000),
        "hire_date": hired,
    }
    return Driver.objects.create(**values | columns).driver_id


def a_lead(
    name: str | None = JUAN,
    *,
    phone: str | None = None,
    plate: str | None = None,
    on: dt.date | dt.datetime | None = LEAD_DATE,
    **columns: Any,
) -> Record:
    """Add a cabinet lead; return its key. It carries neither phone nor plate unless told."""
    values = {
        "external_id": f"{next(_numbers):032x}",
        "lead_created_at": on,
        "first_name": name,
        "park_phone": phone,
        "asset_plate_number": plate,
    }
    lead = CabinetLead.objects.create(**values | columns)
    return Record("module_ct_cabinet_leads", lead.external_id or str(lead.pk))


def a_registration(
    name: str | None = JUAN,
    *,
    phone: str | None = None,
    licence: str | None = None,
    scout: int | None = 7,
    on: dt.date | None = LEAD_DATE,
    **columns: Any,
) -> Record:
    """Add a scout's registration; return its key. It carries neither phone nor licence unless told."""
    values = {
        "registration_date": on,
        "scout_id": scout,
        "driver_name": name,
        "driver_phone": phone,
        "driver_license": licence,
    }
    return Record("module_ct_scouting_daily", str(ScoutingRegistration.objects.create(**values | columns).pk))


def a_migration(
    driver_id: str | None, *, scout: int | None = 7, on: dt.date | None = LEAD_DATE, **columns: Any
) -> Record:
    """Add a migration that names its driver; return its key."""
    values = {"driver_id": driver_id, "driver_name": None, "scout_id": scout, "created_at": on}
    return Record("module_ct_migrations", str(MigrationRecord.objects.create(**values | columns).pk))


def load(world: World) -> None:
    """Make the source tables hold exactly the rows of a random world (tests/oracle/worlds.py)."""
    tables: list[tuple[type[models.Model], list[dict[str, Any]]]] = [
        (Driver, world.drivers),
        (CabinetLead, world.cabinet),
        (ScoutingRegistration, world.scouting),
        (MigrationRecord, world.migrations),
    ]
    for model, rows in tables:
        model._default_manager.all().delete()
        model._default_manager.bulk_create([model(**row) for row in rows])


# --- stories of several rows --------------------------------------------------------------------------


class Recruited(NamedTuple):
    """A person with one account and one lead that leads to it."""

    driver_id: str
    lead: Record


def a_recruited_driver(name: str = JUAN, **columns: Any) -> Recruited:
    """An account, and a registration with its phone: rule R1 links them."""
    number = next(_numbers)
    driver_id = a_driver(name, phone=f"51{a_phone(number)}", **columns)
    return Recruited(driver_id, a_registration(name, phone=a_phone(number)))


def a_lead_known_by_its_car(name: str = ROSA, **columns: Any) -> Recruited:
    """An account, and a cabinet lead with its plate and name but no phone, as most are: rule R3 links them."""
    plate = f"C{next(_numbers) % 100_000:05d}"
    return Recruited(a_driver(name, plate=plate, **columns), a_lead(name, plate=plate))


def a_migrated_driver(name: str = PEDRO, **columns: Any) -> Recruited:
    """An account, and the migration that names it."""
    driver_id = a_driver(name, **columns)
    return Recruited(driver_id, a_migration(driver_id))


def a_family_phone(*names: str) -> tuple[str, list[str]]:
    """One phone, an account in the objective park for each name; return the phone and the accounts."""
    phone = a_phone(next(_numbers))
    return phone, [a_driver(name, phone=phone) for name in names]


# --- orphans ------------------------------------------------------------------------------------------


class Orphan(NamedTuple):
    """A driver that the predecessor linked to a person without a lead."""

    driver_id: str
    person: Any


def _legacy_run() -> Run:
    found = Run.objects.filter(job_type=JobType.LEGACY_LOAD).first()
    return found or Run.objects.create(
        job_type=JobType.LEGACY_LOAD, actor="tests", status=RunStatus.COMPLETED, completed_at=Now(), stats={"audit": 0}
    )


def an_orphan(
    name: str | None = JUAN,
    *,
    phone: str | None = None,
    licence: str | None = None,
    driver_id: str | None = None,
    person: Any = None,
    rule: str = "R1_PHONE_EXACT",
    linked: dt.date = dt.date(2025, 12, 21),
    evidence: dict[str, Any] | None = None,
) -> Orphan:
    """Add what the predecessor left: a person without lead, and the link of an account to it.

    The keys are the person's, normalised. The account is in no feed unless ``driver_id`` names one that is; with
    ``person`` it is one more account of that person.
    """
    person = person or Person.objects.create(
        confidence_level="HIGH", primary_phone=phone, primary_license=licence, primary_full_name=name
    ).pk  # fmt: skip
    driver_id = driver_id or f"{next(_numbers):032x}"
    moment = dt.datetime.combine(linked, dt.time(3, 10), ZoneInfo("America/Lima"))
    Link.objects.create(
        person_id=person, source_table="drivers", source_pk=driver_id, snapshot_date=moment, linked_at=moment,
        match_rule=rule, match_score=95, confidence_level="HIGH", run=_legacy_run(),
        evidence=evidence or {"driver_id": driver_id, "legacy": True},
    )  # fmt: skip
    return Orphan(driver_id, person)


def an_event(
    record: Record,
    *,
    person: Any = None,
    on: dt.date = LEAD_DATE,
    payload: dict[str, Any] | None = None,
    **columns: Any,
) -> int:
    """Add the lead event of a record by hand, as a foreign program would; return its id."""
    return LeadEvent.objects.create(
        source_table=record.source_table, source_pk=record.source_pk, event_date=on, person_id=person,
        payload_json=payload or {}, **columns,
    ).pk  # fmt: skip


def fix_orphans(**parameters: Any) -> dict[str, Any]:
    """Repair or quarantine drivers without leads; return the tally."""
    return run_job(JobType.ORPHANS_FIX, **parameters)


def case_of(driver_id: str) -> QuarantinedDriver | None:
    """Return the quarantine row of a driver whatever its status, or None."""
    return QuarantinedDriver.objects.filter(driver_id=driver_id).first()


def verdict(driver_id: str) -> tuple[str, str] | None:
    """Return (status, reason) of a driver's quarantine row, or None."""
    case = case_of(driver_id)
    return (case.status, case.detected_reason) if case else None


def outcomes(driver_id: str) -> dict[str, str]:
    """Return why each record did or did not suffice as evidence for a driver: ``{source_pk: outcome}``."""
    case = case_of(driver_id)
    assert case is not None, f"{driver_id} was never decided"
    return {piece["source_pk"]: piece["outcome"] for piece in case.evidence_json["evidence"]}


# --- recovery -----------------------------------------------------------------------------------------


def an_origin(person: Any, source_id: str, tag: str = "cabinet_lead", **columns: Any) -> Origin:
    """Say where a person came from; ``source_id`` is the key of the record."""
    values = {
        "origin_confidence": 95, "origin_created_at": dt.datetime(2026, 1, 10, 12, tzinfo=ZoneInfo("America/Lima")),
        "resolution_status": "resolved_auto",
    }  # fmt: skip
    return Origin.objects.create(
        person_id=person, origin_tag=tag, origin_source_id=source_id, **values | columns
    )  # fmt: skip


def recovered(lead: Record, at: dt.datetime, person: Any = None, method: str = "retry_matching") -> RecoveredLead:
    """Put on record that a lead came back at a moment."""
    return RecoveredLead.objects.create(
        lead_id=lead.source_pk, first_recovered_at=at, last_recovered_at=at, recovered_person_key=person,
        recovery_method=method,
    )  # fmt: skip


def retry_leads(**parameters: Any) -> dict[str, Any]:
    """Refresh the drivers index and match the lost leads again; return the tally of the latter."""
    refresh()
    return run_job(JobType.GAP_RECOVERY, **parameters)


# --- running and asking -------------------------------------------------------------------------------


def run_job(code: str, **parameters: Any) -> dict[str, Any]:
    """Perform a job and return its tally; it must complete."""
    dry_run = parameters.pop("dry_run", False)
    run = jobs.perform(job_code=code, actor="tests", parameters=parameters, dry_run=dry_run)
    assert run.status == RunStatus.COMPLETED, run.error_message
    if connection.in_atomic_block:
        # A test's transaction does not commit, so what a job drops at its commit would still be there.
        with connection.cursor() as cursor:
            cursor.execute("discard temp")
    return dict(run.stats)


@contextmanager
def rolled_back() -> Iterator[None]:
    """Undo at the end whatever the block wrote, append-only tables included; jobs may run inside."""
    start = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(start)


def refresh() -> dict[str, Any]:
    """Bring the drivers index up to date; return the tally."""
    return run_job(JobType.DRIVERS_INDEX_REFRESH)


def match(**parameters: Any) -> dict[str, Any]:
    """Refresh the drivers index and run identity matching; return the tally of the latter."""
    refresh()
    return run_job(JobType.IDENTITY_RUN, **parameters)


def a_day_passes() -> None:
    """Make earlier links a day older: inside a test's one transaction the database clock stands still."""
    Link.objects.update(linked_at=models.F("linked_at") - dt.timedelta(days=1))


def changes(tally: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of a tally that are not zero, nested ones flattened with dots; texts are no counts."""
    found: dict[str, Any] = {}
    for name, value in tally.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": count for inner, count in changes(value).items()}
        elif value and not (name == "seen" and isinstance(value, str)):
            found[name] = value
    return found


def link_of(record: Record) -> Link | None:
    """Return the link of a source record, or None."""
    return Link.objects.filter(source_table=record.source_table, source_pk=record.source_pk).first()


def unmatched_of(record: Record) -> Unmatched | None:
    """Return the unmatched row of a source record whatever its status, or None."""
    return Unmatched.objects.filter(source_table=record.source_table, source_pk=record.source_pk).first()


def answer(record: Record) -> tuple[str, str, int, str] | str:
    """Return (driver_id, rule, score, confidence) of a linked record, or the reason of an open unmatched one.

    Raises AssertionError when it is both or neither.
    """
    link, unmatched = link_of(record), unmatched_of(record)
    is_open = unmatched is not None and unmatched.status == "OPEN"
    assert (link is None) == is_open, f"{record} is {'both' if link else 'neither'} linked and open"
    if link is None:
        return str(unmatched.reason_code)  # type: ignore[union-attr]
    return link.evidence["driver_id"], link.match_rule, link.match_score, link.confidence_level


def persons() -> frozenset[frozenset[Record]]:
    """Return who is who: each person as the set of its source records, accounts included."""
    members: dict[Any, set[Record]] = {}
    for person, table, pk in Link.objects.values_list("person_id", "source_table", "source_pk"):
        members.setdefault(person, set()).add(Record(table, pk))
    return frozenset(frozenset(records) for records in members.values())


_STATE = """
with labels as (
    -- A person without its random key: all its records.
    select person_key, string_agg(source_table || ' ' || source_pk, ', ' order by source_table || ' ' || source_pk collate "C")
        as label
    from canon.identity_links group by person_key
),

facts as (
    select concat_ws(
        '|', 'person', coalesce(labels.label, '-'), persons.confidence_level, coalesce(persons.primary_phone, '-'),
        coalesce(persons.primary_license, '-'), coalesce(persons.primary_full_name, '-')
    ) as fact
    from canon.identity_registry as persons left join labels using (person_key)
    union all
    select concat_ws(
        '|', 'link', source_table, source_pk, match_rule, match_score, confidence_level,
        extract(epoch from snapshot_date),
        coalesce(evidence ->> 'driver_id', concat(evidence ->> 'lead_source_table', ' ', evidence ->> 'lead_source_pk'))
    )
    from canon.identity_links
    union all
    select concat_ws(
        '|', 'unmatched', source_table, source_pk, reason_code, status, (
            select string_agg(concat_ws(' ', seen ->> 'driver_id', seen ->> 'rule', seen ->> 'lacked'), ', ' order by place)
            from jsonb_array_elements(candidates_preview -> 'candidates') with ordinality as candidates (seen, place)
        )
    )
    from canon.identity_unmatched
    union all
    select concat_ws('|', 'refusal', source_table, source_pk, driver_id, person_key) from canon.identity_refusals
    union all
    select concat_ws(
        '|', 'origin', labels.label, origins.origin_tag, origins.origin_source_id, origins.origin_confidence,
        extract(epoch from origins.origin_created_at), origins.resolution_status, origins.decided_by
    )
    from canon.identity_origin as origins left join labels using (person_key)
    union all
    select concat_ws(
        '|', 'quarantine', driver_id, status, detected_reason, creation_rule, lead_events_count, resolution_notes, (
            select string_agg(concat_ws(' ', seen ->> 'source_pk', seen ->> 'level', seen ->> 'outcome'), ', ' order by place)
            from jsonb_array_elements(evidence_json -> 'evidence') with ordinality as pieces (seen, place)
        )
    )
    from canon.driver_orphan_quarantine
    union all
    select concat_ws('|', 'quarantine history', driver_id, status_old, status_new, change_reason)
    from canon.driver_orphan_quarantine_history
    union all
    select concat_ws(
        '|', 'event', events.source_table, events.source_pk, events.event_date, coalesce(labels.label, '-'),
        coalesce(events.scout_id::text, '-'), coalesce(events.driver_id, '-'), events.payload_json
    )
    from observational.lead_events as events left join labels using (person_key)
    union all
    select concat_ws(
        '|', 'try', source_id, status, attempt_count, coalesce(fail_reason, '-'), (
            select string_agg(concat_ws(' ', attempt, cause, outcome, fail_reason), ', ' order by attempts.id)
            from ops.identity_matching_attempts as attempts where attempts.lead_id = jobs.source_id
        )
    )
    from ops.identity_matching_jobs as jobs
    union all
    select concat_ws(
        '|', 'recovered', recovered.lead_id, recovery_method, recovered.recovered_person_key is not null, (
            select string_agg(event, ', ' order by events.id)
            from ops.cabinet_lead_recovery_events as events where events.lead_id = recovered.lead_id
        )
    )
    from ops.cabinet_lead_recovery_audit as recovered
)

select {what} from facts
"""


def state_hash() -> str:
    """Return md5 over what was decided: persons (as sets of records), links, unmatched, origins, events, recoveries.

    Free of random keys, serial ids and the time of the run: equal decisions give equal hashes.
    """
    with connection.cursor() as cursor:
        cursor.execute(_STATE.format(what="""md5(coalesce(string_agg(fact, E'\\n' order by fact collate "C"), ''))"""))
        return str(cursor.fetchone()[0])


def state_facts() -> list[str]:
    """Return the lines ``state_hash`` is made of, to look at when two hashes differ."""
    with connection.cursor() as cursor:
        cursor.execute(_STATE.format(what="fact") + ' order by fact collate "C"')
        return [row[0] for row in cursor.fetchall()]
