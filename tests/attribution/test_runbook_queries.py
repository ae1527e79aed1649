"""The queries of the runbooks RB0 and RB1 run as they are written there and answer of a small known world (domain.md 14.1)."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import DataError, connection

from attribution.models import LedgerBackfillEntry, LedgerEntry
from ct4site.models import JobType
from identity.models import Person
from tests.attribution.test_ledger import TABLES, a_person_with, day, decide
from tests.factories import Record, a_lead, a_registration, an_event, run_job

pytestmark = pytest.mark.django_db

# RB0, "Cómo Revisar Conflictos y Categorías"
CONFLICTS = """
SELECT * FROM ops.v_scout_attribution_conflicts
ORDER BY distinct_scout_count DESC, total_records DESC
LIMIT 50;
"""
CATEGORIES = """
SELECT 
    categoria,
    COUNT(*) AS count,
    ROUND(COUNT(*)::NUMERIC / NULLIF((SELECT COUNT(*) FROM ops.v_persons_without_scout_categorized), 0) * 100, 2) AS pct
FROM ops.v_persons_without_scout_categorized
GROUP BY categoria
ORDER BY count DESC;
"""  # noqa: W291
SAMPLE_OF_D = """
-- Categoría D (prioritaria para backfill)
SELECT * FROM ops.v_persons_without_scout_categorized
WHERE categoria = 'D: Scout en events pero no en ledger'
ORDER BY events_with_scout_count DESC, identity_created_at DESC
LIMIT 50;
"""
# RB0, "Cómo Validar en UI (Cobranza con Scout)"
COLLECTION_BUCKETS = """
SELECT 
    scout_quality_bucket,
    COUNT(*) AS claim_count,
    ROUND(COUNT(*)::NUMERIC / NULLIF((SELECT COUNT(*) FROM ops.v_yango_collection_with_scout), 0) * 100, 2) AS pct
FROM ops.v_yango_collection_with_scout
GROUP BY scout_quality_bucket
ORDER BY claim_count DESC;
"""  # noqa: W291
COLLECTION_COVERAGE = """
SELECT 
    COUNT(*) AS total_claims,
    COUNT(*) FILTER (WHERE is_scout_resolved = true) AS claims_with_scout,
    ROUND((COUNT(*) FILTER (WHERE is_scout_resolved = true)::NUMERIC / COUNT(*) * 100), 2) AS pct_with_scout
FROM ops.v_yango_collection_with_scout;
"""  # noqa: W291
# RB0, "Rollback Manual"
ROLL_BACK = """
-- Rollback de lead_ledger (ejemplo - NO ejecutar sin aprobación)
UPDATE observational.lead_ledger ll
SET 
    attributed_scout_id = audit.old_attributed_scout_id,
    attribution_rule = audit.attribution_rule_old,
    evidence_json = audit.evidence_json_old
FROM ops.lead_ledger_scout_backfill_audit audit
WHERE ll.person_key = audit.person_key
    AND audit.backfill_timestamp >= 'YYYY-MM-DD HH:MM:SS'  -- Timestamp específico
    AND audit.backfill_method = 'BACKFILL_SINGLE_SCOUT_FROM_EVENTS';
"""  # noqa: W291
# RB1, "VERIFICACIONES"
METRICS = """
-- Verificar métricas
SELECT * FROM ops.v_scout_attribution_metrics_snapshot;
"""
CONFLICTS_COUNT = """
-- Verificar conflictos
SELECT COUNT(*) FROM ops.v_scout_attribution_conflicts;
"""
BACKLOG = """
-- Verificar backlog
SELECT category, COUNT(*) FROM ops.v_persons_without_scout_categorized GROUP BY category;
"""

A = "A: Tiene lead_events pero sin scout_id"
B = "B: Tiene lead_ledger sin scout (attribution_rule indica unassigned/bucket)"
C = "C: Sin events ni ledger (legacy/externo)"
D = "D: Scout en events pero no en ledger"

# Columns by which runbooks, screens and exports know these relations (domain.md 3.11, 6.5 to 6.10, Q21, Q30).
COLUMNS = {
    "ops.v_scout_attribution_raw": """
        person_key driver_id driver_license driver_phone scout_id origin_tag acquisition_method source_table source_pk
        attribution_date created_at priority""",
    "ops.v_scout_attribution": """
        person_key driver_id driver_license driver_phone scout_id acquisition_method source_table source_pk
        attribution_date created_at priority origin_tag""",
    "ops.v_scout_attribution_conflicts": """
        person_key distinct_scout_count scout_ids source_tables sources origin_tags first_attribution_date
        first_event_date last_attribution_date last_event_date first_created_at last_created_at total_records
        total_sources conflict_details conflict_type""",
    "ops.v_persons_without_scout_categorized": """
        person_key primary_full_name primary_phone primary_license identity_created_at categoria has_scout_in_events
        has_lead_events has_lead_ledger has_scout_in_ledger lead_events_count events_with_scout_count
        scout_id_from_events ledger_attribution_rule sample_date category category_label scout_id source_tables
        origin_tags first_event_date last_event_date event_count""",
    "ops.v_scout_attribution_metrics_snapshot": """
        total_persons persons_with_scout_satisfactory pct_scout_satisfactory persons_missing_scout conflicts_count
        open_conflicts_count backlog_a_events_without_scout backlog_b_ledger_without_scout
        backlog_c_legacy_no_events_no_ledger backlog_d_scout_in_events_not_in_ledger backlog_e_other last_job_status
        last_job_ended_at last_job_started_at last_job_duration_seconds last_job_summary last_job_error
        snapshot_timestamp""",
    "ops.v_scout_attribution_metrics_daily": """
        metric_date total_persons satisfactory_count pct_satisfactory missing_count by_source_scouting_daily
        by_source_cabinet_leads by_source_lead_ledger computed_at""",
    "ops.v_dim_scouts": "scout_id raw_name scout_name_normalized is_active created_at updated_at",
    "ops.v_cabinet_leads_missing_scout_alerts": """
        cabinet_lead_id external_id lead_created_at person_key potential_scout_id has_scout_in_events""",
    "ops.v_cabinet_leads_missing_scout_daily": """
        event_date source_table events_without_scout distinct_persons distinct_source_pks sample_source_pks""",
    "ops.identity_links_backfill_audit": """
        id source_table source_pk person_key driver_id driver_license driver_phone match_method match_confidence
        match_score evidence_json match_result action_type reason error_message backfill_timestamp ingestion_run_id
        notes""",
    "ops.lead_ledger_scout_backfill_audit": """
        id person_key old_attributed_scout_id new_attributed_scout_id attribution_rule_old attribution_rule_new
        attribution_confidence_old attribution_confidence_new attribution_source evidence_json_old evidence_json_new
        backfill_method backfill_timestamp ingestion_run_id notes""",
    "ops.lead_events_scout_backfill_audit": """
        id lead_event_id source_table source_pk person_key old_scout_id new_scout_id mapping_method
        mapping_confidence evidence_json action_type backfill_method error_message backfill_timestamp
        ingestion_run_id notes""",
}


def ask(query: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def an_entry(person: Person, rule: str | None, scout: int | None, **columns: Any) -> None:
    LedgerEntry.objects.create(
        person=person, attributed_source="cabinet", attributed_scout_id=scout, attribution_rule=rule,
        attribution_score="0.80", confidence_level="medium", decision_status="assigned", **columns,
    )  # fmt: skip


@pytest.fixture
def world() -> dict[str, Person]:
    """Ten persons: one satisfied, two of them in conflict, and the backlog of every category."""
    found = {
        "satisfied": a_person_with(("scouting", 7, 1)),
        "quarrel": a_person_with(("scouting", 7, 1), ("scouting", 9, 5)),
        "crowd": a_person_with(("scouting", 7, 1), ("scouting", 9, 2), ("scouting", 3, 3), ("cabinet", None, 3)),
        "moved on": a_person_with(("scouting", 7, 1), ("scouting", 9, 20)),
    }
    decide()
    found |= {
        "a": a_person_with(("cabinet", None, 1)),
        "b": Person.objects.create(confidence_level="HIGH"),
        "c": Person.objects.create(confidence_level="LOW"),
        "c too": Person.objects.create(confidence_level="LOW"),
        "d": a_person_with(("cabinet", 7, 4)),
        "d more": a_person_with(("cabinet", 8, 1), ("cabinet", 8, 2)),
    }
    an_entry(found["b"], "U", None)
    an_entry(found["d"], "B", None, evidence_json={"kept": 1})
    return found


def test_the_conflicts_come_with_the_most_disputed_first(world: dict[str, Person]) -> None:
    rows = ask(CONFLICTS)
    assert [(row["person_key"], row["scout_ids"], row["total_records"], row["conflict_type"]) for row in rows] == [
        (world["crowd"].pk, [3, 7, 9], 3, "OPEN"),
        (world["moved on"].pk, [7, 9], 3, "HISTORICAL"),
        (world["quarrel"].pk, [7, 9], 2, "OPEN"),
    ]
    last = rows[-1]
    assert (last["first_event_date"], last["last_attribution_date"]) == (day(1), day(5))
    assert [(claim["scout_id"], claim["priority"]) for claim in json.loads(last["conflict_details"])] == [
        (9, 2), (7, 2),
    ]  # fmt: skip


def test_the_categories_are_counted_with_their_share(world: dict[str, Person]) -> None:
    rows = {row["categoria"]: (row["count"], row["pct"]) for row in ask(CATEGORIES)}
    assert rows == {
        A: (1, Decimal("12.50")), B: (1, Decimal("12.50")), C: (2, Decimal("25.00")), D: (4, Decimal("50.00")),
    }  # fmt: skip


def test_the_sample_of_d_begins_with_the_best_known(world: dict[str, Person]) -> None:
    rows = ask(SAMPLE_OF_D)
    assert [row["events_with_scout_count"] for row in rows] == [3, 2, 2, 1]
    assert [row["person_key"] for row in rows][::3] == [world["crowd"].pk, world["d"].pk]
    by_person = {row["person_key"]: row for row in rows}
    of_d = by_person[world["d"].pk]
    assert (of_d["scout_id_from_events"], of_d["ledger_attribution_rule"], of_d["has_lead_ledger"]) == (7, "B", True)
    assert (of_d["has_scout_in_events"], of_d["has_scout_in_ledger"]) == (True, False)


def test_the_snapshot_counts_what_the_other_queries_list(world: dict[str, Person]) -> None:
    (metrics,) = ask(METRICS)
    assert {name: value for name, value in metrics.items() if not name.startswith(("last_job", "snapshot"))} == {
        "total_persons": 10, "persons_with_scout_satisfactory": 2, "pct_scout_satisfactory": Decimal("20.00"),
        "persons_missing_scout": 8, "conflicts_count": 3, "open_conflicts_count": 2,
        "backlog_a_events_without_scout": 1, "backlog_b_ledger_without_scout": 1,
        "backlog_c_legacy_no_events_no_ledger": 2, "backlog_d_scout_in_events_not_in_ledger": 4, "backlog_e_other": 0,
    }  # fmt: skip
    assert metrics["last_job_status"] is None
    assert ask(CONFLICTS_COUNT) == [{"count": 3}]
    assert {row["category"]: row["count"] for row in ask(BACKLOG)} == {"A": 1, "B": 1, "C": 2, "D": 4}


def test_the_snapshot_tells_of_the_last_refresh_only(world: dict[str, Person]) -> None:
    run_job(JobType.SCOUT_REFRESH)
    run_job(JobType.SCOUT_REFRESH, dry_run=True)
    decide()
    (metrics,) = ask(METRICS)
    assert metrics["last_job_status"] == "COMPLETED"
    assert metrics["last_job_started_at"] <= metrics["last_job_ended_at"]
    assert metrics["last_job_duration_seconds"] >= 0
    assert metrics["persons_with_scout_satisfactory"] == 4
    assert json.loads(metrics["last_job_summary"])["metrics"]["with_scout"] == 4
    assert metrics["last_job_error"] is None


def test_the_queries_answer_of_an_empty_database_too() -> None:
    for query in (CONFLICTS, CATEGORIES, SAMPLE_OF_D, BACKLOG):
        assert ask(query) == []
    (metrics,) = ask(METRICS)
    assert (metrics["total_persons"], metrics["pct_scout_satisfactory"], metrics["conflicts_count"]) == (0, 0, 0)


def test_the_roll_back_of_the_runbook_restores_what_the_backfill_changed(world: dict[str, Person]) -> None:
    """As an emergency by hand; ``roll_back_backfill`` restores more and tells it."""
    run_job(JobType.LEDGER_BACKFILL)
    assert LedgerEntry.objects.get(pk=world["d"].pk).attributed_scout_id == 7
    told = LedgerBackfillEntry.objects.get(person_key=world["d"].pk)
    with connection.cursor() as cursor:
        # The one thing the runbook leaves to be filled in.
        cursor.execute(ROLL_BACK.replace("YYYY-MM-DD HH:MM:SS", f"{told.backfill_timestamp:%Y-%m-%d %H:%M:%S}+00"))
        assert cursor.rowcount == 2
    found = LedgerEntry.objects.get(pk=world["d"].pk)
    assert (found.attributed_scout_id, found.attribution_rule, found.evidence_json) == (None, "B", {"kept": 1})
    assert {row["category"]: row["count"] for row in ask(BACKLOG)} == {"A": 1, "B": 1, "C": 2, "D": 4}


@pytest.mark.parametrize("relation", COLUMNS)
def test_a_relation_has_the_columns_it_is_known_by(relation: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"select * from {relation} limit 0")
        names = {column.name for column in cursor.description}
    assert set(COLUMNS[relation].split()) - names == set()


def test_the_audit_of_the_links_groups_by_action() -> None:
    """The observability runbook counts the last day and the last month by ``action_type`` (domain.md 6.11)."""
    a_registration(phone="987001001")
    a_registration(phone=None)
    a_lead()
    run_job(JobType.LINKS_BACKFILL)
    rows = ask(
        "select action_type, match_result, count(*) from ops.identity_links_backfill_audit"
        " where backfill_timestamp >= now() - interval '30 days' group by 1, 2"
    )
    assert {(row["action_type"], row["match_result"]): row["count"] for row in rows} == {
        ("CREATED", "created"): 1, ("NOT_FOUND", "not_found"): 1,
    }  # fmt: skip


def test_the_collection_is_asked_for_its_scouts() -> None:
    """Of no claims; the runbook's coverage divides by their number."""
    if ask("select to_regclass('ops.v_yango_collection_with_scout') is null as missing") == [{"missing": True}]:
        pytest.skip("claims are collected in a later part of the system")
    assert ask(COLLECTION_BUCKETS) == []
    with pytest.raises(DataError, match="division by zero"):
        ask(COLLECTION_COVERAGE)


def test_rows_of_nobody_are_claims_and_nothing_else() -> None:
    for scout in (7, 9, 3):
        a_registration(scout=scout)
    an_event(Record(TABLES["scouting"], "999"), on=dt.date(2026, 1, 2), scout_id=12)
    assert ask(CONFLICTS) == [] == ask(BACKLOG)
    assert ask("select count(*) from ops.v_scout_attribution_raw where person_key is null") == [{"count": 3}]
