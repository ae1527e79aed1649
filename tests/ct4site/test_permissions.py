"""Who may open and do what: every route of the site, every action and every button, for everybody who may sign in.

The tables below say it a second time, apart from ``ct4site.roles``: a screen or an address that is not in them fails.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Model
from django.template.response import SimpleTemplateResponse
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse
from django.utils import timezone

from attribution.models import (
    ClaimComparison,
    ScoutPaymentRule,
)
from ct4site.models import Decision, JobType, Proposal, ReviewCase, Run, RunStatus
from ct4site.review import approving, deciding
from ct4site.review.deciding import Wish
from ct4site.roles import Role
from identity.models import Person
from tests import factories
from tests.attribution import stories
from tests.collection.stories import collect, pays
from tests.collection.test_settlement_admin import a_world as a_settled_world
from tests.shared import made_once

pytestmark = pytest.mark.django_db

BACKEND = "django.contrib.auth.backends.ModelBackend"
ANONYMOUS, OUTSIDER, NO_GROUP = "anonymous", "not staff", "no group"
VIEWER, REVIEWER, APPROVER, OPERATOR, SETTLEMENT, ADMIN = (role.value for role in Role)
ROLES = (VIEWER, REVIEWER, APPROVER, OPERATOR, SETTLEMENT, ADMIN)
STAFF = (NO_GROUP, *ROLES)
ACTORS = (ANONYMOUS, OUTSIDER, *STAFF)
# Who has the same rights as another is asked only where the tables say something else of the two.
ALIKE = {APPROVER: VIEWER, REVIEWER: VIEWER}
Actors = tuple[str, ...]
NOBODY: Actors = ()
DECIDES, RUNS, MONEY, ALL = (REVIEWER, ADMIN), (OPERATOR, ADMIN), (SETTLEMENT, ADMIN), (ADMIN,)
APPROVES: Actors = (APPROVER, ADMIN)


# --- the tables: one line for each screen, one for each address that is not a screen's own ----------------


class Screen(NamedTuple):
    """Who may look, add, change and delete on a screen."""

    view: Actors
    add: Actors = NOBODY
    change: Actors = NOBODY
    delete: Actors = NOBODY


SCREENS = {
    "ct4site.run": Screen(ROLES),
    "ct4site.auditentry": Screen(ROLES),
    "ct4site.reviewcase": Screen(ROLES),
    "ct4site.decision": Screen(ROLES),
    "ct4site.proposal": Screen(ROLES),
    "auth.user": Screen(ALL, add=ALL, change=ALL, delete=ALL),
    "auth.group": Screen(ALL, add=ALL, change=ALL, delete=ALL),
    "axes.accessattempt": Screen(ALL),
    "axes.accessfailurelog": Screen(ALL),
    "axes.accesslog": Screen(ALL),
    "identity.person": Screen(ROLES),
    "identity.link": Screen(ROLES),
    "identity.unmatched": Screen(ROLES),
    "identity.driverindexentry": Screen(ROLES),
    "identity.origin": Screen(ROLES),
    "identity.originchange": Screen(ROLES),
    "identity.leadevent": Screen(ROLES),
    "identity.cabinetlead": Screen(DECIDES),
    "identity.manuallead": Screen(DECIDES),
    "identity.scoutingregistration": Screen(DECIDES),
    "identity.migrationrecord": Screen(DECIDES),
    "identity.driver": Screen(DECIDES),
    "identity.cabinetpayment": Screen(DECIDES),
    "identity.scoutlistentry": Screen(DECIDES),
    "orphans.quarantineddriver": Screen(ROLES),
    "orphans.quarantinechange": Screen(ROLES),
    "attribution.ledgerentry": Screen(ROLES),
    "attribution.scoutconflict": Screen(ROLES),
    "attribution.backlogperson": Screen(ROLES),
    "attribution.scout": Screen(ROLES),
    "attribution.possiblesameperson": Screen(ROLES),
    "attribution.linksbackfillentry": Screen(ROLES),
    "attribution.ledgerbackfillentry": Screen(ROLES),
    "attribution.eventsbackfillentry": Screen(ROLES),
    "attribution.attributionday": Screen(ROLES),
    "attribution.claimincollection": Screen(ROLES),
    "attribution.claim": Screen(ROLES),
    "attribution.claimcomparison": Screen(ROLES),
    "attribution.yangopayment": Screen(ROLES),
    "attribution.paymentstate": Screen(ROLES),
    "attribution.partnerpaymentrule": Screen(ROLES, add=MONEY, change=MONEY),
    "attribution.scoutpaymentrule": Screen(ROLES, add=MONEY, change=MONEY),
    "attribution.settlementperiod": Screen(ROLES),
    "attribution.settlementline": Screen(ROLES),
    "attribution.statementitem": Screen(ROLES),
    "attribution.scoutpayment": Screen(ROLES),
    "recovery.identitygap": Screen(ROLES),
    "recovery.gapalert": Screen(ROLES),
    "recovery.gapcase": Screen(ROLES),
    "recovery.matchingjob": Screen(ROLES),
    "recovery.recoveredlead": Screen(ROLES),
    "recovery.recoveryimpact": Screen(ROLES),
    "recovery.gapday": Screen(ROLES),
    "recovery.redfigureday": Screen(ROLES),
}
APPS = {
    "ct4site": ROLES, "identity": ROLES, "orphans": ROLES, "attribution": ROLES, "recovery": ROLES, "auth": ALL, "axes": ALL,
}  # fmt: skip


class Route(NamedTuple):
    """An address: who may ask for it and what the answer is then, what all others who are signed in are told."""

    address: Callable[[], str]
    who: Actors
    writers: Actors = NOBODY
    answer: int = 200
    refusal: int = 403
    anonymous: int | str = "login"


def _at(name: str, *keys: Any, query: str = "") -> Callable[[], str]:
    """The address of a view of the administration; a key may be a function that finds it."""
    return lambda: reverse(f"admin:{name}", args=[key() if callable(key) else key for key in keys]) + query


def _first(model: type[Model]) -> Callable[[], Any]:
    return lambda: _key_of(model)


ROUTES = {
    "home": Route(lambda: "/", STAFF, answer=302, anonymous=302),
    "set_language": Route(lambda: reverse("set_language"), STAFF, answer=302, anonymous=302),
    "index": Route(_at("index"), STAFF),
    "login": Route(_at("login"), STAFF, answer=302, anonymous=200),
    "logout": Route(_at("logout"), STAFF, writers=STAFF, answer=405, anonymous=302),
    "password_change": Route(_at("password_change"), STAFF),
    "password_change_done": Route(_at("password_change_done"), STAFF),
    "autocomplete": Route(_at("autocomplete"), NOBODY),
    "jsi18n": Route(_at("jsi18n"), STAFF),
    "view_on_site": Route(_at("view_on_site", lambda: ContentType.objects.get_for_model(User).pk, 1), NOBODY, refusal=404),
    "admin/(?P<url>.*)$": Route(lambda: "/admin/nowhere/", NOBODY, refusal=404),
    "auth_user_password_change": Route(_at("auth_user_password_change", _first(User)), ALL, writers=ALL),
    "ct4site_run_start": Route(_at("ct4site_run_start"), RUNS, writers=RUNS),
    "ct4site_run_live": Route(_at("ct4site_run_live", _first(Run)), ROLES),
    # Asked by POST only: a GET is told so, whoever it is.
    "ct4site_run_roll_back": Route(_at("ct4site_run_roll_back", _first(Run)), STAFF, writers=RUNS, answer=405),
    "ct4site_reviewcase_decide": Route(_at("ct4site_reviewcase_decide", _first(ReviewCase)), ROLES, writers=DECIDES),
    "ct4site_reviewcase_lease": Route(_at("ct4site_reviewcase_lease", _first(ReviewCase)), STAFF, writers=DECIDES, answer=405),
    "ct4site_reviewcase_next": Route(_at("ct4site_reviewcase_next", _first(ReviewCase)), ROLES, answer=302),
    "ct4site_reviewcase_many": Route(_at("ct4site_reviewcase_many"), DECIDES, writers=DECIDES),
    "ct4site_decision_reverse": Route(_at("ct4site_decision_reverse", _first(Decision)), DECIDES, writers=DECIDES),
    "ct4site_proposal_answer": Route(_at("ct4site_proposal_answer", _first(Proposal)), STAFF, writers=APPROVES, answer=405),
    "attribution_claimincollection_sums": Route(_at("attribution_claimincollection_sums"), ROLES),
    "attribution_claimcomparison_file": Route(
        _at("attribution_claimcomparison_file", _first(ClaimComparison), "csv"), ROLES
    ),
    "attribution_statement": Route(_at("attribution_statement", query="?scout=7"), ROLES),
    "attribution_statement_print": Route(_at("attribution_statement_print", query="?scout=7"), ROLES),
    "attribution_statement_xlsx": Route(_at("attribution_statement_xlsx", query="?scout=7"), ROLES),
}  # fmt: skip
# Other answers of a screen's own addresses: a row of this list is shown on another screen.
ANSWERS = {"attribution_claimincollection_change": 302, "ct4site_reviewcase_change": 302}


def _key_of(model: type[Model]) -> Any:
    """The key of an object of the world; of accounts and groups one that is nobody's and no role."""
    if model is User:
        return User.objects.get(username="somebody").pk
    if model is Group:
        return Group.objects.get(name="some group").pk
    found = model._default_manager.order_by("pk").first()
    assert found is not None, f"the world has no {model._meta.label}"
    return found.pk


def _of_screen(label: str, screen: Screen) -> Iterator[tuple[str, Route]]:
    model = next(model for model in admin.site._registry if model._meta.label_lower == label)
    name = label.replace(".", "_")

    def at(verb: str, *keys: Any) -> Callable[[], str]:
        return _at(f"{name}_{verb}", *keys)

    def key() -> str:
        return quote(_key_of(model))

    yield f"{name}_changelist", Route(at("changelist"), screen.view)
    yield f"{name}_history", Route(at("history", key), screen.view)
    answer = ANSWERS.get(f"{name}_change", 200)
    yield f"{name}_change", Route(at("change", key), screen.view, writers=screen.change, answer=answer)
    yield f"{name}_add", Route(at("add"), screen.add, writers=screen.add)
    yield f"{name}_delete", Route(at("delete", key), screen.delete, writers=screen.delete)
    # The older form of an object's address leads to the newer one.
    older = f"admin/{label.replace('.', '/')}/<path:object_id>/"
    yield older, Route(lambda: at("change", key)().removesuffix("change/"), STAFF, answer=302)


def table() -> dict[str, Route]:
    """Return every address that is known to these tables, by the name of its view."""
    return ROUTES | {name: route for label, screen in SCREENS.items() for name, route in _of_screen(label, screen)}


def served(resolver: URLResolver, before: str = "") -> Iterator[str]:
    """Return what the site serves: the name of each view, the pattern of those without."""
    for item in resolver.url_patterns:
        pattern = before + str(item.pattern)
        if isinstance(item, URLResolver):
            yield from served(item, pattern)
        elif item.name != "app_list":
            yield item.name or pattern


# --- the world ---------------------------------------------------------------------------------------------


def a_world() -> None:
    """A row for every screen."""
    a_settled_world()
    factories.a_recruited_driver(licence="Q45678901", plate="ABC123")
    factories.a_lead_known_by_its_car()
    factories.a_migrated_driver()
    factories.a_lead("DIAZ MIGUEL SALDAA", plate="V5B305")
    factories.match()
    factories.an_orphan("HUAMAN FLORES ROSA")
    factories.fix_orphans()
    phone, _accounts = factories.a_family_phone(factories.JUAN, factories.JUAN)
    factories.a_lead(factories.JUAN, phone=phone)
    lost = factories.a_lead("SALAS ROJAS NESTOR", phone=factories.a_phone(990))
    factories.run_job(JobType.GAP_RECOVERY)
    factories.a_driver("SALAS ROJAS NESTOR", phone=factories.a_phone(990))
    factories.refresh()
    factories.run_job(JobType.GAP_RECOVERY)
    assert factories.link_of(lost) is not None
    stories.many(100, 103)
    pays(factories.PEDRO, 1)
    collect()
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "claims.csv"
        listed.write_text("driver_id,milestone,amount_expected\nelse,5,35\n")
        factories.run_job(JobType.CLAIMS_COMPARISON, file=str(listed), rejects_dir=folder)
    _decided_cases()
    for seen in (AccessAttempt(failures_since_start=1), AccessFailureLog(), AccessLog()):
        seen.username, seen.path_info = "somebody", "/admin/login/"
        seen.save()
    User.objects.create_user("somebody")
    Group.objects.create(name="some group")


def _decided_cases() -> None:
    """Of two drivers without lead one gets its lead, of the other it is proposed to purge it."""
    missing = {"lead_date": "2026-01-08", "full_name": "ARIAS LUNA JOSE", "phone": factories.a_phone(991)}
    drivers = [factories.an_orphan(name).driver_id for name in ("ARIAS LUNA JOSE", "BUSTOS LEIVA RITA")]
    factories.fix_orphans()
    factories.run_job(JobType.REVIEW_REFRESH)
    decider = User.objects.create_user("decider")
    for driver, choice, target in zip(drivers, ("create_lead", "purge"), (missing, {}), strict=True):
        case = ReviewCase.objects.get(subject_key=driver)
        asked: dict[str, Any] = {
            "case_id": case.pk,
            "wish": Wish(choice, target, "called"),
            "actor": decider,
            "expected_version": case.version,
        }
        approving.decide_or_propose(**asked, shown=deciding.preview(**asked).digest)


world = made_once("world", a_world)


@pytest.fixture
def clients(world: None, caplog: pytest.LogCaptureFixture) -> dict[str, Client]:
    """A browser for everybody, in English; only the anonymous is not signed in. Refusals are not news here."""
    caplog.set_level(logging.CRITICAL, "django.request")
    made = {actor: Client() for actor in ACTORS}
    for actor, client in made.items():
        client.cookies["django_language"] = "en"
        if actor == ANONYMOUS:
            continue
        user = User.objects.create_user(actor, is_staff=actor in STAFF)
        user.groups.set(Group.objects.filter(name=actor))
        client.force_login(user, backend=BACKEND)
    return made


# --- every address -----------------------------------------------------------------------------------------


def told(answer: Any) -> int | str:
    """What an answer says: its status, or that one has to sign in first."""
    return (
        "login" if answer.status_code == 302 and answer["Location"].startswith("/admin/login/") else answer.status_code
    )


def wanted(route: Route, actor: str) -> int | str:
    if actor in (ANONYMOUS, OUTSIDER):
        return route.anonymous
    return route.answer if actor in route.who else route.refusal


def asked(*tables: Actors) -> list[str]:
    """Whoever has to be asked to know that these tables are kept."""
    return [
        actor
        for actor in ACTORS
        if any((actor in who) != (ALIKE.get(actor, actor) in who) for who in tables) or actor not in ALIKE
    ]


def written() -> int:
    """Rows that this transaction wrote so far, those it took back included."""
    with connection.cursor() as cursor:
        cursor.execute("select sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint from pg_stat_xact_user_tables")
        return int(cursor.fetchone()[0])


@contextlib.contextmanager
def unmade() -> Iterator[None]:
    """Answer with empty pages: making one costs more than everything that decides whether it is shown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimpleTemplateResponse, "render", _unmade)
        yield


def _unmade(answer: SimpleTemplateResponse) -> SimpleTemplateResponse:
    answer.content = b""
    return answer


def test_every_address_of_the_site_is_in_the_table() -> None:
    assert sorted(set(served(get_resolver()))) == sorted(table())
    assert {model._meta.app_label for model in admin.site._registry} == set(APPS)


@pytest.mark.slow
def test_every_address_opens_for_whom_the_table_says_and_for_nobody_else(clients: dict[str, Client]) -> None:
    wrong = {}
    for name, route in table().items():
        address = route.address()
        for actor in asked(route.who):
            # A page is made whole for those who see least and most; for the others whether it would be is enough.
            with contextlib.nullcontext() if actor in (VIEWER, ADMIN) else unmade():
                answer = told(clients[actor].get(address))
            if answer != wanted(route, actor):
                wrong[name, actor] = answer, wanted(route, actor)
    assert wrong == {}


@pytest.mark.slow
def test_roles_that_are_asked_as_one_differ_only_where_they_are_asked_apart(world: None) -> None:
    rights = {
        group.name: {f"{right.content_type.app_label}.{right.codename}" for right in group.permissions.select_related("content_type")}
        for group in Group.objects.filter(name__in=ROLES)
    }  # fmt: skip
    assert rights[APPROVER] ^ rights[VIEWER] == {"identity.reveal_pii", "ct4site.approve_proposal"}
    asked_apart = {
        f"{app}.view_{model}"
        for app, model in (label.split(".") for label, screen in SCREENS.items() if REVIEWER in asked(screen.view))
    }
    # What is shown of personal data is asked in test_privacy.
    assert rights[REVIEWER] ^ rights[VIEWER] == asked_apart | {"identity.view_pii", "ct4site.decide_case"}


@pytest.mark.slow
def test_the_list_of_a_room_opens_for_whoever_may_see_one_of_its_screens(clients: dict[str, Client]) -> None:
    for app, who in APPS.items():
        address = reverse("admin:app_list", args=[app])
        told_to = {actor: told(client.get(address)) for actor, client in clients.items()}
        assert told_to == {
            actor: "login" if actor not in STAFF else 200 if actor in who else 404 for actor in ACTORS
        }, app  # fmt: skip


@pytest.mark.slow
def test_a_post_changes_nothing_but_where_the_table_says_so(clients: dict[str, Client]) -> None:
    wrong = {}
    sent = {"post": "yes", "job": JobType.IDENTITY_RUN, "reason": "x", "amount": "1", "action": "delete_selected"}
    for name, route in table().items():
        if name.endswith(("_history", "<path:object_id>/")):
            continue  # stock views that know no POST
        address = route.address()
        for actor in asked(route.who, route.writers):
            if actor in route.writers:
                continue
            before = written()
            with unmade():
                answer = told(clients[actor].post(address, sent))
            is_refused = answer in ("login", 403, 404, 405)
            must_be = wanted(route, actor) in ("login", 403) or (route.writers and actor in STAFF)
            if written() != before or (must_be and not is_refused):
                wrong[name, actor] = answer, written() - before
    assert wrong == {}


# --- actions and buttons -----------------------------------------------------------------------------------


def test_every_action_names_the_right_it_needs_and_only_accounts_have_any(clients: dict[str, Client]) -> None:
    offered = {}
    requests = {actor: clients[actor].get(reverse("admin:password_change")).wsgi_request for actor in ROLES}
    for model, screen in admin.site._registry.items():
        for action, name, _words in screen._get_base_actions():  # type: ignore[attr-defined]
            assert getattr(action, "allowed_permissions", None), (model, name)
        for actor, request in requests.items():
            if screen.has_view_permission(request) and screen.get_actions(request):
                offered[model._meta.label, actor] = list(screen.get_actions(request))
    assert offered == {("auth.User", ADMIN): ["delete_selected"], ("auth.Group", ADMIN): ["delete_selected"]}


BUTTONS: dict[str, tuple[Callable[[], str], str, Actors]] = {
    "start a run": (_at("ct4site_run_changelist"), 'href="/admin/ct4site/run/start/"', RUNS),
    "roll back": (_at("ct4site_run_change", _first(Run)), "/roll-back/", RUNS),
    "new rule": (_at("attribution_partnerpaymentrule_changelist"), "/partnerpaymentrule/add/", MONEY),
    "save rule": (_at("attribution_scoutpaymentrule_change", _first(ScoutPaymentRule)), 'name="_save"', MONEY),
    "comparison as a file": (_at("attribution_claimcomparison_change", _first(ClaimComparison)), "claims.csv", ROLES),
    "show personal data": (
        _at("identity_person_change", lambda: Person.objects.filter(primary_phone__isnull=False).order_by("pk")[0].pk),
        'name="reveal"',
        (APPROVER, OPERATOR, SETTLEMENT),
    ),
    "sums": (_at("attribution_claimincollection_changelist"), "/claimincollection/sums/", ROLES),
    "statement as a file": (_at("attribution_statement", query="?scout=7"), "/statement/xlsx/", ROLES),
}


@pytest.mark.slow
def test_a_button_is_shown_to_whoever_may_use_it(clients: dict[str, Client]) -> None:
    for button, (address, sign, who) in BUTTONS.items():
        shown = tuple(actor for actor in ROLES if sign in clients[actor].get(address()).content.decode())
        assert shown == who, button


def test_whoever_may_start_and_take_back_runs_can_and_nobody_starts_the_close_of_a_period_there(
    clients: dict[str, Client],
) -> None:
    for actor in RUNS:
        started = clients[actor].post(
            reverse("admin:ct4site_run_start"), {"job": JobType.IDENTITY_RUN, "dry_run": "on"}
        )
        run = Run.objects.latest("pk")
        assert (started.status_code, run.actor) == (302, actor)
        Run.objects.filter(pk=run.pk).update(status=RunStatus.FAILED, completed_at=timezone.now(), dry_run=False)
        clients[actor].post(reverse("admin:ct4site_run_roll_back", args=[run.pk]), {"reason_code": "mistake"})
        proposal = Proposal.objects.latest("pk")
        assert (proposal.run, proposal.proposed_by.username) == (run, actor)
    before = written()
    answer = clients[ADMIN].post(reverse("admin:ct4site_run_start"), {"job": JobType.SETTLEMENT_CLOSE})
    assert (answer.status_code, written()) == (404, before)


def test_whoever_may_change_rules_can(clients: dict[str, Client]) -> None:
    for number, actor in enumerate(MONEY, 1):
        sent = {
            "origin_tag": "cabinet", "milestone_type": "trips", "milestone_value": 70 + number, "window_days": 14,
            "amount": "10.00", "currency": "PEN", "valid_from": "2030-01-01", "is_active": "on", "reason": "agreed",
        }  # fmt: skip
        answer = clients[actor].post(reverse("admin:attribution_scoutpaymentrule_add"), sent)
        assert answer.status_code == 302, answer.context_data["adminform"].form.errors
        assert ScoutPaymentRule.objects.filter(milestone_value=70 + number).exists()


# --- nobody rises above what the table gives ---------------------------------------------------------------


def page_of(item: Model, verb: str = "change") -> str:
    return reverse(f"admin:{item._meta.app_label}_{item._meta.model_name}_{verb}", args=[item.pk])


def an_account(user: User, **changes: Any) -> dict[str, Any]:
    """What the page of an account sends."""
    joined = timezone.localtime(user.date_joined)
    return {
        "username": user.username, "is_active": "on", "is_staff": "on", "date_joined_0": joined.date().isoformat(),
        "date_joined_1": joined.time().isoformat("seconds"), **changes,
    }  # fmt: skip


def test_an_administrator_puts_somebody_into_a_role_by_its_name(clients: dict[str, Client]) -> None:
    somebody = User.objects.get(username="somebody")
    assert "Operator (operator)" in clients[ADMIN].get(page_of(somebody)).content.decode()
    role = Group.objects.get(name=OPERATOR)
    answer = clients[ADMIN].post(page_of(somebody), an_account(somebody, groups=[role.pk]))
    assert answer.status_code == 302
    somebody.refresh_from_db()
    assert (list(somebody.groups.all()), somebody.is_staff) == ([role], True)


def test_only_a_superuser_makes_a_superuser_and_gives_rights_apart_from_roles(clients: dict[str, Client]) -> None:
    own = User.objects.get(username=ADMIN)
    more = an_account(own, is_superuser="on", user_permissions=[Permission.objects.get(codename="add_schedule").pk])
    assert clients[ADMIN].post(page_of(own), more).status_code == 302
    own.refresh_from_db()
    assert (own.is_superuser, own.user_permissions.count()) == (False, 0)
    above = Client()
    above.force_login(User.objects.create_superuser("above"), backend=BACKEND)
    assert above.post(page_of(own), more).status_code == 302
    own.refresh_from_db()
    assert (own.is_superuser, own.user_permissions.count()) == (True, 1)


def test_the_account_of_a_superuser_is_touched_by_superusers_only(clients: dict[str, Client]) -> None:
    above = User.objects.create_superuser("above")
    before = written()
    sent = an_account(above, post="yes", password1="a long new password", password2="a long new password")
    for verb in ("change", "delete", "password_change"):
        assert clients[ADMIN].post(page_of(above, verb), sent).status_code == 403, verb
    several = {"action": "delete_selected", "_selected_action": [above.pk], "post": "yes"}
    assert clients[ADMIN].post(reverse("admin:auth_user_changelist"), several).status_code == 403
    assert written() == before
    assert clients[ADMIN].get(page_of(above)).status_code == 200


def test_a_role_cannot_be_changed_or_deleted_on_a_screen_but_another_group_can(clients: dict[str, Client]) -> None:
    role, other = Group.objects.get(name=VIEWER), Group.objects.get(name="some group")
    before = written()
    for verb in ("change", "delete"):
        assert clients[ADMIN].post(page_of(role, verb), {"name": "x", "post": "yes"}).status_code == 403, verb
    several = {"action": "delete_selected", "_selected_action": [role.pk, other.pk], "post": "yes"}
    assert clients[ADMIN].post(reverse("admin:auth_group_changelist"), several).status_code == 403
    assert written() == before
    assert clients[ADMIN].post(page_of(other), {"name": "another group"}).status_code == 302
    assert clients[ADMIN].post(page_of(other, "delete"), {"post": "yes"}).status_code == 302
    assert not Group.objects.filter(pk=other.pk).exists()
