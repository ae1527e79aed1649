"""The application works as a role that does not own its tables, and as that role no history can be changed (F14)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import ProtectedError
from django.test import Client
from django.utils.translation import override

from ct4site import grants, invariants, jobs, sealing, sqlfiles
from ct4site.models import AuditEntry, AuditSeal, CaseKind, CaseStatus, Decision, JobType, ReviewCase, Run
from ct4site.review.deciding import Wish
from ct4site.rollback import start_roll_back
from identity.demo import generate
from identity.models import Link
from identity.sources import load_source
from tests import factories
from tests.ct4site.test_jobs import elsewhere
from tests.ct4site.test_review import BACKEND, a_user, conflicts, decided, scout, taken_back

pytestmark = pytest.mark.django_db(transaction=True)

ROLE = "ct4_test_app"


def execute(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def grant(role: str = ROLE) -> None:
    call_command("grant_app_role", role, stderr=io.StringIO())


@pytest.fixture
def app_role() -> Iterator[str]:
    """A login role with the rights of the application."""
    execute(f"drop role if exists {ROLE}; create role {ROLE} login")
    try:
        grant()
        yield ROLE
    finally:
        execute(f"drop owned by {ROLE}; drop role {ROLE}")


@pytest.fixture
def as_app(app_role: str) -> Iterator[None]:
    """Every connection of the test, those of a job's threads included, is one of the application's role."""

    def become(connection: BaseDatabaseWrapper, **_more: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"set session authorization {app_role}")

    connection.close()
    connection_created.connect(become)
    try:
        with connection.cursor() as cursor:
            cursor.execute("select current_user, session_user")
            assert cursor.fetchone() == (app_role, app_role)
        yield
    finally:
        connection_created.disconnect(become)
        connection.close()


@pytest.mark.slow
def test_jobs_decisions_and_their_undoing_work_as_the_role(as_app: None, tmp_path: Path) -> None:
    generate(leads=200, seed=5, directory=tmp_path)
    for table in ("drivers", "module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations"):
        load_source(table=table, path=tmp_path / f"{table}.csv", rejects_dir=tmp_path, actor="tests")
    factories.match()
    assert Link.objects.exists()
    for job in (
        JobType.ORPHANS_FIX, JobType.SCOUT_FIX, JobType.COLLECTION_REFRESH, JobType.GAP_RECOVERY, JobType.RECOVERY_IMPACT,
        JobType.REVIEW_REFRESH,
    ):  # fmt: skip
        factories.run_job(job)
    case = ReviewCase.objects.filter(kind=CaseKind.UNMATCHED, status=CaseStatus.OPEN).earliest("pk")
    decision = decided(case, Wish("set_aside", {}, "no_evidence"), ana := a_user("ana"))
    taken_back(decision, ana)
    client = Client()
    client.force_login(ana, backend=BACKEND)
    assert client.get("/admin/").status_code == 200
    run = Run.objects.filter(job_type=JobType.IDENTITY_RUN).latest("pk")
    undone = jobs.execute(start_roll_back(run_id=run.pk, actor="tests").pk)
    assert undone.stats["audit"] > 0, undone.error_message
    assert {finding.name for finding in invariants.check() if finding.count} == set()
    assert sealing.verify().finding.count == 0
    assert AuditSeal.objects.filter(run=decision.run).exists()


FORGED = "insert into ops.audit_log (run_id, actor, action, subject_table, subject_key{more}) values ({values})"
ANOTHER = "select set_config('ct4.actor', 'ana', true);" + FORGED
TAMPERING = {
    "change an entry": "update ops.audit_log set actor = 'x'",
    "remove an entry": "delete from ops.audit_log",
    "remove all": "truncate ops.audit_log",
    "remove all that follows from runs": "truncate ops.ingestion_runs cascade",
    "put a trigger to sleep": "alter table ops.audit_log disable trigger audit_log_is_append_only",
    "put all triggers to sleep": "alter table ops.audit_log disable trigger all",
    "drop a trigger": "drop trigger audit_log_is_append_only on ops.audit_log",
    "replace the guard": "create or replace function ops.refuse_change() returns trigger language plpgsql as 'begin end'",
    "drop the guard": "drop function ops.refuse_change() cascade",
    "forge the actor of a run": FORGED.format(more="", values="{run}, 'x', 'link', 't', '1'"),
    "forge the actor": ANOTHER.format(more="", values="null, 'x', 'link', 't', '1'"),
    "write without saying who": FORGED.format(more="", values="null, 'x', 'link', 't', '1'"),
    "write for a run that is none": FORGED.format(more="", values="0, 'x', 'link', 't', '1'"),
    "forge the time": ANOTHER.format(more=", at", values="null, 'ana', 'link', 't', '1', now() - interval '1 day'"),
    "forge the clock": "create function ops.statement_timestamp() returns timestamptz language sql as"
    " $$ select timestamptz '2020-01-01' $$; set local search_path = ops, pg_catalog;"
    + ANOTHER.format(more=", at", values="null, 'ana', 'link', 't', '1', '2020-01-01'"),
    "forge who started a run": "update ops.ingestion_runs set actor = 'x' where id = {run}",
    "remove a sealed run": "delete from ops.ingestion_runs where id = {run}",
    "drop what it refers to": "drop table ops.ingestion_runs cascade",
    "drop the log": "drop table ops.audit_log",
    "become a replica": "set session_replication_role = replica",
    "become the owner": "set role ct4",
    "change a seal": "update ops.audit_seals set digest = ''",
    "change a receipt": "update ops.review_decisions set reason_text = 'x'",
    "remove a receipt": "delete from ops.review_decisions",
    "put a view in the way": "create or replace view ops.v_payment_calculation as select 1",
    "write through a view": "delete from ops.v_payment_calculation",
    "own the log": "alter table ops.audit_log owner to " + ROLE,
    "take rights": f"grant update on ops.audit_log to {ROLE}; update ops.audit_log set actor = 'x'",
    "say that nothing is to be migrated": "delete from public.django_migrations",
}


@pytest.mark.parametrize("what", TAMPERING)
@pytest.mark.slow
def test_the_role_changes_no_history(what: str, as_app: None) -> None:
    factories.a_recruited_driver()
    factories.match()
    run = Run.objects.filter(job_type=JobType.IDENTITY_RUN).latest("pk")
    before = list(AuditEntry.objects.order_by("pk").values())
    assert before
    with pytest.raises(DatabaseError):
        execute(TAMPERING[what].format(run=run.pk))
    assert list(AuditEntry.objects.order_by("pk").values()) == before
    assert sealing.verify().finding.count == 0


def test_a_person_with_receipts_is_not_deleted_and_entries_outlive_who_wrote_them(as_app: None) -> None:
    (case,) = conflicts()
    ana, luis = a_user("ana"), a_user("luis")
    decision = decided(case, scout(7), ana)
    with pytest.raises(ProtectedError):
        ana.delete()
    with transaction.atomic():
        sealing.write_without_run("luis")
        AuditEntry.objects.create(actor="luis", action="decide", subject_table="t", subject_key="1")
    luis.delete()
    assert User.objects.filter(pk=ana.pk).exists() and Decision.objects.filter(pk=decision.pk).exists()
    assert AuditEntry.objects.filter(actor="luis").count() == 1


def test_granting_again_changes_nothing_and_takes_what_is_too_much(app_role: str) -> None:
    def held() -> list[tuple[str, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(
                "select table_schema, table_name, privilege_type from information_schema.role_table_grants"
                " where grantee = %s order by 1, 2, 3",
                [app_role],
            )
            return list(cursor.fetchall())

    before = held()
    execute(f"grant update, truncate on ops.audit_log to {app_role}")
    assert held() != before
    grant()
    assert held() == before
    may = {(schema, name): set() for schema, name, _privilege in before}
    for schema, name, privilege in before:
        may[schema, name].add(privilege)
    for history in grants.histories():
        assert may[tuple(history.split("."))] == {"SELECT", "INSERT"}
    assert may["ops", "v_payment_calculation"] == {"SELECT"}
    assert "module_ct_cabinet_leads" in {name for schema, name in may if schema == "public"}


def test_what_is_guarded_is_what_the_invariant_names() -> None:
    (check,) = [check for check in sqlfiles.checks() if check.name == "chk_history_is_guarded"]
    assert grants.histories() == set(re.findall(r"(?<!to_regproc)\('((?:ops|canon)\.\w+)'\)", check.sql))


@pytest.mark.parametrize(
    ("make", "role", "words"),
    [
        ("select 1", "nobody_of_this_name", "There is no role"),
        ("create role ct4_test_group", "ct4_test_group", "cannot log in"),
        ("create role ct4_test_super superuser login", "ct4_test_super", "is a superuser"),
        ("create role ct4_test_owner login; grant {owner} to ct4_test_owner", "ct4_test_owner", "owns the tables"),
    ],
)
def test_a_role_that_would_not_do_is_refused_with_a_sentence(make: str, role: str, words: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select quote_ident(current_user)")
        execute(make.format(owner=cursor.fetchone()[0]))
    try:
        with override("en"), pytest.raises(CommandError, match=words):
            grant(role)
    finally:
        execute(f"drop role if exists {role}")


def test_only_the_owner_grants(as_app: None) -> None:
    with override("en"), pytest.raises(CommandError, match="Only the owner"):
        grant()


def test_a_sync_of_the_views_leaves_them_readable(app_role: str) -> None:
    sqlfiles.drop_views(connection)
    sqlfiles.sync()
    with connection.cursor() as cursor:
        cursor.execute("select has_table_privilege(%s, 'ops.v_payment_calculation', 'select')", [app_role])
        assert cursor.fetchone()[0]


def test_a_run_that_another_role_performs_is_not_taken_for_lost(app_role: str) -> None:
    run = Run.objects.create(job_type=JobType.IDENTITY_RUN, actor="tests", attempt=1)
    execute(
        "update ops.ingestion_runs as runs set backend_pid = pid, backend_started_at = backend_start"
        f" from pg_stat_activity where pid = pg_backend_pid() and runs.id = {run.pk}"
    )

    def lost_to_the_role() -> list[int]:
        execute(f"set session authorization {app_role}")
        return jobs.close_lost_runs()

    assert elsewhere(lost_to_the_role) == []
    connection.close()
    assert elsewhere(lost_to_the_role) == [run.pk]
