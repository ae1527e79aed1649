"""A whole installation of its own: home folder, server, database, commands as separate processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from django.conf import settings

from ct4site.embedded.server import DATABASE, EmbeddedServer

PATIENCE_SECONDS = 60


class Installation:
    """Commands and questions for one home folder. A worker uses the database of its settings, never pytest's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server = EmbeddedServer(home)
        self.started: list[subprocess.Popen[str]] = []

    def environment(self, **extra: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CT4_FAULT")}
        return {**kept, "CT4_HOME": str(self.home), "PYTHONUNBUFFERED": "1", **extra}

    def manage(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=settings.BASE_DIR, env=self.environment(**extra),
            capture_output=True, encoding="utf-8", check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own; its output goes to ``output(process)``."""
        log = (self.home / f"output-{len(self.started)}.txt").open("w", encoding="utf-8")
        with log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments], cwd=settings.BASE_DIR, env=self.environment(**extra),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def output(self, process: subprocess.Popen[str]) -> str:
        return (self.home / f"output-{self.started.index(process)}.txt").read_text("utf-8")

    def ask(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run one SQL statement in the installation's database; return its rows."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def connect(self) -> Any:
        connection = psycopg2.connect(dbname=DATABASE, **self.server.connection())
        connection.autocommit = True
        return connection

    def close(self) -> None:
        for process in self.started:
            for victim in [*descendants(process.pid), process]:
                with contextlib.suppress(psutil.Error, ProcessLookupError):
                    victim.kill()
            process.wait()
        self.server.stop("immediate")
        host = Path(self.server._host())
        if self.home not in host.parents and os.name != "nt":
            shutil.rmtree(host, ignore_errors=True)
        shutil.rmtree(self.server.folder, ignore_errors=True)


@contextlib.contextmanager
def new_installation() -> Iterator[Installation]:
    """An empty installation in a folder that the server's user may enter; nothing of it remains."""
    home = Path(tempfile.mkdtemp(prefix="ct4-test-")).resolve()
    home.chmod(0o755)
    installation = Installation(home)
    try:
        yield installation
    finally:
        installation.close()
        shutil.rmtree(home, ignore_errors=True)


def descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def eventually(what: Callable[[], Any], patience: float = PATIENCE_SECONDS) -> Any:
    """Return the first true answer; fail when there is none in time."""
    deadline = time.monotonic() + patience
    while not (answer := what()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)
    return answer


def signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    os.killpg(process.pid, number)
