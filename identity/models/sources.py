"""The seven source tables (domain.md 2), owned by other systems: unmanaged, read by everything, written by
``load_source`` only (decision Q75).

Timestamps of these tables are Lima wall clock without a zone, and are shown as stored.
"""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

LIMA = ZoneInfo("America/Lima")


class NaiveDateTimeField(models.DateTimeField):
    """A ``timestamp without time zone``: Lima wall clock in, the same wall clock out.

    Django would take it for a zoned value: warn about naive datetimes, and compare through the session's zone.
    Use it with comparisons, ranges and ``__date``; the other parts (``__year``...) go through a zone and do not fit.
    """

    def db_type(self, connection: Any) -> str:
        return "timestamp without time zone"

    def to_python(self, value: Any) -> Any:
        if isinstance(value, datetime.datetime):
            return timezone.make_naive(value, LIMA) if timezone.is_aware(value) else value
        if isinstance(value, datetime.date):
            return datetime.datetime(value.year, value.month, value.day)  # noqa: DTZ001
        value = super().to_python(value)
        return None if value is None else self.to_python(value)

    def get_prep_value(self, value: Any) -> Any:
        if hasattr(value, "resolve_expression"):
            return value
        return self.to_python(value)


@NaiveDateTimeField.register_lookup
class NaiveDate(models.Transform):
    """The calendar day of a Lima wall clock, with no zone in between."""

    lookup_name = "date"
    template = "(%(expressions)s)::date"
    output_field = models.DateField()


class SourceModel(models.Model):
    class Meta:
        abstract = True
        managed = False
        default_permissions = ("view",)


class CabinetLead(SourceModel):
    """A lead of Yango's partner cabinet (domain.md 2.1)."""

    id = models.AutoField(_("id"), primary_key=True)
    external_id = models.CharField(_("external id"), null=True)
    lead_created_at = NaiveDateTimeField(_("lead created"), null=True)
    first_name = models.CharField(_("first name"), null=True)
    middle_name = models.CharField(_("middle name"), null=True)
    last_name = models.CharField(_("last name"), null=True)
    park_phone = models.CharField(_("phone"), null=True)
    asset_plate_number = models.CharField(_("plate"), null=True)
    asset_model = models.CharField(_("car model"), null=True)
    asset_color = models.CharField(_("car colour"), null=True)
    park_name = models.CharField(_("park name"), null=True)
    activation_city = models.CharField(_("activation city"), null=True)
    target_city = models.CharField(_("target city"), null=True)
    tariff = models.CharField(_("tariff"), null=True)
    status = models.CharField(_("status"), null=True)
    last_active_date = models.DateField(_("last active"), null=True)
    active_1 = models.BooleanField(_("active, 1 trip"), null=True)
    active_5 = models.BooleanField(_("active, 5 trips"), null=True)
    active_10 = models.BooleanField(_("active, 10 trips"), null=True)
    active_15 = models.BooleanField(_("active, 15 trips"), null=True)
    active_25 = models.BooleanField(_("active, 25 trips"), null=True)
    active_50 = models.BooleanField(_("active, 50 trips"), null=True)
    active_100 = models.BooleanField(_("active, 100 trips"), null=True)
    created_at = NaiveDateTimeField(_("loaded"), null=True)

    class Meta(SourceModel.Meta):
        db_table = "module_ct_cabinet_leads"
        verbose_name = _("cabinet lead")
        verbose_name_plural = _("cabinet leads")

    def __str__(self) -> str:
        return self.external_id or str(self.pk)


class ScoutingRegistration(SourceModel):
    """A driver registered by a scout in the field (domain.md 2.2)."""

    id = models.AutoField(_("id"), primary_key=True)
    registration_date = models.DateField(_("registration date"), null=True)
    scout_id = models.IntegerField(_("scout"), null=True)
    driver_name = models.CharField(_("driver name"), null=True)
    driver_phone = models.CharField(_("driver phone"), null=True)
    driver_license = models.CharField(_("driver licence"), null=True)
    acquisition_method = models.CharField(_("acquisition method"), null=True)
    created_at = NaiveDateTimeField(_("created"), null=True)
    updated_at = NaiveDateTimeField(_("updated"), null=True)

    class Meta(SourceModel.Meta):
        db_table = "module_ct_scouting_daily"
        verbose_name = _("scouting registration")
        verbose_name_plural = _("scouting registrations")

    def __str__(self) -> str:
        return str(self.pk)


class MigrationRecord(SourceModel):
    """A driver moved over from another fleet (domain.md 2.3)."""

    id = models.AutoField(_("id"), primary_key=True)
    driver_id = models.CharField(_("driver"), null=True)
    driver_name = models.CharField(_("driver name"), null=True)
    scout_id = models.IntegerField(_("scout"), null=True)
    scout_name = models.CharField(_("scout name"), null=True)
    hire_date = models.DateField(_("hire date"), null=True)
    created_at = models.DateField(_("created"), null=True)
    updated_at = models.DateField(_("updated"), null=True)

    class Meta(SourceModel.Meta):
        db_table = "module_ct_migrations"
        verbose_name = _("migration")
        verbose_name_plural = _("migrations")

    def __str__(self) -> str:
        return str(self.pk)


class Driver(SourceModel):
    """An operating account of a person in a park (domain.md 2.4)."""

    id = models.BigAutoField(_("id"), primary_key=True)
    driver_id = models.CharField(_("driver"), unique=True)
    park_id = models.CharField(_("park"), null=True)
    first_name = models.CharField(_("first name"), null=True)
    last_name = models.CharField(_("last name"), null=True)
    middle_name = models.CharField(_("middle name"), null=True)
    full_name = models.CharField(_("full name"), null=True)
    phone = models.CharField(_("phone"), null=True)
    license_number = models.CharField(_("licence"), null=True)
    license_normalized_number = models.CharField(_("licence, normalised by the source"), null=True)
    license_country = models.CharField(_("licence country"), null=True)
    license_expiration_date = models.DateField(_("licence expires"), null=True)
    license_issue_date = models.DateField(_("licence issued"), null=True)
    car_id = models.CharField(_("car"), null=True)
    car_brand = models.CharField(_("car brand"), null=True)
    car_model = models.CharField(_("car model"), null=True)
    car_color = models.CharField(_("car colour"), null=True)
    car_number = models.CharField(_("plate"), null=True)
    car_callsign = models.CharField(_("call sign"), null=True)
    car_normalized_number = models.CharField(_("plate, normalised by the source"), null=True)
    hire_date = models.DateField(_("hire date"), null=True)
    fire_date = models.DateField(_("fire date"), null=True)
    is_selfemployed = models.BooleanField(_("self-employed"), null=True)
    active = models.BooleanField(_("active"), null=True)
    work_status = models.CharField(_("work status"), null=True)
    current_status = models.CharField(_("current status"), null=True)
    account_balance = models.DecimalField(_("account balance"), max_digits=20, decimal_places=4, null=True)
    account_balance_limit = models.DecimalField(_("account balance limit"), max_digits=20, decimal_places=4, null=True)
    account_currency = models.CharField(_("account currency"), null=True)
    recipient_name = models.CharField(_("recipient name"), null=True)
    document_type = models.CharField(_("document type"), null=True)
    document_number = models.CharField(_("document number"), null=True)
    rating = models.FloatField(_("rating"), null=True)
    status_updated_at = models.DateField(_("status updated"), null=True)
    created_at = NaiveDateTimeField(_("created"), null=True)
    updated_at = NaiveDateTimeField(_("updated"), null=True)

    class Meta(SourceModel.Meta):
        db_table = "drivers"
        verbose_name = _("driver")
        verbose_name_plural = _("drivers")

    def __str__(self) -> str:
        return self.driver_id


class DailyTrips(SourceModel):
    """The trips of one driver on one day (domain.md 2.5). ``date_file`` is text in either order of day and year.

    The table has no key of one column, so this model cannot be registered in the admin; a view can.
    """

    pk = models.CompositePrimaryKey("driver_id", "date_file")
    driver_id = models.CharField(_("driver"))
    date_file = models.TextField(_("day, as the file wrote it"))
    count_orders_completed = models.IntegerField(_("trips"), null=True)
    sum_work_time_seconds = models.IntegerField(_("seconds connected"), null=True)
    created_at = NaiveDateTimeField(_("created"), null=True)

    class Meta(SourceModel.Meta):
        db_table = "summary_daily"
        verbose_name = _("trips of a day")
        verbose_name_plural = _("trips by day")

    def __str__(self) -> str:
        return f"{self.driver_id} {self.date_file}"


class CabinetPayment(SourceModel):
    """What Yango paid for a driver (domain.md 2.6)."""

    id = models.AutoField(_("id"), primary_key=True)
    date = models.DateField(_("pay date"), null=True)
    time = models.TimeField(_("pay time"), null=True)
    driver = models.TextField(_("driver name"), null=True)
    scout_id = models.IntegerField(_("scout"), null=True)
    trip_1 = models.BooleanField(_("paid for 1 trip"), null=True)
    trip_5 = models.BooleanField(_("paid for 5 trips"), null=True)
    trip_25 = models.BooleanField(_("paid for 25 trips"), null=True)
    driver_id = models.CharField(_("driver"), null=True)
    person_key = models.UUIDField(_("person"), null=True)
    created_at = NaiveDateTimeField(_("created"), null=True)
    updated_at = NaiveDateTimeField(_("updated"), null=True)

    class Meta(SourceModel.Meta):
        db_table = "module_ct_cabinet_payments"
        verbose_name = _("cabinet payment")
        verbose_name_plural = _("cabinet payments")

    def __str__(self) -> str:
        return str(self.pk)


class ScoutListEntry(SourceModel):
    """A scout as the recruiters' own list names them (domain.md 2.7)."""

    scout_id = models.IntegerField(_("scout"), primary_key=True)
    raw_name = models.CharField(_("raw name"), null=True)
    name = models.CharField(_("name"), null=True)
    is_active = models.BooleanField(_("active"), null=True)
    created_at = NaiveDateTimeField(_("created"), null=True)
    updated_at = NaiveDateTimeField(_("updated"), null=True)

    class Meta(SourceModel.Meta):
        db_table = "module_ct_scouts_list"
        verbose_name = _("scout of the list")
        verbose_name_plural = _("scouts of the list")

    def __str__(self) -> str:
        return self.name or self.raw_name or str(self.scout_id)


SOURCE_MODELS = (
    CabinetLead,
    ScoutingRegistration,
    MigrationRecord,
    Driver,
    DailyTrips,
    CabinetPayment,
    ScoutListEntry,
)
