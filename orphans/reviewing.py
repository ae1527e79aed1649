"""What a person may decide about a driver without lead (domain.md 9.4, runbook RB3 step 4, Q53, Q54).

Relink it to a lead that exists, write down the lead that is missing, purge it (with a second person), or send it back
to the jobs. What was decided stands in the quarantine, where every job respects it (P7).
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.db import connection
from django.db.models import OuterRef
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site.admin_base import LIMA, NOTHING, Section, classify_queries, classify_query, lima_time
from ct4site.jobs import counted
from ct4site.models import CaseKind, ReviewCase
from ct4site.privacy import is_plain, personal, searchable
from ct4site.review.kinds import Candidate, Choice, Deciding, Kind, TargetForm, Unacceptable, once, register
from identity import linking
from identity.admin import finding as identity_finding
from identity.admin import records
from identity.admin.comparing import marked, marked_name, marked_personal
from identity.models import LEAD_TABLES, LeadEvent, Link, ManualLead, ScoutListEntry, SourceTable, UnmatchedStatus
from orphans.admin import evidence, nearest
from orphans.models import OrphanReason, OrphanStatus, QuarantinedDriver

PURGED_WITH_LEAD = "purged_with_lead"
LONGEST_NAME = 200
MOST_LISTED = 5

WHY = {
    OrphanReason.NO_LEAD_NO_EVENTS: gettext_lazy(
        "No lead names this driver or has its phone or licence. It counts nowhere until somebody decides."
    ),
    OrphanReason.REPAIR_FAILED: gettext_lazy(
        "Leads point to this driver, but none of them suffices to link it. It counts nowhere until somebody decides."
    ),
    OrphanReason.LEGACY: gettext_lazy(
        "This driver is older than the lead system and no lead points to it. It counts nowhere until somebody decides."
    ),
    OrphanReason.MANUAL: gettext_lazy(
        "A person put this driver into quarantine. No job takes it out again; only a decision does."
    ),
    PURGED_WITH_LEAD: gettext_lazy(
        "This driver was purged, and a lead was linked to it since. It counts nowhere unless somebody takes it back."
    ),
}


def _driver(case: ReviewCase) -> QuarantinedDriver | None:
    """Return the driver of a case, with its person by its link as ``linked``; read once for a page or a decision."""
    links = Link.objects.filter(source_table=SourceTable.DRIVERS, source_pk=OuterRef("pk"))
    found = QuarantinedDriver.objects.select_related("person").annotate(linked=links.values("person_id")[:1])
    return once(case, "driver", found.filter(pk=case.subject_key).first)


def _row(case: ReviewCase) -> QuarantinedDriver:
    """Return the driver of a case; raises ``Unacceptable`` when it waits for nobody any more."""
    row = _driver(case)
    if row is None or row.status not in (OrphanStatus.QUARANTINED, OrphanStatus.PURGED):
        raise Unacceptable(_("This driver is not in quarantine any more. Open the next case."))
    return row


def _driver_person(case: ReviewCase) -> uuid.UUID | None:
    row = _driver(case)
    return None if row is None else row.linked  # type: ignore[attr-defined]


def _lead_person(case: ReviewCase, target: Mapping[str, Any]) -> uuid.UUID | None:
    """Return the person of the lead that was chosen."""
    return once(case, "lead", lambda: linking.person_of(target["source_table"], target["source_pk"]))


def _set(
    deciding: Deciding, status: str, person_key: uuid.UUID | None, detected_reason: str | None = None
) -> dict[str, Any]:
    """Write the decision into the quarantine, its history and the audit; see sql/jobs/review_quarantine.sql."""
    return counted(
        "review_quarantine",
        {
            "driver_id": deciding.case.subject_key,
            "status": status,
            "person_key": person_key,
            "detected_reason": detected_reason,
            "notes": deciding.reason,
            "run_id": deciding.run_id,
            "actor": deciding.actor,
        },
    )


# --- relinking ------------------------------------------------------------------------------------------


def _relink(deciding: Deciding) -> Collection[uuid.UUID]:
    """Link the chosen lead to the driver's person; a lead that has a person takes the driver along to that one."""
    row = _row(deciding.case)
    source_table, source_pk = deciding.target["source_table"], deciding.target["source_pk"]
    now, of_lead = _driver_person(deciding.case), _lead_person(deciding.case, deciding.target)
    person = of_lead or now or row.person_id or deciding.new_person_key
    # First the quarantine: what is not in it any more is not released once more by the link.
    _set(deciding, OrphanStatus.RESOLVED_RELINKED, person)
    if of_lead is None:
        return _link(deciding, source_table, source_pk, person)
    if now != of_lead:
        return linking.move_driver(driver_id=row.driver_id, person_key=of_lead, **deciding.by)
    return {person}


def _link(deciding: Deciding, source_table: str, source_pk: str, person: uuid.UUID) -> Collection[uuid.UUID]:
    return linking.link_record(
        source_table=source_table,
        source_pk=source_pk,
        person_key=person,
        driver_id=deciding.case.subject_key,
        is_new_person=person == deciding.new_person_key,
        **deciding.by,
    )


def _persons_of_relink(case: ReviewCase, target: Mapping[str, Any]) -> Collection[uuid.UUID]:
    found = {_driver_person(case), _lead_person(case, target), case.person_key}
    return {person for person in found if person is not None}


class RelinkForm(TargetForm):
    """The lead, by anything that belongs to it."""

    lead = forms.CharField(
        label=gettext_lazy("Lead"),
        max_length=200,
        help_text=gettext_lazy("Number of the lead, phone, licence or plate, or a name near the driver's first day"),
    )

    def clean_lead(self) -> tuple[str, str]:
        """Return the one lead record that was meant; raises ``ValidationError`` for none or several."""
        text = self.cleaned_data["lead"]
        found = leads_meant(self.case, text)
        if not found:
            raise forms.ValidationError(
                _("No lead fits “%(text)s”. Try its phone or its number."), params={"text": text}
            )
        if len(found) > 1:
            shown = "; ".join(
                f"{table}:{pk} ({', '.join(told) or NOTHING})"
                for (table, pk), told in list(found.items())[:MOST_LISTED]
            )
            raise forms.ValidationError(
                _("Several leads fit “%(text)s”. Type one of these as it is written: %(leads)s"),
                params={"text": text, "leads": shown},
            )
        return next(iter(found))

    def target(self) -> dict[str, Any]:
        table, pk = self.cleaned_data["lead"]
        return {"source_table": table, "source_pk": pk}


# Names have no index: they are read on the days around the driver's first one, the nearest first.
_NAMED = """
select source_table, source_pk, name_norm, event_date
from (
    select * from observational.lead_events
    where event_date between %(day)s - %(days)s and %(day)s + %(days)s
    order by event_date, id
    limit %(most)s
) as events
where string_to_array(name_norm, ' ') @> %(words)s
order by abs(event_date - %(day)s), id
limit %(listed)s
"""


def leads_meant(case: ReviewCase, text: str) -> dict[tuple[str, str], list[str]]:
    """Return the lead records a text may mean, with name and date: ``{(source_table, source_pk): [name, date]}``.

    Takes the number of a lead, ``source_table:source_pk``, or any key of it; phones and licences find something for
    whoever may see them. At most a few more than are listed.
    """
    table, __, pk = text.strip().partition(":")
    if table in LEAD_TABLES and pk:
        return {(table, pk): []}
    keys = searchable(classify_query(text))
    if not keys:
        return {}
    limit = MOST_LISTED + 1
    rows: list[tuple[Any, ...]] = list(
        identity_finding.events(keys).values_list("source_table", "source_pk", "name_norm", "event_date")[:limit]
    )
    rows += identity_finding.unmatched(keys).values_list(
        "source_table", "source_pk", "details__name", "snapshot_date__date"
    )[:limit]
    links = Link.objects.filter(identity_finding.by_record(keys), source_table__in=LEAD_TABLES)
    rows += [(*found, None, None) for found in links.values_list("source_table", "source_pk")[:limit]]
    row = _driver(case)
    if not rows and row is not None and "words" in keys:
        with connection.cursor() as cursor:
            cursor.execute(
                _NAMED,
                {
                    "day": _keys(case, row).day,
                    "days": nearest.NAME_DAYS,
                    "most": 2 * nearest.NAME_EVENTS,
                    "words": keys["words"],
                    "listed": limit,
                },
            )
            rows = cursor.fetchall()
    found: dict[tuple[str, str], list[str]] = {}
    for source_table, source_pk, name, day in rows:
        told = [name] if name else []
        found.setdefault((source_table, source_pk), told + ([day.isoformat()] if day else []))
    return found


# --- creating the missing lead -----------------------------------------------------------------------------


def _create_lead(deciding: Deciding) -> Collection[uuid.UUID]:
    """Write the missing lead down and link it, as any cabinet lead, to the driver's person."""
    row = _row(deciding.case)
    person = _driver_person(deciding.case) or row.person_id or deciding.new_person_key
    lead = ManualLead(pk=deciding.case.pk)
    values = {name: deciding.target.get(name) for name in ("lead_date", "full_name", "phone", "plate", "scout_id")}
    counted("review_manual_lead", values | deciding.by | {"id": lead.pk, "person_key": person})
    _set(deciding, OrphanStatus.RESOLVED_CREATED_LEAD, person)
    return _link(deciding, SourceTable.CABINET, lead.source_pk, person)


class CreateLeadForm(TargetForm):
    """What the missing lead would have said. What is known of the driver stands there already."""

    lead_date = forms.DateField(
        label=gettext_lazy("Date of the lead"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    full_name = forms.CharField(label=gettext_lazy("Name"), max_length=LONGEST_NAME)
    phone = forms.CharField(label=gettext_lazy("Phone"), max_length=40, required=False)
    plate = forms.CharField(label=gettext_lazy("Plate"), max_length=20, required=False)
    scout_id = forms.IntegerField(
        label=gettext_lazy("Scout"), required=False, help_text=gettext_lazy("Number of the scout, when one is known")
    )

    def __init__(self, data: Any = None, *args: Any, case: ReviewCase, **kwargs: Any) -> None:
        row = _driver(case) if data is None else None
        if row is not None:
            keys = _keys(case, row)
            known = {"lead_date": keys.day, "full_name": keys.name, "plate": keys.plate}
            if is_plain():
                known["phone"] = keys.phone
            kwargs["initial"] = known | (kwargs.get("initial") or {})
        super().__init__(data, *args, case=case, **kwargs)

    def clean_lead_date(self) -> datetime.date:
        day: datetime.date = self.cleaned_data["lead_date"]
        if day > timezone.now().astimezone(LIMA).date():
            raise forms.ValidationError(_("A lead cannot be of a day to come."))
        return day

    def clean_scout_id(self) -> int | None:
        scout: int | None = self.cleaned_data["scout_id"]
        if scout is not None and not ScoutListEntry.objects.filter(pk=scout).exists():
            raise forms.ValidationError(_("There is no scout %(scout)s."), params={"scout": scout})
        return scout

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        complaints = {
            ("full_name", "name"): _("This is not a name that can be compared."),
            ("phone", "phone"): _("This is not a usable phone."),
            ("plate", "plate"): _("This is not a usable plate."),
        }
        typed = {field: data.get(field, "").strip() for field, _key in complaints}
        found = dict(zip(typed, classify_queries(list(typed.values())), strict=True))
        for (field, key), complaint in complaints.items():
            if typed[field] and key not in found[field]:
                self.add_error(field, complaint)
        if not self.errors and not (data.get("phone") or data.get("plate")):
            raise forms.ValidationError(_("Say the phone or the plate: without either nobody would find the lead."))
        return data

    def target(self) -> dict[str, Any]:
        return super().target() | {"lead_date": self.cleaned_data["lead_date"].isoformat()}


# --- purging, sending back -----------------------------------------------------------------------------------


def _purge(deciding: Deciding) -> Collection[uuid.UUID]:
    """Take the driver away from its person; the row of the quarantine and the person stay (Q54)."""
    row = _row(deciding.case)
    person = _driver_person(deciding.case)
    _set(deciding, OrphanStatus.PURGED, person or row.person_id)
    return linking.detach_driver(driver_id=row.driver_id, **deciding.by) if person else set()


def _send_back(deciding: Deciding) -> Collection[uuid.UUID]:
    """Leave the driver to the jobs again; what somebody put into quarantine is so no more (Q50, Q52)."""
    row = _row(deciding.case)
    person = _driver_person(deciding.case)
    reason = None
    if row.detected_reason == OrphanReason.MANUAL:
        reason = OrphanReason.REPAIR_FAILED if row.lead_events_count else OrphanReason.NO_LEAD_NO_EVENTS
    # No job would have put it there, or left it there.
    has_lead = reason and Link.objects.filter(person=person, source_table__in=LEAD_TABLES).exists()
    status = OrphanStatus.RESOLVED_RELINKED if has_lead else OrphanStatus.QUARANTINED
    _set(deciding, status, row.person_id if status == OrphanStatus.QUARANTINED else person, reason)
    return {person} if person else set()


def _persons(case: ReviewCase, target: Mapping[str, Any]) -> Collection[uuid.UUID]:
    found = {_driver_person(case), case.person_key}
    return {person for person in found if person is not None}


RELINK = Choice(
    code="relink",
    label=gettext_lazy("Relink to a lead"),
    help=gettext_lazy(
        "The lead is linked to the driver's person; a lead that has a person takes the driver along to that person."
    ),
    apply=_relink,
    persons=_persons_of_relink,
    form=RelinkForm,
)
CREATE_LEAD = Choice(
    code="create_lead",
    label=gettext_lazy("Create the missing lead"),
    help=gettext_lazy("Writes down a cabinet lead that was never delivered, and links the driver to it."),
    apply=_create_lead,
    persons=_persons,
    form=CreateLeadForm,
)
PURGE = Choice(
    code="purge",
    label=gettext_lazy("Purge"),
    help=gettext_lazy(
        "The driver is taken away from its person and counts nowhere. Nothing is deleted. Another person approves it."
    ),
    apply=_purge,
    persons=_persons,
    needs_approval=True,
)
SEND_BACK = Choice(
    code="send_back",
    label=gettext_lazy("Leave it to the jobs"),
    help=gettext_lazy("The next run looks at the driver again. The case stays, and is due later."),
    apply=_send_back,
    persons=_persons,
    closes=False,
    puts_off=True,
)


def choices(case: ReviewCase) -> Sequence[Choice]:
    """Return what may be decided about a driver; one that was purged is taken back with its lead, or purged again."""
    if case.raised_by == PURGED_WITH_LEAD:
        return (RELINK, PURGE)
    return (RELINK, CREATE_LEAD, PURGE, SEND_BACK)


# --- the page of a case --------------------------------------------------------------------------------------


def _known(case: ReviewCase, row: QuarantinedDriver) -> Any:
    return once(case, "known", lambda: evidence.known_of(row))


def _keys(case: ReviewCase, row: QuarantinedDriver) -> nearest.Keys:
    """Return the keys of a case's driver, by which leads are compared."""
    return once(case, "keys", lambda: nearest.keys_of(row, *_known(case, row)))


def title(case: ReviewCase) -> str:
    """Return the name of the driver's person, else the driver's id."""
    row = _driver(case)
    return (row and row.person and row.person.primary_full_name) or case.subject_key


def why(case: ReviewCase) -> str:
    """Return in one breath why the driver waits for a person."""
    return str(WHY.get(case.raised_by, ""))


def sections(case: ReviewCase) -> Iterable[Section]:
    """Return the evidence: what was found and why it did not suffice, the driver, how it was linked, its history."""
    row = _driver(case)
    return evidence.sections(row, *_known(case, row)) if row is not None else ()


def candidates(case: ReviewCase) -> list[Candidate]:
    """Return the leads of the driver's person, then the nearest ones, each with why it is the driver's or not."""
    row = _driver(case)
    if row is None:
        return []
    keys = _keys(case, row)
    near = nearest.find(keys).leads
    known = {(lead.source_table, lead.source_pk) for lead in near}
    of_person = (
        Link.objects.filter(person=case.person_key, source_table__in=LEAD_TABLES).order_by("id")[:MOST_LISTED]
        if case.person_key
        else []
    )
    own = [link for link in of_person if (link.source_table, link.source_pk) not in known]
    rows = records.source_rows([*((link.source_table, link.source_pk) for link in own), *known])
    return [
        *(_own_candidate(link, keys, rows) for link in own),
        *(_candidate(lead, keys, rows) for lead in near),
    ]


def _own_candidate(link: Link, keys: nearest.Keys, rows: dict[records.Key, Any]) -> Candidate:
    return Candidate(
        title=records.record_label(link, rows.get((link.source_table, link.source_pk))),
        sentence=_("It is linked to this driver's person already."),
        facts={_("Date"): (lima_time(keys.day), lima_time(link.snapshot_date))},
        choice=RELINK.code,
        target={"source_table": link.source_table, "source_pk": link.source_pk},
        is_likely=True,
    )


def _candidate(lead: nearest.Lead, keys: nearest.Keys, rows: dict[records.Key, Any]) -> Candidate:
    record = LeadEvent(source_table=lead.source_table, source_pk=lead.source_pk)
    return Candidate(
        title=records.record_label(record, rows.get((lead.source_table, lead.source_pk))),
        sentence=_sentence(lead, keys),
        facts={
            _("Name"): (keys.name or NOTHING, marked_name(lead.name, keys.name)),
            _("Phone"): (personal(keys.phone) or NOTHING, marked_personal(lead.phone, keys.phone)),
            _("Licence"): (personal(keys.license) or NOTHING, marked_personal(lead.license, keys.license)),
            _("Plate"): (keys.plate or NOTHING, marked(lead.plate, keys.plate)),
            _("Date"): (lima_time(keys.day), lima_time(lead.date)),
        },
        choice=RELINK.code,
        target={"source_table": lead.source_table, "source_pk": lead.source_pk},
        is_likely=lead.weight > nearest.NEAR and not lead.differs and lead.person_key in (None, keys.person_key),
    )


def _sentence(lead: nearest.Lead, keys: nearest.Keys) -> str:
    """Say what agrees, what does not, and whose the lead is."""
    agrees = ", ".join(words for words, _tone in lead.agrees)
    differs = ", ".join(lead.differs.values())
    if lead.unmatched_status == UnmatchedStatus.IGNORED:
        whose = _("set aside by a person")
    elif lead.person_key is None:
        whose = _("nobody's yet")
    elif lead.person_key == keys.person_key:
        whose = _("linked to this driver's person")
    else:
        whose = _("linked to %(who)s") % {"who": lead.person_name or lead.person_key}
    told = {"agrees": agrees, "differs": differs, "whose": whose}
    if differs:
        return _("%(agrees)s; but it differs in: %(differs)s; %(whose)s.") % told
    return _("%(agrees)s, and nothing differs; %(whose)s.") % told


register(
    Kind(
        code=CaseKind.ORPHAN,
        causes="canon.orphan_causes",
        choices=choices,
        title=title,
        why=why,
        evidence=sections,
        candidates=candidates,
        causes_in_words={
            **dict(OrphanReason.choices),
            PURGED_WITH_LEAD: gettext_lazy("Purged, and a lead came since"),
        },
    )
)
