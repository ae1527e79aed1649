"""The queue of cases, and the page on which one of them, or many, are decided."""

from __future__ import annotations

import datetime
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from ct4site.admin_base import (
    LARGEST_KEY,
    LIMA,
    OpenFirstFilter,
    ReadOnlyAdmin,
    SearchMixin,
    key_search,
    lima_time,
    link_to,
    pill,
    whole_number,
)
from ct4site.models import CaseStatus, ClosedBecause, Proposal, ReviewCase
from ct4site.review import approving, cases, deciding, kinds, many
from ct4site.review.deciding import HeldByOther, Outcome, Overtaken
from ct4site.review_admin.forms import DecideForm, ManyForm
from ct4site.review_admin.words import REFUSED, consequence_sections, last_decision, money, state_pill, user_of

ALIKE = 10  # cases alike that are offered beside one; all of them are a query of the queue
DONE_MANY = gettext_lazy(
    "Decided: %(done)s. Left out because they changed: %(changed)s, held by others: %(held)s,"
    " cannot be decided so: %(refused)s."
)


class OpenCasesFilter(OpenFirstFilter):
    """Open cases unless asked otherwise."""

    codes, first = CaseStatus, CaseStatus.OPEN


class DueFilter(admin.SimpleListFilter):
    """By the day on which a case is due, in Lima."""

    title = gettext_lazy("due")
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("late", gettext_lazy("Overdue")),
            ("today", gettext_lazy("Until today")),
            ("week", gettext_lazy("Within 7 days")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        today = timezone.now().astimezone(LIMA).date()
        day = datetime.timedelta(days=1)
        last = {"late": today - day, "today": today, "week": today + 7 * day}.get(self.value() or "")
        return queryset if last is None else queryset.filter(due_on__lte=last)


class HeldFilter(admin.SimpleListFilter):
    """By who holds a case now."""

    title = gettext_lazy("held")
    parameter_name = "held"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("me", gettext_lazy("By me")), ("approval", gettext_lazy("Waits for approval"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() == "me":
            return queryset.filter(leased_to=request.user, leased_until__gte=timezone.now())
        return queryset.filter(is_frozen=True) if self.value() == "approval" else queryset


class SignatureFilter(admin.SimpleListFilter):
    """Cases alike. Reached from the page of a case; offers no choice of its own."""

    title = gettext_lazy("alike")
    parameter_name = "alike"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = self.value()
        return [(value, value[:40])] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(signature=self.value()) if self.value() else queryset


@admin.register(ReviewCase)
class ReviewCaseAdmin(SearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Everything that needs a person: the most money first, then the oldest.")
    change_list_template = "ct4/case_list.html"
    list_display = ("case", "at_risk", "kind_pill", "cause", "due", "since", "state")
    list_filter = (OpenCasesFilter, "kind", DueFilter, HeldFilter, SignatureFilter)
    list_select_related = ("leased_to",)
    ordering = ("-money_at_risk", "opened_at", "pk")
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    search_help_text = gettext_lazy("Person key, driver or subject")
    searches = (key_search("person_key", "uuid"), key_search("driver_id", "text"), key_search("subject_key", "text"))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        rows = list(changes.result_list)
        names = kinds.names_of({case.person_key for case in rows} - {None})
        for case in rows:
            case.name = names.get(case.person_key, "")
        changes.result_list = rows
        return changes

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {
            "last_decision": last_decision(request),
            "may_decide": request.user.has_perm(deciding.DECIDE),
            "query": request.GET.urlencode(),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    @admin.display(description=gettext_lazy("case"))
    def case(self, case: ReviewCase) -> SafeString:
        name = getattr(case, "name", "")
        if not name:
            return format_html('<span class="key">{}</span>', kinds.subject_in_words(case))
        about = "" if case.subject_key == str(case.person_key) else kinds.subject_in_words(case)
        return format_html('{} <span class="key quiet small">{}</span>', name, about)

    @admin.display(description=gettext_lazy("kind"))
    def kind_pill(self, case: ReviewCase) -> SafeString | str:
        return case.get_kind_display()

    @admin.display(description=gettext_lazy("raised by"))
    def cause(self, case: ReviewCase) -> str:
        return kinds.cause_label(case)

    @admin.display(description=gettext_lazy("money at risk"))
    def at_risk(self, case: ReviewCase) -> str:
        return money(case.money_at_risk)

    @admin.display(description=gettext_lazy("open since"))
    def since(self, case: ReviewCase) -> SafeString | str:
        return lima_time(case.opened_at)

    @admin.display(description=gettext_lazy("due"))
    def due(self, case: ReviewCase) -> SafeString | str:
        late = case.status == CaseStatus.OPEN and case.due_on < timezone.now().astimezone(LIMA).date()
        return pill("late", lima_time(case.due_on), "bad") if late else lima_time(case.due_on)

    @admin.display(description=gettext_lazy("status"))
    def state(self, case: ReviewCase) -> SafeString | str:
        return state_pill(case)

    # --- addresses ---

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:case_id>/decide/", view(require_http_methods(["GET", "POST"])(self.decide_view)), name="ct4site_reviewcase_decide"),
            path("<int:case_id>/lease/", view(require_POST(self.lease_view)), name="ct4site_reviewcase_lease"),
            path("many/", view(require_http_methods(["GET", "POST"])(self.many_view)), name="ct4site_reviewcase_many"),
            path("<int:case_id>/next/", view(require_http_methods(["GET"])(self.next_view)), name="ct4site_reviewcase_next"),
            *super().get_urls(),
        ]  # fmt: skip

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        case = self.get_object(request, object_id)
        if case is None:
            raise Http404
        return HttpResponseRedirect(reverse("admin:ct4site_reviewcase_decide", args=[case.pk]))

    def _case(self, request: HttpRequest, case_id: int) -> ReviewCase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        case = ReviewCase.objects.select_related("leased_to").filter(pk=case_id).first()
        if case is None:
            raise Http404
        return case

    def lease_view(self, request: HttpRequest, case_id: int) -> HttpResponse:
        """Renew the lease of the person who looks at a case; answers with the banner that says who holds it."""
        if not request.user.has_perm(deciding.DECIDE):
            raise PermissionDenied
        if "release" in request.POST:
            cases.release(case_id, user_of(request))
            return HttpResponse(status=204)
        held = cases.lease(case_id, user_of(request))
        case = self._case(request, case_id)
        return TemplateResponse(request, "ct4/case_lease.html", _lease_context(case, held))

    def next_view(self, request: HttpRequest, case_id: int) -> HttpResponse:
        """Lead to the case after this one; to the queue at its end."""
        case = self._case(request, case_id)
        if request.user.has_perm(deciding.DECIDE):
            cases.release(case_id, user_of(request))
        following = cases.next_case(case, user_of(request))
        if following is None:
            messages.info(request, _("This was the last case of the queue."))
            return HttpResponseRedirect(reverse("admin:ct4site_reviewcase_changelist"))
        return HttpResponseRedirect(reverse("admin:ct4site_reviewcase_decide", args=[following.pk]))

    def decide_view(self, request: HttpRequest, case_id: int) -> HttpResponse:
        """The page of a case: evidence, choices, and after the choice its consequences, to be confirmed."""
        case = self._case(request, case_id)
        may_decide = request.user.has_perm(deciding.DECIDE)
        if request.method == "POST":
            if not may_decide:
                raise PermissionDenied
            return self._answered(request, case)
        # A page that a browser fetches ahead is not looked at yet.
        is_ahead = "prefetch" in (request.headers.get("Sec-Purpose", "") + request.headers.get("Purpose", ""))
        held = may_decide and not is_ahead and cases.lease(case.pk, user_of(request))
        if held:
            with transaction.atomic():
                cases.refresh(case.kind, [case.subject_key])
        case = self._case(request, case_id)
        return self._page(request, case, DecideForm(case=case), held=held)

    def many_view(self, request: HttpRequest) -> HttpResponse:
        """Decide all cases that the queue's filters show alike: what to decide, then how many and how much, then do it."""
        if not request.user.has_perm(deciding.DECIDE):
            raise PermissionDenied
        found = self.get_changelist_instance(request).get_queryset(request)
        chosen = many.chosen_of(found)
        cases_of = ReviewCase.objects.filter(pk__in=[key for key, _version in chosen]).order_by()
        amounts = dict(cases_of.values_list("kind").annotate(Sum("money_at_risk")))
        form = ManyForm(request.POST if request.method == "POST" else None, chosen=chosen, kinds_of_cases=set(amounts))
        status = 200
        if request.method == "POST" and form.is_valid():
            try:
                return self._decided_many(request, form)
            except kinds.Unacceptable as refusal:
                form.add_error(None, str(refusal))
        if request.method == "POST":
            status = 422
        context = {
            **self.admin_site.each_context(request),
            "title": _("Decide many cases alike"),
            "opts": self.opts,
            "form": form,
            "number": len(chosen),
            "is_capped": len(chosen) == many.MOST,
            "amount": money(sum(amounts.values())),
            "query": request.GET.urlencode(),
        }  # fmt: skip
        return TemplateResponse(request, "ct4/case_many.html", context, status=status)

    def _decided_many(self, request: HttpRequest, form: ManyForm) -> HttpResponse:
        wish, chosen, user = form.decision(), form.chosen(), user_of(request)
        if many.needs_approval(chosen, form.choice()):
            proposal = many.propose_many(chosen=chosen, wish=wish, actor=user)
            messages.success(
                request, format_html("{} {}", _("Proposed. Another person has to approve it:"), link_to(proposal))
            )
            if left := len(chosen) - len(proposal.request["cases"]):
                messages.warning(
                    request, _("Left out because they changed or somebody holds them: %(left)d.") % {"left": left}
                )
        else:
            report = many.decide_many(chosen=chosen, wish=wish, actor=user)
            messages.success(request, DONE_MANY % report.__dict__)
        return HttpResponseRedirect(reverse("admin:ct4site_reviewcase_changelist"))

    def _answered(self, request: HttpRequest, case: ReviewCase) -> HttpResponse:
        form = DecideForm(request.POST, case=case)
        user = user_of(request)
        if case.status != CaseStatus.OPEN:
            return self._page(request, case, form, refusal=Overtaken(case), status=REFUSED)
        if not form.is_valid():
            return self._page(request, case, form, held=cases.lease(case.pk, user), status=422)
        version, shown = form.cleaned_data["version"], form.cleaned_data["shown"]
        # With another choice than the one previewed, there is nothing to confirm yet.
        confirms = bool(shown) and "confirm" in request.POST
        asked: dict[str, Any] = {
            "case_id": case.pk, "wish": form.decision(), "actor": user, "expected_version": version
        }  # fmt: skip
        try:
            if not confirms:
                outcome: Any = deciding.preview(**asked)
            else:
                outcome = approving.decide_or_propose(**asked, shown=shown)
        except (Overtaken, HeldByOther) as refusal:
            return self._page(request, self._case(request, case.pk), form, refusal=refusal, status=REFUSED)
        except kinds.Unacceptable as refusal:
            form.add_error(None, str(refusal))
            return self._page(request, self._case(request, case.pk), form, held=True, status=422)
        if isinstance(outcome, Outcome):
            held = cases.lease(case.pk, user)
            return self._page(request, self._case(request, case.pk), form, held=held, outcome=outcome)
        if isinstance(outcome, Proposal):
            messages.success(
                request, format_html("{} {}", _("Proposed. Another person has to approve it:"), link_to(outcome))
            )
        else:
            messages.success(request, format_html("{} {}", _("Decided. The receipt:"), link_to(outcome)))
            self._decide_alike(request, case, form)
        following = cases.next_case(case, user)
        address = (
            reverse("admin:ct4site_reviewcase_decide", args=[following.pk])
            if following
            else reverse("admin:ct4site_reviewcase_changelist")
        )
        return HttpResponseRedirect(address)

    def _decide_alike(self, request: HttpRequest, case: ReviewCase, form: DecideForm) -> None:
        """Decide the cases alike that were ticked the same way, each with a receipt of its own; tell how many."""
        wanted = request.POST.getlist("also")[:ALIKE]
        keys = [whole_number(text.partition(":")[0], LARGEST_KEY) for text in wanted]
        found = cases.siblings(case).filter(pk__in=[key for key in keys if key is not None]).order_by("pk")
        chosen = [(alike.pk, alike.version) for alike in found if many.mark(alike) in wanted]
        if not chosen:
            return
        choice = form.chosen_choice()
        if not (choice.form is None or choice.holds_for_alike):
            messages.warning(request, _("The cases alike stay open: what was chosen holds for this one only."))
            return
        report = many.decide_many(chosen=chosen, wish=form.decision(), actor=user_of(request))
        messages.success(request, DONE_MANY % report.__dict__)

    def _page(
        self, request: HttpRequest, case: ReviewCase, form: DecideForm, *, held: bool = False,
        outcome: Outcome | None = None, refusal: Exception | None = None, status: int = 200,
    ) -> HttpResponse:  # fmt: skip
        kind = kinds.kind_of(case)
        is_open = case.status == CaseStatus.OPEN
        following = cases.next_case(case, user_of(request)) if is_open else None
        siblings = list(cases.siblings(case).order_by("-money_at_risk", "opened_at", "pk")[:ALIKE]) if is_open else []
        names = kinds.names_of({alike.person_key for alike in siblings if alike.person_key})
        for alike in siblings:
            alike.name = names.get(alike.person_key) or kinds.subject_in_words(alike)  # type: ignore[attr-defined, arg-type]
            alike.mark = many.mark(alike)  # type: ignore[attr-defined]
            alike.is_ticked = alike.mark in request.POST.getlist("also")  # type: ignore[attr-defined]
        context = {
            **self.admin_site.each_context(request),
            **_lease_context(case, held),
            "title": kind.title(case),
            "opts": self.opts,
            "why": kind.why(case) if is_open else _closed_because(case),
            "facts": [
                (_("Kind"), case.get_kind_display()),
                (_("Money at risk"), money(case.money_at_risk)),
                (_("Open since"), lima_time(case.opened_at)),
                (_("Due"), lima_time(case.due_on)),
            ],
            "form": form,
            "sections": list(kind.evidence(case)),
            "outcome": outcome,
            "consequences": consequence_sections(outcome.consequences) if outcome else [],
            "changed_since": bool(outcome and outcome.changed_since),
            "needs_approval": bool(outcome and outcome.needs_approval),
            "refusal": refusal,
            "refused_by": getattr(refusal, "decision", None),
            "decisions": list(case.decisions.select_related("actor")[:20]),
            "next": following,
            "siblings": siblings,
            "last_decision": last_decision(request),
            "may_decide": request.user.has_perm(deciding.DECIDE) and is_open and not case.is_frozen,
        }
        return TemplateResponse(request, "ct4/case.html", context, status=status)


def _closed_because(case: ReviewCase) -> str:
    if case.closed_because == ClosedBecause.CAUSE_GONE:
        return _("This case closed by itself: what raised it is gone.")
    return _("This case was decided.")


def _lease_context(case: ReviewCase, held: bool) -> dict[str, Any]:
    return {
        "case": case,
        "held": held,
        "held_by": None if held else case.holder,
        "is_open": case.status == CaseStatus.OPEN,
    }
