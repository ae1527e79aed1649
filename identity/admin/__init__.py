"""Screens of identity: persons, matching, source tables, and what identity adds to the start page. All read-only."""

from identity.admin import home, matching, persons, runs, sources

__all__ = ["home", "matching", "persons", "runs", "sources"]
