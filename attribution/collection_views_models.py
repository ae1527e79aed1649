"""Unmanaged model over the collection view, read-only: how each claim stands (sql/attribution, domain.md 12.5, 12.6)."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from attribution.collection_models import Claim, ClaimStatus
from attribution.views_models import ViewModel


class OverdueBucket(models.TextChoices):
    """How long a claim is overdue (domain.md 12.4)."""

    NOT_DUE = "0_not_due", _("Not due yet")
    DAYS_1_7 = "1_1_7", _("1 to 7 days")
    DAYS_8_14 = "2_8_14", _("8 to 14 days")
    DAYS_15_30 = "3_15_30", _("15 to 30 days")
    DAYS_31_60 = "4_31_60", _("31 to 60 days")
    DAYS_60_PLUS = "5_60_plus", _("More than 60 days")


class ScoutQuality(models.TextChoices):
    """By which source the scout of a person is known, the best first (domain.md 6.9)."""

    LEDGER = "SATISFACTORY_LEDGER", _("In the ledger")
    EVENTS = "EVENTS_ONLY", _("Lead events only")
    MIGRATIONS = "MIGRATIONS_ONLY", _("Migrations only")
    SCOUTING = "SCOUTING_DAILY_ONLY", _("Scouting registrations only")
    PAYMENTS = "CABINET_PAYMENTS_ONLY", _("Cabinet payments only")
    MISSING = "MISSING", _("No scout")


class ClaimInCollection(ViewModel):
    """How a claim stands: when due, what was paid, by which scout. Claims of accounts that may not operate have no row."""

    claim = models.OneToOneField(
        Claim, models.DO_NOTHING, primary_key=True, db_column="claim_id", db_constraint=False, verbose_name=_("claim"),
        related_name="collection",
    )  # fmt: skip
    driver_id = models.TextField(_("driver"))
    person_key = models.UUIDField(_("person"), null=True)
    driver_name = models.TextField(_("name"), null=True)
    milestone_value = models.IntegerField(_("milestone"))
    lead_date = models.DateField(_("lead date"))
    expected_amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)
    yango_due_date = models.DateField(_("due"))
    days_overdue_yango = models.IntegerField(_("days overdue"))
    overdue_bucket_yango = models.TextField(_("overdue, as the partner is told"))
    yango_payment_status = models.TextField(_("payment, as the partner is told"))
    payment_key = models.TextField(_("payment key"), null=True)
    pay_date = models.DateField(_("pay date"), null=True)
    reason_code = models.TextField(_("reason"))
    match_rule = models.TextField(_("match rule"), null=True)
    match_confidence = models.TextField(_("match confidence"), null=True)
    identity_status = models.TextField(_("identity"), null=True)
    suggested_driver_id = models.TextField(_("suggested driver"), null=True)
    is_reconcilable_enriched = models.BooleanField(_("reconcilable"))
    is_collectable = models.BooleanField(_("collectable"))
    bucket_overdue = models.TextField(_("overdue"), choices=OverdueBucket.choices)
    action_priority = models.TextField(_("priority"))
    claim_status = models.TextField(_("status"), choices=ClaimStatus.choices)
    lead_source_pk = models.TextField(_("lead"))
    achieved_date = models.DateField(_("reached"), null=True)
    eligibility_disputed = models.BooleanField(_("disputed"))
    week_start = models.DateField(_("week"))
    scout_id = models.IntegerField(_("scout"), null=True)
    scout_name = models.TextField(_("name of the scout as listed"), null=True)
    scout_name_normalized = models.TextField(_("name of the scout"), null=True)
    scout_is_active = models.BooleanField(_("active scout"), null=True)
    scout_type = models.TextField(_("kind of scout"), null=True)
    scout_quality_bucket = models.TextField(_("scout known by"), choices=ScoutQuality.choices)
    is_scout_resolved = models.BooleanField(_("has scout"))
    scout_source_table = models.TextField(_("source of the scout"), null=True)
    scout_attribution_date = models.DateField(_("attributed"), null=True)
    scout_priority = models.IntegerField(_("priority of the source"), null=True)

    class Meta(ViewModel.Meta):
        db_table = "v_yango_collection_with_scout"
        verbose_name = _("claim in collection")
        verbose_name_plural = _("claims in collection")

    def __str__(self) -> str:
        return f"{self.driver_id} M{self.milestone_value}"

    @property
    def is_paid(self) -> bool:
        """Whether the partner's list says that this milestone of this account is paid."""
        return self.payment_key is not None
