"""The pages of runs: what they say of a run, who may start and roll back, and the kernel's other screens."""

import datetime

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django_q.models import OrmQ

from ct4site import jobs
from ct4site.models import AuditEntry, JobType, Run, RunStatus
from ct4site.sealing import write_without_run

pytestmark = pytest.mark.django_db

RUNS = "/admin/ct4site/run/"
START = f"{RUNS}start/"
BACKEND = "django.contrib.auth.backends.ModelBackend"


def a_client(*permissions: str, strict: bool = False) -> Client:
    """A signed-in client of a staff user with these permissions, in English."""
    user = User.objects.create_user(f"user{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(enforce_csrf_checks=strict)
    client.force_login(user, backend=BACKEND)
    client.cookies["django_language"] = "en"
    return client


@pytest.fixture
def viewer() -> Client:
    return a_client("view_run", "view_auditentry")


@pytest.fixture
def operator() -> Client:
    return a_client("view_run", "run_jobs", "roll_back_run")


def a_run(status: str = RunStatus.COMPLETED, **fields) -> Run:
    """A run that has ended unless told otherwise."""
    ended = {} if status == RunStatus.RUNNING else {"completed_at": timezone.now()}
    return Run.objects.create(**{"job_type": JobType.IDENTITY_RUN, "status": status, "attempt": 1} | ended | fields)


def page(run: Run) -> str:
    return reverse("admin:ct4site_run_change", args=[run.pk])


def alive() -> dict:
    """What marks a run as held by a back end that exists: this test's own."""
    with connection.cursor() as cursor:
        cursor.execute("select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()")
        pid, started = cursor.fetchone()
    return {"backend_pid": pid, "backend_started_at": started}


# --- what a page says ------------------------------------------------------------------------------------


def test_a_run_without_a_worker_is_queued_not_running(viewer):
    run = jobs.start(job_code=JobType.IDENTITY_RUN, actor="ana", queue=True)
    for address in (RUNS, page(run), "/admin/"):
        assert "Queued" in viewer.get(address).content.decode(), address
    assert "1 task in the queue" in viewer.get(RUNS).content.decode()


def test_a_run_whose_worker_is_gone_is_lost_since_its_last_sign_of_life(viewer):
    run = a_run(RunStatus.RUNNING, backend_pid=1, backend_started_at=timezone.now())
    body = viewer.get(page(run)).content.decode()
    assert "Lost, no sign of life since" in body


def test_a_run_that_is_held_but_silent_is_stalled_and_one_that_speaks_is_running(viewer):
    run = a_run(RunStatus.RUNNING, **alive())
    assert ">Running<" in viewer.get(page(run)).content.decode()
    Run.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - datetime.timedelta(days=1))
    assert "Stalled since" in viewer.get(page(run)).content.decode()


def test_a_tally_is_a_table_with_its_zeros_in_words(viewer):
    stats = {"persons_created": 0, "cabinet_leads": {"skipped": 0, "matched": 1234}, "rules": {"R1_PHONE_EXACT": 7}}
    body = viewer.get(page(a_run(stats=stats))).content.decode()
    for words, value in (("Cabinet leads · linked", "1,234"), ("Persons created", "0"), ("Rule · Same phone", "7")):
        assert f'<th scope="row">{words}</th><td class="number">{value}</td>' in body
    assert body.index("Cabinet leads · linked") < body.index("Cabinet leads · skipped") < body.index("Persons created")


def test_a_failed_run_says_why_and_shows_log_and_parameters(viewer):
    run = a_run(RunStatus.FAILED, error_message="The disk <is> full.", log=["first line"], parameters={"limit": 7})
    body = viewer.get(page(run)).content.decode()
    assert "The disk &lt;is&gt; full." in body
    assert "<li>first line</li>" in body
    assert "<dt>limit</dt><dd>7</dd>" in body


def test_a_run_and_the_run_that_took_it_back_lead_to_each_other(viewer):
    run = a_run()
    undo = a_run(job_type=JobType.ROLL_BACK, reverses=run)
    assert page(undo) in viewer.get(page(run)).content.decode()
    assert page(run) in viewer.get(page(undo)).content.decode()


def test_a_run_leads_to_its_own_audit_entries_and_to_no_others(viewer):
    run, other = a_run(), a_run()
    for owner in (run, run, other):
        AuditEntry.objects.create(run=owner, actor=owner.actor, action="link", subject_table="t", subject_key="1")
    address = f"/admin/ct4site/auditentry/?run={run.pk}"
    assert address in viewer.get(page(run)).content.decode()
    assert {entry.run_id for entry in viewer.get(address).context_data["cl"].result_list} == {run.pk}


def test_lists_a_person_may_not_open_are_not_offered(viewer):
    assert "/admin/identity/link/?run=" not in viewer.get(page(a_run())).content.decode()


# --- live progress ---------------------------------------------------------------------------------------


def test_the_page_of_a_running_run_asks_again_and_that_of_an_ended_one_does_not(viewer):
    run = a_run(RunStatus.RUNNING, progress_done=5, progress_total=20, **alive())
    body = viewer.get(page(run)).content.decode()
    assert f'hx-get="{reverse("admin:ct4site_run_live", args=[run.pk])}"' in body
    assert '<progress value="5" max="20"' in body
    assert "includeIndicatorStyles" in body
    ended = viewer.get(page(a_run())).content.decode()
    assert "hx-get" not in ended
    assert "htmx" not in ended


def test_the_poll_answers_with_the_moving_parts_and_ends_with_the_run(viewer):
    run = a_run(RunStatus.RUNNING, stats={"audit": 3}, **alive())
    address = reverse("admin:ct4site_run_live", args=[run.pk])
    answer = viewer.get(address)
    assert 'hx-trigger="every 2s"' in answer.content.decode()
    assert 'id="run-tally" hx-swap-oob="true"' in answer.content.decode()
    assert "<html" not in answer.content.decode()
    Run.objects.filter(pk=run.pk).update(status=RunStatus.COMPLETED, completed_at=timezone.now())
    answer = viewer.get(address)
    assert (answer.headers["HX-Refresh"], answer.content) == ("true", b"")


def test_the_poll_is_closed_to_those_who_may_not_see_runs_and_unknown_for_no_run(viewer):
    address = reverse("admin:ct4site_run_live", args=[a_run().pk])
    assert a_client().get(address).status_code == 403
    assert viewer.post(address).status_code == 405
    assert viewer.get(f"{RUNS}2147483647/live/").status_code == 404
    assert viewer.get(f"{RUNS}99999999999999999999/live/").status_code == 404


# --- starting --------------------------------------------------------------------------------------------


def test_a_run_is_started_through_the_queue_with_the_parameters_of_the_form(operator):
    answer = operator.post(
        START,
        {"job": "identity_run", "source": ["cabinet"], "date_from": "2026-01-01", "date_to": "2026-01-31", "limit": "5", "full": "on"},
    )  # fmt: skip
    run = Run.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, page(run))
    assert run.parameters == {
        "source": ["cabinet"], "date_from": "2026-01-01", "date_to": "2026-01-31", "full": True, "limit": 5,
    }  # fmt: skip
    assert (run.actor, run.is_queued, run.dry_run, OrmQ.objects.count()) == ("user0", True, False, 1)


def test_a_job_without_parameters_starts_from_the_same_page_as_a_dry_run_too(operator):
    operator.post(START, {"job": "drivers_index_refresh", "dry_run": "on"})
    run = Run.objects.get()
    assert (run.job_type, run.parameters, run.dry_run) == (JobType.DRIVERS_INDEX_REFRESH, {}, True)


@pytest.mark.parametrize(
    "fields",
    [
        {"source": ["drivers"]},
        {"date_from": "01/02/2026"},
        {"date_from": "2026-02-01", "date_to": "2026-01-01"},
        {"limit": "0"},
        {"limit": "99999999999999999999"},
        {"limit": "1\x00"},
    ],
)
def test_parameters_that_cannot_be_read_start_nothing_and_say_so(operator, fields):
    answer = operator.post(START, {"job": "identity_run", **fields})
    assert answer.status_code == 422
    assert 'class="errorlist' in answer.content.decode()
    assert not Run.objects.exists()


def test_a_second_run_of_a_job_is_refused_with_a_link_to_the_first(operator):
    first = jobs.start(job_code=JobType.IDENTITY_RUN, actor="ana", queue=True)
    answer = operator.post(START, {"job": "identity_run"}, follow=True)
    assert "already runs" in answer.content.decode()
    assert f'<a href="{page(first)}">' in answer.content.decode()
    assert Run.objects.count() == 1


@pytest.mark.parametrize("job", ["roll_back", "source_load", "os.system", "%27"])
def test_only_jobs_meant_for_the_page_can_be_started_from_it(operator, job):
    assert operator.get(f"{START}?job={job}").status_code == 404
    assert operator.post(START, {"job": job}).status_code == 404
    assert not Run.objects.exists()


def test_starting_is_closed_to_those_who_may_only_look(viewer):
    run = a_run()
    assert "Start a run" not in viewer.get(RUNS).content.decode()
    assert "Roll back this run" not in viewer.get(page(run)).content.decode()
    assert viewer.get(START).status_code == 403
    assert viewer.post(START, {"job": "identity_run"}).status_code == 403
    assert viewer.post(f"{RUNS}{run.pk}/roll-back/").status_code == 403
    assert Run.objects.count() == 1


@pytest.mark.parametrize("verb", ["get", "head", "put", "delete"])
def test_a_roll_back_answers_to_post_only(operator, verb):
    run = a_run()
    assert getattr(operator, verb)(f"{RUNS}{run.pk}/roll-back/").status_code == 405
    assert Run.objects.count() == 1


def test_starting_and_rolling_back_need_the_token_of_the_form():
    client = a_client("view_run", "run_jobs", "roll_back_run", strict=True)
    run = a_run()
    for address in (START, f"{RUNS}{run.pk}/roll-back/"):
        assert client.post(address, {"job": "identity_run"}).status_code == 403
    assert Run.objects.count() == 1


# --- rolling back ----------------------------------------------------------------------------------------


def test_a_run_is_rolled_back_by_a_run_of_its_own_first_as_a_dry_run(operator):
    run = a_run()
    form = operator.get(page(run)).content.decode()
    assert 'name="dry_run"' in form
    answer = operator.post(f"{RUNS}{run.pk}/roll-back/", {"dry_run": "on"})
    undo = Run.objects.exclude(pk=run.pk).get()
    assert answer["Location"] == page(undo)
    assert (undo.job_type, undo.reverses_id, undo.dry_run, undo.is_queued) == (JobType.ROLL_BACK, run.pk, True, True)
    assert OrmQ.objects.count() == 1


@pytest.mark.parametrize("fields", [{"status": RunStatus.RUNNING}, {"dry_run": True}])
def test_a_run_that_is_not_over_or_changed_nothing_cannot_be_rolled_back(operator, fields):
    run = a_run(**fields)
    assert "Roll back this run" not in operator.get(page(run)).content.decode()
    assert operator.post(f"{RUNS}{run.pk}/roll-back/").status_code == 403
    assert Run.objects.count() == 1


# --- the other screens of the kernel ---------------------------------------------------------------------


def test_the_queue_library_has_no_screens(admin_client):
    assert not {model for model in admin.site._registry if model._meta.app_label == "django_q"}
    with pytest.raises(NoReverseMatch):
        reverse("admin:django_q_schedule_changelist")
    assert admin_client.get("/admin/django_q/schedule/").status_code == 404


def test_failed_sign_ins_are_shown_to_be_read_only(admin_client):
    for name in ("accessattempt", "accessfailurelog", "accesslog"):
        assert admin_client.get(f"/admin/axes/{name}/").status_code == 200
        assert admin_client.get(f"/admin/axes/{name}/add/").status_code == 403


def test_users_and_groups_are_kept_under_the_same_guards(admin_client):
    admin_client.cookies["django_language"] = "en"
    assert admin_client.get("/admin/auth/user/?password__startswith=argon").status_code == 400
    answer = admin_client.post(
        "/admin/auth/user/add/",
        {"username": "nueva", "usable_password": "true", "password1": "one long test password", "password2": "one long test password"},
    )  # fmt: skip
    assert answer.status_code == 302
    user = User.objects.get(username="nueva")
    assert admin_client.get(reverse("admin:auth_user_change", args=[user.pk])).status_code == 200
    assert admin_client.get("/admin/auth/group/add/").status_code == 200


def test_an_audit_entry_shows_what_changed_and_nothing_else(viewer):
    write_without_run("ana")
    entry = AuditEntry.objects.create(
        actor="ana", action="complete_person", reason="why not", subject_table="identity_registry", subject_key="k",
        before={"scout": "<b>1</b>", "phone": "987654321", "name": "SAME"}, after={"scout": "2", "phone": None, "name": "SAME"},
    )  # fmt: skip
    body = viewer.get("/admin/ct4site/auditentry/").content.decode()
    assert "<tr><th>scout</th><td>&lt;b&gt;1&lt;/b&gt;</td><td>2</td></tr>" in body
    assert "<tr><th>phone</th><td>***321</td><td>–</td></tr>" in body
    assert "SAME" not in body
    assert "Person completed" in body
    assert "why not" in viewer.get(reverse("admin:ct4site_auditentry_change", args=[entry.pk])).content.decode()


@pytest.mark.parametrize(
    "address", ["/admin/%00", "/admin/login/?next=%00", "/%00/", "/admin/?q=%00", f"{START}?job=%00"]
)
def test_a_nul_anywhere_in_an_address_is_refused_with_a_page(admin_client, address):
    answer = admin_client.get(address)
    assert answer.status_code == 400
    assert b"ct4/ct4.css" in answer.content


def test_a_locked_out_person_is_told_so_in_the_skin(client, settings):
    settings.AXES_FAILURE_LIMIT = 1
    User.objects.create_user("ana", password="one long test password", is_staff=True)
    client.post("/admin/login/", {"username": "ana", "password": "wrong"})
    answer = client.post("/admin/login/", {"username": "ana", "password": "wrong"})
    assert answer.status_code == 429
    assert b"ct4/ct4.css" in answer.content
