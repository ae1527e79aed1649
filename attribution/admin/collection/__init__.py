"""Screens of collection: claims with their sums and their story, payments, rules; only rules can be changed."""

from attribution.admin.collection import claims, home, payments, rules

__all__ = ["claims", "home", "payments", "rules"]
