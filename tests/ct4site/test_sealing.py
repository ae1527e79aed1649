"""The audit log is sealed run by run, and what is changed past the database's guards is found (reliability F14, I8)."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from ct4site import invariants, sealing
from ct4site.models import AuditEntry, AuditSeal, JobType, Run, RunStatus
from ct4site.review import deciding
from tests import factories
from tests.ct4site.test_invariants import tamper
from tests.ct4site.test_jobs import elsewhere
from tests.ct4site.test_review import a_user, conflicts, decided, scout, taken_back

pytestmark = pytest.mark.django_db


def a_world() -> Run:
    """Three sealed runs; returns the one that wrote entries."""
    factories.a_recruited_driver()
    factories.match()
    factories.refresh()
    return Run.objects.filter(job_type=JobType.IDENTITY_RUN).latest("pk")


def an_entry_without_run(actor: str = "ana") -> AuditEntry:
    with transaction.atomic():
        sealing.write_without_run(actor)
        return AuditEntry.objects.create(actor=actor, action="decide", subject_table="t", subject_key="1")


def problems() -> set[tuple[str, str]]:
    (finding,) = invariants.check(names=[sealing.CHECK])
    return set(finding.samples)


def verified(*arguments: str) -> str:
    """The digest that ``verify_audit`` prints."""
    out = io.StringIO()
    call_command("verify_audit", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue().strip()


OTHERS = "its entries are not those that were sealed"
WITHOUT_RUN = "its entries without run are not those that were sealed"
BROKEN = "does not follow from the seal before it"


def test_every_run_is_sealed_when_it_ends_and_follows_from_the_one_before() -> None:
    run = a_world()
    runs = list(Run.objects.order_by("pk"))
    seals = list(AuditSeal.objects.order_by("no"))
    assert [seal.no for seal in seals] == [1, 2, 3]
    assert [seal.run_id for seal in seals] == [ended.pk for ended in runs]
    assert [seal.entries for seal in seals] == [ended.digest for ended in runs]
    assert len({seal.digest for seal in seals}) == 3
    run.refresh_from_db()
    assert run.audit_from == AuditEntry.objects.filter(run=run).earliest("pk").pk
    assert not problems() and sealing.seal() == 0


def test_a_run_that_fails_is_sealed_with_what_it_had_written() -> None:
    run = Run.objects.create(job_type=JobType.IDENTITY_RUN, actor="tests")
    AuditEntry.objects.create(run=run, actor="tests", action="link", subject_table="t", subject_key="1")
    assert sealing.seal() == 0
    Run.objects.filter(pk=run.pk).update(status=RunStatus.FAILED, completed_at=run.started_at)
    assert sealing.seal() == 1
    assert AuditSeal.objects.get().run_id == run.pk
    assert not problems()


@pytest.mark.parametrize(
    "change",
    [
        "update ops.audit_log set actor = 'somebody else' where id = {id}",
        "update ops.audit_log set at = at - interval '1 day' where id = {id}",
        "update ops.audit_log set after = after || '{{\"match_score\": 1}}' where id = {id}",
        "update ops.audit_log set id = -id where id = {id}",
        "delete from ops.audit_log where id = {id}",
        "delete from ops.audit_log where run_id = {run}",
        "insert into ops.audit_log (run_id, actor, action, subject_table, subject_key)"
        " select {run}, 'tests', 'link', 'identity_links', '1'",
    ],
)
def test_an_entry_that_is_changed_removed_or_added_is_found(change: str) -> None:
    run = a_world()
    entry = AuditEntry.objects.filter(run=run).latest("pk")
    tamper(change.format(id=entry.pk, run=run.pk))
    assert (f"run {run.pk}", OTHERS) in problems()
    with pytest.raises(CommandError):
        verified()


@pytest.mark.parametrize(
    "change",
    [
        "update ops.audit_log set actor = 'luis' where id = {id}",
        "delete from ops.audit_log where id = {id}",
        "insert into ops.audit_log (id, actor, action, subject_table, subject_key) values ({id} - 1, 'x', 'y', 't', '1')",
    ],
)
def test_entries_without_run_are_sealed_by_the_next_end_of_a_run(change: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select nextval('ops.audit_log_id_seq')")  # a number that nobody has
    entry = an_entry_without_run()
    factories.refresh()
    seal = AuditSeal.objects.get(run=None)
    assert (seal.first_after, seal.last_entry) == (0, entry.pk)
    assert not problems()
    later = an_entry_without_run()
    factories.refresh()
    assert AuditSeal.objects.filter(first_after=entry.pk, last_entry=later.pk).exists()
    tamper(change.format(id=entry.pk))
    assert problems() == {(f"seal {seal.no}", WITHOUT_RUN)}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("delete from ops.audit_seals where no = 2", ("seal 3", BROKEN)),
        ("update ops.audit_seals set entries = repeat('0', 64) where no = 2", ("seal 2", BROKEN)),
        ("update ops.audit_seals set digest = repeat('0', 64) where no = 2", ("seal 3", BROKEN)),
        (
            "update ops.ingestion_runs set digest = '' where id = {run}",
            ("run {run}", "has another digest than its seal"),
        ),
    ],
)
def test_a_chain_that_was_meddled_with_is_found(change: str, found: tuple[str, str]) -> None:
    run = a_world()
    tamper(change.format(run=run.pk))
    assert tuple(part.format(run=run.pk) for part in found) in problems()


def test_a_chain_forged_from_end_to_end_is_told_by_a_digest_kept_elsewhere() -> None:
    run = a_world()
    kept = verified()
    factories.refresh()
    assert verified("--expect", kept) != kept
    tamper(
        f"update ops.audit_log set actor = 'somebody else' where run_id = {run.pk};"
        "delete from ops.audit_seals; update ops.ingestion_runs set digest = null"
    )
    assert verified()  # the chain alone cannot tell
    with pytest.raises(CommandError):
        verified("--expect", kept)


def test_runs_from_before_there_were_digests_are_not_judged() -> None:
    run = a_world()
    tamper(
        "delete from ops.audit_seals; update ops.ingestion_runs set digest = '';"
        f"update ops.audit_log set actor = 'somebody else' where run_id = {run.pk}"
    )
    factories.refresh()
    assert AuditSeal.objects.count() == 1
    assert not problems()


def test_old_entries_are_left_to_the_command() -> None:
    run = a_world()
    tamper(
        f"update ops.audit_log set actor = 'somebody else' where run_id = {run.pk};"
        "select setval('ops.audit_log_id_seq', (select max(id) + 50000 from ops.audit_log))"
    )
    an_entry_without_run()
    assert not problems()
    with pytest.raises(CommandError):
        verified()


def test_a_decision_gets_its_digest_at_once_and_its_seal_from_the_next_run() -> None:
    (case,) = conflicts()
    ana = a_user("ana")
    sealed = AuditSeal.objects.count()
    decision = decided(case, scout(7), ana)
    undone = taken_back(decision, ana)[0]
    digests = dict(Run.objects.filter(pk__in=[decision.run_id, undone.run_id]).values_list("pk", "digest"))
    assert all(digests.values()) and len({*digests.values()}) == 2
    assert AuditSeal.objects.count() == sealed
    assert not problems()
    factories.refresh()
    assert set(AuditSeal.objects.filter(run__in=digests).values_list("run_id", "entries")) == set(digests.items())
    assert not problems()


def test_a_preview_is_not_sealed_and_breaks_nothing() -> None:
    (case,) = conflicts()
    before = Run.objects.count(), sealing.seal(), AuditSeal.objects.count()
    deciding.preview(case_id=case.pk, wish=scout(7), actor=a_user("ana"), expected_version=1)
    assert (Run.objects.count(), sealing.seal(), AuditSeal.objects.count()) == before
    assert not problems()


@pytest.mark.django_db(transaction=True)
def test_an_entry_without_run_that_is_not_committed_yet_is_sealed_later() -> None:
    def sealed() -> int:
        return elsewhere(lambda: (sealing.seal(), AuditSeal.objects.count())[1])

    with transaction.atomic():
        first = an_entry_without_run()
        elsewhere(an_entry_without_run)
        assert sealed() == 0  # the other entry has the higher number: sealing it would lose this one
    assert sealed() == 1
    seal = AuditSeal.objects.get()
    assert seal.first_after == 0 and seal.last_entry > first.pk
    assert not problems()


def test_nothing_sealed_is_said_so() -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("verify_audit", stdout=out, stderr=err)
    assert (out.getvalue(), AuditSeal.objects.count()) == ("", 0)
    assert err.getvalue()


@pytest.mark.parametrize("what", ["update ops.audit_seals set digest = ''", "delete from ops.audit_seals"])
def test_seals_are_append_only(what: str) -> None:
    a_world()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(what)
