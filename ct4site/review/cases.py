"""Cases: opened for every cause, closed when it is gone, leased while somebody looks (reliability F21)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Now
from psycopg2 import sql

from ct4site.jobs import counted
from ct4site.models import CaseStatus, Proposal, ReviewCase
from ct4site.review import kinds

KEYS = sql.SQL("%(keys)s::text[]")
NO_MONEY = sql.SQL("(select null::uuid as person_key, 0::numeric as amount where false)")


def refresh(kind: str | None = None, keys: list[str] | None = None) -> dict[str, Any]:
    """Open, update and close cases: all, or those of some subjects of one kind. Must run inside a transaction.

    Returns how many ``causes`` there are, and how many cases were ``opened``, ``changed`` and ``closed``.
    """
    wanted = [found for found in kinds.kinds() if kind in (None, found.code)]
    causes = sql.SQL("\nunion all\n").join(
        sql.SQL(
            "select {}::text as kind, subject_key, person_key, driver_id, raised_by, since, signature, cause_digest"
            " from {}"
        ).format(sql.Literal(str(found.code)), _causes(found, narrowed=keys is not None))
        for found in wanted
    )
    cases = sql.SQL(
        "select id, kind, subject_key from ops.review_cases where status = 'OPEN' and kind = any({})"
    ).format(sql.Literal([str(found.code) for found in wanted])) + (
        sql.SQL("" if keys is None else " and subject_key = any({})").format(KEYS)
    )
    declared = kinds.declared_consequences()
    return counted(
        "review_refresh",
        {"due_days": settings.REVIEW_DUE_DAYS, "per_day": settings.REVIEW_CASES_PER_DAY, "keys": keys},
        causes=causes,
        cases=cases,
        money=sql.Identifier(*declared.money.split(".")) if declared else NO_MONEY,
    )


def _causes(kind: kinds.Kind, *, narrowed: bool) -> sql.Composable:
    """Return the view of a kind's causes, all of them or those of the subjects in the parameter ``keys``."""
    view = sql.Identifier(*kind.causes.split("."))
    return sql.SQL("{} where {}").format(view, sql.SQL(kind.narrowed_by).format(keys=KEYS)) if narrowed else view


def cause_digest(case: ReviewCase) -> str | None:
    """Return what a case would rest on if it were brought up to date now; None when its cause is gone."""
    causes = _causes(kinds.kind_of(case), narrowed=True)
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("select cause_digest from {}").format(causes), {"keys": [case.subject_key]})
        row = cursor.fetchone()
    return None if row is None else str(row[0])


def refresh_of_persons(persons: Collection[uuid.UUID]) -> None:
    """Bring the open cases of persons up to date after something about them was decided; inside a transaction."""
    found: dict[str, list[str]] = {}
    rows = ReviewCase.objects.filter(person_key__in=persons, status=CaseStatus.OPEN).values_list("kind", "subject_key")
    for kind, key in rows:
        found.setdefault(kind, []).append(key)
    for kind, keys in found.items():
        refresh(kind, keys)


# --- due days ---------------------------------------------------------------------------------------

_PUT_OFF = """
update ops.review_cases
set due_on = canon.add_business_days(greatest(due_on, (now() at time zone 'America/Lima')::date), %(days)s)
where id = %(case)s
returning due_on
"""

# A decision stands when none of its reversals does: those above it are an even number. The last one that put the case
# off and stands says when it is due; without any, it is due when it was before the first.
_RESTORE_DUE_DAY = """
with recursive chains as (
    select decisions.id, decisions.id as last_id, 0 as depth
    from ops.review_decisions as decisions
    where decisions.case_id = %(case)s and decisions.due_after is not null
    union all
    select chains.id, undone.id, chains.depth + 1
    from chains
    inner join ops.review_decisions as undone on undone.reverses_id = chains.last_id
),

put_offs as (
    select chains.id, decisions.due_before, decisions.due_after, max(chains.depth) %% 2 = 0 as stands
    from chains
    inner join ops.review_decisions as decisions on decisions.id = chains.id
    group by chains.id, decisions.due_before, decisions.due_after
)

update ops.review_cases
set due_on = coalesce(
    (select put_offs.due_after from put_offs where put_offs.stands order by put_offs.id desc limit 1),
    (select put_offs.due_before from put_offs order by put_offs.id limit 1)
)
where id = %(case)s and exists (select 1 from put_offs)
"""


def put_off(case: ReviewCase) -> dict[str, Any]:
    """Let a case be due later; return the columns of a decision that tell since when and until when."""
    with connection.cursor() as cursor:
        cursor.execute(_PUT_OFF, {"case": case.pk, "days": settings.REVIEW_DUE_DAYS})
        return {"due_before": case.due_on, "due_after": cursor.fetchone()[0]}


def restore_due_day(case: ReviewCase) -> None:
    """Let a case be due when the decisions that still stand say, after one was taken back."""
    with connection.cursor() as cursor:
        cursor.execute(_RESTORE_DUE_DAY, {"case": case.pk})


# --- leases -----------------------------------------------------------------------------------------

# The clock is the database's. Whoever holds more than the cap has to let go of one first.
_LEASE = """
update ops.review_cases as cases
set leased_to_id = %(user)s,
    leased_since = case when cases.leased_to_id = %(user)s then cases.leased_since else now() end,
    leased_until = now() + make_interval(secs => %(seconds)s)
where cases.id = %(case)s and cases.status = 'OPEN'
    and (cases.leased_to_id is null or cases.leased_to_id = %(user)s or cases.leased_until < now())
    and (
        cases.leased_to_id = %(user)s
        or (
            select count(*) from ops.review_cases as others
            where others.leased_to_id = %(user)s and others.leased_until >= now() and others.id <> cases.id
        ) < %(cap)s
    )
returning cases.*
"""

NO_LEASE: dict[str, Any] = {"leased_to": None, "leased_since": None, "leased_until": None}


def leased(case_id: int, user: User) -> ReviewCase | None:
    """Take or renew the lease of an open case; return the case, locked until the transaction ends, or None.

    Not while somebody else's lease runs, nor beyond ``REVIEW_LEASES_PER_USER`` cases at once.
    """
    asked = {
        "user": user.pk, "case": case_id, "seconds": settings.REVIEW_LEASE_SECONDS,
        "cap": settings.REVIEW_LEASES_PER_USER,
    }  # fmt: skip
    for case in ReviewCase.objects.raw(_LEASE, asked):
        case.leased_to = user
        return case
    return None


def lease(case_id: int, user: User) -> bool:
    """Take or renew the lease of an open case as ``leased``; return whether the user holds it now."""
    return leased(case_id, user) is not None


def release(case_id: int, user: User) -> None:
    """Let go of a case; nothing happens when the user does not hold it."""
    ReviewCase.objects.filter(pk=case_id, leased_to=user).update(**NO_LEASE)


def freeze(case_ids: Collection[int]) -> None:
    """Keep cases for a second person: nobody holds them, nobody and no job changes them until the answer."""
    ReviewCase.objects.filter(pk__in=case_ids).update(is_frozen=True, **NO_LEASE)


def frozen_by(proposal: Proposal) -> list[int]:
    """Return the cases that a proposal freezes."""
    found = [case_id for case_id, _version in proposal.request.get("cases", [])]
    return found if proposal.case_id is None else [*found, proposal.case_id]


def thaw(case_ids: Collection[int]) -> None:
    """Free cases that were frozen."""
    ReviewCase.objects.filter(pk__in=case_ids, is_frozen=True).update(is_frozen=False)


def free_for(user: User) -> QuerySet[ReviewCase]:
    """Return the open cases that a user may take: nobody else looks at them, and they wait for no second person."""
    found = ReviewCase.objects.filter(status=CaseStatus.OPEN, is_frozen=False)
    return found.filter(Q(leased_to=None) | Q(leased_to=user) | Q(leased_until__lt=Now()))


def next_case(after: ReviewCase | None, user: User) -> ReviewCase | None:
    """Return the case after one in the queue's order (most money, then oldest) that is free for the user; None at its end."""
    found = free_for(user).order_by("-money_at_risk", "opened_at", "pk")
    if after is None:
        return found.first()
    # Two questions that the queue's index answers at once; asked as one it would read all that comes before.
    same = found.filter(money_at_risk=after.money_at_risk, opened_at__gte=after.opened_at)
    same = same.filter(Q(opened_at__gt=after.opened_at) | Q(pk__gt=after.pk))
    rest = found.filter(money_at_risk__lt=after.money_at_risk)
    parts = [part.annotate(turn=Value(turn)) for turn, part in enumerate((same, rest))]
    first, second = (part.order_by("-money_at_risk", "opened_at", "pk")[:1] for part in parts)
    return first.union(second, all=True).order_by("turn").first()


def siblings(case: ReviewCase) -> QuerySet[ReviewCase]:
    """Return the other open cases of the same kind and signature, in the queue's order: alike, but decided one by one."""
    found = ReviewCase.objects.filter(kind=case.kind, signature=case.signature, status=CaseStatus.OPEN)
    return found.exclude(pk=case.pk) if case.signature else found.none()
