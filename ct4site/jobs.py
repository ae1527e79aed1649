"""Jobs and runs: one way to start a batch job, used by commands, queue, admin and API alike.

A job is a registered function. A run is its row in ``ops.ingestion_runs``: ``start`` writes it,
``execute`` claims and performs it. The function plans once, then applies in chunks, each in
``context.transaction()``: an explicit transaction, fenced by the run's attempt, so that a run that
lost its place cannot write (architecture.md, "A batch job, once").
"""

from __future__ import annotations

import getpass
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django_q.tasks import async_task
from psycopg2 import errors, sql

from ct4site import faults, sealing, sqlfiles
from ct4site.models import JobType, Run, RunStatus
from ct4site.privacy import refusal

logger = logging.getLogger("ct4.jobs")

# Rows from which on a chunk is worth a transaction of its own beside another connection's.
SMALL_CHUNK = 1000
MAX_ATTEMPTS = 5
QUEUED_PATH = "ct4site.jobs.run_queued"

Progress = Callable[[str, int, int | None], None]
Chunk = Callable[[str, int, int], Mapping[str, Any]]
Finish = Callable[[Run], None]
Told = Callable[[int, int, Mapping[str, Any]], None]


class JobError(Exception):
    """A job could not be started or failed; the message is a sentence for the person who asked."""


class AlreadyRunning(JobError):
    """Another run of the same job is at work."""

    def __init__(self, run: Run) -> None:
        self.run = run
        super().__init__(
            _("%(job)s already runs as run %(id)s since %(since)s. Wait for it, or look at it in the runs list.")
            % {"job": run.get_job_type_display(), "id": run.pk, "since": f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC"}
        )


class LostPlace(JobError):
    """The run was closed or taken over by another attempt; nothing more may be written."""


@dataclass(frozen=True)
class Job:
    """A registered job: its code, the function that performs it, the parameters it accepts."""

    code: JobType
    function: Callable[[RunContext], None]
    purpose: str | Promise
    parameters: frozenset[str]
    queueable: bool


_JOBS: dict[str, Job] = {}


def job(
    code: JobType, *, purpose: str | Promise, parameters: tuple[str, ...] = (), queueable: bool = True
) -> Callable[[Callable[[RunContext], None]], Callable[[RunContext], None]]:
    """Register a function as a job under its stored code (domain.md 14.4)."""

    def register(function: Callable[[RunContext], None]) -> Callable[[RunContext], None]:
        _JOBS[code] = Job(code, function, purpose, frozenset(parameters), queueable)
        return function

    return register


def registered_jobs() -> list[Job]:
    """Return all registered jobs by code."""
    return [_JOBS[code] for code in sorted(_JOBS)]


def _registered(code: str) -> Job:
    if code not in _JOBS:
        raise JobError(_("There is no job %(job)s.") % {"job": code})
    return _JOBS[code]


def merge_counts(into: dict[str, Any], counts: Mapping[str, Any]) -> None:
    """Add nested counts to a tally in place: ``{"a": 1, "b": {"c": 2}}``."""
    for key, value in counts.items():
        if isinstance(value, Mapping):
            merge_counts(into.setdefault(key, {}), value)
        else:
            into[key] = into.get(key, 0) + value


@dataclass
class RunContext:
    """What a job function gets: its parameters, and the only ways to write and to report."""

    run: Run
    attempt: int
    on_progress: Progress | None = None
    tally: dict[str, Any] = field(default_factory=dict)

    @property
    def run_id(self) -> int:
        return int(self.run.pk)

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.run.parameters)

    @property
    def plan_table(self) -> str:
        """Name, in schema ops, of the table that holds this run's plan."""
        return f"plan_{self.run_id}"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One step: everything inside commits together, or not at all.

        Raises ``LostPlace`` when another attempt has taken the run over. In a dry run the step is
        a savepoint of a transaction that is rolled back at the end.
        """
        with transaction.atomic(durable=not self.run.dry_run):
            with connection.cursor() as cursor:
                # Batch statements may take their time; their memory is worth a few merges on disk saved. A job's own
                # ``analyze`` looks at a small sample: it serves joins by key, and autovacuum looks again later.
                cursor.execute(
                    "set local statement_timeout = 0; set local work_mem = '256MB';"
                    " set local default_statistics_target = 20"
                )
            yield
            self._save()

    def count(self, counts: Mapping[str, Any]) -> None:
        """Add counts of rows changed in the current transaction to the tally."""
        merge_counts(self.tally, counts)

    def progress(self, phase: str, done: int, total: int | None = None) -> None:
        """Say how far the run is; stored with the current or next transaction."""
        self.run.phase, self.run.progress_done, self.run.progress_total = phase, done, total
        if self.on_progress:
            self.on_progress(phase, done, total)

    def note(self, text: str) -> None:
        """Add a line to the run's log; stored with the current or next transaction."""
        self.run.log = [*self.run.log, text][-200:]

    def _save(self) -> None:
        """Write the run's row; the last statement of every step, and its fence."""
        held = Run.objects.filter(pk=self.run_id, attempt=self.attempt, status=RunStatus.RUNNING)
        saved = held.update(
            stats=self.tally,
            phase=self.run.phase,
            progress_done=self.run.progress_done,
            progress_total=self.run.progress_total,
            has_plan=self.run.has_plan,
            log=self.run.log,
            heartbeat_at=Now(),
        )
        if not saved:
            raise LostPlace(_("Run %(id)s was closed or taken over; this attempt stops.") % {"id": self.run_id})


def current_actor() -> str:
    """Return who runs a command, for the audit: the operating-system user."""
    try:
        return f"command:{getpass.getuser()}"
    except (KeyError, OSError):
        return "command"


# --- start ------------------------------------------------------------------------------------------

# Alive: the back end that claimed the run still exists; before a claim (or from another tool)
# a fresh sign of life, or a queue that still holds tasks. The database's clock decides. When the back end of another
# role began is not told to everybody: it counts as alive.
_LOST = """
select runs.id
from ops.ingestion_runs as runs
where runs.status = 'RUNNING'
    and runs.id = any(%(held)s)
    and not exists (
        select 1 from pg_stat_activity as activity
        where activity.pid = runs.backend_pid
            and coalesce(activity.backend_start, runs.backend_started_at) = runs.backend_started_at
    )
    and (runs.backend_pid is not null or runs.heartbeat_at < now() - make_interval(secs => %(lease)s))
    and not (runs.attempt = 0 and exists (select 1 from public.django_q_ormq))
"""


def close_lost_runs(job_code: str | None = None) -> list[int]:
    """Close runs whose worker is gone as FAILED; return their ids (reliability F12).

    Such a run keeps its plan; the next run of the job finishes it.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            # A row that somebody holds is being worked on.
            running = Run.objects.select_for_update(skip_locked=True).filter(status=RunStatus.RUNNING)
            held = list((running.filter(job_type=job_code) if job_code else running).values_list("pk", flat=True))
            cursor.execute(_LOST, {"held": held, "lease": settings.RUN_LEASE_SECONDS})
            lost = [row[0] for row in cursor.fetchall()]
        Run.objects.filter(pk__in=lost).update(
            status=RunStatus.FAILED,
            completed_at=Now(),
            error_message=_(
                "The worker was lost: its connection ended without a word. The next run finishes what was planned."
            ),
        )
    return lost


def start(
    *, job_code: str, actor: str, parameters: Mapping[str, Any] | None = None, dry_run: bool = False,
    queue: bool = False, reverses: Run | None = None,
) -> Run:  # fmt: skip
    """Write the row of a new run and, with ``queue``, its task in the same transaction.

    Takes the job's code, who asks, and its parameters (JSON values). Returns the run, RUNNING with
    attempt 0. Raises ``AlreadyRunning``, or ``JobError`` for an unknown job or parameter.
    """
    registered = _registered(job_code)
    given = {name: value for name, value in (parameters or {}).items() if value is not None}
    unknown = set(given) - registered.parameters
    if unknown:
        raise JobError(_("%(job)s has no parameter %(name)s.") % {"job": job_code, "name": ", ".join(sorted(unknown))})
    if queue and not registered.queueable:
        raise JobError(_("%(job)s cannot be queued.") % {"job": job_code})
    close_lost_runs(job_code)
    try:
        with transaction.atomic():
            run = Run.objects.create(
                job_type=job_code,
                actor=actor,
                parameters=given,
                dry_run=dry_run,
                incremental=not given.get("full", False),
                scope_date_from=given.get("date_from"),
                scope_date_to=given.get("date_to"),
                reverses=reverses,
            )
            if queue:
                # The ORM broker enqueues in this transaction: no run without task, no task without run.
                async_task(QUEUED_PATH, run.pk, task_name=f"run-{run.pk}")
    except IntegrityError as error:
        if refusal(error) != "one_running_run_per_job":
            raise
        running = Run.objects.filter(job_type=job_code, status=RunStatus.RUNNING).first()
        if running is not None:
            raise AlreadyRunning(running) from None
        # It ended between our attempt and our look.
        return start(job_code=job_code, actor=actor, parameters=given, dry_run=dry_run, queue=queue, reverses=reverses)
    return Run.objects.get(pk=run.pk)


# --- execute ----------------------------------------------------------------------------------------

_CLAIM = """
update ops.ingestion_runs as runs
set attempt = runs.attempt + 1,
    heartbeat_at = now(),
    backend_pid = activity.pid,
    backend_started_at = activity.backend_start
from pg_stat_activity as activity
where runs.id = %(run_id)s and runs.status = 'RUNNING' and activity.pid = pg_backend_pid()
    and not exists (
        select 1 from pg_stat_activity as holder
        where holder.pid = runs.backend_pid
            and coalesce(holder.backend_start, runs.backend_started_at) = runs.backend_started_at
            and holder.pid <> pg_backend_pid()
    )
returning runs.attempt
"""


def execute(run_id: int, on_progress: Progress | None = None) -> Run:
    """Claim the run and perform its job; return the run as it ended.

    The attempt is counted before the work, so that a run that kills its worker ends after
    ``MAX_ATTEMPTS`` (reliability 3.2). A run that is over or held by another worker is returned
    as it is. Never raises for a failed job: the run says FAILED and why.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # First the row, then the question: one statement would ask it of the row as it was before the wait for the
        # lock, and of two workers at once both would be the first.
        cursor.execute("select 1 from ops.ingestion_runs where id = %s for update", [run_id])
        cursor.execute(_CLAIM, {"run_id": run_id})
        claimed = cursor.fetchone()
    run = Run.objects.get(pk=run_id)
    if claimed is None:
        return run
    if claimed[0] > MAX_ATTEMPTS:
        _finish(run, claimed[0], RunStatus.FAILED, _("Given up after %(count)s attempts.") % {"count": MAX_ATTEMPTS})
        return Run.objects.get(pk=run_id)
    context = RunContext(run, claimed[0], on_progress, dict(run.stats))
    try:
        function = _registered(run.job_type).function
        if run.dry_run:
            with transaction.atomic(durable=True):
                function(context)
                transaction.set_rollback(True)
            run.has_plan = False
        else:
            function(context)
        _finish(run, context.attempt, RunStatus.COMPLETED, None, context)
    except LostPlace as error:
        logger.warning("%s", error)
    except Exception as error:
        # What the database says of an error quotes rows, and those may be personal data (P9).
        shown = not isinstance(error, JobError | DatabaseError | InterfaceError)
        logger.error("run %s failed: %s: %s", run_id, type(error).__name__, _sentence(error), exc_info=shown)
        _finish(run, context.attempt, RunStatus.FAILED, _sentence(error))
    except BaseException:
        _finish(run, context.attempt, RunStatus.FAILED, _("Interrupted. The next run finishes what was planned."))
        raise
    return Run.objects.get(pk=run_id)


def _sentence(error: Exception) -> str:
    """What went wrong without values of rows: those may be personal data."""
    if isinstance(error, JobError):
        return str(error)
    if isinstance(error.__cause__, errors.LockNotAvailable):
        return _("Something else held the rows this run needs for too long. Nothing half-done remains; run it again.")
    if isinstance(error, OperationalError | InterfaceError):
        return _("The database did not answer or broke the connection. Nothing half-done remains; run it again.")
    if isinstance(error, DatabaseError):
        return _("The database refused: %(what)s.") % {"what": refusal(error)}
    return f"{type(error).__name__}"


def _finish(run: Run, attempt: int, status: RunStatus, message: str | None, context: RunContext | None = None) -> None:
    values: dict[str, Any] = {"status": status, "completed_at": Now(), "error_message": message, "heartbeat_at": Now()}
    if context is not None:
        values |= {"stats": context.tally, "log": run.log, "has_plan": run.has_plan, "phase": run.phase}
        values |= {"progress_done": run.progress_done, "progress_total": run.progress_total}
    for last_try in (False, True):
        try:
            Run.objects.filter(pk=run.pk, attempt=attempt, status=RunStatus.RUNNING).update(**values)
            break
        except (OperationalError, InterfaceError):
            if last_try:
                logger.error("run %s: its end could not be written; it will be closed as lost", run.pk)
                return
            connection.close()
    try:
        sealing.seal()
    except (DatabaseError, InterfaceError) as error:
        logger.warning("run %s: not sealed (%s); the end of the next run does it", run.pk, type(error).__name__)


def perform(
    *, job_code: str, actor: str, parameters: Mapping[str, Any] | None = None, dry_run: bool = False,
    on_progress: Progress | None = None, reverses: Run | None = None,
) -> Run:  # fmt: skip
    """Start and execute a run in this process; return it as it ended. Raises as ``start`` does."""
    run = start(job_code=job_code, actor=actor, parameters=parameters, dry_run=dry_run, reverses=reverses)
    return execute(run.pk, on_progress)


def run_queued(run_id: int) -> str:
    """Perform a queued run; the one path the queue carries. Always returns, so the queue acknowledges."""
    if not Run.objects.filter(pk=run_id).exists():
        return "unknown run"
    return str(execute(run_id).status)


# --- plans ------------------------------------------------------------------------------------------


def statement(name: str, parameters: Mapping[str, Any], **parts: sql.Composable) -> Any:
    """Run the statements of sql/jobs/<name>.sql; return the first row of the last one, if it has rows.

    Takes the values of its ``%(name)s`` parameters, and SQL for its ``{name}`` parts.
    """
    return statements([name], parameters, **parts)


def statements(names: Sequence[str], parameters: Mapping[str, Any], **parts: sql.Composable) -> Any:
    """Run several files of sql/jobs one after the other as one question to the database; takes what ``statement`` takes.

    Returns the first row of the last one, if it has rows.
    """
    texts = [sql.SQL(sqlfiles.load(name)).format(**parts) for name in names]
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(";\n").join(texts), parameters)
        return cursor.fetchone() if cursor.description else None


def counted(name: str, parameters: Mapping[str, Any], **parts: sql.Composable) -> dict[str, Any]:
    """Run a statement that answers with one JSON object, and return that; takes what ``statement`` takes."""
    counts: dict[str, Any] = json.loads(statement(name, parameters, **parts)[0])
    return counts


def diagnosed(name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the figures of a diagnosis, sql/jobs/<name>.sql: one statement that reads only and takes its time."""
    with connection.cursor() as cursor:
        cursor.execute("set statement_timeout = 0")
    try:
        return counted(name, parameters or {})
    finally:
        with connection.cursor() as cursor:
            cursor.execute("reset statement_timeout")


def plan_identifier(name: str) -> sql.Identifier:
    """Return the qualified name of a plan table, for use in SQL."""
    return sql.Identifier("ops", name)


def store_plan(context: RunContext, name: str, parameters: Mapping[str, Any], **parts: sql.Composable) -> None:
    """Make the run's plan table from sql/jobs/<name>.sql; must run inside a step of the run.

    The table has at least ``seq`` (1, 2, ...) and ``group_no`` (rows that must be applied together).
    """
    plan = plan_identifier(context.plan_table)
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("drop table if exists {}").format(plan))
        cursor.execute(sql.SQL(sqlfiles.load(name)).format(plan=plan, **parts), parameters)
        total = cursor.rowcount
        cursor.execute(sql.SQL("create index on {} (seq); analyze {} (seq, group_no)").format(plan, plan))
    context.run.has_plan = True
    context.progress("apply", 0, total)


def applied_by(name: str, **more: Any) -> Callable[[RunContext], Chunk]:
    """Return the chunks of a plan that one statement applies, sql/jobs/<name>.sql; it answers with its counts.

    The statement gets ``first``, ``last``, ``run_id``, ``actor`` and what else is given, and the part ``plan``.
    """

    def chunks(context: RunContext) -> Chunk:
        def chunk(table: str, first: int, last: int) -> Mapping[str, Any]:
            told = {"first": first, "last": last, "run_id": context.run_id, "actor": context.run.actor}
            return counted(name, told | more, plan=plan_identifier(table))

        return chunk

    return chunks


def finish_interrupted(
    context: RunContext,
    chunks: Callable[[RunContext], Chunk],
    lock: Callable[[], None] = lambda: None,
    finish: Finish | None = None,
) -> None:
    """Finish plans that earlier runs of this job left behind, and this run's own after a redelivery."""
    while (owner := unfinished_plan(context)) is not None:
        apply_plan(context, owner, chunks(context), lock, finish)


def unfinished_plan(context: RunContext) -> Run | None:
    """Return the run whose stored plan is still partly unapplied: this one, or an interrupted one before it.

    A run that died keeps its plan; the next run of the job finishes it first, so that the outcome
    is that of an undisturbed run (reliability F7, F8). A plan on which ``MAX_ATTEMPTS`` runs died
    or failed is dropped: planning anew may help, the plan itself does not (F10).
    """
    runs = Run.objects.filter(job_type=context.run.job_type, has_plan=True)
    if own := runs.filter(pk=context.run_id).first():
        return own
    for owner in runs.filter(status=RunStatus.FAILED).order_by("pk"):
        if owner.attempt < MAX_ATTEMPTS:
            return owner
        with context.transaction():
            drop_plan(owner)
            context.note(
                _("The plan of run %(id)s was given up after %(count)s attempts.")
                % {"id": owner.pk, "count": MAX_ATTEMPTS}
            )
    return None


def apply_plan(
    context: RunContext,
    owner: Run,
    chunk: Chunk,
    lock: Callable[[], None] = lambda: None,
    finish: Finish | None = None,
    told: Told = lambda _number, _total, _counts: None,
) -> None:
    """Apply the plan of ``owner`` from its last committed position to its end, then drop it.

    ``ops.plan_<id>`` holds rows numbered by ``seq``; rows of one ``group_no`` stay in one chunk.
    ``chunk(table, first, last)`` applies the rows ``first < seq <= last`` and returns the counts of
    what it changed; counts, position and effects commit together. Chunks are worked on by several
    connections at once and committed in order, so one position says how far the plan is applied.
    ``lock()`` takes what keeps other writers away, at the start of every chunk's transaction; a caller that keeps them
    away for the whole time needs none.
    ``finish(owner)`` runs once all is applied, in the transaction that drops the plan.
    ``told(number, total, counts)`` hears of every chunk in order, in its transaction.
    """
    table = f"plan_{owner.pk}"
    own = owner.pk == context.run_id
    if not own:
        context.note(_("Finishing the plan of run %(id)s, which was interrupted.") % {"id": owner.pk})
        with context.transaction():  # counted before the work: the plan may be what kills its worker
            Run.objects.filter(pk=owner.pk).update(attempt=F("attempt") + 1)
    ends = _chunk_ends(table, owner.progress_done)
    ranges = list(zip([owner.progress_done, *ends], ends, strict=False))
    pipeline = _Pipeline(context, owner, chunk, lock, told, ranges)
    # Inside somebody's transaction (a dry run) only this connection sees the plan.
    alone = context.run.dry_run or connection.in_atomic_block
    pipeline.run(1 if alone else min(settings.APPLY_CONNECTIONS, len(ends)))
    with context.transaction():
        if finish:
            finish(owner)
        drop_plan(owner)
        if own:
            context.run.has_plan = False


class _Pipeline:
    """Chunks applied side by side, committed one after the other."""

    def __init__(
        self, context: RunContext, owner: Run, chunk: Chunk,
        lock: Callable[[], None], told: Told, ranges: list[tuple[int, int]],
    ) -> None:  # fmt: skip
        self.context, self.owner, self.chunk, self.lock, self.ranges = context, owner, chunk, lock, ranges
        self.told = told
        self.next = 0
        self.locked = 0
        self.committed = 0
        self.error: BaseException | None = None
        self.turn = threading.Condition()

    def run(self, connections_count: int) -> None:
        if connections_count <= 1:
            self._work()
        else:
            threads = [
                threading.Thread(target=self._work_and_close, daemon=True) for _number in range(connections_count)
            ]
            for thread in threads:
                thread.start()
            try:
                for thread in threads:
                    thread.join()
            except BaseException as error:
                self._stop(error)
                for thread in threads:
                    thread.join()
                raise
        if self.error is not None:
            raise self.error

    def _work_and_close(self) -> None:
        try:
            self._work()
        finally:
            connection.close()

    def _work(self) -> None:
        try:
            while (number := self._take()) is not None:
                self._apply(number)
                faults.point(f"chunk:{number + 1}:committed")
                with self.turn:
                    self.committed = number + 1
                    self.turn.notify_all()
        except BaseException as error:
            self._stop(error)

    def _take(self) -> int | None:
        with self.turn:
            if self.error is not None or self.next == len(self.ranges):
                return None
            self.next += 1
            return self.next - 1

    def _stop(self, error: BaseException) -> None:
        with self.turn:
            self.error = self.error or error
            self.turn.notify_all()

    def _apply(self, number: int) -> None:
        first, last = self.ranges[number]
        with self.context.transaction():
            with connection.cursor() as cursor:
                # Tables fill up under this connection: a plan made, and kept for foreign keys, while one was empty
                # must not read it whole for every row. A chunk that a power cut takes away is applied again, so its
                # commit need not wait for the disk; the run's last commit does, and with it all before.
                cursor.execute("set local enable_seqscan = off; set local synchronous_commit = off")
            self._lock(number)
            faults.point(f"chunk:{number + 1}:picked")
            counts = self.chunk(f"plan_{self.owner.pk}", first, last)
            with connection.cursor() as cursor:
                # What would be checked at commit is checked before the turn, beside the other connection's work.
                # A dry run's chunk is a savepoint: what was set for it would stay for the rest of the transaction.
                cursor.execute("set constraints all immediate; set local enable_seqscan = on")
            faults.point(f"chunk:{number + 1}:effected")
            self._wait(lambda: self.committed == number)
            self.context.count(counts)
            self.told(number + 1, len(self.ranges), counts)
            self.context.progress("apply", last, self.owner.progress_total)
            if self.owner.pk != self.context.run_id:
                Run.objects.filter(pk=self.owner.pk).update(progress_done=last)

    def _lock(self, number: int) -> None:
        """Take the lock after every earlier chunk has it.

        Otherwise a chunk could hold the lock while it waits for the commit of an earlier one, which
        waits for the lock behind some other writer: a circle that the database does not see.
        """
        self._wait(lambda: self.locked == number)
        self.lock()
        with self.turn:
            self.locked = number + 1
            self.turn.notify_all()

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self.turn:
            self.turn.wait_for(lambda: condition() or self.error is not None)
        if self.error is not None:
            raise LostPlace("an earlier chunk failed")


def _chunk_ends(table: str, position: int) -> list[int]:
    """Last ``seq`` of every chunk after a position, extended so that no group is cut.

    A chunk has the configured number of rows; fewer where a short plan would leave a connection without work.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                """
                select max(seq)
                from (select seq, min(seq) over (partition by group_no) as starts from {table} where seq > %(position)s) as rows
                group by
                    (starts - 1)
                    / least(%(size)s, greatest(%(least)s, (select count(*) / %(pieces)s from {table} where seq > %(position)s)))
                order by 1
                """
            ).format(table=sql.Identifier("ops", table)),
            {
                "position": position,
                "size": settings.CHUNK_SIZE,
                "least": SMALL_CHUNK,
                "pieces": 2 * settings.APPLY_CONNECTIONS,
            },
        )
        return [row[0] for row in cursor.fetchall()]


def drop_plan(owner: Run) -> None:
    """Drop the stored plan of a run."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("drop table if exists {}").format(sql.Identifier("ops", f"plan_{owner.pk}")))
    Run.objects.filter(pk=owner.pk).update(has_plan=False)
