"""The files of a demo data set: their columns, and writing them so that half a set never looks complete."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

COLUMNS: dict[str, tuple[str, ...]] = {
    "module_ct_cabinet_leads": (
        "id", "external_id", "lead_created_at", "first_name", "middle_name", "last_name", "park_phone",
        "asset_plate_number", "asset_model", "asset_color", "park_name", "activation_city", "target_city", "tariff",
        "status", "last_active_date", "active_1", "active_5", "active_10", "active_15", "active_25", "active_50",
        "active_100", "created_at",
    ),
    "module_ct_scouting_daily": (
        "id", "registration_date", "scout_id", "driver_name", "driver_phone", "driver_license", "acquisition_method",
        "created_at", "updated_at",
    ),
    "module_ct_migrations": (
        "id", "driver_id", "driver_name", "scout_id", "scout_name", "hire_date", "created_at", "updated_at",
    ),
    "drivers": (
        "id", "driver_id", "park_id", "first_name", "last_name", "middle_name", "full_name", "phone", "license_number",
        "license_normalized_number", "license_country", "license_expiration_date", "license_issue_date", "car_id",
        "car_brand", "car_model", "car_color", "car_number", "car_callsign", "car_normalized_number", "hire_date",
        "fire_date", "is_selfemployed", "active", "work_status", "current_status", "account_balance",
        "account_balance_limit", "account_currency", "recipient_name", "document_type", "document_number", "rating",
        "status_updated_at", "created_at", "updated_at",
    ),
    "summary_daily": ("driver_id", "date_file", "count_orders_completed", "sum_work_time_seconds", "created_at"),
    "module_ct_cabinet_payments": (
        "id", "date", "time", "driver", "scout_id", "trip_1", "trip_5", "trip_25", "driver_id", "person_key",
        "created_at", "updated_at",
    ),
    "module_ct_scouts_list": ("scout_id", "raw_name", "name", "is_active", "created_at", "updated_at"),
    "legacy_persons": (
        "person_key", "confidence_level", "primary_phone", "primary_document", "primary_license", "primary_full_name",
        "flags", "created_at", "updated_at",
    ),
    "legacy_links": (
        "person_key", "source_table", "source_pk", "snapshot_date", "match_rule", "match_score", "confidence_level",
        "evidence", "linked_at",
    ),
    "truth_leads": ("source_table", "source_pk", "person_id", "driver_id", "linkable", "scenario"),
    "truth_drivers": ("driver_id", "person_id"),
    "truth_scouts": ("person_id", "scouts", "within_7_days", "rule", "winner"),
    "truth_orphans": ("driver_id", "person_id", "repairable", "source_table", "source_pk", "scenario"),
    "truth_claims": ("driver_id", "milestone", "lead_source_pk", "lead_date", "achieved_date", "is_paid"),
}  # fmt: skip
MANIFEST = "manifest.json"

Value = str | int | float | bool | None


def _field(value: Value) -> str:
    """Write one CSV field. NULL is an empty field, the empty string is `""`: COPY tells them apart, and so do we."""
    if value is None:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    text = str(value)
    if not text or "," in text or '"' in text or "\n" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


class DemoFiles:
    """Open files of one set, written under temporary names and renamed together when the set is complete.

    `manifest.json` is removed before the first rename and comes back last: a directory with it holds one whole set.
    """

    def __init__(self, directory: Path, leads: int, seed: int) -> None:
        self.directory = directory
        self.leads, self.seed = leads, seed
        self.rows: dict[str, int] = dict.fromkeys(COLUMNS, 0)
        self._streams: dict[str, TextIO] = {}

    def __enter__(self) -> "DemoFiles":
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            for table, columns in COLUMNS.items():
                self._streams[table] = self._partial(table).open("w", encoding="utf-8", newline="\n")
                self._streams[table].write(",".join(columns) + "\n")
        except OSError:
            self._discard()
            raise
        return self

    def write(self, table: str, values: Sequence[Value]) -> None:
        """Append one row to a table's file."""
        self._streams[table].write(",".join(map(_field, values)) + "\n")
        self.rows[table] += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            for stream in self._streams.values():
                stream.flush()
                os.fsync(stream.fileno())
                stream.close()
            manifest = self.directory / MANIFEST
            manifest.unlink(missing_ok=True)
            for table in COLUMNS:
                self._partial(table).replace(self.directory / f"{table}.csv")
            content = json.dumps({"leads": self.leads, "seed": self.seed, "rows": self.rows}, indent=2)
            partial = self.directory / f"{MANIFEST}.partial"
            partial.write_text(content + "\n", encoding="utf-8", newline="\n")
            partial.replace(manifest)
        except OSError:
            self._discard()
            raise

    def _partial(self, table: str) -> Path:
        return self.directory / f"{table}.csv.partial"

    def _discard(self) -> None:
        for table, stream in self._streams.items():
            with suppress(OSError):  # a full disk fails the close too
                stream.close()
            with suppress(OSError):
                self._partial(table).unlink(missing_ok=True)
