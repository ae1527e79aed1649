"""How many links are right, and how many of those that can be made were made, against the truth of a made-up world."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from django.db import connection

from bench.worlds import ScoutTruth, Truth

CABINET, SCOUTING = "module_ct_cabinet_leads", "module_ct_scouting_daily"
Links = Mapping[tuple[str, str], str]  # lead record -> driver_id it was linked by


class Score(NamedTuple):
    """Quality over the records of one feed."""

    precision: float
    recall: float


class ScoutScore(NamedTuple):
    """Quality of the scouts that persons were given."""

    wrong: int
    disputed: int
    recall: float
    recall_of_all: float


def stored_links() -> dict[tuple[str, str], str]:
    """Return the lead links in the database, each with the driver account that is its evidence."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select source_table, source_pk, evidence ->> 'driver_id' from canon.identity_links"
            " where source_table <> 'drivers'"
        )
        return {(table, key): driver for table, key, driver in cursor.fetchall()}


def repaired_drivers() -> set[str]:
    """Return the drivers that were found without a lead and got one."""
    with connection.cursor() as cursor:
        cursor.execute("select driver_id from canon.driver_orphan_quarantine where status = 'resolved_relinked'")
        return {row[0] for row in cursor.fetchall()}


def scouts() -> dict[tuple[str, str], int]:
    """Return the lead records whose person has a scout in the ledger, each with that scout."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select links.source_table, links.source_pk, ledger.attributed_scout_id"
            " from canon.identity_links as links"
            " inner join observational.lead_ledger as ledger on ledger.person_key = links.person_key"
            " where ledger.attributed_scout_id is not null and not exists ("
            "   select 1 from canon.possible_same_persons as suspected"
            "   where suspected.status = 'open' and ledger.person_key in (suspected.person_a_id, suspected.person_b_id))"
        )
        return {(table, key): scout for table, key, scout in cursor.fetchall()}


def claims() -> set[tuple[str, int]]:
    """Return what the partner owes, by account and milestone."""
    with connection.cursor() as cursor:
        cursor.execute("select driver_id, milestone from canon.claims_yango_cabinet_14d")
        return set(cursor.fetchall())


def claims_with_a_key() -> set[tuple[str, str]]:
    """Return the records of scouts' claims that have a usable key: a phone, a licence, or a driver of the feed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select 'module_ct_scouting_daily', source_pk from canon.stg_scouting_daily"
            " where license_is_clean or (phone_norm is not null and not phone_is_weak)"
            " union all"
            " select 'module_ct_migrations', source_pk from canon.stg_migrations as records"
            " inner join canon.drivers_index as drivers on drivers.driver_id = records.driver_id"
        )
        return set(cursor.fetchall())


def scout_score(claims: Mapping[str, ScoutTruth], truth: Truth) -> ScoutScore:
    """Judge the scouts in the database.

    A scout is right for a human when he is the truth's winner. Whoever is suspected to be another person too is blocked
    and counts as without scout. Recall asks, of the humans whom no two scouts claim within the window and one on a
    record with a usable key, how many have the right scout; the other figure asks it of all humans without dispute.
    """
    given: dict[str, set[int]] = defaultdict(set)
    for record, scout in scouts().items():
        if record in truth.leads:
            given[truth.leads[record].person].add(scout)
    disputed = {human for human, claim in claims.items() if claim.is_disputed}
    undisputed = {human: claim.winner for human, claim in claims.items() if human not in disputed}
    reachable = {truth.leads[record].person for record in claims_with_a_key() if record in truth.leads}
    right = {human for human, winner in undisputed.items() if given.get(human) == {winner}}
    return ScoutScore(
        wrong=sum(bool(found - {undisputed.get(human)}) for human, found in given.items() if human not in disputed),
        disputed=sum(human in disputed for human in given),
        recall=len(right & reachable) / max(1, len(undisputed.keys() & reachable)),
        recall_of_all=len(right) / max(1, len(undisputed)),
    )


def score(links: Links, truth: Truth, feed: str) -> Score:
    """Judge the links of one feed.

    A link is right when its driver and its lead are the same true person. Recall asks, of the leads that
    a careful human could link, how many were linked rightly.
    """
    made = {
        key: truth.drivers.get(driver) == truth.leads[key].person for key, driver in links.items() if key[0] == feed
    }
    linkable = [key for key, lead in truth.leads.items() if key[0] == feed and lead.linkable]
    right = sum(made.values())
    found = sum(made.get(key, False) for key in linkable)
    return Score(right / len(made) if made else 0.0, found / len(linkable) if linkable else 0.0)
