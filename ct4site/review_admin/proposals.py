"""Proposals: what needs a second person, and their answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from ct4site.admin_base import OpenFirstFilter, ReadOnlyAdmin, Section, lima_time, link_to, pill
from ct4site.models import Decision, Deed, Proposal, ProposalStatus, Run
from ct4site.review import approving, kinds
from ct4site.review_admin.forms import AnswerForm, ReasonForm
from ct4site.review_admin.words import choice_label, consequence_sections, in_words, user_of


class WaitingFilter(OpenFirstFilter):
    """Those that wait unless asked otherwise."""

    codes, first = ProposalStatus, ProposalStatus.WAITING


@admin.register(Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    purpose = gettext_lazy("What needs a second person. Shown are those that wait; the others are under Filter.")
    change_form_template = "ct4/proposal.html"
    list_display = ("title", "of", "proposed_by", "proposed", "reason", "state")
    list_filter = (WaitingFilter, "deed")
    list_select_related = ("case", "run", "decision", "proposed_by", "decided_by")
    ordering = ("-pk",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("deed", "of", "what", "proposed_by", "proposed", "reason", "reason_text", "state", "decided_by", "answered", "answer", "done")  # fmt: skip
    readonly_fields = fields

    @admin.display(description=gettext_lazy("proposal"))
    def title(self, proposal: Proposal) -> str:
        return str(proposal)

    @admin.display(description=gettext_lazy("of"))
    def of(self, proposal: Proposal) -> SafeString | str:
        if proposal.decision is not None:
            return link_to(proposal.decision, _("Decision %(id)s") % {"id": proposal.decision})
        return link_to(proposal.case or proposal.run)

    @admin.display(description=gettext_lazy("decision"))
    def what(self, proposal: Proposal) -> SafeString | str:
        if proposal.decision is not None:
            return f"{proposal.get_deed_display()}: {choice_label(proposal.decision)}"
        if proposal.deed != Deed.DECIDE or proposal.case is None:
            return proposal.get_deed_display()
        asked = proposal.request
        label = kinds.choice_label(proposal.case, asked["choice"])
        return format_html("{} {}", label, in_words(asked["target"]) if asked.get("target") else "")

    @admin.display(description=gettext_lazy("done"))
    def done(self, proposal: Proposal) -> str:
        told = {"done": proposal.decisions.count(), "all": len(proposal.request["cases"])}
        return _("%(done)s of %(all)s cases decided") % told

    @admin.display(description=gettext_lazy("proposed"))
    def proposed(self, proposal: Proposal) -> SafeString | str:
        return lima_time(proposal.proposed_at)

    @admin.display(description=gettext_lazy("answered"))
    def answered(self, proposal: Proposal) -> SafeString | str:
        return lima_time(proposal.decided_at)

    @admin.display(description=gettext_lazy("reason"))
    def reason(self, proposal: Proposal) -> str:
        return proposal.get_reason_code_display()

    @admin.display(description=gettext_lazy("status"))
    def state(self, proposal: Proposal) -> SafeString | str:
        tones = {ProposalStatus.WAITING: "warn", ProposalStatus.APPROVED: "good", ProposalStatus.REFUSED: "bad"}
        return pill(
            proposal.status,
            proposal.get_status_display(),
            tones.get(ProposalStatus(proposal.status), "plain"),
        )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.answer_view))
        return [path("<int:proposal_id>/answer/", view, name="ct4site_proposal_answer"), *super().get_urls()]

    def get_fields(self, request: HttpRequest, obj: Proposal | None = None) -> Any:
        return [name for name in self.fields if name != "done" or (obj and obj.deed == Deed.DECIDE_MANY)]

    def get_sections(self, request: HttpRequest, proposal: Proposal) -> Iterable[Section]:
        if proposal.deed == Deed.REVERSE:
            yield from _taken_back(proposal)
        else:
            yield from consequence_sections(proposal.consequences)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        proposal = kwargs.get("obj")
        if proposal is not None:
            waits = proposal.status == ProposalStatus.WAITING
            context |= {
                "waits": waits,
                "why_not": approving.may_answer(proposal, user_of(request)),
                "is_mine": proposal.proposed_by_id == request.user.pk,
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def answer_view(self, request: HttpRequest, proposal_id: int) -> HttpResponse:
        """Approve, refuse or withdraw a proposal."""
        if not self.has_view_permission(request) or not Proposal.objects.filter(pk=proposal_id).exists():
            raise PermissionDenied
        form = AnswerForm(request.POST)
        if not form.is_valid():
            messages.error(request, str(form.errors["answer"][0]))
            return HttpResponseRedirect(reverse("admin:ct4site_proposal_change", args=[proposal_id]))
        text = form.cleaned_data["answer"]
        try:
            if "withdraw" in request.POST:
                proposal = approving.withdraw(proposal_id=proposal_id, actor=user_of(request))
            else:
                if not request.user.has_perm(approving.APPROVE):
                    raise PermissionDenied
                proposal = approving.answer(
                    proposal_id=proposal_id, approver=user_of(request), approve="approve" in request.POST, text=text
                )
        except approving.NotAllowed as refusal:
            messages.error(request, str(refusal))
        else:
            say = messages.warning if proposal.status == ProposalStatus.OUTDATED else messages.success
            say(request, f"{proposal}: {proposal.get_status_display()}")
        return HttpResponseRedirect(reverse("admin:ct4site_proposal_change", args=[proposal_id]))


def propose_roll_back(request: HttpRequest, run: Run) -> HttpResponse:
    """Propose the roll-back of a run with the reason that was posted; lead to the proposal, or back with what is wrong."""
    form = ReasonForm(request.POST)
    address = reverse("admin:ct4site_run_change", args=[run.pk])
    if not form.is_valid():
        messages.error(request, _("Say why: choose a reason."))
        return HttpResponseRedirect(address)
    try:
        proposal = approving.propose_roll_back(run=run, wish=form.wish("roll_back"), actor=user_of(request))
    except approving.NotAllowed as refusal:
        messages.error(request, str(refusal))
        return HttpResponseRedirect(address)
    messages.success(request, _("Proposed. Another person has to approve it."))
    return HttpResponseRedirect(reverse("admin:ct4site_proposal_change", args=[proposal.pk]))


def _taken_back(proposal: Proposal) -> Iterable[Section]:
    """Yield which decisions would be taken back, the newest first, then what follows from each."""
    steps = proposal.consequences
    found = Decision.objects.select_related("case", "actor", "reverses").in_bulk([step["decision"] for step in steps])
    rows = []
    for step in steps:
        one = found[step["decision"]]
        rows.append(
            [link_to(one), link_to(one.case), choice_label(one), one.actor, lima_time(one.decided_at), step["rows"]]
        )
    columns = [_("Decision"), _("Case"), _("What"), _("Who"), _("When"), _("Rows put back")]
    yield Section(title=_("What is taken back"), columns=columns, rows=rows)
    for step in steps:
        for section in consequence_sections(step["consequences"]):
            title = section.title if len(steps) == 1 else f"{found[step['decision']]}: {section.title}"
            yield replace(section, title=title)
