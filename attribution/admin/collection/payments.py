"""What the partner's list said and says: the ledger of its states, and how each place in it stands (domain.md 12.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.admin.collection import labels, story
from attribution.admin.collection.filters import MilestoneFilter
from attribution.models import Claim, PaymentState, YangoPayment
from ct4site.admin_base import (
    NOTHING,
    CodeFilter,
    ReadOnlyAdmin,
    SearchMixin,
    Section,
    YesNoFilter,
    lima_time,
    link_to,
    pill,
)
from ct4site.paginators import SoonCappedPaginator
from identity.admin import finding
from identity.models import Person

MOST = 100


class PaymentMilestoneFilter(MilestoneFilter):
    column = "milestone_value"


class SaysPaidFilter(YesNoFilter):
    """What the list said."""

    title = gettext_lazy("paid")
    parameter_name = "paid"
    column = "is_paid"


class IdentityFilter(CodeFilter):
    title = gettext_lazy("whose it is")
    parameter_name = column = "identity_status"
    words = labels.IDENTITIES


class MatchRuleFilter(CodeFilter):
    title = gettext_lazy("match rule")
    parameter_name = column = "match_rule"
    words: ClassVar[dict[str, Promise]] = {
        code: labels.MATCH_RULES[code] for code in ("driver_id_direct", "driver_name_unique", "none")
    }


class PaymentSearchMixin(SearchMixin):
    """Search of payments by their list row, their driver, or whatever finds their person."""

    search_help_text = gettext_lazy("Driver, plate, name, key of a person, number of the list's row")
    finds_personal = True
    searches = (lambda keys: None,)

    def meant(self, request: HttpRequest, keys: Mapping[str, Any]) -> Q:
        drivers = [driver.pk for driver in finding.drivers(keys)]
        return self.found(keys, drivers, finding.person_keys(keys))

    def found(self, keys: Any, drivers: list[str], persons: list[Any]) -> Q:
        """Return the condition of the rows that a text means."""
        raise NotImplementedError


class PaymentScreen(PaymentSearchMixin, ReadOnlyAdmin):
    """What both lists show alike."""

    paginator = SoonCappedPaginator

    @admin.display(description=gettext_lazy("milestone"))
    def which(self, item: Any) -> SafeString:
        return labels.milestone(item.milestone_value)

    @admin.display(description=gettext_lazy("the list says"))
    def says(self, item: Any) -> SafeString | str:
        return labels.is_paid(item.is_paid)

    @admin.display(description=gettext_lazy("driver"))
    def driver(self, item: Any) -> SafeString | str:
        return labels.driver(item.driver_id)

    @admin.display(description=gettext_lazy("person"))
    def who(self, item: Any) -> SafeString | str:
        if item.person_key is None:
            return NOTHING
        person = Person.objects.filter(pk=item.person_key).first()
        return link_to(person) if person else format_html('<span class="key">{}</span>', item.person_key)

    @admin.display(description=gettext_lazy("match"))
    def match(self, item: Any) -> str:
        return labels.match(item)

    @admin.display(description=gettext_lazy("pay date"))
    def paid_on(self, item: Any) -> SafeString | str:
        return lima_time(item.pay_date)

    @admin.display(description=gettext_lazy("record"))
    def record(self, item: Any) -> SafeString | str:
        return story.payment_record(item.source_pk)


@admin.register(YangoPayment)
class YangoPaymentAdmin(PaymentScreen):
    purpose = gettext_lazy(
        "What the partner's list said of each milestone, and since when. Nothing is ever overwritten."
    )
    change_form_template = "ct4/read_only_form.html"
    list_display = ("name", "which", "says", "seen", "paid_on", "driver", "match", "record")
    list_filter = (SaysPaidFilter, PaymentMilestoneFilter, MatchRuleFilter)
    ordering = ("-id",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ("seen",)
    fields = ("name", "which", "says", "seen", "paid_on", "pay_time", "driver", "who", "match", "record", "key")
    readonly_fields = fields

    def found(self, keys: Any, drivers: list[str], persons: list[Any]) -> Q:
        # Through the current states, which are indexed by driver and person.
        states = PaymentState.objects.filter(Q(driver_id__in=drivers) | Q(person_key__in=persons)).order_by()
        return Q(source_pk=keys["text"]) | Q(source_pk__in=states.values("source_pk"))

    @admin.display(description=gettext_lazy("name in the list"))
    def name(self, item: YangoPayment) -> str:
        return item.raw_driver_name or item.source_pk

    @admin.display(description=gettext_lazy("seen"), ordering="id")
    def seen(self, item: YangoPayment) -> SafeString | str:
        return lima_time(item.snapshot_at)

    @admin.display(description=gettext_lazy("payment key"))
    def key(self, item: YangoPayment) -> SafeString:
        return format_html('<span class="key">{}</span>', item.payment_key)

    def get_sections(self, request: HttpRequest, item: YangoPayment) -> Iterable[Section]:
        current = PaymentState.objects.filter(source_pk=item.source_pk, milestone_value=item.milestone_value).first()
        yield history(item.source_pk, item.milestone_value)
        yield _stands(current)


@admin.register(PaymentState)
class PaymentStateAdmin(PaymentScreen):
    purpose = gettext_lazy("How each milestone of the partner's list stands now, and how surely we know whose it is.")
    list_display = ("key", "which", "says", "paid_on", "driver", "whose", "record")
    list_filter = (SaysPaidFilter, PaymentMilestoneFilter, IdentityFilter)
    ordering = ("-ledger_id",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("key", "which", "says", "paid_on", "driver", "who", "whose", "match", "counts", "record")
    readonly_fields = fields

    def found(self, keys: Any, drivers: list[str], persons: list[Any]) -> Q:
        return Q(source_pk=keys["text"]) | Q(driver_id__in=drivers) | Q(person_key__in=persons) | Q(pk=keys["text"])

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        rows = list(changes.result_list)
        named = YangoPayment.objects.filter(pk__in=[item.ledger_id for item in rows]).order_by()
        names = dict(named.values_list("pk", "raw_driver_name")) if rows else {}
        for item in rows:
            item.name = names.get(item.ledger_id)
        changes.result_list = rows
        return changes

    @admin.display(description=gettext_lazy("name in the list"))
    def key(self, item: Any) -> str:
        if not hasattr(item, "name"):
            item.name = YangoPayment.objects.filter(pk=item.ledger_id).values_list("raw_driver_name", flat=True).first()
        return item.name or item.source_pk

    @admin.display(description=gettext_lazy("whose it is"))
    def whose(self, item: PaymentState) -> SafeString | str:
        return labels.identity(item.identity_status)

    @admin.display(description=gettext_lazy("counts for the claim"))
    def counts(self, item: PaymentState) -> SafeString | str:
        if not item.is_newest_paid:
            return _("No: it is not paid, nobody's, or another payment of the same milestone is newer.")
        claim = Claim.objects.filter(driver_id=item.driver_id, milestone=item.milestone_value).first()
        return link_to(claim, _("Yes")) if claim else _("No claim: paid without achievement by our count.")

    def get_sections(self, request: HttpRequest, item: PaymentState) -> Iterable[Section]:
        yield history(item.source_pk, item.milestone_value)


def history(source_pk: str, milestone: int) -> Section:
    """Return the states that one place of the list had, the newest first."""
    columns = {
        _("Seen"): lambda item: link_to(item, lima_time(item.snapshot_at)),
        _("The list said"): lambda item: labels.is_paid(item.is_paid),
        _("Pay date"): lambda item: item.pay_date,
        _("Name in the list"): lambda item: item.raw_driver_name,
        _("Driver"): lambda item: labels.driver(item.driver_id),
        _("Match"): labels.match,
    }
    states = YangoPayment.objects.filter(source_pk=source_pk, milestone_value=milestone).order_by("-id")
    return Section.of(_("States over time"), columns, states, MOST)


def _stands(state: PaymentState | None) -> Section:
    rows: list[tuple[Any, ...]] = []
    if state is not None:
        rows = [
            (_("The list says"), labels.is_paid(state.is_paid)),
            (_("Whose it is"), labels.identity(state.identity_status)),
            (_("Driver"), labels.driver(state.driver_id)),
            (_("Page"), link_to(state, pill("now", _("Now"), "info"))),
        ]
    return Section(title=_("How it stands"), columns=["", _("Now")], rows=rows, is_list=False)
