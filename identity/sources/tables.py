"""What identifies a row of each source table (domain.md 2 and 3.12)."""

from __future__ import annotations

from dataclasses import dataclass

from identity.models.sources import (
    SOURCE_MODELS,
    CabinetLead,
    CabinetPayment,
    DailyTrips,
    Driver,
    MigrationRecord,
    ScoutingRegistration,
    ScoutListEntry,
    SourceModel,
)


@dataclass(frozen=True)
class SourceTable:
    """One source table: the columns a file may bring and the ones that say which row is meant.

    ``surrogate`` is a number of the source system beside the natural key. With ``surrogate_identifies`` it is the key
    of rows whose natural key is empty (cabinet: ``external_id`` if not empty, else ``id``, Q68).
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    surrogate: str = ""
    surrogate_identifies: bool = False

    @property
    def natural(self) -> str:
        return self.key[0]


def _table(
    model: type[SourceModel], *key: str, surrogate: str = "", surrogate_identifies: bool = False
) -> tuple[str, SourceTable]:
    columns = tuple(field.column for field in model._meta.concrete_fields if field.column)
    name = model._meta.db_table
    return name, SourceTable(name, columns, key, surrogate, surrogate_identifies)


SOURCE_TABLES: dict[str, SourceTable] = dict(
    (
        _table(CabinetLead, "external_id", surrogate="id", surrogate_identifies=True),
        _table(ScoutingRegistration, "id"),
        _table(MigrationRecord, "id"),
        _table(Driver, "driver_id", surrogate="id"),
        _table(DailyTrips, "driver_id", "date_file"),
        _table(CabinetPayment, "id"),
        _table(ScoutListEntry, "scout_id"),
    )
)

# The day is text in the table, in either order, but one day is one key whatever its spelling (domain.md 2.5).
DAY_AS_TEXT = ("summary_daily", "date_file")

assert len(SOURCE_TABLES) == len(SOURCE_MODELS)
