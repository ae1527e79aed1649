"""Versions of payment rules: what a change may do, and doing it with its audit (domain.md 1.5, 3.11).

A version that has begun keeps its amount: another amount is another version from a day of its own, and the one before
ends on the day before. What was claimed already is never touched.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Model, Q, QuerySet
from django.utils import timezone
from psycopg2 import sql

from attribution.models import Claim, PartnerPaymentRule, ScoutPaymentRule
from ct4site.sealing import write_without_run

Rule = PartnerPaymentRule | ScoutPaymentRule

# What makes two rows versions of one rule.
KEYS: dict[type[Model], Sequence[str]] = {
    PartnerPaymentRule: ("origin_tag", "window_days", "milestone_trips"),
    ScoutPaymentRule: ("origin_tag", "window_days", "milestone_type", "milestone_value"),
}

_AUDIT = """
insert into ops.audit_log (actor, action, reason, subject_table, subject_key, before, after)
select %(actor)s, %(action)s, %(reason)s, %(table)s, rules.id::text, %(before)s::jsonb, to_jsonb(rules)
from {table} as rules
where rules.id = %(id)s
"""


def lock() -> None:
    """Let one change of rules after the other: until the transaction ends nobody else's begins."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtext('ops.payment_rules'))")


def versions_of(rule: Rule) -> QuerySet[Any]:
    """Return all versions of a rule, withdrawn ones included, the earliest first."""
    key = {name: getattr(rule, name) for name in KEYS[type(rule)]}
    return type(rule)._default_manager.filter(**key).order_by("valid_from", "pk")


def overlapping(rule: Rule, first: datetime.date, last: datetime.date | None, but: int | None) -> Rule | None:
    """Return another active version of a rule that is valid on one of the days; ``but`` is the one not to look at."""
    others = versions_of(rule).filter(Q(valid_to=None) | Q(valid_to__gte=first), is_active=True).exclude(pk=but)
    return (others.filter(valid_from__lte=last) if last else others).first()


def gap_before(rule: Rule) -> tuple[datetime.date, datetime.date] | None:
    """Return the first and last day between a version and the one before it on which no version is valid."""
    before = versions_of(rule).filter(is_active=True, valid_from__lt=rule.valid_from).exclude(pk=rule.pk).last()
    if before is None or before.valid_to is None:
        return None
    first, last = before.valid_to + datetime.timedelta(days=1), rule.valid_from - datetime.timedelta(days=1)
    return (first, last) if first <= last else None


def claims_from(rule: Rule, day: datetime.date) -> int:
    """Return how many claims were already made under a version for leads of a day or later; they keep their amount."""
    if not isinstance(rule, PartnerPaymentRule):
        return 0
    return Claim.objects.filter(rule_id=rule.pk, lead_date__gte=day).count()


def replace(old: Rule, new: Rule, *, actor: str, reason: str) -> None:
    """Begin a version of a rule and end the one before it the day before, where they would overlap.

    Takes the stored version, the new one not saved yet, who and why. Must run inside a transaction, after ``lock``.
    """
    if old.is_active and (old.valid_to is None or old.valid_to >= new.valid_from):
        before = _row(old)
        old.valid_to = new.valid_from - datetime.timedelta(days=1)
        old.updated_at = timezone.now()
        old.save(update_fields=["valid_to", "updated_at"])
        _audit(old, "change_rule", before, actor=actor, reason=reason)
    add(new, actor=actor, reason=reason)


def add(rule: Rule, *, actor: str, reason: str) -> None:
    """Save a new version; must run inside a transaction, after ``lock``."""
    rule.pk = None
    rule._state.adding = True
    rule.created_at = rule.updated_at = timezone.now()
    rule.save(force_insert=True)
    _audit(rule, "add_rule", None, actor=actor, reason=reason)


def change(rule: Rule, *, actor: str, reason: str) -> None:
    """Save what was changed of a stored version; must run inside a transaction, after ``lock``."""
    before = _row(rule)
    rule.updated_at = timezone.now()
    rule.save()
    _audit(rule, "change_rule", before, actor=actor, reason=reason)


def _table(rule: Rule) -> sql.Identifier:
    return sql.Identifier("ops", rule._meta.db_table)


def _row(rule: Rule) -> str:
    with connection.cursor() as cursor:
        query = sql.SQL("select to_jsonb(rules)::text from {} as rules where rules.id = %s")
        cursor.execute(query.format(_table(rule)), [rule.pk])
        return str(cursor.fetchone()[0])


def _audit(rule: Rule, action: str, before: str | None, *, actor: str, reason: str) -> None:
    write_without_run(actor)
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(_AUDIT).format(table=_table(rule)),
            {
                "actor": actor, "action": action, "reason": reason, "table": rule._meta.db_table, "id": rule.pk,
                "before": before,
            },
        )  # fmt: skip
