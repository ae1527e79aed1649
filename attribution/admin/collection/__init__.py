"""Screens of collection: claims with sums and story, comparisons, payments, rules; only rules can be changed."""

from attribution.admin.collection import claims, comparisons, home, payments, rules

__all__ = ["claims", "comparisons", "home", "payments", "rules"]
