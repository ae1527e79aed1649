"""How the identity gap and its retries stand (runbook RB4, "Script de Verificación")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from ct4site.commands import DiagnosisCommand
from recovery.diagnosis import diagnose, in_words


class Command(DiagnosisCommand):
    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Shows which leads are lost and why, and how matching them again goes. Changes nothing.")

    def diagnose(self) -> dict[str, Any]:
        return diagnose()

    def in_words(self, figures: Mapping[str, Any]) -> Iterable[tuple[str, list[tuple[str, Any]]]]:
        return in_words(figures)
