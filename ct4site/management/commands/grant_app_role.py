"""Give a role that is not the owner what the application needs."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from ct4site import grants


class Command(BaseCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Give a login role of the database exactly what site, worker and commands need, as the owner of the tables."
            " Repeat it after every migrate."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "role", help=_("The role; it exists, can log in, and neither owns the tables nor is a superuser.")
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = grants.grant_to(options["role"])
        except grants.GrantError as error:
            raise CommandError(str(error)) from error
        self.stderr.write(
            _("%(role)s may now use %(count)d tables and views; histories it reads and adds to, nothing else.")
            % {"role": options["role"], "count": count}
        )
