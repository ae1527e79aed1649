"""Stored codes of attribution in words (domain.md 6.2, 6.5, 6.8, 14.4), the colours of their pills, and scouts by name."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils import dateformat
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from attribution.models import AttributedSource, DecisionStatus, LedgerConfidence, Scout
from attribution.views_models import ConflictType
from ct4site.admin import ACTIONS
from ct4site.admin_base import NOTHING, link_to, pill, words

Names = Mapping[int, Scout]

ACTIONS |= {
    "decide_conflict": gettext_lazy("Conflict decided by a person"),
    "decide_ledger": gettext_lazy("Attribution decided"),
    "backfill_ledger": gettext_lazy("Attribution filled in"),
    "map_scout": gettext_lazy("Scout of a lead told"),
    "raise_same_person": gettext_lazy("Possible same person raised"),
    "close_same_person": gettext_lazy("Possible same person closed"),
}

# Stored values of lead_ledger.attribution_rule (domain.md 6.2, 6.7, 6.11).
RULES: dict[str, Promise] = {
    "A_FLEET": gettext_lazy("Newest migration"),
    "A": gettext_lazy("Newest registration by a scout"),
    "B": gettext_lazy("Cabinet lead only"),
    "C": gettext_lazy("Several scouts within days"),
    "U": gettext_lazy("No lead events"),
    "RESOLVED_MANUAL_CONFLICT": gettext_lazy("Decided by a person"),
    "BACKFILL_SINGLE_SCOUT_FROM_EVENTS": gettext_lazy("Filled in: the events' only scout"),
}

# Values of source_table in the view of all claims (domain.md 6.5).
SOURCES: dict[str, Promise] = {
    "observational.lead_ledger": gettext_lazy("Lead ledger"),
    "observational.lead_events": gettext_lazy("Lead event"),
    "public.module_ct_migrations": gettext_lazy("Migration"),
    "public.module_ct_scouting_daily": gettext_lazy("Scouting registration"),
    "public.module_ct_cabinet_payments": gettext_lazy("Cabinet payment"),
}

DECISION_TONES = {
    DecisionStatus.ASSIGNED: "good",
    DecisionStatus.UNASSIGNED: "plain",
    DecisionStatus.CONFLICT: "bad",
}
CONFLICT_TONES = {ConflictType.OPEN: "bad", ConflictType.HISTORICAL: "plain"}


def rule(code: Any) -> SafeString | str:
    """Return a rule in words with its stored code; a dash for none."""
    if not code:
        return NOTHING
    told = RULES.get(str(code))
    return format_html('{} <code class="quiet">{}</code>', told, code) if told else format_html("<code>{}</code>", code)


def decision(status: Any, scout_id: Any = None) -> SafeString | str:
    """Return the decision of the ledger as a pill; one that names no scout never looks good (domain.md 6.3)."""
    known = dict(DecisionStatus.choices)
    tone = DECISION_TONES.get(status, "plain")
    if status == DecisionStatus.ASSIGNED and scout_id is None:
        return pill(status, _("Source only"), "warn")
    return pill(status, known.get(status, status), tone)


def confidence(level: Any) -> SafeString | str:
    """Return a confidence level of the ledger as a pill."""
    return pill(level, dict(LedgerConfidence.choices).get(level, level))


def source(code: Any) -> str:
    """Return the attributed source in words."""
    return words(dict(AttributedSource.choices), code)


def conflict_type(code: Any) -> SafeString | str:
    """Return the kind of a conflict as a pill."""
    return pill(code, dict(ConflictType.choices).get(code, code), CONFLICT_TONES.get(code, "plain"))


def day(value: datetime.date | None) -> str:
    """Return a date as text, for sentences."""
    return dateformat.format(value, "j M Y") if value else NOTHING


# --- scouts ---------------------------------------------------------------------------------------


def scouts_by_number(numbers: Iterable[Any]) -> dict[int, Scout]:
    """Return the listed scouts among some numbers; one query, none when there are no numbers."""
    wanted = {number for number in numbers if isinstance(number, int) and not isinstance(number, bool)}
    return Scout.objects.in_bulk(wanted) if wanted else {}


def scout(number: Any, names: Names) -> SafeString | str:
    """Return a scout as number and name, linked to its page; one that is not in the list says so; a dash for none."""
    if number is None or number == "":
        return NOTHING
    known = names.get(number)
    if known is None:
        return format_html('<span class="key">{}</span> <span class="quiet small">{}</span>', number, _("not listed"))
    return link_to(known, format_html('<span class="key">{}</span> {}', number, known.scout_name_normalized))


def scout_list(numbers: Iterable[Any], names: Names) -> SafeString:
    """Return several scouts, one per line."""
    return format_html_join("", "<div>{}</div>", ((scout(number, names),) for number in numbers))


def scout_text(number: Any, names: Names) -> str:
    """Return a scout as plain text, for sentences."""
    known = names.get(number)
    values = {"number": number, "name": known.scout_name_normalized if known else ""}
    return _("scout %(number)s (%(name)s)") % values if known else _("scout %(number)s") % values


def enumeration(parts: Iterable[str]) -> str:
    """Return texts as an enumeration: a, b and c."""
    found = list(parts)
    if len(found) < 2:
        return "".join(found)
    return _("%(first)s and %(last)s") % {"first": ", ".join(found[:-1]), "last": found[-1]}
