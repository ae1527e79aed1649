"""Parts that the lists and pages of recovery share: search by lead or person, and what is known of one lead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site.admin import changed_fields
from ct4site.admin_base import CodeFilter, SearchMixin, Section, lima_time, link_to, pill
from identity.admin import records
from identity.admin.comparing import comparison
from identity.admin.finding import say_if_vague
from identity.models import Person, SourceTable, Unmatched
from recovery.admin import finding, labels
from recovery.models import AlertType, MatchingAttempt, RecoveryEvent

SHOWN = 100


class LeadSearchMixin(SearchMixin):
    """Search by whatever finds a lead or its person; ``lead_column`` names the lead of a row."""

    search_help_text = gettext_lazy("Lead, person, plate or name")
    finds_personal = True
    searches = (lambda keys: None,)
    lead_column = "lead_id"

    def meant(self, request: HttpRequest, keys: Mapping[str, Any]) -> Q:
        found = finding.lead_ids(keys)
        say_if_vague(request, found)
        return Q(**{f"{self.lead_column}__in": found})

    @admin.display(description=gettext_lazy("lead"))
    def lead(self, item: Any) -> SafeString:
        return format_html('<span class="key">{}</span>', getattr(item, self.lead_column))


class AlertTypeFilter(CodeFilter):
    """By the alert that a lead raises."""

    title = gettext_lazy("alert")
    parameter_name = column = "alert_type"
    words = dict(AlertType.choices)


class FailReasonFilter(CodeFilter):
    """By why the last try came to nothing."""

    title = gettext_lazy("reason")
    parameter_name = column = "fail_reason"
    words = labels.FAIL_REASONS


def source_section(lead_id: str) -> Section:
    """Return the section with the row of the feed behind a lead."""
    key = (str(SourceTable.CABINET), lead_id)
    row = records.source_rows([key]).get(key)
    cells = [(link_to(row, str(row)), records.facts(row))] if row is not None else []
    return Section(title=_("Source row"), columns=[_("Row"), _("Columns")], rows=cells)


def candidates_section(lead_id: str) -> Section:
    """Return the section that shows a lead beside the candidates of its last attempt, and what spoke against each."""
    item = Unmatched.objects.filter(source_table=SourceTable.CABINET, source_pk=lead_id).first()
    if item is None:
        return Section(title=_("Candidates"), columns=(), is_list=False)
    section = comparison(item)
    section.note = format_html(
        "{} {} · {}",
        pill(item.status, item.get_status_display()),
        item.get_reason_code_display(),
        link_to(item, _("Unmatched record")),
    )
    return section


def tries_section(lead_id: str) -> Section:
    """Return the section with every try of a lead: why it was made, what came of it."""
    columns = {
        _("Try"): lambda attempt: attempt.attempt,
        _("When"): lambda attempt: attempt.attempted_at,
        _("Why"): lambda attempt: attempt.get_cause_display(),
        _("Outcome"): lambda attempt: labels.coded(attempt, "outcome", labels.RETRY_TONES),
        _("Reason"): lambda attempt: labels.fail_reason(attempt.fail_reason),
        _("Run"): lambda attempt: link_to(attempt.run, f"#{attempt.run_id}"),
    }
    attempts = MatchingAttempt.objects.filter(lead_id=lead_id).select_related("run").order_by("-id")
    return Section.of(_("Tries"), columns, attempts, SHOWN)


def recoveries_section(lead_id: str) -> Section:
    """Return the section with every recovery of a lead: who, when, how, before and after."""
    events = list(RecoveryEvent.objects.filter(lead_id=lead_id).select_related("run").order_by("-id")[: SHOWN + 1])
    persons = persons_of(event.person_key for event in events)
    rows = [
        [
            lima_time(event.recorded_at),
            event.recorded_by,
            _what(event),
            lima_time(event.recovered_at),
            link_to(persons.get(event.person_key)),
            changed_fields(event.before, event.after),
            link_to(event.run, f"#{event.run_id}"),
        ]
        for event in events[:SHOWN]
    ]
    columns = [_("Recorded"), _("Who"), _("What"), _("Recovered"), _("Person"), _("Changed"), _("Run")]
    return Section(title=_("Recoveries"), columns=columns, rows=rows, has_more=len(events) > SHOWN)


def _what(event: RecoveryEvent) -> SafeString:
    how = event.get_recovery_method_display() or ""
    return format_html('<div>{}</div><span class="quiet small">{}</span>', event.get_event_display(), how)


def persons_of(keys: Any) -> dict[Any, Person]:
    """Return the persons with some keys, by key; one query."""
    return Person.objects.in_bulk({key for key in keys if key})
