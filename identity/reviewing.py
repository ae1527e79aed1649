"""What a person may decide about a lead record that no rule could link (domain.md 5.4, promises P4, P6, P7).

The kind of case is declared by recovery, which knows when such a record needs a person. Here stand its choices, its
candidates with one plain sentence each, and its evidence. A case's subject is ``source_table:source_pk``.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site.admin_base import NOTHING, Section, classify_query, lima_time
from ct4site.models import ReviewCase
from ct4site.privacy import personal, searchable
from ct4site.review.kinds import Candidate, Choice, Deciding, TargetForm, nobody, once
from identity import linking
from identity.models import DriverIndexEntry, Person, ReasonCode, Refusal, SourceTable, Unmatched

# Of the drivers that a text may mean, so many are named.
NAMED = 5

Target = Mapping[str, Any]


def record_of(case: ReviewCase) -> tuple[str, str]:
    """Return (source_table, source_pk) of a case."""
    table, _colon, key = case.subject_key.partition(":")
    return table, key


def unmatched_of(case: ReviewCase) -> Unmatched | None:
    """Return the unmatched row of a case, whatever its status; read once for a page."""
    table, key = record_of(case)
    return once(case, "unmatched", Unmatched.objects.filter(source_table=table, source_pk=key).first)


# --- what is chosen ---------------------------------------------------------------------------------


class WhomForm(TargetForm):
    """Asks for a driver or a person by anything that is known of them; the target holds the one that was meant."""

    driver_id = forms.CharField(
        label=gettext_lazy("Driver or person"),
        max_length=200,
        help_text=gettext_lazy("Driver, person key, phone, licence, plate or name."),
    )

    def clean_driver_id(self) -> str:
        """Return the driver or person key that the text means; a text that means none or several is refused."""
        keys = searchable(classify_query(self.cleaned_data["driver_id"].lower()))  # as the index spells accounts
        if "uuid" in keys and Person.objects.filter(pk=keys["uuid"]).exists():
            self._target = {"person_key": str(keys["uuid"])}
            return str(keys["uuid"])
        from identity.admin import finding

        found = {driver.driver_id: driver for driver in finding.drivers(keys)[: NAMED + 1]} if keys else {}
        if (exact := keys.get("text", "")) in found:
            found = {exact: found[exact]}
        if not found:
            raise forms.ValidationError(_("No driver and no person fits this. Check it, or type another key."))
        if len(found) > 1:
            names = "; ".join(
                f"{driver.full_name_norm or NOTHING} ({key})" for key, driver in list(found.items())[:NAMED]
            )
            more = _(" and more") if len(found) > NAMED else ""
            raise forms.ValidationError(
                _("This fits several drivers: %(drivers)s%(more)s. Type the driver you mean.")
                % {"drivers": names, "more": more}
            )
        (driver_id,) = found
        self._target = {"driver_id": driver_id}
        return driver_id

    def target(self) -> dict[str, Any]:
        """Return ``driver_id`` or ``person_key``."""
        return dict(self._target)


def _persons(case: ReviewCase, target: Target) -> set[uuid.UUID]:
    """Return the person that a target names, by key or by driver; nobody when the driver has none yet."""
    if target.get("person_key"):
        return {uuid.UUID(str(target["person_key"]))}
    if not target.get("driver_id"):
        return set()
    person = once(case, "person", lambda: linking.person_of(SourceTable.DRIVERS, str(target["driver_id"])))
    return {person} if person else set()


def _told(deciding: Deciding) -> dict[str, Any]:
    table, key = record_of(deciding.case)
    return {"source_table": table, "source_pk": key, **deciding.by}


def _link(deciding: Deciding) -> Collection[uuid.UUID]:
    """Link the record to the driver and the driver's person, who is made now if there is none; or to a person."""
    driver_id = deciding.target.get("driver_id")
    person = next(iter(_persons(deciding.case, deciding.target)), None)
    return linking.link_record(
        **_told(deciding),
        person_key=person or deciding.new_person_key,
        driver_id=driver_id,
        is_new_person=person is None,
    )


def _create(deciding: Deciding) -> Collection[uuid.UUID]:
    return linking.link_record(**_told(deciding), person_key=deciding.new_person_key, is_new_person=True)


def _refuse(deciding: Deciding) -> Collection[uuid.UUID]:
    key = deciding.target.get("person_key")
    return linking.refuse(
        **_told(deciding), driver_id=deciding.target.get("driver_id"), person_key=uuid.UUID(str(key)) if key else None
    )


def _set_aside(deciding: Deciding) -> Collection[uuid.UUID]:
    return linking.set_aside(**_told(deciding))


def choices(case: ReviewCase) -> list[Choice]:
    """Return what a person may decide about a record without link."""
    return [
        Choice(
            code="link_driver",
            label=gettext_lazy("It is this driver"),
            help=gettext_lazy("Links the record and the driver to one person, who is created if there is none yet."),
            apply=_link,
            persons=_persons,
            form=WhomForm,
        ),
        Choice(
            code="link_person",
            label=gettext_lazy("It is this person"),
            help=gettext_lazy("Links the record to a person who exists already."),
            apply=_link,
            persons=_persons,
            form=WhomForm,
        ),
        Choice(
            code="create_person",
            label=gettext_lazy("It is a new person"),
            help=gettext_lazy("Creates a person from the record, marked as created by hand, and links the record."),
            apply=_create,
            persons=nobody,
        ),
        Choice(
            code="refuse",
            label=gettext_lazy("Never this one"),
            help=gettext_lazy("No rule will ever link the record to this driver or person. The others stay possible."),
            apply=_refuse,
            persons=_persons,
            form=WhomForm,
            # The case goes when no rule is in doubt any more: the next run tells.
            closes=False,
        ),
        Choice(
            code="set_aside",
            label=gettext_lazy("Set aside for good"),
            help=gettext_lazy("No rule will ever try this record again."),
            apply=_set_aside,
            persons=nobody,
        ),
    ]


# --- who it may be ----------------------------------------------------------------------------------

# What a rule found equal (domain.md 5.2).
SAME: dict[str, Promise] = {
    "R1_PHONE_EXACT": gettext_lazy("Same phone"),
    "R2_LICENSE_EXACT": gettext_lazy("Same licence"),
    "R3_PLATE_EXACT_NAME_SIMILAR": gettext_lazy("Same plate"),
    "R3b": gettext_lazy("Same plate"),
    "R3C_PLATE_UNIQUE_NAME_SUBSET": gettext_lazy("Only driver with the plate, name contained"),
    "R4_CAR_FINGERPRINT_NAME_SIMILAR": gettext_lazy("Same car model"),
    "driver_direct": gettext_lazy("The record names the driver"),
    "BACKFILL_LICENSE_MATCH": gettext_lazy("Same licence"),
    "BACKFILL_PHONE_MATCH": gettext_lazy("Same phone"),
}

# What speaks against it (sql/jobs/identity_7_unmatched.sql), after that.
AGAINST: dict[str, Promise] = {
    "unique_key": gettext_lazy("%(same)s, but other drivers have it as well."),
    "room_in_person": gettext_lazy("%(same)s, but the person already has as many records as one person may have."),
    "person_of_driver": gettext_lazy("%(same)s and a similar name (%(alike)s), but this driver belongs to no person yet."),
    "agreement_of_rules": gettext_lazy("%(same)s, but another rule points to somebody else."),
    "agreeing_name": gettext_lazy("%(same)s, but the names contradict each other: %(name)s – %(other)s."),
    "key_of_its_own": gettext_lazy("%(same)s, but too many have it for it to prove anything."),
    "similar_name": gettext_lazy("%(same)s, but the names are not similar enough (%(alike)s): %(name)s – %(other)s."),
    "clear_lead": gettext_lazy("%(same)s and a similar name (%(alike)s), but another candidate is about as similar."),
}  # fmt: skip
LIKELY = frozenset({"room_in_person", "person_of_driver"})


def _entries(item: Unmatched | None) -> list[dict[str, Any]]:
    """Return the stored candidates of a record, without those that somebody refused since."""
    preview = item.candidates_preview if item is not None else None
    stored = preview.get("candidates") if isinstance(preview, dict) else None
    entries = [entry for entry in stored if isinstance(entry, dict)] if isinstance(stored, list) else []
    if item is None or not entries:
        return []
    refused = Refusal.objects.filter(source_table=item.source_table, source_pk=item.source_pk)
    never = {str(key) for pair in refused.values_list("driver_id", "person_id") for key in pair if key}
    return [e for e in entries if str(e.get("driver_id")) not in never and str(e.get("person_key")) not in never]


def candidates(case: ReviewCase) -> list[Candidate]:
    """Return who the record of a case may be, with one sentence each on why it fits or not."""
    from identity.admin.comparing import marked, marked_name, marked_personal

    item = unmatched_of(case)
    entries = _entries(item)
    if item is None or not entries:
        return []
    details = item.details if isinstance(item.details, dict) else {}
    name = details.get("name")
    drivers = DriverIndexEntry.objects.in_bulk([str(e["driver_id"]) for e in entries if e.get("driver_id")])
    persons = Person.objects.in_bulk([str(e["person_key"]) for e in entries if e.get("person_key")])
    persons_by_key = {str(key): person for key, person in persons.items()}
    found = []
    for entry in entries:
        driver = drivers.get(str(entry.get("driver_id"))) or DriverIndexEntry()
        person = persons_by_key.get(str(entry.get("person_key"))) or Person()
        theirs = driver.full_name_norm or person.primary_full_name
        facts: dict[str, tuple[Any, Any]] = {
            _("Name"): (name or NOTHING, marked_name(theirs, name)),
            _("Phone"): (
                personal(item.phone_norm) or NOTHING,
                marked_personal(driver.phone_norm or person.primary_phone, item.phone_norm),
            ),
            _("Licence"): (
                personal(item.license_norm) or NOTHING,
                marked_personal(driver.license_norm or person.primary_license, item.license_norm),
            ),
            _("Plate"): (item.plate_norm or NOTHING, marked(driver.plate_norm, item.plate_norm)),
            _("Date of the record, hire date"): (lima_time(item.snapshot_date), lima_time(driver.hire_date)),
        }  # fmt: skip
        by_driver = bool(entry.get("driver_id"))
        found.append(
            Candidate(
                title=theirs or entry.get("driver_id") or entry.get("person_key"),
                sentence=_sentence(entry, name, theirs),
                facts=facts,
                choice="link_driver" if by_driver else "link_person",
                target={"driver_id": entry["driver_id"]} if by_driver else {"person_key": entry.get("person_key")},
                is_likely=entry.get("lacked") in LIKELY,
            )
        )
    return found


def _sentence(entry: Mapping[str, Any], name: Any, other: Any) -> str:
    similarity = entry.get("similarity")
    words = {
        "same": str(SAME.get(str(entry.get("rule")), entry.get("rule") or NOTHING)),
        "alike": f"{similarity:.0%}" if isinstance(similarity, int | float) else NOTHING,
        "name": name or NOTHING,
        "other": other or NOTHING,
    }
    against = AGAINST.get(str(entry.get("lacked")))
    return str(against) % words if against else f"{words['same']}."


# --- what there is ----------------------------------------------------------------------------------


def evidence(case: ReviewCase) -> Iterable[Section]:
    """Return the sections of a case's page: the record as it was delivered, and what each rule said of it."""
    from identity.admin import labels, records

    key = record_of(case)
    row = records.source_rows([key]).get(key)
    yield Section(
        title=_("The record as delivered"),
        columns=[_("Row"), _("Columns")],
        rows=[(str(row), records.facts(row))] if row is not None else [],
        is_list=False,
    )
    item = unmatched_of(case)
    details = item.details if item is not None and isinstance(item.details, dict) else {}
    rules = details.get("rules")
    words = {"MATCH": _("Finds one driver")} | dict(ReasonCode.choices)
    yield Section(
        title=_("What each rule said"),
        columns=[_("Rule"), _("Outcome")],
        rows=[(labels.rule(rule), words.get(outcome, outcome)) for rule, outcome in sorted(rules.items())]
        if isinstance(rules, dict)
        else [],
        is_list=False,
    )
