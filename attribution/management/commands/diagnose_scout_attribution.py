"""Inventory and diagnosis of scout attribution (runbook RB0, scripts 00, 01 and 03)."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from attribution.diagnosis import diagnose
from ct4site.commands import DiagnosisCommand


class Command(DiagnosisCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Shows where scouts come from, how far they got, and what is in the way. Changes nothing.")

    def diagnose(self) -> dict[str, Any]:
        return diagnose()
