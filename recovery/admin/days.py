"""How the gaps and the red figure stood day by day (domain.md 7.7, 8.5, Q39)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site.admin_base import NOTHING, ReadOnlyAdmin, Section, lima_time
from recovery.admin import labels
from recovery.models import GapDay, RedFigureDay

FIGURES = (
    "total_leads", "unresolved", "no_identity", "no_origin", "inconsistent_origin", "high_risk", "medium_risk", "low_risk",
    "matched_24h", "matched_out",
)  # fmt: skip


@admin.register(GapDay)
class GapDayAdmin(ReadOnlyAdmin):
    purpose = gettext_lazy(
        "How the gaps stood at the end of each day's last run, and how that differs from the day before."
    )
    list_display = (
        "day", "total_leads", "unresolved", "share", "change", "no_identity", "no_origin", "inconsistent_origin", "high_risk",
    )  # fmt: skip
    ordering = ("-snapshot_date",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("day", "taken", "share", "top_reason")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        earlier = GapDay.objects.filter(snapshot_date__lt=OuterRef("snapshot_date")).order_by("-snapshot_date")
        return super().get_queryset(request).annotate(unresolved_before=Subquery(earlier.values("unresolved")[:1]))

    @admin.display(description=gettext_lazy("day"))
    def day(self, day: GapDay) -> SafeString | str:
        return lima_time(day.snapshot_date)

    @admin.display(description=gettext_lazy("taken"))
    def taken(self, day: GapDay) -> SafeString | str:
        return lima_time(day.taken_at)

    @admin.display(description=gettext_lazy("of all"))
    def share(self, day: GapDay) -> str:
        return f"{100 * day.unresolved / day.total_leads:.2f} %" if day.total_leads else NOTHING

    @admin.display(description=gettext_lazy("change"))
    def change(self, day: Any) -> str:
        return labels.signed(None if day.unresolved_before is None else day.unresolved - day.unresolved_before)

    @admin.display(description=gettext_lazy("most frequent reason"))
    def top_reason(self, day: GapDay) -> str:
        return labels.fail_reason(day.top_fail_reason)

    def get_sections(self, request: HttpRequest, day: GapDay) -> Iterable[Section]:
        earlier = GapDay.objects.filter(snapshot_date__lt=day.pk).order_by("-snapshot_date").first()
        rows = []
        for name in FIGURES:
            now, then = getattr(day, name), getattr(earlier, name, None)
            words = capfirst(str(self.opts.get_field(name).verbose_name))  # type: ignore[union-attr]
            shown = NOTHING if then is None else intcomma(then)
            rows.append([words, shown, intcomma(now), labels.signed(None if then is None else now - then)])
        columns = ["", lima_time(earlier.pk) if earlier else _("The day before"), lima_time(day.pk), _("Difference")]
        yield Section(title=_("Against the day before"), columns=columns, rows=rows, is_list=False)


@admin.register(RedFigureDay)
class RedFigureDayAdmin(ReadOnlyAdmin):
    purpose = gettext_lazy(
        "Leads that are nobody, so that nothing can be claimed for them: how many came, were matched and are left."
    )
    list_display = ("day", "backlog_start", "new_backlog_in", "matched_out", "backlog_end", "change", "top_reason")
    list_display_links = None
    ordering = ("-metric_date",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = list_display
    readonly_fields = fields

    @admin.display(description=gettext_lazy("day"))
    def day(self, day: RedFigureDay) -> SafeString | str:
        return lima_time(day.metric_date)

    @admin.display(description=gettext_lazy("change"))
    def change(self, day: RedFigureDay) -> str:
        return labels.signed(day.net_change)

    @admin.display(description=gettext_lazy("most frequent reason"))
    def top_reason(self, day: RedFigureDay) -> str:
        return labels.fail_reason(day.top_fail_reason)
