"""Forms of review: what is decided, on one case or on many, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ct4site.models import CaseStatus, DecisionReason, ReviewCase
from ct4site.review import deciding, kinds, many
from ct4site.review.deciding import Wish

CANDIDATES = 5  # so that every choice has a key from 1 to 9


@dataclass
class Pick:
    """One line of the choices: what it decides, on what, and the fields it needs."""

    value: str
    choice: kinds.Choice
    target: Mapping[str, Any]
    candidate: kinds.Candidate | None = None
    form: kinds.TargetForm | None = None
    is_chosen: bool = False


class ReasonForm(forms.Form):
    """Why something is decided, taken back or proposed."""

    reason_code = forms.ChoiceField(
        label=gettext_lazy("Reason"),
        choices=DecisionReason.choices,
        error_messages={"required": gettext_lazy("Say why: choose a reason.")},
    )
    reason_text = forms.CharField(
        label=gettext_lazy("In words"),
        required=False,
        max_length=deciding.LONGEST_REASON,
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def wish(self, choice: str, target: Mapping[str, Any] | None = None) -> Wish:
        """Return what is wanted for the reason of the valid form."""
        given = self.cleaned_data
        return Wish(choice, dict(target or {}), given["reason_code"], given["reason_text"].strip())


class DecideForm(ReasonForm):
    """What is decided, why, and on which version of the case; candidates come first, then the other choices."""

    version = forms.IntegerField(widget=forms.HiddenInput)
    shown = forms.CharField(required=False, max_length=2000, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, case: ReviewCase) -> None:
        super().__init__(data, initial={"version": case.version})
        self.fields["reason_code"].choices = [("", _("Choose a reason")), *DecisionReason.choices]  # type: ignore[attr-defined]
        self.case = case
        self.kind = kinds.kind_of(case)
        self.picked = data.get("pick", "") if data is not None else ""
        self.choices = {choice.code: choice for choice in self.kind.choices(case)} if self._is_open else {}

    @property
    def _is_open(self) -> bool:
        return self.case.status == CaseStatus.OPEN

    @cached_property
    def candidates(self) -> list[Pick]:
        """The possible answers; looked for only where they are shown or one of them was picked."""
        found = self.kind.candidates(self.case)[:CANDIDATES] if self._is_open else ()
        return [
            self._pick(f"candidate-{place}", self.choices[candidate.choice], candidate)
            for place, candidate in enumerate(found)
            if candidate.choice in self.choices
        ]

    @cached_property
    def others(self) -> list[Pick]:
        """The choices that are no candidate, each with its own fields."""
        chosen = self.chosen
        return [
            chosen if chosen is not None and code == chosen.value else self._pick(code, choice)
            for code, choice in self.choices.items()
        ]

    def _pick(self, value: str, choice: kinds.Choice, candidate: kinds.Candidate | None = None) -> Pick:
        is_chosen = value == self.picked
        made = None
        if candidate is None and choice.form is not None:
            made = choice.form(self.data if is_chosen else None, prefix=choice.code, case=self.case)
        return Pick(
            value=value, choice=choice, target=candidate.target if candidate else {}, candidate=candidate, form=made,
            is_chosen=is_chosen,
        )  # fmt: skip

    @property
    def picks(self) -> list[Pick]:
        """All lines in the order of their numbers."""
        return [*self.candidates, *self.others]

    @cached_property
    def chosen(self) -> Pick | None:
        """The line that was picked; only its own fields are read."""
        if self.picked in self.choices:
            return self._pick(self.picked, self.choices[self.picked])
        return next((item for item in self.candidates if item.is_chosen), None)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.chosen is None:
            raise forms.ValidationError(_("Choose what to decide."))
        if self.chosen.form is not None and not self.chosen.form.is_valid():
            raise forms.ValidationError(_("Complete what the choice needs."))
        if cleaned.get("reason_code") == DecisionReason.OTHER and not cleaned.get("reason_text", "").strip():
            self.add_error("reason_text", _("Say it in words."))
        return cleaned

    def chosen_choice(self) -> kinds.Choice:
        """Return the choice of the valid form."""
        assert self.chosen is not None
        return self.chosen.choice

    def decision(self) -> Wish:
        """Return what the valid form asks for."""
        chosen = self.chosen
        assert chosen is not None
        return self.wish(chosen.choice.code, chosen.target if chosen.form is None else chosen.form.target())


class ManyForm(ReasonForm):
    """One decision without a target for all cases of a query of one kind, as they were when the page was made."""

    choice_code = forms.ChoiceField(label=gettext_lazy("Decision"))
    field_order = ("choice_code", "reason_code", "reason_text")
    cases = forms.CharField(widget=forms.HiddenInput, max_length=20 * many.MOST)

    def __init__(self, data: Any = None, *, chosen: many.Chosen, kinds_of_cases: set[str]) -> None:
        super().__init__(data, initial={"cases": " ".join(f"{key}:{version}" for key, version in chosen)})
        self.fields["reason_text"].required = True
        self.choices_by_code: dict[str, kinds.Choice] = {}
        if len(kinds_of_cases) == 1:
            first = ReviewCase.objects.filter(pk=chosen[0][0]).first()
            for choice in kinds.kind_of(first).choices(first) if first else ():
                if choice.form is None:
                    self.choices_by_code[choice.code] = choice
        field = self.fields["choice_code"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(code, choice.label) for code, choice in self.choices_by_code.items()]

    def clean_cases(self) -> many.Chosen:
        try:
            found = many.read_marks(self.cleaned_data["cases"].split())
        except ValueError:
            raise forms.ValidationError(_("Open this page again from the queue.")) from None
        if not found or len(found) > many.MOST:
            raise forms.ValidationError(_("Open this page again from the queue."))
        return found

    def choice(self) -> kinds.Choice:
        """Return the choice of the valid form."""
        return self.choices_by_code[self.cleaned_data["choice_code"]]

    def chosen(self) -> many.Chosen:
        """Return the cases of the valid form with the versions that were seen."""
        found: many.Chosen = self.cleaned_data["cases"]
        return found

    def decision(self) -> Wish:
        """Return what the valid form asks for."""
        return self.wish(self.cleaned_data["choice_code"])


class AnswerForm(forms.Form):
    """What an approver says to a proposal."""

    answer = forms.CharField(required=False, max_length=deciding.LONGEST_REASON)
