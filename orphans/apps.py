"""Orphans: see docs/architecture.md for what belongs here."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OrphansConfig(AppConfig):
    name = "orphans"
    verbose_name = _("Orphans")
