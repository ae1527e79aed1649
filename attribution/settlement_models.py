"""Tables of settlement: what scouts are owed, the periods it is settled in, their lines, what was paid (domain.md 3.11, 6.13)."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from attribution.collection_models import Currency, MilestoneType, OriginTag, ScoutPaymentRule, Validity
from ct4site.models import Run
from identity.models import Person


class PeriodStatus(models.TextChoices):
    OPEN = "open", _("Open")
    CLOSED = "closed", _("Closed")


class LineKind(models.TextChoices):
    """Whether a line settles an item for the first time or corrects what was settled."""

    LINE = "line", _("Line")
    ADJUSTMENT = "adjustment", _("Adjustment")


class LineReason(models.TextChoices):
    """Why a line was written."""

    REACHED = "REACHED", _("Milestone reached")
    SCOUT_CHANGED = "SCOUT_CHANGED", _("The person belongs to another scout now")
    MILESTONE_GONE = "MILESTONE_GONE", _("The milestone is no longer reached")
    AMOUNT_CHANGED = "AMOUNT_CHANGED", _("The amount changed")
    OWED_AGAIN = "OWED_AGAIN", _("Owed again")


class PaymentStatus(models.TextChoices):
    """How an item of a scout stands (Q27)."""

    BLOCKED = "BLOCKED", _("Blocked")
    PENDING = "PENDING", _("Pending")
    ELIGIBLE = "ELIGIBLE", _("Eligible")
    PAID = "PAID", _("Settled")


@dataclass(frozen=True)
class Block:
    """Why nothing is settled for a person, and what would change that."""

    reason: str | Promise
    remedy: str | Promise


# By the stored codes of ops.settlement_persons, in the order in which they are tried (domain.md 6.13).
BLOCKS: dict[str, Block] = {
    "NO_SCOUT": Block(
        _("The person has no scout."),
        _("It is settled when evidence of a scout arrives or somebody says who the scout is."),
    ),
    "CONFLICT": Block(
        _("Several scouts claim the person and nobody has decided."),
        _("It is settled when somebody decides the conflict."),
    ),
    "POSSIBLE_SAME_PERSON": Block(
        _("The person is perhaps the same as another one, of another scout."),
        _("It is settled when somebody decides whether the two are one."),
    ),
    "NO_IDENTITY": Block(
        _("No source record belongs to the person any more."),
        _("It is settled when a record of the person is linked again."),
    ),
    "QUARANTINED": Block(
        _("The account is in quarantine."),
        _("It is settled when the account is released from quarantine."),
    ),
    "ALREADY_SETTLED": Block(
        _("This milestone of the account is settled already, for a person it belonged to before, who is blocked."),
        _("It is settled when the other person is unblocked, which takes the former settlement back."),
    ),
}


class SettlementPeriod(models.Model):
    """The days a settlement is for. One is open; closing it writes its lines and opens the next.

    A closed period is never edited, the database refuses it: what changes later is an adjustment in the open one.
    ``digest`` is that of its lines when it was closed, ``amounts`` their sum by currency, as text to stay exact.
    """

    id = models.AutoField(primary_key=True)
    name = models.TextField(_("name"), unique=True)
    starts_on = models.DateField(_("first day"))
    ends_on = models.DateField(_("last day"))
    status = models.TextField(_("status"), choices=PeriodStatus.choices, default=PeriodStatus.OPEN, db_default="open")
    opened_at = models.DateTimeField(_("opened"), db_default=Now())
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)
    closed_by = models.TextField(_("closed by"), null=True, blank=True)
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, blank=True, db_constraint=False, verbose_name=_("run"), related_name="+"
    )
    lines_count = models.IntegerField(_("lines"), default=0, db_default=0)
    adjustments_count = models.IntegerField(_("adjustments"), default=0, db_default=0)
    scouts_count = models.IntegerField(_("scouts"), default=0, db_default=0)
    persons_count = models.IntegerField(_("persons"), default=0, db_default=0)
    amounts = models.JSONField(_("amounts"), default=dict)
    digest = models.TextField(_("digest"), null=True, blank=True)

    class Meta:
        db_table = "settlement_periods"
        ordering = ["-starts_on"]
        verbose_name = _("settlement period")
        verbose_name_plural = _("settlement periods")
        permissions = [("close_settlement", _("May close settlement periods"))]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=PeriodStatus.values), name="period_has_a_known_status"),
            models.CheckConstraint(condition=Q(ends_on__gte=F("starts_on")), name="period_ends_after_it_begins"),
            models.CheckConstraint(
                condition=Q(status=PeriodStatus.OPEN, closed_at=None, closed_by=None, digest=None)
                | Q(status=PeriodStatus.CLOSED, closed_at__isnull=False, closed_by__isnull=False, digest__isnull=False),
                name="period_has_an_end_exactly_when_it_is_closed",
            ),
            models.UniqueConstraint(
                fields=["status"], condition=Q(status=PeriodStatus.OPEN), name="one_period_is_open"
            ),
            ExclusionConstraint(
                name="periods_do_not_overlap",
                expressions=[(Validity("starts_on", "ends_on"), RangeOperators.OVERLAPS)],
                violation_error_message=_("Another period has some of these days."),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ScoutItem(models.Model):
    """What is paid to a scout; the fields an item is identified by, its milestone and its money (domain.md 3.11)."""

    person_key = models.UUIDField(_("person"))
    driver_id = models.TextField(_("driver"), null=True, blank=True)
    origin_tag = models.TextField(_("origin"), choices=OriginTag.choices)
    milestone_type = models.TextField(_("kind"), choices=MilestoneType.choices)
    milestone_value = models.IntegerField(_("milestone"))
    source_table = models.TextField(_("source"), null=True)
    source_pk = models.TextField(_("lead"), null=True)
    lead_date = models.DateField(_("lead date"), null=True)
    achieved_date = models.DateField(_("reached"), null=True)
    payable_date = models.DateField(_("payable from"), null=True)
    currency = models.TextField(_("currency"), choices=Currency.choices, default=Currency.PEN)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.get_origin_tag_display()} {self.get_milestone_type_display()} {self.milestone_value}"


class SettlementItem(ScoutItem):
    """A milestone of a person and what a scout's rule pays for it, whoever the scout is. Derived by every refresh.

    A milestone pays once per person, by the earliest lead in whose window it was reached (6.13, Q27).
    """

    id = models.BigAutoField(primary_key=True)
    window_days = models.IntegerField(_("days of the window"))
    rule_id = models.IntegerField(_("rule"))
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)

    class Meta:
        db_table = "settlement_items"
        ordering = ["id"]
        verbose_name = _("item of settlement")
        verbose_name_plural = _("items of settlement")
        constraints = [
            models.UniqueConstraint(
                fields=["person_key", "origin_tag", "milestone_type", "milestone_value"], name="milestone_pays_once"
            ),
        ]


class SettlementLine(ScoutItem):
    """One line of a closed settlement: what a scout got, or gave back, for a milestone of a person, and why. Append-only.

    ``amount`` brings what was settled of the item before to what was owed at the closing. The facts are frozen: of an
    item that is no longer owed those of its last line. ``current_scout_id`` is whose the person was at the closing.
    """

    id = models.BigAutoField(primary_key=True)
    period = models.ForeignKey(
        SettlementPeriod, models.PROTECT, db_index=False, verbose_name=_("period"), related_name="lines"
    )
    run = models.ForeignKey(
        Run, models.DO_NOTHING, null=True, db_constraint=False, verbose_name=_("run"), related_name="+"
    )
    kind = models.TextField(_("entry"), choices=LineKind.choices)
    reason = models.TextField(_("reason"), choices=LineReason.choices)
    payment_item_key = models.TextField(_("item"))
    scout_id = models.IntegerField(_("scout"))
    person = models.ForeignKey(
        Person, models.PROTECT, db_column="person_key", verbose_name=_("person"), related_name="+"
    )
    person_key = None  # type: ignore[assignment]
    rule = models.ForeignKey(ScoutPaymentRule, models.PROTECT, null=True, verbose_name=_("rule"), related_name="+")
    owed_amount = models.DecimalField(_("owed"), max_digits=12, decimal_places=2)
    settled_before = models.DecimalField(_("settled before"), max_digits=12, decimal_places=2)
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)
    current_scout_id = models.IntegerField(_("scout now"))
    scout_source_table = models.TextField(_("source of the scout"), null=True)
    scout_source_pk = models.TextField(_("record of the scout"), null=True)
    attribution_date = models.DateField(_("attributed"), null=True)
    scout_quality_bucket = models.TextField(_("quality"), null=True)
    ledger_rule = models.TextField(_("rule of the ledger"), null=True)
    ledger_source = models.TextField(_("source of the ledger"), null=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        db_table = "settlement_lines"
        ordering = ["-id"]
        verbose_name = _("line of a settlement")
        verbose_name_plural = _("lines of settlements")
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=LineKind.values), name="line_is_of_a_known_kind"),
            models.CheckConstraint(condition=Q(reason__in=LineReason.values), name="line_has_a_known_reason"),
            models.CheckConstraint(
                condition=Q(owed_amount=F("settled_before") + F("amount")) & ~Q(amount=0),
                name="line_brings_what_is_settled_to_what_is_owed",
            ),
            models.UniqueConstraint(
                fields=["period", "payment_item_key", "currency"], name="period_settles_an_item_once"
            ),
        ]
        indexes = [
            models.Index(fields=["scout_id", "payment_item_key"], name="line_by_scout"),
            models.Index(fields=["payment_item_key", "-id"], name="line_by_item"),
            # Of lists, the newest first.
            models.Index(fields=["scout_id", "-id"], name="line_by_scout_newest"),
            models.Index(fields=["period", "-id"], name="line_by_period"),
            models.Index(fields=["period", "scout_id", "-id"], name="line_by_period_and_scout"),
            models.Index(fields=["-id"], name="line_adjusts", condition=Q(kind=LineKind.ADJUSTMENT)),
            models.Index(fields=["driver_id"], name="line_by_driver"),
        ]


class StatementItem(models.Model):
    """One row of a scout's statement: an item, or a person who has reached nothing yet. Derived by refresh and closing.

    A copy of ``ops.v_scout_statement``, so that a page of a list costs the page. ``due_amount`` is what closing the open
    period would write; ``owed_amount`` less ``settled_amount`` is open, also while it is blocked or not payable yet.
    ``current_scout_id`` is whose the person is now; ``milestone_type`` is null for a person without any milestone.
    """

    id = models.BigAutoField(primary_key=True)
    payment_item_key = models.TextField(_("item"))
    currency = models.TextField(_("currency"), choices=Currency.choices)
    scout_id = models.IntegerField(_("scout"))
    person = models.ForeignKey(
        Person, models.DO_NOTHING, db_column="person_key", db_constraint=False, verbose_name=_("person"),
        related_name="+",
    )  # fmt: skip
    person_name = models.TextField(_("name"), null=True)
    driver_id = models.TextField(_("driver"), null=True)
    origin_tag = models.TextField(_("origin"), choices=OriginTag.choices, null=True)
    milestone_type = models.TextField(_("kind"), choices=MilestoneType.choices, null=True)
    milestone_value = models.IntegerField(_("milestone"), null=True)
    source_table = models.TextField(_("source"), null=True)
    source_pk = models.TextField(_("lead"), null=True)
    lead_date = models.DateField(_("lead date"), null=True)
    achieved_date = models.DateField(_("reached"), null=True)
    payable_date = models.DateField(_("payable from"), null=True)
    rule_id = models.IntegerField(_("rule"), null=True)
    owed_amount = models.DecimalField(_("owed"), max_digits=12, decimal_places=2)
    settled_amount = models.DecimalField(_("settled"), max_digits=12, decimal_places=2)
    due_amount = models.DecimalField(_("due"), max_digits=12, decimal_places=2)
    payment_status = models.TextField(_("status"), choices=PaymentStatus.choices)
    block_reason = models.TextField(_("blocked by"), null=True)
    current_scout_id = models.IntegerField(_("scout now"), null=True)
    scout_quality_bucket = models.TextField(_("quality"), null=True)
    scout_source_table = models.TextField(_("source of the scout"), null=True)
    scout_source_pk = models.TextField(_("record of the scout"), null=True)
    attribution_date = models.DateField(_("attributed"), null=True)
    ledger_rule = models.TextField(_("rule of the ledger"), null=True)
    ledger_source = models.TextField(_("source of the ledger"), null=True)
    line_kind = models.TextField(_("entry"), choices=LineKind.choices, null=True)
    line_reason = models.TextField(_("reason"), choices=LineReason.choices, null=True)
    last_period_id = models.IntegerField(_("last settled in"), null=True)

    class Meta:
        db_table = "scout_statements"
        ordering = ["scout_id", "person_name", "person_id", "origin_tag", "milestone_type", "milestone_value", "id"]
        verbose_name = _("item of a statement")
        verbose_name_plural = _("items of statements")
        constraints = [
            models.UniqueConstraint(fields=["payment_item_key", "currency"], name="item_is_stated_once"),
        ]
        indexes = [
            models.Index(fields=["scout_id", "person_name"], name="statement_by_scout"),
            models.Index(fields=["payment_status", "scout_id"], name="statement_by_status"),
            models.Index(
                fields=["block_reason", "scout_id"], name="statement_blocked", condition=Q(block_reason__isnull=False)
            ),
            models.Index(fields=["scout_id", "currency"], name="statement_due", condition=~Q(due_amount=0)),
            models.Index(fields=["scout_id"], name="statement_taken_back", condition=Q(due_amount__lt=0)),
            models.Index(fields=["driver_id"], name="statement_by_driver"),
        ]

    def __str__(self) -> str:
        return f"{self.scout_id}: {self.person_name or self.person_id} {self.milestone_value or ''}".rstrip()

    @property
    def block(self) -> Block | None:
        """Return why nothing is settled for the person and what would change that, in words."""
        return BLOCKS[self.block_reason] if self.block_reason else None


class ScoutPayment(models.Model):
    """What was paid to scouts, item by item, as finance records it (domain.md 3.11). Nothing here executes a payment.

    A payment recorded before its item was ever settled counts as settled; a later one is the payment of a settlement.
    """

    id = models.AutoField(primary_key=True)
    payment_item_key = models.TextField(_("item"), unique=True)
    scout_id = models.IntegerField(_("scout"))
    person_key = models.UUIDField(_("person"), null=True, blank=True)
    driver_id = models.TextField(_("driver"), null=True, blank=True)
    lead_origin = models.TextField(_("origin"), null=True, blank=True)
    milestone_type = models.TextField(_("kind"), null=True, blank=True)
    milestone_value = models.IntegerField(_("milestone"), null=True, blank=True)
    rule_id = models.IntegerField(_("rule"), null=True, blank=True)
    payable_date = models.DateField(_("payable from"), null=True, blank=True)
    achieved_date = models.DateField(_("reached"), null=True, blank=True)
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)
    currency = models.TextField(_("currency"), choices=Currency.choices, default=Currency.PEN, db_default="PEN")
    paid_at = models.DateTimeField(_("paid at"), db_default=Now())
    paid_by = models.TextField(_("paid by"), null=True, blank=True)
    payment_ref = models.TextField(_("reference"), null=True, blank=True)
    notes = models.TextField(_("notes"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        db_table = "scout_liquidation_ledger"
        ordering = ["-id"]
        verbose_name = _("payment to a scout")
        verbose_name_plural = _("payments to scouts")
        indexes = [
            models.Index(fields=["scout_id"], name="scout_payment_by_scout"),
            models.Index(fields=["person_key"], name="scout_payment_by_person"),
        ]

    def __str__(self) -> str:
        return f"{self.scout_id}: {self.amount} {self.currency}"
