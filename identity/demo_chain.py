"""Identity's part of the demo: make the files, load them, refresh the index, match, compare with the truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from django.db import connection, transaction
from django.db.models import Count
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from psycopg2 import sql

from ct4site import demo
from ct4site.demo import ACTOR, Demo, DemoError, Line
from ct4site.models import JobType, Run, RunStatus
from identity.demo import generate
from identity.jobs import TALLY_NAMES
from identity.models import Link, Person, ReasonCode, SourceTable, Unmatched, UnmatchedStatus
from identity.models.tables import LEAD_TABLES
from identity.sources import SOURCE_TABLES, SourceFileRefused, load_source


@demo.step(100, gettext_lazy("Make the source files of made-up people"))
def make_files(context: Demo) -> Iterable[Line]:
    """Write the data set into the demo's folder, unless the database holds data that is not the demo's."""
    refuse_foreign_rows()
    try:
        rows = generate(leads=context.leads, seed=context.seed, directory=context.folder)
    except (ValueError, OSError) as error:
        raise DemoError(
            _("The demo files cannot be written to %(folder)s: %(reason)s.")
            % {"folder": context.folder, "reason": error}
        ) from error
    return [(_("folder"), context.folder), (_("lead rows"), sum(rows[table] for table in LEAD_TABLES))]


@demo.step(110, gettext_lazy("Load all seven source tables"))
def load_files(context: Demo) -> Iterable[Line]:
    """Load the files; each table and the note of how many rows it then holds commit together."""
    run = Run.objects.create(
        job_type=JobType.SOURCE_LOAD, actor=ACTOR, attempt=1, parameters={"leads": context.leads, "seed": context.seed},
        status=RunStatus.FAILED, completed_at=Now(), error_message=_("Interrupted."),
        stats={"rows": dict(counts()), "changed": {}},
    )  # fmt: skip
    lines = []
    for table in SOURCE_TABLES:
        try:
            with transaction.atomic():
                tally = load_source(
                    table=table,
                    path=context.folder / f"{table}.csv",
                    rejects_dir=context.folder / "rejects",
                    actor=ACTOR,
                )
                run.stats["rows"][table] = _count(table)
                run.stats["changed"][table] = tally.inserted + tally.updated
                run.save(update_fields=["stats"])
        except SourceFileRefused as error:
            raise DemoError(_("%(table)s was not loaded. %(reason)s") % {"table": table, "reason": error}) from error
        lines.append(
            (
                table,
                _(
                    "%(read)d read: %(inserted)d new, %(updated)d changed, %(unchanged)d as before, %(rejected)d rejected"
                )
                % {
                    "read": tally.read,
                    "inserted": tally.inserted,
                    "updated": tally.updated,
                    "unchanged": tally.unchanged + tally.superseded,
                    "rejected": tally.rejected,
                },
            )
        )
    Run.objects.filter(pk=run.pk).update(status=RunStatus.COMPLETED, completed_at=Now(), error_message=None)
    return lines


@demo.step(115, gettext_lazy("Load the history of the predecessor"))
def load_history(context: Demo) -> Iterable[Line]:
    """Load persons and links as the predecessor left them, drivers without leads among them (Q78)."""
    run = context.run_job(
        JobType.LEGACY_LOAD,
        persons=str(context.folder / "legacy_persons.csv"),
        links=str(context.folder / "legacy_links.csv"),
        rejects_dir=str(context.folder / "rejects"),
    )
    words = {"persons": _("persons"), "links": _("links")}
    return [
        (
            words[name],
            _("%(read)d read: %(inserted)d new, %(rejected)d rejected")
            % {count: run.stats[name][count] for count in ("read", "inserted", "rejected")},
        )
        for name in words
    ]


@demo.step(120, gettext_lazy("Bring the drivers index up to date"))
def refresh_index(context: Demo) -> Iterable[Line]:
    """Refresh the index the matching looks into."""
    run = context.run_job(JobType.DRIVERS_INDEX_REFRESH)
    return [(_("accounts added, changed or vanished"), run.stats["rows_affected"])]


@demo.step(130, gettext_lazy("Recognise people"))
def recognise(context: Demo) -> Iterable[Line]:
    """Match all new records; say who was recognised by which rule, and who was not and why."""
    run = context.run_job(JobType.IDENTITY_RUN)
    decided = sum(run.stats[TALLY_NAMES[table]]["processed"] for table in LEAD_TABLES)
    lines: list[Line] = [
        (_("records decided in this run"), decided),
        (_("persons"), Person.objects.count()),
        (_("Linked lead records, by rule"), None),
    ]
    linked = Link.objects.filter(source_table__in=LEAD_TABLES).values("match_rule").annotate(n=Count("pk"))
    lines += [(row["match_rule"], row["n"]) for row in linked.order_by("match_rule")]
    lines.append((_("Open lead records, by reason"), None))
    is_open = Unmatched.objects.filter(status=UnmatchedStatus.OPEN).values("reason_code").annotate(n=Count("pk"))
    lines += [(str(ReasonCode(row["reason_code"]).label), row["n"]) for row in is_open.order_by("-n", "reason_code")]
    return lines


@demo.step(140, gettext_lazy("Compare with the truth"))
def compare_with_truth(context: Demo) -> Iterable[Line]:
    """Compare the links with the files that say who is who (they are never loaded)."""
    if _several_sets():
        return [(_("not done: the database holds more than one demo data set"), None)]
    lines: list[Line] = []
    for table, linked, right, linkable, found in quality(context.folder):
        lines.append(
            (
                str(SourceTable(table).label),
                _("%(precision)s of the links are right, %(recall)s of the possible ones were found")
                % {"precision": _percent(right, linked), "recall": _percent(found, linkable)},
            )
        )
    return lines


def refuse_foreign_rows() -> None:
    """Raise ``DemoError`` when a source table holds rows that no demo loaded: real data stays alone."""
    last = Run.objects.filter(actor=ACTOR, job_type=JobType.SOURCE_LOAD).order_by("-pk").first()
    known = last.stats["rows"] if last else {}
    foreign = [table for table, rows in counts() if rows != known.get(table, 0)]
    if foreign:
        raise DemoError(
            _("The database holds rows that are not the demo's (%(tables)s). The demo needs an empty database of its own: "
              "set CT4_HOME to a new folder, and leave DATABASE_URL empty.")
            % {"tables": ", ".join(foreign)}
        )  # fmt: skip


def counts() -> Iterator[tuple[str, int]]:
    """Yield each source table and how many rows it holds."""
    for table in SOURCE_TABLES:
        yield table, _count(table)


def _count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("select count(*) from {}").format(sql.Identifier("public", table)))
        return int(cursor.fetchone()[0])


def _several_sets() -> bool:
    loads = Run.objects.filter(actor=ACTOR, job_type=JobType.SOURCE_LOAD)
    return loads.values("parameters").distinct().count() > 1


_QUALITY = """
with humans as (
    -- distinct: a person with two accounts of one human is still one person
    select distinct links.person_key, drivers.person_id
    from canon.identity_links as links
    inner join truth_drivers as drivers on drivers.driver_id = links.source_pk
    where links.source_table = 'drivers'
    union all
    -- A person without accounts is the one human whose records it holds.
    select links.person_key, min(truth.person_id)
    from canon.identity_links as links
    inner join truth_leads as truth on truth.source_table = links.source_table and truth.source_pk = links.source_pk
    where not exists (
            select 1 from canon.identity_links as accounts
            where accounts.person_key = links.person_key and accounts.source_table = 'drivers'
        )
    group by links.person_key
    having min(truth.person_id) = max(truth.person_id)
),

judged as (
    select
        truth.source_table,
        truth.linkable,
        links.person_key is not null as is_linked,
        humans.person_key is not null as is_right
    from truth_leads as truth
    left join canon.identity_links as links
        on links.source_table = truth.source_table and links.source_pk = truth.source_pk
    left join humans on humans.person_key = links.person_key and humans.person_id = truth.person_id
)

select
    source_table,
    count(*) filter (where is_linked),
    count(*) filter (where is_linked and is_right),
    count(*) filter (where linkable),
    count(*) filter (where linkable and is_right)
from judged
group by source_table
order by source_table collate "C"
"""


def quality(folder: Path) -> list[tuple[str, int, int, int, int]]:
    """Return per lead table: linked, of those right, linkable, of those found.

    Takes the folder of the truth files. A link is right when the person it leads to has an account of the true human, or has none and holds records of that
    human only.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "set local statement_timeout = 0;"
            " create temp table truth_leads (source_table text, source_pk text, person_id text, driver_id text,"
            " linkable boolean, scenario text) on commit drop;"
            " create temp table truth_drivers (driver_id text, person_id text) on commit drop"
        )
        for table in ("truth_leads", "truth_drivers"):
            with (folder / f"{table}.csv").open(encoding="utf-8", newline="") as file:
                cursor.copy_expert(
                    sql.SQL("copy {} from stdin (format csv, header)").format(sql.Identifier("pg_temp", table)), file
                )
        cursor.execute("analyze truth_leads; analyze truth_drivers")
        cursor.execute(_QUALITY)
        return list(cursor.fetchall())


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"


demo.look_at(100, gettext_lazy("Persons, each with all links, events and the history of its origin"), Person)
demo.look_at(110, gettext_lazy("Links and their evidence"), Link)
demo.look_at(120, gettext_lazy("Records that did not link, with reason and candidates"), Unmatched)
demo.look_at(190, gettext_lazy("Runs: what was done, when, by whom; started and rolled back from here"), Run)
