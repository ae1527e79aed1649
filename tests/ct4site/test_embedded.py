"""The embedded server starts once, survives being killed, and never harms anybody else."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from ct4site.embedded.server import EmbeddedServer, EmbeddedServerError, _reachable_by_others

pytestmark = pytest.mark.slow

ENSURE_RUNNING = (
    "import sys; from pathlib import Path; from ct4site.embedded.server import EmbeddedServer;"
    "server = EmbeddedServer(Path(sys.argv[1])); server.ensure_running(); print(server._server_process().pid)"
)
only_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can become another user")


def dispose(server: EmbeddedServer) -> None:
    server.stop("immediate")
    host = Path(server._host())
    if server.folder not in host.parents and os.name != "nt":
        shutil.rmtree(host, ignore_errors=True)
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="ct4-test-")).resolve()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_server(open_folder: Path) -> Iterator[Callable[[str], EmbeddedServer]]:
    servers: list[EmbeddedServer] = []

    def make(name: str) -> EmbeddedServer:
        servers.append(EmbeddedServer(open_folder / name))
        return servers[-1]

    yield make
    for server in servers:
        dispose(server)


@pytest.fixture(scope="module")
def server(open_folder: Path) -> Iterator[EmbeddedServer]:
    """One server for the tests that leave it usable."""
    shared = EmbeddedServer(open_folder / "shared")
    shared.ensure_running()
    yield shared
    dispose(shared)


@contextlib.contextmanager
def connected(server: EmbeddedServer) -> Iterator[psycopg2.extensions.cursor]:
    with contextlib.closing(psycopg2.connect(dbname="ct4", **server.connection())) as connection:
        connection.autocommit = True
        yield connection.cursor()


def pid_of(server: EmbeddedServer) -> int:
    process = server._server_process()
    assert process is not None
    return process.pid


def wait_until(condition: Callable[[], object]) -> None:
    for _attempt in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("waited half a minute in vain")


def in_parallel(server: EmbeddedServer, count: int) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", ENSURE_RUNNING, str(server.home)],
            cwd=settings.BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _number in range(count)
    ]  # fmt: skip


def test_processes_that_race_start_one_server(make_server: Callable[[str], EmbeddedServer]) -> None:
    server = make_server("race")
    outputs = []
    for process in in_parallel(server, 4):
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        outputs.append(output)
    assert set(outputs) == {f"{pid_of(server)}\n"}


def test_the_stop_command_stops_it_and_says_so_when_nothing_ran(make_server: Callable[[str], EmbeddedServer]) -> None:
    server = make_server("stop")
    assert server.stop() is False
    server.ensure_running()
    assert server.is_ready()
    assert server.stop() is True
    assert not server.is_ready()
    assert server.stop() is False


def test_starting_a_running_server_changes_nothing(server: EmbeddedServer) -> None:
    before = pid_of(server)
    assert server.ensure_running() == server.connection()
    assert pid_of(server) == before


@pytest.mark.parametrize("name", ["o'brien, folder with spaces", "x" * 120], ids=["odd characters", "long"])
@pytest.mark.skipif(os.name == "nt", reason="no socket files there")
def test_any_folder_name_will_do(make_server: Callable[[str], EmbeddedServer], name: str) -> None:
    server = make_server(name)
    server.ensure_running()
    with connected(server) as cursor:
        cursor.execute("select current_database()")
        assert cursor.fetchone() == ("ct4",)


def test_the_database_sorts_alike_everywhere_and_keeps_row_values_out_of_its_log(server: EmbeddedServer) -> None:
    with connected(server) as cursor:
        cursor.execute("select datcollate, pg_encoding_to_char(encoding) from pg_database where datname = 'ct4'")
        assert cursor.fetchone() == ("C", "UTF8")
        with pytest.raises(psycopg2.DataError):
            cursor.execute("select 'sentinel-51987654321'::int")
    assert "sentinel" not in server.log.read_text("utf-8")


def test_what_a_person_sets_survives_a_restart(make_server: Callable[[str], EmbeddedServer]) -> None:
    server = make_server("altered")
    server.ensure_running()
    with connected(server) as cursor:
        cursor.execute("alter system set work_mem = '7MB'")
    server.stop()
    server.ensure_running()
    with connected(server) as cursor:
        cursor.execute("show work_mem")
        assert cursor.fetchone() == ("7MB",)


@pytest.mark.faults
def test_it_is_alive_again_after_the_server_is_killed_under_busy_clients(server: EmbeddedServer) -> None:
    with connected(server) as cursor:
        cursor.execute("create table if not exists kept (id int)")
        cursor.execute("insert into kept values (1)")
    failures: list[Exception] = []

    def be_busy(statement: str) -> None:
        try:
            with connected(server) as cursor:
                cursor.execute(statement)
        except psycopg2.Error as error:
            failures.append(error)

    statements = ["select pg_sleep(300)", "select count(*) from generate_series(1, 100000000000)"]
    clients = [threading.Thread(target=be_busy, args=[statement]) for statement in statements]
    for client in clients:
        client.start()
    with connected(server) as cursor:

        def both_are_busy() -> bool:
            cursor.execute("select count(*) from pg_stat_activity where query = any(%s)", [statements])
            return cursor.fetchone() == (2,)

        wait_until(both_are_busy)
    killed = pid_of(server)
    psutil.Process(killed).kill()
    server.ensure_running()
    assert pid_of(server) != killed
    for client in clients:
        client.join(60)
    assert len(failures) == 2
    with connected(server) as cursor:
        cursor.execute("select count(*) from kept")
        assert cursor.fetchone() == (1,)


@pytest.mark.faults
def test_a_server_that_recovers_from_a_killed_back_end_is_waited_for(server: EmbeddedServer) -> None:
    before = pid_of(server)
    with connected(server) as cursor:
        cursor.execute("select pg_backend_pid()")
        psutil.Process(cursor.fetchone()[0]).kill()
        server.ensure_running()
    assert pid_of(server) == before


@pytest.mark.faults
def test_django_starts_a_killed_server_by_connecting(server: EmbeddedServer) -> None:
    psutil.Process(pid_of(server)).kill()
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    code = (
        "import django; django.setup(); from django.db import connection;"
        "cursor = connection.cursor(); cursor.execute('select 41 + 1'); print(cursor.fetchone()[0])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=settings.BASE_DIR, env={**environment, "CT4_HOME": str(server.home)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (0, "42\n"), result.stderr
    assert server.is_ready()


@pytest.mark.faults
def test_a_reused_process_number_neither_harms_its_owner_nor_blocks_the_start(server: EmbeddedServer) -> None:
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text("utf-8").splitlines()
    server.stop()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as innocent:
        try:
            pid_file.write_text("\n".join([str(innocent.pid), *lines[1:]]) + "\n", "utf-8")
            assert server.stop() is False
            server.ensure_running()
            assert server.is_ready()
            assert pid_of(server) != innocent.pid
            assert innocent.poll() is None
        finally:
            innocent.kill()


@pytest.mark.faults
def test_a_first_start_killed_half_way_is_begun_again(make_server: Callable[[str], EmbeddedServer]) -> None:
    server = make_server("half-way")
    [starter] = in_parallel(server, 1)
    wait_until(lambda: (server.folder / "data.new" / "PG_VERSION").exists())
    family = [*psutil.Process(starter.pid).children(recursive=True), psutil.Process(starter.pid)]
    for process in reversed(family):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    starter.communicate()
    assert not server.data.exists()
    server.ensure_running()
    assert server.is_ready()
    assert not (server.folder / "data.new").exists()


@only_root
def test_root_can_use_a_home_that_is_closed_to_others_and_leaves_it_closed(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedServer(closed / "home")
    try:
        server.ensure_running()
        with connected(server) as cursor:
            cursor.execute("select 1")
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert psutil.Process(pid_of(server)).uids().real != 0
    finally:
        dispose(server)


@only_root
def test_a_database_is_not_replaced_by_an_empty_one_when_its_home_is_closed(open_folder: Path) -> None:
    home = open_folder / "closed-later"
    (home / "postgres" / "data").mkdir(parents=True)
    home.chmod(0o700)
    server = EmbeddedServer(home)
    try:
        with pytest.raises(EmbeddedServerError, match="holds the database"):
            server.ensure_running()
    finally:
        dispose(server)


def python_of_another_user() -> list[str] | None:
    """A command that runs our code as ``nobody``, or None when this machine has no Python open to others."""
    packages = str(Path(psycopg2.__file__).parent.parent)
    for name in (
        sys.executable,
        shutil.which("python{}.{}".format(*sys.version_info[:2]), path="/usr/local/bin:/usr/bin"),
    ):
        if name and _reachable_by_others(Path(name).resolve().parent) and _reachable_by_others(settings.BASE_DIR):
            return [
                name,
                "-c",
                f"import sys; sys.path[:0] = [{str(settings.BASE_DIR)!r}, {packages!r}]; {ENSURE_RUNNING}",
            ]
    return None


@only_root
def test_a_user_other_than_root_can_start_it_and_is_told_when_the_folder_is_not_theirs(open_folder: Path) -> None:
    command = python_of_another_user()
    if command is None:
        pytest.skip("no Python here that another user may run")
    home = open_folder / "of nobody"
    home.mkdir()
    os.chown(home, 65534, 65534)

    def run_as(uid: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, str(home)],
            user=uid, group=uid, extra_groups=[], cwd="/", env={"PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    server = EmbeddedServer(home)
    try:
        owner = run_as(65534)
        assert owner.returncode == 0, owner.stderr
        assert psutil.Process(int(owner.stdout)).uids().real == 65534
        stranger = run_as(65533)
        assert stranger.returncode == 1
        assert "belongs to another user; set CT4_HOME" in stranger.stderr
    finally:
        dispose(server)


def test_the_command_reports_what_it_did(settings, server: EmbeddedServer, capsys) -> None:  # type: ignore[no-untyped-def]
    settings.CT4_HOME = server.home
    settings.CONFIGURATION = {**settings.CONFIGURATION, "DATABASE_URL": ""}
    call_command("embedded_db", "start")
    call_command("embedded_db", "status")
    assert capsys.readouterr().out.count(str(server.data)) == 2


def test_the_command_refuses_when_another_database_is_configured(settings) -> None:  # type: ignore[no-untyped-def]
    settings.CONFIGURATION = {**settings.CONFIGURATION, "DATABASE_URL": "postgres://somebody@elsewhere/ct4"}
    with pytest.raises(CommandError, match="DATABASE_URL"):
        call_command("embedded_db", "stop")
