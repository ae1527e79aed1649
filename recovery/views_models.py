"""Unmanaged models over the views of recovery, read-only: gaps, cases, impact (sql/recovery)."""

from __future__ import annotations

from django.db import models
from django.db.models import Case, Value, When
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from attribution.views_models import ViewModel, of_person


class GapReason(models.TextChoices):
    """What a cabinet lead lacks (domain.md 7.1)."""

    NO_IDENTITY = "no_identity", _("Nobody")
    NO_ORIGIN = "no_origin", _("Person without this origin")
    INCONSISTENT_ORIGIN = "inconsistent_origin", _("Origin is a lead of somebody else")
    RESOLVED = "resolved", _("Resolved")


class RiskLevel(models.TextChoices):
    HIGH = "high", pgettext_lazy("risk", "High")
    MEDIUM = "medium", pgettext_lazy("risk", "Medium")
    LOW = "low", pgettext_lazy("risk", "Low")


class Severity(models.TextChoices):
    """How severe an alert is (domain.md 7.3, Q35)."""

    HIGH = "high", _("High")
    MEDIUM = "medium", _("Medium")
    LOW = "low", _("Low")


class AlertType(models.TextChoices):
    """What an unresolved lead asks for (domain.md 7.3)."""

    OVER_7D = "over_7d_unresolved", _("Unresolved for a week")
    OVER_24H = "over_24h_no_identity", _("Nobody for a day")
    INCONSISTENT = "inconsistent_origin", _("Origin is a lead of somebody else")


class SuggestedAction(models.TextChoices):
    """What an alert asks somebody to do (domain.md 7.3)."""

    RETRY_MATCHING = "retry_matching", _("Match it again")
    REVIEW_MANUALLY = "review_manually", _("Look at it by hand")
    REVIEW_ORIGIN = "review_origin", _("Look at the origin by hand")


class ImpactBucket(models.TextChoices):
    """What became of a cabinet lead (domain.md 8.2, Q42)."""

    STILL_UNIDENTIFIED = "still_unidentified", _("Still nobody")
    IN_TIME_NO_CLAIM = "recovered_within_14d_but_no_claim", _("Recovered in time, no claim")
    IN_TIME_CLAIM = "recovered_within_14d_and_claim", _("Recovered in time, claimed")
    LATE = "recovered_late", _("Recovered late")
    MISSING_ORIGIN = "identified_but_missing_origin", _("Has a person, lacks the origin")
    NO_CLAIM = "identified_origin_no_claim", _("Never lost, no claim")
    CLAIM = "identified_origin_claim", _("Never lost, claimed")


class RetryStatus(models.TextChoices):
    """How the tries of a lead stand (domain.md 7.5)."""

    PENDING = "pending", _("Pending")
    MATCHED = "matched", _("Matched")
    FAILED = "failed", _("Given up")


class ClaimStatusBucket(models.TextChoices):
    """How far a cabinet lead is on its way to a claim (domain.md 8.2)."""

    UNIDENTIFIED = "unidentified", _("Nobody")
    NO_ORIGIN = "identified_no_origin", _("Person, no origin")
    NO_CLAIM = "identified_origin_no_claim", _("Person and origin, no claim")
    CLAIM = "identified_origin_claim", _("Person, origin and claim")


class IdentityGap(ViewModel):
    """One dated cabinet lead and what it lacks (domain.md 7.1)."""

    lead_id = models.TextField(_("lead"), primary_key=True)
    lead_date = models.DateField(_("lead date"))
    person = of_person()
    has_identity = models.BooleanField(_("has a person"))
    has_origin = models.BooleanField(_("has the origin"))
    trips_14d = models.IntegerField(_("trips in 14 days"))
    gap_reason = models.TextField(_("gap"), choices=GapReason.choices)
    gap_age_days = models.IntegerField(_("days"))
    risk_level = models.TextField(_("risk"), choices=RiskLevel.choices)
    alert_type = models.TextField(_("alert"), choices=AlertType.choices, null=True)
    linked_at = models.DateTimeField(_("linked"), null=True)

    class Meta(ViewModel.Meta):
        db_table = "v_identity_gap_analysis"
        verbose_name = _("identity gap")
        verbose_name_plural = _("identity gaps")

    def __str__(self) -> str:
        return self.lead_id


class GapAlert(ViewModel):
    """One unresolved lead that somebody should look at (domain.md 7.3, Q36)."""

    lead_id = models.TextField(_("lead"), primary_key=True)
    alert_type = models.TextField(_("alert"), choices=AlertType.choices)
    severity = models.TextField(_("severity"), choices=Severity.choices)
    days_open = models.IntegerField(_("days open"))
    suggested_action = models.TextField(_("what to do"), choices=SuggestedAction.choices)

    class Meta(ViewModel.Meta):
        db_table = "v_identity_gap_alerts"
        verbose_name = _("alert of a lead")
        verbose_name_plural = _("alerts of leads")

    def __str__(self) -> str:
        return self.lead_id


# The codes themselves would sort as medium, low, high.
SEVERITY_RANK = Case(
    When(severity=Severity.HIGH, then=Value(3)),
    When(severity=Severity.MEDIUM, then=Value(2)),
    default=Value(1),
    output_field=models.IntegerField(),
)


class GapCase(ViewModel):
    """One lead that matching gave back to people (domain.md 5.4, 7.5)."""

    lead_id = models.TextField(_("lead"), primary_key=True)
    lead_date = models.DateField(_("lead date"))
    person = of_person()
    gap_reason = models.TextField(_("gap"), choices=GapReason.choices)
    status = models.TextField(_("status"), choices=RetryStatus.choices)
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
    person_effective = of_person("person_key_effective")
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


class RedFigureDay(ViewModel):
    """The red figure on a day: what was there, what came, what was matched, what is left (domain.md 8.5)."""

    metric_date = models.DateField(_("day"), primary_key=True)
    backlog_start = models.IntegerField(_("at the start"))
    new_backlog_in = models.IntegerField(_("came in"))
    matched_out = models.IntegerField(_("matched"))
    backlog_end = models.IntegerField(_("at the end"))
    net_change = models.IntegerField(_("change"))
    top_fail_reason = models.TextField(_("most frequent reason"), null=True)

    class Meta(ViewModel.Meta):
        db_table = "v_cabinet_kpi_red_recovery_metrics_daily"
        verbose_name = _("day of the red figure")
        verbose_name_plural = _("red figure by day")

    def __str__(self) -> str:
        return str(self.metric_date)
