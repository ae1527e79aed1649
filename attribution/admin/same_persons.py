"""Two persons who are probably one human: the list, and both side by side with what differs marked (Q79)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.dateparse import parse_date
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.admin import history, labels
from attribution.admin.claims import days_text
from attribution.admin.parts import PersonSearchMixin, ScoutNamesMixin, names_of
from attribution.models import LedgerEntry, PossibleSamePerson, SamePersonStatus
from ct4site.admin import audit_section, may_view
from ct4site.admin_base import NOTHING, OpenFirstFilter, ReadOnlyAdmin, Section, lima_time, link_to, pill, words
from ct4site.models import AuditEntry
from ct4site.privacy import personal
from identity.admin import records
from identity.admin.comparing import marked_name, marked_personal
from identity.admin.persons import person_sections
from identity.models import DriverIndexEntry, LeadEvent, Link, Person, SourceTable

TONES = {
    SamePersonStatus.OPEN: "warn",
    SamePersonStatus.CLOSED: "plain",
    SamePersonStatus.CONFIRMED: "good",
    SamePersonStatus.DISMISSED: "plain",
}
# What two claims share besides a similar name (sql/jobs/same_persons.sql).
KINDS: dict[str, Promise] = {
    "phone": gettext_lazy("Similar names; phones equal or one digit apart"),
    "license": gettext_lazy("Similar names; licences equal or one character apart"),
    "plate": gettext_lazy("Similar names; the same plate"),
    "name": gettext_lazy("One name; of one of the two neither phone nor licence is known"),
}
MOST = 20


class OpenPairFilter(OpenFirstFilter):
    """The open ones unless asked otherwise: they block settlement."""

    codes, first = SamePersonStatus, SamePersonStatus.OPEN


@admin.register(PossibleSamePerson)
class PossibleSamePersonAdmin(ScoutNamesMixin, PersonSearchMixin, ReadOnlyAdmin):
    purpose = gettext_lazy(
        "Pairs of persons who are probably one human, registered by different scouts. While open, neither is settled."
    )
    change_form_template = "admin/attribution/same_person.html"
    list_display = ("first_person", "second_person", "shares", "scouts", "dates", "state", "detected")
    list_display_links = ("first_person",)
    list_filter = (OpenPairFilter,)
    list_select_related = ("person_a", "person_b")
    ordering = ("-id",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    fields = ("state", "what_it_means", "shares", "scouts", "dates", "detected", "changed")
    readonly_fields = fields

    def meant(self, request: HttpRequest, keys: Mapping[str, Any]) -> Q:
        found = Person.objects.filter(super().meant(request, keys)).order_by()
        persons = list(found.values_list("pk", flat=True))
        return Q(person_a__in=persons) | Q(person_b__in=persons)

    def scouts_of(self, pair: PossibleSamePerson) -> list[Any]:
        return sorted({record["scout_id"] for record in _records(pair) if isinstance(record.get("scout_id"), int)})

    @admin.display(description=gettext_lazy("person"))
    def first_person(self, pair: PossibleSamePerson) -> str:
        return str(pair.person_a)

    @admin.display(description=gettext_lazy("other person"))
    def second_person(self, pair: PossibleSamePerson) -> str:
        return str(pair.person_b)

    @admin.display(description=gettext_lazy("what they share"))
    def shares(self, pair: PossibleSamePerson) -> SafeString | str:
        return shared(pair)

    @admin.display(description=gettext_lazy("scouts"))
    def scouts(self, pair: PossibleSamePerson) -> SafeString:
        return labels.scout_list(self.scouts_of(pair), names_of(pair, self.scouts_of(pair)))

    @admin.display(description=gettext_lazy("registered"))
    def dates(self, pair: PossibleSamePerson) -> SafeString | str:
        found = sorted(date for record in _records(pair) if (date := _date(record.get("date"))))
        if not found:
            return NOTHING
        shown = format_html_join("", "<div>{}</div>", ((lima_time(date),) for date in found))
        apart = (found[-1] - found[0]).days
        words = _("same day") if apart == 0 else _("%(days)s apart") % {"days": days_text(apart)}
        return format_html('{}<span class="quiet small">{}</span>', shown, words)

    @admin.display(description=gettext_lazy("status"))
    def state(self, pair: PossibleSamePerson) -> SafeString | str:
        return status(pair)

    @admin.display(description=gettext_lazy("what it means"))
    def what_it_means(self, pair: PossibleSamePerson) -> str:
        return {
            SamePersonStatus.OPEN: _("Nothing is settled for either of the two until a person decides."),
            SamePersonStatus.CLOSED: _(
                "The records changed and no longer look alike; the refresh closed it by itself."
            ),
            SamePersonStatus.CONFIRMED: _("A person decided that they are one."),
            SamePersonStatus.DISMISSED: _("A person decided that they are two; no refresh raises it again."),
        }.get(pair.status, NOTHING)  # type: ignore[call-overload]

    @admin.display(description=gettext_lazy("detected"))
    def detected(self, pair: PossibleSamePerson) -> SafeString | str:
        return lima_time(pair.detected_at)

    @admin.display(description=gettext_lazy("changed"))
    def changed(self, pair: PossibleSamePerson) -> SafeString | str:
        return lima_time(pair.updated_at)

    def get_sections(self, request: HttpRequest, pair: PossibleSamePerson) -> Iterable[Section]:
        yield _persons(pair)
        yield _registrations(pair)
        yield _accounts(pair)
        yield audit_section(
            AuditEntry.objects.filter(
                person_key=pair.person_a_id, subject_table=PossibleSamePerson._meta.db_table, subject_key=str(pair.pk)
            )
        )


def status(pair: PossibleSamePerson) -> SafeString | str:
    """Return the status of a suspicion as a pill."""
    return pill(pair.status, pair.get_status_display(), TONES.get(pair.status, "plain"))  # type: ignore[call-overload]


def shared(pair: PossibleSamePerson) -> SafeString | str:
    """Return in words what two persons share, with how alike the names are."""
    stored = pair.evidence_json if isinstance(pair.evidence_json, dict) else {}
    kind = words(KINDS, stored.get("kind"))
    likeness = stored.get("name_likeness")
    if not isinstance(likeness, (int, float)) or isinstance(likeness, bool):
        return kind
    percent = number_format(100 * likeness, 0)
    return format_html(
        '{} <span class="quiet small">{}</span>', kind, _("names alike by %(percent)s %%") % {"percent": percent}
    )


def _records(pair: PossibleSamePerson) -> list[dict[str, Any]]:
    """The registrations that raised it, whatever shape was stored."""
    stored = pair.evidence_json if isinstance(pair.evidence_json, dict) else {}
    found = stored.get("records")
    return [record for record in found if isinstance(record, dict)][:MOST] if isinstance(found, list) else []


def _date(value: Any) -> datetime.date | None:
    try:
        return parse_date(value) if isinstance(value, str) else None
    except ValueError:
        return None


# --- side by side -------------------------------------------------------------------------------------


def _persons(pair: PossibleSamePerson) -> Section:
    ours, theirs = pair.person_a, pair.person_b
    entries = LedgerEntry.objects.defer("evidence_json").in_bulk([ours.pk, theirs.pk])
    names = labels.scouts_by_number(entry.attributed_scout_id for entry in entries.values())
    rows: list[list[Any]] = [
        [_("Person"), link_to(ours), link_to(theirs)],
        [_("Name"), *_both(ours.primary_full_name, theirs.primary_full_name, marked_name)],
        [_("Phone"), *_both(ours.primary_phone, theirs.primary_phone, marked_personal)],
        [_("Licence"), *_both(ours.primary_license, theirs.primary_license, marked_personal)],
        [_("Document"), *_both(ours.primary_document, theirs.primary_document, marked_personal)],
        [_("Known since"), lima_time(ours.created_at), lima_time(theirs.created_at)],
        [_("The ledger says"), *(_said(entries.get(person.pk), names) for person in (ours, theirs))],
    ]
    columns = ["", _("Person"), _("Other person")]
    return Section(title=_("Side by side"), columns=columns, rows=rows, is_list=False)


def _both(ours: str | None, theirs: str | None, mark: Any) -> tuple[Any, Any]:
    return mark(ours, theirs), mark(theirs, ours)


def _said(entry: LedgerEntry | None, names: labels.Names) -> SafeString | str:
    if entry is None:
        return NOTHING
    state = {"decision_status": entry.decision_status, "attributed_scout_id": entry.attributed_scout_id}
    return format_html("{} {}", history.said(state, names), link_to(entry, _("Ledger")))


def _registrations(pair: PossibleSamePerson) -> Section:
    """The records that raised it, each under the person it is linked to."""
    stored = _records(pair)
    keys = [(str(record.get("source_table")), str(record.get("source_pk"))) for record in stored]
    rows = records.source_rows(keys)
    numbers = [pk for _table, pk in keys]
    links = Link.objects.filter(source_table=SourceTable.SCOUTING, source_pk__in=numbers)
    owners = {link.source_pk: link.person_id for link in links}
    # What was compared: the keys of their events, not the texts of the feed.
    events = {
        event.source_pk: event
        for event in LeadEvent.objects.filter(source_table=SourceTable.SCOUTING, source_pk__in=numbers)
    }
    names = labels.scouts_by_number(record.get("scout_id") for record in stored)
    found = list(zip(stored, keys, strict=True))
    # The registration of the first person in the first column, as above.
    found.sort(key=lambda item: owners.get(item[1][1]) == pair.person_b_id)

    def value(key: records.Key, column: str) -> Any:
        source = rows.get(key) if column == "driver_name" else events.get(key[1])
        return getattr(source, column, None) or None

    def line(words: str, column: str, mark: Any) -> list[Any]:
        values = [value(key, column) for _record, key in found]
        if len(values) != 2:
            return [words, *(mark(text, None) for text in values)]
        return [words, *_both(values[0], values[1], mark)]

    cells: list[list[Any]] = [
        [_("Record"), *(records.record_label(LeadEvent(source_table=table, source_pk=pk), rows.get((table, pk))) for _record, (table, pk) in found)],
        [_("Date"), *(lima_time(_date(record.get("date"))) for record, _key in found)],
        [_("Scout"), *(labels.scout(record.get("scout_id"), names) for record, _key in found)],
        line(_("Name"), "driver_name", marked_name),
        line(_("Phone"), "phone_norm", marked_personal),
        line(_("Licence"), "license_norm", marked_personal),
        [_("Linked to"), *(_owner(pair, owners.get(pk)) for _record, (_table, pk) in found)],
    ]  # fmt: skip
    columns = ["", *(_("Registration %(number)d") % {"number": number + 1} for number in range(len(found)))]
    return Section(
        title=_("The registrations that raised it"), columns=columns, rows=cells if found else [], is_list=False
    )


def _owner(pair: PossibleSamePerson, person_key: Any) -> SafeString | str:
    if person_key is None:
        return NOTHING
    known = {pair.person_a_id: pair.person_a, pair.person_b_id: pair.person_b}
    return link_to(known.get(person_key) or Person(pk=person_key))


def _accounts(pair: PossibleSamePerson) -> Section:
    persons = {pair.person_a_id: pair.person_a, pair.person_b_id: pair.person_b}
    links = Link.objects.filter(person__in=list(persons), source_table=SourceTable.DRIVERS).order_by("person_id", "id")
    owners = dict(links.values_list("source_pk", "person_id")[: MOST + 1])
    drivers = DriverIndexEntry.objects.in_bulk(list(owners))
    rows = [
        (
            link_to(persons[owner]), link_to(driver, driver.driver_id), driver.full_name_norm or NOTHING,
            personal(driver.phone_norm) or NOTHING, personal(driver.license_norm) or NOTHING, driver.plate_norm or NOTHING,
            driver.park_id or NOTHING, lima_time(driver.hire_date),
        )
        for driver_id, owner in list(owners.items())[:MOST]
        if (driver := drivers.get(driver_id)) is not None
    ]  # fmt: skip
    columns = [
        _("Person"), _("Driver"), _("Name"), _("Phone"), _("Licence"), _("Plate"), _("Park"), _("Hired"),
    ]  # fmt: skip
    return Section(title=_("Accounts of the two"), columns=columns, rows=rows, has_more=len(owners) > MOST)


# --- elsewhere ----------------------------------------------------------------------------------------


def pairs_of(person: Person) -> QuerySet[PossibleSamePerson]:
    """Return the suspicions that a person is in, the newest first."""
    pairs = PossibleSamePerson.objects.filter(Q(person_a=person) | Q(person_b=person))
    return pairs.select_related("person_a", "person_b").order_by("-id")


def of_person(request: HttpRequest, person: Person) -> Section | None:
    """Return the section of a person's page with whom it may be one; None when there is nobody, or not for this user."""
    if not may_view(request, PossibleSamePerson):
        return None
    columns = {
        _("Other person"): lambda pair: link_to(
            pair, pair.person_b if pair.person_a_id == person.pk else pair.person_a
        ),
        _("What they share"): shared,
        _("Status"): status,
        _("Detected"): lambda pair: pair.detected_at,
    }
    section = Section.of(_("Possible same persons"), columns, pairs_of(person), MOST)
    return section if section.rows else None


person_sections.append(of_person)
