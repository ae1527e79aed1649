"""Links that a person makes, moves and takes away: one record or one driver at a time (promises P4 and P7).

Rules link what is certain; these functions link what somebody decided, with the same statement (sql/jobs/
identity_apply.sql), under the rule MANUAL. All must run inside a transaction in the turn of identity's writers, put
everything they write down to one run, and raise ``Unacceptable`` with a sentence when it cannot be done.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _
from psycopg2 import sql

from ct4site import sqlfiles
from ct4site.admin_base import LARGEST_ID, whole_number
from ct4site.jobs import counted, statement, statements
from ct4site.review.kinds import Unacceptable
from identity import signals
from identity.jobs import FEEDS, apply_decisions
from identity.models import Link, SourceTable

VIEWS = dict(FEEDS.values())
"""The staging view of each lead table."""


def person_of(source_table: str, source_pk: str) -> uuid.UUID | None:
    """Return the person a record or a driver (source table ``drivers``) is linked to; None when to nobody."""
    links = Link.objects.filter(source_table=source_table, source_pk=source_pk)
    return links.values_list("person_id", flat=True).first()


def link_record(
    *, source_table: str, source_pk: str, person_key: uuid.UUID, driver_id: str | None = None,
    is_new_person: bool = False, run_id: int, actor: str, reason: str,
) -> set[uuid.UUID]:  # fmt: skip
    """Link a lead record that has no link to a person, and the driver it leads to beside it (domain.md 5.6, 6.1).

    With ``is_new_person`` the person is made under the given key, from the driver's data, else the record's, and
    marked as made by hand. An open unmatched row is resolved, the event follows, so does the origin if rules decided
    it. Returns the persons touched.
    """
    facts = _facts(source_table, source_pk, person_key, driver_id)
    if facts["record"] is not None:
        raise Unacceptable(_("This record is linked to a person already."))
    if facts["is_set_aside"]:
        raise Unacceptable(_("This record was set aside for good. Take that decision back first."))
    if is_new_person == facts["has_person"]:
        raise Unacceptable(_("This person does not exist.") if not is_new_person else _("This person exists already."))
    links_driver = driver_id is not None and facts["driver"] is None
    _refuse_driver_of_others(facts, person_key)
    if links_driver and not facts["has_driver"]:
        raise Unacceptable(_("The drivers feed has no driver %(driver)s.") % {"driver": driver_id})
    _refuse_crowd(facts, 2 if links_driver else 1)
    keys = {"source_table": source_table, "source_pk": source_pk, "person_key": person_key, "driver_id": driver_id}
    told: dict[str, Any] = {"run_id": run_id, "actor": actor, "reason": reason}
    parts = ["review_link_record", *(["review_link_person"] if is_new_person else []), "identity_8_origins"]
    found = statements(
        [*parts, "review_link_plan", "review_link_found"],
        keys | told | {"is_new": is_new_person},
        view=sql.Identifier("canon", VIEWS[source_table]),
        narrowed=_rows_of(source_table, source_pk, facts["delivered"]),
    )
    if not found[0]:
        raise Unacceptable(_("The feed no longer has this record."))
    counts = apply_decisions(sql.SQL("linking"), 0, 1, by_hand=True, **told)
    if counts["skipped_changed_since_plan"]:
        _refuse_refused({person_key}, source_table, source_pk, driver_id)
        raise Unacceptable(_("Somebody else changed this record just now. Look at it again."))
    _refuse_refused({person_key})
    _announce({person_key}, run_id, actor)
    return {person_key}


def move_record(
    *, source_table: str, source_pk: str, person_key: uuid.UUID, with_drivers: bool = False, run_id: int, actor: str,
    reason: str,
) -> set[uuid.UUID]:  # fmt: skip
    """Move the link of a lead record to another person; its event goes along, the origins of both follow.

    The other person keeps its other links. If only drivers were left to it they must go along (``with_drivers``): a
    driver belongs to nobody without a lead (domain.md 9.10). Returns the persons touched.
    """
    facts = _facts(source_table, source_pk, person_key, None)
    if facts["record"] is None:
        raise Unacceptable(_("This record is linked to nobody."))
    former = uuid.UUID(facts["record"]["person_key"])
    _refuse_target(facts, former, person_key)
    drivers = facts["former"]["drivers"] if facts["former"]["leads"] == 0 else 0
    if drivers and not with_drivers:
        raise Unacceptable(_("Its person would keep drivers and have no lead. Move the drivers along."))
    _refuse_crowd(facts, 1 + drivers)
    scope = "links.id = %(link_id)s"
    if drivers:
        scope = f"({scope} or (links.person_key = %(former)s::uuid and links.source_table = 'drivers'))"
    told: dict[str, Any] = {"run_id": run_id, "actor": actor, "reason": reason}
    _move(scope, {"link_id": facts["record"]["link_id"], "former": former, "person_key": person_key} | told)
    _refuse_refused({person_key})
    persons = [former, person_key]
    statement("review_origins_of", {"persons": persons})
    statement("identity_8_origins", {})
    counted("review_origins_apply", told)
    signals.lead_links_moved.send(None, persons=[former])
    _announce({person_key}, run_id, actor)
    return set(persons)


def move_driver(
    *, driver_id: str, person_key: uuid.UUID, run_id: int, actor: str, reason: str
) -> set[uuid.UUID]:  # fmt: skip
    """Move the link of a driver to a person who has a lead (domain.md 9.10). Returns the persons touched."""
    facts = _facts(None, None, person_key, driver_id)
    if facts["driver"] is None:
        raise Unacceptable(_("This driver is linked to nobody."))
    former = uuid.UUID(facts["driver"]["person_key"])
    _refuse_target(facts, former, person_key)
    if not facts["person"]["leads"]:
        raise Unacceptable(_("This person has no lead, and a driver belongs to nobody without a lead."))
    _refuse_crowd(facts, 1)
    told: dict[str, Any] = {"run_id": run_id, "actor": actor, "reason": reason}
    _move("links.id = %(link_id)s", {"link_id": facts["driver"]["link_id"], "person_key": person_key} | told)
    _refuse_refused({person_key})
    _announce({person_key}, run_id, actor)
    return {former, person_key}


def detach_driver(*, driver_id: str, run_id: int, actor: str, reason: str) -> set[uuid.UUID]:
    """Take the link of a driver away; its person keeps the rest. Returns the person touched."""
    facts = _facts(None, None, None, driver_id)
    if facts["driver"] is None:
        raise Unacceptable(_("This driver is linked to nobody."))
    statement(
        "review_detach_driver", {"driver_id": driver_id, "run_id": run_id, "actor": actor, "reason": reason}
    )  # fmt: skip
    return {uuid.UUID(facts["driver"]["person_key"])}


def refuse(
    *, source_table: str, source_pk: str, driver_id: str | None = None, person_key: uuid.UUID | None = None,
    run_id: int, actor: str, reason: str,
) -> set[uuid.UUID]:  # fmt: skip
    """Say that a lead record is never this driver, or never this person (exactly one is given); reliability F30.

    Every job respects it for ever: who is left may be linked. A refused driver refuses its person too. Returns nobody:
    no link changes.
    """
    facts = _facts(source_table, source_pk, person_key, driver_id)
    other = str(person_key) if person_key else (facts["driver"] or {}).get("person_key")
    if facts["record"] is not None and facts["record"]["person_key"] == other:
        raise Unacceptable(_("This record is linked to that person. Move it to the right one instead."))
    keys = {"source_table": source_table, "source_pk": source_pk, "driver_id": driver_id, "person_key": person_key}
    told = counted("review_refuse", keys | {"run_id": run_id, "actor": actor, "reason": reason})
    if not told["refused"]:
        raise Unacceptable(_("That was refused already."))
    return set()


def set_aside(*, source_table: str, source_pk: str, run_id: int, actor: str, reason: str) -> set[uuid.UUID]:
    """Set an open unmatched record aside for good (status IGNORED): no job tries it again. Returns nobody."""
    keys = {"source_table": source_table, "source_pk": source_pk}
    told = counted("review_set_aside", keys | {"run_id": run_id, "actor": actor, "reason": reason})
    if not told["set_aside"]:
        raise Unacceptable(_("This record is not among the open ones any more."))
    return set()


# --- what cannot be ---------------------------------------------------------------------------------


def _facts(
    source_table: str | None, source_pk: str | None, person_key: uuid.UUID | None, driver_id: str | None
) -> dict[str, Any]:
    if source_table is not None and source_table not in VIEWS:
        raise Unacceptable(_("Only records of leads can be linked by hand."))
    keys = {"source_table": source_table, "source_pk": source_pk, "person_key": person_key, "driver_id": driver_id}
    return counted("review_link_facts", keys)


def _refuse_target(facts: dict[str, Any], former: uuid.UUID, person_key: uuid.UUID) -> None:
    if former == person_key:
        raise Unacceptable(_("It belongs to this person already."))
    if not facts["has_person"]:
        raise Unacceptable(_("This person does not exist."))


def _refuse_driver_of_others(facts: dict[str, Any], person_key: uuid.UUID) -> None:
    if facts["driver"] is not None and uuid.UUID(facts["driver"]["person_key"]) != person_key:
        raise Unacceptable(
            _("The driver belongs to another person. Link the record to that person, or move the driver.")
        )


def _refuse_crowd(facts: dict[str, Any], more: int) -> None:
    limit = settings.PERSON_SOURCE_LIMIT
    if facts["person"]["records"] + more > limit:
        raise Unacceptable(
            _("A person may have %(limit)d records; this one has %(records)d. Look at them first.")
            % {"limit": limit, "records": facts["person"]["records"]}
        )


_REFUSED = """
select exists (
    select 1
    from canon.refused_matches as refusals
    inner join canon.identity_links as links
        on links.source_table = refusals.source_table and links.source_pk = refusals.source_pk
    where links.person_key = any(%(persons)s) and refusals.person_key = links.person_key
) or exists (
    select 1
    from canon.refused_matches as refusals
    where refusals.source_table = %(source_table)s and refusals.source_pk = %(source_pk)s
        and (refusals.person_key = any(%(persons)s) or refusals.driver_id = %(driver_id)s)
)
"""


def _refuse_refused(
    persons: set[uuid.UUID], source_table: str | None = None, source_pk: str | None = None, driver_id: str | None = None
) -> None:
    """Raise when persons hold a record now, or would get the given one, that somebody said is not them."""
    keys = {"persons": sorted(persons), "source_table": source_table, "source_pk": source_pk, "driver_id": driver_id}
    with connection.cursor() as cursor:
        cursor.execute(_REFUSED, keys)
        if cursor.fetchone()[0]:
            raise Unacceptable(_("Somebody decided that the record is not this person. Take that decision back first."))


# --- writing ----------------------------------------------------------------------------------------


def _rows_of(source_table: str, source_pk: str, delivered: list[int]) -> sql.Composable:
    """Return the condition on the numbers of the rows that a record can be; nothing where its name does not tell.

    ``delivered`` are the rows of cabinet leads with that external id.
    """
    number = whole_number(source_pk.removeprefix("row:").removeprefix("manual:"), LARGEST_ID)
    rows = [] if number is None else [number, -number]
    if source_table == SourceTable.CABINET:
        rows = [*rows, *delivered]
        # Blanks around an external id are no part of the record's name: such rows are not found by it.
        if not rows or (number is not None and source_pk == str(number) and not delivered):
            return sql.SQL("")
    return sql.SQL("and records.row_id = any({})").format(sql.Literal(rows))


def _move(scope: str, parameters: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(sqlfiles.load("review_move_links")).format(scope=sql.SQL(scope)), parameters)


def _announce(persons: set[uuid.UUID], run_id: int, actor: str) -> None:
    listed = sql.SQL("select unnest({}::uuid[]) as person_key").format(
        sql.Literal([str(key) for key in sorted(persons)])
    )
    signals.announce_lead_links(listed, run_id=run_id, actor=actor)
