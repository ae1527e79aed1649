"""The roles are in the database as the table says: on a new one, on an old one, twice, and after it was emptied."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.utils import translation

from ct4site.management.commands import demo
from ct4site.roles import RIGHTS, Role, keep_roles, role_label


def stored() -> dict[str, set[str]]:
    """Every group with its rights."""
    found: dict[str, set[str]] = {}
    for group in Group.objects.prefetch_related("permissions__content_type"):
        rights = group.permissions.all()
        found[group.name] = {f"{right.content_type.app_label}.{right.codename}" for right in rights}
    return found


TABLE = {role.value: set(rights) for role, rights in RIGHTS.items()}


@pytest.mark.django_db
def test_every_role_is_a_group_with_exactly_its_rights() -> None:
    assert stored() == TABLE


@pytest.mark.django_db
def test_doing_it_again_changes_nothing_and_leaves_other_groups_alone(django_assert_num_queries) -> None:
    other = Group.objects.create(name="other")
    other.permissions.add(Permission.objects.get(codename="run_jobs"))
    with django_assert_num_queries(2) as asked:
        keep_roles()
    assert all(query["sql"].startswith("SELECT") for query in asked.captured_queries)
    assert stored() == TABLE | {"other": {"ct4site.run_jobs"}}


@pytest.mark.django_db
def test_an_older_database_gets_what_is_missing_loses_what_is_too_much_and_keeps_members() -> None:
    member = User.objects.create_user("luz")
    member.groups.add(Group.objects.get(name=Role.VIEWER))
    Group.objects.get(name=Role.VIEWER).permissions.set(Permission.objects.filter(codename="delete_user"))
    Group.objects.get(name=Role.ADMIN).delete()
    Permission.objects.filter(codename__in=["run_jobs", "view_person"]).delete()
    keep_roles()
    assert stored() == TABLE
    assert member.has_perm("identity.view_person")
    assert not member.has_perm("auth.delete_user")


@pytest.mark.django_db(transaction=True)
def test_the_roles_are_back_after_the_database_was_emptied() -> None:
    Group.objects.all().delete()
    call_command("flush", interactive=False, verbosity=0)
    assert stored() == TABLE


@pytest.mark.django_db
def test_the_login_of_the_demo_is_an_administrator_by_role_whatever_it_was_before() -> None:
    User.objects.create_superuser(demo.LOGIN)
    demo.make_login()
    user = User.objects.get(username=demo.LOGIN)
    assert (user.is_staff, user.is_superuser, [group.name for group in user.groups.all()]) == (
        True,
        False,
        [Role.ADMIN],
    )


def test_a_role_is_shown_in_words_with_its_stored_name_and_another_group_by_its_own() -> None:
    with translation.override("en"):
        assert [role_label(name) for name in ("settlement", "some group")] == ["Settlement (settlement)", "some group"]
    with translation.override("es"):
        assert role_label("settlement") == "Liquidación (settlement)"
