"""Tables of attribution: the lead ledger, mapped scouts, audits of the backfills, daily metrics (domain.md 3.9, 3.11, 6)."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from ct4site.models import Run
from identity.models import Person


class AttributedSource(models.TextChoices):
    """Which kind of lead gets the person (domain.md 14.4)."""

    CABINET = "cabinet", _("Cabinet")
    SCOUTING = "scouting", _("Scouting")
    FLEET_MIGRATION = "fleet_migration", _("Fleet migration")


class LedgerConfidence(models.TextChoices):
    HIGH = "high", _("High")
    MEDIUM = "medium", _("Medium")
    LOW = "low", _("Low")


class DecisionStatus(models.TextChoices):
    ASSIGNED = "assigned", _("Assigned")
    UNASSIGNED = "unassigned", _("Unassigned")
    CONFLICT = "conflict", _("Conflict")


class LedgerEntry(models.Model):
    """Which source and which scout get a person; the source of truth for the scout (domain.md 3.9, 6.2).

    ``evidence_digest`` tells a later run whether the person's events changed since it was decided.
    """

    person = models.OneToOneField(
        Person,
        models.PROTECT,
        primary_key=True,
        db_column="person_key",
        verbose_name=_("person"),
        related_name="ledger",
    )
    attributed_source = models.TextField(_("source"), choices=AttributedSource.choices, null=True, blank=True)
    attributed_scout_id = models.IntegerField(_("scout"), null=True, blank=True)
    attribution_rule = models.TextField(_("rule"), null=True, blank=True)
    attribution_score = models.DecimalField(_("score"), max_digits=5, decimal_places=2)
    confidence_level = models.TextField(_("confidence"), choices=LedgerConfidence.choices)
    evidence_json = models.JSONField(_("evidence"), null=True, blank=True)
    decision_status = models.TextField(_("decision"), choices=DecisionStatus.choices)
    updated_at = models.DateTimeField(_("changed"), db_default=Now())
    evidence_digest = models.BigIntegerField(null=True, blank=True, editable=False)

    class Meta:
        db_table = "lead_ledger"
        ordering = ["person"]
        verbose_name = _("ledger entry")
        verbose_name_plural = _("lead ledger")
        constraints = [
            models.CheckConstraint(
                condition=Q(attributed_source=None) | Q(attributed_source__in=AttributedSource.values),
                name="ledger_has_a_known_source",
            ),
            models.CheckConstraint(
                condition=Q(confidence_level__in=LedgerConfidence.values), name="ledger_has_a_known_confidence"
            ),
            models.CheckConstraint(
                condition=Q(decision_status__in=DecisionStatus.values), name="ledger_has_a_known_decision"
            ),
        ]
        indexes = [
            models.Index(
                fields=["attributed_scout_id"], name="ledger_by_scout", condition=Q(attributed_scout_id__isnull=False)
            ),
            models.Index(fields=["decision_status", "attribution_rule"], name="ledger_by_decision"),
            models.Index(fields=["-updated_at"], name="ledger_by_change"),
        ]

    def __str__(self) -> str:
        return f"{self.get_decision_status_display()} {self.attributed_scout_id or '–'}"


class LeadScoutMapping(models.Model):
    """Which scout a lead belongs to, told from outside: one scout per key (Q28).

    ``source_key`` is the source_pk of a cabinet lead.
    """

    source_key = models.TextField(_("lead"), primary_key=True)
    scout_id = models.IntegerField(_("scout"))
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        db_table = "lead_scout_mapping"
        ordering = ["source_key"]
        verbose_name = _("mapped scout")
        verbose_name_plural = _("mapped scouts")
        constraints = [models.CheckConstraint(condition=Q(scout_id__gt=0), name="mapped_scout_is_a_number_above_zero")]

    def __str__(self) -> str:
        return f"{self.source_key} → {self.scout_id}"


class BackfillAudit(models.Model):
    """What every audit of a backfill has in common. Append-only (domain.md 3.11, Q30)."""

    id = models.BigAutoField(primary_key=True)
    backfill_timestamp = models.DateTimeField(_("when"), db_default=Now())
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, blank=True, db_column="ingestion_run_id", db_constraint=False,
        verbose_name=_("run"), related_name="+",
    )  # fmt: skip
    notes = models.TextField(_("notes"), null=True, blank=True)

    class Meta:
        abstract = True


class LinksBackfillEntry(BackfillAudit):
    """One scouting row the links backfill looked at, and what became of it (domain.md 6.11 (1))."""

    source_table = models.TextField(_("source"))
    source_pk = models.TextField(_("source record"))
    person_key = models.UUIDField(_("person"), null=True, blank=True)
    driver_id = models.TextField(_("driver"), null=True, blank=True)
    driver_license = models.TextField(_("licence"), null=True, blank=True)
    driver_phone = models.TextField(_("phone"), null=True, blank=True)
    match_method = models.TextField(_("method"))
    match_confidence = models.TextField(_("confidence"), null=True, blank=True)
    match_score = models.IntegerField(_("score"), null=True, blank=True)
    evidence_json = models.JSONField(_("evidence"), null=True, blank=True)
    match_result = models.TextField(_("result"))
    action_type = models.TextField(_("action"))
    reason = models.TextField(_("reason"), null=True, blank=True)
    error_message = models.TextField(_("error"), null=True, blank=True)

    class Meta:
        db_table = "identity_links_backfill_audit"
        ordering = ["-id"]
        verbose_name = _("audit of the links backfill")
        verbose_name_plural = _("audits of the links backfill")
        indexes = [models.Index(fields=["source_table", "source_pk"], name="links_backfill_by_record")]

    def __str__(self) -> str:
        return f"{self.match_result} {self.source_pk}"


class LedgerBackfillEntry(BackfillAudit):
    """One ledger row a backfill changed, before and after (domain.md 6.11 (2))."""

    person_key = models.UUIDField(_("person"))
    old_attributed_scout_id = models.IntegerField(_("scout before"), null=True, blank=True)
    new_attributed_scout_id = models.IntegerField(_("scout after"), null=True, blank=True)
    attribution_rule_old = models.TextField(_("rule before"), null=True, blank=True)
    attribution_rule_new = models.TextField(_("rule after"), null=True, blank=True)
    attribution_confidence_old = models.TextField(_("confidence before"), null=True, blank=True)
    attribution_confidence_new = models.TextField(_("confidence after"), null=True, blank=True)
    attribution_source = models.TextField(_("source"), null=True, blank=True)
    evidence_json_old = models.JSONField(_("evidence before"), null=True, blank=True)
    evidence_json_new = models.JSONField(_("evidence after"), null=True, blank=True)
    backfill_method = models.TextField(_("method"))

    class Meta:
        db_table = "lead_ledger_scout_backfill_audit"
        ordering = ["-id"]
        verbose_name = _("audit of the ledger backfill")
        verbose_name_plural = _("audits of the ledger backfill")
        indexes = [models.Index(fields=["person_key"], name="ledger_backfill_by_person")]

    def __str__(self) -> str:
        return f"{self.person_key} → {self.new_attributed_scout_id}"


class EventsBackfillEntry(BackfillAudit):
    """One lead event that a mapping gave a scout (domain.md 6.11 (3), Q28)."""

    lead_event_id = models.IntegerField(_("event"), null=True, blank=True)
    source_table = models.TextField(_("source"))
    source_pk = models.TextField(_("source record"))
    person_key = models.UUIDField(_("person"), null=True, blank=True)
    old_scout_id = models.IntegerField(_("scout before"), null=True, blank=True)
    new_scout_id = models.IntegerField(_("scout after"), null=True, blank=True)
    mapping_method = models.TextField(_("method"))
    mapping_confidence = models.TextField(_("confidence"), null=True, blank=True)
    evidence_json = models.JSONField(_("evidence"), null=True, blank=True)
    action_type = models.TextField(_("action"))
    backfill_method = models.TextField(_("backfill"))
    error_message = models.TextField(_("error"), null=True, blank=True)

    class Meta:
        db_table = "lead_events_scout_backfill_audit"
        ordering = ["-id"]
        verbose_name = _("audit of the events backfill")
        verbose_name_plural = _("audits of the events backfill")
        indexes = [models.Index(fields=["lead_event_id"], name="events_backfill_by_event")]

    def __str__(self) -> str:
        return f"{self.source_pk} → {self.new_scout_id}"


class AttributionDay(models.Model):
    """How attribution stood on a day, written by every refresh; the last one of a day stays (Q24)."""

    metric_date = models.DateField(_("day"), primary_key=True)
    total_persons = models.BigIntegerField(_("persons"))
    satisfactory_count = models.BigIntegerField(_("with scout"))
    missing_count = models.BigIntegerField(_("without scout"))
    conflicts_count = models.BigIntegerField(_("conflicts"))
    open_conflicts_count = models.BigIntegerField(_("open conflicts"))
    backlog = models.JSONField(_("backlog"), default=dict)
    by_source_scouting_daily = models.BigIntegerField(_("by scouting"))
    by_source_cabinet_leads = models.BigIntegerField(_("by cabinet"))
    by_source_lead_ledger = models.BigIntegerField(_("by ledger"))
    computed_at = models.DateTimeField(_("computed"), db_default=Now())

    class Meta:
        db_table = "scout_attribution_days"
        ordering = ["-metric_date"]
        verbose_name = _("attribution of a day")
        verbose_name_plural = _("attribution by day")

    def __str__(self) -> str:
        return str(self.metric_date)


class SamePersonStatus(models.TextChoices):
    """What became of a suspicion (Q79)."""

    OPEN = "open", _("Open")
    CLOSED = "closed", _("No longer suspected")
    CONFIRMED = "confirmed", _("One person")
    DISMISSED = "dismissed", _("Two persons")


class PossibleSamePerson(models.Model):
    """Two persons who are probably one human, claimed by different scouts; blocks settlement of both (Q79).

    ``person_a`` is the lower key. While open it is the refresh's to close; what a person decided stays.
    """

    id = models.BigAutoField(primary_key=True)
    person_a = models.ForeignKey(Person, models.CASCADE, verbose_name=_("person"), related_name="+")
    person_b = models.ForeignKey(Person, models.CASCADE, verbose_name=_("other person"), related_name="+")
    evidence_json = models.JSONField(_("evidence"), default=dict)
    status = models.TextField(
        _("status"), choices=SamePersonStatus.choices, default=SamePersonStatus.OPEN, db_default="open"
    )
    detected_at = models.DateTimeField(_("detected"), db_default=Now())
    updated_at = models.DateTimeField(_("changed"), db_default=Now())

    class Meta:
        db_table = "possible_same_persons"
        ordering = ["-id"]
        verbose_name = _("possible same person")
        verbose_name_plural = _("possible same persons")
        constraints = [
            models.UniqueConstraint(fields=["person_a", "person_b"], name="two_persons_are_suspected_once"),
            models.CheckConstraint(
                condition=Q(person_a__lt=models.F("person_b")), name="suspected_persons_are_two_in_order"
            ),
            models.CheckConstraint(
                condition=Q(status__in=SamePersonStatus.values), name="suspicion_has_a_known_status"
            ),
        ]
        indexes = [models.Index(fields=["status", "-id"], name="same_person_by_status")]

    def __str__(self) -> str:
        return f"{self.person_a_id} = {self.person_b_id}?"


# Registered with Django by being imported here; they need nothing of this module.
from attribution.collection_models import (  # noqa: E402
    Claim,
    ClaimStatus,
    Currency,
    LeadMilestone,
    LeadTrips,
    MilestoneType,
    OriginTag,
    PartnerPaymentRule,
    PaymentState,
    PersonScout,
    ScoutPaymentRule,
    YangoPayment,
)
from attribution.collection_views_models import ClaimInCollection, OverdueBucket, ScoutQuality  # noqa: E402
from attribution.comparison_models import (  # noqa: E402
    ClaimComparison,
    ClaimDifference,
    ComparedClaim,
    ComparisonGroup,
    DisappearReason,
    ExistingClaim,
    ExistingClaimList,
)
from attribution.settlement_models import (  # noqa: E402
    LineKind,
    LineReason,
    PaymentStatus,
    PeriodStatus,
    ScoutPayment,
    SettlementItem,
    SettlementLine,
    SettlementPeriod,
    StatementItem,
)
from attribution.views_models import (  # noqa: E402
    BacklogCategory,
    BacklogPerson,
    ConflictType,
    Scout,
    ScoutClaim,
    ScoutConflict,
)

__all__ = [
    "AttributedSource",
    "AttributionDay",
    "BacklogCategory",
    "BacklogPerson",
    "Claim",
    "ClaimComparison",
    "ClaimDifference",
    "ClaimInCollection",
    "ClaimStatus",
    "ComparedClaim",
    "ComparisonGroup",
    "ConflictType",
    "Currency",
    "DecisionStatus",
    "DisappearReason",
    "EventsBackfillEntry",
    "ExistingClaim",
    "ExistingClaimList",
    "LeadMilestone",
    "LeadScoutMapping",
    "LeadTrips",
    "LedgerBackfillEntry",
    "LedgerConfidence",
    "LedgerEntry",
    "LineKind",
    "LineReason",
    "LinksBackfillEntry",
    "MilestoneType",
    "OriginTag",
    "OverdueBucket",
    "PartnerPaymentRule",
    "PaymentState",
    "PaymentStatus",
    "PeriodStatus",
    "PersonScout",
    "PossibleSamePerson",
    "SamePersonStatus",
    "Scout",
    "ScoutClaim",
    "ScoutConflict",
    "ScoutPayment",
    "ScoutPaymentRule",
    "ScoutQuality",
    "SettlementItem",
    "SettlementLine",
    "SettlementPeriod",
    "StatementItem",
    "YangoPayment",
]
