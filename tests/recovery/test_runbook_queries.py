"""The queries of the runbooks RB2 and RB4 run as they are written there and answer of a small known world (domain.md 14.1)."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import F

from ct4site.models import JobType
from identity.models import Link
from recovery.models import MatchingJob
from tests.attribution.test_runbook_queries import ask
from tests.collection.stories import a_cabinet_lead, a_person, ago, fresh_name
from tests.factories import Record, a_driver, a_lead, an_origin, match, retry_leads, rolled_back, run_job

pytestmark = pytest.mark.django_db

# RB2, "Verificación"
RECENT_RECOVERIES = """
-- Ver registros recientes en audit
SELECT 
    lead_id,
    first_recovered_at,
    last_recovered_at,
    recovered_person_key,
    recovery_method
FROM ops.cabinet_lead_recovery_audit
ORDER BY first_recovered_at DESC
LIMIT 10;
"""  # noqa: W291
IMPACTS = """
-- Ver leads recuperados
SELECT 
    impact_bucket,
    COUNT(*) as count
FROM ops.v_cabinet_identity_recovery_impact_14d
GROUP BY impact_bucket
ORDER BY count DESC;
"""  # noqa: W291
# RB4, "Verificación de Freshness"
FRESHNESS = """
-- Verificar último run del job
SELECT 
    MAX(last_attempt_at) as last_run,
    COUNT(*) FILTER (WHERE last_attempt_at >= NOW() - INTERVAL '24 hours') as jobs_last_24h,
    COUNT(*) FILTER (WHERE status = 'matched' AND last_attempt_at >= NOW() - INTERVAL '24 hours') as matched_last_24h
FROM ops.identity_matching_jobs;
"""  # noqa: W291
# RB4, "Evolución del Gap"
TODAY_AND_YESTERDAY = """
-- Comparar unresolved hoy vs ayer (requiere snapshot diario o usar histórico)
WITH today_gap AS (
    SELECT COUNT(*) FILTER (WHERE gap_reason != 'resolved') as unresolved_today
    FROM ops.v_identity_gap_analysis
),
yesterday_gap AS (
    -- Si tienes tabla histórica, usar eso. Si no, calcular desde jobs
    SELECT COUNT(*) FILTER (WHERE status != 'matched') as unresolved_yesterday
    FROM ops.identity_matching_jobs
    WHERE last_attempt_at < NOW() - INTERVAL '24 hours'
)
SELECT 
    t.unresolved_today,
    y.unresolved_yesterday,
    t.unresolved_today - y.unresolved_yesterday as delta
FROM today_gap t, yesterday_gap y;
"""  # noqa: W291
MATCHED = """
SELECT 
    COUNT(*) as matched_last_24h,
    COUNT(DISTINCT matched_person_key) as unique_persons_matched
FROM ops.identity_matching_jobs
WHERE status = 'matched'
  AND last_attempt_at >= NOW() - INTERVAL '24 hours';
"""  # noqa: W291
# RB4, "Troubleshooting"
MATCHED_WITHOUT_LINK = """
SELECT COUNT(*) as matched_no_link
FROM ops.identity_matching_jobs j
WHERE j.status = 'matched'
  AND NOT EXISTS (
      SELECT 1
      FROM canon.identity_links il
      WHERE il.source_table = 'module_ct_cabinet_leads'
        AND il.source_pk = j.source_id
  );
"""
UNRESOLVED = """SELECT COUNT(*) FROM ops.v_identity_gap_analysis WHERE gap_reason != 'resolved'"""

# Columns by which runbooks, screens and the API know these relations (domain.md 3.11, 7.1 to 7.4, 8.1, 8.2, 8.5).
COLUMNS = {
    "ops.v_identity_gap_analysis": """
        lead_id lead_date person_key has_identity has_origin trips_14d gap_reason gap_age_days risk_level""",
    "ops.v_identity_gap_alerts": "lead_id alert_type severity days_open suggested_action",
    "ops.v_identity_driver_unlinked_activity": "date_file drivers_without_identity_count trips_from_unlinked_drivers",
    "ops.v_cabinet_lead_identity_effective": """
        lead_id lead_date person_key_effective identity_link_source identity_effective""",
    "ops.v_cabinet_identity_recovery_impact_14d": """
        lead_id lead_date window_end_14d person_key_effective identity_effective origin_ok has_claim
        claim_status_bucket recovered_at recovered_within_14d impact_bucket""",
    "ops.v_cabinet_kpi_red_backlog": "lead_source_pk lead_date reason_bucket age_days",
    "ops.v_cabinet_kpi_red_recovery_metrics_daily": """
        metric_date backlog_start new_backlog_in matched_out backlog_end net_change top_fail_reason""",
    "ops.identity_matching_jobs": """
        id source_type source_id status attempt_count last_attempt_at matched_person_key fail_reason created_at
        updated_at""",
    "ops.cabinet_lead_recovery_audit": """
        lead_id first_recovered_at last_recovered_at recovered_person_key recovered_by recovery_method updated_at""",
}

# What the guide for operators prints.
GUIDE = (settings.BASE_DIR / "docs" / "recovery.es.md").read_text(encoding="utf-8")
PRINTED = [
    query.strip()
    for block in re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL)
    for query in block.split(";")
    if query.strip()
]

World = dict[str, Record]


@pytest.fixture
def world() -> World:
    """Eight leads: two matched again today, one two days ago, two still nobody, one given its origin, two never lost."""
    names = {which: fresh_name() for which in ("old", "new", "newer")}
    leads = {
        which: a_lead(name, plate=f"ABA{number}11", on=ago(20 - number))
        for number, (which, name) in enumerate(names.items(), 1)
    }
    leads["lost"] = a_lead(fresh_name(), plate="ABA444", on=ago(9))
    leads["lost too"] = a_lead(fresh_name(), plate="ABA555", on=ago(1))
    match()
    a_driver(names["old"], plate="ABA111", hired=ago(19))
    retry_leads()
    MatchingJob.objects.update(last_attempt_at=F("last_attempt_at") - dt.timedelta(days=2))
    a_driver(names["new"], plate="ABA211", hired=ago(18))
    a_driver(names["newer"], plate="ABA311", hired=ago(17))
    retry_leads()
    person, well, better = a_person(), a_person(), a_person()
    leads["no origin"] = a_cabinet_lead(person, ago(8))
    leads["well"] = a_cabinet_lead(well, ago(7))
    an_origin(well, leads["well"].source_pk)
    leads["well too"] = a_cabinet_lead(better, ago(30))
    an_origin(better, leads["well too"].source_pk)
    run_job(JobType.RECOVERY_IMPACT)
    return leads


def test_the_recent_recoveries_name_the_person_and_the_way(world: World) -> None:
    rows = {row["lead_id"]: row for row in ask(RECENT_RECOVERIES)}
    assert {lead: row["recovery_method"] for lead, row in rows.items()} == {
        world["old"].source_pk: "retry_matching", world["new"].source_pk: "retry_matching",
        world["newer"].source_pk: "retry_matching", world["no origin"].source_pk: "origin_backfill",
    }  # fmt: skip
    for lead, row in rows.items():
        assert row["recovered_person_key"] == Link.objects.get(source_pk=lead).person_id
        assert row["first_recovered_at"] == row["last_recovered_at"]


def test_the_impacts_add_up_to_the_leads(world: World) -> None:
    rows = ask(IMPACTS)
    assert {row["impact_bucket"]: row["count"] for row in rows} == {
        "recovered_late": 3, "still_unidentified": 2, "recovered_within_14d_but_no_claim": 1,
        "identified_origin_no_claim": 2,
    }  # fmt: skip
    assert [row["count"] for row in rows] == [3, 2, 2, 1]
    assert sum(row["count"] for row in rows) == len(world)


def test_the_freshness_counts_the_tries_of_a_day(world: World) -> None:
    """Of the five that were open, only those about which something changed were tried again (Q38)."""
    (row,) = ask(FRESHNESS)
    assert (row["jobs_last_24h"], row["matched_last_24h"]) == (2, 2)
    assert row["last_run"] == MatchingJob.objects.latest("last_attempt_at").last_attempt_at


def test_today_is_compared_with_what_the_tries_of_yesterday_left(world: World) -> None:
    assert ask(TODAY_AND_YESTERDAY) == [{"unresolved_today": 2, "unresolved_yesterday": 2, "delta": 0}]


def test_the_matched_of_a_day_come_with_their_persons(world: World) -> None:
    assert ask(MATCHED) == [{"matched_last_24h": 2, "unique_persons_matched": 2}]


def test_no_matched_lead_is_without_link_and_one_would_be_found(world: World) -> None:
    assert ask(MATCHED_WITHOUT_LINK) == [{"matched_no_link": 0}]
    with rolled_back():
        with connection.cursor() as cursor:
            cursor.execute("set constraints all deferred")  # else the database refuses it on the spot
        Link.objects.filter(source_pk=world["new"].source_pk).delete()
        assert ask(MATCHED_WITHOUT_LINK) == [{"matched_no_link": 1}]


def test_the_unresolved_are_counted_in_the_view(world: World) -> None:
    assert ask(UNRESOLVED) == [{"count": 2}]
    by_reason = ask("SELECT gap_reason, COUNT(*) FROM ops.v_identity_gap_analysis GROUP BY gap_reason")
    assert {row["gap_reason"]: row["count"] for row in by_reason} == {"resolved": 6, "no_identity": 2}


def test_the_queries_answer_of_an_empty_database_too() -> None:
    assert ask(RECENT_RECOVERIES) == [] == ask(IMPACTS)
    assert ask(FRESHNESS) == [{"last_run": None, "jobs_last_24h": 0, "matched_last_24h": 0}]
    assert ask(TODAY_AND_YESTERDAY) == [{"unresolved_today": 0, "unresolved_yesterday": 0, "delta": 0}]
    assert ask(MATCHED) == [{"matched_last_24h": 0, "unique_persons_matched": 0}]
    assert ask(MATCHED_WITHOUT_LINK) == [{"matched_no_link": 0}]
    assert ask(UNRESOLVED) == [{"count": 0}]


@pytest.mark.parametrize("relation", COLUMNS)
def test_a_relation_has_the_columns_it_is_known_by(relation: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"select * from {relation} limit 0")
        names: Any = {column.name for column in cursor.description}
    assert set(COLUMNS[relation].split()) - names == set()


@pytest.mark.parametrize("number", range(len(PRINTED)))
def test_every_query_of_the_guide_is_answered(number: int) -> None:
    assert isinstance(ask(PRINTED[number]), list)


def test_the_alerts_of_the_guide_come_with_the_gravest_first(world: World) -> None:
    a_cabinet_lead(None, ago(2))
    (query,) = (query for query in PRINTED if "v_identity_gap_alerts" in query)
    assert [(row["severity"], row["days_open"]) for row in ask(query)] == [("high", 9), ("medium", 2), ("low", 1)]
