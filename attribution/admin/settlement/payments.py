"""What finance recorded as paid to scouts (domain.md 3.11). Nothing here pays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.admin import labels as attribution_labels
from attribution.admin.collection import labels
from attribution.admin.collection.claims import ClaimSearchMixin
from attribution.admin.parts import ScoutFilter, ScoutNamesMixin, names_of
from attribution.admin.settlement import words
from attribution.admin.settlement.items import statement_link
from attribution.models import MilestoneType, OriginTag, ScoutPayment, StatementItem
from ct4site.admin_base import NOTHING, ReadOnlyAdmin, Section, lima_time, link_to
from identity.models import Person


class PaymentScoutFilter(ScoutFilter):
    condition = "scout_id"


@admin.register(ScoutPayment)
class ScoutPaymentAdmin(ScoutNamesMixin, ClaimSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("What finance recorded as paid to scouts. It is only looked at here: nothing pays.")
    list_display = ("number", "scout", "which", "amount_shown", "paid", "paid_by", "payment_ref")
    list_filter = (PaymentScoutFilter,)
    ordering = ("-id",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = (
        "scout", "statement", "person", "account", "which", "reached", "payable", "amount_shown", "paid", "paid_by",
        "payment_ref", "notes", "item",
    )  # fmt: skip
    readonly_fields = fields

    def scouts_of(self, payment: Any) -> list[Any]:
        return [payment.scout_id]

    @admin.display(description=gettext_lazy("number"))
    def number(self, payment: ScoutPayment) -> SafeString:
        return words.key(payment.pk)

    @admin.display(description=gettext_lazy("scout"))
    def scout(self, payment: ScoutPayment) -> SafeString | str:
        return attribution_labels.scout(payment.scout_id, names_of(payment, [payment.scout_id]))

    @admin.display(description=gettext_lazy("statement"))
    def statement(self, payment: ScoutPayment) -> SafeString:
        return statement_link(payment.scout_id)

    @admin.display(description=gettext_lazy("person"))
    def person(self, payment: ScoutPayment) -> SafeString | str:
        if payment.person_key is None:
            return NOTHING
        found = Person.objects.filter(pk=payment.person_key).first()
        return link_to(found) if found else words.key(payment.person_key)

    @admin.display(description=gettext_lazy("account"))
    def account(self, payment: ScoutPayment) -> SafeString | str:
        return labels.driver(payment.driver_id)

    @admin.display(description=gettext_lazy("milestone"))
    def which(self, payment: ScoutPayment) -> str:
        # Another program writes these: any of its words may be missing or unknown.
        kind = attribution_labels.words(dict(MilestoneType.choices), payment.milestone_type)
        origin = attribution_labels.words(dict(OriginTag.choices), payment.lead_origin)
        return f"{kind} {payment.milestone_value if payment.milestone_value is not None else NOTHING} · {origin}"

    @admin.display(description=gettext_lazy("reached"))
    def reached(self, payment: ScoutPayment) -> SafeString | str:
        return lima_time(payment.achieved_date)

    @admin.display(description=gettext_lazy("payable from"))
    def payable(self, payment: ScoutPayment) -> SafeString | str:
        return lima_time(payment.payable_date)

    @admin.display(description=gettext_lazy("amount"))
    def amount_shown(self, payment: ScoutPayment) -> str:
        return labels.money(payment.amount, payment.currency)

    @admin.display(description=gettext_lazy("paid"))
    def paid(self, payment: ScoutPayment) -> SafeString | str:
        return lima_time(payment.paid_at)

    @admin.display(description=gettext_lazy("item"))
    def item(self, payment: ScoutPayment) -> SafeString:
        return words.key(payment.payment_item_key)

    def get_sections(self, request: HttpRequest, payment: ScoutPayment) -> Iterable[Section]:
        columns = {
            _("Milestone"): lambda item: link_to(item, words.milestone(item)),
            _("Status"): words.status,
            _("Owed"): lambda item: labels.money(item.owed_amount, item.currency),
            _("Settled"): lambda item: labels.money(item.settled_amount, item.currency),
        }
        item: dict[str, Any] = {
            "person_id": payment.person_key, "scout_id": payment.scout_id, "origin_tag": payment.lead_origin,
            "milestone_type": payment.milestone_type, "milestone_value": payment.milestone_value,
        }  # fmt: skip
        items = StatementItem.objects.filter(**item)
        yield Section.of(_("How the item stands now"), columns, items.order_by("pk"), 10)
