"""Every invariant finds the state that breaks it, and a sound state breaks none."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from ct4site import invariants, jobs, sqlfiles
from ct4site.models import JobType, Run
from ct4site.rollback import start_roll_back
from identity.demo import generate
from identity.sources import load_source
from tests import factories
from tests.shared import made_once

pytestmark = pytest.mark.django_db


def findings() -> dict[str, invariants.Finding]:
    return {finding.name: finding for finding in invariants.check()}


def broken() -> set[str]:
    return {name for name, finding in findings().items() if finding.count}


def execute(statement: str) -> None:
    """Write past everything, as a mistake or an intruder would."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


def tamper(statement: str) -> None:
    """Change a history with the owner's rights: with its guards asleep, as they are only for who owns it."""
    tables = ("ops.audit_log", "ops.audit_seals")
    execute("set constraints all immediate;" + ";".join(f"alter table {name} disable trigger user" for name in tables))
    execute(statement)
    execute(
        "do $$ declare wanted record; begin for wanted in select tgrelid::regclass::text as name, tgname from pg_trigger"
        " where not tgisinternal and tgenabled = 'D'"
        " loop execute format('alter table %s enable always trigger %I', wanted.name, wanted.tgname); end loop; end $$"
    )


A_LINK = """
insert into canon.identity_links
    (person_key, source_table, source_pk, snapshot_date, match_rule, match_score, confidence_level, evidence, run_id)
select person_key, 'module_ct_scouting_daily', {pk}, now(), '{rule}', 95, 'HIGH', '{evidence}', {run}
from canon.identity_registry
"""
SAME_RUN = "(select max(id) from ops.ingestion_runs where job_type = 'identity_run')"


def a_link(pk: str = "'999'", rule: str = "manual", evidence: str = "{}", run: str = "null") -> Callable[[], None]:
    return lambda: execute(A_LINK.format(pk=pk, rule=rule, evidence=evidence, run=run))


A_CLAIM = """
insert into canon.claims_yango_cabinet_14d (driver_id, lead_source_pk, lead_date, milestone, amount_expected)
select source_pk, 'x', '2026-01-10', 1, 25 from canon.identity_links where source_table = 'drivers'
"""
A_LEAD_OF_COLLECTION = """
insert into observational.lead_trips
    (source_table, source_pk, lead_date, person_key, driver_id, trips_7d, trips_14d, trips_30d, is_best_of_driver,
    last_lead_date)
select 'module_ct_cabinet_leads', 'x', '2026-01-10', person_key, source_pk, 1, 1, 1, true, '2026-01-10'
from canon.identity_links where source_table = 'drivers'
"""

A_PERIOD = """
insert into ops.settlement_periods (name, starts_on, ends_on, amounts) values ('x', '2026-01-01', '2026-01-31', '{}');
"""
A_DUE_LINE = (
    A_PERIOD
    + """
insert into ops.person_scouts (person_key, scout_id, has_open_conflict)
select person_key, 7, true from canon.identity_links where source_table = 'drivers';
insert into ops.settlement_items
    (person_key, origin_tag, milestone_type, milestone_value, payable_date, window_days, rule_id, amount, currency)
select person_key, 'cabinet', 'trips', 1, '2026-01-17', 7, 1, 20, 'PEN'
from canon.identity_links where source_table = 'drivers';
"""
)
A_STRAY_LINE = (
    A_PERIOD
    + """
insert into ops.settlement_lines (
    period_id, kind, reason, payment_item_key, scout_id, person_key, origin_tag, milestone_type, milestone_value, currency,
    owed_amount, settled_before, amount, current_scout_id
)
select periods.id, 'line', 'REACHED', 'x', 7, persons.person_key, 'cabinet', 'trips', 1, 'PEN', 20, 0, 20, 7
from canon.identity_registry as persons cross join ops.settlement_periods as periods
"""
)

# Its proposal still waits.
A_DECISION_OF_NOBODY_ELSE = """
with people as (
    insert into auth_user (
        username, password, first_name, last_name, email, is_superuser, is_staff, is_active, date_joined
    ) values ('ana', '', '', '', '', false, true, true, now())
    returning id
),
cases as (
    insert into ops.review_cases (kind, subject_key, due_on, closed_because) values ('orphan', 'x', '2026-01-10', '')
    returning id
),
proposals as (
    insert into ops.review_proposals (
        deed, case_id, request, consequences, digest, reason_code, reason_text, proposed_by_id, proposer_address,
        decider_address, answer
    )
    select 'decide', cases.id, '{}', '{}', 'x', 'called', '', people.id, '', '', '' from cases cross join people
    returning id, case_id, proposed_by_id
)
insert into ops.review_decisions (
    case_id, case_version, choice, target, reason_code, reason_text, actor_id, proposal_id, run_id, consequences
)
select case_id, 1, 'purge', '{}', 'called', '', proposed_by_id, id, (select max(id) from ops.ingestion_runs), '{}'
from proposals
"""


def a_view_that_says(name: str, old: str, new: str) -> str:
    """Put other words into a view."""
    return (
        f"do $$ begin execute replace('create or replace view {name} as '"
        f" || pg_get_viewdef('{name}'::regclass), $a${old}$a$, $b${new}$b$); end $$"
    )


VIOLATIONS: dict[str, Callable[[], None]] = {
    "chk_source_record_is_decided": lambda: execute("delete from canon.identity_unmatched"),
    "chk_record_is_linked_or_open": lambda: execute(
        "insert into canon.identity_unmatched (source_table, source_pk, snapshot_date, reason_code)"
        " select source_table, source_pk, now(), 'NO_CANDIDATES' from canon.identity_links"
        " where source_table = 'module_ct_scouting_daily'"
    ),
    "chk_orphan_is_quarantined": lambda: execute("delete from canon.identity_links where source_table <> 'drivers'"),
    "chk_quarantine_is_released": lambda: execute(
        "insert into canon.driver_orphan_quarantine (driver_id, detected_reason)"
        " select source_pk, 'no_lead_no_events' from canon.identity_links where source_table = 'drivers'"
    ),
    "chk_quarantine_explains_itself": lambda: execute(
        "insert into canon.driver_orphan_quarantine (driver_id, detected_reason, evidence_json)"
        " values ('x', 'no_lead_no_events', '{\"creation_rule\": \"R1_PHONE_EXACT\"}')"
    ),
    "chk_driver_link_is_guarded": lambda: execute(
        "alter table canon.identity_links enable trigger driver_link_has_a_lead_link"
    ),
    "chk_event_person_is_link_person": lambda: execute("update observational.lead_events set person_key = null"),
    "chk_origin_rests_on_a_lead_link": lambda: execute("update canon.identity_origin set origin_source_id = 'other'"),
    "chk_person_is_not_too_large": lambda: execute(
        A_LINK.format(pk="'x' || n", rule="manual", evidence="{}", run=SAME_RUN)
        + "cross join generate_series(1, 5) as n"
    ),
    "chk_link_rests_on_a_real_key": a_link(rule="R1_PHONE_EXACT", evidence='{"phone_normalized": "999999999"}'),
    "chk_run_is_not_in_limbo": lambda: execute(
        "insert into ops.ingestion_runs"
        " (job_type, status, actor, parameters, incremental, dry_run, attempt, heartbeat_at, phase, progress_done,"
        " has_plan, stats, log)"
        " values ('identity_run', 'RUNNING', 'tests', '{}', true, false, 1, now() - interval '1 hour', '', 0, false, '{}',"
        " '[]')"
    ),
    "chk_plan_belongs_to_a_run": lambda: execute("create table ops.plan_999999 (seq bigint)"),
    "chk_tally_is_audit": lambda: execute(
        "insert into ops.audit_log (run_id, actor, action, subject_table, subject_key)"
        f" select {SAME_RUN}, 'tests', 'forged', 'identity_registry', '1'"
    ),
    "chk_link_is_audited": a_link(run=SAME_RUN),
    "chk_history_folds": lambda: execute(
        "select set_config('ct4.actor', 'tests', true);"
        "insert into ops.audit_log (actor, action, subject_table, subject_key, before, after)"
        " select 'tests', 'forged', subject_table, subject_key, '{\"a\": 1}', null from ops.audit_log"
    ),
    "chk_history_is_guarded": lambda: execute("alter table ops.audit_log enable trigger audit_log_is_append_only"),
    "chk_audit_is_sealed": lambda: tamper("update ops.audit_log set actor = 'somebody else' where action = 'link'"),
    "chk_backlog_is_whole": lambda: execute(
        "do $$ begin execute format('create or replace view ops.v_persons_without_scout_categorized as"
        " with rows as (%s) select * from rows where false',"
        " rtrim(pg_get_viewdef('ops.v_persons_without_scout_categorized'::regclass), ';')); end $$"
    ),
    "chk_only_assigned_has_scout": lambda: execute(
        "insert into observational.lead_ledger"
        " (person_key, attributed_scout_id, attribution_score, confidence_level, decision_status)"
        " select person_key, 7, 0, 'low', 'conflict' from canon.identity_registry"
    ),
    "chk_claim_is_achieved_or_disputed": lambda: execute(A_CLAIM),
    "chk_collection_sums_are_whole": lambda: execute(
        f"{A_CLAIM}; {a_view_that_says('ops.v_yango_collection_with_scout', '( SELECT) read', '( SELECT WHERE false) read')}"
    ),
    "chk_money_is_to_the_cent": lambda: execute(
        f"{A_LEAD_OF_COLLECTION}; {a_view_that_says('ops.v_cabinet_financial_14d', '0.00', '0.001')}"
    ),
    "chk_quarantined_driver_claims_nothing": lambda: execute(
        "insert into canon.driver_orphan_quarantine (driver_id, detected_reason)"
        " select source_pk, 'manual_detection' from canon.identity_links where source_table = 'drivers';"
        + a_view_that_says("canon.operational_drivers", "'quarantined'", "'nothing'")
    ),
    "chk_settlement_closed_period_stays": lambda: execute(
        f"{A_PERIOD} update ops.settlement_periods set status = 'closed', closed_at = now(), closed_by = 'x', digest = 'x'"
    ),
    "chk_settlement_lines_add_up": lambda: execute(A_STRAY_LINE),
    "chk_settlement_blocked_gets_nothing": lambda: execute(
        A_DUE_LINE + a_view_that_says("ops.settlement_persons", "scouts.has_open_conflict THEN", "false THEN")
    ),
    "chk_settlement_statements_are_whole": lambda: execute(
        f"{A_DUE_LINE} update ops.person_scouts set has_open_conflict = false;"
        + a_view_that_says("ops.v_scout_statement", "standing.due_amount,", "standing.due_amount + 1 AS due_amount,")
    ),
    "chk_refused_pair_is_not_linked": lambda: execute(
        "insert into canon.identity_refusals (refusal_key, source_table, source_pk, person_key, refused_by)"
        " select 'x', source_table, source_pk, person_key, 'x' from canon.identity_links where source_table <> 'drivers'"
    ),
    "chk_matched_lead_has_its_link": lambda: execute(
        A_LINK.format(pk="'x'", rule="manual", evidence="{}", run="null").replace("scouting_daily", "cabinet_leads")
        + "; insert into ops.identity_matching_jobs (source_id, status) values ('x', 'matched')"
    ),
    "chk_recovery_is_on_record": lambda: execute("insert into ops.cabinet_lead_recovery_audit (lead_id) values ('x')"),
    "chk_gaps_are_whole": lambda: execute(
        "insert into public.module_ct_cabinet_leads (external_id, lead_created_at) values ('x', now());"
        + a_view_that_says("ops.v_cabinet_identity_recovery_impact_14d", "'still_unidentified'", "'lost'")
    ),
    "chk_decision_is_approved": lambda: execute(A_DECISION_OF_NOBODY_ELSE),
    "chk_view_is_read_only": lambda: execute("create view ops.v_door as select * from canon.identity_links"),
}


def _make_a_sound_state() -> None:
    factories.a_recruited_driver()
    factories.a_registration("NADIE CONOCIDO AQUI", created_at="2026-01-10T12:00Z")
    factories.match()


a_sound_state = made_once("a_sound_state", _make_a_sound_state)


def test_every_invariant_has_a_violation_here() -> None:
    assert set(VIOLATIONS) == {check.name for check in sqlfiles.checks()}


@pytest.mark.parametrize("name", sorted(VIOLATIONS))
def test_an_invariant_finds_what_breaks_it(name: str, a_sound_state: None) -> None:
    assert not broken()
    VIOLATIONS[name]()
    (finding,) = invariants.check(names=[name])
    assert finding.name == name
    assert finding.count >= 1
    assert finding.samples
    assert all(subject and problem for subject, problem in finding.samples)


def test_further_violations_of_the_same_kinds_are_found(a_sound_state: None) -> None:
    tamper(
        "insert into ops.audit_log (run_id, actor, action, subject_table, subject_key) values (99999, 'x', 'y', 'z', '1')"
    )
    execute("delete from canon.identity_origin")
    execute("update canon.identity_links set match_score = 1 where source_table <> 'drivers'")
    execute("update ops.ingestion_runs set has_plan = true, status = 'FAILED' where job_type = 'drivers_index_refresh'")
    execute("drop trigger origin_history_is_append_only on canon.identity_origin_history")
    found = findings()
    assert found["chk_tally_is_audit"].count == 1
    assert found["chk_origin_rests_on_a_lead_link"].samples[0][1] == "has leads and no origin"
    assert found["chk_link_is_audited"].samples[0][1] == "changed past the audit"
    assert found["chk_plan_belongs_to_a_run"].samples[0][1] == "its plan is missing"
    assert found["chk_history_is_guarded"].samples == [("canon.identity_origin_history", "its history can be changed")]
    execute("delete from canon.identity_links where source_table <> 'drivers'")
    assert findings()["chk_link_is_audited"].samples[0][1] == "removed past the audit"


def test_a_record_that_came_in_since_the_last_run_is_waiting_not_lost(a_sound_state: None) -> None:
    factories.a_registration("OTRA PERSONA NUEVA", created_at="2099-01-10T12:00Z")
    assert not broken()
    run = Run.objects.filter(job_type=JobType.IDENTITY_RUN).latest("pk")
    jobs.execute(start_roll_back(run_id=run.pk, actor="tests").pk)
    assert not broken()


def test_a_run_of_a_part_judges_nothing_about_the_rest() -> None:
    factories.a_registration("NADIE CONOCIDO AQUI", created_at="2026-01-10T12:00Z")
    factories.match(source=["cabinet"])
    assert not broken()


def test_the_demo_data_breaks_no_invariant(tmp_path: Path) -> None:
    generate(leads=400, seed=5, directory=tmp_path)
    for table in ("drivers", "module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations"):
        load_source(table=table, path=tmp_path / f"{table}.csv", rejects_dir=tmp_path, actor="tests")
    factories.match()
    assert not broken()


def test_the_command_prints_zeros_and_ends_well_when_all_holds(a_sound_state: None) -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("check_invariants", "--json", stdout=out, stderr=err)
    assert set(json.loads(out.getvalue()).values()) == {0}
    assert all(check.name in err.getvalue() for check in sqlfiles.checks())


def test_the_command_names_what_is_broken_and_fails(a_sound_state: None) -> None:
    VIOLATIONS["chk_view_is_read_only"]()
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as failure:
        call_command("check_invariants", "--json", stdout=out, stderr=err)
    assert failure.value.returncode == 1
    assert json.loads(out.getvalue())["chk_view_is_read_only"] == 1
    assert "ops.v_door: can be written through" in err.getvalue()


def test_samples_are_few_and_counts_are_whole(a_sound_state: None) -> None:
    execute("create table ops.plan_1 (); create table ops.plan_2 (); create table ops.plan_3 ()")
    (finding,) = [found for found in invariants.check(shown=2) if found.name == "chk_plan_belongs_to_a_run"]
    assert (finding.count, len(finding.samples)) == (3, 2)


def test_every_check_says_what_to_do() -> None:
    for check in sqlfiles.checks(Path(settings.BASE_DIR) / "sql"):
        assert "Remedy:" in check.description, check.name
