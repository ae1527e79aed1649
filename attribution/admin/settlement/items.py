"""What scouts are owed as it stands: every item, what is due now, and the statement of one scout (domain.md 6.13, 11.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.humanize.templatetags.humanize import intcomma
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Count, F, Q, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution import settlement
from attribution.admin import finding
from attribution.admin import labels as attribution_labels
from attribution.admin.collection import labels
from attribution.admin.collection.claims import ClaimSearchMixin
from attribution.admin.parts import ScoutFilter, ScoutNamesMixin, names_of
from attribution.admin.settlement import statement, words
from attribution.models import (
    PaymentStatus,
    PeriodStatus,
    PossibleSamePerson,
    ScoutConflict,
    ScoutPayment,
    ScoutPaymentRule,
    SettlementLine,
    SettlementPeriod,
    StatementItem,
)
from attribution.settlement_models import BLOCKS
from ct4site.admin_base import (
    LARGEST_KEY,
    NOTHING,
    CodeFilter,
    ReadOnlyAdmin,
    Section,
    classify_query,
    lima_time,
    link_to,
    pill,
    whole_number,
)
from ct4site.models import JobType, Run, RunStatus
from ct4site.paginators import Keyset
from ct4site.spreadsheets import CONTENT_TYPE, write_xlsx
from identity.admin import records
from identity.models import LeadEvent

PAGE = 100
# A printed statement stops here and says so; the spreadsheet has every row.
PRINTED = 5000


class ItemScoutFilter(ScoutFilter):
    condition = "scout_id"


class BlockFilter(CodeFilter):
    """By what blocks the person."""

    title = gettext_lazy("blocked by")
    parameter_name = "block"
    column = "block_reason"
    words = {code: block.reason for code, block in BLOCKS.items()}


class DueFilter(admin.SimpleListFilter):
    """Whether closing the open period would write a line of it."""

    title = gettext_lazy("due now")
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", gettext_lazy("Yes")), ("back", gettext_lazy("To be taken back"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "yes":
            return queryset.filter(~Q(due_amount=0))
        return queryset.filter(due_amount__lt=0) if self.value() == "back" else queryset


class ItemScreen(ScoutNamesMixin, ClaimSearchMixin, ReadOnlyAdmin):
    """What the lists of items and of lines show alike."""

    change_form_template = "admin/attribution/settlement_item.html"
    person_column = "person"
    sortable_by: ClassVar[tuple[str, ...] | None] = ()

    def scouts_of(self, item: Any) -> list[Any]:
        return [item.scout_id, item.current_scout_id]

    def who(self, item: Any) -> str:
        """Return the name of the person an item is of."""
        raise NotImplementedError

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            found.heading = f"{self.who(found)} · {words.milestone(found)}"
        return found

    @admin.display(description=gettext_lazy("scout"))
    def scout(self, item: Any) -> SafeString | str:
        return attribution_labels.scout(item.scout_id, names_of(item, self.scouts_of(item)))

    @admin.display(description=gettext_lazy("milestone"))
    def which(self, item: Any) -> str:
        return words.milestone(item)

    @admin.display(description=gettext_lazy("reached"))
    def reached(self, item: Any) -> SafeString | str:
        return lima_time(item.achieved_date)

    @admin.display(description=gettext_lazy("payable from"))
    def payable(self, item: Any) -> SafeString | str:
        return lima_time(item.payable_date)

    @admin.display(description=gettext_lazy("account"))
    def account(self, item: Any) -> SafeString | str:
        return labels.driver(item.driver_id)

    @admin.display(description=gettext_lazy("person"))
    def person_link(self, item: Any) -> SafeString | str:
        return link_to(item.person)

    @admin.display(description=gettext_lazy("lead"))
    def lead(self, item: Any) -> SafeString | str:
        if not item.source_pk:
            return NOTHING
        key = (item.source_table, item.source_pk)
        event = LeadEvent(source_table=item.source_table, source_pk=item.source_pk)
        label = records.record_label(event, records.source_rows([key]).get(key))
        return format_html("{} · {}", lima_time(item.lead_date), label)

    @admin.display(description=gettext_lazy("why this scout"))
    def why(self, item: Any) -> str:
        return words.why(item, names_of(item, self.scouts_of(item)))

    @admin.display(description=gettext_lazy("owed"))
    def owed(self, item: Any) -> str:
        return labels.money(item.owed_amount, item.currency)


@admin.register(StatementItem)
class StatementItemAdmin(ItemScreen):
    purpose = gettext_lazy(
        "What every scout is owed and was settled, milestone by milestone, what is blocked and what would unblock it."
    )
    change_list_template = "admin/attribution/item_list.html"
    list_display = ("who", "scout", "which", "reached", "state", "owed", "settled", "due", "blocked_by")
    list_filter = ("payment_status", BlockFilter, DueFilter, ItemScoutFilter)
    ordering = ("scout_id", "person_name")
    fields = (
        "in_words", "state", "blocked_by", "scout", "why", "person_link", "account", "which", "lead", "reached", "payable",
        "rule", "owed", "settled", "open_amount", "due",
    )  # fmt: skip
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        views = {
            "statement/": self.statement_view,
            "statement/print/": self.print_view,
            "statement/xlsx/": self.xlsx_view,
        }
        named = [
            path(route, self.admin_site.admin_view(view), name=f"attribution_{route.strip('/').replace('/', '_')}")
            for route, view in views.items()
        ]
        return [*named, *super().get_urls()]

    @admin.display(description=gettext_lazy("person"))
    def who(self, item: StatementItem) -> str:
        return item.person_name or str(item.person_id)

    @admin.display(description=gettext_lazy("status"))
    def state(self, item: StatementItem) -> SafeString | str:
        return words.status(item)

    @admin.display(description=gettext_lazy("settled"))
    def settled(self, item: StatementItem) -> str:
        return labels.money(item.settled_amount, item.currency)

    @admin.display(description=gettext_lazy("to settle"))
    def open_amount(self, item: StatementItem) -> str:
        return labels.money(item.owed_amount - item.settled_amount, item.currency)

    @admin.display(description=gettext_lazy("due now"))
    def due(self, item: StatementItem) -> SafeString | str:
        if not item.due_amount:
            return labels.money(item.due_amount, item.currency)
        return format_html("{} {}", words.signed(item.due_amount, item.currency), words.kind(item))

    @admin.display(description=gettext_lazy("blocked by"))
    def blocked_by(self, item: StatementItem) -> SafeString | str:
        return block_link(item)

    @admin.display(description=gettext_lazy("in words"))
    def in_words(self, item: StatementItem) -> SafeString:
        names = names_of(item, self.scouts_of(item))
        rule = ScoutPaymentRule.objects.filter(pk=item.rule_id).first() if item.rule_id else None
        periods = words.periods_by_number([item.last_period_id])
        is_open = settlement.open_settlement_period() is not None
        return words.paragraphs(
            [
                *words.reached(item, self.who(item), rule),
                words.standing(item, names, periods, is_open),
                "" if item.due_amount == 0 else _("Closing the open period now would settle %(amount)s.") % {
                    "amount": words.signed(item.due_amount, item.currency)
                },
            ]
        )  # fmt: skip

    @admin.display(description=gettext_lazy("rule"))
    def rule(self, item: StatementItem) -> SafeString | str:
        return link_to(ScoutPaymentRule.objects.filter(pk=item.rule_id).first() if item.rule_id else None)

    def get_sections(self, request: HttpRequest, item: StatementItem) -> Iterable[Section]:
        yield lines_section(item.payment_item_key)
        yield payments_section(item)

    # --- the statement of a scout ---------------------------------------------------------------------

    def _account(self, request: HttpRequest) -> statement.Account | None:
        """The statement that the address asks for, None where it names no scout; 403, 404 or 400 where it may not."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        scout, number = request.GET.get("scout", "").strip(), request.GET.get("period", "").strip()
        if not scout:
            return None
        try:
            return statement.account_of(_number(scout), _number(number) if number else None)
        except SettlementPeriod.DoesNotExist as error:
            raise Http404 from error

    def statement_view(self, request: HttpRequest) -> HttpResponse:
        """Show what is due of all scouts, or the statement of the one that was chosen, by number or by name."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        typed = request.GET.get("scout", "").strip()
        if typed and not _is_number(typed):
            return self._found(request, typed)
        account = self._account(request)
        return self._landing(request) if account is None else self._shown(request, account)

    def _found(self, request: HttpRequest, typed: str) -> HttpResponse:
        keys = classify_query(typed)
        found = list(finding.scouts(keys)) if keys else []
        address = reverse("admin:attribution_statement")
        if len(found) == 1:
            return HttpResponseRedirect(f"{address}?{_query(scout=found[0].pk, period=request.GET.get('period', ''))}")
        rows = [(statement_link(scout.pk, label=f"{scout.pk} · {scout.scout_name_normalized}"),) for scout in found]
        section = Section(title=_("Scouts that the text may mean"), columns=[_("Scout")], rows=rows)
        return self._page(
            request, _("Statement of a scout"), typed=typed, sections=[section], known=statement.newest_periods()
        )

    def _landing(self, request: HttpRequest) -> HttpResponse:
        due = settlement.due()
        context: dict[str, Any] = {
            "sections": [due_section(due.scouts), blocked_section()], "due": due, "due_sum": words.money(due.amounts),
            "known": statement.newest_periods(),
        }  # fmt: skip
        return self._page(request, _("Statements of scouts, and what is due now"), **context)

    def _shown(self, request: HttpRequest, account: statement.Account) -> HttpResponse:
        code = request.GET.get("show", "")
        if code and code not in dict(account.choices):
            raise BadRequest("A statement has no such rows.")
        rows = account.rows_of(code)
        found, earlier, later = Keyset(rows, PAGE, anchors=account.told.rows).page(
            after=_key(request, "after"), before=_key(request, "before")
        )
        here = {"scout": account.told.scout_id, "period": account.closed.pk if account.closed else ""}
        address = reverse("admin:attribution_statement")
        context: dict[str, Any] = {
            "account": account, "known": account.periods, "rows": list(account.in_words(found)), "sums": account.sums(), "show": code,
            "typed": account.told.scout_id, "chosen": account.closed.pk if account.closed else "",
            "scout_link": attribution_labels.scout(account.told.scout_id, account.names), "as_of": _as_of(account),
            "query": _query(**here), "first": f"{address}?{_query(**here, show=code)}" if earlier else "",
            "previous": f"{address}?{_query(**here, show=code, before=found[0].pk)}" if earlier and found else "",
            "next": f"{address}?{_query(**here, show=code, after=found[-1].pk)}" if later else "",
        }  # fmt: skip
        return self._page(request, account.title, **context)

    def _page(self, request: HttpRequest, title: str, known: words.Periods, **context: Any) -> HttpResponse:
        closed = [period for period in known.values() if period.status == PeriodStatus.CLOSED]
        context = {
            **self.admin_site.each_context(request), "title": title, "opts": self.opts, "periods": closed, **context,
        }  # fmt: skip
        return TemplateResponse(request, "admin/attribution/statement.html", context)

    def print_view(self, request: HttpRequest) -> HttpResponse:
        """Show a statement for paper: A4, its heading on every page, no navigation."""
        account = self._account(request)
        if account is None:
            raise Http404
        rows = list(account.told.rows[: PRINTED + 1])
        context = {
            "account": account, "rows": account.in_words(rows[:PRINTED]), "sums": account.sums(),
            "has_more": len(rows) > PRINTED, "limit": PRINTED, "as_of": _as_of(account),
        }  # fmt: skip
        return TemplateResponse(request, "admin/attribution/statement_print.html", context)

    def xlsx_view(self, request: HttpRequest) -> HttpResponse:
        """Download a statement as a workbook with every row."""
        account = self._account(request)
        if account is None:
            raise Http404
        name = account.file_name()
        response = HttpResponse(
            content_type=CONTENT_TYPE, headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        )  # fmt: skip
        write_xlsx(response, account.sheets())  # type: ignore[arg-type]
        return response


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _number(text: str) -> int:
    """The number of a scout or of a period; raises ``BadRequest`` for what cannot be one."""
    number = whole_number(text, finding.LARGEST_ID)
    if number is None:
        raise BadRequest("That is no number of a scout or of a period.")
    return number


def _key(request: HttpRequest, name: str) -> int | None:
    return whole_number(request.GET.get(name, ""), LARGEST_KEY)


def _query(**parts: Any) -> str:
    return urlencode({name: part for name, part in parts.items() if part not in ("", None)})


def statement_link(scout: int, period: int | None = None, label: Any = None) -> SafeString:
    """Return the link to a scout's statement, of a closed period if told."""
    address = reverse("admin:attribution_statement")
    query = _query(scout=scout, period=period)
    return format_html('<a href="{}?{}">{}</a>', address, query, _("Statement") if label is None else label)


def _as_of(account: statement.Account) -> SafeString | str:
    """As of when a statement tells: of a closed period its closing, else the last refresh or closing."""
    if account.closed:
        return lima_time(account.closed.closed_at)
    return last_refresh()


def last_refresh() -> SafeString | str:
    """Return when the stored statements were last brought up to date; a dash before the first time."""
    jobs = (JobType.COLLECTION_REFRESH, JobType.SETTLEMENT_CLOSE)
    runs = Run.objects.filter(job_type__in=jobs, status=RunStatus.COMPLETED, dry_run=False)
    done = runs.order_by("-id").first()
    return lima_time(done.completed_at) if done else NOTHING


def block_link(item: StatementItem) -> SafeString | str:
    """Return what blocks an item, linked to where it can be decided; a dash for nothing."""
    block = item.block
    if block is None:
        return NOTHING
    if item.block_reason == "CONFLICT":
        return link_to(ScoutConflict(person_id=item.person_id), block.reason)
    if item.block_reason == "POSSIBLE_SAME_PERSON":
        address = reverse(f"admin:attribution_{PossibleSamePerson._meta.model_name}_changelist")
        return format_html('<a href="{}?q={}">{}</a>', address, item.person_id, block.reason)
    return str(block.reason)


# --- sections that several pages show ------------------------------------------------------------------


def due_section(scouts: Sequence[settlement.DueOfScout]) -> Section:
    """Return what closing the open period now would write, by scout."""
    names = attribution_labels.scouts_by_number(part.scout_id for part in scouts)
    rows = [
        (
            attribution_labels.scout(part.scout_id, names), intcomma(part.lines), intcomma(part.adjustments),
            intcomma(part.persons), labels.money(part.amount, part.currency), statement_link(part.scout_id),
        )
        for part in scouts
    ]  # fmt: skip
    columns = [_("Scout"), _("New"), _("Adjustments"), _("Persons"), _("Amount"), ""]
    return Section(title=_("Due now, by scout"), columns=columns, rows=rows)


def blocked_section() -> Section:
    """Return what is held back, by what blocks it and what would unblock it."""
    held = (
        StatementItem.objects.order_by()
        .filter(block_reason__isnull=False, payment_status=PaymentStatus.BLOCKED)
        .values_list("block_reason", "currency")
        .annotate(number=Count("pk"), amount=Sum(F("owed_amount") - F("settled_amount")))
    )
    address = reverse("admin:attribution_statementitem_changelist")
    order = list(BLOCKS)
    rows = [
        (
            format_html('<a href="{}?block={}">{}</a>', address, code, BLOCKS[code].reason), BLOCKS[code].remedy,
            intcomma(number), labels.money(amount, currency),
        )
        for code, currency, number, amount in sorted(held, key=lambda row: (order.index(row[0]), row[1]))
    ]  # fmt: skip
    columns = [_("Blocked by"), _("What would unblock it"), _("Rows"), _("Held back")]
    return Section(title=_("Blocked"), columns=columns, rows=rows, is_list=False)


def lines_section(payment_item_key: str, but: int | None = None) -> Section:
    """Return all lines of an item, the oldest first; ``but`` marks the one whose page this is."""
    lines = list(
        SettlementLine.objects.filter(payment_item_key=payment_item_key).select_related("period").order_by("id")[:PAGE]
    )
    names = words.scouts_of(lines)
    rows = [
        (
            link_to(line.period), words.kind(line), words.reason(line, names), labels.money(line.settled_before, line.currency),
            words.signed(line.amount, line.currency), labels.money(line.owed_amount, line.currency),
            pill("this", _("This line"), "info") if line.pk == but else link_to(line, _("Line")),
        )
        for line in lines
    ]  # fmt: skip
    columns = [_("Period"), _("Entry"), _("Why"), _("Settled before"), _("Amount"), _("Settled since then"), ""]
    return Section(title=_("Lines of the item"), columns=columns, rows=rows)


def payments_section(item: Any) -> Section:
    """Return what finance recorded as paid for an item."""
    columns = {
        _("Paid"): lambda payment: link_to(payment, lima_time(payment.paid_at)),
        _("Amount"): lambda payment: labels.money(payment.amount, payment.currency),
        _("By"): lambda payment: payment.paid_by,
        _("Reference"): lambda payment: payment.payment_ref,
    }
    found = ScoutPayment.objects.filter(
        person_key=item.person_id, scout_id=item.scout_id, milestone_type=item.milestone_type,
        milestone_value=item.milestone_value,
    )  # fmt: skip
    return Section.of(_("Payments on record"), columns, found.order_by("id"), PAGE)
