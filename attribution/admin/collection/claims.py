"""Claims: the list of those in collection with its sums, all as they are stored, and the page that explains one."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.admin.collection import filters, labels, story
from attribution.admin.parts import PersonSearchMixin
from attribution.models import Claim, ClaimInCollection
from ct4site.admin_base import KeysetChangeList, ReadOnlyAdmin, Section, lima_time, link_to
from ct4site.paginators import SoonCappedPaginator


class ClaimList(KeysetChangeList):
    """The list of claims in collection, whose rows lead to the pages of the stored claims."""

    def url_for_result(self, result: Any) -> str:
        return reverse("admin:attribution_claim_change", args=[result.pk])


class Unread(ClaimList):
    """The filtered rows as a query that nobody has asked yet."""

    def get_results(self, request: HttpRequest) -> None:
        self.result_list = []


class ClaimSearchMixin(PersonSearchMixin):
    """Search of claims by whatever finds their persons or accounts."""

    search_help_text = gettext_lazy("Driver, plate, name, or the key of a person or record")
    person_column = "person_key"

    def other_conditions(self, keys: Any) -> Q:
        # The account too: by now it may belong to another person than its claim.
        return Q(driver_id=keys["text"].lower())


@admin.register(ClaimInCollection)
class ClaimInCollectionAdmin(ClaimSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy(
        "What the partner owes for milestones, what is paid, what is still to collect, and through which scout it came."
    )
    change_list_template = "admin/attribution/claim_list.html"
    paginator = SoonCappedPaginator
    list_display = ("who", "which", "lead", "amount", "due", "paid", "state", "scout")
    list_filter: ClassVar[Any] = tuple(filters.CLAIM_FILTERS)
    ordering = ("-lead_date",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ("lead",)
    fields = ("claim",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # What the page of one claim alone shows; each costs a look-up per row.
        return (
            super().get_queryset(request).defer("reason_code", "yango_payment_status", "suggested_driver_id", "action_priority")
        )  # fmt: skip

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return Unread if getattr(request, "is_for_sums", False) else ClaimList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        query = request.GET.copy()
        for name in ("after", "before", "o", "p"):
            query.pop(name, None)
        address = reverse("admin:attribution_claimincollection_sums")
        return super().changelist_view(
            request,
            {"sums_address": f"{address}?{query.urlencode()}" if query else address, **(extra_context or {})},
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not (object_id.isascii() and object_id.isdigit()):
            return super().change_view(request, object_id, form_url, extra_context)
        if not self.has_view_permission(request):
            raise PermissionDenied
        return HttpResponseRedirect(reverse("admin:attribution_claim_change", args=[object_id]))

    def get_urls(self) -> list[URLPattern]:
        sums = path("sums/", self.admin_site.admin_view(self.sums_view), name="attribution_claimincollection_sums")
        return [sums, *super().get_urls()]

    def sums_view(self, request: HttpRequest) -> HttpResponse:
        """Show what the list's filter comes to. Apart from the list: the list costs its page, sums cost all rows."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.is_for_sums = True  # type: ignore[attr-defined]
        sums = sums_of(self.get_changelist_instance(request).queryset)
        back = f"{reverse('admin:attribution_claimincollection_changelist')}?{request.GET.urlencode()}"
        context = {
            **self.admin_site.each_context(request), "title": _("Sums"), "opts": self.opts, "sums": sums_in_words(sums),
            "back": back,
        }  # fmt: skip
        return render(request, "admin/attribution/claim_sums.html", context)

    @admin.display(description=gettext_lazy("driver"))
    def who(self, row: ClaimInCollection) -> str:
        return row.driver_name or row.driver_id

    @admin.display(description=gettext_lazy("milestone"))
    def which(self, row: ClaimInCollection) -> SafeString:
        return labels.milestone(row.milestone_value)

    @admin.display(description=gettext_lazy("lead"), ordering="lead_date")
    def lead(self, row: ClaimInCollection) -> SafeString | str:
        return lima_time(row.lead_date)

    @admin.display(description=gettext_lazy("amount"))
    def amount(self, row: ClaimInCollection) -> str:
        return labels.money(row.expected_amount)

    @admin.display(description=gettext_lazy("due"))
    def due(self, row: ClaimInCollection) -> SafeString | str:
        due = lima_time(row.yango_due_date)
        return due if row.is_paid else format_html("<div>{}</div>{}", due, labels.bucket(row))

    @admin.display(description=gettext_lazy("payment"))
    def paid(self, row: ClaimInCollection) -> SafeString | str:
        return labels.payment(row)

    @admin.display(description=gettext_lazy("status"))
    def state(self, row: ClaimInCollection) -> SafeString | str:
        return labels.status(
            Claim(status=row.claim_status, eligibility_disputed=row.eligibility_disputed, milestone=row.milestone_value)
        )

    @admin.display(description=gettext_lazy("scout"))
    def scout(self, row: ClaimInCollection) -> SafeString | str:
        return format_html(
            '<div>{}</div><span class="quiet small">{}</span>',
            labels.scout_of(row),
            row.get_scout_quality_bucket_display(),
        )


def sums_of(rows: QuerySet[ClaimInCollection]) -> dict[str, Any]:
    """Return count and amounts (expected, paid, collectable; None for nothing) of some claims, in one statement."""
    paid, collectable = Q(payment_key__isnull=False), Q(is_collectable=True)
    return rows.order_by().aggregate(
        number=Count("pk"), expected=Sum("expected_amount"), paid=Sum("expected_amount", filter=paid),
        paid_number=Count("pk", filter=paid), collectable=Sum("expected_amount", filter=collectable),
        collectable_number=Count("pk", filter=collectable),
    )  # fmt: skip


def sums_in_words(sums: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return the sums as (words, amount, count) in reading order; the cents are exact."""
    return [
        (_("Expected"), labels.money(sums["expected"] or Decimal()), sums["number"]),
        (_("Paid"), labels.money(sums["paid"] or Decimal()), sums["paid_number"]),
        (_("To collect"), labels.money(sums["collectable"] or Decimal()), sums["collectable_number"]),
    ]


@admin.register(Claim)
class ClaimAdmin(ClaimSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy(
        "Every claim as it is stored, also those of accounts that may not operate and are in no list of collection."
    )
    change_form_template = "admin/attribution/claim.html"
    list_display = ("account", "which", "lead_date", "achieved_date", "amount", "state", "changed")
    list_filter = (
        "status", filters.StoredMilestoneFilter, "eligibility_disputed", filters.QuarantineFilter, filters.WeekFilter,
    )  # fmt: skip
    ordering = ("-lead_date",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ("lead_date",)
    person_column = "person"
    fields = (
        "words", "account", "who", "which", "amount", "rule_link", "lead", "due", "payment", "state", "scout", "reason",
        "changed",
    )  # fmt: skip
    readonly_fields = fields

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            found.told = story.of(found)
        return found

    @admin.display(description=gettext_lazy("in words"))
    def words(self, claim: Any) -> SafeString:
        return format_html_join("", "<div>{}</div>", ((sentence,) for sentence in claim.told.sentences()))

    @admin.display(description=gettext_lazy("driver"))
    def account(self, claim: Any) -> SafeString | str:
        if not hasattr(claim, "told"):
            return claim.driver_id or claim.lead_source_pk
        return labels.driver(claim.driver_id, claim.told.name)

    @admin.display(description=gettext_lazy("person"))
    def who(self, claim: Any) -> SafeString | str:
        return link_to(claim.person)

    @admin.display(description=gettext_lazy("milestone"))
    def which(self, claim: Any) -> SafeString:
        return labels.milestone(claim.milestone)

    @admin.display(description=gettext_lazy("amount"))
    def amount(self, claim: Any) -> str:
        return labels.money(claim.amount_expected)

    @admin.display(description=gettext_lazy("rule"))
    def rule_link(self, claim: Any) -> SafeString | str:
        return claim.told.rule_in_words()

    @admin.display(description=gettext_lazy("lead"))
    def lead(self, claim: Any) -> SafeString | str:
        return format_html("{} · {}", lima_time(claim.lead_date), claim.told.lead())

    @admin.display(description=gettext_lazy("due"))
    def due(self, claim: Any) -> SafeString | str:
        return claim.told.due_in_words()

    @admin.display(description=gettext_lazy("payment"))
    def payment(self, claim: Any) -> SafeString | str:
        return claim.told.payment_in_words()

    @admin.display(description=gettext_lazy("status"))
    def state(self, claim: Any) -> SafeString | str:
        return labels.status(claim)

    @admin.display(description=gettext_lazy("scout"))
    def scout(self, claim: Any) -> SafeString | str:
        return claim.told.scout_in_words()

    @admin.display(description=gettext_lazy("changed"))
    def changed(self, claim: Any) -> SafeString | str:
        return lima_time(claim.updated_at)

    def get_sections(self, request: HttpRequest, claim: Any) -> Iterable[Section]:
        return story.sections(claim.told)
