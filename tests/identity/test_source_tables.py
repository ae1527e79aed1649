"""The seven source tables: made when missing, never touched when there, read as they are stored."""

from __future__ import annotations

import datetime
import importlib

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from identity.models import CabinetLead, Driver
from identity.models.sources import LIMA, SOURCE_MODELS

pytestmark = pytest.mark.django_db

migration = importlib.import_module("identity.migrations.0001_source_tables")


def catalog(table: str) -> list[list[tuple]]:
    """Everything the catalog says about a table: itself, columns, defaults, indexes, constraints, privileges."""
    queries = (
        "select oid, relfilenode, relkind, reloptions::text, relacl::text from pg_class where oid = to_regclass(%s)",
        "select attnum, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attisdropped, xmin::text"
        " from pg_attribute where attrelid = to_regclass(%s) order by attnum",
        "select adnum, pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = to_regclass(%s) order by adnum",
        "select pg_get_indexdef(indexrelid) from pg_index where indrelid = to_regclass(%s) order by 1",
        "select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = to_regclass(%s) order by 1",
    )
    found = []
    with connection.cursor() as cursor:
        for query in queries:
            cursor.execute(query, [f"public.{table}"])
            found.append(cursor.fetchall())
    return found


def migrate() -> None:
    with connection.schema_editor() as editor:
        migration.create_missing_tables(apps, editor)


@pytest.mark.parametrize("model", SOURCE_MODELS, ids=lambda model: model._meta.db_table)
def test_a_model_has_the_columns_of_its_table_in_the_same_order_and_types(model):
    types = {"varchar": "character varying", "serial": "integer", "bigserial": "bigint", "numeric(20, 4)": "numeric"}
    expected = []
    for field in model._meta.concrete_fields:
        db_type = field.db_type(connection)
        expected.append((field.column, types.get(db_type, db_type)))
    found = [(row[1], row[2]) for row in catalog(model._meta.db_table)[1] if row[0] > 0]
    assert found == [(name, "time without time zone" if kind == "time" else kind) for name, kind in expected]


@pytest.mark.parametrize("model", SOURCE_MODELS, ids=lambda model: model._meta.db_table)
def test_only_key_columns_are_demanded_by_a_table_we_made(model):
    """A file needs to bring only the keys, so no other column may be NOT NULL."""
    demanded = {row[1] for row in catalog(model._meta.db_table)[1] if row[0] > 0 and row[3]}
    assert demanded <= {"id", "driver_id", "date_file", "scout_id"}
    assert all(index[0].startswith("CREATE UNIQUE INDEX") for index in catalog(model._meta.db_table)[3])


def test_a_table_that_exists_is_left_exactly_as_it_is():
    with connection.cursor() as cursor:
        cursor.execute("drop table public.drivers cascade")
        cursor.execute(
            "create table public.drivers (driver_id text, rating text default 'none', of_their_own integer not null)"
        )
        cursor.execute("insert into public.drivers values ('d1', '5', 1), ('d1', '5', 1)")
    before = catalog("drivers")
    migrate()
    assert catalog("drivers") == before


def test_a_missing_table_is_made_again_and_a_second_time_changes_nothing():
    with connection.cursor() as cursor:
        cursor.execute("drop table public.module_ct_cabinet_leads cascade")
    migrate()
    made = catalog("module_ct_cabinet_leads")
    assert made[0]
    migrate()
    assert catalog("module_ct_cabinet_leads") == made


def test_going_back_keeps_the_tables():
    assert all(operation.reversible for operation in migration.Migration.operations)
    with connection.schema_editor() as editor:
        migration.Migration.operations[0].reverse_code(apps, editor)
    assert catalog("drivers")[0]


def test_many_leads_may_lack_an_external_id_and_none_may_share_one():
    for external_id in (None, None, "", "", "e1"):
        CabinetLead.objects.create(external_id=external_id)
    with pytest.raises(Exception, match="module_ct_cabinet_leads_one_row_per_external_id"):
        CabinetLead.objects.create(external_id="e1")


def test_a_stored_wall_clock_is_read_and_compared_unconverted():
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into public.drivers (driver_id, created_at) values ('d1', '2024-03-01 23:30'), ('d2', '2024-03-02')"
        )
    late = Driver.objects.get(driver_id="d1")
    assert late.created_at == datetime.datetime(2024, 3, 1, 23, 30)  # noqa: DTZ001
    assert timezone.is_naive(late.created_at)
    assert Driver.objects.get(created_at__date=datetime.date(2024, 3, 1)) == late
    assert Driver.objects.get(created_at__lt=datetime.datetime(2024, 3, 2, tzinfo=LIMA)) == late
    assert Driver.objects.get(created_at__lt=datetime.datetime(2024, 3, 2, 5, tzinfo=datetime.UTC)) == late
    assert Driver.objects.get(created_at__lt=datetime.date(2024, 3, 2)) == late
    assert Driver.objects.get(created_at__gte="2024-03-02").driver_id == "d2"


def test_rows_made_without_a_load_time_get_the_wall_clock_of_lima():
    lead = CabinetLead.objects.create(external_id="e1")
    with connection.cursor() as cursor:
        cursor.execute("insert into public.module_ct_cabinet_leads (external_id) values ('e2')")
        cursor.execute(
            "select now() at time zone 'America/Lima' = created_at from public.module_ct_cabinet_leads"
            " where external_id = 'e2'"
        )
        assert cursor.fetchone() == (True,)
    assert lead.created_at is None
