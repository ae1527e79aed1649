"""Batch jobs of recovery: matching again, and putting right what recovered leads need to count (RB4, RB2, domain.md 7, 8).

The rules are the SQL files sql/jobs/recovery_*.sql and sql/recovery/*.sql; this module gives them their order. Both jobs
recover leads by one statement, sql/jobs/recovery_apply.sql.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from psycopg2 import sql

from ct4site.jobs import (
    Chunk,
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
from identity import signals
from identity.jobs import (
    IDENTITY_STATISTICS,
    apply_decisions,
    collect_candidates,
    decide_candidates,
    hold_writer_lock,
    refresh_statistics,
    rules_version,
    store_decisions,
)
from recovery.models import MAX_ATTEMPTS

DEFAULT_LIMIT = 10_000
"""Leads of one run of the impact job without a limit (RB2)."""

RETRY_COUNTS = ("processed", "matched", "failed", "pending", "skipped")
IMPACT_COUNTS = ("processed", "links_created", "links_updated", "origins_created", "origins_updated", "audit_created", "audit_updated", "skipped")  # fmt: skip
RETRY_MORE = (
    "settled", "recovered", "persons_created", "persons_completed", "driver_links", "events", "origins",
    "origin_history", "origins_created", "origins_updated", "audit_created", "audit_updated", "unmatched_resolved",
    "drivers_released", "skipped_changed_since_plan", "audit",
)  # fmt: skip
STATISTICS = {
    "ops.identity_matching_jobs": "source_type, source_id, status, fail_reason",
    "ops.cabinet_lead_recovery_audit": "lead_id, first_recovered_at",
}

FILTERS = {
    "date_from": "and standing.lead_date >= %(date_from)s",
    "date_to": "and standing.lead_date <= %(date_to)s",
    "gap_reason": "and standing.gap_reason = %(gap_reason)s",
    "risk_level": "and standing.lead_id in ("
    "select risks.lead_id from ops.v_identity_gap_analysis as risks where risks.risk_level = %(risk_level)s)",
}


@job(
    JobType.GAP_RECOVERY,
    purpose=gettext_lazy("Matches lost leads again when something about them changed, and records what came back."),
    parameters=("limit", "date_from", "date_to", "gap_reason", "risk_level"),
)
def retry_identity_matching(context: RunContext) -> None:
    """Match unresolved cabinet leads again (runbook RB4, domain.md 7.5 and 7.6; Q34, Q38, Q40, Q43).

    Parameters: ``limit`` (at most this many leads, oldest first, what is left out not counted; those that lack only the
    origin go along with a lead of their person, whatever limit and filters say), ``date_from`` and ``date_to`` (ISO
    dates of the lead in Lima, inclusive), ``gap_reason``, ``risk_level``. A lead is tried when it never was, or when a
    driver with one of its keys, the lead, or the rules changed since.
    """
    started = time.monotonic()
    with hold_writer_lock():
        finish_interrupted(context, _retry_chunks)
    context.progress("plan", 0)
    with context.transaction():
        context.count(dict.fromkeys((*RETRY_COUNTS, *RETRY_MORE), 0))
        context.tally.setdefault("errors", [])
        _plan_retry(context)

    def told(number: int, total: int, counts: Mapping[str, Any]) -> None:
        leads = sum(counts[name] for name in (*RETRY_COUNTS[1:4], "settled", "skipped_changed_since_plan"))
        context.note(
            _("Processing batch %(number)s/%(total)s (%(leads)s leads)")
            % {"number": number, "total": total, "leads": leads}
        )
        context.note(
            _(
                "Batch %(number)s done: matched=%(matched)s, failed=%(failed)s, pending=%(pending)s,"
                " skipped=%(skipped_changed_since_plan)s"
            )
            % {"number": number, **counts}
        )

    with hold_writer_lock():
        apply_plan(context, context.run, _retry_chunks(context), told=told)
        refresh_statistics(context, context.tally["events"], IDENTITY_STATISTICS)
        refresh_statistics(context, context.tally["matched"] + context.tally["pending"], STATISTICS)
        _end(context, RETRY_COUNTS[1:], started)


def _plan_retry(context: RunContext) -> None:
    given = context.parameters
    conditions = "\n    ".join(text for name, text in FILTERS.items() if given.get(name) is not None)
    limit = given.get("limit")
    skipped, reads_all = statement(
        "recovery_scope",
        given | {"rules": rules_version()},
        filters=sql.SQL(conditions),
        limited=sql.SQL("limit {}").format(sql.Literal(limit)) if limit else sql.SQL("offset 0"),
    )
    context.count({"skipped": skipped})
    # A question put to a temporary table keeps the normalising of names to one process: where most leads are taken up,
    # all are read, and the others left out afterwards. Few are found by the numbers of their rows.
    few = (
        "    and records.row_id = any(array("
        "select unnest(array[scope.first_row, scope.last_row]) from recovery_scope as scope where scope.kind = 'match'))\n"
    )
    collect_candidates({"source": ["cabinet"], "full": True}, "" if reads_all else few)
    if reads_all:
        with connection.cursor() as cursor:
            cursor.execute(
                "delete from numbered where not exists ("
                "select 1 from recovery_scope as scope where scope.kind = 'match' and scope.lead_id = numbered.source_pk)"
            )
    decide_candidates()
    statement("recovery_companions", {})
    store_decisions(
        context,
        sql.SQL(", 'match'::text as kind, scope.cause, companions.lead_ids as companions"),
        sql.SQL(
            "left join recovery_scope as scope on scope.lead_id = numbered.source_pk"
            " left join recovery_companions as companions"
            " on companions.person_key = placed.person_key and placed.is_first_of_person"
        ),
    )
    (total,) = statement("recovery_retry_rest", {}, plan=plan_identifier(context.plan_table))
    context.note(
        _("%(count)s unresolved leads found to process (batch_size=%(size)s)")
        % {"count": total, "size": settings.CHUNK_SIZE}
    )
    context.progress("apply", 0, total)


def _retry_chunks(context: RunContext) -> Chunk:
    def chunk(table: str, first: int, last: int) -> Mapping[str, Any]:
        plan = plan_identifier(table)
        run_id, actor = context.run_id, context.run.actor
        matched = sql.SQL("(select * from {} where kind = 'match')").format(plan)
        counts = apply_decisions(matched, first, last, run_id=run_id, actor=actor)
        for name in ("sources", "rules", "reasons", "skipped_changed_since_plan"):
            counts.pop(name)
        merge_counts(counts, _recover(context, plan, first, last, is_retry=True))
        persons = signals.persons_of(matched, first, last)
        merge_counts(counts, signals.announce_lead_links(persons, run_id=run_id, actor=actor))
        return counts

    return chunk


def _recover(context: RunContext, plan: sql.Composable, first: int, last: int, *, is_retry: bool) -> dict[str, Any]:
    """Recover the leads of rows ``first < seq <= last`` of a plan; the one way in which both jobs do (Q43)."""
    parameters = {
        "first": first,
        "last": last,
        "run_id": context.run_id,
        "actor": context.run.actor,
        "is_retry": is_retry,
        "max_attempts": MAX_ATTEMPTS,
        "rules": rules_version(),
    }
    return counted("recovery_apply", parameters, plan=plan)


@job(
    JobType.RECOVERY_IMPACT,
    purpose=gettext_lazy("Sets the missing origin of leads that have a person, and records which leads came back."),
    parameters=("limit",),
)
def cabinet_recovery_impact(context: RunContext) -> None:
    """Put right and record leads that have a person by now (runbook RB2, domain.md 8.3; Q34, Q43 to Q45, Q48).

    Parameter: ``limit`` (at most this many leads, newest first, and the others of their persons; 10 000 without).
    Writes origins and the record of the recovery only: no person, no claim, no payment. A second run changes nothing.
    """
    started = time.monotonic()
    with hold_writer_lock():
        finish_interrupted(context, _impact_chunks)
    context.progress("plan", 0)
    with context.transaction():
        context.count(dict.fromkeys((*IMPACT_COUNTS, "settled", "skipped_changed_since_plan", "audit"), 0))
        context.tally.setdefault("errors", [])
        limit = sql.Literal(context.parameters.get("limit") or DEFAULT_LIMIT)
        store_plan(context, "recovery_impact_plan", {}, limited=sql.SQL("limit {}").format(limit))
        (skipped,) = statement("recovery_impact_skipped", {})
        context.count({"skipped": skipped})
    with hold_writer_lock():
        apply_plan(context, context.run, _impact_chunks(context))
        _end(context, (), started)


def _impact_chunks(context: RunContext) -> Chunk:
    def chunk(table: str, first: int, last: int) -> Mapping[str, Any]:
        counts = _recover(context, plan_identifier(table), first, last, is_retry=False)
        counts["processed"] = counts.pop("recovered")
        for name in ("matched", "failed", "pending"):
            counts.pop(name)
        return counts

    return chunk


def _end(context: RunContext, added_up: tuple[str, ...], started: float) -> None:
    """Store the figures of the day, and what both runbooks print at the end; nobody may link meanwhile."""
    with context.transaction():
        seconds = time.monotonic() - started
        if added_up:
            context.tally["processed"] = sum(context.tally[name] for name in added_up) + len(context.tally["errors"])
        context.tally["gaps"] = counted("recovery_day", {})
        context.tally["elapsed_seconds"] = round(seconds, 1)
        figures = ", ".join(f"{name}={context.tally[name]}" for name in ("processed", *added_up))
        context.note(_("Job done in %(seconds)ss: %(figures)s") % {"seconds": round(seconds, 1), "figures": figures})
