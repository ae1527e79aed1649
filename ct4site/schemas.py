"""Where tables live: the schemas of CT4, the schema of every managed table, and the migration operation that puts it there."""

from typing import Any

from django.db import router
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

SCHEMAS = ("canon", "observational", "ops")
"""Our schemas (domain.md 3). ``public`` belongs to the source systems and to Django's own tables."""

APPS = ("ct4site", "identity", "orphans", "attribution", "recovery")
"""The rooms in the order of their arrows: an app imports and reads only itself and the apps before it."""

TABLES: dict[str, str] = {
    "ingestion_runs": "ops",
    "audit_log": "ops",
    "audit_seals": "ops",
    "review_cases": "ops",
    "review_proposals": "ops",
    "review_decisions": "ops",
    "undo_leftovers": "ops",
    "drivers_index": "canon",
    "identity_registry": "canon",
    "identity_links": "canon",
    "identity_unmatched": "canon",
    "identity_refusals": "canon",
    "identity_origin": "canon",
    "identity_origin_history": "canon",
    "manual_leads": "canon",
    "lead_events": "observational",
    "driver_orphan_quarantine": "canon",
    "driver_orphan_quarantine_history": "canon",
    "lead_ledger": "observational",
    "lead_scout_mapping": "ops",
    "identity_links_backfill_audit": "ops",
    "lead_ledger_scout_backfill_audit": "ops",
    "lead_events_scout_backfill_audit": "ops",
    "scout_attribution_days": "ops",
    "possible_same_persons": "canon",
    "partner_payment_rules": "ops",
    "scout_payment_rules": "ops",
    "yango_payment_status_ledger": "ops",
    "yango_payment_states": "ops",
    "lead_trips": "observational",
    "lead_milestones": "observational",
    "person_scouts": "ops",
    "claims_yango_cabinet_14d": "canon",
    "settlement_periods": "ops",
    "settlement_items": "ops",
    "settlement_lines": "ops",
    "scout_liquidation_ledger": "ops",
    "scout_statements": "ops",
    "existing_claim_lists": "ops",
    "existing_claims": "ops",
    "claim_comparisons": "ops",
    "claim_comparison_rows": "ops",
    "identity_matching_jobs": "ops",
    "identity_matching_attempts": "ops",
    "cabinet_lead_recovery_audit": "ops",
    "cabinet_lead_recovery_events": "ops",
    "identity_gap_days": "ops",
}
"""Managed table -> schema, for every managed model of ``APPS``; a test compares it with the database."""


class MoveToSchema(Operation):
    """Migration operation: moves a freshly created table, its indexes and sequences out of ``public``.

    Takes the model's name (or a bare table name, for many-to-many tables) and one of ``SCHEMAS``. Goes right after the
    ``CreateModel`` in the same migration. The reverse moves the table back to ``public``, so that ``DeleteModel`` and every
    other operation keep working on plain names resolved by the search path. A dotted ``db_table`` is no alternative: it
    corrupts later migrations silently (docs/adr/0002).
    """

    reversible = True

    def __init__(self, model_or_table: str, schema: str) -> None:
        if schema not in SCHEMAS:
            raise ValueError(f"{schema} is not one of {', '.join(SCHEMAS)}")
        self.model_or_table = model_or_table
        self.schema = schema

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Models do not know their schema: nothing changes."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        self._move(app_label, schema_editor, to_state, source="public", target=self.schema)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        self._move(app_label, schema_editor, to_state, source=self.schema, target="public")

    def describe(self) -> str:
        return f"Move {self.model_or_table} to schema {self.schema}"

    def _move(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState, *, source: str, target: str
    ) -> None:
        if not router.allow_migrate(schema_editor.connection.alias, app_label):
            return
        table = self.model_or_table
        if (app_label, table.lower()) in state.models:
            model: Any = state.apps.get_model(app_label, table)
            table = model._meta.db_table
        quote = schema_editor.quote_name
        schema_editor.execute(f"alter table {quote(source)}.{quote(table)} set schema {quote(target)}")
