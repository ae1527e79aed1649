"""The batch job of orphans: repair or quarantine drivers whose person has no lead (runbook RB3, domain.md 9).

The rules are the SQL files sql/jobs/orphans_*.sql; this module gives them their order and writes the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext_lazy as _
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
from ct4site.models import JobType, Run
from ct4site.reports import report_folder, write_reports
from identity import signals
from identity.jobs import apply_decisions, hold_writer_lock, take_writer_lock
from orphans.releasing import release_drivers

FIX, REPROCESS = "fix_new_orphans", "reprocess_quarantined"
REPORT_PREFIX = {FIX: "orphans_report", REPROCESS: "reprocess_quarantined"}

STATS = (
    "processed", "with_events", "without_events", "links_created", "links_skipped", "quarantined",
    "resolved_relinked", "errors",
)  # fmt: skip
OTHER_COUNTS = (
    "unchanged", "skipped_in_review", "drivers_released", "events", "origins", "origin_history", "unmatched_resolved",
    "persons_completed", "audit",
)  # fmt: skip

# Which orphans a run decides (domain.md 9.1, Q53): resolved ones that are orphans again are detected again; what a
# person put into quarantine, or purged, is left to people (P7).
SCOPES = {
    FIX: "orphans.status is null or orphans.status not in ('quarantined', 'purged')",
    REPROCESS: "orphans.status = 'quarantined' and orphans.detected_reason <> 'manual_detection'",
}

COLUMNS = (
    "driver_id", "person_key", "creation_rule", "lead_events_count", "action", "status", "detected_driver_id_path",
    "event_source_table", "links_created", "error",
)  # fmt: skip
REPROCESS_COLUMNS = (
    "previous_status", "matched_event_count", "match_strategy", "matched_source_table", "matched_event_sample_ids",
    "normalized_event_license", "normalized_event_phone",
)  # fmt: skip


@job(
    JobType.ORPHANS_FIX,
    purpose=_("Finds drivers whose person has no lead; links the lead where there is evidence, else sets them aside."),
    parameters=("limit", "output_dir", "reprocess_quarantined"),
)
def fix_drivers_without_leads(context: RunContext) -> None:
    """Relink or quarantine every driver without a lead (runbook RB3, domain.md 9.1 to 9.6, Q49 to Q53, Q56).

    Parameters: ``limit`` (at most this many drivers, oldest link first), ``output_dir`` (below the reports root),
    ``reprocess_quarantined`` (decide those in quarantine again, by the account or by exact keys only). Writes the
    report's files when all is applied. Running it again finds nothing to do.
    """
    report_folder(context.parameters.get("output_dir"))

    def finish(owner: Run) -> None:
        _write_report(context, owner)

    with hold_writer_lock():
        finish_interrupted(context, _apply_rows, finish=finish)
    context.progress("plan", 0)
    with context.transaction():
        context.count(dict.fromkeys((*STATS, *OTHER_COUNTS), 0))
        take_writer_lock()
        # Whoever got a lead by a way that tells nobody.
        context.count(
            release_drivers(
                persons=sql.SQL(
                    "select links.person_key from canon.driver_orphan_quarantine as quarantine"
                    " inner join canon.identity_links as links on links.source_pk = quarantine.driver_id"
                    " where links.source_table = 'drivers' and quarantine.status = 'quarantined'"
                ),
                run_id=context.run_id,
                actor=context.run.actor,
            )
        )
        plan_orphans(_mode(context.run), context.parameters.get("limit"))
        store_plan(context, "orphans_4_plan", {"lead_system_start": settings.LEAD_SYSTEM_START_DATE})
    with hold_writer_lock():
        apply_plan(context, context.run, _apply_rows(context), finish=finish)


def plan_orphans(mode: str = FIX, limit: int | None = None) -> None:
    """Decide all orphans of a run into temporary tables; must run inside a transaction.

    Takes ``FIX`` or ``REPROCESS`` and how many drivers at most. Leaves what sql/jobs/orphans_4_plan.sql turns into the
    plan, the table ``evidence`` above all: one row per driver and lead record, with why it does or does not suffice.
    """
    limited = sql.SQL('order by linked_at, driver_id collate "C" limit {}').format(sql.Literal(limit))
    statement(
        "orphans_1_found", {}, scope=sql.SQL(SCOPES[mode]), limited=limited if limit else sql.SQL("")
    )  # fmt: skip
    statement(
        "orphans_2_evidence",
        {
            "shared_limit": settings.SHARED_KEY_LIMIT,
            "source_limit": settings.PERSON_SOURCE_LIMIT,
            "contradiction_blocks": settings.NAME_CONTRADICTION_BLOCKS,
            # Looking again repairs by account and keys only (domain.md 9.2).
            "weak_repairs": mode == FIX,
        },
    )
    statement("orphans_3_origins", {})
    statement("identity_8_origins", {})


def _mode(run: Run) -> str:
    return REPROCESS if run.parameters.get("reprocess_quarantined") else FIX


def _apply_rows(context: RunContext) -> Chunk:
    def chunk(table: str, first: int, last: int) -> Mapping[str, Any]:
        run_id, actor = context.run_id, context.run.actor
        plan = plan_identifier(table)
        records = sql.SQL("(select * from {} where not is_driver)").format(plan)
        linked = apply_decisions(records, first, last, run_id=run_id, actor=actor)
        counts = {name: linked[name] for name in OTHER_COUNTS if name in linked}
        counts["links_created"] = sum(feed["matched"] for feed in linked["sources"].values())
        parameters = {"first": first, "last": last, "run_id": run_id, "actor": actor}
        merge_counts(counts, counted("orphans_apply", parameters, plan=plan))
        persons = signals.persons_of(records, first, last)
        merge_counts(counts, signals.announce_lead_links(persons, run_id=run_id, actor=actor))
        return counts

    return chunk


# --- report -----------------------------------------------------------------------------------------


def _write_report(context: RunContext, owner: Run) -> None:
    """Write the files of domain.md 9.6 from the applied plan; note where they are."""
    mode = _mode(owner)
    plan = plan_identifier(f"plan_{owner.pk}")
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(_STATS).format(plan))
        stats = dict(zip(STATS, cursor.fetchone(), strict=True))
    columns = COLUMNS if mode == FIX else COLUMNS + REPROCESS_COLUMNS
    path = write_reports(
        report_folder(owner.parameters.get("output_dir")),
        REPORT_PREFIX[mode],
        {"dry_run": context.run.dry_run, "mode": mode, "stats": stats},
        "drivers",
        columns,
        _report_rows(plan, mode),
    )
    context.tally["report"] = str(path.relative_to(settings.REPORTS_ROOT))


_STATS = """
select
    count(*) filter (where is_driver),
    count(*) filter (where is_driver and lead_events_count > 0),
    count(*) filter (where is_driver and lead_events_count = 0),
    coalesce(sum(links_created) filter (where is_driver and error is null), 0)::bigint,
    coalesce(sum(links_skipped) filter (where is_driver and error is null), 0)::bigint,
    count(*) filter (where is_driver and error is null and new_status = 'quarantined'),
    count(*) filter (where is_driver and error is null and new_status = 'resolved_relinked'),
    count(*) filter (where is_driver and error is not null)
from {}
"""

_ROWS = """
select rows.seq, row_to_json(told)::text, told.*
from {plan} as rows
cross join lateral (
    select
        rows.driver_id, rows.person_key::text as person_key, rows.creation_rule, rows.lead_events_count, rows.action,
        case when rows.error is null then coalesce(rows.new_status, rows.status_before) else rows.status_before end
            as status,
        rows.detected_driver_id_path, rows.event_source_table,
        case when rows.error is null then rows.links_created else 0 end as links_created, rows.error{more}
) as told
where rows.is_driver and rows.seq > %s
order by rows.seq
limit %s
"""
_REPROCESS_ROWS = """,
        rows.status_before as previous_status, rows.lead_events_count as matched_event_count, rows.match_strategy,
        rows.event_source_table as matched_source_table,
        jsonb_path_query_array(rows.new_evidence, '$.evidence[0 to 4].event_id') as matched_event_sample_ids,
        rows.best_license as normalized_event_license, rows.best_phone as normalized_event_phone
"""
PAGE = 5000


def _report_rows(plan: sql.Identifier, mode: str) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield one row per driver, as JSON and as cells, page by page: a report may be long."""
    page = sql.SQL(_ROWS).format(plan=plan, more=sql.SQL(_REPROCESS_ROWS if mode == REPROCESS else ""))
    last = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(page, [last, PAGE])
            rows = cursor.fetchall()
        for __, text, *cells in rows:
            yield text, cells
        if len(rows) < PAGE:
            return
        last = rows[-1][0]
