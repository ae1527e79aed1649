"""Comparisons of existing claims with ours: the list of them, and one with its totals, its rows and its files (Q59)."""

from __future__ import annotations

import csv
import datetime
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.humanize.templatetags.humanize import intcomma
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution import comparing
from attribution.admin.collection import labels
from attribution.models import Claim, ClaimComparison, ComparedClaim, ComparisonGroup, DisappearReason
from ct4site.admin_base import (
    NOTHING,
    CodeFilter,
    ReadOnlyAdmin,
    SearchMixin,
    YesNoFilter,
    lima_time,
    link_to,
    pill,
)
from ct4site.models import Run
from ct4site.reports import safe_cell
from ct4site.spreadsheets import CONTENT_TYPE, write_xlsx
from identity.admin import finding

TONES = {
    ComparisonGroup.DISAPPEARS: "bad",
    ComparisonGroup.CHANGES: "warn",
    ComparisonGroup.APPEARS: "info",
    ComparisonGroup.SAME: "plain",
}
IN_MEMORY = 2**20


class GroupFilter(CodeFilter):
    """By what would become of a claim."""

    title = gettext_lazy("group")
    parameter_name = column = "group"
    words = dict(ComparisonGroup.choices)


class PaidClaimFilter(YesNoFilter):
    """Whether the list or the partner's payments say paid."""

    title = gettext_lazy("paid")
    parameter_name = "paid"
    column = "is_paid"


class ReasonFilter(CodeFilter):
    """By why a claim would disappear."""

    title = gettext_lazy("reason to disappear")
    parameter_name = column = "reason"
    words = dict(DisappearReason.choices)


class ComparedClaimList(SearchMixin, ReadOnlyAdmin):
    """The rows of one comparison: shown on the comparison's own page, so that no list mixes several."""

    change_list_template = "admin/attribution/claim_comparison.html"
    list_display = ("who", "which", "what", "listed", "ours", "why")
    list_display_links = None
    list_filter = (GroupFilter, PaidClaimFilter, ReasonFilter)
    ordering = ("id",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    search_help_text = gettext_lazy("Driver, plate or name")
    finds_personal = True
    searches = (lambda keys: None,)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("attribution.view_claimcomparison")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        comparison = request.comparison  # type: ignore[attr-defined]
        return super().get_queryset(request).filter(comparison=comparison).select_related("existing")

    def meant(self, request: HttpRequest, keys: Mapping[str, Any]) -> Q:
        drivers = [driver.pk for driver in finding.drivers(keys)]
        # The account too: the list may name one that no driver of ours has.
        return Q(driver_id__in=[*drivers, keys["text"].lower()])

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        comparing.name(changes.result_list)
        return changes

    @admin.display(description=gettext_lazy("driver"))
    def who(self, row: Any) -> SafeString | str:
        account = format_html('<span class="key quiet small">{}</span>', row.driver_id)
        shown = format_html("<div>{}</div>{}", row.driver_name, account) if row.driver_name else account
        return link_to(Claim(pk=row.claim_id), shown) if row.claim_id else shown

    @admin.display(description=gettext_lazy("milestone"))
    def which(self, row: ComparedClaim) -> SafeString:
        return labels.milestone(row.milestone)

    @admin.display(description=gettext_lazy("outcome"))
    def what(self, row: ComparedClaim) -> SafeString:
        said = pill(row.group, row.get_group_display(), TONES.get(row.group, "plain"))  # type: ignore[call-overload]
        return format_html("<div>{}</div>{}", said, labels.is_paid(True)) if row.is_paid else format_html("{}", said)

    @admin.display(description=gettext_lazy("in the list"))
    def listed(self, row: ComparedClaim) -> SafeString | str:
        if row.existing is None:
            return NOTHING
        return _side(row.existing.amount_expected, row.existing.get_status_display())

    @admin.display(description=gettext_lazy("by CT4"))
    def ours(self, row: ComparedClaim) -> SafeString | str:
        return NOTHING if row.claim_id is None else _side(row.claim_amount, comparing.our_status(row))

    @admin.display(description=gettext_lazy("why"))
    def why(self, row: ComparedClaim) -> str:
        return comparing.explain(row)


def _side(amount: Any, status: str) -> SafeString:
    return format_html('<div>{}</div><span class="quiet small">{}</span>', labels.money(amount), status)


@admin.register(ClaimComparison)
class ClaimComparisonAdmin(ReadOnlyAdmin):
    purpose = gettext_lazy(
        "Lists of existing claims against ours: what would appear, disappear or change, and which of it is paid."
    )
    list_display = ("name", "at", "disappears", "changes", "appears", "same", "difference")
    list_display_links = ("name",)
    ordering = ("-id",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("claim_list",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("claim_list")

    @admin.display(description=gettext_lazy("list"))
    def name(self, comparison: ClaimComparison) -> str:
        return str(comparison)

    @admin.display(description=gettext_lazy("our claims as of"))
    def at(self, comparison: ClaimComparison) -> SafeString | str:
        return lima_time(comparison.compared_at)

    @admin.display(description=ComparisonGroup.DISAPPEARS.label)
    def disappears(self, comparison: ClaimComparison) -> SafeString:
        return _counted(comparison, ComparisonGroup.DISAPPEARS)

    @admin.display(description=ComparisonGroup.CHANGES.label)
    def changes(self, comparison: ClaimComparison) -> SafeString:
        return _counted(comparison, ComparisonGroup.CHANGES)

    @admin.display(description=ComparisonGroup.APPEARS.label)
    def appears(self, comparison: ClaimComparison) -> SafeString:
        return _counted(comparison, ComparisonGroup.APPEARS)

    @admin.display(description=ComparisonGroup.SAME.label)
    def same(self, comparison: ClaimComparison) -> SafeString:
        return _counted(comparison, ComparisonGroup.SAME)

    @admin.display(description=gettext_lazy("difference"))
    def difference(self, comparison: ClaimComparison) -> str:
        return _signed(comparing.group_totals(comparison)[-1]["difference"])

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.file_view)
        return [
            path("<int:key>/claims.<str:kind>", view, name="attribution_claimcomparison_file"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the totals of a comparison above its rows, which are a list like any other."""
        comparison = self.get_object(request, unquote(object_id))
        if comparison is None or request.method not in ("GET", "HEAD"):
            return super().change_view(request, object_id, form_url, extra_context)
        request.comparison = comparison  # type: ignore[attr-defined]
        context = {
            "comparison": comparison,
            "comparison_opts": self.opts,
            "totals": [_shown(row) for row in comparing.group_totals(comparison)],
            "facts": [(what, _told(value)) for what, value in comparing.facts(comparison)],
            "run_link": link_to(Run(pk=comparison.run_id), f"#{comparison.run_id}"),
            "files": [
                (kind.upper(), reverse("admin:attribution_claimcomparison_file", args=[comparison.pk, kind]))
                for kind in ("xlsx", "csv")
            ],
        }  # fmt: skip
        return ComparedClaimList(ComparedClaim, self.admin_site).changelist_view(request, context)

    def file_view(self, request: HttpRequest, key: int, kind: str) -> HttpResponseBase:
        """Hand a whole comparison out as a file (csv or xlsx)."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        comparison = self.get_queryset(request).filter(pk=key).first() if key < 2**31 else None
        if comparison is None or kind not in ("csv", "xlsx"):
            raise Http404
        name = f"{comparing.REPORT}_{comparison.pk}.{kind}"
        if kind == "xlsx":
            file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  the response closes it
            write_xlsx(file, comparing.sheets_of(comparison))
            file.seek(0)
            return FileResponse(file, as_attachment=True, filename=name, content_type=CONTENT_TYPE)
        answer = StreamingHttpResponse(_lines(comparison), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def _lines(comparison: ClaimComparison) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(comparing.COLUMNS)
    for row in comparing.rows_of(comparison):
        yield writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in comparing.cells(row)])


def _told(value: Any) -> Any:
    """A fact of a comparison as its page shows it; rows that were left out must not be overlooked."""
    if isinstance(value, datetime.datetime):
        return lima_time(value)
    return pill("rejected", intcomma(value), "warn") if isinstance(value, int) and value else value


def _counted(comparison: ClaimComparison, group: ComparisonGroup) -> SafeString:
    told = comparison.figures["groups"][group]
    shown = format_html("{}", intcomma(told["rows"]))
    if told["paid_rows"] and group != ComparisonGroup.SAME:
        paid = _("%(number)s paid") % {"number": intcomma(told["paid_rows"])}
        return format_html('<div>{}</div><span class="quiet small">{}</span>', shown, paid)
    return shown


def _signed(amount: Any) -> str:
    sign = "+" if amount > 0 else "−" if amount < 0 else ""
    return f"{sign}{labels.money(abs(amount))}"


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A group's totals as the page shows them; a group leads to its rows."""
    group = row["group"]
    words = (
        format_html('<a href="?group={}">{}</a>', group.value, pill(group, group.label, TONES[group]))
        if group
        else _("Total")
    )
    paid = f"?group={group.value}&paid=yes" if group else "?paid=yes"
    return {
        "words": words,
        "rows": intcomma(row["rows"]),
        "listed": labels.money(row["listed"]),
        "claimed": labels.money(row["claimed"]),
        "difference": _signed(row["difference"]),
        "paid_rows": format_html('<a href="{}">{}</a>', paid, intcomma(row["paid_rows"])) if row["paid_rows"] else "0",
        "paid": labels.money(row["paid"]),
        "is_total": group is None,
    }
