"""Template filters of the skin."""

from collections.abc import Iterable
from typing import Any

from django import template
from django.apps import apps
from django.contrib import admin

register = template.Library()

# People look for persons and drivers first; the kernel's runs and the accounts come last.
LAST = ("ct4site", "auth")


@register.filter
def in_reading_order(app_list: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort the admin's app list in the order of the data (INSTALLED_APPS), kernel and accounts last."""
    order = {config.label: position for position, config in enumerate(apps.get_app_configs())}

    def position(app: dict[str, Any]) -> tuple[int, int]:
        label = app["app_label"]
        return (LAST.index(label) + 1 if label in LAST else 0, order.get(label, len(order)))

    return sorted(app_list, key=position)


@register.filter
def purpose(model: dict[str, Any]) -> str:
    """Return the sentence a ModelAdmin gives about its list (attribute ``purpose``), or an empty text."""
    model_class = model.get("model")
    if model_class is None or not admin.site.is_registered(model_class):
        return ""
    return getattr(admin.site.get_model_admin(model_class), "purpose", "")
