"""Something of everything, for the tests that read every view."""

from __future__ import annotations

import datetime as dt

from identity.models import CabinetLead, ScoutingRegistration
from tests.factories import (
    JUAN,
    LEAD_DATE,
    OTHER_PARK,
    PEDRO,
    ROSA,
    a_driver,
    a_family_phone,
    a_lead,
    a_lead_known_by_its_car,
    a_migrated_driver,
    a_migration,
    a_name,
    a_recruited_driver,
    a_registration,
    match,
)
from tests.shared import made_once


def _populate() -> None:
    """Persons by every feed, records of every reason, dirty and missing values, dates at the edges of a Lima day."""
    a_recruited_driver(JUAN)
    a_lead_known_by_its_car(ROSA)
    a_migrated_driver(PEDRO)
    a_migrated_driver(a_name(7), park=None, hired=None)

    phone, _ = a_family_phone(a_name(1), a_name(2), a_name(3))
    a_registration(a_name(1), phone=phone)
    a_registration(PEDRO, phone=a_phone_of(JUAN))
    a_driver(JUAN, plate="ABC123", phone="(01) 456-7890", licence="12345678", hired=LEAD_DATE - dt.timedelta(days=400))
    a_lead("Juan Quispe", plate="abc-123", on=dt.datetime.combine(LEAD_DATE, dt.time(23, 59, 59)))
    a_registration(None, phone="(01) 456-7890")
    a_migration("f" * 32)

    a_driver(None, phone=None, licence="SIN DATOS", plate="AAA000", park=OTHER_PARK, hired=None)
    a_lead(None, on=None, external_id=None)
    a_lead("José Peña-Ñahui", phone="+51 999 999 999", external_id="", on=dt.datetime.combine(LEAD_DATE, dt.time()))
    CabinetLead.objects.create(created_at=None)
    ScoutingRegistration.objects.create(created_at=None, updated_at=None)
    match()


populated = made_once("populated", _populate)


def a_phone_of(name: str) -> str | None:
    return ScoutingRegistration.objects.filter(driver_name=name).values_list("driver_phone", flat=True).first()
