"""Kernel tables: runs and the audit log (domain.md 3.11, extended; decisions in docs/adr/0004)."""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class RunStatus(models.TextChoices):
    """Stored values of a run's status (domain.md 14.4)."""

    RUNNING = "RUNNING", _("Running")
    COMPLETED = "COMPLETED", _("Completed")
    FAILED = "FAILED", _("Failed")


class JobType(models.TextChoices):
    """Stored codes of all jobs (domain.md 14.4 and ours)."""

    IDENTITY_RUN = "identity_run", _("Identity matching")
    DRIVERS_INDEX_REFRESH = "drivers_index_refresh", _("Drivers index refresh")
    SOURCE_LOAD = "source_load", _("Source file load")
    ROLL_BACK = "roll_back", _("Roll-back of a run")
    LEGACY_LOAD = "legacy_load", _("Load of the predecessor's history")
    ORPHANS_FIX = "orphans_fix", _("Drivers without leads")
    PROCESS_LEDGER = "process_ledger", _("Decision of the lead ledger")
    SCOUT_REFRESH = "scout_attribution_refresh", _("Scout attribution refresh")
    SCOUT_FIX = "scout_attribution_fix", _("Scout attribution fix")
    POPULATE_EVENTS = "populate_events", _("Lead events")
    LINKS_BACKFILL = "identity_links_backfill", _("Backfill of scouting links")
    LEDGER_BACKFILL = "lead_ledger_backfill", _("Backfill of the ledger's scouts")
    EVENTS_BACKFILL = "lead_events_backfill", _("Backfill of the events' scouts")
    SCOUT_MAPPING_LOAD = "scout_mapping_load", _("Load of mapped scouts")
    COLLECTION_REFRESH = "collection_refresh", _("Collection refresh")
    SETTLEMENT_CLOSE = "settlement_close", _("Closing of a settlement period")
    CLAIMS_COMPARISON = "claims_comparison", _("Comparison of claims")
    GAP_RECOVERY = "identity_gap_recovery", _("Matching lost leads again")
    RECOVERY_IMPACT = "cabinet_recovery_impact", _("Recovery impact")
    REVIEW_REFRESH = "review_refresh", _("Refresh of the cases")
    REVIEW_DECISION = "review_decision", _("Decision of a person")


# Words for the stored codes of a run's phase; an app adds the phases of its own jobs.
PHASES: dict[str, str | Promise] = {
    "read": _("reading the file"),
    "plan": _("making the plan"),
    "apply": _("applying the plan"),
    "restore": _("putting back"),
}


def phase_label(code: str) -> str:
    """Return a phase of a run in words; the code itself for one without words."""
    return str(PHASES.get(code, code))


class Run(models.Model):
    """One execution of a job: who asked, with what, how far it is, what it did.

    A queued run is RUNNING with attempt 0. ``stats`` holds committed counts only.
    """

    id = models.AutoField(primary_key=True)
    job_type = models.TextField(_("job"), choices=JobType.choices, default=JobType.IDENTITY_RUN)
    status = models.TextField(_("status"), choices=RunStatus.choices, default=RunStatus.RUNNING)
    started_at = models.DateTimeField(_("started"), db_default=Now())
    completed_at = models.DateTimeField(_("completed"), null=True, blank=True)
    actor = models.TextField(_("started by"), default="system")
    parameters = models.JSONField(_("parameters"), default=dict)
    scope_date_from = models.DateField(_("from date"), null=True, blank=True)
    scope_date_to = models.DateField(_("to date"), null=True, blank=True)
    incremental = models.BooleanField(_("incremental"), default=True)
    dry_run = models.BooleanField(_("dry run"), default=False)
    attempt = models.IntegerField(_("attempt"), default=0)
    heartbeat_at = models.DateTimeField(_("last sign of life"), db_default=Now())
    backend_pid = models.IntegerField(null=True, blank=True, editable=False)
    backend_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    phase = models.TextField(_("phase"), default="", blank=True)
    progress_done = models.BigIntegerField(_("done"), default=0)
    progress_total = models.BigIntegerField(_("total"), null=True, blank=True)
    has_plan = models.BooleanField(_("has a plan to resume"), default=False)
    stats = models.JSONField(_("tally"), default=dict)
    log = models.JSONField(_("log"), default=list)
    error_message = models.TextField(_("error"), null=True, blank=True)
    reverses = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, verbose_name=_("rolls back"), related_name="reversed_by"
    )
    # Of its audit entries, once it is over; empty for one from before there were digests. And the first entry of them.
    digest = models.TextField(null=True, blank=True, editable=False)
    audit_from = models.BigIntegerField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "ingestion_runs"
        ordering = ["-id"]
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        constraints = [
            models.CheckConstraint(condition=Q(status__in=RunStatus.values), name="run_has_a_known_status"),
            models.CheckConstraint(condition=Q(job_type__in=JobType.values), name="run_has_a_known_job"),
            models.CheckConstraint(
                condition=Q(status=RunStatus.RUNNING, completed_at=None)
                | Q(~Q(status=RunStatus.RUNNING), completed_at__isnull=False),
                name="run_has_an_end_exactly_when_it_is_over",
            ),
            models.UniqueConstraint(
                fields=["job_type"], condition=Q(status=RunStatus.RUNNING), name="one_running_run_per_job"
            ),
        ]
        indexes = [models.Index(fields=["job_type", "-id"], name="run_by_job")]
        permissions = [("run_jobs", _("May start jobs")), ("roll_back_run", _("May roll back a run"))]

    def __str__(self) -> str:
        return f"{self.get_job_type_display()} #{self.pk}"

    def get_phase_display(self) -> str:
        """Return the phase in words."""
        return phase_label(self.phase)

    @property
    def is_queued(self) -> bool:
        """Whether the run waits for a worker."""
        return self.status == RunStatus.RUNNING and self.attempt == 0


class AuditEntry(models.Model):
    """What changed: who, when, why, before, after. Append-only, guarded by the database.

    ``before`` is null for a created row, ``after`` for a removed one; both are the whole row.
    Written in the transaction of the change itself.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(_("when"), db_default=Now())
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, blank=True, db_constraint=False, verbose_name=_("run"), related_name="+"
    )
    actor = models.TextField(_("who"))
    action = models.TextField(_("action"))
    reason = models.TextField(_("reason"), default="", db_default="")
    subject_table = models.TextField(_("table"))
    subject_key = models.TextField(_("row"))
    person_key = models.UUIDField(_("person"), null=True, blank=True)
    before = models.JSONField(_("before"), null=True, blank=True)
    after = models.JSONField(_("after"), null=True, blank=True)

    class Meta:
        db_table = "audit_log"
        ordering = ["-id"]
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        indexes = [
            # Rows of a run lie together: a block range index is enough and costs writers nothing.
            BrinIndex(fields=["run"], name="audit_by_run"),
            models.Index(fields=["person_key"], name="audit_by_person", condition=Q(person_key__isnull=False)),
            models.Index(fields=["id"], name="audit_without_run", condition=Q(run=None)),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject_table} {self.subject_key}"


class AuditSeal(models.Model):
    """A link of the chain that seals the audit log (reliability I8): of the entries of a run, or of those without run.

    ``entries`` is the digest of what is sealed, ``digest`` that of this seal and, through the one before, of all. Seals
    are numbered without gaps. One without run seals the entries without run after ``first_after`` up to ``last_entry``.
    """

    no = models.BigIntegerField(primary_key=True)
    run = models.OneToOneField(Run, models.PROTECT, null=True, related_name="+")
    first_after = models.BigIntegerField(null=True)
    last_entry = models.BigIntegerField(null=True)
    entries = models.TextField()
    digest = models.TextField(unique=True)
    sealed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "audit_seals"
        ordering = ["-no"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.no}: {self.digest}"


# Registered with Django by being imported here; they need only what is above.
from ct4site.review_models import (  # noqa: E402
    CaseKind,
    CaseStatus,
    ClosedBecause,
    Decision,
    DecisionReason,
    Deed,
    Proposal,
    ProposalStatus,
    ReviewCase,
    UndoLeftover,
)

__all__ = [
    "PHASES",
    "AuditEntry",
    "AuditSeal",
    "CaseKind",
    "CaseStatus",
    "ClosedBecause",
    "Decision",
    "DecisionReason",
    "Deed",
    "JobType",
    "Proposal",
    "ProposalStatus",
    "ReviewCase",
    "Run",
    "RunStatus",
    "UndoLeftover",
    "phase_label",
]
