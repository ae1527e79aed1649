"""The kernel's part of the demo: what is left for people."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Count
from django.utils.translation import gettext_lazy

from ct4site import demo
from ct4site.demo import Demo, Line
from ct4site.models import CaseKind, CaseStatus, JobType, ReviewCase


@demo.step(900, gettext_lazy("Open a case for everything that needs a person"))
def open_cases(context: Demo) -> Iterable[Line]:
    """Refresh the queue of cases; say how many of which kind are open."""
    context.run_job(JobType.REVIEW_REFRESH)
    found = ReviewCase.objects.filter(status=CaseStatus.OPEN).order_by().values_list("kind").annotate(Count("pk"))
    counted = dict(found)
    return [(str(kind.label), counted.get(kind.value, 0)) for kind in CaseKind]
