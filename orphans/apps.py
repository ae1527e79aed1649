"""Orphans: which drivers must not be operational. Detection, repair, quarantine."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from ct4site import audit


class OrphansConfig(AppConfig):
    name = "orphans"
    verbose_name = _("Orphans")

    def ready(self) -> None:
        from orphans import demo_chain, jobs, releasing, reviewing, undo  # noqa: F401  register themselves

        audit.register("canon", "driver_orphan_quarantine", key="driver_id", key_type="text", undo_order=5)
        audit.register_hooks(undo.HOOKS)
