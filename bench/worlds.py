"""The invented worlds that are measured: made as files, loaded by the product's own commands."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from attribution.settlement import open_period
from ct4site import jobs
from ct4site.models import JobType, RunStatus
from identity.demo import generate

FEEDS = ("module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations")
LATER = "later"


class Lead(NamedTuple):
    """What is true of a lead record, from the files of the generator."""

    person: str
    linkable: bool


class Truth(NamedTuple):
    """Who the leads and the driver accounts of a world really are."""

    leads: dict[tuple[str, str], Lead]
    drivers: dict[str, str]


class ScoutTruth(NamedTuple):
    """Which scout a human belongs to; of a human whom two claim within the window, nobody."""

    winner: int | None
    is_disputed: bool


def make(folder: Path, leads: int, seed: int) -> None:
    """Write the files of a world."""
    generate(leads=leads, seed=seed, directory=folder)


def truth(folder: Path) -> Truth:
    """Read the truth files of a world."""
    return Truth(
        {
            (row["source_table"], row["source_pk"]): Lead(row["person_id"], row["linkable"] == "true")
            for row in _read(folder / "truth_leads.csv")
        },
        {row["driver_id"]: row["person_id"] for row in _read(folder / "truth_drivers.csv")},
    )


def scout_truth(folder: Path) -> dict[str, ScoutTruth]:
    """Read who claims whom, by human."""
    return {
        row["person_id"]: ScoutTruth(int(row["winner"]) if row["winner"] else None, row["within_7_days"] == "true")
        for row in _read(folder / "truth_scouts.csv")
    }


def hold_back(folder: Path, count: int) -> None:
    """Move the last leads of every feed, ``count`` in all, and the drivers only they lead to, into a folder of their own.

    A larger world split in two: what comes later has keys of its own, as a day's new files do.
    """
    later = folder / LATER
    later.mkdir()
    leads = list(_read(folder / "truth_leads.csv"))
    share = count / len(leads)
    held: set[tuple[str, str]] = set()
    for feed in FEEDS:
        keys = [(feed, row["source_pk"]) for row in leads if row["source_table"] == feed]
        held.update(keys[len(keys) - round(len(keys) * share) :])
    early_drivers = {row["driver_id"] for row in leads if (row["source_table"], row["source_pk"]) not in held}
    late_drivers = {row["driver_id"] for row in leads if row["driver_id"]} - early_drivers
    for feed in FEEDS:
        late_keys = {key for table, key in held if table == feed}
        _split(folder / f"{feed}.csv", later / f"{feed}.csv", late_keys, ("external_id", "id"))
    _split(folder / "drivers.csv", later / "drivers.csv", late_drivers, ("driver_id",))


def load(folder: Path) -> None:
    """Load what matching reads, by the product's own job; every row must be accepted."""
    for table in ("drivers", *FEEDS):
        load_file(table, folder / f"{table}.csv")


def load_lost(folder: Path, leads: int) -> None:
    """Load ``leads`` cabinet leads and all drivers but those held back, to be matched by the retry alone."""
    load_file("drivers", folder / "drivers.csv")
    for path in (folder / LATER, folder):
        load_file(FEEDS[0], path / f"{FEEDS[0]}.csv")
    with connection.cursor() as cursor:
        cursor.execute(
            "delete from public.module_ct_cabinet_leads as leads using ("
            "select id, row_number() over (order by created_at desc, id) as place from public.module_ct_cabinet_leads"
            ") as placed where placed.id = leads.id and placed.place > %s",
            [leads],
        )
        cursor.execute("select count(*) from public.module_ct_cabinet_leads")
        if cursor.fetchone()[0] != leads:
            raise RuntimeError("the world has too few cabinet leads")


def add_orphans(count: int) -> None:
    """Add drivers without leads to a world whose leads are decided; half of them have evidence."""
    _enlarge("orphan_world.sql", orphans=count)


def add_registrations(count: int) -> None:
    """Add scouting registrations to a world until there are ``count``, and match them."""
    _enlarge("scout_world.sql", registrations=count)
    perform(JobType.IDENTITY_RUN)


def add_collection(accounts: int) -> None:
    """Add accounts to a world until there are ``accounts``, ten days of trips for each, and payments."""
    _enlarge("collection_world.sql", accounts=accounts)


def settle_scouts() -> None:
    """Settle what scouts are due by now, so that settlement has lines."""
    today = timezone.localdate()
    open_period(starts_on=date(2025, 1, 1), ends_on=today - timedelta(days=1), actor="bench")
    perform(JobType.SETTLEMENT_CLOSE)


def _enlarge(name: str, **sizes: int) -> None:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("set local statement_timeout = 0; set constraints all deferred")
        cursor.execute(Path(__file__).with_name(name).read_text("utf-8"), sizes)


def load_file(table: str, path: Path) -> None:
    """Load one file by the product's own job; every row must be accepted."""
    rejects = str(path.parent / "rejects")
    tally = perform(JobType.SOURCE_LOAD, table=table, file=str(path), rejects_dir=rejects)
    if tally["rejected"]:
        raise RuntimeError(f"{tally['rejected']} rows of {path.name} were rejected")


def perform(job_code: str, **parameters: Any) -> Mapping[str, Any]:
    """Perform a job in this process and return its tally; it must complete."""
    run = jobs.perform(job_code=job_code, actor="bench", parameters=parameters)
    if run.status != RunStatus.COMPLETED:
        raise RuntimeError(f"{job_code} failed: {run.error_message}")
    return dict(run.stats)


def settle() -> None:
    """Give every measurement the same statistics, as a database in use has them."""
    with connection.cursor() as cursor:
        cursor.execute("set statement_timeout = 0")
        cursor.execute("vacuum analyze")  # alone: it refuses to share a statement


def copy_file(table: str, path: Path) -> None:
    """Load a file by a bare COPY into the same table: what loading cannot be faster than."""
    with path.open("rb") as file:
        columns = file.readline().decode().strip()
        file.seek(0)
        with connection.cursor() as cursor:
            cursor.execute("set statement_timeout = 0")
            cursor.copy_expert(f"copy public.{table} ({columns}) from stdin with (format csv, header)", file)


def many_drivers(model: Path, path: Path, count: int) -> None:
    """Write a drivers file of ``count`` rows: those of another file over and over, renumbered."""
    with model.open(encoding="utf-8", newline="") as file:
        header, *rows = file.read().strip().split("\n")
    if not header.startswith("id,driver_id,"):
        raise ValueError("the first columns of a drivers file must be id and driver_id")
    rests = [row.split(",", 2)[2] for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{header}\n")
        file.writelines(f"{number},{number:032x},{rests[number % len(rests)]}\n" for number in range(1, count + 1))


def _read(path: Path) -> csv.DictReader[str]:
    return csv.DictReader(io.StringIO(path.read_text("utf-8")))


def _split(path: Path, later: Path, late_keys: Collection[str], key_columns: tuple[str, ...]) -> None:
    """Move the rows whose key (the first column that is filled) is among the late ones to another file."""
    rows = list(_read(path))
    for target, is_late in ((later, True), (path, False)):
        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                row
                for row in rows
                if (next((row[name] for name in key_columns if row.get(name)), "") in late_keys) == is_late
            )
