"""Rules every view file keeps, read from the files: adding a file enrols it. And the direction of the arrows between the rooms.

The fixture ``populated`` fills the tables first.
"""

import ast
import datetime as dt
import re
from collections import Counter
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection, transaction

from ct4site import sqlfiles
from ct4site.schemas import APPS

FILES = sqlfiles.read()
VIEWS = [file for file in FILES if file.kind == "view"]
FUNCTIONS = [file for file in FILES if file.kind == "function"]
UNMANAGED_MODELS = [
    model
    for app in APPS
    for model in apps.get_app_config(app).get_models()
    if not model._meta.managed and not model._meta.proxy
]
SESSIONS = {
    "another time zone": ["time zone 'Pacific/Kiritimati'"],
    "nested loops": ["enable_hashjoin = off", "enable_mergejoin = off", "enable_hashagg = off"],
    "merge joins": ["enable_nestloop = off", "enable_hashjoin = off", "enable_indexscan = off"],
    "indexes": ["enable_seqscan = off", "enable_sort = off", "work_mem = '64kB'"],
}
every_view = pytest.mark.parametrize("view", VIEWS, ids=lambda file: file.where)
every_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda file: file.where)


def rows(statement, params=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall()


# --- rules over the text --------------------------------------------------------------------------


def without_comments(body):
    """The statement with comments and string literals taken out."""
    return re.sub(r"--[^\n]*|'(?:[^']|'')*'|/\*.*?\*/", " ", body, flags=re.DOTALL)


def text_faults(body, layer):
    """Rules of the SQL style guide that can be read off the text of a view."""
    code = without_comments(body).lower()
    faults = []
    clock = r"\bnow\s*\(|\bcurrent_(?:date|time|timestamp)\b|\blocaltime(?:stamp)?\b|\b(?:clock|statement|transaction)_timestamp\s*\("
    if layer < 30 and (found := re.search(rf"{clock}|\brandom\s*\(|\bgen_random_uuid\s*\(", code)):
        faults.append(f"{found[0]} below layer 30: the same rows would mean something else tomorrow")
    if re.search(r"\bnot\s+in\s*\(\s*(?:select|with)\b", code):
        faults.append("not in (select ...): one NULL and it returns nothing")
    lines = body.lower().splitlines()
    for number, line in enumerate(lines):
        if re.search(r"\bselect\s+distinct\b(?!\s+on\b)", line.partition("--")[0]):
            before = lines[number - 1].strip() if number else ""
            if "--" not in line and not before.startswith("--"):
                faults.append("select distinct without a comment: it may hide a fan-out")
    if re.search(r"\border\s+by\b", outermost(code)):
        faults.append("order by in a view: whoever reads it orders it")
    return faults


def outermost(code):
    """The code without what stands in brackets and without a distinct on: their order by decides rows, not their order."""
    while (shorter := re.sub(r"\([^()]*\)", " ", code)) != code:
        code = shorter
    return re.sub(r"\bselect\s+distinct\s+on\b.*", " ", code, flags=re.DOTALL)


@every_view
def test_the_text_of_a_view_keeps_the_style_guide(view):
    assert text_faults(view.body, view.layer) == []


@pytest.mark.parametrize(
    ("body", "layer", "expected"),
    [
        ("select now() as at from ops.v_a", 20, "now("),
        ("select current_date from ops.v_a", 10, "current_date"),
        ("select random() from ops.v_a", 10, "random("),
        ("select a.id from ops.v_a as a where a.id not in (\n  select id from ops.v_b)", 30, "not in"),
        ("select distinct a.id from ops.v_a as a", 30, "distinct"),
        ("select a.id from ops.v_a as a order by a.id", 30, "order by"),
    ],
)
def test_the_text_rules_find_what_they_are_for(body, layer, expected):
    (fault,) = text_faults(body, layer)
    assert expected in fault


@pytest.mark.parametrize(
    "body",
    [
        "select now() as at from ops.v_a",
        "-- one scout may appear twice\nselect distinct a.id from ops.v_a as a",
        "select distinct on (a.id) a.id from ops.v_a as a order by a.id, a.code",
        "select row_number() over (partition by a.id order by a.code) from ops.v_a as a",
        "select 'order by now() not in (select' as words from ops.v_a",
    ],
)
def test_the_text_rules_let_the_rest_pass(body):
    assert text_faults(body, 30) == []


# --- rules over the database ----------------------------------------------------------------------


def session_dependent(view_name):
    """Functions in a view whose result depends on the time zone of the session, such as a bare ``::date`` of a timestamptz.

    Read from the stored query tree: it names the function behind every cast and operator, which the text does not.
    """
    found = rows(
        """
        select distinct procs.oid::regprocedure::text
        from pg_rewrite as rules
        cross join lateral regexp_matches(rules.ev_action::text, ':(?:op)?funcid ([0-9]+)', 'g') as matched
        inner join pg_proc as procs on procs.oid = matched[1]::oid
        where rules.ev_class = %s::regclass
            and procs.provolatile = 's'
            and procs.pronamespace = 'pg_catalog'::regnamespace
            and ('timestamptz'::regtype = any(procs.proargtypes::oid[]) or procs.prorettype = 'timestamptz'::regtype)
            and procs.pronargs > 0
            -- A day has 24 hours in Lima all year: adding days to an instant is the same in every session without summer time.
            and procs.proname not in ('timestamptz_pl_interval', 'timestamptz_mi_interval', 'interval_pl_timestamptz')
            -- These name their zone.
            and not (procs.proname = 'date_trunc' and procs.pronargs = 3)
            and not (procs.proname = 'make_timestamptz' and procs.pronargs = 7)
        """,
        [view_name],
    )
    return sorted(name for (name,) in found)


def referenced(view_name):
    """Relations a view reads, as (schema, name), from pg_depend."""
    return rows(
        """
        select distinct target.relnamespace::regnamespace::text, target.relname::text
        from pg_rewrite as rules
        inner join pg_depend as depends
            on depends.classid = 'pg_rewrite'::regclass and depends.objid = rules.oid and depends.refclassid = 'pg_class'::regclass
        inner join pg_class as target on target.oid = depends.refobjid
        where rules.ev_class = %s::regclass and target.oid <> rules.ev_class
        order by 1, 2
        """,
        [view_name],
    )


def layer_faults(view, views):
    """What a view reads that lies above it or to its right (architecture.md, "Rooms" and "SQL is code")."""
    order = {file.name: number for number, file in enumerate(views)}
    by_name = {file.name: file for file in views}
    owners = {
        model._meta.db_table: model for model in apps.get_models(include_auto_created=True) if model._meta.managed
    }
    faults = []
    for schema, relation in referenced(view.name):
        name = f"{schema}.{relation}"
        other = by_name.get(name)
        owner = owners.get(relation)
        if other is not None:
            if APPS.index(other.app) > APPS.index(view.app):
                faults.append(f"{name} belongs to the later app {other.app}")
            if other.layer > view.layer or order[name] > order[view.name]:
                faults.append(f"{name} lies in a higher layer or later file")
        elif owner is not None and owner._meta.app_label in APPS:
            if APPS.index(owner._meta.app_label) > APPS.index(view.app):
                faults.append(f"{name} belongs to the later app {owner._meta.app_label}")
        elif schema == "public" and owner is None and view.layer > 10:
            faults.append(f"{name} is a source table, which only layer 10 may read")
    return faults


@every_view
@pytest.mark.django_db
class TestEveryView:
    def test_reads_only_lower_layers_and_earlier_apps(self, view):
        assert layer_faults(view, VIEWS) == []

    def test_carries_its_header_as_comment(self, view):
        assert rows("select obj_description(%s::regclass, 'pg_class')", [view.name]) == [(view.header,)]

    def test_cannot_be_written(self, view):
        schema, _, relation = view.name.partition(".")
        assert rows(
            """
            select is_updatable, is_insertable_into from information_schema.views
            where table_schema = %s and table_name = %s
            """,
            [schema, relation],
        ) == [("NO", "NO")]

    def test_does_not_depend_on_the_time_zone_of_the_session(self, view):
        assert session_dependent(view.name) == []

    def test_has_one_row_per_grain(self, view, populated):
        # Column names come from the header and are checked against the pattern of a plain identifier when it is read.
        columns = ", ".join(f"result.{column}" for column in view.grain)
        nulls = " or ".join(f"result.{column} is null" for column in view.grain)
        assert rows(f"select {columns} from {view.name} as result where {nulls} limit 5") == []
        assert (
            rows(
                f"select {columns}, count(*) from {view.name} as result group by {columns} having count(*) > 1 limit 5"
            )
            == []
        )

    def test_gives_the_same_rows_in_another_session(self, view, populated):
        before = content(view.name)
        for name, session in SESSIONS.items():
            with transaction.atomic():
                for setting in session:
                    execute(f"set local {setting}")
                assert content(view.name) == before, name
                transaction.set_rollback(True)


def execute(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


def content(view_name):
    """The rows as a multiset, instants compared as instants.

    The driver's own cursor: Django's takes every instant for UTC, whatever the session says.
    """
    with connection.connection.cursor() as cursor:
        cursor.execute(f"select * from {view_name}")
        return Counter(
            repr([value.astimezone(dt.UTC) if is_instant(value) else value for value in row]) for row in cursor
        )


def is_instant(value):
    return isinstance(value, dt.datetime) and value.tzinfo is not None


@pytest.mark.django_db
class TestTheRulesOverTheDatabase:
    """The rules above find what they are for."""

    def make(self, name, body, app="identity", layer=20):
        execute(f"create view {name} as {body}")
        return sqlfiles.SqlFile(
            Path(app) / f"{layer}_x.sql", "view", name, app, layer, "X.\nGrain: one row per id.", body
        )

    @pytest.mark.parametrize(
        ("expression", "fault"),
        [
            ("at::date", "date(timestamp with time zone)"),
            ("date_trunc('day', at)", "date_trunc(text,timestamp with time zone)"),
            ("at > date '2026-03-01'", "timestamptz_gt_date(timestamp with time zone,date)"),
            ("extract(day from at)", '"extract"(text,timestamp with time zone)'),
            (
                "timestamp '2026-03-01 00:00' = at",
                "timestamp_eq_timestamptz(timestamp without time zone,timestamp with time zone)",
            ),
        ],
    )
    def test_a_bare_date_of_an_instant_is_found(self, expression, fault):
        execute("create table public.rule_source (id int, at timestamptz)")
        execute(f"create view ops.rule_view as select id, {expression} as x from public.rule_source")
        assert session_dependent("ops.rule_view") == [fault]

    def test_a_date_in_lima_passes(self):
        execute("create table public.rule_source (id int, at timestamptz)")
        execute(
            """
            create view ops.rule_view as
            select id, (at at time zone 'America/Lima')::date as day, at + interval '14 days' as until from public.rule_source
            """
        )
        assert session_dependent("ops.rule_view") == []

    def test_a_source_table_above_staging_is_found(self):
        execute("create table public.rule_source (id int)")
        view = self.make("ops.rule_view", "select id from public.rule_source", layer=20)
        assert layer_faults(view, [view]) == ["public.rule_source is a source table, which only layer 10 may read"]

    def test_a_higher_layer_and_a_later_app_are_found(self):
        high = self.make("ops.rule_high", "select 1 as id", layer=30)
        later = self.make("ops.rule_later", "select 1 as id", app="recovery", layer=10)
        view = self.make("ops.rule_view", "select high.id from ops.rule_high as high, ops.rule_later", layer=20)
        assert layer_faults(view, [view, high, later]) == [
            "ops.rule_high lies in a higher layer or later file",
            "ops.rule_later belongs to the later app recovery",
            "ops.rule_later lies in a higher layer or later file",
        ]

    def test_a_lower_layer_of_an_earlier_app_passes(self):
        lower = self.make("ops.rule_lower", "select 1 as id", layer=20)
        view = self.make("ops.rule_view", "select id from ops.rule_lower", app="orphans", layer=30)
        assert layer_faults(view, [lower, view]) == []


@every_function
@pytest.mark.django_db
class TestEveryFunction:
    def test_carries_its_header_as_comment(self, function):
        assert rows(
            """
            select obj_description(oid, 'pg_proc') from pg_proc
            where pronamespace = split_part(%(name)s, '.', 1)::regnamespace and proname = split_part(%(name)s, '.', 2)
            """,
            {"name": function.name},
        ) == [(function.header,)]


@pytest.mark.parametrize("model", UNMANAGED_MODELS, ids=lambda model: model._meta.label)
@pytest.mark.django_db
def test_an_unmanaged_model_matches_its_relation(model):
    """Over a view exactly; over a source table, which others may widen, each column of the model."""
    found = rows(
        """
        select attributes.attname::text, classes.relkind::text
        from pg_attribute as attributes
        inner join pg_class as classes on classes.oid = attributes.attrelid
        where attributes.attrelid = to_regclass(%s) and attributes.attnum > 0 and not attributes.attisdropped
        """,
        [connection.ops.quote_name(model._meta.db_table)],
    )
    columns = {name for name, _kind in found}
    fields = {field.column for field in model._meta.concrete_fields}
    assert fields - columns == set()
    if "v" in {kind for _name, kind in found}:
        assert columns - fields == set()


# --- arrows between the rooms ---------------------------------------------------------------------


def import_faults(source, app):
    """Imports of a room to the right of ``app``."""
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            imported.add(node.module.partition(".")[0])
    return sorted(imported & set(APPS[APPS.index(app) + 1 :]))


MODULES = [
    pytest.param(path, app, id=path.relative_to(settings.BASE_DIR).as_posix())
    for app in APPS
    for path in sorted((settings.BASE_DIR / app).rglob("*.py"))
]


@pytest.mark.parametrize(("path", "app"), MODULES)
def test_a_room_imports_only_rooms_to_its_left(path, app):
    assert import_faults(path.read_text(encoding="utf-8"), app) == []


def test_the_import_rule_finds_what_it_is_for():
    assert import_faults("def f():\n    from identity.models import Person\n    import recovery.jobs\n", "ct4site") == [
        "identity",
        "recovery",
    ]
    assert import_faults("from ct4site import runs\nfrom identity import models\nfrom . import jobs\n", "orphans") == []
