"""Start, stop or show the embedded PostgreSQL server."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from ct4site.embedded.server import EmbeddedServer, EmbeddedServerError


class Command(BaseCommand):
    requires_system_checks: list[str] = []

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Start, stop or show the embedded PostgreSQL server (not used with DATABASE_URL).")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=["start", "stop", "status"])

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        if settings.CONFIGURATION["DATABASE_URL"]:
            raise CommandError(_("DATABASE_URL is set: the embedded server is not used here."))
        server = EmbeddedServer(settings.CT4_HOME)
        try:
            if verb == "start":
                server.ensure_running()
                self.stdout.write(_("The embedded PostgreSQL runs. Data: %(folder)s") % {"folder": server.data})
            elif verb == "stop":
                was_running = server.stop()
                self.stdout.write(_("Stopped.") if was_running else _("It was not running."))
            elif server.is_ready():
                self.stdout.write(_("Running. Data: %(folder)s") % {"folder": server.data})
            else:
                self.stdout.write(_("Not running. Data: %(folder)s") % {"folder": server.data})
        except EmbeddedServerError as error:
            raise CommandError(str(error)) from error
