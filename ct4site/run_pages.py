"""What a job adds to the pages of its runs: the form that starts it and the words for its tally.

An app registers a page beside its job; the kernel's run pages need to know nothing of the job's domain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ct4site import jobs
from ct4site.admin_base import NOTHING, Section
from ct4site.models import JobType, Run

LARGEST_LIMIT = 10_000_000


class RunForm(forms.Form):
    """The parameters of a run; a job with parameters extends it."""

    dry_run = forms.BooleanField(
        label=_("Dry run"),
        required=False,
        help_text=_("Does everything, shows what would change, and takes it all back."),
    )

    def parameters(self) -> dict[str, Any]:
        """Return the job's parameters (JSON values) from the valid form; empty ones are left out."""
        return {}

    def given(self, *names: str) -> dict[str, Any]:
        """Return those of some fields of the valid form that have a value."""
        return {name: self.cleaned_data[name] for name in names if self.cleaned_data[name]}


def limit_field(help_text: Any) -> forms.IntegerField:
    """Return the field of a job that may take a part of its work; takes what is said of the part."""
    return forms.IntegerField(
        label=_("Limit"), required=False, min_value=1, max_value=LARGEST_LIMIT, help_text=help_text
    )


class LimitedForm(RunForm):
    """The parameter of a job that may take a part of its work."""

    limit = limit_field(_("At most this many; the others wait for the next run."))
    field_order = ("limit", "dry_run")

    def parameters(self) -> dict[str, Any]:
        return self.given("limit")


def _day(label: Any, **options: Any) -> forms.DateField:
    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    return forms.DateField(label=label, required=False, widget=widget, input_formats=["%Y-%m-%d"], **options)


class DateRangeForm(RunForm):
    """A run's form with a first and a last day."""

    date_from = _day(_("From"))
    date_to = _day(_("To"), help_text=_("Days of Lima, both included."))

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        first, last = values.get("date_from"), values.get("date_to")
        if first and last and first > last:
            raise ValidationError(gettext("The first day is after the last."))
        return values

    def days(self) -> dict[str, str]:
        """Return the given days as parameters of a run."""
        return {name: day.isoformat() for name, day in self.given("date_from", "date_to").items()}


def _no_sections(run: Run) -> Iterable[Section]:
    return ()


@dataclass(frozen=True)
class RunPage:
    """Form, words for the keys of the tally in reading order, and the keys whose sums a list shows.

    ``sections`` makes tables of a run that is over, shown above its tally; the top-level keys of the tally that they
    tell are named in ``told``.
    """

    form: type[RunForm] = RunForm
    words: Mapping[str, str | Promise] = field(default_factory=dict)
    key_numbers: tuple[str, ...] = ()
    sections: Callable[[Run], Iterable[Section]] = _no_sections
    told: tuple[str, ...] = ()


_PAGES: dict[str, RunPage] = {}


def register(job_code: str, page: RunPage) -> None:
    """Declare the run page of a job, by the job's stored code."""
    _PAGES[job_code] = page


def page_of(job_code: str) -> RunPage:
    """Return the page of a job; a plain one for a job that registered none."""
    return _PAGES.get(job_code, RunPage())


def startable_jobs() -> list[jobs.Job]:
    """Return the jobs a person may start from a page: queueable, and with a form for the parameters they take.

    A roll-back is started from the page of the run that it takes back.
    """
    return [
        job
        for job in jobs.registered_jobs()
        if job.queueable and job.code != JobType.ROLL_BACK and (not job.parameters or job.code in _PAGES)
    ]


def tally_rows(job_code: str, tally: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the leaves of a tally as (words, value) in reading order, zeros included, without what sections tell."""
    page = page_of(job_code)
    words = page.words
    order = {key: number for number, key in enumerate(words)}
    shown = {key: value for key, value in tally.items() if key not in page.told}
    rows = sorted(_leaves(shown), key=lambda leaf: [(order.get(key, len(order)), key) for key in leaf[0]])
    return [(" · ".join(str(words.get(key, key)) for key in path), _shown(value)) for path, value in rows]


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return NOTHING if value is None or value == "" else value


def key_numbers(job_code: str, tally: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return (word, sum over the whole tally) for the keys that the job's page names."""
    page = page_of(job_code)
    sums = dict.fromkeys(page.key_numbers, 0)
    for path, value in _leaves(tally):
        if path and path[-1] in sums and isinstance(value, int):
            sums[path[-1]] += value
    return [(str(page.words.get(key, key)), number) for key, number in sums.items()]


def _leaves(tally: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tally.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value
