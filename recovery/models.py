"""Tables of recovery: tries of matching per lead, what was recovered and when, the daily figures (domain.md 3.11, 7, 8)."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Case, Q, Value, When
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from ct4site.models import Run
from identity.models import Person, ReasonCode
from recovery.views_models import (
    SEVERITY_RANK,
    AlertType,
    ClaimStatusBucket,
    GapAlert,
    GapCase,
    GapReason,
    IdentityGap,
    ImpactBucket,
    RecoveryImpact,
    RedFigureDay,
    RetryStatus,
    RiskLevel,
    Severity,
    SuggestedAction,
)

__all__ = [
    "SEVERITY_RANK", "AlertType", "ClaimStatusBucket", "GapAlert", "GapCase", "GapReason", "IdentityGap", "ImpactBucket", "RecoveryImpact",
    "RedFigureDay", "RiskLevel", "Severity", "SuggestedAction",
]  # fmt: skip


MAX_ATTEMPTS = 5
"""Tries after which a lead counts as given up (domain.md 7.5); it is tried again when something changes (Q38)."""

# Why a try came to nothing (domain.md 7.5, Q34): the reasons of matching and those of the job itself.
FAIL_REASONS: dict[str, Any] = {
    **dict(ReasonCode.choices),
    "manual_origin_conflict": _("The origin was decided by a person"),
    "lead_not_found": _("No longer in the feed"),
    "rolled_back": _("Taken back by a roll-back"),
}


class RetryCause(models.TextChoices):
    """Why a lead was tried (Q38): nothing is tried twice on the same facts."""

    FIRST = "first", _("Never tried before")
    REOPENED = "reopened", _("Was matched, is open again")
    DRIVER_CHANGED = "driver_changed", _("A driver with one of its keys changed")
    LEAD_CHANGED = "lead_changed", _("The lead changed")
    RULES_CHANGED = "rules_changed", _("The rules changed")
    TRIED_ELSEWHERE = "tried_elsewhere", _("A matching run found another reason")
    LINKED = "linked", _("Has a person by now, lacks the origin")
    ORIGIN_CHANGED = "origin_changed", _("The origin of its person changed")


class RecoveryMethod(models.TextChoices):
    """What brought a lead back (domain.md 8.3)."""

    RETRY_MATCHING = "retry_matching", _("Matching again")
    ORIGIN_BACKFILL = "origin_backfill", _("Origin set")
    IDENTITY_LINK = "identity_link", _("Linked by a later run")
    KPI_RED = "kpi_red", _("Queue of the red figure")
    MANUAL = "manual", _("By a person")


class RecoveryEventType(models.TextChoices):
    RECOVERED = "recovered", _("Recovered")
    RECOVERED_AGAIN = "recovered_again", _("Recovered again")
    UNDONE = "undone", _("Taken back")


class MatchingJob(models.Model):
    """The tries of one lead (domain.md 3.11, 7.5). A matched one has its link: the database asks for it at commit."""

    id = models.BigAutoField(primary_key=True)
    source_type = models.TextField(_("kind"), default="cabinet", db_default="cabinet")
    source_id = models.TextField(_("lead"))
    status = models.TextField(_("status"), choices=RetryStatus.choices, default="pending", db_default="pending")
    attempt_count = models.IntegerField(_("tries"), default=0, db_default=0)
    last_attempt_at = models.DateTimeField(_("last try"), null=True, blank=True)
    # The database's own reference empties itself with the person (contract of the table).
    matched_person = models.ForeignKey(
        Person, models.DO_NOTHING, null=True, blank=True, db_column="matched_person_key", db_index=False,
        db_constraint=False, verbose_name=_("person"), related_name="+",
    )  # fmt: skip
    fail_reason = models.TextField(_("reason"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())
    updated_at = models.DateTimeField(_("changed"), db_default=Now())
    rules_version = models.TextField(null=True, blank=True, editable=False)
    # What the reference to the link starts from; empty unless matched.
    link_source_table = models.GeneratedField(
        expression=Case(When(status="matched", then=Value("module_ct_cabinet_leads"))),
        output_field=models.TextField(null=True),
        db_persist=True,
    )

    class Meta:
        db_table = "identity_matching_jobs"
        ordering = ["-last_attempt_at", "-id"]
        verbose_name = _("retry of a lead")
        verbose_name_plural = _("retries of leads")
        constraints = [
            models.UniqueConstraint(fields=["source_type", "source_id"], name="lead_has_one_matching_job"),
            models.CheckConstraint(condition=Q(source_type="cabinet"), name="matching_job_is_of_a_cabinet_lead"),
            models.CheckConstraint(condition=Q(status__in=RetryStatus.values), name="matching_job_has_a_known_status"),
            models.CheckConstraint(condition=Q(attempt_count__gte=0), name="matching_job_counts_its_tries"),
            models.CheckConstraint(condition=~Q(source_id=""), name="matching_job_names_its_lead"),
        ]
        indexes = [
            models.Index(fields=["status", "last_attempt_at"], name="matching_job_by_status"),
            models.Index(fields=["-last_attempt_at", "-id"], name="matching_job_by_try"),
            models.Index(fields=["fail_reason"], name="matching_job_by_reason", condition=Q(fail_reason__isnull=False)),
            models.Index(
                fields=["matched_person"], name="matching_job_by_person", condition=Q(matched_person__isnull=False)
            ),
            models.Index(
                fields=["source_id"], name="matching_job_by_link", condition=Q(link_source_table__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.source_id


class MatchingAttempt(models.Model):
    """One try of a lead: why it was tried, what came of it (Q38). Append-only."""

    id = models.BigAutoField(primary_key=True)
    lead_id = models.TextField(_("lead"))
    attempt = models.IntegerField(_("try"))
    attempted_at = models.DateTimeField(_("when"), db_default=Now())
    cause = models.TextField(_("why"), choices=RetryCause.choices)
    outcome = models.TextField(_("outcome"), choices=RetryStatus.choices)
    fail_reason = models.TextField(_("reason"), null=True, blank=True)
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, blank=True, db_constraint=False, verbose_name=_("run"), related_name="+"
    )

    class Meta:
        db_table = "identity_matching_attempts"
        ordering = ["-id"]
        verbose_name = _("try of a lead")
        verbose_name_plural = _("tries of leads")
        indexes = [models.Index(fields=["lead_id"], name="matching_attempt_by_lead")]

    def __str__(self) -> str:
        return f"{self.lead_id} · {self.attempt}"


class RecoveredLead(models.Model):
    """When a lead was first and last recovered (domain.md 3.11). ``first_recovered_at`` never changes."""

    lead_id = models.TextField(_("lead"), primary_key=True)
    first_recovered_at = models.DateTimeField(_("first recovered"), null=True, blank=True)
    last_recovered_at = models.DateTimeField(_("last recovered"), null=True, blank=True)
    recovered_person_key = models.UUIDField(_("person"), null=True, blank=True)
    recovered_by = models.TextField(_("recovered by"), default="system", db_default="system")
    recovery_method = models.TextField(_("how"), choices=RecoveryMethod.choices, null=True, blank=True)
    updated_at = models.DateTimeField(_("changed"), db_default=Now())

    class Meta:
        db_table = "cabinet_lead_recovery_audit"
        ordering = ["-first_recovered_at", "lead_id"]
        verbose_name = _("recovered lead")
        verbose_name_plural = _("recovered leads")
        constraints = [
            models.CheckConstraint(
                condition=Q(recovery_method__in=RecoveryMethod.values) | Q(recovery_method=None),
                name="recovered_lead_has_a_known_method",
            ),
        ]
        indexes = [
            models.Index(fields=["-first_recovered_at", "lead_id"], name="recovered_lead_by_date"),
            models.Index(fields=["recovered_person_key"], name="recovered_lead_by_person"),
        ]

    def __str__(self) -> str:
        return self.lead_id


class RecoveryEvent(models.Model):
    """One recovery of a lead, or its being taken back, with the row before and after (domain.md 8.3). Append-only."""

    id = models.BigAutoField(primary_key=True)
    lead_id = models.TextField(_("lead"))
    event = models.TextField(_("what"), choices=RecoveryEventType.choices)
    recovery_method = models.TextField(_("how"), choices=RecoveryMethod.choices, null=True, blank=True)
    person_key = models.UUIDField(_("person"), null=True, blank=True)
    recovered_at = models.DateTimeField(_("recovered"), null=True, blank=True)
    recorded_at = models.DateTimeField(_("recorded"), db_default=Now())
    recorded_by = models.TextField(_("recorded by"))
    before = models.JSONField(_("before"), null=True, blank=True)
    after = models.JSONField(_("after"), null=True, blank=True)
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, blank=True, db_constraint=False, verbose_name=_("run"), related_name="+"
    )

    class Meta:
        db_table = "cabinet_lead_recovery_events"
        ordering = ["-id"]
        verbose_name = _("recovery of a lead")
        verbose_name_plural = _("recoveries of leads")
        indexes = [
            models.Index(fields=["lead_id"], name="recovery_event_by_lead"),
            models.Index(fields=["run"], name="recovery_event_by_run"),
        ]

    def __str__(self) -> str:
        return f"{self.lead_id} · {self.get_event_display()}"


class GapDay(models.Model):
    """How the gaps stood on a day (Lima), by the last run of that day (domain.md 7.7, Q39)."""

    snapshot_date = models.DateField(_("day"), primary_key=True)
    taken_at = models.DateTimeField(_("taken"), db_default=Now())
    total_leads = models.IntegerField(_("leads"))
    unresolved = models.IntegerField(_("unresolved"))
    no_identity = models.IntegerField(_("without person"))
    no_origin = models.IntegerField(_("without origin"))
    inconsistent_origin = models.IntegerField(_("wrong origin"))
    high_risk = models.IntegerField(_("high risk"))
    medium_risk = models.IntegerField(_("medium risk"))
    low_risk = models.IntegerField(_("low risk"))
    matched_24h = models.IntegerField(_("matched in 24 hours"))
    matched_out = models.IntegerField(_("linked since the day before"))
    top_fail_reason = models.TextField(_("most frequent reason"), null=True, blank=True)

    class Meta:
        db_table = "identity_gap_days"
        ordering = ["-snapshot_date"]
        verbose_name = _("gaps of a day")
        verbose_name_plural = _("gaps by day")
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    unresolved=models.F("no_identity") + models.F("no_origin") + models.F("inconsistent_origin")
                )
                & Q(unresolved=models.F("high_risk") + models.F("medium_risk") + models.F("low_risk")),
                name="gaps_of_a_day_add_up",
            )
        ]

    def __str__(self) -> str:
        return str(self.snapshot_date)
