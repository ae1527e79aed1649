"""The job that takes a run back; itself a run (promise P6, reliability F23, docs/adr/0004)."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site import audit, faults, jobs
from ct4site.models import Decision, JobType, Run, RunStatus

SHOWN = 20  # keys named per table and reason in the run's log


def start_roll_back(*, run_id: int, actor: str, dry_run: bool = False, queue: bool = False) -> Run:
    """Write the row of a run that takes run ``run_id`` back, and its task with ``queue``.

    Returns the new run, to be executed. Raises ``JobError`` when there is no such run, when it has
    not ended, was a dry run or is a person's decision, and ``AlreadyRunning`` while another roll-back is at work.
    """
    target = Run.objects.filter(pk=run_id).first()
    if target is None:
        raise jobs.JobError(_("There is no run %(id)s.") % {"id": run_id})
    jobs.close_lost_runs(target.job_type)
    target.refresh_from_db()
    if target.status == RunStatus.RUNNING:
        raise jobs.JobError(_("Run %(id)s has not ended. Wait for its end, then roll it back.") % {"id": run_id})
    if target.dry_run:
        raise jobs.JobError(_("Run %(id)s was a dry run and changed nothing.") % {"id": run_id})
    refuse_decision(target)
    return jobs.start(job_code=JobType.ROLL_BACK, actor=actor, dry_run=dry_run, queue=queue, reverses=target)


def refuse_decision(run: Run) -> None:
    """Raise ``JobError`` for the run of a decision: that is taken back with a receipt, or its own would lie."""
    decision = Decision.objects.filter(run=run).first()
    if decision is not None:
        raise jobs.JobError(
            _("Run %(run)s is decision %(id)s of a person. Take the decision back instead.")
            % {"run": run.pk, "id": decision.pk}
        )


@jobs.job(
    JobType.ROLL_BACK,
    purpose=gettext_lazy("Puts back what a run changed, where nothing newer stands on it."),
)
def roll_back(context: jobs.RunContext) -> None:
    """Undo the run named by ``reverses``: all in one transaction, so that a kill leaves nothing half undone.

    Restores rows still as that run left them and names the others in the log; drops what is left
    of its plan, so that no later run finishes what was taken back.
    """
    target = context.run.reverses
    if target is None:
        raise jobs.JobError(_("A roll-back needs the run that it takes back."))
    context.progress("restore", 0)
    with context.transaction():
        tally = audit.restore_run(
            run_id=target.pk,
            reversal_id=context.run_id,
            actor=context.run.actor,
            reason=_("Roll-back of run %(id)s") % {"id": target.pk},
        )
        audit.tell_leftovers(run_id=target.pk, reversal_id=context.run_id)
        if target.has_plan:
            jobs.drop_plan(target)
            context.note(_("What was left of the plan of run %(id)s was dropped.") % {"id": target.pk})
        context.count(tally)
        outcomes = [counts for name, counts in tally.items() if name != "audit"]
        rows = sum(sum(counts.values()) for counts in outcomes)
        if not rows:
            context.note(_("Run %(id)s changed nothing that can be rolled back.") % {"id": target.pk})
        for table, outcome, count, keys in audit.kept_rows(SHOWN):
            context.note(f"{table}: {outcome}: {count} ({', '.join(keys)}{', …' if count > len(keys) else ''})")
        context.progress("restore", rows, rows)
        faults.point("roll_back:effected")
    faults.point("roll_back:committed")
