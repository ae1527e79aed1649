"""Perform queued runs until stopped."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils.translation import gettext as _

from ct4site.queue import Worker


class Command(BaseCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Perform queued runs until stopped by Ctrl-C or a termination signal; a run at work gets some seconds to finish."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--parent", type=int, metavar="PID", help=_("End when this process ends."))

    def handle(self, *args: Any, parent: int | None, **options: Any) -> None:
        self.stderr.write(_("The worker performs queued runs. Ctrl-C ends it."))
        try:
            ended_as_asked = Worker(parent).run()
        except DatabaseError as error:
            reason = str(error).strip().partition("\n")[0]
            raise CommandError(
                _("The worker cannot use the database: %(reason)s (are the migrations applied?)") % {"reason": reason}
            ) from error
        if not ended_as_asked:
            raise CommandError(_("The worker ended by itself; its log says why. Start it again."))
        self.stderr.write(_("The worker has ended."))
