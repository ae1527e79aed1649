"""The three backfills of attribution: links of scouting rows, scouts of the ledger, scouts of events (domain.md 6.11).

Each is a step that plans and applies inside a run, so that it can be a run of its own or a part of a longer one. The
rules are the SQL files sql/jobs/backfill_*.sql; this module gives them their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from psycopg2 import sql

from attribution.jobs import STATISTICS as LEDGER_STATISTICS
from attribution.jobs import apply_ledger, hold_ledger_lock, take_ledger_lock
from attribution.models import LeadScoutMapping
from ct4site import sqlfiles
from ct4site.jobs import (
    Chunk,
    RunContext,
    applied_by,
    apply_plan,
    counted,
    job,
    merge_counts,
    plan_identifier,
    statement,
    store_plan,
    unfinished_plan,
)
from ct4site.models import JobType, Run
from identity import signals
from identity.jobs import (
    FEEDS,
    IDENTITY_STATISTICS,
    NOTHING,
    apply_decisions,
    decide_candidates,
    hold_writer_lock,
    refresh_statistics,
    take_writer_lock,
)

SINGLE_SCOUT = "BACKFILL_SINGLE_SCOUT_FROM_EVENTS"
LEAD_SCOUT_MAPPING = "BACKFILL_LEAD_SCOUT_MAPPING"

LINKS_STATS = (
    "total", "created", "created_with_driver", "created_new_person", "skipped", "ambiguous", "not_found", "errors",
    "persons_created", "persons_completed", "driver_links", "events", "origins", "origin_history",
    "unmatched_written", "unmatched_resolved", "drivers_released", "backfill_audit",
)  # fmt: skip
LEDGER_STATS = ("total", "updated", "inserted", "skipped", "backfill_audit")
EVENTS_STATS = ("total", "updated", "skipped", "backfill_audit")

# What identity_apply counts and the tally of the links backfill tells as well.
_OF_IDENTITY = frozenset(LINKS_STATS) | {"audit"}


# --- steps ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """How the plan of a step is applied: its chunks, and what keeps other writers away from it.

    In a run with other steps beside it, its counts stand under its name, if it ``is_told_apart``.
    """

    name: str
    job_code: JobType
    chunks: Callable[[RunContext], Chunk]
    lock: Callable[[], None] = lambda: None
    hold: Callable[[], AbstractContextManager[None]] = nullcontext
    is_told_apart: bool = True


def _count(context: RunContext, step: _Step, counts: Mapping[str, Any]) -> dict[str, Any]:
    """Counts as the run tells them."""
    if context.run.job_type == step.job_code or not step.is_told_apart:
        return dict(counts)
    return {step.name: {name: value for name, value in counts.items() if name != "audit"}} | {
        "audit": counts.get("audit", 0)
    }


@contextmanager
def _planning(context: RunContext, step: _Step, names: tuple[str, ...]) -> Iterator[None]:
    """Plan a step: finish what an earlier attempt left, then open the transaction that stores the plan."""
    finish_steps(context)
    context.progress("plan", 0)
    with context.transaction():
        context.count(_count(context, step, dict.fromkeys((*names, "audit"), 0)))
        yield
        with connection.cursor() as cursor:
            # Who finishes the plan after a crash must know what its rows mean.
            cursor.execute(
                sql.SQL("comment on table {} is {}").format(plan_identifier(context.plan_table), sql.Literal(step.name))
            )


def finish_steps(context: RunContext) -> None:
    """Finish the plan that this run, or an earlier one of its job, left half applied, whichever step made it.

    A run with several steps may die in any of them; the comment of the plan's table says in which.
    """
    while (owner := unfinished_plan(context)) is not None:
        with connection.cursor() as cursor:
            cursor.execute("select obj_description(to_regclass(%s), 'pg_class')", [f"ops.plan_{owner.pk}"])
            step = STEPS.get(cursor.fetchone()[0] or LEDGER_DECISION.name, LEDGER_DECISION)
        _apply(context, step, owner)


def _apply(context: RunContext, step: _Step, owner: Run) -> None:
    apply = step.chunks(context)

    def chunk(table: str, first: int, last: int) -> Mapping[str, Any]:
        return _count(context, step, apply(table, first, last))

    with step.hold():
        apply_plan(context, owner, chunk, step.lock)


def _limited(context: RunContext, order: str) -> sql.Composable:
    limit = context.parameters.get("limit")
    return sql.SQL("order by {} limit {}").format(sql.SQL(order), sql.Literal(limit)) if limit else sql.SQL("")


# --- (1) links of scouting rows ---------------------------------------------------------------------


@job(
    JobType.LINKS_BACKFILL,
    purpose=_("Links scouting registrations with a scout to persons; what is not certain stays open."),
    parameters=("limit",),
)
def backfill_identity_links_scouting_daily(context: RunContext) -> None:
    """Link scouting rows that have a scout and no link (domain.md 6.11 (1), Q1 to Q3, Q30, Q31, Q76, Q79).

    Parameter: ``limit`` (at most this many rows, those never told first, of them the newest).
    """
    links_step(context)


def links_step(context: RunContext) -> None:
    """Plan and apply the links backfill inside a run.

    Drivers are found by the rules of the identity run itself; only what these leave open is decided here: a person
    known by the same key, a new person for a key of its own, or nobody. Running it again changes nothing.
    """
    with _planning(context, LINKS, LINKS_STATS):
        take_writer_lock()
        _plan_links(context)
    _apply(context, LINKS, context.run)
    created = context.tally["created"] if "created" in context.tally else context.tally[LINKS.name]["created"]
    refresh_statistics(context, created, IDENTITY_STATISTICS)


def _plan_links(context: RunContext) -> None:
    rules = {
        "shared_limit": settings.SHARED_KEY_LIMIT,
        "source_limit": settings.PERSON_SOURCE_LIMIT,
        "contradiction_blocks": settings.NAME_CONTRADICTION_BLOCKS,
    }
    feed = sql.SQL(sqlfiles.load("backfill_links_1_feed")).format(source_table=sql.Literal("module_ct_scouting_daily"))
    newest = _limited(
        context, 'is_fresh desc, snapshot_at desc nulls last, length(source_pk) desc, source_pk collate "C" desc'
    )
    statement("identity_1_numbered", {}, feeds=feed, ordered_and_limited=newest)
    decide_candidates()
    statement(
        "identity_9_plan",
        {"park": settings.PARK_ID_OBJETIVO},
        plan=sql.Identifier("pg_temp", "matched"),
        more_columns=NOTHING,
        more_joins=NOTHING,
    )
    with connection.cursor() as cursor:
        cursor.execute("create index on matched (source_pk); analyze matched (source_pk, person_key)")
    statement("backfill_links_2_holders", rules)
    statement("backfill_links_3_pairs", rules)
    spread = sqlfiles.load("backfill_links_4_spread")
    with connection.cursor() as cursor:
        cursor.execute(spread)
        while cursor.rowcount:
            cursor.execute(spread)
    statement("backfill_links_5_rulings", rules)
    statement("identity_8_origins", {})
    store_plan(context, "backfill_links_6_plan", {})
    with connection.cursor() as cursor:
        # A dry run goes on in this transaction; the next step may make tables of these names.
        cursor.execute("discard temp")


def _links_chunks(context: RunContext) -> Chunk:
    tell = applied_by("backfill_links_told")(context)

    def chunk(table: str, first: int, last: int) -> Mapping[str, Any]:
        run_id, actor = context.run_id, context.run.actor
        plan = plan_identifier(table)
        records = sql.SQL("(select * from {} where writes_record)").format(plan)
        written = apply_decisions(records, first, last, run_id=run_id, actor=actor)
        counts = {name: value for name, value in written.items() if name in _OF_IDENTITY}
        counts["unmatched_written"] = sum(feed["unmatched"] for feed in written["sources"].values())
        merge_counts(counts, tell(table, first, last))
        persons = signals.persons_of(plan, first, last)
        merge_counts(counts, signals.announce_lead_links(persons, run_id=run_id, actor=actor))
        return counts

    return chunk


# --- (2) scouts of the ledger -----------------------------------------------------------------------


@job(
    JobType.LEDGER_BACKFILL,
    purpose=_("Gives persons the one scout whom their events name and the ledger lacks."),
    parameters=("limit",),
)
def backfill_lead_ledger(context: RunContext) -> None:
    """Fill the ledger's scout from the events (domain.md 6.11 (2), Q15, Q16).

    Parameter: ``limit`` (at most this many persons). Best after the ledger's own decision: it takes only what remains.
    """
    ledger_step(context)


def ledger_step(context: RunContext) -> None:
    """Plan and apply the ledger backfill inside a run: persons of category D with one distinct scout in their events.

    Never a conflict, never what a person decided. Running it again changes nothing.
    """
    with _planning(context, LEDGER, LEDGER_STATS):
        store_plan(context, "backfill_ledger_plan", {}, limited=_limited(context, "events.person_key"))
    _apply(context, LEDGER, context.run)
    counts = context.tally.get(LEDGER.name, context.tally)
    refresh_statistics(context, counts["updated"] + counts["inserted"], LEDGER_STATISTICS)


# --- (3) scouts of events ---------------------------------------------------------------------------


@job(
    JobType.EVENTS_BACKFILL,
    purpose=_("Gives cabinet leads the scout that a loaded mapping names."),
    parameters=("limit",),
)
def backfill_lead_events(context: RunContext) -> None:
    """Fill the scout of cabinet events from ``ops.lead_scout_mapping`` (domain.md 6.11 (3), Q28).

    Parameter: ``limit`` (at most this many events). Without any mapping it says so and has nothing to do.
    """
    events_step(context)


def events_step(context: RunContext) -> None:
    """Plan and apply the events backfill inside a run. Running it again changes nothing."""
    with _planning(context, EVENTS, EVENTS_STATS):
        if not LeadScoutMapping.objects.exists():
            context.note(gettext("No mapping of leads to scouts is available; no event can get a scout from one."))
        store_plan(context, "backfill_events_plan", {}, limited=_limited(context, "events.event_id"))
    _apply(context, EVENTS, context.run)


LINKS = _Step("links_backfill", JobType.LINKS_BACKFILL, _links_chunks, hold=hold_writer_lock)
LEDGER = _Step(
    "ledger_backfill", JobType.LEDGER_BACKFILL, applied_by("backfill_ledger_apply", method=SINGLE_SCOUT),
    lock=take_ledger_lock,
)  # fmt: skip
EVENTS = _Step(
    "events_backfill", JobType.EVENTS_BACKFILL, applied_by("backfill_events_apply", method=LEAD_SCOUT_MAPPING),
    lock=take_writer_lock,
)  # fmt: skip
# The ledger's own decision says nothing on its plan.
LEDGER_DECISION = _Step("ledger", JobType.PROCESS_LEDGER, apply_ledger, hold=hold_ledger_lock, is_told_apart=False)
STEPS = {step.name: step for step in (LINKS, LEDGER, EVENTS, LEDGER_DECISION)}


# --- lead events ------------------------------------------------------------------------------------


@job(
    JobType.POPULATE_EVENTS,
    purpose=_("Gives every lead its event, and every event the person of its lead's link."),
    parameters=("source", "date_from", "date_to", "limit"),
)
def populate_events(context: RunContext) -> None:
    """Give lead rows their events; let the events' persons follow the links (domain.md 6.1).

    Parameters: ``source`` (list of cabinet, scouting, migrations; default all), ``date_from`` and ``date_to`` (ISO dates,
    inclusive), ``limit`` (new events). Each feed is one transaction that needs no plan: a run that dies begins again
    where events are missing. Running it again changes nothing.
    """
    given = context.parameters
    sources = given.get("source") or list(FEEDS)
    with context.transaction():
        context.count({feed: dict.fromkeys(("total", "inserted", "errors"), 0) for feed in sources})
        context.count({"persons_updated": 0, "audit": 0})
    dates = {name: given[name] for name in ("date_from", "date_to") if given.get(name)}
    left = given.get("limit")
    for done, feed in enumerate(sources, 1):
        with context.transaction():
            take_writer_lock()
            counts = _populate(feed, dates, left)
            context.count({feed: counts})
            context.progress("apply", done, len(sources) + 1)
        left = left and left - counts["total"]
        if left == 0:
            break
    with context.transaction():
        take_writer_lock()
        narrowed = sql.SQL("and events.source_table in ({})").format(
            sql.SQL(", ").join(sql.Literal(FEEDS[feed][0]) for feed in sources)
        ) + _between("events", dates)
        context.count({"persons_updated": statement("backfill_populate_persons", {}, narrowed=narrowed)[0]})
        context.progress("apply", len(sources) + 1, len(sources) + 1)
    inserted = sum(context.tally[feed]["inserted"] for feed in sources)
    refresh_statistics(context, inserted + context.tally["persons_updated"], IDENTITY_STATISTICS)


def _populate(feed: str, dates: Mapping[str, str], limit: int | None) -> dict[str, Any]:
    source_table, view = FEEDS[feed]
    return counted(
        "backfill_populate_feed",
        {},
        view=sql.Identifier("canon", view),
        source_table=sql.Literal(source_table),
        dates=_between("records", dates),
        limited=sql.SQL("limit {}").format(sql.Literal(limit)) if limit else sql.SQL(""),
    )


def _between(table: str, dates: Mapping[str, str]) -> sql.Composable:
    """Conditions on the date of a table's rows, one per given limit."""
    signs = {"date_from": ">=", "date_to": "<="}
    return sql.SQL("").join(
        sql.SQL(" and {} {} {}").format(sql.Identifier(table, "event_date"), sql.SQL(signs[name]), sql.Literal(value))
        for name, value in dates.items()
    )
