"""Stored codes of orphans in words (domain.md 9.2 to 9.5), and the colours of their pills."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from ct4site.admin import ACTIONS
from ct4site.admin_base import pill
from orphans.models import OrphanStatus, QuarantinedDriver

ACTIONS |= {
    "quarantine_driver": _("Driver quarantined"),
    "relink_driver": _("Driver relinked"),
    "release_driver": _("Driver released"),
    "decide_driver": _("Driver decided"),
    "create_lead": _("Lead created by hand"),
}

STATUS_TONES = {
    OrphanStatus.QUARANTINED: "bad",
    OrphanStatus.RESOLVED_RELINKED: "good",
    OrphanStatus.RESOLVED_CREATED_LEAD: "good",
    OrphanStatus.PURGED: "plain",
}


class Level(NamedTuple):
    """One of the three ways by which lead records of a driver are looked for."""

    name: Promise
    how: Promise


LEVELS = {
    1: Level(pgettext_lazy("evidence", "Strong"), _("The record names the driver.")),
    2: Level(pgettext_lazy("evidence", "Medium"), _("The record has the driver's licence or phone.")),
    3: Level(pgettext_lazy("evidence", "Weak"), _("The record is held to be the driver's person.")),
}

STRATEGIES: dict[str, Promise] = {
    "driver_id_direct": _("Names the driver"),
    "both_exact": _("Same licence and phone"),
    "license_exact": _("Same licence"),
    "phone_exact": _("Same phone"),
    "person_key_match": _("Same person"),
}


class Outcome(NamedTuple):
    """What became of one piece of evidence, why, and the colour that says it."""

    name: Promise
    why: Promise
    tone: str


OUTCOMES = {
    "used": Outcome(_("Used"), _("It suffices: the record was linked to the driver's person."), "good"),
    "person_is_full": Outcome(
        _("Person is full"), _("It would suffice, but the person already has as many records as one person may have."), "warn",
    ),
    "linked_to_other_person": Outcome(
        _("Somebody else's"), _("The record is linked to another person. Who is right is for a person to decide."), "bad",
    ),
    "source_row_missing": Outcome(
        _("Row is gone"), _("There is an event, but its row is no longer in the feed."), "warn",
    ),
    "ambiguous_key": Outcome(
        _("Ambiguous"), _("The licence or phone belongs to several drivers, so it does not say which."), "warn",
    ),
    "name_contradicts": Outcome(
        _("Name contradicts"), _("The key is the same, but the names do not have a word in common."), "bad",
    ),
    "names_another_driver": Outcome(
        _("Another driver's"), _("The record names another driver, or its other key leads to one."), "bad",
    ),
    "set_aside": Outcome(_("Set aside"), _("A person decided to leave this record out."), "plain"),
    "refused": Outcome(_("Refused"), _("A person said that this record is somebody else."), "plain"),
    "person_only": Outcome(
        _("Person only"),
        _("It only carries the person's key, and nothing shows that it was matched without this driver."),
        "warn",
    ),
}  # fmt: skip

CHANGES: dict[str, Promise] = {
    "detected": _("Found without a lead"),
    "detected_again": _("Found without a lead again"),
    "relinked": _("Linked to a lead"),
    "released_by_link": _("Released: its person got a lead"),
    "reprocessed": _("Looked at again"),
    "rolled_back": _("Put back by a roll-back"),
    "decided": _("Decided by a person"),
}


def status_pill(driver: QuarantinedDriver) -> SafeString | str:
    """Return the status of a driver without lead as a pill."""
    return pill(driver.status, driver.get_status_display(), STATUS_TONES.get(OrphanStatus(driver.status)))
