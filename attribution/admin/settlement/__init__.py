"""Screens of settlement: periods, lines, statements of scouts, payments. All are read-only; closing is a command."""

from attribution.admin.settlement import home, items, lines, payments, periods

__all__ = ["home", "items", "lines", "payments", "periods"]
