"""Screens of the kernel: runs and how they are started, the audit log, users, failed sign-ins."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlencode

import axes.admin  # noqa: F401  registers what is replaced below
import django_q.admin  # noqa: F401  registers what is taken away below
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_q.models import OrmQ

from ct4site import home, jobs, privacy, roles, run_pages
from ct4site.admin_base import (
    LARGEST_KEY,
    NOTHING,
    GuardedAdmin,
    ReadOnlyAdmin,
    SearchMixin,
    Section,
    json_table,
    key_search,
    lima_time,
    link_to,
    pill,
    whole_number,
)
from ct4site.models import AuditEntry, DecisionReason, JobType, Run, RunStatus
from ct4site.rollback import start_roll_back

POLL_SECONDS = 2


# --- parts used by the screens of other apps -----------------------------------------------------------


class RunFilter(admin.SimpleListFilter):
    """The rows of one run. Reached from the run's page; offers no choice of its own: there are too many runs."""

    title = gettext_lazy("run")
    parameter_name = "run"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = self.value()
        return [(value, f"#{value}")] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        if not value:
            return queryset
        number = whole_number(value, LARGEST_KEY)
        if number is None:
            raise IncorrectLookupParameters
        return queryset.filter(run_id=number)


class OfRunMixin(admin.ModelAdmin):
    """A short column that leads to the run which wrote a row."""

    @admin.display(description=gettext_lazy("run"))
    def of_run(self, item: Any) -> SafeString | str:
        return link_to(item.run, f"#{item.run_id}")


def changed_fields(before: dict[str, Any] | None, after: dict[str, Any] | None) -> SafeString | str:
    """Return what differs between two states of a row as a small table, to be opened; a state of None is no row."""
    old, new = before or {}, after or {}
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if not names:
        return NOTHING
    rows = ((name, json_table(old.get(name), name), json_table(new.get(name), name)) for name in names)
    return format_html(
        '<details><summary>{}</summary><table class="diff"><thead><tr><th>{}</th><th>{}</th><th>{}</th></tr></thead>'
        "<tbody>{}</tbody></table></details>",
        ", ".join(names[:3]) + ("…" if len(names) > 3 else ""),
        _("Field"),
        _("Before"),
        _("After"),
        format_html_join("", "<tr><th>{}</th><td>{}</td><td>{}</td></tr>", rows),
    )


def audit_section(entries: QuerySet, limit: int = 100) -> Section:
    """Return the section that shows audit entries: when, who, what, why, before and after, run."""
    columns = {
        _("When"): lambda entry: entry.at,
        _("Who"): lambda entry: entry.actor,
        _("Action"): lambda entry: action_label(entry.action),
        _("Row"): lambda entry: link_to(entry, f"{entry.subject_table} {entry.subject_key}"),
        _("Why"): lambda entry: entry.reason,
        _("Changed"): lambda entry: changed_fields(entry.before, entry.after),
        _("Run"): lambda entry: link_to(entry.run, f"#{entry.run_id}"),
    }
    return Section.of(_("Audit"), columns, entries.select_related("run").order_by("-id"), limit)


ACTIONS = {
    "create_person": gettext_lazy("Person created"),
    "complete_person": gettext_lazy("Person completed"),
    "link": gettext_lazy("Linked"),
    "leave_unmatched": gettext_lazy("Left unmatched"),
    "resolve_unmatched": gettext_lazy("Unmatched record resolved"),
    "set_origin": gettext_lazy("Origin set"),
    "move_link": gettext_lazy("Moved to another person"),
    "leave_person": gettext_lazy("Records moved away"),
    "detach_driver": gettext_lazy("Driver detached"),
    "refuse_match": gettext_lazy("Never this one"),
    "set_aside": gettext_lazy("Set aside for good"),
    "remove_origin": gettext_lazy("Origin removed"),
    "load_person": gettext_lazy("Person of the predecessor loaded"),
    "load_link": gettext_lazy("Link of the predecessor loaded"),
    "roll_back": gettext_lazy("Rolled back"),
    privacy.REVEALED: gettext_lazy("Personal data shown"),
}


def action_label(code: str) -> str:
    """Return an audited action in words; the stored code for one without words."""
    return str(ACTIONS.get(code, code))


def lists_of_run(request: HttpRequest, run: Run) -> list[tuple[str, str]]:
    """Return (name, address) of every list this user may open that can be narrowed to one run."""
    found = []
    for model, screen in admin.site._registry.items():
        if RunFilter in screen.list_filter and screen.has_view_permission(request):
            address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            extra = (
                "&status=all"
                if "status" in {getattr(item, "parameter_name", "") for item in screen.list_filter}
                else ""
            )
            found.append((str(model._meta.verbose_name_plural), f"{address}?run={run.pk}{extra}"))
    return found


# --- runs ----------------------------------------------------------------------------------------------

# The rule by which jobs.close_lost_runs closes a run, asked without closing it.
_IS_LOST = """
ingestion_runs.status = 'RUNNING'
and not exists (
    select 1 from pg_stat_activity as activity
    where activity.pid = ingestion_runs.backend_pid
        and coalesce(activity.backend_start, ingestion_runs.backend_started_at) = ingestion_runs.backend_started_at
)
and (ingestion_runs.backend_pid is not null or ingestion_runs.heartbeat_at < now() - make_interval(secs => %s))
and not (ingestion_runs.attempt = 0 and exists (select 1 from public.django_q_ormq))
"""


class RunState(NamedTuple):
    """What a run is doing, in words, with the colour of its pill."""

    label: str
    tone: str


def with_life(runs: QuerySet) -> QuerySet:
    """Add ``is_lost`` to runs: RUNNING, but nobody is at work on it any more."""
    return runs.annotate(is_lost=RawSQL(_IS_LOST, [settings.RUN_LEASE_SECONDS], output_field=BooleanField()))


def state_of(run: Run) -> RunState:
    """Return the state of a run that ``with_life`` gave; a stored RUNNING may be queued, at work, lost or stalled."""
    if run.status == RunStatus.COMPLETED:
        return RunState(_("Completed"), "good")
    if run.status == RunStatus.FAILED:
        return RunState(_("Failed"), "bad")
    since = {"since": timezone.localtime(run.heartbeat_at).strftime("%d/%m %H:%M")}
    if run.is_lost:  # type: ignore[attr-defined]
        return RunState(_("Lost, no sign of life since %(since)s") % since, "bad")
    if run.is_queued:
        return RunState(_("Queued"), "info")
    if not run.dry_run and timezone.now() - run.heartbeat_at > datetime.timedelta(seconds=settings.RUN_LEASE_SECONDS):
        return RunState(_("Stalled since %(since)s") % since, "warn")
    return RunState(_("Running"), "info")


def duration(run: Run) -> str:
    """Return how long a run took or has been taking."""
    seconds = max(0.0, ((run.completed_at or timezone.now()) - run.started_at).total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _numbers(run: Run) -> SafeString:
    return format_html_join(
        ", ", "{} {}", ((word, number) for word, number in run_pages.key_numbers(run.job_type, run.stats))
    )


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    purpose = gettext_lazy("Every execution of a job: who asked, with what, how far it is, what it did.")
    change_list_template = "ct4/run_list.html"
    change_form_template = "ct4/run_page.html"
    list_display = ("title", "state", "dry_run", "actor", "started", "took", "numbers")
    list_filter = ("job_type", "status", "dry_run")
    sortable_by = ("title",)
    # Status and duration are in the part of the page that moves.
    fields = (
        "job_type", "actor", "parameters_table", "dry_run", "started", "ended", "attempt", "rolls_back", "rolled_back_by",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return with_life(super().get_queryset(request))

    @admin.display(description=gettext_lazy("run"), ordering="id")
    def title(self, run: Run) -> str:
        return str(run)

    @admin.display(description=gettext_lazy("status"))
    def state(self, run: Run) -> SafeString | str:
        state = state_of(run)
        return pill(run.status, state.label, state.tone)

    @admin.display(description=gettext_lazy("started"))
    def started(self, run: Run) -> SafeString | str:
        return lima_time(run.started_at)

    @admin.display(description=gettext_lazy("ended"))
    def ended(self, run: Run) -> SafeString | str:
        return lima_time(run.completed_at)

    @admin.display(description=gettext_lazy("duration"))
    def took(self, run: Run) -> str:
        return duration(run)

    @admin.display(description=gettext_lazy("key numbers"), empty_value=NOTHING)
    def numbers(self, run: Run) -> SafeString | str:
        return _numbers(run)

    @admin.display(description=gettext_lazy("parameters"))
    def parameters_table(self, run: Run) -> SafeString | str:
        return json_table(run.parameters)

    @admin.display(description=gettext_lazy("rolls back"))
    def rolls_back(self, run: Run) -> SafeString | str:
        return link_to(run.reverses)

    @admin.display(description=gettext_lazy("rolled back by"))
    def rolled_back_by(self, run: Run) -> SafeString | str:
        return format_html_join(", ", "{}", ((link_to(other),) for other in run.reversed_by.order_by("id"))) or NOTHING

    def get_urls(self) -> list[URLPattern]:
        return [
            path("start/", self.admin_site.admin_view(require_http_methods(["GET", "POST"])(self.start_view)), name="ct4site_run_start"),
            path("<int:run_id>/live/", self.admin_site.admin_view(require_GET(self.live_view)), name="ct4site_run_live"),
            path(
                "<int:run_id>/roll-back/",
                self.admin_site.admin_view(require_POST(self.roll_back_view)),
                name="ct4site_run_roll_back",
            ),
            *super().get_urls(),
        ]  # fmt: skip

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        may_start = request.user.has_perm("ct4site.run_jobs")
        context = {"waiting": OrmQ.objects.count(), "may_start": may_start, **(extra_context or {})}
        return super().changelist_view(request, context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        run = kwargs.get("obj")
        if run is not None:
            context |= self._live_context(run) | {
                "lists_of_run": lists_of_run(request, run),
                "may_roll_back": self._can_be_rolled_back(request, run),
                "reasons": DecisionReason.choices,
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_sections(self, request: HttpRequest, run: Run) -> Iterable[Section]:
        return run_pages.page_of(run.job_type).sections(run) if run.status != RunStatus.RUNNING else ()

    def _live_context(self, run: Run) -> dict[str, Any]:
        return {
            "run": run,
            "state": state_of(run),
            "took": duration(run),
            "is_over": run.status != RunStatus.RUNNING,
            "poll_seconds": POLL_SECONDS,
            "is_poll": False,
            "tally": run_pages.tally_rows(run.job_type, run.stats),
        }

    def live_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """The moving part of a run's page; when the run is over, the order to load the whole page once more."""
        run = self.get_object(request, str(run_id))
        if run is None:
            raise Http404
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        if run.status != RunStatus.RUNNING:
            return HttpResponse(headers={"HX-Refresh": "true"})
        return TemplateResponse(request, "ct4/run_live.html", self._live_context(run) | {"is_poll": True})

    def start_view(self, request: HttpRequest) -> HttpResponse:
        """Choose a job, give its parameters, hand it to the queue."""
        if not request.user.has_perm("ct4site.run_jobs"):
            raise PermissionDenied
        startable = {str(job.code): job for job in run_pages.startable_jobs()}
        code = (request.POST if request.method == "POST" else request.GET).get("job", "")
        if code and code not in startable:
            raise Http404
        form = None
        if code:
            form = run_pages.page_of(code).form(request.POST if request.method == "POST" else None)
            if request.method == "POST" and form.is_valid():
                parameters, dry_run = form.parameters(), form.cleaned_data["dry_run"]
                return self._started(
                    request,
                    lambda: jobs.start(
                        job_code=code,
                        actor=request.user.get_username(),
                        parameters=parameters,
                        dry_run=dry_run,
                        queue=True,
                    ),
                )
        context = {
            **self.admin_site.each_context(request),
            "title": _("Start a run"),
            "opts": self.opts,
            "choices": [(job, JobType(job.code).label) for job in startable.values()],
            "code": code,
            "label": JobType(code).label if code else "",
            "form": form,
        }
        return TemplateResponse(request, "ct4/run_start.html", context, status=422 if form and form.errors else 200)

    def roll_back_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Hand a dry run of a run's roll-back to the queue, or propose the roll-back: another person has to approve it."""
        run = self.get_object(request, str(run_id))
        if run is None:
            raise Http404
        if not self._can_be_rolled_back(request, run):
            raise PermissionDenied
        if "dry_run" in request.POST:
            return self._started(
                request,
                lambda: start_roll_back(run_id=run.pk, actor=request.user.get_username(), dry_run=True, queue=True),
            )
        from ct4site.review_admin.proposals import propose_roll_back

        return propose_roll_back(request, run)

    def _can_be_rolled_back(self, request: HttpRequest, run: Run) -> bool:
        return request.user.has_perm("ct4site.roll_back_run") and run.status != RunStatus.RUNNING and not run.dry_run

    def _started(self, request: HttpRequest, start: Callable[[], Run]) -> HttpResponse:
        """Start a run and lead to its page; say in a message why it was not started."""
        try:
            run = start()
        except jobs.AlreadyRunning as error:
            messages.warning(request, format_html("{} {}", error, link_to(error.run)))
            return HttpResponseRedirect(reverse("admin:ct4site_run_changelist"))
        except jobs.JobError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:ct4site_run_changelist"))
        messages.success(request, _("%(run)s waits for a worker.") % {"run": run})
        return HttpResponseRedirect(reverse("admin:ct4site_run_change", args=[run.pk]))


# --- audit ---------------------------------------------------------------------------------------------


@admin.register(AuditEntry)
class AuditEntryAdmin(OfRunMixin, SearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy("Every change of data: who, when, why, before and after. Nothing here can be changed.")
    # No filter by action: one that is rare would read the whole log.
    list_display = ("id", "when", "actor", "action_words", "subject_table", "subject_key", "changed", "of_run")
    list_filter = (RunFilter,)
    list_select_related = ("run",)
    sortable_by = ("id",)
    search_help_text = gettext_lazy("Person key or run number")
    searches = (key_search("person_key", "uuid"), key_search("run_id", "integer"))
    fields = (
        "when",
        "actor",
        "action_words",
        "reason",
        "subject_table",
        "subject_key",
        "person_key",
        "run",
        "before_table",
        "after_table",
    )
    readonly_fields = fields

    @admin.display(description=gettext_lazy("when"))
    def when(self, entry: AuditEntry) -> SafeString | str:
        return lima_time(entry.at)

    @admin.display(description=gettext_lazy("action"))
    def action_words(self, entry: AuditEntry) -> str:
        return action_label(entry.action)

    @admin.display(description=gettext_lazy("changed"))
    def changed(self, entry: AuditEntry) -> SafeString | str:
        return changed_fields(entry.before, entry.after)

    @admin.display(description=gettext_lazy("before"))
    def before_table(self, entry: AuditEntry) -> SafeString | str:
        return json_table(entry.before)

    @admin.display(description=gettext_lazy("after"))
    def after_table(self, entry: AuditEntry) -> SafeString | str:
        return json_table(entry.after)


# --- accounts and what third parties registered ------------------------------------------------------------

for _model in list(admin.site._registry):
    # django-q2's own screens run any dotted path for whoever may add a schedule (reliability.md F18).
    if _model._meta.app_label in ("django_q", "axes", "auth"):
        admin.site.unregister(_model)


class GroupsField(forms.ModelMultipleChoiceField):
    def label_from_instance(self, obj: Any) -> str:
        return roles.role_label(obj.name)


@admin.register(User)
class UserAdmin(GuardedAdmin, StockUserAdmin):
    purpose = gettext_lazy("Who may sign in, and what each may see and do.")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Whoever may change accounts could else give the own one everything.
        above_roles = () if request.user.is_superuser else ("is_superuser", "user_permissions")
        return (*super().get_readonly_fields(request, obj), *above_roles)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def formfield_for_manytomany(self, db_field: Any, request: Any, **options: Any) -> Any:
        if db_field.name == "groups":
            options["form_class"] = GroupsField
        return super().formfield_for_manytomany(db_field, request, **options)


def _may_touch(request: HttpRequest, account: User | None) -> bool:
    """Whether the user may change an account at all: that of a superuser only a superuser, password included."""
    return account is None or not account.is_superuser or request.user.is_superuser


@admin.register(Group)
class GroupAdmin(GuardedAdmin, StockGroupAdmin):
    purpose = gettext_lazy("Rights given to several people at once. What a role of CT4 may do is fixed.")
    list_display = ("name", "role")

    @admin.display(description=gettext_lazy("role"))
    def role(self, group: Group) -> str:
        return str(roles.Role(group.name).label) if group.name in roles.Role.values else NOTHING

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and not _is_role(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and not _is_role(obj)


def _is_role(group: Group | None) -> bool:
    return group is not None and group.name in roles.Role.values


class SignInAdmin(ReadOnlyAdmin):
    list_display = ("id", "username", "ip_address", "attempt_time", "path_info")
    sortable_by = ("id",)
    ordering = ("-id",)
    exclude: ClassVar[Any] = ("get_data", "post_data")


@admin.register(AccessAttempt)
class AccessAttemptAdmin(SignInAdmin):
    purpose = gettext_lazy("Failed sign-ins that count towards a pause.")


@admin.register(AccessFailureLog)
class AccessFailureLogAdmin(SignInAdmin):
    purpose = gettext_lazy("All failed sign-ins.")


@admin.register(AccessLog)
class AccessLogAdmin(SignInAdmin):
    purpose = gettext_lazy("Sign-ins and sign-outs.")
    exclude = ("session_hash",)


# --- start page ----------------------------------------------------------------------------------------------


def may_view(request: HttpRequest, model: Any) -> bool:
    """Return whether the user may open the list of a model."""
    screen = admin.site._registry.get(model)
    return screen is not None and screen.has_view_permission(request)


def linked(request: HttpRequest, model: Any, words: Any, **query: Any) -> Any:
    """Return words that lead to the list of a model, narrowed by a query; the words alone if the user may not open it."""
    if not may_view(request, model):
        return words
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return format_html('<a href="{}">{}</a>', f"{address}?{urlencode(query)}" if query else address, words)


@home.panel(place=20)
def last_runs(request: HttpRequest) -> home.Panel | None:
    """The last runs with their state; how many wait."""
    if not may_view(request, Run):
        return None
    rows = []
    for run in with_life(Run.objects.order_by("-id"))[:6]:
        state = state_of(run)
        name = format_html(
            '{}<br><span class="quiet small">{} {}</span>', link_to(run), lima_time(run.started_at), _numbers(run)
        )
        rows.append((name, pill(run.status, state.label, state.tone)))
    return home.Panel(_("Last runs"), rows)


# Registers its screens by being imported; it needs what is above.
from ct4site import review_admin  # noqa: E402, F401
