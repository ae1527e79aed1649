"""The filters behind the home page and the navigation."""

from django.contrib import admin
from django.contrib.auth.models import Group, User

from ct4site.templatetags import ct4


def test_apps_are_listed_in_the_order_of_the_data_with_kernel_and_accounts_last():
    labels = ["auth", "recovery", "unknown", "identity", "ct4site", "orphans"]
    ordered = ct4.in_reading_order([{"app_label": label} for label in labels])
    assert [app["app_label"] for app in ordered] == ["identity", "orphans", "recovery", "unknown", "ct4site", "auth"]


def test_a_list_says_what_it_is_for_only_when_its_admin_does(monkeypatch):
    monkeypatch.setattr(type(admin.site.get_model_admin(Group)), "purpose", "Roles of people.")
    monkeypatch.setattr(type(admin.site.get_model_admin(User)), "purpose", "")
    assert ct4.purpose({"model": Group}) == "Roles of people."
    assert ct4.purpose({"model": User}) == ""
    assert ct4.purpose({}) == ""
