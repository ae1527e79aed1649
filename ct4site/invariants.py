"""Invariants: the queries of ``sql/checks/``, where every row is a failure (reliability.md 4)."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db import connection, transaction

from ct4site import sqlfiles


@dataclass(frozen=True)
class Finding:
    """What one invariant found: how many rows, and the first few as (subject, problem)."""

    name: str
    description: str
    count: int
    samples: list[tuple[str, str]]


def check(shown: int = 5) -> list[Finding]:
    """Run every invariant on one consistent state, changing nothing; return one finding each, zeros included.

    ``shown`` limits the samples. They name rows by their keys only, never by what a person is called.
    """
    findings = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "select set_config('statement_timeout', '0', true), set_config('work_mem', '256MB', true),"
            " set_config('ct4.person_source_limit', %s, true)",
            [str(settings.PERSON_SOURCE_LIMIT)],
        )
        for invariant in sqlfiles.checks():
            cursor.execute(invariant.sql)
            samples, count = [], 0
            while rows := cursor.fetchmany(2000):
                samples += rows[: max(0, shown - count)]
                count += len(rows)
            findings.append(Finding(invariant.name, invariant.description, count, samples))
    return findings
