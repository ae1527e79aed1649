"""Django database backend: PostgreSQL of the embedded server, started on the first connection."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.backends.postgresql import base
from django.db.utils import OperationalError

from ct4site.embedded.server import EmbeddedServer


class DatabaseWrapper(base.DatabaseWrapper):
    """Fills in host and password, and starts the server when nobody answers."""

    def get_connection_params(self) -> dict[str, Any]:
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
            conn_params.update(EmbeddedServer(settings.CT4_HOME).ensure_running())
            return super().get_new_connection(conn_params)
