"""What the rooms declare about review: their kinds of case, what a person may choose, and what follows from a choice."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from ct4site.admin_base import Section
from ct4site.models import ReviewCase

Text = str | Promise
Read = TypeVar("Read")


class Unacceptable(Exception):
    """What was chosen cannot be done; the message says why and what to do instead."""


@dataclass(frozen=True)
class Deciding:
    """What the function of a choice gets: the case, what was chosen for it, and whom to put the changes down to.

    ``new_person_key`` is the key of a person this decision creates: the same in preview and decision.
    """

    case: ReviewCase
    target: dict[str, Any]
    run_id: int
    actor: str
    reason: str
    new_person_key: uuid.UUID

    @property
    def by(self) -> dict[str, Any]:
        """Whom and what the changes are put down to: ``run_id``, ``actor``, ``reason``."""
        return {"run_id": self.run_id, "actor": self.actor, "reason": self.reason}


class TargetForm(forms.Form):
    """What has to be said beside the choice itself. Gets ``case``; ``target`` returns it as JSON values."""

    # The fields of a choice that was not picked are hidden; a browser would wait for them without a word.
    use_required_attribute = False

    def __init__(self, *args: Any, case: ReviewCase, **kwargs: Any) -> None:
        self.case = case
        super().__init__(*args, **kwargs)

    def target(self) -> dict[str, Any]:
        """Return the valid form as JSON values."""
        return {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}


@dataclass(frozen=True)
class Choice:
    """Something a person may decide about a case of a kind.

    ``persons`` names, before anything is written, the persons whose links, ledger, claims and money it may touch;
    ``apply`` writes rows and their audit under ``Deciding.run_id``, in the caller's transaction, and returns further
    persons it touched. It raises ``Unacceptable``. A choice that does not close the case leaves it in the queue;
    ``puts_off``: it is due later then.
    ``holds_for_alike``: what was chosen can be chosen for cases alike too; a choice without a form always can.
    """

    code: str
    label: Text
    help: Text
    apply: Callable[[Deciding], Collection[uuid.UUID]]
    persons: Callable[[ReviewCase, Mapping[str, Any]], Collection[uuid.UUID]]
    form: type[TargetForm] | None = None
    needs_approval: bool = False
    closes: bool = True
    puts_off: bool = False
    holds_for_alike: bool = False


@dataclass(frozen=True)
class Candidate:
    """One possible answer shown on the page of a case: a title, the sentence that says why it fits or not, its facts.

    ``facts`` maps a label to (value of the case's subject, value of the candidate). ``choice`` and ``target`` are what
    pressing its number decides; ``is_likely`` puts it first in colour, nothing more.
    """

    title: Any
    sentence: str
    facts: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    choice: str = ""
    target: Mapping[str, Any] = field(default_factory=dict)
    is_likely: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of case as its room declares it.

    ``causes`` is a view with one row per subject that needs a person: subject_key, person_key, driver_id, raised_by,
    since, signature (cases alike share it), cause_digest. The functions get a case: ``title`` its name, ``why`` one
    sentence on what raised it, ``evidence`` the sections of its page, ``candidates`` the possible answers.
    ``narrowed_by`` is a condition on the view that keeps the causes of the subject keys {keys}, a text array, through an
    index of what the keys are made of; the view may have further columns for it. ``changes_links`` is false for a kind
    whose decisions leave links and origins alone. ``subject_in_words`` says a subject as people know it.
    """

    code: str
    causes: str
    choices: Callable[[ReviewCase], Sequence[Choice]]
    title: Callable[[ReviewCase], Any]
    why: Callable[[ReviewCase], str]
    evidence: Callable[[ReviewCase], Iterable[Section]]
    candidates: Callable[[ReviewCase], Sequence[Candidate]] = lambda case: ()
    causes_in_words: Mapping[str, Text] = field(default_factory=dict)
    narrowed_by: str = "subject_key = any({keys})"
    changes_links: bool = True
    subject_in_words: Callable[[ReviewCase], str] = lambda case: case.subject_key


@dataclass(frozen=True)
class Consequences:
    """What hangs on persons: declared by the room that knows links, ledger, claims and money.

    ``take_turns(links=)`` waits for everybody else who writes what a decision may change, with links or without.
    ``follow(persons=, run_id=, actor=)`` brings all that is derived of persons up to date in the caller's transaction;
    ``snapshot(persons)`` returns it as JSON values, ``difference(before, after)`` what changed; ``needs_approval``
    says of a difference whether it touches an amount that is settled. ``money`` is a view of (person_key, amount).
    ``words`` maps the name of a fact to its stored codes in words.
    """

    take_turns: Callable[..., None]
    follow: Callable[..., Any]
    snapshot: Callable[[Sequence[uuid.UUID]], dict[str, Any]]
    difference: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
    needs_approval: Callable[[dict[str, Any]], bool]
    money: str
    words: Callable[[], Mapping[str, Mapping[str, Text]]] = dict


_KINDS: dict[str, Kind] = {}
_CONSEQUENCES: list[Consequences] = []


def persons_of(case: ReviewCase, target: Mapping[str, Any]) -> Collection[uuid.UUID]:
    """Return the person of a case, if it has one: whom most choices concern, whatever the target."""
    return [case.person_key] if case.person_key is not None else []


def nobody(case: ReviewCase, target: Mapping[str, Any]) -> Collection[uuid.UUID]:
    """Return nobody: for choices that touch no person known before."""
    return ()


def person_key_of(case: ReviewCase) -> uuid.UUID:
    """Return the person of a case of a kind that always has one."""
    assert case.person_key is not None, "the view of the causes names a person"
    return case.person_key


def once(case: ReviewCase, name: str, read: Callable[[], Read]) -> Read:
    """Return what ``read`` gives, read once for a page: several parts of it ask."""
    known = case.__dict__.setdefault("read_once", {})
    if name not in known:
        known[name] = read()
    found: Read = known[name]
    return found


def register(kind: Kind) -> None:
    """Declare a kind of case; called from an app's ``ready()``."""
    _KINDS[kind.code] = kind


def register_consequences(consequences: Consequences) -> None:
    """Declare what hangs on persons; called from an app's ``ready()``."""
    _CONSEQUENCES[:] = [consequences]


def kinds() -> list[Kind]:
    """Return the declared kinds by code."""
    return [_KINDS[code] for code in sorted(_KINDS)]


def kind_of(case: ReviewCase) -> Kind:
    """Return the kind of a case."""
    return _KINDS[case.kind]


def choice_label(case: ReviewCase, code: str) -> str:
    """Return a choice for a case in words; its code for one that the case does not offer any more."""
    return next((str(choice.label) for choice in kind_of(case).choices(case) if choice.code == code), code)


def choice_of(case: ReviewCase, code: str) -> Choice:
    """Return a choice a person has for a case; raises ``Unacceptable`` for another."""
    for choice in kind_of(case).choices(case):
        if choice.code == code:
            return choice
    raise Unacceptable(_("This cannot be decided here: %(choice)s.") % {"choice": code})


def declared_consequences() -> Consequences | None:
    """Return what was declared to hang on persons; None while no room did."""
    return _CONSEQUENCES[0] if _CONSEQUENCES else None


Names = Callable[[Collection[uuid.UUID]], Mapping[uuid.UUID, str]]
_NAMES: list[Names] = []


def register_names(names: Names) -> None:
    """Declare how persons are called; called from an app's ``ready()``."""
    _NAMES[:] = [names]


def names_of(persons: Collection[uuid.UUID]) -> Mapping[uuid.UUID, str]:
    """Return the names of persons, by key; those without one are left out."""
    return _NAMES[0](persons) if _NAMES and persons else {}


def subject_in_words(case: ReviewCase) -> str:
    """Return what a case is about as people know it: a driver, a lead, a person's key."""
    kind = _KINDS.get(case.kind)
    return kind.subject_in_words(case) if kind else case.subject_key


def cause_label(case: ReviewCase) -> str:
    """Return what raised a case in words; the stored code for one without words."""
    kind = _KINDS.get(case.kind)
    return str((kind.causes_in_words if kind else {}).get(case.raised_by, case.raised_by))


def code_in_words(fact: str, code: str) -> str:
    """Return a stored code of a consequence in words; the code itself for one without words."""
    declared = declared_consequences()
    return str(declared.words().get(fact, {}).get(code, code)) if declared else code
