"""Identity: who is who. Source records, drivers index, persons, links, unmatched, origin, lead events."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from ct4site import audit


class IdentityConfig(AppConfig):
    name = "identity"
    verbose_name = _("Identity")

    def ready(self) -> None:
        from ct4site.review import kinds
        from identity import demo_chain, jobs, legacy, naming, undo  # noqa: F401  register themselves

        audit.register("canon", "identity_links", key="id", key_type="int4", undo_order=10)
        audit.register("canon", "identity_unmatched", key="id", key_type="int4", undo_order=20, derived=("is_stale",))
        audit.register("canon", "identity_refusals", key="refusal_key", key_type="text", undo_order=25)
        audit.register("canon", "identity_origin", key="person_key", key_type="uuid", undo_order=30)
        audit.register("canon", "identity_registry", key="person_key", key_type="uuid", undo_order=40)
        audit.register("canon", "manual_leads", key="id", key_type="int4", undo_order=50)
        audit.register_hooks(undo.HOOKS)
        kinds.register_names(naming.names_of)
