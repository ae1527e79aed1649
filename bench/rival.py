"""Splink on the same leads and drivers, as its quick start sets it up: phone and name, nothing tuned.

One model per feed, each with the name as the feed has it. It gets keys that CT4 normalised, which is kinder than raw
columns, and may look for pairs by licence and plate too. Migrations are left out: they name their driver.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from importlib.util import find_spec
from typing import Any

from django.db import connection

INSTALL = "pip install --require-hashes -r requirements/bench.txt"
LIKELY = 0.9

_CABINET = """
select staged.source_pk as unique_id, staged.phone_norm as phone, staged.plate_norm as plate,
    canon.fold_name(leads.first_name) as first_name, canon.fold_name(leads.last_name) as last_name
from canon.stg_cabinet_leads as staged
inner join public.module_ct_cabinet_leads as leads on leads.external_id = staged.source_pk
"""
_SCOUTING = """
select source_pk as unique_id, phone_norm as phone, license_norm as license, canon.name_key(name_norm) as name
from canon.stg_scouting_daily
"""
_DRIVERS = """
select indexed.driver_id as unique_id, indexed.phone_norm as phone, indexed.license_norm as license,
    indexed.plate_norm as plate, canon.name_key(indexed.full_name_norm) as name,
    split_part(canon.fold_name(drivers.first_name), ' ', 1) as first_name,
    canon.fold_name(drivers.last_name) as last_name
from canon.drivers_index as indexed
inner join public.drivers as drivers on lower(btrim(drivers.driver_id)) = indexed.driver_id
"""


def is_installed() -> bool:
    """Whether Splink and DuckDB can be imported."""
    return all(find_spec(name) for name in ("splink", "duckdb"))


def links() -> dict[tuple[str, str], str]:
    """Link leads and drivers of the present database with Splink; return the best driver of every lead it links."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drivers = _columns(_DRIVERS)
        cabinet = _best_drivers(
            _columns(_CABINET), drivers, ["first_name", "last_name"], ["phone", "plate", "last_name"]
        )
        scouting = _best_drivers(_columns(_SCOUTING), drivers, ["name"], ["phone", "license", "name"])
    return {("module_ct_cabinet_leads", lead): driver for lead, driver in cabinet.items()} | {
        ("module_ct_scouting_daily", lead): driver for lead, driver in scouting.items()
    }


def _best_drivers(
    leads: dict[str, list[Any]], drivers: dict[str, list[Any]], names: list[str], blocking: list[str]
) -> dict[str, str]:
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    settings = SettingsCreator(
        link_type="link_only",
        comparisons=[cl.ExactMatch("phone"), *(cl.JaroWinklerAtThresholds(name, [0.9, 0.7]) for name in names)],
        blocking_rules_to_generate_predictions=[block_on(column) for column in blocking],
    )
    api = DuckDBAPI()
    with contextlib.closing(api.duckdb_con):
        tables = [
            api.register(
                {name: columns[name] for name in ("unique_id", *names, *set(blocking) - set(names))}, table_name=table
            )
            for table, columns in (("leads", leads), ("drivers", drivers))
        ]
        linker = Linker(tables, settings, log_level=logging.ERROR)
        linker.training.estimate_probability_two_random_records_match([block_on("phone"), block_on(*names)], recall=0.7)
        linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
        linker.training.estimate_parameters_using_expectation_maximisation(block_on("phone"))
        linker.training.estimate_parameters_using_expectation_maximisation(block_on(names[-1]))
        pairs = linker.inference.predict(threshold_match_probability=LIKELY).as_record_list()
    best: dict[str, tuple[float, str]] = {}
    for pair in pairs:
        lead, driver = pair["unique_id_l"], pair["unique_id_r"]
        if pair["source_dataset_l"] == "drivers":
            lead, driver = driver, lead
        candidate = (pair["match_weight"], driver)
        best[lead] = max(best.get(lead, candidate), candidate)
    return {lead: driver for lead, (_weight, driver) in best.items()}


def _columns(query: str) -> dict[str, list[Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        names = [column.name for column in cursor.description]
        return dict(zip(names, map(list, zip(*cursor.fetchall(), strict=True)), strict=True))
