"""Compare the whole audit log with its seals."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from ct4site import sealing


class Command(BaseCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Compare the whole audit log with its seals and print the newest digest, to be kept outside the database."
            " Ends with 1 when an entry was changed, added or removed."
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--expect", metavar="DIGEST", help=_("A digest printed before; the chain must still contain it.")
        )

    def handle(self, *args: Any, **options: Any) -> None:
        verdict = sealing.verify(expected=options["expect"])
        for subject, problem in verdict.finding.samples:
            self.stderr.write(f"- {subject}: {problem}")
        if verdict.finding.count:
            raise CommandError(
                _("The audit log is not what was sealed (%(count)d).") % {"count": verdict.finding.count}
            )
        if not verdict.is_expected:
            raise CommandError(_("The chain of seals does not contain the expected digest."))
        if verdict.head is None:
            self.stderr.write(_("Nothing is sealed yet."))
            return
        self.stdout.write(verdict.head.digest)
        self.stderr.write(_("The audit log is what was sealed, up to seal %(number)d.") % {"number": verdict.head.no})
