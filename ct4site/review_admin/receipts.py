"""Receipts of decisions, and how they are taken back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from ct4site.admin import audit_section
from ct4site.admin_base import NOTHING, ReadOnlyAdmin, Section, lima_time, link_to, pill
from ct4site.models import AuditEntry, Decision, DecisionReason, Proposal
from ct4site.review import approving, deciding, leftovers, reversing
from ct4site.review.deciding import Overtaken, Wish
from ct4site.review_admin.forms import ReasonForm
from ct4site.review_admin.words import REFUSED, SHOWN, choice_label, consequence_sections, in_words, user_of


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    purpose = gettext_lazy("What persons decided: who, when, why, before and after. Every decision can be taken back.")
    change_form_template = "ct4/decision.html"
    list_display = ("receipt", "when", "actor", "of_case", "what", "reason", "state")
    list_select_related = ("case", "actor", "reverses", "reversed_by")
    ordering = ("-pk",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("when", "actor", "of_case", "what", "chosen", "reason", "reason_text", "approved_by", "state", "run_link")
    readonly_fields = fields

    @admin.display(description=gettext_lazy("receipt"))
    def receipt(self, decision: Decision) -> str:
        return str(decision)

    @admin.display(description=gettext_lazy("when"))
    def when(self, decision: Decision) -> SafeString | str:
        return lima_time(decision.decided_at)

    @admin.display(description=gettext_lazy("case"))
    def of_case(self, decision: Decision) -> SafeString | str:
        return link_to(decision.case)

    @admin.display(description=gettext_lazy("decision"))
    def what(self, decision: Decision) -> str:
        return choice_label(decision)

    @admin.display(description=gettext_lazy("reason"))
    def reason(self, decision: Decision) -> str:
        return decision.get_reason_code_display()

    @admin.display(description=gettext_lazy("chosen"))
    def chosen(self, decision: Decision) -> SafeString | str:
        return in_words(decision.target)

    @admin.display(description=gettext_lazy("approved by"))
    def approved_by(self, decision: Decision) -> SafeString | str:
        if decision.proposal is None:
            return NOTHING
        return format_html("{} ({})", decision.proposal.decided_by, link_to(decision.proposal))

    @admin.display(description=gettext_lazy("status"))
    def state(self, decision: Decision) -> SafeString | str:
        undone = getattr(decision, "reversed_by", None)
        if undone is not None:
            return format_html("{} {}", pill("undone", _("Taken back"), "warn"), link_to(undone))
        return pill("stands", _("Stands"), "good")

    @admin.display(description=gettext_lazy("run"))
    def run_link(self, decision: Decision) -> SafeString | str:
        return link_to(decision.run, f"#{decision.run_id}")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_http_methods(["GET", "POST"])(self.reverse_view))
        return [path("<int:decision_id>/reverse/", view, name="ct4site_decision_reverse"), *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        decision = kwargs.get("obj")
        context["waiting"] = waiting = None if decision is None else reversing.proposals(decision).first()
        context["may_reverse"] = (
            decision is not None and waiting is None and request.user.has_perm(deciding.DECIDE)
            and not hasattr(decision, "reversed_by")
        )  # fmt: skip
        return super().render_change_form(request, context, *args, **kwargs)

    def get_sections(self, request: HttpRequest, decision: Decision) -> Iterable[Section]:
        yield from consequence_sections(decision.consequences)
        yield audit_section(AuditEntry.objects.filter(run=decision.run_id), SHOWN)

    def reverse_view(self, request: HttpRequest, decision_id: int) -> HttpResponse:
        """Show what taking a decision back does, with the later decisions that stand on it; do it when confirmed."""
        if not request.user.has_perm(deciding.DECIDE):
            raise PermissionDenied
        decision = Decision.objects.select_related("case", "actor", "run").filter(pk=decision_id).first()
        if decision is None:
            raise Http404
        form = ReasonForm(
            request.POST if request.method == "POST" else None, initial={"reason_code": DecisionReason.MISTAKE}
        )
        together = "together" in request.POST
        wish = Wish(reversing.REVERSE, {}, DecisionReason.MISTAKE)
        if request.method == "POST" and form.is_valid():
            wish = form.wish(reversing.REVERSE)
        context: dict[str, Any] = {"together": together}
        status = 200
        asked: dict[str, Any] = {
            "decision_id": decision_id, "wish": wish, "actor": user_of(request), "together": together
        }  # fmt: skip
        try:
            if request.method == "POST" and "confirm" in request.POST and form.is_valid():
                done = reversing.reverse(**asked, shown=request.POST.get("shown", ""))
                if isinstance(done, list):
                    messages.success(request, format_html("{} {}", _("Taken back. The receipt:"), link_to(done[-1])))
                    return HttpResponseRedirect(reverse("admin:ct4site_decision_change", args=[decision_id]))
                proposed: Any = done
                if done.digest == request.POST.get("shown"):
                    proposed = approving.propose_reversal(**asked, shown=done.digest)
                if isinstance(proposed, Proposal):
                    messages.success(
                        request,
                        format_html("{} {}", _("Proposed. Another person has to approve it:"), link_to(proposed)),
                    )
                    return HttpResponseRedirect(reverse("admin:ct4site_decision_change", args=[decision_id]))
                reversal, context["changed_since"], status = proposed, True, REFUSED
            else:
                reversal = reversing.preview(**asked)
            context |= {
                "reversal": reversal,
                "steps": [
                    (one, consequence_sections(outcome.consequences), outcome.audit)
                    for one, outcome in zip(reversal.decisions, reversal.outcomes, strict=True)
                ],
            }
        except reversing.StandsFirm as refusal:
            rows = [(table, leftovers.outcome_in_words(why), number, keys) for table, why, number, keys in refusal.rows]
            context |= {"refusal": refusal, "dependent": refusal.decisions, "rows": rows}
            status = 200 if request.method == "GET" else REFUSED
        except Overtaken:
            context |= {"taken_back": True, "waiting": reversing.proposals(decision).first()}
            status = 200 if request.method == "GET" else REFUSED
        context |= {
            **self.admin_site.each_context(request),
            "title": _("Take decision %(id)s back") % {"id": decision.pk},
            "opts": self.opts,
            "decision": decision,
            "what": choice_label(decision),
            "form": form,
        }
        return TemplateResponse(request, "ct4/decision_reverse.html", context, status=status)
