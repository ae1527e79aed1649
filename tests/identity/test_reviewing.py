"""What a person may decide about a record that no rule linked: shown as it will be done, done, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from ct4site import privacy
from ct4site.models import CaseKind, CaseStatus, Decision, ReviewCase
from ct4site.review import cases, deciding, kinds, reversing
from ct4site.review.deciding import Wish
from identity import reviewing
from identity.models import Driver, Person, Refusal
from tests import factories
from tests.factories import JUAN, PEDRO, ROSA, Record
from tests.identity.test_linking import driver_link, person_of, sound

pytestmark = pytest.mark.django_db

CAUSES = """
create view ops.unmatched_to_decide as
with causes as (
    select
        source_table || ':' || source_pk as subject_key, null::uuid as person_key, null::text as driver_id,
        reason_code as raised_by, snapshot_date as since, reason_code as signature, md5(details::text) as cause_digest
    from canon.identity_unmatched where status = 'OPEN' and reason_code <> 'NO_CANDIDATES'
)

select * from causes
"""


@pytest.fixture(autouse=True)
def _a_kind_of_case(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Recovery declares the kind; here it stands alone, and nothing hangs on persons."""
    kind = kinds.Kind(
        code=CaseKind.UNMATCHED,
        causes="ops.unmatched_to_decide",
        choices=reviewing.choices,
        title=str,
        why=str,
        evidence=reviewing.evidence,
        candidates=reviewing.candidates,
    )
    monkeypatch.setattr(kinds, "_KINDS", {kind.code: kind})
    monkeypatch.setattr(kinds, "_CONSEQUENCES", [])
    with connection.cursor() as cursor:
        cursor.execute("drop view if exists ops.unmatched_to_decide")
        cursor.execute(CAUSES)
    yield


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana")


def the_case(record: Record) -> ReviewCase:
    cases.refresh()
    return ReviewCase.objects.get(subject_key=f"{record.source_table}:{record.source_pk}", status=CaseStatus.OPEN)


def decide(case: ReviewCase, ana: User, choice: str, **target: Any) -> Decision:
    """Decide as the page does: what is typed goes through the form, the preview comes first, and nothing stays of it."""
    chosen = kinds.choice_of(case, choice)
    if chosen.form is not None:
        form = chosen.form({"driver_id": next(iter(target.values()))}, case=case)
        assert form.is_valid(), form.errors
        target = form.target()
    wish = Wish(choice, target, "called", "es él")
    before = factories.state_hash()
    shown = deciding.preview(case_id=case.pk, wish=wish, actor=ana, expected_version=case.version)
    assert factories.state_hash() == before
    decision = deciding.decide(
        case_id=case.pk, wish=wish, actor=ana, expected_version=case.version, shown=shown.digest
    )  # fmt: skip
    assert isinstance(decision, Decision)
    decision.run.refresh_from_db()
    assert shown.audit == decision.run.stats["audit"] > 0
    check_constraints()
    return decision


def take_back(decision: Decision, ana: User) -> None:
    wish = Wish(reversing.REVERSE, {}, "mistake", "no era él")
    shown = reversing.preview(decision_id=decision.pk, wish=wish, actor=ana)
    done = reversing.reverse(decision_id=decision.pk, wish=wish, actor=ana, shown=shown.digest)
    assert isinstance(done, list)
    check_constraints()


def check_constraints() -> None:
    with connection.cursor() as cursor:
        cursor.execute("set constraints all immediate; set constraints all deferred")


@pytest.fixture
def family() -> tuple[Record, list[str]]:
    phone, drivers = factories.a_family_phone(JUAN, ROSA)
    lead = factories.a_lead(None, phone=phone)
    factories.match()
    return lead, drivers


def test_a_candidate_is_linked_and_the_decision_taken_back(family: tuple[Record, list[str]], ana: User) -> None:
    lead, (juan, _rosa) = family
    case = the_case(lead)
    before = factories.state_hash()
    candidate = next(found for found in reviewing.candidates(case) if found.target == {"driver_id": juan})
    decision = decide(case, ana, candidate.choice, **candidate.target)
    assert factories.answer(lead) == (juan, "MANUAL", 100, "HIGH")
    assert driver_link(juan).person_id == person_of(lead) and sound()  # type: ignore[union-attr]
    case.refresh_from_db()
    assert case.status == CaseStatus.CLOSED
    take_back(decision, ana)
    assert factories.state_hash() == before and sound()
    assert the_case(lead).pk != case.pk


@pytest.mark.slow
def test_a_record_is_linked_to_a_person(family: tuple[Record, list[str]], ana: User) -> None:
    lead, _drivers = family
    own = factories.a_recruited_driver(PEDRO)
    factories.match()
    before = factories.state_hash()
    decision = decide(the_case(lead), ana, "link_person", person_key=str(person_of(own.lead)))
    assert person_of(lead) == person_of(own.lead) and sound()
    take_back(decision, ana)
    assert factories.state_hash() == before and sound()


def test_a_new_person_is_made_from_the_record(ana: User) -> None:
    own = factories.a_recruited_driver(JUAN)
    phone = Driver.objects.get(driver_id=own.driver_id).phone
    lead = factories.a_lead(PEDRO, phone=phone)
    factories.match()
    before = factories.state_hash()
    decision = decide(the_case(lead), ana, "create_person")
    person = Person.objects.get(pk=person_of(lead))
    assert (person.primary_full_name, person.flags) == (PEDRO, {"created_by_hand": True})
    assert person_of(lead) != person_of(own.lead) and sound()
    take_back(decision, ana)
    assert factories.state_hash() == before and sound()


@pytest.mark.slow
def test_never_this_one_leaves_the_case_open_until_the_rules_are_in_doubt_no_more(
    family: tuple[Record, list[str]], ana: User
) -> None:
    lead, (juan, rosa) = family
    case = the_case(lead)
    before = factories.state_hash()
    first = decide(case, ana, "refuse", driver_id=juan)
    case.refresh_from_db()
    assert case.status == CaseStatus.OPEN and case.version > 1
    assert [found.target for found in reviewing.candidates(case)] == [{"driver_id": rosa}]
    second = decide(case, ana, "refuse", driver_id=rosa)
    case.refresh_from_db()
    assert case.status == CaseStatus.OPEN and reviewing.candidates(case) == []
    factories.match()
    assert factories.answer(lead) == "NO_CANDIDATES" and sound()
    cases.refresh()
    assert [found.status for found in ReviewCase.objects.all()] == [CaseStatus.CLOSED]
    take_back(second, ana)
    take_back(first, ana)
    assert not Refusal.objects.exists()
    factories.match()
    assert factories.state_hash() == before and sound()


def test_a_record_is_set_aside_and_comes_back(family: tuple[Record, list[str]], ana: User) -> None:
    lead, _drivers = family
    before = factories.state_hash()
    decision = decide(the_case(lead), ana, "set_aside")
    assert factories.unmatched_of(lead).status == "IGNORED" and sound()  # type: ignore[union-attr]
    assert not ReviewCase.objects.filter(status=CaseStatus.OPEN).exists()
    take_back(decision, ana)
    assert factories.state_hash() == before and the_case(lead)


def test_a_decision_holds_against_every_job(family: tuple[Record, list[str]], ana: User) -> None:
    lead, (juan, _rosa) = family
    decide(the_case(lead), ana, "link_driver", driver_id=juan)
    factories.match(full=True)
    after = factories.state_hash()
    for _turn in range(3):
        factories.match(full=True)
        factories.fix_orphans()
    assert factories.state_hash() == after


def test_what_cannot_be_done_is_said_before_it_is_done(
    family: tuple[Record, list[str]], ana: User, settings: Any
) -> None:
    lead, _drivers = family
    own = factories.a_recruited_driver(PEDRO)
    factories.match()
    case = the_case(lead)
    settings.PERSON_SOURCE_LIMIT = 2
    wish = Wish("link_driver", {"driver_id": own.driver_id}, "called")
    with pytest.raises(kinds.Unacceptable, match="2 registros"):
        deciding.preview(case_id=case.pk, wish=wish, actor=ana, expected_version=case.version)


# --- the form ---------------------------------------------------------------------------------------


def typed(case: ReviewCase, text: str) -> dict[str, Any] | str:
    form = reviewing.WhomForm({"driver_id": text}, case=case)
    return form.target() if form.is_valid() else str(form.errors["driver_id"][0])


def test_whoever_is_meant_may_be_typed_by_any_key(family: tuple[Record, list[str]]) -> None:
    lead, (juan, rosa) = family
    case = the_case(lead)
    account = Driver.objects.get(driver_id=juan)
    own = factories.a_recruited_driver(PEDRO)
    factories.match()
    with privacy.page_for(User(is_superuser=True, is_active=True)):
        for text in (juan, account.license_number, account.car_number, JUAN, "mamani juan"):
            assert typed(case, text) == {"driver_id": juan}, text
        found = typed(case, str(account.phone))
    assert "varios conductores" in found and rosa in found
    person = str(person_of(own.lead))
    assert typed(case, person) == {"person_key": person}
    assert "Ningún conductor" in typed(case, "zzz")


def test_an_account_is_found_in_capitals_too(family: tuple[Record, list[str]]) -> None:
    lead, _drivers = family
    account = factories.a_driver(PEDRO, driver_id="ab12" * 8)
    factories.match()
    assert typed(the_case(lead), account.upper()) == {"driver_id": account}


def test_phones_and_licences_are_hidden_from_whoever_may_not_see_them_and_find_nobody(
    family: tuple[Record, list[str]],
) -> None:
    lead, (juan, _rosa) = family
    case = the_case(lead)
    account = Driver.objects.get(driver_id=juan)
    for text in (account.phone, account.license_number):
        assert "Ningún conductor" in typed(case, str(text))
    shown = str([candidate.facts for candidate in reviewing.candidates(case)])
    assert str(account.phone)[-9:] not in shown and str(account.license_number) not in shown
    with privacy.page_for(User(is_superuser=True, is_active=True)):
        assert str(account.license_number) in str([found.facts for found in reviewing.candidates(case)])


# --- the page ---------------------------------------------------------------------------------------


def sentences(record: Record) -> list[str]:
    return [found.sentence for found in reviewing.candidates(the_case(record))]


def test_each_candidate_has_one_plain_sentence(family: tuple[Record, list[str]]) -> None:
    lead, _drivers = family
    assert sentences(lead) == ["Mismo teléfono, pero otros conductores también lo tienen."] * 2
    own = factories.a_recruited_driver(JUAN)
    phone = Driver.objects.get(driver_id=own.driver_id).phone
    other = factories.a_lead(ROSA, phone=phone)
    plate = Driver.objects.get(driver_id=factories.a_driver(PEDRO)).car_number
    similar = factories.a_lead("TORRES OTRO NOMBRE", plate=plate)
    factories.match()
    assert sentences(other) == [f"Mismo teléfono, pero los nombres se contradicen: {ROSA} – {JUAN}."]
    (sentence,) = sentences(similar)
    assert sentence.startswith("Misma placa, pero los nombres no se parecen lo suficiente (")


def test_record_and_candidate_stand_side_by_side(family: tuple[Record, list[str]]) -> None:
    lead, _drivers = family
    for found in reviewing.candidates(the_case(lead)):
        assert found.facts["Nombre"][1] in (JUAN, ROSA)
        mine, theirs = found.facts["Teléfono"]
        assert mine == theirs
        assert set(found.facts) >= {"Brevete", "Placa"}


def test_the_evidence_is_the_record_and_what_each_rule_said(family: tuple[Record, list[str]]) -> None:
    lead, _drivers = family
    record, rules = reviewing.evidence(the_case(lead))
    assert len(record.rows) == 1 and lead.source_pk in str(record.rows[0])
    assert [(str(rule), outcome) for rule, outcome in rules.rows] == [
        ('Mismo teléfono <code class="quiet">R1_PHONE_EXACT</code>', "Varios candidatos")
    ]


def test_a_page_costs_the_same_however_many_cases_there_are(
    family: tuple[Record, list[str]], django_assert_max_num_queries: Any
) -> None:
    lead, _drivers = family
    case = the_case(lead)
    with django_assert_max_num_queries(12):
        reviewing.candidates(case)
        list(reviewing.evidence(case))
        reviewing.choices(case)
