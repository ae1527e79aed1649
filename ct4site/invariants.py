"""Invariants: the queries of ``sql/checks/``, where every row is a failure (reliability.md 4)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.conf import settings
from django.db import connection, transaction
from psycopg2 import sql

from ct4site import sqlfiles


@dataclass(frozen=True)
class Finding:
    """What one invariant found: how many rows, and the first few as (subject, problem)."""

    name: str
    description: str
    count: int
    samples: list[tuple[str, str]]


def check(shown: int = 5, names: Collection[str] | None = None) -> list[Finding]:
    """Run the invariants on one consistent state, changing nothing; return one finding each, zeros included.

    ``shown`` limits the samples. They name rows by their keys only, never by what a person is called. With ``names``
    only those are run.
    """
    findings = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "select set_config('statement_timeout', '0', true), set_config('work_mem', '256MB', true),"
            " set_config('ct4.person_source_limit', %s, true)",
            [str(settings.PERSON_SOURCE_LIMIT)],
        )
        for invariant in sqlfiles.checks():
            if names is not None and invariant.name not in names:
                continue
            # Counted in the database: a broken invariant may have a million rows.
            cursor.execute(
                sql.SQL(
                    "select subject, problem, count(*) over () from ({}) as failures order by subject limit {}"
                ).format(sql.SQL(invariant.sql), sql.Literal(shown))
            )
            rows = cursor.fetchall()
            samples = [(subject, problem) for subject, problem, _count in rows]
            findings.append(Finding(invariant.name, invariant.description, rows[0][2] if rows else 0, samples))
    return findings
