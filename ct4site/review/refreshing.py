"""The job that keeps the queue of cases up to date, and finishes what was approved and stopped half way."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site.jobs import RunContext, job
from ct4site.models import JobType
from ct4site.review import approving, cases

COUNTS = ("causes", "opened", "changed", "closed")


@job(
    JobType.REVIEW_REFRESH,
    purpose=gettext_lazy("Opens a case for everything that needs a person, and closes those whose cause is gone."),
)
def refresh_cases(context: RunContext) -> None:
    """Bring the queue of cases up to date; running it again changes nothing."""
    context.progress("plan", 0)
    try:
        # Decisions are runs of their own: a dry run, which is one transaction, leaves them alone.
        for proposal, report in [] if context.run.dry_run else approving.carry_on():
            told = {"proposal": proposal, "done": report.done}
            context.note(_("%(proposal)s had stopped half way: %(done)s cases decided now.") % told)
    finally:
        # Whatever cannot be decided, the queue is right.
        with context.transaction():
            context.count(dict.fromkeys((*COUNTS, "audit"), 0))
            context.count(cases.refresh())
