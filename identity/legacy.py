"""The predecessor's persons and links: loaded as they were, marked as history, taken back like any run.

Both files are read into temporary tables; a few set-based statements (sql/jobs/legacy_*.sql) decide what becomes of
each row, and write the rows that are new, with their audit, in one transaction (domain.md 3.1, 3.2, Q78).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from psycopg2 import sql

from ct4site.jobs import RunContext, counted, job, merge_counts, statement
from ct4site.models import JobType
from identity import signals
from identity.jobs import IDENTITY_STATISTICS, refresh_statistics, take_writer_lock
from identity.models import ConfidenceLevel, SourceTable
from identity.sources.files import Column, CsvFile, one_of, to_moment, to_text
from identity.sources.reading import FORMATS

# --- values ----------------------------------------------------------------------------------------


def _to_object(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(gettext("not JSON")) from None
    if value is None:
        return ""
    if not isinstance(value, dict):
        raise ValueError(gettext("not a JSON object"))
    return text


def _to_score(text: str) -> str:
    number = FORMATS["int4"].convert(text)
    if not 0 <= int(number) <= 100:
        raise ValueError(gettext("not between 0 and 100"))
    return number


_to_uuid = FORMATS["uuid"].convert
_to_confidence = one_of(ConfidenceLevel.values, str.upper)
_to_source_table = one_of(SourceTable.values, lambda text: text.lower().removeprefix("public.").strip())


PERSON_COLUMNS = (
    Column("person_key", _to_uuid, required=True),
    Column("confidence_level", _to_confidence, required=True),
    Column("primary_phone", to_text),
    Column("primary_document", to_text),
    Column("primary_license", to_text),
    Column("primary_full_name", to_text),
    Column("flags", _to_object),
    Column("created_at", to_moment),
    Column("updated_at", to_moment),
)
LINK_COLUMNS = (
    Column("person_key", _to_uuid, required=True),
    Column("source_table", _to_source_table, required=True),
    Column("source_pk", to_text, required=True),
    Column("snapshot_date", to_moment, required=True),
    Column("match_rule", to_text, required=True),
    Column("match_score", _to_score, required=True),
    Column("confidence_level", _to_confidence, required=True),
    Column("evidence", _to_object),
    Column("linked_at", to_moment),
)

# Why a link that can be read is turned away: the column that is to blame, and the reason.
REASONS = {
    "unmapped": ("source_pk", _("no row of module_ct_scouting_daily gives this md5 key")),
    "ambiguous": ("source_pk", _("several rows of module_ct_scouting_daily give this md5 key")),
    "not_a_row": ("source_pk", _("not the id of a row")),
    "conflict": ("source_pk", _("this file links the record %(record)s to another person as well: %(other)s")),
    "unknown_person": ("person_key", _("this person is neither in the file of persons nor in the database")),
    "taken": ("source_pk", _("the record %(record)s is already linked to another person: %(other)s")),
    "set_aside": ("source_pk", _("a person decided to ignore this record")),
    "refused": ("source_pk", _("a person decided that the record %(record)s is not this person")),
}


# --- the job ---------------------------------------------------------------------------------------


@job(
    JobType.LEGACY_LOAD,
    purpose=_("Loads persons and links of the predecessor as history."),
    parameters=("persons", "links", "rejects_dir"),
    queueable=False,
)
def load_legacy_identity(context: RunContext) -> None:
    """Load the predecessor's persons and links in one transaction (Q78; domain.md 3.1, 3.2, 3.5, 3.12, 6.1; Q1, Q3, Q8).

    Parameters: ``persons`` and ``links``, the paths of the two files, and ``rejects_dir``. Keys, rules, scores and times
    stay as they were; every loaded person and link is marked ``"legacy": true``. A person or link that is there is kept,
    a person's blanks are filled. The tally holds for each file what became of its rows (accepted and rejected are all
    that were read). Loading the same files again changes nothing. Raises ``JobError`` when a file is refused as a whole:
    nothing is loaded then.
    """
    given = context.parameters
    rejects_dir = Path(given["rejects_dir"])
    persons = CsvFile(Path(given["persons"]), "legacy_persons", PERSON_COLUMNS, rejects_dir)
    links = CsvFile(Path(given["links"]), "legacy_links", LINK_COLUMNS, rejects_dir)
    try:
        with context.transaction():
            context.tally.update(_load(context, persons, links))
    except BaseException:
        persons.rejects.discard()
        links.rejects.discard()
        raise
    written = context.tally["links"]["inserted"] + context.tally["persons"]["inserted"]
    refresh_statistics(context, written, IDENTITY_STATISTICS)


def _load(context: RunContext, persons: CsvFile, links: CsvFile) -> dict[str, Any]:
    with connection.cursor() as cursor:
        statement("legacy_1_stage", {})
        persons.copy(cursor, lambda rows: context.progress("read", rows))
        links.copy(cursor, lambda rows: context.progress("read", persons.read + rows))
        context.progress("apply", 0)
        take_writer_lock()
        statement("legacy_2_records", {})
        statement("legacy_3_judge", {})
        cursor.execute(
            "select line, outcome, source_table || ' ' || record_pk, other_person_key from legacy_links"
            " where outcome = any(%s)",
            [list(REASONS)],
        )
        links.reject_lines(
            {
                line: (REASONS[outcome][0], str(REASONS[outcome][1]) % {"record": record, "other": other})
                for line, outcome, record, other in cursor.fetchall()
            }
        )
    tally = _write(context)
    tally |= counted("legacy_8_tally", {"source_limit": settings.PERSON_SOURCE_LIMIT})
    for name, file in (("persons", persons), ("links", links)):
        tally[name] = file.tally(tally[name])
    context.progress("apply", persons.read + links.read, persons.read + links.read)
    return tally


def _write(context: RunContext) -> dict[str, Any]:
    """Write what was decided, tell who must know of new lead links; return the counts of rows written."""
    run_id, actor = context.run_id, context.run.actor
    tally: dict[str, Any] = {}
    merge_counts(tally, counted("legacy_4_apply", {"run_id": run_id, "actor": actor}))
    merge_counts(tally, counted("legacy_5_events", {"run_id": run_id}))
    statement("legacy_6_persons", {"run_id": run_id})
    statement("identity_8_origins", {})
    of_origins = {"run_id": run_id, "actor": actor, "lead_system_start": settings.LEAD_SYSTEM_START_DATE}
    merge_counts(tally, counted("legacy_7_origins", of_origins))
    persons = sql.SQL(
        "select person_key from canon.identity_links where run_id = {} and source_table <> 'drivers'"
    ).format(sql.Literal(run_id))
    merge_counts(tally, signals.announce_lead_links(persons, run_id=run_id, actor=actor))
    return tally
