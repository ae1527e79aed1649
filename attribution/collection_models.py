"""Tables of collection: rules with their amounts, what the partner paid, milestones of leads, claims (domain.md 3.7, 3.11, 12)."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, IntegerRangeField, RangeOperators
from django.db import models
from django.db.models import Case, F, Func, Q, Value, When
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from identity.models import Person


class OriginTag(models.TextChoices):
    """Kind of lead a rule pays for (domain.md 14.4, "origin tag (attribution, payments)")."""

    CABINET = "cabinet", _("Cabinet")
    FLEET_MIGRATION = "fleet_migration", _("Fleet migration")


class Currency(models.TextChoices):
    PEN = "PEN", "S/"
    COP = "COP", "COP"
    USD = "USD", "USD"


class MilestoneType(models.TextChoices):
    """What has to be reached: a first connection, or a number of trips (domain.md 3.11)."""

    CONNECTION = "connection", _("Connection")
    TRIPS = "trips", _("Trips")


class ClaimStatus(models.TextChoices):
    """Stored statuses of a claim (domain.md 3.7)."""

    EXPECTED = "expected", _("Expected")
    GENERATED = "generated", _("Generated")
    PAID = "paid", _("Paid")
    REJECTED = "rejected", _("Rejected")
    EXPIRED = "expired", _("Expired")


class Validity(Func):
    """Days on which a rule is valid, both ends included; without an end it is valid from then on."""

    function = "daterange"
    template = "%(function)s(%(expressions)s, '[]')"
    output_field = DateRangeField()


class Same(Func):
    """A number as a range of itself: ranges are what an exclusion compares without an extension."""

    function = "int4range"
    output_field = IntegerRangeField()

    def __init__(self, *expressions: Any, **extra: Any) -> None:
        super().__init__(*(expressions * 2), Value("[]"), **extra)


def _one_rule_at_a_time(name: str, *also: Any) -> ExclusionConstraint:
    """Of one rule, no two active versions are valid on the same day: a lead would count twice."""
    origin = Case(
        When(origin_tag=OriginTag.CABINET, then=Value(1)), default=Value(2), output_field=models.IntegerField()
    )
    same = [Same(expression) for expression in (origin, F("window_days"), *also)]
    return ExclusionConstraint(
        name=name,
        expressions=[
            (Validity("valid_from", "valid_to"), RangeOperators.OVERLAPS),
            *((expression, RangeOperators.OVERLAPS) for expression in same),
        ],
        condition=Q(is_active=True),
        violation_error_message=_("Another active version of this rule is valid on some of these days."),
    )


class PaymentRule(models.Model):
    """What partner and scout rules have in common: an amount for a milestone inside a window (domain.md 3.11)."""

    origin_tag = models.TextField(_("origin"), choices=OriginTag.choices)
    window_days = models.IntegerField(_("days of the window"))
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)
    currency = models.TextField(_("currency"), choices=Currency.choices, default=Currency.PEN, db_default="PEN")
    valid_from = models.DateField(_("valid from"))
    valid_to = models.DateField(_("valid to"), null=True, blank=True)
    is_active = models.BooleanField(_("active"), default=True, db_default=True)
    notes = models.TextField(_("notes"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())
    updated_at = models.DateTimeField(_("changed"), db_default=Now())

    class Meta:
        abstract = True


def _rule_checks(prefix: str) -> list[models.CheckConstraint]:
    return [
        models.CheckConstraint(condition=Q(origin_tag__in=OriginTag.values), name=f"{prefix}_rule_has_a_known_origin"),
        models.CheckConstraint(condition=Q(currency__in=Currency.values), name=f"{prefix}_rule_has_a_known_currency"),
        models.CheckConstraint(condition=Q(window_days__gt=0), name=f"{prefix}_rule_has_a_window"),
        models.CheckConstraint(condition=Q(amount__gte=0), name=f"{prefix}_rule_takes_nothing"),
        models.CheckConstraint(
            condition=Q(valid_to=None) | Q(valid_to__gte=F("valid_from")), name=f"{prefix}_rule_ends_after_it_begins"
        ),
    ]


class PartnerPaymentRule(PaymentRule):
    """What the partner owes for a milestone of a lead (domain.md 1.5). Valid for leads of its days."""

    id = models.AutoField(primary_key=True)
    milestone_trips = models.IntegerField(_("trips"))

    class Meta:
        db_table = "partner_payment_rules"
        ordering = ["origin_tag", "window_days", "milestone_trips", "valid_from"]
        verbose_name = _("partner rule")
        verbose_name_plural = _("partner rules")
        constraints = [
            *_rule_checks("partner"),
            models.CheckConstraint(condition=Q(milestone_trips__gt=0), name="partner_rule_has_a_milestone"),
            models.UniqueConstraint(
                fields=["origin_tag", "window_days", "milestone_trips", "valid_from"], name="partner_rule_is_unique"
            ),
            _one_rule_at_a_time("partner_rule_is_valid_alone", F("milestone_trips")),
        ]

    def __str__(self) -> str:
        return f"{self.get_origin_tag_display()} {self.milestone_trips} / {self.window_days} d"


class ScoutPaymentRule(PaymentRule):
    """What a scout is owed for a milestone of a lead (domain.md 1.5). Valid for leads of its days."""

    id = models.AutoField(primary_key=True)
    milestone_type = models.TextField(_("kind"), choices=MilestoneType.choices, default=MilestoneType.TRIPS)
    milestone_value = models.IntegerField(_("milestone"))
    # The contract's name of the same number.
    milestone_trips = models.GeneratedField(
        expression=F("milestone_value"),  # type: ignore[arg-type]
        output_field=models.IntegerField(),
        db_persist=True,
        verbose_name=_("trips"),
    )

    class Meta:
        db_table = "scout_payment_rules"
        ordering = ["origin_tag", "window_days", "milestone_type", "milestone_value", "valid_from"]
        verbose_name = _("scout rule")
        verbose_name_plural = _("scout rules")
        constraints = [
            *_rule_checks("scout"),
            models.CheckConstraint(condition=Q(milestone_value__gt=0), name="scout_rule_has_a_milestone"),
            models.CheckConstraint(
                condition=Q(milestone_type__in=MilestoneType.values), name="scout_rule_has_a_known_kind"
            ),
            models.UniqueConstraint(
                fields=["origin_tag", "window_days", "milestone_type", "milestone_value", "valid_from"],
                name="scout_rule_is_unique",
            ),
            _one_rule_at_a_time(
                "scout_rule_is_valid_alone",
                Case(
                    When(milestone_type=MilestoneType.CONNECTION, then=Value(0)),
                    default=Value(1),
                    output_field=models.IntegerField(),
                ),
                F("milestone_value"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_origin_tag_display()} {self.milestone_value} / {self.window_days} d"


class YangoPayment(models.Model):
    """What the partner's list said of one milestone, and since when. Append-only (domain.md 12.3).

    A row is written when what the list says differs from the last row of that place in the list, so true, false, true
    is three rows. ``driver_id`` is whom the payment was taken for at that time.
    """

    id = models.BigAutoField(primary_key=True)
    snapshot_at = models.DateTimeField(_("seen"), db_default=Now())
    source_table = models.TextField(_("source"), default="module_ct_cabinet_payments")
    source_pk = models.TextField(_("source record"))
    pay_date = models.DateField(_("pay date"), null=True, blank=True)
    pay_time = models.TimeField(_("pay time"), null=True, blank=True)
    raw_driver_name = models.TextField(_("driver name"), null=True, blank=True)
    driver_name_normalized = models.TextField(_("name key"), null=True, blank=True)
    milestone_type = models.TextField(_("kind"), default="trips")
    milestone_value = models.IntegerField(_("milestone"))
    is_paid = models.BooleanField(_("paid"))
    paid_flag_source = models.TextField(_("flag"))
    driver_id = models.TextField(_("driver"), null=True, blank=True)
    person_key = models.UUIDField(_("person"), null=True, blank=True)
    match_rule = models.TextField(_("match rule"), default="none")
    match_confidence = models.TextField(_("match confidence"), default="unknown")
    payment_key = models.TextField(_("payment key"))
    state_hash = models.TextField(_("state"))
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        db_table = "yango_payment_status_ledger"
        ordering = ["-id"]
        verbose_name = _("payment state")
        verbose_name_plural = _("payment ledger")
        constraints = [
            models.CheckConstraint(
                condition=Q(match_rule__in=["none", "driver_name_unique", "driver_id_direct"]),
                name="payment_has_a_known_match_rule",
            ),
            models.CheckConstraint(
                condition=Q(match_confidence__in=["high", "medium", "unknown"]),
                name="payment_has_a_known_match_confidence",
            ),
        ]
        indexes = [
            models.Index(fields=["source_pk", "milestone_value", "-id"], name="payment_by_place"),
            models.Index(fields=["payment_key"], name="payment_by_key"),
            models.Index(fields=["match_rule", "-id"], name="payment_by_match"),
        ]

    def __str__(self) -> str:
        return f"{self.raw_driver_name or self.source_pk} M{self.milestone_value}"


class PaymentState(models.Model):
    """How the partner's list stands: the last state of each place in it, and whose it is. Derived by every refresh.

    ``is_newest_paid`` marks, of an account and milestone, the newest payment that says paid.
    """

    payment_key = models.TextField(_("payment key"), primary_key=True)
    ledger_id = models.BigIntegerField(_("ledger row"))
    source_pk = models.TextField(_("source record"))
    pay_date = models.DateField(_("pay date"), null=True)
    milestone_value = models.IntegerField(_("milestone"))
    is_paid = models.BooleanField(_("paid"))
    driver_id = models.TextField(_("driver"), null=True)
    person_key = models.UUIDField(_("person"), null=True)
    identity_status = models.TextField(_("identity"))
    match_rule = models.TextField(_("match rule"))
    match_confidence = models.TextField(_("match confidence"))
    is_newest_paid = models.BooleanField(_("newest paid"))

    class Meta:
        db_table = "yango_payment_states"
        ordering = ["payment_key"]
        verbose_name = _("current payment state")
        verbose_name_plural = _("current payment states")
        indexes = [
            models.Index(
                fields=["driver_id", "milestone_value"],
                name="payment_state_by_driver",
                condition=Q(is_newest_paid=True),
            ),
            # Of decisions: all states of an account, whatever they say.
            models.Index(fields=["driver_id"], name="payment_state_of_driver", condition=Q(driver_id__isnull=False)),
            models.Index(fields=["person_key"], name="payment_state_by_person", condition=Q(is_paid=True)),
            models.Index(fields=["ledger_id"], name="payment_state_by_ledger"),
            models.Index(fields=["identity_status", "-ledger_id"], name="payment_state_by_identity"),
        ]

    def __str__(self) -> str:
        return f"{self.driver_id or self.source_pk} M{self.milestone_value}"


class LeadTrips(models.Model):
    """What a dated lead has come to: its driver and that driver's trips since. Derived by every refresh (domain.md 12.1).

    ``is_best_of_driver`` marks, of one account's leads in a feed, the one with the most trips in fourteen days, of
    those the earliest; ``last_lead_date`` is the date of the account's latest lead in that feed. ``lead_row_id`` is the
    number of the row of a cabinet lead (Q67).
    """

    id = models.BigAutoField(primary_key=True)
    source_table = models.TextField(_("source"))
    source_pk = models.TextField(_("source record"))
    lead_row_id = models.IntegerField(_("row"), null=True)
    lead_date = models.DateField(_("lead date"))
    person_key = models.UUIDField(_("person"), null=True)
    driver_id = models.TextField(_("driver"), null=True)
    first_connection_date = models.DateField(_("first connection"), null=True)
    first_trip_date = models.DateField(_("first trip"), null=True)
    trips_7d = models.IntegerField(_("trips in 7 days"))
    trips_14d = models.IntegerField(_("trips in 14 days"))
    trips_30d = models.IntegerField(_("trips in 30 days"))
    is_best_of_driver = models.BooleanField(_("best of the driver"))
    last_lead_date = models.DateField(_("latest lead of the driver"), null=True)
    computed_at = models.DateTimeField(_("computed"), db_default=Now())

    class Meta:
        db_table = "lead_trips"
        ordering = ["-lead_date", "id"]
        verbose_name = _("trips of a lead")
        verbose_name_plural = _("trips of leads")
        constraints = [
            models.UniqueConstraint(fields=["source_table", "source_pk"], name="lead_has_one_row_of_trips"),
        ]
        indexes = [
            models.Index(fields=["driver_id"], name="lead_trips_by_driver", condition=Q(driver_id__isnull=False)),
            models.Index(fields=["person_key"], name="lead_trips_by_person", condition=Q(person_key__isnull=False)),
            models.Index(fields=["-lead_date", "source_pk"], name="lead_trips_by_date"),
            models.Index(
                fields=["-last_lead_date", "driver_id"], name="lead_trips_best", condition=Q(is_best_of_driver=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source_table} {self.source_pk}"


class LeadMilestone(models.Model):
    """A milestone that a lead reached inside a window of some rule. Derived by every refresh (domain.md 12.2, Q59, Q61)."""

    id = models.BigAutoField(primary_key=True)
    source_table = models.TextField(_("source"))
    source_pk = models.TextField(_("source record"))
    window_days = models.IntegerField(_("days of the window"))
    milestone_trips = models.IntegerField(_("trips"))
    achieved_date = models.DateField(_("reached"))
    trips_in_window = models.IntegerField(_("trips in the window"))

    class Meta:
        db_table = "lead_milestones"
        ordering = ["id"]
        verbose_name = _("milestone of a lead")
        verbose_name_plural = _("milestones of leads")
        constraints = [
            models.UniqueConstraint(
                fields=["source_table", "source_pk", "window_days", "milestone_trips"],
                name="lead_reaches_a_milestone_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source_pk} M{self.milestone_trips}"


class PersonScout(models.Model):
    """The canonical scout of a person and whether scouts are in open conflict over it, as of the last refresh (Q18, Q19).

    A copy of ``ops.v_scout_attribution`` and the conflicts view, so that a page of a list costs the page.
    """

    person_key = models.UUIDField(_("person"), primary_key=True)
    scout_id = models.IntegerField(_("scout"), null=True)
    scout_quality_bucket = models.TextField(_("quality"), null=True)
    source_table = models.TextField(_("source"), null=True)
    source_pk = models.TextField(_("source record"), null=True)
    origin_tag = models.TextField(_("origin"), null=True)
    attribution_date = models.DateField(_("attributed"), null=True)
    priority = models.IntegerField(_("priority"), null=True)
    has_open_conflict = models.BooleanField(_("open conflict"))

    class Meta:
        db_table = "person_scouts"
        ordering = ["person_key"]
        verbose_name = _("scout of a person")
        verbose_name_plural = _("scouts of persons")
        indexes = [
            models.Index(fields=["scout_id"], name="person_scout_by_scout"),
            models.Index(fields=["scout_quality_bucket"], name="person_scout_by_quality"),
        ]

    def __str__(self) -> str:
        return f"{self.person_key} → {self.scout_id or '–'}"


class Claim(models.Model):
    """What the partner owes for one milestone of one account, by the earliest lead that reached it (domain.md 3.7, Q62).

    Made and marked paid by the refresh, never removed by it; a claim whose achievement is gone is disputed (Q59).
    """

    claim_id = models.AutoField(primary_key=True)
    person = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, db_column="person_key", verbose_name=_("person"),
        related_name="claims",
    )  # fmt: skip
    driver_id = models.TextField(_("driver"), null=True, blank=True)
    lead_source_pk = models.TextField(_("lead"))
    lead_date = models.DateField(_("lead date"))
    milestone = models.IntegerField(_("milestone"))
    amount_expected = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)
    achieved_date = models.DateField(_("reached"), null=True, blank=True)
    rule = models.ForeignKey(
        PartnerPaymentRule, models.PROTECT, null=True, blank=True, verbose_name=_("rule"), related_name="+"
    )
    status = models.TextField(_("status"), choices=ClaimStatus.choices, default="expected", db_default="expected")
    eligibility_disputed = models.BooleanField(_("disputed"), default=False, db_default=False)
    expected_at = models.DateTimeField(_("expected since"), null=True, blank=True)
    generated_at = models.DateTimeField(_("generated"), null=True, blank=True)
    paid_at = models.DateTimeField(_("paid at"), null=True, blank=True)
    reason = models.TextField(_("reason"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())
    updated_at = models.DateTimeField(_("changed"), db_default=Now())

    class Meta:
        db_table = "claims_yango_cabinet_14d"
        ordering = ["-lead_date", "claim_id"]
        verbose_name = _("claim")
        verbose_name_plural = _("claims")
        constraints = [
            models.CheckConstraint(condition=Q(status__in=ClaimStatus.values), name="claim_has_a_known_status"),
            models.CheckConstraint(condition=Q(milestone__gt=0), name="claim_has_a_milestone"),
            models.CheckConstraint(condition=Q(amount_expected__gte=0), name="claim_asks_for_something"),
            models.UniqueConstraint(fields=["driver_id", "milestone"], name="driver_claims_a_milestone_once"),
        ]
        indexes = [
            models.Index(fields=["-lead_date", "claim_id"], name="claim_by_date"),
            models.Index(fields=["status", "-lead_date"], name="claim_by_status"),
        ]

    def __str__(self) -> str:
        return f"{self.driver_id or self.lead_source_pk} M{self.milestone}"
