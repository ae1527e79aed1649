"""The start page: what needs attention, and one search over everything.

Each app adds its panels and searches; what a person may not see is left out by the function that would show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest

from ct4site import privacy
from ct4site.admin_base import classify_query


@dataclass(frozen=True)
class Panel:
    """A titled list of rows; a row is its cells, the first one usually a link."""

    title: Any
    rows: Sequence[Sequence[Any]] = field(default_factory=list)
    note: Any = ""


Panels = Callable[[HttpRequest], Panel | None]
Searches = Callable[[HttpRequest, Mapping[str, Any]], Panel | None]

_PANELS: list[tuple[int, Panels]] = []
_SEARCHES: list[tuple[int, Searches]] = []


def panel(place: int) -> Callable[[Panels], Panels]:
    """Register a function of the request that returns a panel of the start page, or None; low places come first."""

    def register(function: Panels) -> Panels:
        _PANELS.append((place, function))
        return function

    return register


def search(place: int) -> Callable[[Searches], Searches]:
    """Register a function of the request and the keys of ``classify_query`` that returns what it found, or None."""

    def register(function: Searches) -> Searches:
        _SEARCHES.append((place, function))
        return function

    return register


def panels(request: HttpRequest) -> list[Panel]:
    """Return the panels this user sees, in order."""
    made = (function(request) for _place, function in sorted(_PANELS, key=lambda item: item[0]))
    return [item for item in made if item is not None]


def results(request: HttpRequest, text: str) -> list[Panel]:
    """Return what the searches found for a text, the empty ones left out."""
    keys = privacy.searchable(classify_query(text))
    if not keys:
        return []
    found = (function(request, keys) for _place, function in sorted(_SEARCHES, key=lambda item: item[0]))
    return [item for item in found if item is not None and item.rows]
