"""Unmanaged models over the views of attribution, read-only: conflicts, claims, backlog, scouts (sql/attribution)."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from identity.models import Person
from identity.models.sources import NaiveDateTimeField


class ViewModel(models.Model):
    class Meta:
        abstract = True
        managed = False
        default_permissions = ("view",)


def of_person(column: str = "person_key", *, primary_key: bool = False) -> models.ForeignKey:
    """The person of a view's row; a view has no constraints, so nothing follows a deletion."""
    kind = models.OneToOneField if primary_key else models.ForeignKey
    options: dict[str, Any] = {"primary_key": True} if primary_key else {"null": True}
    return kind(
        Person, models.DO_NOTHING, db_column=column, db_constraint=False, verbose_name=_("person"),
        related_name="+", **options,
    )  # fmt: skip


class ConflictType(models.TextChoices):
    """Whether the ledger decided a conflict long ago or nobody has (Q13)."""

    OPEN = "OPEN", _("Open")
    HISTORICAL = "HISTORICAL", _("Historical")


class BacklogCategory(models.TextChoices):
    """Why a person has no scout; disjoint (domain.md 6.8, Q14)."""

    A = "A", _("Events without scout")
    B = "B", _("In the ledger, without events")
    C = "C", _("Neither events nor ledger")
    D = "D", _("Scout in the events, not in the ledger")
    E = "E", _("Other")


class ScoutConflict(ViewModel):
    """One person whom several scouts claim (domain.md 6.7, Q13, Q17)."""

    person = of_person(primary_key=True)
    distinct_scout_count = models.BigIntegerField(_("number of scouts"))
    scout_ids = ArrayField(models.IntegerField(), verbose_name=_("scouts"))
    source_tables = ArrayField(models.TextField(), verbose_name=_("sources"))
    sources = ArrayField(models.TextField(), verbose_name=_("sources"))
    origin_tags = ArrayField(models.TextField(), verbose_name=_("origins"), null=True)
    first_attribution_date = models.DateField(_("first claim"), null=True)
    first_event_date = models.DateField(_("first claim"), null=True)
    last_attribution_date = models.DateField(_("last claim"), null=True)
    last_event_date = models.DateField(_("last claim"), null=True)
    first_created_at = models.DateTimeField(_("first recorded"), null=True)
    last_created_at = models.DateTimeField(_("last recorded"), null=True)
    total_records = models.BigIntegerField(_("claims"))
    total_sources = models.BigIntegerField(_("claims"))
    conflict_details = models.JSONField(_("claims as stored"))
    conflict_type = models.TextField(_("kind"), choices=ConflictType.choices)
    ledger_scout_id = models.IntegerField(_("scout of the ledger"), null=True)
    ledger_rule = models.TextField(_("rule of the ledger"), null=True)

    class Meta(ViewModel.Meta):
        db_table = "v_scout_attribution_conflicts"
        verbose_name = _("conflict of scouts")
        verbose_name_plural = _("conflicts of scouts")

    def __str__(self) -> str:
        return str(self.person)


class ScoutClaim(ViewModel):
    """One claim of a scout on a person by one source (domain.md 6.5).

    The view has no key of one column, so this model cannot be registered in the admin.
    """

    pk = models.CompositePrimaryKey("source_table", "source_pk")
    person = of_person()
    driver_id = models.TextField(_("driver"), null=True)
    driver_license = models.TextField(_("licence"), null=True)
    driver_phone = models.TextField(_("phone"), null=True)
    scout_id = models.IntegerField(_("scout"))
    origin_tag = models.TextField(_("origin"), null=True)
    acquisition_method = models.TextField(_("acquisition method"), null=True)
    source_table = models.TextField(_("source"))
    source_pk = models.TextField(_("source record"))
    attribution_date = models.DateField(_("date"), null=True)
    created_at = models.DateTimeField(_("recorded"), null=True)
    priority = models.IntegerField(_("priority"))
    underlying_table = models.TextField(_("underlying source"), null=True)

    class Meta(ViewModel.Meta):
        db_table = "v_scout_attribution_raw"
        verbose_name = _("claim of a scout")
        verbose_name_plural = _("claims of scouts")

    def __str__(self) -> str:
        return f"{self.source_table} {self.source_pk} → {self.scout_id}"


class BacklogPerson(ViewModel):
    """One person without a scout in the ledger, with the reason (domain.md 6.8, Q14, Q22)."""

    person = of_person(primary_key=True)
    primary_full_name = models.TextField(_("name"), null=True)
    primary_phone = models.TextField(_("phone"), null=True)
    primary_license = models.TextField(_("licence"), null=True)
    identity_created_at = models.DateTimeField(_("known since"))
    categoria = models.TextField(_("category as in the runbook"))
    has_scout_in_events = models.BooleanField(_("scout in the events"))
    has_lead_events = models.BooleanField(_("has lead events"))
    has_lead_ledger = models.BooleanField(_("is in the ledger"))
    has_scout_in_ledger = models.BooleanField(_("scout in the ledger"))
    lead_events_count = models.BigIntegerField(_("lead events"))
    events_with_scout_count = models.BigIntegerField(_("events with scout"))
    scout_id_from_events = models.IntegerField(_("scout of the events"), null=True)
    ledger_attribution_rule = models.TextField(_("rule of the ledger"), null=True)
    sample_date = models.DateTimeField(_("known since"))
    category = models.TextField(_("category"), choices=BacklogCategory.choices)
    category_label = models.TextField(_("category"))
    scout_id = models.IntegerField(_("scout"), null=True)
    source_tables = ArrayField(models.TextField(), verbose_name=_("sources"), null=True)
    origin_tags = ArrayField(models.TextField(), verbose_name=_("origins"), null=True)
    first_event_date = models.DateField(_("first event"), null=True)
    last_event_date = models.DateField(_("last event"), null=True)
    event_count = models.BigIntegerField(_("events"))

    class Meta(ViewModel.Meta):
        db_table = "v_persons_without_scout_categorized"
        verbose_name = _("person without scout")
        verbose_name_plural = _("persons without scout")

    def __str__(self) -> str:
        return self.primary_full_name or str(self.person_id)


class Scout(ViewModel):
    """A scout of the recruiters' own list, with a name to show (domain.md 2.7)."""

    scout_id = models.IntegerField(_("scout"), primary_key=True)
    raw_name = models.TextField(_("name as listed"))
    scout_name_normalized = models.TextField(_("name"))
    is_active = models.BooleanField(_("active"))
    created_at = NaiveDateTimeField(_("created"), null=True)
    updated_at = NaiveDateTimeField(_("changed"), null=True)

    class Meta(ViewModel.Meta):
        db_table = "v_dim_scouts"
        verbose_name = _("scout")
        verbose_name_plural = _("scouts")

    def __str__(self) -> str:
        return self.scout_name_normalized
