"""Run the test suite: pytest with the arguments as they are."""

from importlib.util import find_spec
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _


class Command(BaseCommand):
    help = "Run the test suite. Every argument goes to pytest unchanged, for example: test tests/identity -k plate -x"
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand the arguments after ``test`` to pytest and end with its exit code; nothing is parsed here."""
        if find_spec("pytest") is None or find_spec("pytest_django") is None:
            self.stderr.write(_("The test packages are missing; install requirements/dev.txt into this environment."))
            raise SystemExit(2)
        import pytest

        raise SystemExit(int(pytest.main(argv[2:])))

    def handle(self, *args: Any, **options: Any) -> None:
        raise CommandError(_("Run it from the command line: python3 manage.py test"))
