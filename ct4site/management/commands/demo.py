"""Everything once, on made-up data: environment, database, chain, summary, login, worker, site."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from axes.utils import reset as forget_failed_logins
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError, connections
from django.utils.translation import gettext as _

from ct4site import demo, roles
from ct4site.commands import positive

HOST = "127.0.0.1"
LOGIN = "demo"
WORKER_LIMIT_SECONDS = 15


class Command(BaseCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Make made-up data, run the whole chain on it, print a summary, then serve the site with a worker beside it."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--leads", type=positive, default=10_000, metavar="N", help=_("Lead records to make (10000).")
        )
        parser.add_argument("--seed", type=int, default=1, metavar="S", help=_("Same seed, same data (1)."))
        parser.add_argument("--no-serve", action="store_true", help=_("End after the summary."))
        parser.add_argument("--port", type=int, default=8000, help=_("Port of the site on 127.0.0.1 (8000)."))

    def handle(self, *args: Any, leads: int, seed: int, no_serve: bool, port: int, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError(_("The demo makes an administrator and made-up data; it does not run in production."))
        # Taken first: who learns about a busy port should not have waited for the data.
        server = None if no_serve else take_port(port)
        try:
            self._chain(demo.Demo(leads, seed, settings.CT4_HOME / "demo"))
            if server is not None:
                self._serve(server)
        finally:
            if server is not None:
                server.server_close()

    # --- chain ------------------------------------------------------------------------------------

    def _chain(self, context: demo.Demo) -> None:
        begun = time.monotonic()
        try:
            self.stderr.write(_("Starting the database and bringing it up to date …"))
            call_command("migrate", verbosity=0, interactive=False)
            self._tell(_("Database"), begun, [(_("where"), _database())])
            for step in demo.steps():
                since = time.monotonic()
                self.stderr.write(f"{step.title} …")
                self._tell(str(step.title), since, step.perform(context))
        except demo.DemoError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            reason = str(error).strip().partition("\n")[0]
            raise CommandError(_("The database could not do it: %(reason)s") % {"reason": reason}) from error
        self.stdout.write(_("Done in %(seconds).1f s.") % {"seconds": time.monotonic() - begun})
        if _is_embedded():
            self.stdout.write(_("The database stays up; “manage.py embedded_db stop” ends it."))

    def _tell(self, title: str, since: float, lines: Any) -> None:
        lines = list(lines)
        self.stdout.write(f"{title} ({time.monotonic() - since:.1f} s)")
        for label, value in lines:
            if value is None:
                self.stdout.write(f"  {label}")
            elif isinstance(value, int):
                self.stdout.write(f"    {label:<44}{value:>10}")
            else:
                self.stdout.write(f"    {label}: {value}")
        self.stdout.flush()

    # --- site -------------------------------------------------------------------------------------

    def _serve(self, server: ThreadedWSGIServer) -> None:
        address = f"http://{HOST}:{server.server_port}"
        password = make_login()
        server.set_app(get_wsgi_application())
        self.stdout.write(_("Where to look:"))
        for sentence, path in demo.places():
            self.stdout.write(f"    {address}{path}  {sentence}")
        self.stdout.write("")
        self.stdout.write(_("The site: %(address)s") % {"address": f"{address}/"})
        self.stdout.write(_("Login: %(user)s   Password: %(password)s") % {"user": LOGIN, "password": password})
        self.stdout.write(_("Ctrl-C ends the site and the worker."))
        self.stdout.flush()
        connections.close_all()
        worker = start_worker()
        for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background commands with SIGINT ignored
            signal.signal(number, _interrupt)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            self.stderr.write(_("Ending …"))
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # impatience must not leave the worker behind
            end_worker(worker)


def _interrupt(*_arguments: Any) -> None:
    raise KeyboardInterrupt


def _is_embedded() -> bool:
    return not settings.CONFIGURATION["DATABASE_URL"]


def _database() -> str:
    return _("embedded, in %(folder)s") % {"folder": settings.CT4_HOME} if _is_embedded() else _("DATABASE_URL")


class Server(ThreadedWSGIServer):
    """Django's own server, on a port that is taken at once and belongs to nobody else."""

    # On Windows the flag would let two servers share a port.
    allow_reuse_address = os.name != "nt"


def take_port(port: int) -> ThreadedWSGIServer:
    """Bind the port on this machine only; return the server, not yet serving. Raises ``CommandError`` when it cannot."""
    try:
        return Server((HOST, port), WSGIRequestHandler)
    except (OSError, OverflowError) as error:
        raise CommandError(
            _("Port %(port)s on %(host)s cannot be used (%(reason)s). Choose another: manage.py demo --port %(other)s")
            % {"port": port, "host": HOST, "reason": getattr(error, "strerror", None) or error, "other": 8001}
        ) from error


def make_login() -> str:
    """Give the demo's administrator a new random password; return it. Makes the user where there is none.

    An administrator by role, not above roles: what the demo shows is what a role shows.
    """
    password = secrets.token_urlsafe(9)
    user, _made = get_user_model().objects.get_or_create(username=LOGIN)
    user.is_staff = user.is_active = True
    user.is_superuser = False
    user.set_password(password)
    user.save()
    user.groups.add(Group.objects.get(name=roles.Role.ADMIN))
    forget_failed_logins(username=LOGIN)
    return password


def start_worker() -> subprocess.Popen[bytes]:
    """Start the queue worker beside this process; it ends with it, even when this process is killed."""
    command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "worker", "--parent", str(os.getpid())]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def end_worker(worker: subprocess.Popen[bytes]) -> None:
    """Ask the worker to end and wait for it; end it by force when it does not."""
    worker.terminate()
    try:
        worker.wait(WORKER_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
