"""Screens of attribution: ledger, conflicts, backlog, scouts, audits, and what they add elsewhere. All read-only."""

from attribution.admin import audits, backlog, conflicts, home, ledger, persons, runs, scouts

__all__ = ["audits", "backlog", "conflicts", "home", "ledger", "persons", "runs", "scouts"]
