"""Recovery: leads that were lost, found again, and what that was worth."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from ct4site import audit


class RecoveryConfig(AppConfig):
    name = "recovery"
    verbose_name = _("Recovery")

    def ready(self) -> None:
        from recovery import demo_chain, jobs, moving, reviewing, undo  # noqa: F401  register themselves

        audit.register("ops", "cabinet_lead_recovery_audit", key="lead_id", key_type="text", undo_order=1)
        audit.register_hooks(undo.HOOKS)
