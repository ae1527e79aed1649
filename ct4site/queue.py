"""The queue worker: django-q2's cluster, made to stop cleanly, to leave no orphans, and to run one function only.

Origin: reliability.md 3 (items 1 to 6) and F18; stack.md, "django-q2: what was seen".
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import psutil
from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.db.models import Q
from django.utils.translation import gettext as _
from django_q import cluster as django_q_cluster
from django_q.brokers.orm import ORM
from django_q.models import Schedule
from django_q.signing import BadSignature, SignedPackage
from django_q.worker import worker as django_q_worker

from ct4site import jobs

logger = logging.getLogger("ct4.queue")

GRACE_SECONDS = 5.0
HOUSEKEEPING_SECONDS = 5.0
POLL_SECONDS = 0.5


# --- what may be in the queue -----------------------------------------------------------------------


def objection(package: Any) -> str | None:
    """Say why a queued task must not run, or None when it may.

    Takes the unpacked task. One path and one run id pass; hooks and chains, which also name functions, do not.
    """
    if not isinstance(package, dict):
        return "not a task"
    if package.get("func") != jobs.QUEUED_PATH:
        return "another function"
    if package.get("hook") or package.get("chain"):
        return "a hook or a chain"
    arguments = package.get("args")
    if (
        not isinstance(arguments, tuple | list)
        or [type(value) for value in arguments] != [int]
        or package.get("kwargs")
    ):
        return "other arguments than a run id"
    return None


class GuardedBroker(ORM):
    """Hands out only tasks that may run; others are taken from the queue and logged, before anything of them is imported.

    django-q2's signals come too late: by then ``pydoc.locate`` has imported the named module.
    """

    def dequeue(self) -> list[tuple[int, str]] | None:
        tasks = super().dequeue()
        return None if tasks is None else [task for task in tasks if not self._rejected(*task)]

    def _rejected(self, key: int, payload: str) -> bool:
        try:
            why = objection(SignedPackage.loads(payload))
        except (BadSignature, TypeError, ValueError):
            why = "a signature that is not ours"
        except Exception as error:  # an unreadable pickle raises anything
            why = f"unreadable ({type(error).__name__})"
        if why:
            self.delete(key)
            logger.error("queue row %s was rejected and removed: %s", key, why)
        return why is not None


@register(Tags.database)
def schedules_queue_runs_only(
    *, app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Report (ct4.E002) every schedule that names another function than the queue's one path (reliability.md F18)."""
    if DEFAULT_DB_ALIAS not in (databases or []):
        return []
    try:
        if Schedule._meta.db_table not in connection.introspection.table_names():
            return []
        foreign = Schedule.objects.filter(~Q(func=jobs.QUEUED_PATH) | ~(Q(hook=None) | Q(hook="")))
        return [
            Error(
                _("Schedule %(id)s would run something else than a job of CT4; the worker will refuse it.")
                % {"id": key},
                hint=_("Delete it; jobs are scheduled by CT4 itself."),
                id="ct4.E002",
            )
            for key in foreign.order_by("pk").values_list("pk", flat=True)
        ]
    except DatabaseError:
        return []  # the check of the views already says that the database cannot be asked


# --- processes --------------------------------------------------------------------------------------


class Parent:
    """The process whose end is ours too, known by its number and start, so that a reused number deceives nobody."""

    def __init__(self, pid: int) -> None:
        self.process: psutil.Process | None = None
        with contextlib.suppress(psutil.Error):
            self.process = psutil.Process(pid)

    def is_gone(self) -> bool:
        try:
            return (
                self.process is None or not self.process.is_running() or self.process.status() == psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return True


class _StopOrOrphaned:
    """The cluster's stop event, also set when the process that would set it is gone."""

    def __init__(self, event: Any, parent: Parent) -> None:
        self.event, self.parent = event, parent

    def is_set(self) -> bool:
        return bool(self.event.is_set())

    def wait(self, timeout: float) -> bool:
        if self.parent.is_gone():
            end_children()
            os._exit(1)
        return bool(self.event.wait(timeout))


def _part(target: Callable[..., None], sentinel_pid: int, *arguments: Any) -> None:
    """Run one part of the cluster (worker, monitor, pusher); end at once when the sentinel is gone.

    An orphan would wait for ever, holding its database connection. Ending in the middle of a run is safe.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows not inherited
    parent = Parent(sentinel_pid)

    def watch() -> None:
        while not parent.is_gone():
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="watch-sentinel", daemon=True).start()
    target(*arguments)


class Sentinel(django_q_cluster.Sentinel):
    """django-q2's sentinel in a process group of its own, and ended with the process that started it.

    A SIGTERM to the group (a service manager, a closed terminal) would otherwise kill parts in the middle of talking to
    each other, and the rest waits for ever (6 of 8 stops hung). Outside the group only the worker command gets it.
    """

    def __init__(
        self, stop_event: Any, start_event: Any, cluster_id: Any, broker: Any, timeout: Any, main_pid: int
    ) -> None:
        if hasattr(os, "setpgrp"):
            os.setpgrp()
        super().__init__(_StopOrOrphaned(stop_event, Parent(main_pid)), start_event, cluster_id, broker, timeout)

    def spawn_process(self, target: Callable[..., None], *arguments: Any) -> Any:
        process = django_q_cluster.get_mp_context().Process(
            target=_part, args=(target, os.getpid(), *arguments), name=f"Process-{uuid.uuid4().hex}", daemon=True
        )
        if target is django_q_worker:
            process.timer = arguments[2]
            self.pool.append(process)
        process.start()
        return process


def end_children() -> None:
    """Kill all descendants of this process: what they had not committed does not count."""
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()


class Worker:
    """One cluster of django-q2 and the process that minds it."""

    def __init__(self, parent_pid: int | None = None) -> None:
        self.parent = Parent(parent_pid) if parent_pid else None
        self.stopping = False

    def stop(self, *_signal: Any) -> None:
        """Ask the worker to end; a signal handler."""
        self.stopping = True

    def run(self) -> bool:
        """Work until told to stop, by a signal or by the end of the parent; return whether it ended as asked.

        A run at work gets ``GRACE_SECONDS`` to finish, then it is ended where it stands: its committed chunks count, and
        the next run of the job finishes it.
        """
        for name in ("SIGTERM", "SIGINT", "SIGBREAK", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self.stop)
        release_tasks_of_the_dead()
        broker = GuardedBroker()  # connects
        connections.close_all()  # a fork must not share a connection
        context = django_q_cluster.get_mp_context()
        stop_event, start_event = context.Event(), context.Event()
        sentinel = context.Process(
            target=Sentinel,
            name="sentinel",
            args=(stop_event, start_event, uuid.uuid4(), broker, None, os.getpid()),
        )
        sentinel.start()
        self._mind(sentinel)
        asked = self.stopping
        if sentinel.is_alive():
            # In a thread: setting the event waits for its waiter, which may have been killed just now.
            threading.Thread(target=stop_event.set, daemon=True).start()
            sentinel.join(GRACE_SECONDS)
        if sentinel.is_alive():
            end_children()
            logger.warning("a run was still at work; the next run of its job finishes it")
        return asked

    def _mind(self, sentinel: Any) -> None:
        next_time = time.monotonic()
        while not self.stopping and sentinel.is_alive():
            if self.parent and self.parent.is_gone():
                self.stopping = True
            elif time.monotonic() >= next_time:
                next_time = time.monotonic() + HOUSEKEEPING_SECONDS
                self._close_lost_runs()
            else:
                sentinel.join(POLL_SECONDS)

    def _close_lost_runs(self) -> None:
        try:
            for run_id in jobs.close_lost_runs():
                logger.warning(
                    "run %s was lost with its worker; it is closed, the next run of its job finishes it", run_id
                )
        except DatabaseError as error:
            logger.error("lost runs cannot be looked for now: %s", str(error).strip().partition("\n")[0])
            connection.close()


def release_tasks_of_the_dead() -> int:
    """Offer tasks again that an earlier worker took and never finished; return how many.

    django-q2 would do so only after ``retry``, two hours. A task that another worker does hold may be offered twice: its
    run is claimed by one, and the other one finds nothing to do.
    """
    with connection.cursor() as cursor:
        cursor.execute("update public.django_q_ormq set lock = now() - interval '1 second' where lock > now()")
        return int(cursor.rowcount)
