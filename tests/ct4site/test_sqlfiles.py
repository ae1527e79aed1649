"""The machinery of SQL files, on throw-away folders; the real files are tested in tests/sql."""

import importlib
import shutil
from io import StringIO

import pytest
from django.apps import apps
from django.conf import settings
from django.core.checks import Tags, run_checks
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, migrations, models, transaction
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.migrations.state import ProjectState
from django.utils import translation

from ct4site import schemas, sqlfiles
from ct4site.apps import make_way_for_migrations, sync_after_migrate

VIEW = """-- {name}
-- {header}
-- Grain: one row per id.
-- Read by: nobody.

select source.id, source.label
from public.sqlfiles_source as source{extra}
"""


def rows(statement, params=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall() if cursor.description else []


def view_text(name, header="Sources.", extra=""):
    return VIEW.format(name=name, header=header, extra=extra)


def oid(relation):
    return rows("select to_regclass(%s)::oid", [relation])[0][0]


@pytest.fixture(autouse=True)
def english():
    with translation.override("en"):
        yield


class Folder:
    """A copy of the real functions and no views: an index may stand on a function, so they cannot just be gone."""

    def __init__(self, path):
        self.path = path
        shutil.copytree(sqlfiles.default_root() / "functions", path / "functions")

    def write(self, where, text):
        target = self.path / where
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def sync(self):
        return sqlfiles.sync(root=self.path)

    def out_of_date(self):
        return sqlfiles.out_of_date(self.path)


@pytest.fixture
def folder(db, tmp_path):
    folder = Folder(tmp_path / "sql")
    folder.sync()
    rows("create table public.sqlfiles_source (id bigint primary key, label text)")
    rows("insert into public.sqlfiles_source select n, 'label ' || n from generate_series(1, 200) as n")
    return folder


@pytest.fixture
def view(folder):
    """A synced folder with ops.v_second reading canon.stg_first; returns the folder."""
    folder.write("identity/10_stg_first.sql", view_text("canon.stg_first"))
    folder.write(
        "orphans/30_v_second.sql",
        "-- ops.v_second\n-- Second.\n-- Grain: one row per id.\nselect first.id from canon.stg_first as first;\n",
    )
    folder.sync()
    return folder


class TestSyncOfViews:
    def test_creates_them_in_order_and_registers_them(self, folder):
        folder.write(
            "orphans/30_v_b.sql", "-- ops.v_b\n-- B.\n-- Grain: one row per id.\nselect a.id from ops.v_a as a"
        )
        folder.write("identity/30_v_a.sql", view_text("ops.v_a"))

        assert folder.sync().views == 2
        assert rows("select count(*) from ops.v_b") == [(200,)]
        assert rows("select name from ops.sql_objects where kind = 'view' order by name") == [
            ("ops.v_a",),
            ("ops.v_b",),
        ]

    def test_writes_the_header_as_the_comment(self, view):
        assert rows("select obj_description('canon.stg_first'::regclass)") == [
            ("Sources.\nGrain: one row per id.\nRead by: nobody.",)
        ]

    def test_does_nothing_when_nothing_changed(self, view):
        before = oid("canon.stg_first"), rows("select name, xmin::text, ctid::text from ops.sql_objects order by name")

        report = view.sync()

        assert (report.functions, report.views, report.removed) == (0, 0, 0)
        assert report.unchanged >= 2
        assert before == (
            oid("canon.stg_first"),
            rows("select name, xmin::text, ctid::text from ops.sql_objects order by name"),
        )

    def test_keeps_the_columns_and_their_order(self, view):
        columns = rows(
            "select attname::text from pg_attribute where attrelid = 'canon.stg_first'::regclass and attnum > 0 order by attnum"
        )
        assert columns == [("id",), ("label",)]

    @pytest.mark.parametrize(
        "statement",
        [
            "insert into canon.stg_first (id) values (0)",
            "update canon.stg_first set label = 'x'",
            "delete from canon.stg_first",
        ],
    )
    def test_makes_views_that_refuse_to_be_written(self, view, statement):
        with pytest.raises(DatabaseError, match=r"cannot .* view"), transaction.atomic():
            rows(statement)

    def test_leaves_indexes_usable_through_the_view(self, view):
        rows("set local enable_seqscan = off")
        plan = "\n".join(line for (line,) in rows("explain select * from ops.v_second where id = 7"))
        assert "Index Cond: (id = 7)" in plan

    def test_adds_removes_renames_and_retypes_columns(self, view):
        text = view_text("canon.stg_first").replace("source.label", "source.id::text as code, source.label as title")
        view.write("identity/10_stg_first.sql", text)

        assert view.out_of_date() == ["canon.stg_first: its file has changed"]
        view.sync()
        assert rows("select id, code, title from canon.stg_first where id = 3") == [(3, "3", "label 3")]

    def test_removes_a_view_whose_file_is_gone(self, view):
        (view.path / "orphans" / "30_v_second.sql").unlink()

        assert view.out_of_date() == ["ops.v_second: its file is gone"]
        assert view.sync().removed == 1
        assert oid("ops.v_second") is None

    def test_brings_back_a_view_dropped_by_hand(self, view):
        rows("drop view ops.v_second")

        assert view.out_of_date() == ["ops.v_second: is missing in the database"]
        view.sync()
        assert view.out_of_date() == []
        assert oid("ops.v_second")

    @pytest.mark.parametrize(
        "by_hand",
        [
            "create or replace view ops.v_second as select 1::bigint as id",
            "comment on view ops.v_second is 'by hand'",
        ],
    )
    def test_undoes_a_change_made_by_hand(self, view, by_hand):
        rows(by_hand)

        assert view.out_of_date() == ["ops.v_second: was changed in the database, not in its file"]
        view.sync()
        assert view.out_of_date() == []
        assert rows("select count(*), max(obj_description('ops.v_second'::regclass)) from ops.v_second") == [
            (200, "Second.\nGrain: one row per id.")
        ]

    def test_sees_the_same_under_another_search_path(self, view):
        rows("set local search_path = ops, canon")
        assert view.out_of_date() == []
        assert rows("show search_path") == [("ops, canon",)]

    def test_puts_the_settings_of_the_session_back(self, view):
        before = rows("show search_path"), rows("show lock_timeout")
        view.write("identity/10_stg_first.sql", view_text("canon.stg_first", header="Other."))
        view.sync()
        assert before == (rows("show search_path"), rows("show lock_timeout"))

    def test_treats_windows_line_ends_as_the_same_file(self, view):
        path = view.path / "identity" / "10_stg_first.sql"
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert view.out_of_date() == []

    def test_takes_percent_signs_and_quotes_as_they_are(self, folder):
        folder.write(
            "identity/10_stg_first.sql", view_text("canon.stg_first", "It's 100 %s.", " where label like '%7'")
        )
        folder.sync()
        assert rows("select count(*), max(obj_description('canon.stg_first'::regclass)) from canon.stg_first") == [
            (20, "It's 100 %s.\nGrain: one row per id.\nRead by: nobody.")
        ]


class TestSyncThatFails:
    def same_as_before(self, view, before):
        return before == (oid("canon.stg_first"), oid("ops.v_second"))

    def test_names_a_dependant_of_someone_else_and_keeps_the_old_views(self, view):
        rows("create view public.of_someone_else as select * from ops.v_second")
        before = oid("canon.stg_first"), oid("ops.v_second")
        view.write("identity/10_stg_first.sql", view_text("canon.stg_first", header="Other."))

        with pytest.raises(sqlfiles.SyncError, match=r"public\.of_someone_else depends on view ops\.v_second"):
            view.sync()
        assert self.same_as_before(view, before)
        assert rows("show search_path") != [("pg_catalog",)]

    @pytest.mark.parametrize(
        "extra", [" where", " where source.no_such_column", "; drop table public.sqlfiles_source", " order by (1"]
    )
    def test_names_the_file_and_keeps_the_old_views(self, view, extra):
        before = oid("canon.stg_first"), oid("ops.v_second")
        view.write("identity/10_stg_first.sql", view_text("canon.stg_first", extra=extra))

        with pytest.raises(sqlfiles.SyncError, match=r"^identity/10_stg_first\.sql: "):
            view.sync()
        assert self.same_as_before(view, before)
        assert rows("select count(*) from public.sqlfiles_source") == [(200,)]

    def test_wants_qualified_names(self, view):
        text = view_text("canon.stg_first").replace("public.sqlfiles_source", "sqlfiles_source")
        view.write("identity/10_stg_first.sql", text)
        with pytest.raises(sqlfiles.SyncError, match='relation "sqlfiles_source" does not exist'):
            view.sync()

    @pytest.mark.parametrize(
        "occupant", ["create view ops.v_third as select 1 as id", "create table ops.v_third (id int)"]
    )
    def test_does_not_touch_what_it_did_not_make(self, view, occupant):
        rows(occupant)
        view.write("recovery/30_v_third.sql", view_text("ops.v_third"))
        before = oid("ops.v_third")

        with pytest.raises(sqlfiles.SyncError, match=r"not made from a file.*ops\.v_third"):
            view.sync()
        assert oid("ops.v_third") == before

    def test_does_not_drop_a_table_that_took_the_place_of_a_view(self, view):
        rows("drop view ops.v_second")
        rows("create table ops.v_second (id int)")
        with pytest.raises(sqlfiles.SyncError, match='"v_second" is not a view'):
            view.sync()

    @pytest.mark.django_db(transaction=True)
    def test_gives_way_to_a_long_reader(self, tmp_path, monkeypatch):
        folder = Folder(tmp_path / "sql")
        text = "-- ops.v_read\n-- {header}\n-- Grain: one row per id.\nselect 1 as id"
        folder.write("identity/30_v_read.sql", text.format(header="Old."))
        folder.sync()
        monkeypatch.setattr(sqlfiles, "LOCK_TIMEOUT", "50ms")
        reader = connection.copy()
        try:
            with reader.cursor() as cursor:
                cursor.execute("begin")
                cursor.execute("select * from ops.v_read")
                assert folder.sync().views == 0  # nothing to do: no lock wanted
                before = oid("ops.v_read")
                folder.write("identity/30_v_read.sql", text.format(header="New."))

                with pytest.raises(sqlfiles.SyncError, match="nothing was changed"):
                    folder.sync()
                assert oid("ops.v_read") == before
                cursor.execute("rollback")
            assert folder.sync().views == 1
        finally:
            reader.close()
            sqlfiles.sync()

    @pytest.mark.django_db(transaction=True)
    def test_waits_for_another_sync_only_so_long(self, tmp_path, monkeypatch):
        folder = Folder(tmp_path / "sql")
        folder.write("identity/30_v_one.sql", "-- ops.v_one\n-- One.\n-- Grain: one row per id.\nselect 1 as id")
        monkeypatch.setattr(sqlfiles, "LOCK_TIMEOUT", "50ms")
        other = connection.copy()
        try:
            with other.cursor() as cursor:
                cursor.execute("select pg_advisory_lock(%s)", [sqlfiles._ONE_SYNC_AT_A_TIME])
                with pytest.raises(sqlfiles.SyncError, match="nothing was changed"):
                    folder.sync()
                cursor.execute("select pg_advisory_unlock_all()")
            assert folder.sync().views == 1
        finally:
            other.close()
            sqlfiles.sync()


FUNCTION = "-- canon.t_double\n-- Twice.\n{text}\n"
DOUBLE = "create or replace function canon.t_double(n int) returns int language sql immutable return n * {factor};"


def function_oid(name):
    return rows("select oid from pg_proc where proname = %s", [name.partition(".")[2]])


class TestSyncOfFunctions:
    def test_replaces_a_changed_body_in_place(self, folder):
        folder.write("functions/t_double.sql", FUNCTION.format(text=DOUBLE.format(factor=2)))
        assert folder.sync().functions == 1
        before = function_oid("canon.t_double")
        rows("create index on public.sqlfiles_source ((canon.t_double(id::int)))")

        folder.write("functions/t_double.sql", FUNCTION.format(text=DOUBLE.format(factor=3)))
        assert folder.out_of_date() == ["canon.t_double: its file has changed"]
        assert folder.sync().functions == 1
        assert rows("select canon.t_double(2)") == [(6,)]
        assert function_oid("canon.t_double") == before

    @pytest.mark.parametrize(
        "changed",
        [
            "create or replace function canon.t_double(n int) returns text language sql immutable return n::text || n;",
            "create or replace function canon.t_double(m int) returns int language sql immutable return m;",
            "create or replace function canon.t_double(n bigint) returns int language sql immutable return 1;",
            "create or replace function canon.t_double(n int, m int) returns int language sql immutable return n;",
        ],
    )
    def test_drops_it_first_when_its_signature_changes_even_under_our_views(self, folder, changed):
        folder.write("functions/t_double.sql", FUNCTION.format(text=DOUBLE.format(factor=2)))
        text = view_text("canon.stg_first").replace("source.label", "canon.t_double(source.id::int) as twice")
        view = folder.write("identity/10_stg_first.sql", text)
        folder.sync()

        folder.write("functions/t_double.sql", FUNCTION.format(text=changed))
        view.write_text(text.replace("(source.id::int)", "(source.id::int, 1)") if ", m int" in changed else text)
        folder.sync()
        assert len(function_oid("canon.t_double")) == 1
        assert folder.out_of_date() == []

    def test_never_takes_an_index_with_it(self, folder):
        folder.write("functions/t_double.sql", FUNCTION.format(text=DOUBLE.format(factor=2)))
        folder.sync()
        rows("create index t_double_index on public.sqlfiles_source ((canon.t_double(id::int)))")
        changed = "create or replace function canon.t_double(n int) returns text language sql immutable return n::text;"
        folder.write("functions/t_double.sql", FUNCTION.format(text=changed))

        with pytest.raises(sqlfiles.SyncError, match=r"index public\.t_double_index depends on function"):
            folder.sync()
        (folder.path / "functions" / "t_double.sql").unlink()
        with pytest.raises(sqlfiles.SyncError, match=r"index public\.t_double_index depends on function"):
            folder.sync()

    def test_removes_one_whose_file_is_gone(self, folder):
        path = folder.write("functions/t_double.sql", FUNCTION.format(text=DOUBLE.format(factor=2)))
        folder.sync()
        path.unlink()
        assert folder.sync().removed == 1
        assert function_oid("canon.t_double") == []

    def test_notices_one_changed_by_hand(self, folder):
        folder.write("functions/t_double.sql", FUNCTION.format(text=DOUBLE.format(factor=2)))
        folder.sync()
        rows("alter function canon.t_double volatile")
        assert folder.out_of_date() == ["canon.t_double: was changed in the database, not in its file"]
        folder.sync()
        assert rows("select provolatile from pg_proc where proname = 't_double'") == [("i",)]

    def test_makes_a_called_function_before_its_caller(self, folder):
        folder.write("functions/t_double.sql", FUNCTION.format(text=DOUBLE.format(factor=2)))
        caller = "create or replace function canon.t_a(n int) returns int language sql return canon.t_double(n);"
        folder.write("functions/t_a.sql", f"-- canon.t_a\n-- Calls.\n{caller}")
        folder.sync()
        assert rows("select canon.t_a(4)") == [(8,)]

    def test_says_so_when_functions_call_each_other(self, folder):
        for one, other in (("t_a", "t_b"), ("t_b", "t_a")):
            body = f"create or replace function canon.{one}() returns int language sql return canon.{other}();"
            folder.write(f"functions/{one}.sql", f"-- canon.{one}\n-- Calls.\n{body}")
        with pytest.raises(sqlfiles.SyncError, match="in a circle"):
            folder.sync()


class TestReadingFiles:
    @pytest.mark.parametrize(
        ("where", "text", "reason"),
        [
            ("identity/10_stg_a.sql", "select 1", "first line"),
            ("identity/10_stg_a.sql", "-- public.stg_a\n-- A.\n-- Grain: one row per id.\nselect 1", "first line"),
            ("identity/10_stg_a.sql", "-- canon.stg_b\n-- A.\n-- Grain: one row per id.\nselect 1", "is called stg_a"),
            ("identity/10_stg_a.sql", "-- canon.stg_a\nselect 1", "does not say what it is"),
            ("identity/10_stg_a.sql", "-- canon.stg_a\n-- A.\nselect 1", "Grain: one row per"),
            ("identity/50_stg_a.sql", "-- canon.stg_a\n-- A.\n-- Grain: one row per id.\nselect 1", "NN from 10 to 49"),
            ("identity/stg_a.sql", "-- canon.stg_a\n-- A.\n-- Grain: one row per id.\nselect 1", "NN from 10 to 49"),
            ("functions/t_a.sql", "-- canon.t_a\n-- A.\nselect 1", "create or replace function canon.t_a"),
            ("functions/t_a.sql", FUNCTION.format(text=DOUBLE.format(factor=2)), "create or replace|is called t_a"),
            (
                "functions/t_double.sql",
                FUNCTION.format(text=DOUBLE.format(factor=2) + DOUBLE.format(factor=3)),
                "must hold one",
            ),
        ],
    )
    def test_refuses_a_file_that_breaks_a_rule(self, tmp_path, where, text, reason):
        path = tmp_path / where
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        with pytest.raises(sqlfiles.SyncError, match=reason) as caught:
            sqlfiles.read(tmp_path)
        assert str(caught.value).startswith(where)

    def test_refuses_one_relation_name_in_two_schemas(self, tmp_path):
        for where, name in (("identity/10_a.sql", "canon.a"), ("orphans/10_a.sql", "ops.a")):
            (tmp_path / where).parent.mkdir()
            (tmp_path / where).write_text(view_text(name), encoding="utf-8")
        with pytest.raises(sqlfiles.SyncError, match=r"identity/10_a\.sql has the same name"):
            sqlfiles.read(tmp_path)

    def test_finds_grain_layer_and_app(self, tmp_path):
        (tmp_path / "orphans").mkdir()
        text = "-- ops.v_a\n-- A.\n-- Grain: one row per source_table, source_pk.\nselect 1"
        (tmp_path / "orphans" / "31_v_a.sql").write_text(text, encoding="utf-8")
        (file,) = sqlfiles.read(tmp_path)
        assert (file.app, file.layer, file.grain) == ("orphans", 30, ("source_table", "source_pk"))

    def test_is_fine_with_no_files(self, tmp_path):
        assert sqlfiles.read(tmp_path) == []
        assert sqlfiles.checks(tmp_path) == []

    def test_reads_checks_with_their_description(self, tmp_path):
        (tmp_path / "checks").mkdir()
        (tmp_path / "checks" / "chk_a.sql").write_text(
            "-- chk_a\n-- Nothing is\n-- lost.\nselect 1;\n", encoding="utf-8"
        )
        assert sqlfiles.checks(tmp_path) == [sqlfiles.Check("chk_a", "Nothing is lost.", "select 1")]

    def test_loads_a_job_statement_with_its_comments(self, tmp_path, monkeypatch):
        (tmp_path / "sql" / "jobs").mkdir(parents=True)
        text = "-- Why.\nselect %(run_id)s\n"
        (tmp_path / "sql" / "jobs" / "link.sql").write_text(text, encoding="utf-8")
        monkeypatch.setattr(sqlfiles, "default_root", lambda: tmp_path / "sql")
        assert sqlfiles.load("link") == text


@pytest.mark.django_db
class TestDoors:
    def test_the_test_database_was_synced_by_migrate(self):
        assert sqlfiles.out_of_date() == []

    def test_the_command_says_that_nothing_is_to_be_done(self):
        out = StringIO()
        call_command("sync_views", stdout=out)
        assert "0" in out.getvalue()
        call_command("sync_views", check=True, stdout=out)

    def test_the_command_lists_differences_and_exits_with_1(self, view, monkeypatch):
        monkeypatch.setattr(sqlfiles, "default_root", lambda: view.path)
        rows("drop view ops.v_second")
        out = StringIO()
        with pytest.raises(SystemExit) as caught:
            call_command("sync_views", check=True, stdout=out)
        assert caught.value.code == 1
        assert out.getvalue().startswith("ops.v_second: ")

    def test_the_command_reports_an_error_without_a_traceback(self, view, monkeypatch):
        monkeypatch.setattr(sqlfiles, "default_root", lambda: view.path)
        view.write("identity/10_stg_first.sql", "select 1")
        with pytest.raises(CommandError, match=r"10_stg_first\.sql"):
            call_command("sync_views")

    def warnings(self, databases=("default",)):
        return [w for w in run_checks(tags=[Tags.database], databases=databases) if w.id == "ct4.W001"]

    def test_the_system_check_is_silent_when_all_is_well(self):
        assert self.warnings() == []

    def test_the_system_check_asks_no_database_unless_told(self, view, django_assert_num_queries):
        with django_assert_num_queries(0):
            assert self.warnings(databases=None) == []

    def test_the_system_check_names_what_differs_and_the_remedy(self, view, monkeypatch):
        monkeypatch.setattr(sqlfiles, "default_root", lambda: view.path)
        rows("drop view ops.v_second")
        (warning,) = self.warnings()
        assert "ops.v_second" in warning.msg
        assert "manage.py sync_views" in warning.hint

    def test_the_system_check_names_a_broken_file(self, view, monkeypatch):
        monkeypatch.setattr(sqlfiles, "default_root", lambda: view.path)
        view.write("identity/10_stg_first.sql", "select 1")
        (warning,) = self.warnings()
        assert "10_stg_first.sql" in warning.msg

    def test_the_system_check_is_silent_in_an_empty_database(self):
        rows("drop table ops.sql_objects")
        assert self.warnings() == []

    def test_the_system_check_survives_an_unreachable_database(self, monkeypatch):
        nobody_listens = DatabaseWrapper({**connection.settings_dict, "HOST": "127.0.0.1", "PORT": "1"}, "nowhere")
        monkeypatch.setattr("ct4site.checks.connections", {"default": nobody_listens})
        (warning,) = self.warnings()
        assert "manage.py sync_views --check" in warning.hint


@pytest.mark.django_db
class TestMigrate:
    def plan(self, app_label):
        return [(migrations.Migration("0099_next", app_label), False)]

    def test_drops_the_views_before_a_migration_of_ours_and_makes_them_after(self, view, monkeypatch):
        monkeypatch.setattr(sqlfiles, "default_root", lambda: view.path)
        make_way_for_migrations(using="default", plan=self.plan("identity"))
        assert oid("canon.stg_first") is None
        rows("alter table public.sqlfiles_source alter column label type varchar(40)")

        out = StringIO()
        sync_after_migrate(using="default", stdout=out)
        assert oid("canon.stg_first")
        assert "2" in out.getvalue()

    def test_leaves_the_views_alone_for_a_migration_of_others(self, view):
        make_way_for_migrations(using="default", plan=self.plan("auth"))
        make_way_for_migrations(using="default", plan=[])
        assert oid("canon.stg_first")

    def test_stops_before_anything_when_someone_else_stands_on_a_view(self, view):
        rows("create view public.of_someone_else as select * from ops.v_second")
        with pytest.raises(CommandError, match=r"public\.of_someone_else"):
            make_way_for_migrations(using="default", plan=self.plan("identity"))

    def test_says_that_the_views_are_still_to_be_made(self, view, monkeypatch):
        monkeypatch.setattr(sqlfiles, "default_root", lambda: view.path)
        view.write("identity/10_stg_first.sql", view_text("canon.stg_first", extra=" where no_such_column"))
        with pytest.raises(CommandError, match="no_such_column"):
            sync_after_migrate(using="default")

    def test_makes_no_views_while_a_migration_of_ours_is_open(self, view, monkeypatch):
        monkeypatch.setattr(sqlfiles, "default_root", lambda: view.path)
        rows("drop view ops.v_second")
        rows("delete from django_migrations where app = 'ct4site'")
        sync_after_migrate(using="default")
        assert oid("ops.v_second") is None


@pytest.mark.django_db
class TestSchemas:
    def test_the_search_path_finds_all_of_them(self):
        assert list(settings.SCHEMAS) == ["public", *schemas.SCHEMAS]
        assert rows("select current_schemas(false)::text[]") == [(list(settings.SCHEMAS),)]

    def test_the_database_has_the_search_path_for_tools_of_others(self):
        configured = rows(
            """
            select chosen.setconfig from pg_db_role_setting as chosen
            inner join pg_database as db on db.oid = chosen.setdatabase
            where db.datname = current_database() and chosen.setrole = 0
            """
        )
        assert configured == [(["search_path=public, canon, observational, ops"],)]

    def test_every_managed_table_is_where_it_is_declared(self):
        ours = [
            model for app in schemas.APPS for model in apps.get_app_config(app).get_models(include_auto_created=True)
        ]
        tables = {model._meta.db_table for model in ours if model._meta.managed}
        found = rows(
            """
            select relname::text, relnamespace::regnamespace::text from pg_class
            where relname = any(%s) and relkind in ('r', 'p') and relnamespace = any(%s::regnamespace[])
            """,
            [sorted(tables), list(settings.SCHEMAS)],
        )
        assert sorted(found) == sorted(schemas.TABLES.items())

    @pytest.mark.django_db(transaction=True)
    def test_the_first_migration_can_be_taken_back_and_applied_again(self, tmp_path):
        folder = Folder(tmp_path / "sql")
        folder.write("identity/30_v_one.sql", "-- ops.v_one\n-- One.\n-- Grain: one row per id.\nselect 1 as id")
        folder.sync()
        migration = importlib.import_module("ct4site.migrations.0001_schemas").Migration("0001_schemas", "ct4site")
        with transaction.atomic(), connection.schema_editor(atomic=False) as editor:
            migration.unapply(ProjectState(), editor)
            assert oid("ops.v_one") is None
            assert oid("ops.sql_objects") is None
            migration.apply(ProjectState(), editor)
            assert folder.sync().views == 1
            transaction.set_rollback(True)
        assert folder.out_of_date() == []
        sqlfiles.sync()


class TestMoveToSchema:
    def operations(self):
        fields = [("id", models.BigAutoField(primary_key=True)), ("code", models.CharField(max_length=9, unique=True))]
        return [
            migrations.CreateModel("Sqlfiles", fields=fields, options={"db_table": "sqlfiles_moved"}),
            schemas.MoveToSchema("Sqlfiles", "observational"),
            migrations.AddField(
                "Sqlfiles", "parent", models.ForeignKey("identity.Sqlfiles", models.CASCADE, null=True)
            ),
        ]  # fmt: skip

    def schema_of(self, relation):
        return [
            schema
            for (schema,) in rows(
                "select relnamespace::regnamespace::text from pg_class where relname = %s", [relation]
            )
        ]

    @pytest.mark.django_db
    def test_moves_the_table_with_indexes_and_sequence_and_back(self):
        state = ProjectState()
        migration = migrations.Migration("0099_moved", "identity")
        migration.operations = self.operations()
        with connection.schema_editor(atomic=False) as editor:
            migration.apply(state.clone(), editor)
        assert self.schema_of("sqlfiles_moved") == ["observational"]
        assert self.schema_of("sqlfiles_moved_id_seq") == ["observational"]
        assert rows("insert into sqlfiles_moved (code) values ('a') returning id") == [(1,)]
        rows("delete from sqlfiles_moved")
        rows("set constraints all immediate")

        with connection.schema_editor(atomic=False) as editor:
            migration.unapply(state.clone(), editor)
        assert self.schema_of("sqlfiles_moved") == []

    def test_refuses_an_unknown_schema(self):
        with pytest.raises(ValueError, match="canon, observational, ops"):
            schemas.MoveToSchema("x", "elsewhere")

    def test_says_what_it_does_in_sqlmigrate(self):
        assert schemas.MoveToSchema("Link", "canon").describe() == "Move Link to schema canon"
