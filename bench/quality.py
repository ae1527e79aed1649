"""How many links are right, and how many of those that can be made were made, against the truth of a made-up world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from django.db import connection

from bench.worlds import Truth

CABINET, SCOUTING = "module_ct_cabinet_leads", "module_ct_scouting_daily"
Links = Mapping[tuple[str, str], str]  # lead record -> driver_id it was linked by


class Score(NamedTuple):
    """Quality over the records of one feed."""

    precision: float
    recall: float


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
