"""Tables of orphans: the quarantine of drivers without a lead, and its history (domain.md 3.6, 9)."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from ct4site.models import Run
from identity.models import Person


class OrphanStatus(models.TextChoices):
    """What became of an orphan (domain.md 3.6)."""

    QUARANTINED = "quarantined", _("Quarantined")
    RESOLVED_RELINKED = "resolved_relinked", _("Relinked")
    RESOLVED_CREATED_LEAD = "resolved_created_lead", _("Lead created")
    PURGED = "purged", _("Purged")


class OrphanReason(models.TextChoices):
    """Why a driver is an orphan (domain.md 3.6, Q50, Q52)."""

    NO_LEAD_NO_EVENTS = "no_lead_no_events", _("No lead, no lead events")
    REPAIR_FAILED = "no_lead_has_events_repair_failed", _("Lead events, but none that repairs")
    LEGACY = "legacy_driver_without_origin", _("From before the lead system")
    MANUAL = "manual_detection", _("Put here by a person")


class QuarantinedDriver(models.Model):
    """One driver that was found without a lead, whatever became of it (domain.md 3.6).

    ``lead_events_count`` is how many lead records pointed to the driver when it was last decided (Q51); ``evidence_json``
    names them and says why each did or did not suffice.
    """

    driver_id = models.TextField(_("driver"), primary_key=True)
    person = models.ForeignKey(
        Person, models.SET_NULL, null=True, blank=True, db_column="person_key", db_index=False,
        verbose_name=_("person"), related_name="+",
    )  # fmt: skip
    detected_at = models.DateTimeField(_("detected"), db_default=Now())
    detected_reason = models.TextField(_("reason"), choices=OrphanReason.choices)
    creation_rule = models.TextField(_("linked by rule"), null=True, blank=True)
    evidence_json = models.JSONField(_("evidence"), null=True, blank=True)
    status = models.TextField(
        _("status"), choices=OrphanStatus.choices, default=OrphanStatus.QUARANTINED, db_default="quarantined"
    )
    resolved_at = models.DateTimeField(_("resolved"), null=True, blank=True)
    resolution_notes = models.TextField(_("notes"), null=True, blank=True)
    lead_events_count = models.IntegerField(_("lead events"), default=0, db_default=0)

    class Meta:
        db_table = "driver_orphan_quarantine"
        ordering = ["-detected_at", "driver_id"]
        verbose_name = _("driver without lead")
        verbose_name_plural = _("drivers without lead")
        constraints = [
            models.CheckConstraint(condition=Q(status__in=OrphanStatus.values), name="orphan_has_a_known_status"),
            models.CheckConstraint(
                condition=Q(detected_reason__in=OrphanReason.values), name="orphan_has_a_known_reason"
            ),
            models.CheckConstraint(
                condition=Q(status=OrphanStatus.QUARANTINED, resolved_at=None)
                | Q(~Q(status=OrphanStatus.QUARANTINED), resolved_at__isnull=False),
                name="orphan_is_resolved_exactly_when_it_left_quarantine",
            ),
            models.CheckConstraint(condition=~Q(driver_id=""), name="orphan_names_its_driver"),
        ]
        indexes = [
            models.Index(fields=["status", "-detected_at"], name="orphan_by_status"),
            models.Index(fields=["detected_reason"], name="orphan_by_reason"),
            models.Index(fields=["person"], name="orphan_by_person"),
            models.Index(fields=["-detected_at", "-driver_id"], name="orphan_by_detection"),
        ]

    def __str__(self) -> str:
        return self.driver_id


class QuarantineChange(models.Model):
    """History of the quarantine, first entry included (domain.md 3.6). Append-only."""

    id = models.BigAutoField(primary_key=True)
    driver_id = models.TextField(_("driver"))
    status_old = models.TextField(_("status before"), null=True, blank=True)
    status_new = models.TextField(_("status after"), null=True, blank=True)
    detected_reason_old = models.TextField(_("reason before"), null=True, blank=True)
    detected_reason_new = models.TextField(_("reason after"), null=True, blank=True)
    change_reason = models.TextField(_("why"))
    notes = models.TextField(_("notes"), null=True, blank=True)
    changed_by = models.TextField(_("changed by"))
    changed_at = models.DateTimeField(_("changed"), db_default=Now())
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, blank=True, db_constraint=False, verbose_name=_("run"), related_name="+"
    )

    class Meta:
        db_table = "driver_orphan_quarantine_history"
        ordering = ["-id"]
        verbose_name = _("change of quarantine")
        verbose_name_plural = _("quarantine history")
        indexes = [models.Index(fields=["driver_id"], name="quarantine_change_by_driver")]

    def __str__(self) -> str:
        words = dict(OrphanStatus.choices)
        before, after = (words.get(code or "", code or "–") for code in (self.status_old, self.status_new))
        return f"{before} → {after}"
