"""What the bench prints: one row per measurement, with its target and whether it was met."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

HEADER = ("measurement", "CT4", "beside it", "figure", "target", "verdict")
MET, MISSED, SKIPPED, SHOWN = "met", "MISSED", "skipped", ""


@dataclass
class Report:
    """Rows in the order they were measured."""

    rows: list[tuple[str, ...]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def show(self, name: str, ours: str = "", beside: str = "", figure: str = "") -> None:
        """Add a measurement without target."""
        self.rows.append((name, ours, beside, figure, "", SHOWN))

    def skip(self, name: str, why: str) -> None:
        """Add a measurement that could not be made."""
        self.rows.append((name, "", "", "", why, SKIPPED))

    def at_most(
        self, name: str, figure: float, target: float, ours: str = "", beside: str = "", form: str = "{:.2f}"
    ) -> None:
        """Add a measurement whose figure must not exceed the target."""
        self._judge(name, figure, target, "<=", figure <= target, ours, beside, form)

    def at_least(
        self, name: str, figure: float, target: float, ours: str = "", beside: str = "", form: str = "{:.4f}"
    ) -> None:
        """Add a measurement whose figure must reach the target."""
        self._judge(name, figure, target, ">=", figure >= target, ours, beside, form)

    def _judge(
        self, name: str, figure: float, target: float, sign: str, met: bool, ours: str, beside: str, form: str
    ) -> None:
        self.rows.append(
            (name, ours, beside, form.format(figure), f"{sign} {form.format(target)}", MET if met else MISSED)
        )
        if not met:
            self.missed.append(name)

    def lines(self) -> Iterator[str]:
        """Yield the report as a table that reads well on a terminal and in Markdown."""
        widths = [max(len(row[column]) for row in (HEADER, *self.rows)) for column in range(len(HEADER))]
        for row in (HEADER, tuple("-" * width for width in widths), *self.rows):
            yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


def seconds(value: float) -> str:
    """Return a duration as the table shows it."""
    return f"{value:.2f} s"


def say(text: str) -> None:
    """Tell on stderr what is being measured."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
