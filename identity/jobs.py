"""Batch jobs of identity: the drivers index refresh and the identity run.

The rules are the SQL files under sql/jobs; this module only gives them their order.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from psycopg2 import sql

from ct4site import sqlfiles
from ct4site.jobs import (
    JobError,
    RunContext,
    apply_plan,
    counted,
    finish_interrupted,
    job,
    merge_counts,
    plan_identifier,
    statement,
    store_plan,
)
from ct4site.models import JobType
from ct4site.turns import Turn
from identity import signals
from identity.sources import SourceFileRefused, load_source

# Names of feeds as people and the runbooks say them (domain.md 3.11), in the order they are read.
FEEDS = {
    "cabinet": ("module_ct_cabinet_leads", "stg_cabinet_leads"),
    "scouting": ("module_ct_scouting_daily", "stg_scouting_daily"),
    "migrations": ("module_ct_migrations", "stg_migrations"),
}
TALLY_NAMES = {
    "module_ct_cabinet_leads": "cabinet_leads",
    "module_ct_scouting_daily": "scouting_daily",
    "module_ct_migrations": "migrations",
}

# Writers of identity tables take turns: what one checked still holds when it writes. Chunks of the identity run share
# no person, so they share the turn.
WRITER_LOCK = 4_005_001
WRITERS = Turn(WRITER_LOCK)
take_writer_lock, share_writer_lock, hold_writer_lock = WRITERS.take, WRITERS.share, WRITERS.hold

NOTHING = sql.SQL("")

# Blocks of up to this many drivers are compared pair by pair, which is cheaper there.
SMALL_BLOCK = 16

# Columns the planner must know about; the wide JSON ones would only cost time.
INDEX_STATISTICS = {"canon.drivers_index": "driver_id, park_id, phone_norm, license_norm, plate_norm, record_digest"}
IDENTITY_STATISTICS = {
    "canon.identity_links": "person_key, source_table, source_pk, run_id",
    "canon.identity_registry": "person_key, primary_phone, primary_license",
    "canon.identity_unmatched": "source_table, source_pk, status, is_stale, reason_code",
    "canon.identity_origin": "person_key, origin_tag",
    "observational.lead_events": "source_table, source_pk, person_key, phone_norm, license_norm",
}


def refresh_statistics(context: RunContext, changed: int, tables: Mapping[str, str]) -> None:
    """Analyse the tables of which the run changed more than a tenth; autovacuum sees to the rest."""
    with context.transaction(), connection.cursor() as cursor:
        for table, columns in tables.items():
            cursor.execute("select reltuples * 0.1 < %s from pg_class where oid = %s::regclass", [changed, table])
            if changed and cursor.fetchone()[0]:
                cursor.execute(sql.SQL("analyze {} ({})").format(sql.SQL(table), sql.SQL(columns)))


# --- drivers index ----------------------------------------------------------------------------------

INDEX_COUNTS = ("inserted", "updated", "returned", "vanished", "rows_affected", "unmatched_to_retry")


@job(
    JobType.DRIVERS_INDEX_REFRESH,
    purpose=_("Brings the matching index up to date with the drivers feed; touches only what changed."),
)
def refresh_drivers_index(context: RunContext) -> None:
    """Refresh ``canon.drivers_index`` from ``public.drivers`` (domain.md 3.4).

    Inserts new accounts, updates those whose keys changed, flags those that vanished, and marks
    the open unmatched records that one of their old or new keys concerns.
    """
    finish_interrupted(context, _apply_index_rows, take_writer_lock)
    context.progress("plan", 0)
    with context.transaction():
        context.count(dict.fromkeys(INDEX_COUNTS, 0))
        store_plan(context, "drivers_index_plan", {"park": settings.PARK_ID_OBJETIVO})
    apply_plan(context, context.run, _apply_index_rows(context), take_writer_lock)
    refresh_statistics(context, context.tally["rows_affected"], INDEX_STATISTICS)


def _apply_index_rows(context: RunContext) -> Any:
    def chunk(table: str, first: int, last: int) -> Mapping[str, Any]:
        row = statement("drivers_index_apply", {"first": first, "last": last}, plan=plan_identifier(table))
        return dict(zip(INDEX_COUNTS, row, strict=True))

    return chunk


# --- source files -----------------------------------------------------------------------------------


@job(
    JobType.SOURCE_LOAD,
    purpose=_("Loads a CSV file into a source table."),
    parameters=("table", "file", "rejects_dir"),
    queueable=False,
)
def load_source_file(context: RunContext) -> None:
    """Load one CSV file (domain.md 2) in one transaction; see ``identity.sources.load_source``.

    Raises ``JobError`` when the file is refused as a whole: nothing is loaded then.
    """
    given = context.parameters
    path = Path(given["file"])
    try:
        with context.transaction():
            tally = load_source(
                table=given["table"],
                path=path,
                rejects_dir=Path(given["rejects_dir"]),
                actor=context.run.actor,
                progress=lambda rows: context.progress("read", rows),
            )
            context.tally.update(dataclasses.asdict(tally))
            context.progress("read", tally.read, tally.read)
    except SourceFileRefused as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        return
    raise JobError(gettext("%(file)s was not loaded. %(reason)s") % {"file": path.name, "reason": reason})


# --- identity run -----------------------------------------------------------------------------------


@job(
    JobType.IDENTITY_RUN,
    purpose=_("Links leads to persons and drivers, and says for every other lead why it did not link."),
    parameters=("source", "date_from", "date_to", "full", "limit"),
)
def run_identity(context: RunContext) -> None:
    """Match lead records to drivers and persons (domain.md 5 with its recommendations, Q1 to Q10, Q76).

    Parameters: ``source`` (list of cabinet, scouting, migrations; default all), ``date_from`` and
    ``date_to`` (ISO dates in Lima, inclusive), ``full`` (try all open unmatched records again),
    ``limit``. Incremental otherwise: new records, changed ones, and those a driver's change concerns.
    """
    finish_interrupted(context, _apply_identity_rows, share_writer_lock)
    context.progress("plan", 0)
    with context.transaction():
        context.count(_empty_tally(context))
        plan_identity(context.parameters)
        store_decisions(context)
    apply_plan(context, context.run, _apply_identity_rows(context), share_writer_lock)
    refresh_statistics(context, context.tally["events"], IDENTITY_STATISTICS)


def _empty_tally(context: RunContext) -> dict[str, Any]:
    wanted = context.parameters.get("source") or list(FEEDS)
    zero = dict.fromkeys(("processed", "matched", "unmatched", "skipped"), 0)
    names = [
        "persons_created", "persons_completed", "driver_links", "events", "origins", "origin_history",
        "unmatched_resolved", "drivers_released", "audit", "skipped_changed_since_plan",
    ]  # fmt: skip
    return {TALLY_NAMES[FEEDS[feed][0]]: dict(zero) for feed in wanted} | dict.fromkeys(names, 0)


def _rule_parameters() -> dict[str, Any]:
    return {
        "park": settings.PARK_ID_OBJETIVO,
        "threshold": settings.NAME_SIMILARITY_THRESHOLD,
        "gap": settings.NAME_SIMILARITY_GAP,
        # A second best matters only within the gap of a best over the threshold.
        "join_bound": settings.NAME_SIMILARITY_THRESHOLD - settings.NAME_SIMILARITY_GAP,
        "days_before": settings.R3_DAYS_BEFORE,
        "days_after": settings.R3_DAYS_AFTER,
        "r3c_enabled": settings.R3C_ENABLED,
        "contradiction_blocks": settings.NAME_CONTRADICTION_BLOCKS,
        "shared_limit": settings.SHARED_KEY_LIMIT,
        "source_limit": settings.PERSON_SOURCE_LIMIT,
        "small_block": SMALL_BLOCK,
    }


def plan_identity(parameters: Mapping[str, Any]) -> None:
    """Decide all candidates of a run into temporary tables; must run inside a transaction.

    Takes the job's parameters (see ``run_identity``). Leaves the tables that
    sql/jobs/identity_9_plan.sql turns into the run's plan.
    """
    collect_candidates(parameters)
    decide_candidates()


def store_decisions(
    context: RunContext, more_columns: sql.Composable = NOTHING, more_joins: sql.Composable = NOTHING
) -> None:
    """Turn the decided candidates into the run's plan; see sql/jobs/identity_9_plan.sql.

    Takes columns to keep beside it, and the joins they come from. Must run in the transaction that decided.
    """
    store_plan(context, "identity_9_plan", _rule_parameters(), more_columns=more_columns, more_joins=more_joins)


@functools.cache
def _rules_digest() -> str:
    files = [file.digest for file in sqlfiles.read() if file.kind == "function" or file.app == "identity"]
    jobs = (sqlfiles.default_root() / "jobs").glob("identity_*.sql")
    texts = [path.read_text(encoding="utf-8") for path in sorted(jobs)]
    return hashlib.sha256("\n".join([*files, *texts]).encode()).hexdigest()


def rules_version() -> str:
    """Return twelve characters that change with any rule of matching: its files, its settings (Q38)."""
    text = _rules_digest() + json.dumps(_rule_parameters(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def collect_candidates(parameters: Mapping[str, Any], within: str = "") -> None:
    """Fill the temporary table ``numbered`` with the records in question, normalised.

    Takes the job's parameters, and a condition on ``records`` that only some of them fulfil (SQL of ours).
    """
    conditions = within + "".join(
        f"    and records.event_date {comparison} %({name})s\n"
        for name, comparison in (("date_from", ">="), ("date_to", "<="))
        if parameters.get(name)
    )
    feed_statement = sqlfiles.load("identity_1_feed") + conditions
    feeds = [
        sql.SQL(feed_statement).format(
            view=sql.Identifier("canon", FEEDS[feed][1]), source_table=sql.Literal(FEEDS[feed][0])
        )
        for feed in parameters.get("source") or FEEDS
    ]
    limited = 'order by snapshot_at, source_table collate "C", source_pk collate "C" limit %(limit)s'
    statement(
        "identity_1_numbered",
        {"full": False, **parameters},
        feeds=sql.SQL("\nunion all\n").join(feeds),
        ordered_and_limited=sql.SQL(limited if parameters.get("limit") else "offset 0"),
    )


def decide_candidates() -> None:
    """Apply all rules to the table ``numbered``: results, persons, decisions, reasons, origins."""
    parameters = _rule_parameters()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            create temp table results (
                n bigint not null, rule text not null, outcome text not null, score integer, confidence text,
                driver_id text, key text, similarity double precision, second_similarity double precision,
                scope_drivers bigint
            ) on commit drop
            """
        )
    statement("identity_2_refused", {})
    statement("identity_2_keys", parameters)
    statement("identity_3_names", parameters)
    with connection.cursor() as cursor:
        cursor.execute("create index on results (n); analyze results")
    statement("identity_4_drivers", parameters)
    while _changes("identity_4_spread", parameters):
        pass
    statement("identity_4_found", parameters)
    statement("identity_5_scope", parameters)
    _decide(parameters, "not exists")
    while _decide(parameters, "exists"):
        pass
    statement("identity_6_cap", parameters)
    statement("identity_7_unmatched", parameters)
    statement("identity_8_origins", parameters)


def _decide(parameters: Mapping[str, Any], r3b_filter: str) -> int:
    """Run one round of combining; return how many records it linked."""
    with connection.cursor() as cursor:
        decide = sql.SQL(sqlfiles.load("identity_5_decide")).format(r3b_filter=sql.SQL(r3b_filter))
        cursor.execute(decide, parameters)
        decided = int(cursor.rowcount)
    _changes("identity_5_linked", parameters)
    return decided


def _changes(name: str, parameters: Mapping[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sqlfiles.load(name), parameters)
        return int(cursor.rowcount)


def apply_decisions(
    plan: sql.Composable, first: int, last: int, *, run_id: int, actor: str, reason: str = "", by_hand: bool = False
) -> dict[str, Any]:
    """Write what rows ``first < seq <= last`` of a plan decide about lead records; see sql/jobs/identity_apply.sql.

    Takes the plan (a table, or a query in parentheses, with the columns of sql/jobs/identity_9_plan.sql), and the run
    and actor to put it down to, with the ``reason`` a person gave. What somebody holds right now is left out, unless it
    is decided ``by_hand``. Returns the counts of what was written, with those of each feed under ``sources``. Must run
    inside a transaction that holds the writers' lock.
    """
    parameters = {
        "first": first, "last": last, "run_id": run_id, "actor": actor, "reason": reason, "by_hand": by_hand,
    }  # fmt: skip
    return counted("identity_apply", parameters, plan=plan)


def _apply_identity_rows(context: RunContext) -> Any:
    def chunk(table: str, first: int, last: int) -> Mapping[str, Any]:
        plan = plan_identifier(table)
        counts = apply_decisions(plan, first, last, run_id=context.run_id, actor=context.run.actor)
        for source_table, of_feed in counts.pop("sources").items():
            counts[TALLY_NAMES[source_table]] = of_feed
        persons = signals.persons_of(plan, first, last)
        merge_counts(counts, signals.announce_lead_links(persons, run_id=context.run_id, actor=context.run.actor))
        return counts

    return chunk
