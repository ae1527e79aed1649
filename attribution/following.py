"""What attribution derives, brought up to date for a few persons at once: after a decision of a reviewer, or to preview it.

The statements are those of the batch jobs and of the views they read, word for word, over fewer rows: each table they
name is replaced by its rows of these persons (``ROWS``), which an index finds. So every rule stands in one place, and
what a decision costs does not depend on how many persons there are.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from psycopg2 import sql

from attribution.collection import DERIVERS
from attribution.jobs import DECIDERS, ledger_parameters
from ct4site import sqlfiles
from ct4site.jobs import counted
from ct4site.turns import take_in_order
from identity.jobs import WRITERS

Rows = Mapping[str, str]
LAST = 2**62  # row of a plan: all of it

_OF_PERSONS = "person_key = any(%(persons)s::uuid[])"
_OF_DRIVERS = "driver_id = any(%(drivers)s::text[])"
_OF_RECORDS = "(source_table, source_pk) in (select * from unnest(%(tables)s::text[], %(keys)s::text[]))"
_OF_PAYMENTS = "source_pk = any(%(payments)s::text[])"
_PAID = "id = any(%(payments)s::bigint[])"

# Of every relation that the statements name, directly or through a view, the rows that concern the persons: a condition
# on its columns, of keys that sql/jobs/follow_scope.sql found. A view without one is opened instead; a view with one is
# opened and filtered. Whatever else a statement names is refused, so that nothing is read whole by oversight. Days of an
# account are found under the feed's two spellings of it, as on the page of a claim.
ROWS: Rows = {
    "canon.claims_yango_cabinet_14d": _OF_DRIVERS,
    "canon.driver_orphan_quarantine": "driver_id = any(%(accounts)s::text[])",
    "canon.drivers_index": _OF_DRIVERS,
    "canon.identity_links": _OF_PERSONS,
    "canon.identity_registry": _OF_PERSONS,
    "canon.manual_leads": "(('manual:' || id) = any(%(keys)s::text[]))",
    "canon.possible_same_persons": (
        "(person_a_id = any(%(persons)s::uuid[]) or person_b_id = any(%(persons)s::uuid[]))"
    ),
    "canon.stg_cabinet_leads": _OF_RECORDS,
    "canon.stg_migrations": _OF_RECORDS,
    "canon.stg_scouting_daily": _OF_RECORDS,
    "observational.lead_events": _OF_PERSONS,
    "observational.lead_ledger": _OF_PERSONS,
    "observational.lead_milestones": _OF_RECORDS,
    "observational.lead_trips": _OF_RECORDS,
    "ops.partner_payment_rules": "true",
    "ops.person_scouts": _OF_PERSONS,
    "ops.scout_liquidation_ledger": _OF_PERSONS,
    "ops.scout_payment_rules": "true",
    "ops.scout_statements": _OF_PERSONS,
    "ops.settlement_items": _OF_PERSONS,
    "ops.settlement_lines": _OF_PERSONS,
    "ops.settlement_periods": "true",
    "ops.yango_payment_states": _OF_DRIVERS,
    "ops.yango_payment_status_ledger": _OF_PAYMENTS,
    "public.module_ct_cabinet_leads": (
        "(id = any(%(leads)s::bigint[]) or (external_id = any(%(external_ids)s::text[]) and external_id <> ''))"
    ),
    "public.module_ct_cabinet_payments": _OF_PERSONS,
    "public.module_ct_migrations": "id = any(%(migrations)s::bigint[])",
    "public.module_ct_scouting_daily": "id = any(%(registrations)s::bigint[])",
    "public.summary_daily": "driver_id = any(%(spellings)s::text[])",
}

# Payments are followed for their persons alone; what the partner's list says anew is for the refresh.
_ROWS_OF_PAYMENTS: Rows = {
    "canon.drivers_index": "driver_id = any(%(namesakes)s::text[])",
    "canon.identity_registry": (
        "person_key = any(array(select told.person_key from public.module_ct_cabinet_payments as told"
        f" where told.{_PAID}))"
    ),
    "ops.yango_payment_flags": "false",
    "public.module_ct_cabinet_payments": _PAID,
}

_READ = re.compile(r"(?<!delete )\b(from|join) ((?:canon|observational|ops|public)\.(\w+))(\s+as\b)?")
_DELETE = re.compile(r"\b(delete from (\S+)(?: as \w+\s+where\b)?)")
_MADE = re.compile(r"\bcreate temp table (\w+)")


def take_turns(*, links: bool) -> None:
    """Wait for the turns of all whose rows a decision and what follows of it may change, in the order of the chain.

    Held until the transaction ends. ``links``: it may change links or origins too, so identity's writers wait as well.
    """
    take_in_order(*([WRITERS] if links else []), DECIDERS, DERIVERS)


def follow(*, persons: Sequence[UUID], run_id: int | None, actor: str) -> None:
    """Bring all that attribution derives up to date for some persons, as the batch jobs would (domain.md 6, 12).

    Takes all persons whose links, events or ledger rows the decision changed, those they left included; whose stored
    leads and accounts these are by now, or were, is found and followed too. The ledger's decision, then payments,
    scouts, trips and milestones, items and statements of settlement, claims. Changes of ledger and claims are audited
    as of the run, if there is one, and the actor. Must run inside a transaction that took its turn (``take_turns``),
    after the decision's own rows are written. One call for all persons of a transaction: each keeps the locks of its
    temporary tables until the end.
    """
    parameters = {
        **concerned(persons), **ledger_parameters(), "park": settings.PARK_ID_OBJETIVO,
        "first": 0, "last": LAST, "run_id": run_id, "actor": actor,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_statements(), parameters)


@functools.cache
def _statements() -> sql.Composed:
    """All statements of one following, in the order of the batch jobs: one question to the database, not forty."""
    parts = [*_decided("ledger_plan", "ledger_apply")]
    for name, rows in (
        ("collection_1_payments", {**ROWS, **_ROWS_OF_PAYMENTS}),
        ("collection_3_scouts", ROWS),
        ("collection_2_trips", ROWS),
        ("settlement_items", ROWS),
        ("settlement_statements", ROWS),
    ):
        parts += _derived(name, rows)
    parts += _decided("collection_4_claims_plan", "collection_4_claims_apply")
    return sql.SQL(";\n").join(parts)


def concerned(persons: Sequence[UUID]) -> dict[str, list[Any]]:
    """Return whom and what a decision about some persons concerns: ``persons`` and other keys, as lists."""
    found = counted("follow_scope", {"given": [str(person) for person in persons]})
    return {name: keys or [] for name, keys in found.items()}


def narrowed(text: str, rows: Rows = ROWS) -> str:
    """Return a statement over fewer rows: tables become their rows of some persons, and views their own text so narrowed.

    Takes the text of a job's statement, and a condition per relation. Raises ``LookupError`` where one is missing.
    """
    return _DELETE.sub(lambda found: _delete(found[1], rows[found[2]]), _opened(text, rows))


def _delete(words: str, condition: str) -> str:
    if not words.endswith("where"):
        raise LookupError(f"nothing says which rows: {words}")
    return f"{words} {condition} and"


def _opened(text: str, rows: Rows) -> str:
    # Servers before 16 want a name for every query in from.
    return _READ.sub(lambda found: f"{found[1]} {_rows_of(found[2], rows)}{found[4] or f' as {found[3]}'}", text)


def _rows_of(relation: str, rows: Rows) -> str:
    view = _views().get(relation)
    if view is None:
        return f"(select * from {relation} where {rows[relation]})"
    opened = f"({_opened(view, rows)}\n)"
    return f"(select * from {opened} as opened where {rows[relation]})" if relation in rows else opened


@functools.cache
def _views() -> dict[str, str]:
    """The text of every view as a part of a job's statement: braces and percent signs doubled."""
    doubled = str.maketrans({sign: sign * 2 for sign in "{}%"})
    return {file.name: file.body.translate(doubled) for file in sqlfiles.read() if file.kind == "view"}


def _derived(name: str, rows: Rows) -> list[sql.Composable]:
    """Return a derivation over fewer rows, which leaves no table behind."""
    text = sqlfiles.load(name).rstrip().rstrip(";")
    made = sql.SQL(", ").join(sql.Identifier("pg_temp", table) for table in _MADE.findall(text))
    return [sql.SQL(narrowed(text, rows)).format(), sql.SQL("drop table {}").format(made)]


def _decided(name: str, applied: str) -> list[sql.Composable]:
    """Return a plan over fewer rows and what applies all of it."""
    plan = sql.Identifier("pg_temp", name)
    planned, apply = (sqlfiles.load(file).rstrip().rstrip(";") for file in (name, applied))
    return [
        sql.SQL(narrowed(planned)).format(plan=plan, limited=sql.SQL("offset 0")),
        sql.SQL("analyze {}").format(plan),
        sql.SQL(apply).format(plan=plan),
        sql.SQL("drop table {}").format(plan),
    ]
