"""Attribution: which scout gets the credit. Ledger, conflicts, backlog, metrics."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from ct4site import audit


class AttributionConfig(AppConfig):
    name = "attribution"
    verbose_name = _("Attribution")

    def ready(self) -> None:
        from attribution import (  # noqa: F401  some register themselves
            backfills,
            collection,
            collection_demo,
            comparing,
            consequences,
            demo_chain,
            fixing,
            following,
            jobs,
            mapping,
            reviewing,
            settlement,
            undo,
        )
        from ct4site.review import kinds

        kinds.register_consequences(
            kinds.Consequences(
                take_turns=following.take_turns,
                follow=following.follow,
                snapshot=consequences.snapshot,
                difference=consequences.difference,
                needs_approval=consequences.touches_settled,
                money="ops.v_money_at_risk",
                words=consequences.words,
            )
        )
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
        audit.register("canon", "claims_yango_cabinet_14d", key="claim_id", key_type="int4", undo_order=1)
        audit.register_hooks(undo.HOOKS)
        audit.register_hooks(settlement.HOOKS)
