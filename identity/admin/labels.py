"""Stored codes in words. The code stays visible beside the words: the runbooks speak in codes."""

from __future__ import annotations

from typing import Any

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from ct4site.admin_base import NOTHING

# Stored values of identity_links.match_rule (domain.md 5.2).
RULES: dict[str, Promise] = {
    "R1_PHONE_EXACT": _("Same phone"),
    "R2_LICENSE_EXACT": _("Same licence"),
    "R3_PLATE_EXACT_NAME_SIMILAR": _("Same plate, similar name"),
    "R3b": _("Same plate, similar name, any date"),
    "R3C_PLATE_UNIQUE_NAME_SUBSET": _("Only driver with the plate, name contained"),
    "R4_CAR_FINGERPRINT_NAME_SIMILAR": _("Same car model, similar name"),
    "driver_direct": _("The record names the driver"),
    "DRIVER_MATCH": _("Driver of a linked lead"),
    "MANUAL": _("Decided by a person"),
    "MANUAL_RESOLUTION": _("Linked by a person"),
    "LEAD_EVENT_RECONSTRUCTION": _("Rebuilt from a lead event"),
    "BACKFILL_LICENSE_MATCH": _("Backfill: same licence"),
    "BACKFILL_PHONE_MATCH": _("Backfill: same phone"),
    "BACKFILL_NEW_PERSON": _("Backfill: new person"),
    "RETRY_JOB": _("Later attempt"),
    "KPI_RED_RECOVERY": _("KPI red recovery"),
    "S1_S2": _("S1 and S2"),
    "R1_R2_PHONE_LICENSE_EXACT": _("Same phone and licence"),
}

# The runbooks' misspelling of a rule (decision Q4).
RULE_ALIASES = {"RT_PHONE_EXACT": "R1_PHONE_EXACT", "R3b_PLATE_NAME_NO_DATE": "R3b"}

# What a candidate lacked (sql/jobs/identity_7_unmatched.sql), as a sentence.
LACKED: dict[str, Promise] = {
    "unique_key": _("Other drivers have the same key."),
    "room_in_person": _("Its person already has as many records as one person may have."),
    "person_of_driver": _("This driver belongs to no person yet."),
    "agreement_of_rules": _("The rules point to different persons."),
    "agreeing_name": _("The key is the same, the name says otherwise."),
    "key_of_its_own": _("Too many share this key for it to prove anything."),
    "similar_name": _("The names are not similar enough."),
    "clear_lead": _("Another candidate is about as similar."),
}


def rule(code: Any) -> SafeString | str:
    """Return a rule in words with its stored code; a dash for none."""
    if not code:
        return NOTHING
    words = RULES.get(RULE_ALIASES.get(str(code), str(code)))
    return (
        format_html('{} <code class="quiet">{}</code>', words, code) if words else format_html("<code>{}</code>", code)
    )


def lacked(code: Any) -> str:
    """Return what a candidate lacked as a sentence; the stored code for one without words."""
    return str(LACKED.get(str(code), code or NOTHING))
