"""Tables of identity: drivers index, persons, links, unmatched records, origin, lead events."""

from __future__ import annotations

import re
import uuid

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from ct4site.models import Run

LEAD_TABLES = ("module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations")


class SourceTable(models.TextChoices):
    """Feeds whose rows are linked to persons, without schema prefix (domain.md 3.2)."""

    CABINET = "module_ct_cabinet_leads", _("Cabinet lead")
    SCOUTING = "module_ct_scouting_daily", _("Scouting registration")
    MIGRATIONS = "module_ct_migrations", _("Migration")
    DRIVERS = "drivers", _("Driver")


class ConfidenceLevel(models.TextChoices):
    HIGH = "HIGH", _("High")
    MEDIUM = "MEDIUM", _("Medium")
    LOW = "LOW", _("Low")


class UnmatchedStatus(models.TextChoices):
    OPEN = "OPEN", _("Open")
    RESOLVED = "RESOLVED", _("Resolved")
    IGNORED = "IGNORED", _("Ignored")


class ReasonCode(models.TextChoices):
    """Why a record did not link (domain.md 5.5, Q76; the last two of Q76's kind are ours)."""

    NO_CANDIDATES = "NO_CANDIDATES", _("No driver with that key")
    MULTIPLE_CANDIDATES = "MULTIPLE_CANDIDATES", _("Several candidates")
    KEY_MATCH_NAME_CONTRADICTS = "KEY_MATCH_NAME_CONTRADICTS", _("Same key, contradicting name")
    SHARED_IDENTIFIER = "SHARED_IDENTIFIER", _("Key shared by too many")
    WEAK_MATCH_ONLY = "WEAK_MATCH_ONLY", _("Similar, not enough")
    NO_PERSON_KEY = "NO_PERSON_KEY", _("Driver without person")
    MISSING_KEYS = "MISSING_KEYS", _("No usable key")
    INVALID_DATE_FORMAT = "INVALID_DATE_FORMAT", _("Unreadable date")
    PERSON_TOO_LARGE = "PERSON_TOO_LARGE", _("Person has too many records")
    ERROR = "ERROR", _("Error")
    AMBIGUOUS = "AMBIGUOUS", _("Ambiguous")


class OriginTag(models.TextChoices):
    CABINET_LEAD = "cabinet_lead", _("Cabinet lead")
    SCOUT_REGISTRATION = "scout_registration", _("Scout registration")
    MIGRATION = "migration", _("Migration")
    LEGACY_EXTERNAL = "legacy_external", _("Legacy")


class DecidedBy(models.TextChoices):
    SYSTEM = "system", _("System")
    MANUAL = "manual", _("Person")


class ResolutionStatus(models.TextChoices):
    PENDING_REVIEW = "pending_review", _("Pending review")
    RESOLVED_AUTO = "resolved_auto", _("Resolved by rule")
    RESOLVED_MANUAL = "resolved_manual", _("Resolved by a person")
    MARKED_LEGACY = "marked_legacy", _("Marked legacy")
    DISCARDED = "discarded", _("Discarded")


class DriverIndexEntry(models.Model):
    """Matching keys of one driver account (domain.md 3.4). Refreshed from ``public.drivers``."""

    driver_id = models.TextField(_("driver"), primary_key=True)
    park_id = models.TextField(_("park"), null=True, blank=True)
    phone_norm = models.TextField(_("phone"), null=True, blank=True)
    phone_is_weak = models.BooleanField(_("weak phone"), default=False, db_default=False)
    license_norm = models.TextField(_("licence"), null=True, blank=True)
    license_is_clean = models.BooleanField(_("clean licence"), default=False, db_default=False)
    plate_norm = models.TextField(_("plate"), null=True, blank=True)
    full_name_norm = models.TextField(_("name"), null=True, blank=True)
    name_tokens = ArrayField(models.TextField(), verbose_name=_("name tokens"), default=list)
    brand_norm = models.TextField(_("brand"), null=True, blank=True)
    model_norm = models.TextField(_("model"), null=True, blank=True)
    hire_date = models.DateField(_("hired"), null=True, blank=True)
    snapshot_date = models.DateField(_("snapshot"))
    record_digest = models.TextField(default="", db_default="", editable=False)
    vanished_at = models.DateTimeField(_("vanished"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())
    updated_at = models.DateTimeField(_("changed"), db_default=Now())

    class Meta:
        db_table = "drivers_index"
        ordering = ["driver_id"]
        verbose_name = _("driver in the index")
        verbose_name_plural = _("drivers index")
        indexes = [
            models.Index(fields=["park_id", "phone_norm"], name="drivers_index_park_phone"),
            models.Index(fields=["park_id", "license_norm"], name="drivers_index_park_license"),
            models.Index(fields=["park_id", "plate_norm"], name="drivers_index_park_plate"),
            models.Index(fields=["park_id", "brand_norm", "model_norm"], name="drivers_index_park_car"),
            models.Index(fields=["phone_norm"], name="drivers_index_phone"),
            models.Index(fields=["license_norm"], name="drivers_index_license"),
            models.Index(fields=["plate_norm"], name="drivers_index_plate"),
            models.Index(fields=["updated_at"], name="drivers_index_updated"),
            # Of the screens: a name in any word order, and the few that are gone.
            GinIndex(fields=["name_tokens"], name="drivers_index_names"),
            models.Index(fields=["driver_id"], name="drivers_index_vanished", condition=Q(vanished_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.full_name_norm or self.driver_id


class Person(models.Model):
    """One human being (domain.md 3.1). Persons are never merged: links move."""

    person_key = models.UUIDField(_("person"), primary_key=True, default=uuid.uuid4)
    confidence_level = models.TextField(_("confidence"), choices=ConfidenceLevel.choices)
    primary_phone = models.TextField(_("phone"), null=True, blank=True)
    primary_document = models.TextField(_("document"), null=True, blank=True)
    primary_license = models.TextField(_("licence"), null=True, blank=True)
    primary_full_name = models.TextField(_("name"), null=True, blank=True)
    flags = models.JSONField(_("flags"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())
    updated_at = models.DateTimeField(_("changed"), db_default=Now())

    class Meta:
        db_table = "identity_registry"
        ordering = ["person_key"]
        verbose_name = _("person")
        verbose_name_plural = _("persons")
        constraints = [
            models.CheckConstraint(
                condition=Q(confidence_level__in=ConfidenceLevel.values), name="person_has_a_known_confidence"
            )
        ]
        indexes = [
            models.Index(fields=["primary_phone"], name="person_by_phone", condition=Q(primary_phone__isnull=False)),
            models.Index(
                fields=["primary_license"], name="person_by_license", condition=Q(primary_license__isnull=False)
            ),
        ]
        permissions = [
            ("view_identity", _("May see identity data")),
            ("view_pii", _("Sees phones, licences and documents, and may search by them")),
            ("reveal_pii", _("May show the phones, licences and documents of one page, on record")),
        ]

    def __str__(self) -> str:
        return self.primary_full_name or str(self.person_key)


class Link(models.Model):
    """Belief that a source record is a person (domain.md 3.2). One per source record."""

    id = models.AutoField(primary_key=True)
    person = models.ForeignKey(
        Person, models.PROTECT, db_column="person_key", db_index=False, verbose_name=_("person"), related_name="links"
    )
    source_table = models.TextField(_("source"), choices=SourceTable.choices)
    source_pk = models.TextField(_("source record"))
    snapshot_date = models.DateTimeField(_("date of the record"))
    match_rule = models.TextField(_("rule"))
    match_score = models.IntegerField(_("score"))
    confidence_level = models.TextField(_("confidence"), choices=ConfidenceLevel.choices)
    evidence = models.JSONField(_("evidence"), null=True, blank=True)
    linked_at = models.DateTimeField(_("linked"), db_default=Now())
    # Runs are never deleted; asking for it would cost a look-up per row.
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, blank=True, db_constraint=False, verbose_name=_("run"), related_name="+"
    )

    class Meta:
        db_table = "identity_links"
        ordering = ["-id"]
        verbose_name = _("link")
        verbose_name_plural = _("links")
        constraints = [
            models.UniqueConstraint(fields=["source_table", "source_pk"], name="source_record_belongs_to_one_person"),
            models.CheckConstraint(condition=Q(source_table__in=SourceTable.values), name="link_has_a_known_source"),
            models.CheckConstraint(
                condition=Q(confidence_level__in=ConfidenceLevel.values), name="link_has_a_known_confidence"
            ),
            models.CheckConstraint(
                condition=Q(match_score__gte=0, match_score__lte=100), name="link_score_is_between_0_and_100"
            ),
            models.CheckConstraint(condition=~Q(source_pk=""), name="link_names_its_source_record"),
        ]
        indexes = [models.Index(fields=["person", "source_table"], name="link_by_person")]

    def __str__(self) -> str:
        return f"{self.get_source_table_display()} {self.source_pk}"


class Unmatched(models.Model):
    """Lead record that did not link, with the most informative reason (domain.md 3.3, 5.4, Q7, Q8).

    ``record_digest`` and ``is_stale`` tell a later run whether anything relevant changed since.
    """

    id = models.AutoField(primary_key=True)
    source_table = models.TextField(_("source"), choices=SourceTable.choices)
    source_pk = models.TextField(_("source record"))
    snapshot_date = models.DateTimeField(_("date of the record"))
    reason_code = models.TextField(_("reason"), choices=ReasonCode.choices)
    details = models.JSONField(_("details"), null=True, blank=True)
    candidates_preview = models.JSONField(_("candidates"), null=True, blank=True)
    status = models.TextField(_("status"), choices=UnmatchedStatus.choices, default="OPEN", db_default="OPEN")
    created_at = models.DateTimeField(_("created"), db_default=Now())
    resolved_at = models.DateTimeField(_("resolved"), null=True, blank=True)
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, blank=True, db_constraint=False, verbose_name=_("run"), related_name="+"
    )
    phone_norm = models.TextField(_("phone"), null=True, blank=True)
    license_norm = models.TextField(_("licence"), null=True, blank=True)
    plate_norm = models.TextField(_("plate"), null=True, blank=True)
    driver_id = models.TextField(_("driver"), null=True, blank=True)
    record_digest = models.TextField(null=True, blank=True, editable=False)
    is_stale = models.BooleanField(_("to be tried again"), default=False, db_default=False)

    class Meta:
        db_table = "identity_unmatched"
        ordering = ["-id"]
        verbose_name = _("unmatched record")
        verbose_name_plural = _("unmatched records")
        constraints = [
            models.UniqueConstraint(fields=["source_table", "source_pk"], name="source_record_is_unmatched_once"),
            models.CheckConstraint(
                condition=Q(source_table__in=SourceTable.values), name="unmatched_has_a_known_source"
            ),
            models.CheckConstraint(condition=Q(status__in=UnmatchedStatus.values), name="unmatched_has_a_known_status"),
            models.CheckConstraint(condition=Q(reason_code__in=ReasonCode.values), name="unmatched_has_a_known_reason"),
            models.CheckConstraint(
                condition=Q(status="RESOLVED", resolved_at__isnull=False) | ~Q(status="RESOLVED"),
                name="resolved_unmatched_has_a_date",
            ),
        ]
        indexes = [
            models.Index(fields=["status", "reason_code"], name="unmatched_by_reason"),
            models.Index(fields=["phone_norm"], name="unmatched_by_phone", condition=Q(phone_norm__isnull=False)),
            models.Index(fields=["license_norm"], name="unmatched_by_license", condition=Q(license_norm__isnull=False)),
            models.Index(fields=["plate_norm"], name="unmatched_by_plate", condition=Q(plate_norm__isnull=False)),
            models.Index(fields=["driver_id"], name="unmatched_by_driver", condition=Q(driver_id__isnull=False)),
            models.Index(fields=["id"], name="unmatched_stale", condition=Q(is_stale=True)),
        ]

    def __str__(self) -> str:
        return f"{self.get_source_table_display()} {self.source_pk}"


class Refusal(models.Model):
    """Never this one: what a person said a lead record is not, a driver or a person (promise P7, reliability F30).

    Every job respects it for ever. The key is made of what it says, so that nothing can be refused twice.
    """

    refusal_key = models.TextField(primary_key=True)
    source_table = models.TextField(_("source"), choices=SourceTable.choices)
    source_pk = models.TextField(_("source record"))
    driver_id = models.TextField(_("driver"), null=True, blank=True)
    person = models.ForeignKey(
        Person, models.DO_NOTHING, db_column="person_key", db_constraint=False, db_index=False, null=True, blank=True,
        verbose_name=_("person"), related_name="+",
    )  # fmt: skip
    reason = models.TextField(_("reason"), default="", db_default="")
    refused_by = models.TextField(_("who"))
    refused_at = models.DateTimeField(_("when"), db_default=Now())
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, blank=True, db_constraint=False, verbose_name=_("run"), related_name="+"
    )

    class Meta:
        db_table = "identity_refusals"
        ordering = ["-refused_at", "refusal_key"]
        verbose_name = _("refusal")
        verbose_name_plural = _("refusals")
        constraints = [
            models.CheckConstraint(
                condition=Q(driver_id__isnull=False, person__isnull=True)
                | Q(driver_id__isnull=True, person__isnull=False),
                name="refusal_is_of_a_driver_or_of_a_person",
            ),
            models.CheckConstraint(condition=Q(source_table__in=LEAD_TABLES), name="refusal_is_of_a_lead_record"),
        ]
        indexes = [
            models.Index(fields=["source_table", "source_pk"], name="refusal_by_record"),
            models.Index(fields=["driver_id"], name="refusal_by_driver", condition=Q(driver_id__isnull=False)),
            models.Index(fields=["person"], name="refusal_by_person", condition=Q(person__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.get_source_table_display()} {self.source_pk}"


class Origin(models.Model):
    """The one way a person came in (domain.md 3.5, rules ``origin_rules_v1``)."""

    person = models.OneToOneField(
        Person, models.CASCADE, primary_key=True, db_column="person_key", verbose_name=_("person")
    )
    origin_tag = models.TextField(_("origin"), choices=OriginTag.choices)
    origin_source_id = models.TextField(_("source record"))
    origin_confidence = models.DecimalField(_("confidence"), max_digits=5, decimal_places=2)
    origin_created_at = models.DateTimeField(_("date of the record"))
    ruleset_version = models.TextField(_("rules"), default="origin_rules_v1", db_default="origin_rules_v1")
    evidence = models.JSONField(_("evidence"), null=True, blank=True)
    decided_by = models.TextField(_("decided by"), choices=DecidedBy.choices, default="system", db_default="system")
    decided_at = models.DateTimeField(_("decided"), db_default=Now())
    resolution_status = models.TextField(
        _("status"), choices=ResolutionStatus.choices, default="pending_review", db_default="pending_review"
    )
    notes = models.TextField(_("notes"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())
    updated_at = models.DateTimeField(_("changed"), db_default=Now())

    class Meta:
        db_table = "identity_origin"
        ordering = ["person"]
        verbose_name = _("origin")
        verbose_name_plural = _("origins")
        constraints = [
            models.CheckConstraint(condition=Q(origin_tag__in=OriginTag.values), name="origin_has_a_known_tag"),
            models.CheckConstraint(condition=Q(decided_by__in=DecidedBy.values), name="origin_has_a_known_decider"),
            models.CheckConstraint(
                condition=Q(resolution_status__in=ResolutionStatus.values), name="origin_has_a_known_status"
            ),
            models.CheckConstraint(
                condition=Q(origin_confidence__gte=0, origin_confidence__lte=100),
                name="origin_confidence_is_between_0_and_100",
            ),
        ]
        indexes = [
            models.Index(fields=["origin_tag", "resolution_status"], name="origin_by_tag"),
            models.Index(fields=["resolution_status"], name="origin_by_status"),
            models.Index(fields=["origin_source_id"], name="origin_by_source"),
            models.Index(fields=["ruleset_version"], name="origin_by_ruleset"),
        ]

    def __str__(self) -> str:
        return f"{self.get_origin_tag_display()} {self.origin_source_id}"


class OriginChange(models.Model):
    """History of origins, creation included (domain.md 3.5). Append-only."""

    id = models.BigAutoField(primary_key=True)
    person = models.ForeignKey(
        Person, models.DO_NOTHING, db_column="person_key", db_constraint=False, verbose_name=_("person")
    )
    origin_tag_old = models.TextField(_("origin before"), null=True, blank=True)
    origin_tag_new = models.TextField(_("origin after"), null=True, blank=True)
    origin_source_id_old = models.TextField(_("source record before"), null=True, blank=True)
    origin_source_id_new = models.TextField(_("source record after"), null=True, blank=True)
    origin_confidence_old = models.DecimalField(_("confidence before"), max_digits=5, decimal_places=2, null=True)
    origin_confidence_new = models.DecimalField(_("confidence after"), max_digits=5, decimal_places=2, null=True)
    resolution_status_old = models.TextField(_("status before"), null=True, blank=True)
    resolution_status_new = models.TextField(_("status after"), null=True, blank=True)
    ruleset_version_old = models.TextField(_("rules before"), null=True, blank=True)
    ruleset_version_new = models.TextField(_("rules after"), null=True, blank=True)
    changed_by = models.TextField(_("changed by"))
    change_reason = models.TextField(_("reason"), null=True, blank=True)
    changed_at = models.DateTimeField(_("changed"), db_default=Now())
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, blank=True, db_constraint=False, verbose_name=_("run"), related_name="+"
    )

    class Meta:
        db_table = "identity_origin_history"
        ordering = ["-id"]
        verbose_name = _("change of origin")
        verbose_name_plural = _("origin history")

    def __str__(self) -> str:
        words = dict(OriginTag.choices)
        before, after = (words.get(tag or "", tag or "–") for tag in (self.origin_tag_old, self.origin_tag_new))
        return f"{before} → {after}"


class ManualLead(models.Model):
    """A cabinet lead that was never delivered and that a person wrote down, for a driver who works without one.

    Domain.md 9.4. To every rule it is a cabinet lead: canon.stg_cabinet_leads has it as ``manual:<id>``. ``id`` is the
    number of the case in which it was decided, so that one case creates one lead.
    """

    PREFIX = "manual:"

    id = models.IntegerField(_("id"), primary_key=True)
    lead_date = models.DateField(_("lead date"))
    full_name = models.TextField(_("name"))
    phone = models.TextField(_("phone"), null=True, blank=True)
    plate = models.TextField(_("plate"), null=True, blank=True)
    scout_id = models.IntegerField(_("scout"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        db_table = "manual_leads"
        ordering = ["-id"]
        verbose_name = _("cabinet lead created by hand")
        verbose_name_plural = _("cabinet leads created by hand")
        constraints = [
            models.CheckConstraint(condition=Q(id__gt=0), name="manual_lead_has_a_positive_number"),
            models.CheckConstraint(condition=~Q(full_name=""), name="manual_lead_names_somebody"),
            models.CheckConstraint(
                condition=Q(phone__isnull=False) | Q(plate__isnull=False), name="manual_lead_has_a_key"
            ),
        ]

    def __str__(self) -> str:
        return self.source_pk

    @property
    def source_pk(self) -> str:
        """Return how the lead is named as a source record."""
        return f"{self.PREFIX}{self.pk}"

    @classmethod
    def number_of(cls, source_pk: str) -> int | None:
        """Return the number of the lead that a source record is; None for one that was delivered."""
        number = source_pk.removeprefix(cls.PREFIX)
        return int(number) if number != source_pk and re.fullmatch("[0-9]{1,9}", number) else None


class LeadEvent(models.Model):
    """One event per lead row (domain.md 3.8, 6.1); its person is the person of the record's link."""

    id = models.AutoField(primary_key=True)
    source_table = models.TextField(_("source"), choices=SourceTable.choices)
    source_pk = models.TextField(_("source record"))
    event_date = models.DateField(_("date"))
    person = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, db_column="person_key", db_index=False,
        verbose_name=_("person"), related_name="lead_events",
    )  # fmt: skip
    scout_id = models.IntegerField(_("scout"), null=True, blank=True)
    driver_id = models.TextField(_("driver"), null=True, blank=True)
    phone_norm = models.TextField(_("phone"), null=True, blank=True)
    license_norm = models.TextField(_("licence"), null=True, blank=True)
    name_norm = models.TextField(_("name"), null=True, blank=True)
    payload_json = models.JSONField(_("payload"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        db_table = "lead_events"
        ordering = ["-id"]
        verbose_name = _("lead event")
        verbose_name_plural = _("lead events")
        constraints = [
            models.UniqueConstraint(fields=["source_table", "source_pk"], name="lead_record_has_one_event"),
            models.CheckConstraint(
                condition=Q(source_table__in=LEAD_TABLES), name="lead_event_comes_from_a_lead_table"
            ),
        ]
        indexes = [
            models.Index(fields=["person"], name="event_by_person", condition=Q(person__isnull=False)),
            models.Index(fields=["event_date"], name="event_by_date"),
            models.Index(fields=["scout_id"], name="event_by_scout", condition=Q(scout_id__isnull=False)),
            models.Index(fields=["phone_norm"], name="event_by_phone", condition=Q(phone_norm__isnull=False)),
            models.Index(fields=["license_norm"], name="event_by_license", condition=Q(license_norm__isnull=False)),
            models.Index(fields=["driver_id"], name="event_by_driver", condition=Q(driver_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.get_source_table_display()} {self.source_pk}"
