"""The demo's chain: apps register their steps, ``manage.py demo`` performs them in order.

The kernel knows no domain app; each ``ready()`` imports the module that registers its steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse
from django.utils.functional import Promise

from ct4site import jobs
from ct4site.models import Run, RunStatus

ACTOR = "demo"

# A line of the summary: what is counted, and the count; or a heading with None.
Line = tuple[str, Any]


class DemoError(Exception):
    """The demo cannot go on; the message is a sentence for the person who started it."""


@dataclass(frozen=True)
class Demo:
    """What a step gets: the size and seed of the data set, and the folder for its files."""

    leads: int
    seed: int
    folder: Path

    def run_job(self, job_code: str, **parameters: Any) -> Run:
        """Perform a job as part of the demo; return its run. Raises ``DemoError`` unless it completed."""
        try:
            run = jobs.perform(job_code=job_code, actor=ACTOR, parameters=parameters)
        except jobs.JobError as error:
            raise DemoError(str(error)) from error
        if run.status != RunStatus.COMPLETED:
            raise DemoError(str(run.error_message))
        return run


@dataclass(frozen=True)
class Step:
    """One part of the chain."""

    order: int
    title: str | Promise
    perform: Callable[[Demo], Iterable[Line]]


_STEPS: dict[int, Step] = {}
_PLACES: list[tuple[int, str | Promise, type[Model]]] = []


def step(
    order: int, title: str | Promise
) -> Callable[[Callable[[Demo], Iterable[Line]]], Callable[[Demo], Iterable[Line]]]:
    """Register a step. It returns the lines of its summary and raises ``DemoError`` when the chain must end.

    Orders in use: identity 100 to 199, orphans 200, attribution 300, recovery 500, review 900. Running a step twice must do no harm.
    """

    def register(function: Callable[[Demo], Iterable[Line]]) -> Callable[[Demo], Iterable[Line]]:
        taken = _STEPS.get(order)
        if taken is not None and taken.perform is not function:
            raise ValueError(f"demo step {order} exists: {taken.perform.__module__}")
        _STEPS[order] = Step(order, title, function)
        return function

    return register


def steps() -> list[Step]:
    """Return all steps in their order."""
    return [_STEPS[order] for order in sorted(_STEPS)]


def look_at(order: int, sentence: str | Promise, model: type[Model]) -> None:
    """Name a screen worth looking at afterwards: the list of a model, if the administration shows it."""
    _PLACES.append((order, sentence, model))


def places() -> list[tuple[str | Promise, str]]:
    """Return the screens to look at: sentence and path."""
    return [
        (sentence, reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
        for _order, sentence, model in sorted(_PLACES, key=lambda place: place[0])
        if admin.site.is_registered(model)
    ]
