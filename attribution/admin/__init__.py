"""Screens of attribution: ledger, conflicts, backlog, scouts, audits, collection, settlement, and additions elsewhere.

All are read-only but the rules of payment.
"""

from attribution.admin import (
    audits,
    backlog,
    collection,
    conflicts,
    home,
    ledger,
    persons,
    runs,
    same_persons,
    scouts,
    settlement,
)

__all__ = [
    "audits",
    "backlog",
    "collection",
    "conflicts",
    "home",
    "ledger",
    "persons",
    "runs",
    "same_persons",
    "scouts",
    "settlement",
]
