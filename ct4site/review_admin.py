"""Screens of review: the queue, the page on which a case is decided, receipts and their reversal, proposals."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from ct4site import home, privacy
from ct4site.admin import audit_section
from ct4site.admin_base import (
    LARGEST_KEY,
    LIMA,
    NOTHING,
    OpenFirstFilter,
    ReadOnlyAdmin,
    SearchMixin,
    Section,
    key_search,
    lima_time,
    link_to,
    pill,
    whole_number,
)
from ct4site.models import (
    AuditEntry,
    CaseKind,
    CaseStatus,
    ClosedBecause,
    Decision,
    DecisionReason,
    Deed,
    Proposal,
    ProposalStatus,
    ReviewCase,
    Run,
)
from ct4site.review import approving, cases, deciding, kinds, leftovers, many, reversing
from ct4site.review.deciding import HeldByOther, Outcome, Overtaken, Wish

DECIDE = deciding.DECIDE
SHOWN = 100
ALIKE = 10  # cases alike that are offered beside one; all of them are a query of the queue
CANDIDATES = 5  # so that every choice has a key from 1 to 9
REFUSED = 409  # somebody or something was quicker


DONE_MANY = gettext_lazy(
    "Decided: %(done)s. Left out because they changed: %(changed)s, held by others: %(held)s,"
    " cannot be decided so: %(refused)s."
)


def money(amount: Any) -> str:
    """Return an amount in soles."""
    return f"S/ {amount:,.2f}"


# --- consequences, in words ---------------------------------------------------------------------------

SECTIONS = {
    "links": gettext_lazy("Links"),
    "ledger": gettext_lazy("Ledger"),
    "scouts": gettext_lazy("Scout in force"),
    "claims": gettext_lazy("Claims to the partner"),
    "money": gettext_lazy("Amounts of scouts"),
    "sums": gettext_lazy("Change per scout"),
}
FACTS = {
    "source_table": gettext_lazy("source"),
    "source_pk": gettext_lazy("source record"),
    "person_key": gettext_lazy("person"),
    "match_rule": gettext_lazy("rule"),
    "scout_id": gettext_lazy("scout"),
    "source": gettext_lazy("source"),
    "rule": gettext_lazy("rule"),
    "quality": gettext_lazy("quality"),
    "is_disputed": gettext_lazy("disputed"),
    "decision_status": gettext_lazy("decision"),
    "has_open_conflict": gettext_lazy("open conflict"),
    "driver_id": gettext_lazy("driver"),
    "milestone": gettext_lazy("milestone"),
    "status": gettext_lazy("status"),
    "amount": gettext_lazy("amount"),
    "currency": gettext_lazy("currency"),
    "owed": gettext_lazy("owed"),
    "settled": gettext_lazy("settled"),
    "due": gettext_lazy("payable now"),
    "blocked": gettext_lazy("blocked"),
    "block_reasons": gettext_lazy("why blocked"),
    "lead_date": gettext_lazy("date"),
    "full_name": gettext_lazy("name"),
    "phone": gettext_lazy("phone"),
    "plate": gettext_lazy("plate"),
}


def consequence_sections(consequences: Mapping[str, Any]) -> list[Section]:
    """Return a section per kind of consequence: what, before, after. Sections without a change are left out."""
    found = []
    for name, changes in consequences.items():
        if not changes:
            continue
        shown = changes[:SHOWN]
        if "before" in changes[0]:
            columns = [_("What"), _("Before"), _("After")]
            rows = [[_in_words(change[part]) for part in ("key", "before", "after")] for change in shown]
        else:
            columns = [str(FACTS.get(fact, fact)).capitalize() for fact in changes[0]]
            rows = [[_in_words(value, fact) for fact, value in change.items()] for change in shown]
        found.append(
            Section(title=str(SECTIONS.get(name, name)), columns=columns, rows=rows, has_more=len(changes) > SHOWN)
        )
    return found


def _in_words(value: Any, fact: str = "") -> SafeString | str:
    """Return a value of a consequence: stored codes in words, keys of persons short, the rest as it is."""
    if value is None or value == "" or value == {} or value == []:
        return NOTHING
    if isinstance(value, dict):
        lines = (
            (FACTS.get(name, name), _in_words(privacy.named(name, item), name))
            for name, item in value.items()
            if item is not None
        )
        return format_html_join("", "<div>{}: {}</div>", lines)
    if isinstance(value, list):
        return format_html_join("", "<div>{}</div>", ((_in_words(item, fact),) for item in value))
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    text = kinds.code_in_words(fact, str(value))
    if fact == "person_key":
        return format_html('<span class="key" title="{}">{}</span>', text, text[-12:])
    return text


# --- the queue ----------------------------------------------------------------------------------------


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
            "last_decision": _last_decision(request),
            "may_decide": request.user.has_perm(DECIDE),
            "query": request.GET.urlencode(),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    @admin.display(description=gettext_lazy("case"))
    def case(self, case: ReviewCase) -> SafeString:
        name = getattr(case, "name", "")
        if not name:
            return format_html('<span class="key">{}</span>', case.subject_key)
        about = "" if case.subject_key == str(case.person_key) else case.subject_key
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
        if not request.user.has_perm(DECIDE):
            raise PermissionDenied
        if "release" in request.POST:
            cases.release(case_id, _user(request))
            return HttpResponse(status=204)
        held = cases.lease(case_id, _user(request))
        case = self._case(request, case_id)
        return TemplateResponse(request, "ct4/case_lease.html", _lease_context(case, held))

    def next_view(self, request: HttpRequest, case_id: int) -> HttpResponse:
        """Lead to the case after this one; to the queue at its end."""
        case = self._case(request, case_id)
        if request.user.has_perm(DECIDE):
            cases.release(case_id, _user(request))
        following = cases.next_case(case, _user(request))
        if following is None:
            messages.info(request, _("This was the last case of the queue."))
            return HttpResponseRedirect(reverse("admin:ct4site_reviewcase_changelist"))
        return HttpResponseRedirect(reverse("admin:ct4site_reviewcase_decide", args=[following.pk]))

    def decide_view(self, request: HttpRequest, case_id: int) -> HttpResponse:
        """The page of a case: evidence, choices, and after the choice its consequences, to be confirmed."""
        case = self._case(request, case_id)
        may_decide = request.user.has_perm(DECIDE)
        if request.method == "POST":
            if not may_decide:
                raise PermissionDenied
            return self._answered(request, case)
        # A page that a browser fetches ahead is not looked at yet.
        is_ahead = "prefetch" in (request.headers.get("Sec-Purpose", "") + request.headers.get("Purpose", ""))
        held = may_decide and not is_ahead and cases.lease(case.pk, _user(request))
        if held:
            with transaction.atomic():
                cases.refresh(case.kind, [case.subject_key])
        case = self._case(request, case_id)
        return self._page(request, case, DecideForm(case=case), held=held)

    def many_view(self, request: HttpRequest) -> HttpResponse:
        """Decide all cases that the queue's filters show alike: what to decide, then how many and how much, then do it."""
        if not request.user.has_perm(DECIDE):
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
        wish, chosen, user = form.decision(), form.chosen(), _user(request)
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
        user = _user(request)
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
                outcome = deciding.decide(**asked, shown=shown)
                if isinstance(outcome, Outcome) and outcome.needs_approval and not outcome.changed_since:
                    outcome = approving.propose_decision(**asked, shown=shown)
        except (Overtaken, HeldByOther) as refusal:
            return self._page(request, self._case(request, case.pk), form, refusal=refusal, status=REFUSED)
        except kinds.Unacceptable as refusal:
            form.add_error(None, str(refusal))
            return self._page(request, self._case(request, case.pk), form, held=True, status=422)
        if isinstance(outcome, Outcome):
            return self._page(request, self._case(request, case.pk), form, held=True, outcome=outcome)
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
        report = many.decide_many(chosen=chosen, wish=form.decision(), actor=_user(request))
        messages.success(request, DONE_MANY % report.__dict__)

    def _page(
        self, request: HttpRequest, case: ReviewCase, form: DecideForm, *, held: bool = False,
        outcome: Outcome | None = None, refusal: Exception | None = None, status: int = 200,
    ) -> HttpResponse:  # fmt: skip
        kind = kinds.kind_of(case)
        is_open = case.status == CaseStatus.OPEN
        following = cases.next_case(case, _user(request)) if is_open else None
        siblings = list(cases.siblings(case).order_by("-money_at_risk", "opened_at", "pk")[:ALIKE]) if is_open else []
        names = kinds.names_of({alike.person_key for alike in siblings if alike.person_key})
        for alike in siblings:
            alike.name = names.get(alike.person_key, "")  # type: ignore[attr-defined, arg-type]
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
            "last_decision": _last_decision(request),
            "may_decide": request.user.has_perm(DECIDE) and is_open and not case.is_frozen,
        }
        return TemplateResponse(request, "ct4/case.html", context, status=status)


def state_pill(case: ReviewCase) -> SafeString | str:
    """Return what a case is doing now as a pill: closed and why, waiting for approval, held by somebody, open."""
    if case.status == CaseStatus.CLOSED:
        return pill("closed", ClosedBecause(case.closed_because).label, "good")
    if case.is_frozen:
        return pill("frozen", _("Waits for approval"), "warn")
    if (holder := case.holder) is not None:
        return pill("held", _("Held by %(who)s") % {"who": holder.get_username()}, "info")
    return pill("open", _("Open"), "plain")


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


def _last_decision(request: HttpRequest) -> Decision | None:
    return Decision.objects.filter(actor=_user(request)).order_by("-pk").first()


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


# --- the form of a decision -----------------------------------------------------------------------------


@dataclass
class Pick:
    """One line of the choices: what it decides, on what, and the fields it needs."""

    value: str
    choice: kinds.Choice
    target: Mapping[str, Any]
    candidate: kinds.Candidate | None = None
    form: kinds.TargetForm | None = None
    is_chosen: bool = False


class ReasonForm(forms.Form):
    """Why something is decided, taken back or proposed."""

    reason_code = forms.ChoiceField(
        label=gettext_lazy("Reason"),
        choices=DecisionReason.choices,
        error_messages={"required": gettext_lazy("Say why: choose a reason.")},
    )
    reason_text = forms.CharField(
        label=gettext_lazy("In words"),
        required=False,
        max_length=deciding.LONGEST_REASON,
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def wish(self, choice: str, target: Mapping[str, Any] | None = None) -> Wish:
        """Return what is wanted for the reason of the valid form."""
        given = self.cleaned_data
        return Wish(choice, dict(target or {}), given["reason_code"], given["reason_text"].strip())


class DecideForm(ReasonForm):
    """What is decided, why, and on which version of the case; candidates come first, then the other choices."""

    version = forms.IntegerField(widget=forms.HiddenInput)
    shown = forms.CharField(required=False, max_length=2000, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, case: ReviewCase) -> None:
        super().__init__(data, initial={"version": case.version})
        self.fields["reason_code"].choices = [("", _("Choose a reason")), *DecisionReason.choices]  # type: ignore[attr-defined]
        self.case = case
        self.kind = kinds.kind_of(case)
        self.picked = data.get("pick", "") if data is not None else ""
        self.choices = {choice.code: choice for choice in self.kind.choices(case)} if self._is_open else {}

    @property
    def _is_open(self) -> bool:
        return self.case.status == CaseStatus.OPEN

    @cached_property
    def candidates(self) -> list[Pick]:
        """The possible answers; looked for only where they are shown or one of them was picked."""
        found = self.kind.candidates(self.case)[:CANDIDATES] if self._is_open else ()
        return [
            self._pick(f"candidate-{place}", self.choices[candidate.choice], candidate)
            for place, candidate in enumerate(found)
            if candidate.choice in self.choices
        ]

    @cached_property
    def others(self) -> list[Pick]:
        """The choices that are no candidate, each with its own fields."""
        return [self._pick(choice.code, choice) for choice in self.choices.values()]

    def _pick(self, value: str, choice: kinds.Choice, candidate: kinds.Candidate | None = None) -> Pick:
        is_chosen = value == self.picked
        made = None
        if candidate is None and choice.form is not None:
            made = choice.form(self.data if is_chosen else None, prefix=choice.code, case=self.case)
        return Pick(
            value=value, choice=choice, target=candidate.target if candidate else {}, candidate=candidate, form=made,
            is_chosen=is_chosen,
        )  # fmt: skip

    @property
    def picks(self) -> list[Pick]:
        """All lines in the order of their numbers."""
        return [*self.candidates, *self.others]

    @property
    def chosen(self) -> Pick | None:
        """The line that was picked."""
        lines = self.candidates if self.picked.startswith("candidate-") else self.others
        return next((item for item in lines if item.is_chosen), None)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.chosen is None:
            raise forms.ValidationError(_("Choose what to decide."))
        if self.chosen.form is not None and not self.chosen.form.is_valid():
            raise forms.ValidationError(_("Complete what the choice needs."))
        if cleaned.get("reason_code") == DecisionReason.OTHER and not cleaned.get("reason_text", "").strip():
            self.add_error("reason_text", _("Say it in words."))
        return cleaned

    def chosen_choice(self) -> kinds.Choice:
        """Return the choice of the valid form."""
        assert self.chosen is not None
        return self.chosen.choice

    def decision(self) -> Wish:
        """Return what the valid form asks for."""
        chosen = self.chosen
        assert chosen is not None
        return self.wish(chosen.choice.code, chosen.target if chosen.form is None else chosen.form.target())


class ManyForm(ReasonForm):
    """One decision without a target for all cases of a query of one kind, as they were when the page was made."""

    choice_code = forms.ChoiceField(label=gettext_lazy("Decision"))
    field_order = ("choice_code", "reason_code", "reason_text")
    cases = forms.CharField(widget=forms.HiddenInput, max_length=20 * many.MOST)

    def __init__(self, data: Any = None, *, chosen: many.Chosen, kinds_of_cases: set[str]) -> None:
        super().__init__(data, initial={"cases": " ".join(f"{key}:{version}" for key, version in chosen)})
        self.fields["reason_text"].required = True
        self.choices_by_code: dict[str, kinds.Choice] = {}
        if len(kinds_of_cases) == 1:
            first = ReviewCase.objects.filter(pk=chosen[0][0]).first()
            for choice in kinds.kind_of(first).choices(first) if first else ():
                if choice.form is None:
                    self.choices_by_code[choice.code] = choice
        field = self.fields["choice_code"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(code, choice.label) for code, choice in self.choices_by_code.items()]

    def clean_cases(self) -> many.Chosen:
        try:
            found = many.read_marks(self.cleaned_data["cases"].split())
        except ValueError:
            raise forms.ValidationError(_("Open this page again from the queue.")) from None
        if not found or len(found) > many.MOST:
            raise forms.ValidationError(_("Open this page again from the queue."))
        return found

    def choice(self) -> kinds.Choice:
        """Return the choice of the valid form."""
        return self.choices_by_code[self.cleaned_data["choice_code"]]

    def chosen(self) -> many.Chosen:
        """Return the cases of the valid form with the versions that were seen."""
        found: many.Chosen = self.cleaned_data["cases"]
        return found

    def decision(self) -> Wish:
        """Return what the valid form asks for."""
        return self.wish(self.cleaned_data["choice_code"])


# --- receipts ---------------------------------------------------------------------------------------------


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
        return _in_words(decision.target)

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
        context["may_reverse"] = (
            decision is not None and request.user.has_perm(DECIDE) and not hasattr(decision, "reversed_by")
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def get_sections(self, request: HttpRequest, decision: Decision) -> Iterable[Section]:
        yield from consequence_sections(decision.consequences)
        yield audit_section(AuditEntry.objects.filter(run=decision.run_id), SHOWN)

    def reverse_view(self, request: HttpRequest, decision_id: int) -> HttpResponse:
        """Show what taking a decision back does, with the later decisions that stand on it; do it when confirmed."""
        if not request.user.has_perm(DECIDE):
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
            "decision_id": decision_id, "wish": wish, "actor": _user(request), "together": together
        }  # fmt: skip
        try:
            if request.method == "POST" and "confirm" in request.POST and form.is_valid():
                done = reversing.reverse(**asked, shown=request.POST.get("shown", ""))
                if isinstance(done, list):
                    messages.success(request, format_html("{} {}", _("Taken back. The receipt:"), link_to(done[-1])))
                    return HttpResponseRedirect(reverse("admin:ct4site_decision_change", args=[decision_id]))
                reversal, context["changed_since"], status = done, True, REFUSED
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
            context["taken_back"] = True
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


def choice_label(decision: Decision) -> str:
    """Return what was decided in words."""
    if decision.choice == reversing.REVERSE:
        return _("Taken back: %(decision)s") % {"decision": decision.reverses}
    return kinds.choice_label(decision.case, decision.choice)


# --- proposals --------------------------------------------------------------------------------------------


class AnswerForm(forms.Form):
    """What an approver says to a proposal."""

    answer = forms.CharField(required=False, max_length=deciding.LONGEST_REASON)


class WaitingFilter(OpenFirstFilter):
    """Those that wait unless asked otherwise."""

    codes, first = ProposalStatus, ProposalStatus.WAITING


@admin.register(Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    purpose = gettext_lazy("What needs a second person. Shown are those that wait; the others are under Filter.")
    change_form_template = "ct4/proposal.html"
    list_display = ("title", "of", "proposed_by", "proposed", "reason", "state")
    list_filter = (WaitingFilter, "deed")
    list_select_related = ("case", "run", "proposed_by", "decided_by")
    ordering = ("-pk",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("deed", "of", "what", "proposed_by", "proposed", "reason", "reason_text", "state", "decided_by", "answered", "answer")  # fmt: skip
    readonly_fields = fields

    @admin.display(description=gettext_lazy("proposal"))
    def title(self, proposal: Proposal) -> str:
        return str(proposal)

    @admin.display(description=gettext_lazy("of"))
    def of(self, proposal: Proposal) -> SafeString | str:
        return link_to(proposal.case or proposal.run)

    @admin.display(description=gettext_lazy("decision"))
    def what(self, proposal: Proposal) -> SafeString | str:
        if proposal.deed != Deed.DECIDE or proposal.case is None:
            return proposal.get_deed_display()
        asked = proposal.request
        label = kinds.choice_label(proposal.case, asked["choice"])
        return format_html("{} {}", label, _in_words(asked["target"]) if asked.get("target") else "")

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

    def get_sections(self, request: HttpRequest, proposal: Proposal) -> Iterable[Section]:
        yield from consequence_sections(proposal.consequences)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        proposal = kwargs.get("obj")
        if proposal is not None:
            waits = proposal.status == ProposalStatus.WAITING
            context |= {
                "waits": waits,
                "why_not": approving.may_answer(proposal, _user(request)),
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
                proposal = approving.withdraw(proposal_id=proposal_id, actor=_user(request))
            else:
                if not request.user.has_perm(approving.APPROVE):
                    raise PermissionDenied
                proposal = approving.answer(
                    proposal_id=proposal_id, approver=_user(request), approve="approve" in request.POST, text=text
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
        proposal = approving.propose_roll_back(run=run, wish=form.wish("roll_back"), actor=_user(request))
    except approving.NotAllowed as refusal:
        messages.error(request, str(refusal))
        return HttpResponseRedirect(address)
    messages.success(request, _("Proposed. Another person has to approve it."))
    return HttpResponseRedirect(reverse("admin:ct4site_proposal_change", args=[proposal.pk]))


@home.panel(0)
def waiting_panel(request: HttpRequest) -> home.Panel | None:
    """Return the panel of the start page: open cases by kind, and proposals that wait; None without the right."""
    if not request.user.has_perm("ct4site.view_reviewcase"):
        return None
    address = reverse("admin:ct4site_reviewcase_changelist")
    counted = (
        ReviewCase.objects.filter(status=CaseStatus.OPEN)
        .order_by()
        .values("kind")
        .annotate(number=Count("pk"), amount=Sum("money_at_risk"))
        .values_list("kind", "number", "amount")
    )
    labels = dict(CaseKind.choices)
    rows: list[Any] = [
        (format_html('<a href="{}?kind__exact={}">{}</a>', address, kind, labels[kind]), f"{number:,}", money(amount))
        for kind, number, amount in sorted(counted, key=lambda row: -row[2])
    ]
    waiting = Proposal.objects.filter(status=ProposalStatus.WAITING).count()
    if waiting:
        link = format_html('<a href="{}">{}</a>', reverse("admin:ct4site_proposal_changelist"), _("Wait for approval"))
        rows.append((link, f"{waiting:,}", NOTHING))
    return home.Panel(_("Cases that need a person"), rows, note="" if rows else _("Nothing waits for a person."))
