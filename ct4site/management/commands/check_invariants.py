"""Ask the database whether everything that must hold does."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ct4site import invariants


class Command(BaseCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Run the invariants of sql/checks; each is shown with its count, and any row makes the exit code 1.")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help=_("Print the counts as one JSON line on stdout."))

    def handle(self, *args: Any, **options: Any) -> None:
        findings = invariants.check()
        if options["json"]:
            self.stdout.write(json.dumps({finding.name: finding.count for finding in findings}, sort_keys=True))
        for finding in findings:
            self.stderr.write(f"{finding.count:>9}  {finding.name}")
            if finding.count:
                self.stderr.write(f"           {finding.description}")
            for subject, problem in finding.samples:
                self.stderr.write(f"           - {subject}: {problem}")
        broken = sum(1 for finding in findings if finding.count)
        if broken:
            raise CommandError(
                ngettext("%(count)d invariant is broken.", "%(count)d invariants are broken.", broken)
                % {"count": broken}
            )
        self.stderr.write(_("All %(count)d invariants hold.") % {"count": len(findings)})
