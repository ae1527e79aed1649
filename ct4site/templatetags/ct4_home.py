"""Template tags of the start page."""

from typing import Any

from django import template

from ct4site import home

register = template.Library()


@register.simple_tag(takes_context=True)
def home_panels(context: dict[str, Any]) -> list[home.Panel]:
    """Return the panels of the start page for the current user."""
    return home.panels(context["request"])


@register.simple_tag(takes_context=True)
def home_results(context: dict[str, Any]) -> list[home.Panel]:
    """Return what the search text of the address (``q``) finds for the current user."""
    return home.results(context["request"], context["request"].GET.get("q", ""))
