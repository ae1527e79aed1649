"""Personal data: which values are, who sees them plainly, how they are masked (reliability.md P9, F6).

Phones, licences and documents are shown masked unless the page that is being made is for somebody who may see them.
That is decided once per request; whatever makes texts for people outside of a request gets them masked.
"""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any

import psycopg2
from django.db import Error

VIEW, REVEAL = "identity.view_pii", "identity.reveal_pii"
# The audit's word for a page that was shown plainly.
REVEALED = "reveal_personal_data"

# Names of columns and JSON keys. Those that the second fits only tell something about such a value.
_PERSONAL = re.compile(r"(^|_)(phone|licen[sc]e|document)o?s?(_|$)")
_ABOUT = re.compile(r"_is_|_(date|country|type|exact|match)$")
# Keys of ``classify_query`` by which nobody finds anything who may not see the values.
_SEARCHED = ("phone", "license")
_SHORT, _LEFT = 4, 3


class Page:
    """The answer that is being made: for whom, whether it shows plainly, whether something was masked in it."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.is_revealed = False
        self.has_masked = False

    @cached_property
    def may_view(self) -> bool:
        """Whether the user sees personal data plainly everywhere, and may search by them."""
        return bool(self.user.has_perm(VIEW))

    @property
    def offers_reveal(self) -> bool:
        """Whether the page, as far as it is made, has something to reveal to this user."""
        return self.has_masked and bool(self.user.has_perm(REVEAL))


_page: ContextVar[Page | None] = ContextVar("page", default=None)


@contextmanager
def page_for(user: Any) -> Iterator[Page]:
    """Make an answer for a user: inside, values are shown as the user may see them."""
    page = Page(user)
    token = _page.set(page)
    try:
        yield page
    finally:
        _page.reset(token)


def current() -> Page | None:
    """Return the page that is being made; None outside of a request."""
    return _page.get()


def is_plain() -> bool:
    """Return whether personal data are shown plainly now."""
    page = _page.get()
    return page is not None and (page.is_revealed or page.may_view)


def is_personal(name: str) -> bool:
    """Return whether values under the name of a column or a JSON key are personal data."""
    return bool(_PERSONAL.search(name)) and not _ABOUT.search(name)


def mask(value: Any) -> str:
    """Return a value with all but its last three characters hidden; nothing is left of four characters and fewer."""
    text = str(value)
    return "***" + (text[-_LEFT:] if len(text) > _SHORT else "")


def personal(value: Any) -> Any:
    """Return a phone, licence or document as it is shown now: itself, or masked. Nothing, a day or a yes stays."""
    if value is None or value == "" or isinstance(value, (bool, datetime.date)) or is_plain():
        return value
    page = _page.get()
    if page is not None:
        page.has_masked = True
    return mask(value)


def named(name: str, value: Any) -> Any:
    """Return the value of a column or a JSON key as it is shown now."""
    return personal(value) if is_personal(name) else value


def searchable(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a search text (``classify_query``) by which the user may find something.

    A phone or licence finds nothing for whoever may not see them: the number of results would tell (F6).
    """
    page = _page.get()
    may_search = page is not None and page.may_view
    return {name: key for name, key in keys.items() if may_search or name not in _SEARCHED}


class DiscreetFormatter(logging.Formatter):
    """Lines of the log in which the database's errors are named, not quoted: what it says of a row holds its values."""

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # another handler may have written it in full
        return super().format(record)

    def formatException(self, ei: Any) -> str:
        text = super().formatException(ei)
        for error in _chain(ei[1]):
            if isinstance(error, (Error, psycopg2.Error)) and (said := str(error).strip()):
                text = text.replace(said, refusal(error))
        return text


def refusal(error: BaseException) -> str:
    """Return what the database refused without a value of any row: the constraint, else the error's name and code."""
    cause = error if isinstance(error, psycopg2.Error) else error.__cause__
    constraint = getattr(getattr(cause, "diag", None), "constraint_name", None)
    return constraint or f"{type(error).__name__} {getattr(cause, 'pgcode', None) or ''}".rstrip()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that it came from, each once."""
    waiting, seen = [error], set()
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [found.__cause__, found.__context__]
