"""Django database backend: PostgreSQL of the embedded server, started on the first connection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db.backends.postgresql import base
from django.db.utils import OperationalError

from ct4site.embedded.server import EmbeddedServer, EmbeddedServerError


@contextlib.contextmanager
def _as_database_error() -> Iterator[None]:
    """Callers know what to do without a database; they need not know that this one is embedded."""
    try:
        yield
    except EmbeddedServerError as error:
        raise OperationalError(str(error)) from error


class DatabaseWrapper(base.DatabaseWrapper):
    """Fills in host and password, and starts the server when nobody answers."""

    def get_connection_params(self) -> dict[str, Any]:
        with _as_database_error():
            server = EmbeddedServer(settings.CT4_HOME)
            if not server.password_file.exists():
                server.ensure_running()
            return {**super().get_connection_params(), **server.connection()}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        try:
            return super().get_new_connection(conn_params)
        except (OperationalError, self.Database.OperationalError):
            # Refused or no socket: not started yet, stopped, or killed. Starting it is harmless
            # when the fault was another one: the second attempt then reports it.
            with _as_database_error():
                conn_params.update(EmbeddedServer(settings.CT4_HOME).ensure_running())
            return super().get_new_connection(conn_params)
