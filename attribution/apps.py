"""Attribution: which scout gets the credit. Ledger, conflicts, backlog, metrics."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from ct4site import audit


class AttributionConfig(AppConfig):
    name = "attribution"
    verbose_name = _("Attribution")

    def ready(self) -> None:
        from attribution import backfills, demo_chain, fixing, jobs, mapping, undo  # noqa: F401  register themselves

        audit.register(
            "observational",
            "lead_ledger",
            key="person_key",
            key_type="uuid",
            undo_order=8,
            derived=("evidence_digest",),
        )
        audit.register("canon", "possible_same_persons", key="id", key_type="int8", undo_order=7)
        audit.register("ops", "lead_scout_mapping", key="source_key", key_type="text", undo_order=9)
        audit.register_hooks(undo.HOOKS)
