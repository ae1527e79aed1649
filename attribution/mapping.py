"""Which scout a lead belongs to, told from outside in a CSV file (Q28)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db import connection
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ct4site.jobs import RunContext, counted, job, statement
from ct4site.models import JobType
from identity.sources.files import Column, CsvFile, to_text
from identity.sources.reading import FORMATS


def _to_scout(text: str) -> str:
    number = FORMATS["int4"].convert(text)
    if int(number) < 1:
        raise ValueError(gettext("not above zero"))
    return number


COLUMNS = (Column("source_key", to_text, required=True), Column("scout_id", _to_scout, required=True))

# Why a line that can be read is turned away.
REASONS = {
    "conflict": _("this file gives the lead more than one scout"),
    "taken": _("the lead already has another scout: %(other)s"),
}


@job(
    JobType.SCOUT_MAPPING_LOAD,
    purpose=_("Loads which scout brought which cabinet lead."),
    parameters=("file", "rejects_dir"),
    queueable=False,
)
def load_scout_mapping(context: RunContext) -> None:
    """Load a file of ``source_key, scout_id`` into ``ops.lead_scout_mapping`` in one transaction (Q28).

    Parameters: ``file`` and ``rejects_dir``. ``source_key`` is the source_pk of a cabinet lead, which may come in later.
    One scout per key: a key with several scouts in the file is rejected with all its lines, a key that has another
    scout already is rejected, never overwritten. Loading the file again changes nothing; ``roll_back_run`` takes it
    back. Raises ``JobError`` when the file is refused as a whole: nothing is loaded then.
    """
    given = context.parameters
    file = CsvFile(Path(given["file"]), "scout_mapping", COLUMNS, Path(given["rejects_dir"]))
    try:
        with context.transaction():
            context.tally.update(_load(context, file))
    except BaseException:
        file.rejects.discard()
        raise


def _load(context: RunContext, file: CsvFile) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "create temp table scout_mapping"
            " (line bigint, source_key text, scout_id integer, outcome text, other_scout_id integer) on commit drop"
        )
        file.copy(cursor, lambda rows: context.progress("read", rows))
        # Two loads at once would both find a key free.
        cursor.execute("set local lock_timeout = '60s'; lock table ops.lead_scout_mapping in share row exclusive mode")
        statement("backfill_mapping_judge", {})
        cursor.execute(
            "select line, outcome, other_scout_id from scout_mapping where outcome = any(%s)", [list(REASONS)]
        )
        file.reject_lines(
            {line: ("scout_id", str(REASONS[outcome]) % {"other": other}) for line, outcome, other in cursor.fetchall()}
        )
        counts = counted("backfill_mapping_apply", {"run_id": context.run_id, "actor": context.run.actor})
        cursor.execute("drop table scout_mapping")
    audit = counts.pop("audit")
    context.progress("apply", file.read, file.read)
    return file.tally(counts) | {"audit": audit}
