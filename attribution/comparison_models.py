"""Tables of the comparison of existing claims with ours: lists as they were told, and what became of them (Q59)."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from attribution.collection_models import Claim, ClaimStatus
from ct4site.models import Run


class ComparisonGroup(models.TextChoices):
    """What would become of a claim if ours took the place of the list's, the gravest first."""

    DISAPPEARS = "disappears", _("Would disappear")
    CHANGES = "changes", _("Would change")
    APPEARS = "appears", _("Would appear")
    SAME = "same", _("Would stay the same")


class DisappearReason(models.TextChoices):
    """Why we do not claim what the list claims; the first one that holds."""

    DUPLICATE = "duplicate", _("Claimed twice in the list")
    UNKNOWN_ACCOUNT = "unknown_account", _("Unknown account")
    OUT_OF_OPERATION = "out_of_operation", _("Account out of operation")
    DISPUTED = "disputed", _("Achievement is gone")
    NO_LEAD = "no_lead", _("No cabinet lead")
    NOT_REACHED = "not_reached", _("Milestone not reached")
    NOT_CLAIMED = "not_claimed", _("Reached, not claimed")


class ClaimDifference(models.TextChoices):
    """In what a claim that stays differs from the list."""

    AMOUNT = "amount", _("Amount")
    LEAD_DATE = "lead_date", _("Lead date")
    LEAD = "lead", _("Lead")
    PERSON = "person", _("Person")
    STATUS = "status", _("Status")


class ExistingClaimList(models.Model):
    """A list of existing claims as it was told; the same rows make the same list, whatever the file is called."""

    id = models.AutoField(primary_key=True)
    file_name = models.TextField(_("file"))
    digest = models.TextField(_("digest"), unique=True)
    rows_count = models.IntegerField(_("rows"))
    amount = models.DecimalField(_("amount"), max_digits=18, decimal_places=2)
    imported_at = models.DateTimeField(_("imported"), db_default=Now())
    run = models.ForeignKey(Run, models.DO_NOTHING, db_constraint=False, verbose_name=_("run"), related_name="+")

    class Meta:
        db_table = "existing_claim_lists"
        ordering = ["-id"]
        default_permissions = ()
        verbose_name = _("list of existing claims")
        verbose_name_plural = _("lists of existing claims")

    def __str__(self) -> str:
        return self.file_name


class ExistingClaim(models.Model):
    """One row of a list: what somebody else says is claimed for a milestone of an account (columns of domain.md 3.7)."""

    id = models.BigAutoField(primary_key=True)
    claim_list = models.ForeignKey(
        ExistingClaimList, models.PROTECT, db_index=False, verbose_name=_("list"), related_name="rows"
    )
    line = models.BigIntegerField(_("line"))
    driver_id = models.TextField(_("driver"))
    milestone = models.IntegerField(_("milestone"))
    amount_expected = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)
    status = models.TextField(_("status"), choices=ClaimStatus.choices)
    person_key = models.UUIDField(_("person"), null=True)
    lead_source_pk = models.TextField(_("lead"), null=True)
    lead_date = models.DateField(_("lead date"), null=True)
    paid_at = models.DateTimeField(_("paid at"), null=True)

    class Meta:
        db_table = "existing_claims"
        ordering = ["id"]
        default_permissions = ()
        verbose_name = _("existing claim")
        verbose_name_plural = _("existing claims")
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=ClaimStatus.values), name="existing_claim_has_a_known_status"
            ),
            models.CheckConstraint(condition=Q(amount_expected__gte=0), name="existing_claim_asks_for_something"),
            models.UniqueConstraint(fields=["claim_list", "line"], name="existing_claim_has_a_line_of_its_own"),
        ]

    def __str__(self) -> str:
        return f"{self.driver_id} M{self.milestone}"


class ClaimComparison(models.Model):
    """A list of existing claims against our claims as they were at one moment. Nothing is changed by it (Q59).

    ``figures`` holds ``groups`` (by group: rows, listed, claimed, paid_rows, paid), ``reasons`` and ``differences``;
    amounts are text, to stay exact. ``rejected_count``: rows of the file that could not be read and are not compared.
    """

    id = models.AutoField(primary_key=True)
    claim_list = models.ForeignKey(
        ExistingClaimList, models.PROTECT, verbose_name=_("list"), related_name="comparisons"
    )
    compared_at = models.DateTimeField(_("compared"), db_default=Now())
    actor = models.TextField(_("by"))
    run = models.ForeignKey(Run, models.DO_NOTHING, db_constraint=False, verbose_name=_("run"), related_name="+")
    rejected_count = models.IntegerField(_("rejected rows"))
    figures = models.JSONField(_("figures"))

    class Meta:
        db_table = "claim_comparisons"
        ordering = ["-id"]
        default_permissions = ("view",)
        verbose_name = _("comparison of claims")
        verbose_name_plural = _("comparisons of claims")

    def __str__(self) -> str:
        return f"#{self.pk} {self.claim_list}"


class ComparedClaim(models.Model):
    """One claim of a comparison: the list's row, ours as it was then, and how they differ. Numbered in reading order.

    ``is_paid``: the list says paid, or the partner's payments do. ``claim_*`` is empty where we claim nothing;
    ``trips_14d`` are the most trips of a lead of the account, where a claim disappears.
    """

    id = models.BigAutoField(primary_key=True)
    comparison = models.ForeignKey(
        ClaimComparison, models.PROTECT, db_index=False, verbose_name=_("comparison"), related_name="rows"
    )
    group = models.TextField(_("group"), choices=ComparisonGroup.choices)
    reason = models.TextField(_("reason"), choices=DisappearReason.choices, null=True)
    differences = ArrayField(models.TextField(choices=ClaimDifference.choices), verbose_name=_("differences"))
    is_paid = models.BooleanField(_("paid"))
    payment_known = models.BooleanField(_("payment known"))
    driver_id = models.TextField(_("driver"))
    milestone = models.IntegerField(_("milestone"))
    existing = models.ForeignKey(
        ExistingClaim, models.PROTECT, null=True, db_index=False, verbose_name=_("in the list"), related_name="+"
    )
    same_as_line = models.BigIntegerField(_("same as line"), null=True)
    trips_14d = models.IntegerField(_("trips in 14 days"), null=True)
    claim = models.ForeignKey(
        Claim, models.DO_NOTHING, null=True, db_index=False, db_constraint=False, verbose_name=_("claim"),
        related_name="+",
    )  # fmt: skip
    claim_amount = models.DecimalField(_("our amount"), max_digits=12, decimal_places=2, null=True)
    claim_status = models.TextField(_("our status"), choices=ClaimStatus.choices, null=True)
    claim_person_key = models.UUIDField(_("our person"), null=True)
    claim_lead_source_pk = models.TextField(_("our lead"), null=True)
    claim_lead_date = models.DateField(_("our lead date"), null=True)
    claim_achieved_date = models.DateField(_("reached"), null=True)

    class Meta:
        db_table = "claim_comparison_rows"
        ordering = ["id"]
        default_permissions = ()
        verbose_name = _("compared claim")
        verbose_name_plural = _("compared claims")
        constraints = [
            models.CheckConstraint(condition=Q(group__in=ComparisonGroup.values), name="comparison_has_a_known_group"),
            models.CheckConstraint(
                condition=Q(group=ComparisonGroup.DISAPPEARS, reason__isnull=False, reason__in=DisappearReason.values)
                | (~Q(group=ComparisonGroup.DISAPPEARS) & Q(reason=None)),
                name="comparison_says_why_exactly_when_a_claim_disappears",
            ),
            models.CheckConstraint(
                condition=Q(existing__isnull=False) | Q(claim__isnull=False), name="comparison_compares_something"
            ),
        ]
        indexes = [
            models.Index(fields=["comparison", "id"], name="compared_by_place"),
            models.Index(fields=["comparison", "group", "id"], name="compared_by_group"),
            models.Index(fields=["comparison", "is_paid", "id"], name="compared_by_paid"),
            models.Index(fields=["comparison", "group", "is_paid", "id"], name="compared_by_group_and_paid"),
            models.Index(
                fields=["comparison", "reason", "id"], name="compared_by_reason", condition=Q(reason__isnull=False)
            ),
            models.Index(fields=["comparison", "driver_id"], name="compared_by_driver"),
        ]

    def __str__(self) -> str:
        return f"{self.driver_id} M{self.milestone}"
