"""Screens of recovery: gaps, cases, retries, recovered leads, impact, figures by day, alerts. All read-only."""

from recovery.admin import alerts, cases, days, gaps, home, impact, persons, recovered, retries, runs

__all__ = ["alerts", "cases", "days", "gaps", "home", "impact", "persons", "recovered", "retries", "runs"]
