"""Screens of orphans: drivers without lead, their history, and what they add to the start page. All read-only."""

from orphans.admin import home, quarantine, runs

__all__ = ["home", "quarantine", "runs"]
