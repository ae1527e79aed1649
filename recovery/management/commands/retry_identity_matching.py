"""Match unresolved cabinet leads again (runbook RB4)."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from ct4site.models import JobType
from identity.commands import DatedCommand
from recovery.commands import LimitedCommand
from recovery.models import GapReason, RiskLevel


class Command(LimitedCommand, DatedCommand):
    job_code = JobType.GAP_RECOVERY

    @property
    def help(self) -> str:  # type: ignore[override]
        return _("Matches lost leads again when something about them changed, and records what came back.")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--risk-level", choices=RiskLevel.values, help=_("Only leads of this risk."))
        parser.add_argument(
            "--gap-reason",
            choices=[reason for reason in GapReason.values if reason != GapReason.RESOLVED],
            help=_("Only leads that lack this."),
        )

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        return super().parameters(options) | {name: options[name] for name in ("risk_level", "gap_reason")}
