"""Rules of the partner and of scouts: their versions, and the form that makes a new one (domain.md 1.5, 3.11)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.validators import MinValueValidator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from attribution.admin import labels as attribution_labels
from attribution.admin.claims import days_text
from attribution.admin.collection import labels, versions
from attribution.models import MilestoneType, PartnerPaymentRule, ScoutPaymentRule
from ct4site.admin import audit_section
from ct4site.admin_base import ReadOnlyAdmin, Section, lima_time, link_to, pill
from ct4site.models import AuditEntry

DAY = datetime.timedelta(days=1)


class RuleForm(forms.ModelForm):
    """A version of a rule. Of one that has begun, another amount makes another version (see ``versions``)."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("Why, and who agreed. It stays in the audit log with your name."),
    )
    reaches_back = forms.BooleanField(
        label=gettext_lazy("It may reach back"),
        required=False,
        help_text=gettext_lazy("Only for a change that concerns leads of days before today."),
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    stored: Any = None
    is_new_version = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, least in (("amount", 0), ("window_days", 1), ("milestone_trips", 1), ("milestone_value", 1)):
            if name in self.fields:
                self.fields[name].validators.append(MinValueValidator(least))
                self.fields[name].widget.attrs["min"] = least
        if "valid_from" in self.fields:
            self.fields["valid_from"].help_text = _(
                "First day of the leads it is for. A new amount needs a new first day."
            )
            self.fields["valid_to"].help_text = _("Last day; empty for until further notice.")
        if self.instance.pk:
            self.initial["seen"] = self.instance.updated_at.isoformat()

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        versions.lock()
        if self.instance.pk:
            self.stored = type(self.instance)._default_manager.filter(pk=self.instance.pk).first()
            if self.stored is None or self.stored.updated_at.isoformat() != values.get("seen"):
                raise forms.ValidationError(
                    _("Somebody changed this version in the meantime. Open it again, and look before you change it.")
                )
        if self.errors:
            return values
        first, last = values["valid_from"], values.get("valid_to")
        if last and last < first:
            self.add_error("valid_to", _("It ends before it begins."))
            return values
        self._judge_first_day(values)
        if not self.errors:
            self._judge_overlap(values)
        if not self.errors:
            self._judge_reach(values)
        return values

    def validate_unique(self) -> None:
        if not self.errors:
            super().validate_unique()

    def _judge_first_day(self, values: dict[str, Any]) -> None:
        """A version that has begun keeps amount and first day; a new amount begins on a day of its own."""
        if self.stored is None or self.stored.valid_from > labels.today():
            return
        first = values["valid_from"]
        told = {"first": attribution_labels.day(self.stored.valid_from)}
        money = (values["amount"], values["currency"])
        self.is_new_version = money != (self.stored.amount, self.stored.currency)
        if not self.is_new_version:
            if first != self.stored.valid_from:
                self.add_error("valid_from", _("The first day of a version that has begun stays: %(first)s.") % told)
        elif not values.get("is_active"):
            self.add_error(
                "is_active", _("A new amount is a new version, which is active. Withdraw this one by itself.")
            )
        elif first <= self.stored.valid_from:
            self.add_error(
                "valid_from",
                _(
                    "A new amount is a new version: give the first day of the leads it is for, after %(first)s. The"
                    " version at hand keeps its amount and ends the day before."
                ) % told,
            )  # fmt: skip

    def _judge_overlap(self, values: dict[str, Any]) -> None:
        rule = self._as_asked(values)
        if not rule.is_active:
            return
        first, last = values["valid_from"], values.get("valid_to")
        same_day = versions.versions_of(rule).filter(valid_from=first).exclude(pk=self.instance.pk).first()
        other = versions.overlapping(rule, first, last, but=self.instance.pk)
        if other is not None:
            told = {
                "days": labels.validity(other), "amount": labels.money(other.amount, other.currency),
                "last": attribution_labels.day(other.valid_from - DAY),
            }  # fmt: skip
            if other.valid_from > first:
                self.add_error(
                    "valid_to",
                    _(
                        "Another version (%(amount)s, %(days)s) is valid on some of these days. End this one by %(last)s."
                    )
                    % told,
                )
            else:
                self.add_error(
                    "valid_from",
                    _("Another version (%(amount)s, %(days)s) is valid on some of these days. End that one first.") % told,
                )  # fmt: skip
        elif same_day is not None:
            self.add_error(
                "valid_from", _("A withdrawn version begins on this very day; choose another day, or use that one.")
            )

    def _judge_reach(self, values: dict[str, Any]) -> None:
        since = self._concerns(values)
        if since is None or since >= labels.today() or values.get("reaches_back"):
            return
        number = versions.claims_from(self.stored, since) if self.stored else 0
        kept = ngettext(
            "%(number)d claim of these days was made already and keeps its amount.",
            "%(number)d claims of these days were made already and keep their amounts.",
            number,
        ) % {"number": number}
        reach = _("This concerns leads since %(day)s. If that is meant, tick here.") % {
            "day": attribution_labels.day(since)
        }
        self.add_error("reaches_back", f"{reach} {kept}" if number else reach)

    def _concerns(self, values: dict[str, Any]) -> datetime.date | None:
        """The first lead day for which the change makes a difference; None for none, as with notes."""
        first, last = values["valid_from"], values.get("valid_to")
        old = self.stored
        if old is None or self.is_new_version:
            return first
        if values.get("is_active") != old.is_active or (values["amount"], values["currency"]) != (
            old.amount,
            old.currency,
        ):
            return min(first, old.valid_from)
        if first != old.valid_from:
            return min(first, old.valid_from)
        if last != old.valid_to:
            return min(day for day in (last, old.valid_to) if day) + DAY
        return None

    def _as_asked(self, values: dict[str, Any]) -> Any:
        """A rule, not to be saved, with the key that was asked for."""
        model = type(self.instance)
        key = {name: values.get(name, getattr(self.instance, name)) for name in versions.KEYS[model]}
        return model(**key, is_active=values.get("is_active", True))


class RuleAdmin(ReadOnlyAdmin):
    """Versions of rules; whoever may change them adds versions and ends them, nobody deletes one."""

    change_form_template = "admin/attribution/rule.html"
    form = RuleForm
    ordering: ClassVar[Any] = ()
    sortable_by: ClassVar[tuple[str, ...] | None] = ()
    formfield_overrides: ClassVar[Any] = {
        models.DateField: {"widget": forms.DateInput(attrs={"type": "date", "class": "vTextField"}, format="%Y-%m-%d")},
        models.TextField: {"widget": forms.TextInput},
    }
    key: ClassVar[tuple[str, ...]] = ()
    changing = ("amount", "currency", "valid_from", "valid_to")

    has_add_permission = admin.ModelAdmin.has_add_permission
    has_change_permission = admin.ModelAdmin.has_change_permission

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            found.words = in_words(found)
        return found

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return (*self.key, *self.changing, "is_active", "notes", "reason", "reaches_back", "seen")
        if not self.has_change_permission(request, obj):
            return ("what", *self.changing, "is_active", "notes", "changed")
        return ("what", *self.changing, "is_active", "notes", "changed", "reason", "reaches_back", "seen")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("what", "changed") if obj is not None else ()

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False, "show_delete": False}
        return super().render_change_form(request, context, *args, **options)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        who, why = request.user.get_username(), form.cleaned_data["reason"].strip()
        if not change:
            versions.add(obj, actor=who, reason=why)
        elif form.is_new_version:
            versions.replace(form.stored, obj, actor=who, reason=why)
        else:
            versions.change(obj, actor=who, reason=why)
        gap = versions.gap_before(obj) if obj.is_active else None
        if gap is not None:
            first, last = map(attribution_labels.day, gap)
            messages.warning(
                request,
                _("No version of this rule is valid from %(first)s to %(last)s: leads of those days earn nothing.")
                % {"first": first, "last": last},
            )

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        return form.cleaned_data["reason"].strip()

    @admin.display(description=gettext_lazy("rule"))
    def what(self, rule: Any) -> str:
        return in_words(rule)

    @admin.display(description=gettext_lazy("amount"))
    def money(self, rule: Any) -> str:
        return labels.money(rule.amount, rule.currency)

    @admin.display(description=gettext_lazy("leads"))
    def days(self, rule: Any) -> str:
        return labels.validity(rule)

    @admin.display(description=gettext_lazy("state"))
    def state(self, rule: Any) -> SafeString | str:
        return state(rule)

    @admin.display(description=gettext_lazy("changed"))
    def changed(self, rule: Any) -> SafeString | str:
        return lima_time(rule.updated_at)

    def get_sections(self, request: HttpRequest, rule: Any) -> Iterable[Section]:
        columns = {
            _("Leads"): lambda version: link_to(version, labels.validity(version)),
            _("Amount"): lambda version: labels.money(version.amount, version.currency),
            _("State"): state,
            _("Notes"): lambda version: version.notes,
            _("Changed"): lambda version: version.updated_at,
        }
        stored = type(rule)._default_manager.get(pk=rule.pk)
        yield Section.of(_("All versions of this rule"), columns, versions.versions_of(stored))
        # Entries of persons belong to no run: the index by run finds them.
        yield audit_section(
            AuditEntry.objects.filter(run__isnull=True, subject_table=rule._meta.db_table, subject_key=str(rule.pk))
        )


def in_words(rule: Any) -> str:
    """Return what a rule pays for, without its amount."""
    values = {
        "origin": rule.get_origin_tag_display(), "days": days_text(rule.window_days),
        "number": rule.milestone_trips if isinstance(rule, PartnerPaymentRule) else rule.milestone_value,
    }  # fmt: skip
    if isinstance(rule, ScoutPaymentRule) and rule.milestone_type == MilestoneType.CONNECTION:
        return _("%(origin)s: first connection within %(days)s") % values
    return _("%(origin)s: %(trips)s within %(days)s") % (values | {"trips": labels.trips(values["number"])})


def state(rule: Any) -> SafeString | str:
    """Return whether a version is in force, past, to come, or withdrawn, as a pill."""
    today = labels.today()
    if not rule.is_active:
        return pill("withdrawn", _("Withdrawn"), "bad")
    if rule.valid_from > today:
        return pill("future", _("To come"), "info")
    if rule.valid_to is not None and rule.valid_to < today:
        return pill("past", _("Past"), "plain")
    return pill("now", _("In force"), "good")


@admin.register(PartnerPaymentRule)
class PartnerPaymentRuleAdmin(RuleAdmin):
    purpose = gettext_lazy(
        "What the partner owes for a milestone of a lead. A new amount is a new version from a day on."
    )
    list_display = ("what", "money", "days", "state", "changed")
    list_filter = ("origin_tag", "is_active")
    ordering: ClassVar[Any] = ("origin_tag", "window_days", "milestone_trips", "valid_from")
    key = ("origin_tag", "milestone_trips", "window_days")


@admin.register(ScoutPaymentRule)
class ScoutPaymentRuleAdmin(RuleAdmin):
    purpose = gettext_lazy(
        "What a scout is owed for a milestone of a lead. A new amount is a new version from a day on."
    )
    list_display = ("what", "money", "days", "state", "changed")
    list_filter = ("origin_tag", "is_active")
    ordering: ClassVar[Any] = ("origin_tag", "window_days", "milestone_type", "milestone_value", "valid_from")
    key = ("origin_tag", "milestone_type", "milestone_value", "window_days")
