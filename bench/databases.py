"""The bench's own database, thrown away and copied anew from templates between measurements.

Append-only tables refuse to be emptied, and a copied database starts every measurement from the same state:
no dead rows, the same statistics, nothing left to be written to disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.core.management import call_command
from django.db import connection
from psycopg2 import sql

TEMPLATES = ("empty", "small", "main", "big", "orphans", "scouts", "collection", "recovery")
EMPTY, SMALL, MAIN, BIG, ORPHANS, SCOUTS, COLLECTION, RECOVERY = TEMPLATES
BENCH_LOCK = 4_005_900


class BenchRunning(Exception):
    """Another bench uses the same databases."""


def _name(template: str | None = None) -> sql.Identifier:
    database = str(connection.settings_dict["NAME"])
    return sql.Identifier(f"{database}_{template}" if template else database)


def _on_server(*statements: str, **names: sql.Identifier) -> None:
    connection.close()
    with connection._nodb_cursor() as cursor:
        cursor.execute("set statement_timeout = 0; set lock_timeout = 0")
        for statement in statements:
            cursor.execute(sql.SQL(statement).format(**names))


@contextlib.contextmanager
def own_databases() -> Iterator[None]:
    """Make the migrated database and its EMPTY template; drop everything at the end, also after a fault.

    Raises ``BenchRunning`` when another bench is at work on the same server.
    """
    with connection._nodb_cursor() as cursor:
        cursor.execute("select pg_try_advisory_lock(%s, hashtext(%s))", [BENCH_LOCK, connection.settings_dict["NAME"]])
        if not cursor.fetchone()[0]:
            raise BenchRunning
        try:
            drop()
            _on_server("create database {database}", database=_name())
            call_command("migrate", verbosity=0)
            keep_as(EMPTY)
            yield
        finally:
            drop()


def drop() -> None:
    """Drop the bench's database and all its templates."""
    for template in (None, *TEMPLATES):
        _on_server("drop database if exists {database} with (force)", database=_name(template))


def keep_as(template: str) -> None:
    """Keep the present state of the bench's database under a template's name."""
    _copy(_name(), _name(template))


def start_from(template: str) -> None:
    """Replace the bench's database by a copy of a template, and connect to it."""
    _copy(_name(template), _name())
    connection.ensure_connection()


def drop_template(template: str) -> None:
    """Give the disk space of a template back."""
    _on_server("drop database if exists {database} with (force)", database=_name(template))


def _copy(source: sql.Identifier, target: sql.Identifier) -> None:
    # File by file: it ends with a checkpoint, so no measurement pays for writing what another one left.
    _on_server(
        "drop database if exists {target} with (force)",
        "create database {target} template {source} strategy file_copy",
        source=source,
        target=target,
    )
