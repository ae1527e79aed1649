"""Run the test suite: pytest with the arguments as they are."""

import os
import sys
from importlib.util import find_spec
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _


class Command(BaseCommand):
    requires_system_checks: list[str] = []

    @property
    def help(self) -> str:  # type: ignore[override]
        return _(
            "Run the test suite. Every argument goes to pytest unchanged, for example: test tests/identity -k plate -x"
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand the arguments after ``test`` to pytest and end with its exit code; nothing is parsed here.

        Without arguments the suite runs on two processes where pytest-xdist is there, without the slow tests.
        """
        if find_spec("pytest") is None or find_spec("pytest_django") is None:
            self.stderr.write(_("The test packages are missing; install requirements/dev.txt into this environment."))
            raise SystemExit(2)
        import pytest

        # A run starts dozens of processes; where bytecode is never kept, each would compile the same code again.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.dont_write_bytecode = False
        side_by_side = ["-n", "2", "--dist", "loadfile"] if find_spec("xdist") else []
        raise SystemExit(int(pytest.main(argv[2:] or [*side_by_side, "-m", "not slow"])))

    def handle(self, *args: Any, **options: Any) -> None:
        raise CommandError(_("Run it from the command line: python3 manage.py test"))
