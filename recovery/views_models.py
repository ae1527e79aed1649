"""Unmanaged models over the views of recovery, read-only: gaps, cases, impact (sql/recovery)."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from attribution.views_models import ViewModel
from identity.models import Person


class GapReason(models.TextChoices):
    """What a cabinet lead lacks (domain.md 7.1)."""

    NO_IDENTITY = "no_identity", _("Nobody")
    NO_ORIGIN = "no_origin", _("Person without this origin")
    INCONSISTENT_ORIGIN = "inconsistent_origin", _("Origin is a lead of somebody else")
    RESOLVED = "resolved", _("Resolved")


class RiskLevel(models.TextChoices):
    HIGH = "high", _("High")
    MEDIUM = "medium", _("Medium")
    LOW = "low", _("Low")


class AlertType(models.TextChoices):
    """What an unresolved lead asks for (domain.md 7.3)."""

    OVER_7D = "over_7d_unresolved", _("Unresolved for a week")
    OVER_24H = "over_24h_no_identity", _("Nobody for a day")
    INCONSISTENT = "inconsistent_origin", _("Origin is a lead of somebody else")


class ImpactBucket(models.TextChoices):
    """What became of a cabinet lead (domain.md 8.2, Q42)."""

    STILL_UNIDENTIFIED = "still_unidentified", _("Still nobody")
    IN_TIME_NO_CLAIM = "recovered_within_14d_but_no_claim", _("Recovered in time, no claim")
    IN_TIME_CLAIM = "recovered_within_14d_and_claim", _("Recovered in time, claimed")
    LATE = "recovered_late", _("Recovered late")
    MISSING_ORIGIN = "identified_but_missing_origin", _("Has a person, lacks the origin")
    NO_CLAIM = "identified_origin_no_claim", _("Never lost, no claim")
    CLAIM = "identified_origin_claim", _("Never lost, claimed")


class ClaimStatusBucket(models.TextChoices):
    """How far a cabinet lead is on its way to a claim (domain.md 8.2)."""

    UNIDENTIFIED = "unidentified", _("Nobody")
    NO_ORIGIN = "identified_no_origin", _("Person, no origin")
    NO_CLAIM = "identified_origin_no_claim", _("Person and origin, no claim")
    CLAIM = "identified_origin_claim", _("Person, origin and claim")


def _person(column: str) -> models.ForeignKey:
    return models.ForeignKey(
        Person, models.DO_NOTHING, null=True, db_column=column, db_constraint=False, verbose_name=_("person"),
        related_name="+",
    )  # fmt: skip


class IdentityGap(ViewModel):
    """One dated cabinet lead and what it lacks (domain.md 7.1)."""

    lead_id = models.TextField(_("lead"), primary_key=True)
    lead_date = models.DateField(_("lead date"))
    person = _person("person_key")
    has_identity = models.BooleanField(_("has a person"))
    has_origin = models.BooleanField(_("has the origin"))
    trips_14d = models.IntegerField(_("trips in 14 days"))
    gap_reason = models.TextField(_("gap"), choices=GapReason.choices)
    gap_age_days = models.IntegerField(_("days"))
    risk_level = models.TextField(_("risk"), choices=RiskLevel.choices)

    class Meta(ViewModel.Meta):
        db_table = "v_identity_gap_analysis"
        verbose_name = _("identity gap")
        verbose_name_plural = _("identity gaps")

    def __str__(self) -> str:
        return self.lead_id


class GapCase(ViewModel):
    """One lead that matching gave back to people (domain.md 5.4, 7.5)."""

    lead_id = models.TextField(_("lead"), primary_key=True)
    lead_date = models.DateField(_("lead date"))
    person = _person("person_key")
    gap_reason = models.TextField(_("gap"), choices=GapReason.choices)
    status = models.TextField(_("status"))
    fail_reason = models.TextField(_("reason"), null=True)
    attempt_count = models.IntegerField(_("tries"))
    last_attempt_at = models.DateTimeField(_("last try"), null=True)
    unmatched_id = models.IntegerField(null=True)
    candidate_count = models.IntegerField(_("candidates"))

    class Meta(ViewModel.Meta):
        db_table = "v_identity_gap_cases"
        verbose_name = _("lead for review")
        verbose_name_plural = _("leads for review")

    def __str__(self) -> str:
        return self.lead_id


class RecoveryImpact(ViewModel):
    """One cabinet lead and what became of it (domain.md 8.2)."""

    lead_id = models.TextField(_("lead"), primary_key=True)
    lead_date = models.DateField(_("lead date"), null=True)
    window_end_14d = models.DateField(_("window ends"), null=True)
    person_effective = _person("person_key_effective")
    identity_effective = models.BooleanField(_("has a person"))
    origin_ok = models.BooleanField(_("has the origin"))
    has_claim = models.BooleanField(_("claimed"))
    claim_status_bucket = models.TextField(_("on its way to a claim"), choices=ClaimStatusBucket.choices)
    recovered_at = models.DateTimeField(_("recovered"), null=True)
    recovered_within_14d = models.BooleanField(_("in time"), null=True)
    impact_bucket = models.TextField(_("impact"), choices=ImpactBucket.choices)
    claimed_amount = models.DecimalField(_("claimed"), max_digits=12, decimal_places=2)

    class Meta(ViewModel.Meta):
        db_table = "v_cabinet_identity_recovery_impact_14d"
        verbose_name = _("recovery impact of a lead")
        verbose_name_plural = _("recovery impact")

    def __str__(self) -> str:
        return self.lead_id
