"""Tables of review: cases that wait for a person, what persons decided, what waits for a second pair of eyes."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ct4site.models import Run


class CaseKind(models.TextChoices):
    """Stored codes of what needs a person."""

    ORPHAN = "orphan", _("Driver without lead")
    CONFLICT = "conflict", _("Several scouts")
    UNMATCHED = "unmatched", _("Lead without person")
    ORIGIN = "origin_conflict", _("Contested origin")
    NOT_RESTORED = "not_restored", _("Row a roll-back left alone")


class CaseStatus(models.TextChoices):
    OPEN = "OPEN", _("Open")
    CLOSED = "CLOSED", _("Closed")


class ClosedBecause(models.TextChoices):
    """Why a case is closed."""

    DECIDED = "decided", _("Somebody decided")
    CAUSE_GONE = "cause_gone", _("Its cause is gone")


class DecisionReason(models.TextChoices):
    """Coded reasons of a decision; the free text says the rest."""

    DOCUMENTS = "documents", _("Documents checked")
    CALLED = "called", _("Driver or scout was called")
    SAME_KEYS = "same_keys", _("The keys agree")
    DIFFERENT_PERSON = "different_person", _("It is somebody else")
    FIRST_CLAIM = "first_claim", _("The first claim counts")
    NO_EVIDENCE = "no_evidence", _("There is no evidence")
    MISTAKE = "mistake", _("An earlier decision was a mistake")
    OTHER = "other", _("Other, see the text")


class ReviewCase(models.Model):
    """Something only a person can decide: what raised it, since when, until when, how much money hangs on it.

    One open case per subject. ``version`` counts its changes; a decision names the version it was made on.
    ``cause_digest`` is what the case rests on: with another one it is another question, and the version grows.
    The lease says who is looking; ``is_frozen``: a proposal waits for a second person, and jobs keep off.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.TextField(_("kind"), choices=CaseKind.choices)
    subject_key = models.TextField(_("subject"))
    person_key = models.UUIDField(_("person"), null=True, blank=True)
    driver_id = models.TextField(_("driver"), null=True, blank=True)
    raised_by = models.TextField(_("raised by"), default="", db_default="")
    signature = models.TextField(_("alike"), default="", db_default="")
    cause_digest = models.TextField(default="", db_default="", editable=False)
    opened_at = models.DateTimeField(_("open since"), db_default=Now())
    due_on = models.DateField(_("due"))
    money_at_risk = models.DecimalField(_("money at risk"), max_digits=12, decimal_places=2, default=0, db_default=0)
    status = models.TextField(_("status"), choices=CaseStatus.choices, default="OPEN", db_default="OPEN")
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)
    closed_because = models.TextField(_("closed because"), choices=ClosedBecause.choices, default="", blank=True)
    version = models.IntegerField(_("version"), default=1, db_default=1)
    leased_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, db_index=False, verbose_name=_("held by"),
        related_name="+",
    )  # fmt: skip
    leased_since = models.DateTimeField(_("held since"), null=True, blank=True)
    leased_until = models.DateTimeField(_("held until"), null=True, blank=True)
    is_frozen = models.BooleanField(_("waits for approval"), default=False, db_default=False)

    class Meta:
        db_table = "review_cases"
        ordering = ["-money_at_risk", "opened_at", "id"]
        verbose_name = _("case")
        verbose_name_plural = _("cases")
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject_key"], condition=Q(status="OPEN"), name="one_open_case_per_subject"
            ),
            models.CheckConstraint(condition=Q(kind__in=CaseKind.values), name="case_has_a_known_kind"),
            models.CheckConstraint(condition=Q(status__in=CaseStatus.values), name="case_has_a_known_status"),
            models.CheckConstraint(
                condition=Q(status="OPEN", closed_at=None, closed_because="")
                | Q(status="CLOSED", closed_at__isnull=False, closed_because__in=ClosedBecause.values),
                name="case_says_why_exactly_when_it_is_closed",
            ),
            models.CheckConstraint(
                condition=Q(leased_to=None, leased_since=None, leased_until=None)
                | Q(leased_to__isnull=False, leased_since__isnull=False, leased_until__isnull=False),
                name="case_lease_is_whole",
            ),
            models.CheckConstraint(condition=Q(is_frozen=False) | Q(status="OPEN"), name="frozen_case_is_open"),
        ]
        indexes = [
            models.Index("status", F("money_at_risk").desc(), "opened_at", "id", name="case_by_money"),
            models.Index(
                "kind",
                "signature",
                F("money_at_risk").desc(),
                "opened_at",
                "id",
                name="case_by_signature",
                condition=Q(status="OPEN"),
            ),
            models.Index(fields=["person_key"], name="case_by_person", condition=Q(person_key__isnull=False)),
            models.Index(
                fields=["leased_to", "leased_until"], name="case_by_lease", condition=Q(leased_to__isnull=False)
            ),
            models.Index(fields=["due_on"], name="case_by_due_date", condition=Q(status="OPEN")),
        ]
        permissions = [
            ("decide_case", _("May decide cases")),
            ("approve_proposal", _("May approve what another proposed")),
        ]

    def __str__(self) -> str:
        from ct4site.review import kinds  # the rooms say it, and need the models

        return f"{self.get_kind_display()} {kinds.subject_in_words(self)}"

    @property
    def holder(self) -> User | None:
        """Who holds the case now; nobody when the lease ran out."""
        runs = self.leased_until is not None and self.leased_until >= timezone.now()
        return self.leased_to if runs else None


class ProposalStatus(models.TextChoices):
    WAITING = "WAITING", _("Waits for approval")
    APPROVED = "APPROVED", _("Approved")
    REFUSED = "REFUSED", _("Refused")
    WITHDRAWN = "WITHDRAWN", _("Withdrawn")
    OUTDATED = "OUTDATED", _("No longer what was proposed")


class Deed(models.TextChoices):
    """What needs a second person."""

    DECIDE = "decide", _("Decision of a case")
    DECIDE_MANY = "decide_many", _("Decision of many cases")
    ROLL_BACK = "roll_back", _("Roll-back of a run")
    REVERSE = "reverse", _("Taking a decision back")


class Proposal(models.Model):
    """A deed that one person proposed and another has to approve, exactly as proposed (four eyes, reliability F22).

    ``digest`` binds the approval to the deed and to its consequences as the proposer saw them. The database refuses
    the same person twice, be it with two accounts of one address, and every change of what was proposed.
    """

    id = models.BigAutoField(primary_key=True)
    deed = models.TextField(_("deed"), choices=Deed.choices)
    case = models.ForeignKey(
        ReviewCase, models.PROTECT, null=True, blank=True, verbose_name=_("case"), related_name="+"
    )
    run = models.ForeignKey(Run, models.PROTECT, null=True, blank=True, verbose_name=_("run"), related_name="+")
    decision = models.ForeignKey(
        "Decision", models.PROTECT, null=True, blank=True, verbose_name=_("decision"), related_name="+"
    )
    request = models.JSONField(_("what is asked"), default=dict)
    consequences = models.JSONField(_("consequences"), default=dict)
    digest = models.TextField(editable=False)
    reason_code = models.TextField(_("reason"), choices=DecisionReason.choices)
    reason_text = models.TextField(_("in words"), default="", blank=True)
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("proposed by"), related_name="+"
    )
    proposer_address = models.TextField(default="", editable=False)
    proposed_at = models.DateTimeField(_("proposed"), db_default=Now())
    status = models.TextField(_("status"), choices=ProposalStatus.choices, default="WAITING", db_default="WAITING")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, verbose_name=_("answered by"), related_name="+"
    )
    decider_address = models.TextField(default="", editable=False)
    decided_at = models.DateTimeField(_("answered"), null=True, blank=True)
    answer = models.TextField(_("answer"), default="", blank=True)

    class Meta:
        db_table = "review_proposals"
        ordering = ["-id"]
        verbose_name = _("proposal")
        verbose_name_plural = _("proposals")
        constraints = [
            models.CheckConstraint(condition=Q(deed__in=Deed.values), name="proposal_has_a_known_deed"),
            models.CheckConstraint(condition=Q(status__in=ProposalStatus.values), name="proposal_has_a_known_status"),
            models.CheckConstraint(
                condition=~Q(status="APPROVED")
                | (
                    Q(decided_by__isnull=False)
                    & ~Q(decided_by=F("proposed_by"))
                    & (Q(proposer_address="") | ~Q(decider_address=F("proposer_address")))
                ),
                name="approver_is_another_person_than_the_proposer",
            ),
            models.UniqueConstraint(
                fields=["case"], condition=Q(status="WAITING", case__isnull=False), name="one_waiting_proposal_per_case"
            ),
            models.UniqueConstraint(
                fields=["run"], condition=Q(status="WAITING", run__isnull=False), name="one_waiting_proposal_per_run"
            ),
            models.UniqueConstraint(
                fields=["decision"],
                condition=Q(status="WAITING", decision__isnull=False),
                name="one_waiting_proposal_per_decision",
            ),
            models.CheckConstraint(
                condition=Q(deed="reverse", decision__isnull=False) | ~Q(deed="reverse") & Q(decision=None),
                name="proposal_to_take_back_names_the_decision",
            ),
        ]
        indexes = [models.Index(fields=["status", "-id"], name="proposal_by_status")]

    def __str__(self) -> str:
        return f"{self.get_deed_display()} #{self.pk}"


class Decision(models.Model):
    """The receipt of what a person decided: who, when, why, before, after, consequences. Append-only.

    Its rows' states before and after are in the audit log under ``run``, and from there a reversal puts them back;
    a reversal is a decision too, and can be reversed in turn. ``due_before`` and ``due_after``: it put its case off.
    """

    id = models.BigAutoField(primary_key=True)
    case = models.ForeignKey(ReviewCase, models.PROTECT, verbose_name=_("case"), related_name="decisions")
    case_version = models.IntegerField(_("version of the case"))
    choice = models.TextField(_("decision"))
    target = models.JSONField(_("chosen"), default=dict)
    reason_code = models.TextField(_("reason"), choices=DecisionReason.choices)
    reason_text = models.TextField(_("in words"), default="", blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, verbose_name=_("who"), related_name="+")
    decided_at = models.DateTimeField(_("when"), db_default=Now())
    proposal = models.ForeignKey(
        Proposal, models.PROTECT, null=True, blank=True, verbose_name=_("proposal"), related_name="decisions"
    )
    run = models.OneToOneField(Run, models.PROTECT, verbose_name=_("run"), related_name="decision")
    consequences = models.JSONField(_("consequences"), default=dict)
    due_before = models.DateField(_("due before"), null=True, blank=True)
    due_after = models.DateField(_("due after"), null=True, blank=True)
    reverses = models.OneToOneField(
        "self", models.PROTECT, null=True, blank=True, verbose_name=_("reverses"), related_name="reversed_by"
    )

    class Meta:
        db_table = "review_decisions"
        ordering = ["-id"]
        verbose_name = _("decision")
        verbose_name_plural = _("decisions")
        constraints = [
            models.CheckConstraint(
                condition=Q(reason_code__in=DecisionReason.values), name="decision_has_a_known_reason"
            ),
            models.CheckConstraint(
                condition=Q(due_before=None, due_after=None) | Q(due_before__isnull=False, due_after__isnull=False),
                name="decision_tells_both_due_days",
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"


class UndoLeftover(models.Model):
    """A row that a roll-back could not put back, and why; somebody has to look at it. Append-only (reliability F23).

    Later lines say what became of it: put back after all, accepted, or left again. The newest line of a row counts.
    """

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.PROTECT, verbose_name=_("roll-back"), related_name="+")
    undone_run = models.ForeignKey(Run, models.PROTECT, verbose_name=_("run taken back"), related_name="+")
    subject_table = models.TextField(_("table"))
    subject_key = models.TextField(_("row"))
    person_key = models.UUIDField(_("person"), null=True, blank=True)
    outcome = models.TextField(_("why it stayed"))
    left_at = models.DateTimeField(_("when"), db_default=Now())

    class Meta:
        db_table = "undo_leftovers"
        ordering = ["-id"]
        verbose_name = _("row a roll-back left alone")
        verbose_name_plural = _("rows roll-backs left alone")
        indexes = [models.Index(fields=["undone_run", "subject_table", "subject_key"], name="leftover_by_row")]

    def __str__(self) -> str:
        return f"{self.subject_table} {self.subject_key}"
