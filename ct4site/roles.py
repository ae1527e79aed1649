"""Who may what: the roles of CT4 and the rights of each (domain.md 13.6, decisions: roles of 13.6).

This table is the rule; groups of the database follow it after every ``migrate``. The code asks for these rights:

| right | asked by |
|---|---|
| ``view_…`` | the list and the pages of a screen, its files and sums, its panel and search on the start page |
| ``identity.view_pii`` | every page: phones, licences and documents in full, and the searches that find by them |
| ``identity.reveal_pii`` | the button that shows those of one page once, on record; without either right they stay masked |
| ``ct4site.run_jobs`` | starting a run, now or through the queue |
| ``ct4site.roll_back_run`` | proposing to roll a run back, and a dry run of it |
| ``ct4site.decide_case`` | holding and deciding cases, taking decisions back |
| ``ct4site.approve_proposal`` | approving or refusing what another person proposed |
| ``attribution.add_…rule``, ``attribution.change_…rule`` | a new version of what the partner owes or a scout gets |
| ``attribution.close_settlement`` | closing a settlement period; today that is a command, which asks whoever runs it nothing |
| ``auth.…`` | users, and groups beside the roles |

Everything else that Django made rights for is asked by nothing, and no role has it. Of an account only a superuser may
change what is above every role: that it is a superuser, and rights given to it alone (``ct4site/admin.py``).
"""

from __future__ import annotations

from typing import Any

from django.apps import apps as present_apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission
from django.db import DEFAULT_DB_ALIAS, models
from django.utils.translation import gettext_lazy as _

from ct4site import privacy


class Role(models.TextChoices):
    """Stored names of the groups that are roles."""

    VIEWER = "viewer", _("Viewer")
    REVIEWER = "reviewer", _("Reviewer")
    APPROVER = "approver", _("Approver")
    OPERATOR = "operator", _("Operator")
    SETTLEMENT = "settlement", _("Settlement")
    ADMIN = "admin", _("Administrator")


def _may(verb: str, app: str, *names: str) -> frozenset[str]:
    """Return the rights to do something with models of an app, as ``app.verb_model``."""
    return frozenset(f"{app}.{verb}_{name}" for name in names)


SCREENS = (
    _may("view", "ct4site", "run", "auditentry", "reviewcase", "decision", "proposal")
    | _may("view", "identity", "person", "link", "unmatched", "driverindexentry", "origin", "originchange", "leadevent")
    | _may("view", "orphans", "quarantineddriver", "quarantinechange")
    | _may("view", "attribution", "ledgerentry", "scoutconflict", "backlogperson", "scout", "possiblesameperson")
    | _may("view", "attribution", "linksbackfillentry", "ledgerbackfillentry", "eventsbackfillentry", "attributionday")
    | _may("view", "attribution", "claimincollection", "claim", "claimcomparison", "yangopayment", "paymentstate")
    | _may("view", "attribution", "partnerpaymentrule", "scoutpaymentrule")
    | _may("view", "attribution", "settlementperiod", "settlementline", "statementitem", "scoutpayment")
    | _may("view", "recovery", "identitygap", "gapalert", "gapcase", "matchingjob", "recoveredlead", "recoveryimpact")
    | _may("view", "recovery", "gapday", "redfigureday")
)
# Rows as other systems delivered them. Whoever decides about a person has to see what was delivered.
SOURCES = _may(
    "view", "identity", "cabinetlead", "manuallead", "scoutingregistration", "migrationrecord", "driver",
    "cabinetpayment", "scoutlistentry",
)  # fmt: skip
DECIDES = frozenset({"ct4site.decide_case"})
APPROVES = frozenset({"ct4site.approve_proposal"})
SEES, REVEALS = frozenset({privacy.VIEW}), frozenset({privacy.REVEAL})
RUNS = frozenset({"ct4site.run_jobs", "ct4site.roll_back_run"})
MONEY = (
    _may("add", "attribution", "partnerpaymentrule", "scoutpaymentrule")
    | _may("change", "attribution", "partnerpaymentrule", "scoutpaymentrule")
    | {"attribution.close_settlement"}
)
ACCOUNTS = _may("view", "axes", "accessattempt", "accessfailurelog", "accesslog").union(
    *(_may(verb, "auth", "user", "group") for verb in ("view", "add", "change", "delete"))
)

RIGHTS: dict[Role, frozenset[str]] = {
    Role.VIEWER: SCREENS,
    Role.REVIEWER: SCREENS | SOURCES | SEES | DECIDES,
    Role.APPROVER: SCREENS | REVEALS | APPROVES,
    Role.OPERATOR: SCREENS | REVEALS | RUNS,
    Role.SETTLEMENT: SCREENS | REVEALS | MONEY,
    Role.ADMIN: SCREENS | SOURCES | SEES | DECIDES | APPROVES | RUNS | MONEY | ACCOUNTS,
}


def role_label(name: str) -> str:
    """Return a group in words, its stored name behind; the name alone for a group that is no role."""
    return f"{Role(name).label} ({name})" if name in Role.values else name


def keep_roles(*, using: str = DEFAULT_DB_ALIAS, apps: Any = present_apps, **kwargs: Any) -> None:
    """After ``migrate`` or ``flush``: make the groups of all roles, each with exactly its rights of those that exist.

    Django makes the rights of an app only after this; where some are missing they are made here. Before all apps are
    migrated a role has what there is so far.
    """
    try:
        groups = apps.get_model("auth", "Group")._default_manager.using(using)
        stored = apps.get_model("auth", "Permission")._default_manager.using(using)
    except LookupError:
        return
    wanted = frozenset().union(*RIGHTS.values())
    found = _keys_of(stored, wanted)
    if len(found) < len(wanted):
        for label in sorted({right.partition(".")[0] for right in wanted}):
            create_permissions(present_apps.get_app_config(label), verbosity=0, using=using, apps=apps)
        found = _keys_of(stored, wanted)
    present: dict[str, set[int]] = {}
    for name, key in groups.filter(name__in=Role.values).values_list("name", "permissions"):
        present.setdefault(name, set()).add(key)
    for role, rights in RIGHTS.items():
        keys = {found[right] for right in rights if right in found}
        if present.get(role) != keys:
            group, _is_new = groups.get_or_create(name=role.value)
            group.permissions.set(keys)


def _keys_of(stored: models.Manager[Permission], rights: frozenset[str]) -> dict[str, int]:
    """Return the keys of rights that are stored."""
    rows = stored.filter(codename__in={right.partition(".")[2] for right in rights}).values_list(
        "content_type__app_label", "codename", "pk"
    )
    return {f"{app}.{codename}": key for app, codename, key in rows if f"{app}.{codename}" in rights}
