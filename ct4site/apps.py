"""The kernel: settings, embedded database, SQL files, runs, audit, admin base classes."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class KernelConfig(AppConfig):
    name = "ct4site"
    verbose_name = _("Operations")
