"""What collection adds to the start page: what is owed, paid and still to collect, and how well scouts are known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Count, Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from attribution.admin.collection import labels
from attribution.models import ClaimInCollection, OverdueBucket
from ct4site import home
from ct4site.admin import may_view
from ct4site.admin_base import lima_time, link_to
from ct4site.models import JobType, Run, RunStatus


@home.panel(place=13)
def collection(request: HttpRequest) -> home.Panel | None:
    """Claims, expected, paid, to collect with how long overdue, and coverage with scout: two statements (domain.md 12.6)."""
    if not may_view(request, ClaimInCollection):
        return None
    by_bucket = list(
        ClaimInCollection.objects.order_by()
        .values_list("bucket_overdue", "is_collectable")
        .annotate(
            number=Count("pk"),
            expected=Sum("expected_amount"),
            paid=Sum("expected_amount", filter=Q(payment_key__isnull=False)),
            with_scout=Count("pk", filter=Q(scout_id__isnull=False)),
        )
    )
    if not by_bucket:
        return home.Panel(_("Collection"), [(_list(_("Claims")), "0")])
    number = sum(row[2] for row in by_bucket)
    expected = sum((row[3] for row in by_bucket), Decimal())
    paid = sum((row[4] or Decimal() for row in by_bucket), Decimal())
    collectable = {row[0]: (row[2], row[3]) for row in by_bucket if row[1]}
    with_scout = sum(row[5] for row in by_bucket)
    rows: list[tuple[Any, ...]] = [
        (_list(_("Claims")), intcomma(number)),
        (_("Expected"), labels.money(expected)),
        (_list(_("Paid"), paid="yes"), labels.money(paid)),
        (
            _list(_("To collect"), collectable="yes"),
            _amount(sum(amount for _number, amount in collectable.values()), sum(count for count, _amount in collectable.values())),
        ),
    ]  # fmt: skip
    for bucket, words in OverdueBucket.choices:
        count, amount = collectable.get(bucket, (0, 0))
        link = _list(words, collectable="yes", overdue=bucket)
        rows.append((format_html('<span class="small">– {}</span>', link), _amount(amount, count)))
    share = format_html("{} %", f"{100 * with_scout / number:.2f}")
    rows.append(
        (_("With scout"), format_html('{} <span class="quiet small">{}</span>', share, intcomma(with_scout)))
    )  # fmt: skip
    return home.Panel(_("Collection"), rows, _as_of())


def _amount(amount: Any, number: int) -> SafeString:
    return format_html('{} <span class="quiet small">{}</span>', labels.money(amount), intcomma(number))


def _list(words: Any, **query: str) -> SafeString:
    address = reverse("admin:attribution_claimincollection_changelist")
    return format_html('<a href="{}">{}</a>', f"{address}?{urlencode(query)}" if query else address, words)


def _as_of() -> SafeString | str:
    """The last refresh that brought claims up to date."""
    refreshes = Run.objects.filter(job_type=JobType.COLLECTION_REFRESH, status=RunStatus.COMPLETED, dry_run=False)
    done = refreshes.order_by("-id").first()
    if done is None:
        return ""
    return format_html("{} {} · {}", _("As of the refresh of"), lima_time(done.completed_at), link_to(done))
