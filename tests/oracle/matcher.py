"""The matching engine of domain.md 5, read once more and written as plainly as possible.

`match(world)` answers, for every lead record, with a link or with the reason why there is none. Quadratic on purpose:
it is compared with the SQL on small random worlds, so being obviously right is all that counts.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle import normalise
from tests.oracle.normalise import Key

LIMA = ZoneInfo("America/Lima")
OBJECTIVE_PARK = "08e20910d81d42658d4334d3f6d10ac0"

CABINET = "module_ct_cabinet_leads"
SCOUTING = "module_ct_scouting_daily"
MIGRATIONS = "module_ct_migrations"
DRIVERS = "drivers"

R1 = "R1_PHONE_EXACT"
R2 = "R2_LICENSE_EXACT"
R3 = "R3_PLATE_EXACT_NAME_SIMILAR"
R3B = "R3b"
R3C = "R3C_PLATE_UNIQUE_NAME_SUBSET"
DIRECT = "driver_direct"
STRONGEST_FIRST = (DIRECT, R1, R2, R3, R3C, R3B)

MULTIPLE_CANDIDATES = "MULTIPLE_CANDIDATES"
KEY_MATCH_NAME_CONTRADICTS = "KEY_MATCH_NAME_CONTRADICTS"
SHARED_IDENTIFIER = "SHARED_IDENTIFIER"
WEAK_MATCH_ONLY = "WEAK_MATCH_ONLY"
NO_PERSON_KEY = "NO_PERSON_KEY"
NO_CANDIDATES = "NO_CANDIDATES"
MISSING_KEYS = "MISSING_KEYS"
PERSON_TOO_LARGE = "PERSON_TOO_LARGE"
MOST_INFORMATIVE_FIRST = (
    MULTIPLE_CANDIDATES,
    KEY_MATCH_NAME_CONTRADICTS,
    SHARED_IDENTIFIER,
    WEAK_MATCH_ONLY,
    NO_PERSON_KEY,
    NO_CANDIDATES,
    MISSING_KEYS,
)

ORIGIN_TAGS = {CABINET: "cabinet_lead", SCOUTING: "scout_registration", MIGRATIONS: "migration"}
CONFIDENCES = ("HIGH", "MEDIUM", "LOW")

Row = dict[str, Any]
RecordKey = tuple[str, str]


# --- what goes in and what comes out


@dataclass(frozen=True)
class Settings:
    """The numbers of domain.md 1.7 and 5.2 and reliability.md F24."""

    objective_park: str = OBJECTIVE_PARK
    threshold: Fraction = Fraction(66, 100)
    gap: Fraction = Fraction(15, 100)
    same_person_similarity: Fraction = Fraction(1, 2)
    days_before: int = 90
    days_after: int = 30
    shared_limit: int = 3
    person_cap: int = 6
    r3c: bool = False


@dataclass
class World:
    """Rows of the source tables as plain dicts with the column names of domain.md 2 and raw values."""

    drivers: list[Row] = field(default_factory=list)
    cabinet: list[Row] = field(default_factory=list)
    scouting: list[Row] = field(default_factory=list)
    migrations: list[Row] = field(default_factory=list)
    settings: Settings = Settings()


@dataclass(frozen=True)
class Link:
    """Belief that a lead record is a person, with the driver account that led there."""

    source_table: str
    source_pk: str
    person: str
    driver_id: str
    rule: str
    score: int
    confidence: str
    snapshot: datetime
    run: int


@dataclass(frozen=True)
class Unmatched:
    """Why a lead record has no link."""

    source_table: str
    source_pk: str
    reason_code: str


@dataclass(frozen=True)
class Person:
    """The primary values of a person: blanks get filled, values are never overwritten (domain.md 3.1)."""

    phone: str | None = None
    licence: str | None = None
    name: str | None = None


@dataclass
class State:
    """Everything known after a run. Person labels mean nothing beyond telling persons apart."""

    run: int = 0
    persons: dict[str, Person] = field(default_factory=dict)
    links: dict[RecordKey, Link] = field(default_factory=dict)
    driver_links: dict[str, str] = field(default_factory=dict)
    unmatched: dict[RecordKey, Unmatched] = field(default_factory=dict)

    def members(self) -> dict[str, frozenset[RecordKey]]:
        """Return the source records of each person: its lead records and ('drivers', driver_id)."""
        members: dict[str, set[RecordKey]] = defaultdict(set)
        for key, link in self.links.items():
            members[link.person].add(key)
        for driver_id, person in self.driver_links.items():
            members[person].add((DRIVERS, driver_id))
        return {person: frozenset(records) for person, records in members.items()}

    def partition(self) -> frozenset[frozenset[RecordKey]]:
        """Return the persons without their labels, comparable with any other matcher's."""
        return frozenset(self.members().values())

    def origins(self) -> dict[frozenset[RecordKey], tuple[str, str]]:
        """Return origin (tag, source_id) of each person that has a lead link (domain.md 3.5)."""
        links_of: dict[str, list[Link]] = defaultdict(list)
        for link in self.links.values():
            links_of[link.person].append(link)
        members = self.members()
        origins = {}
        for person, links in links_of.items():
            first = min(links, key=_origin_rank)
            origins[members[person]] = (ORIGIN_TAGS[first.source_table], first.source_pk)
        return origins


def match(world: World, previous: State | None = None) -> State:
    """Match every lead record of the world that has no link yet.

    Takes all rows known by now and the state an earlier call returned; earlier links stay as they are, earlier unmatched
    records are tried again. Returns the new state. Rules: domain.md 5, decisions Q1 to Q10, Q68, Q76.
    """
    return _Run(world, previous or State()).result()


def _origin_rank(link: Link) -> tuple[Any, ...]:
    """Cabinet before scouting before migration, then score, confidence, and the earliest (domain.md 3.5)."""
    return (
        list(ORIGIN_TAGS).index(link.source_table),
        -link.score,
        CONFIDENCES.index(link.confidence),
        link.run,
        link.snapshot,
        link.source_pk,
    )


# --- normalised rows


@dataclass(frozen=True)
class _Driver:
    driver_id: str
    park: str | None
    phone: Key | None
    licence: Key | None
    plate: str | None
    name: str | None
    tokens: frozenset[str]
    hire_date: date | None


@dataclass(frozen=True)
class _Lead:
    source_table: str
    source_pk: str
    snapshot: datetime | None
    phone: Key | None = None
    licence: Key | None = None
    plate: str | None = None
    tokens: frozenset[str] = frozenset()
    driver_id: str | None = None

    @property
    def key(self) -> RecordKey:
        return self.source_table, self.source_pk


def _read_driver(row: Row) -> _Driver:
    """Columns by preference as in domain.md 3.4."""
    name = normalise.name(_first_filled(row.get("full_name"), _full_name(row)))
    return _Driver(
        driver_id=row["driver_id"].strip().lower(),
        park=row.get("park_id"),
        phone=normalise.phone(row.get("phone")),
        licence=normalise.licence(_first_filled(row.get("license_normalized_number"), row.get("license_number"))),
        plate=normalise.plate(_first_filled(row.get("car_normalized_number"), row.get("car_number"))),
        name=name,
        tokens=normalise.tokens(name),
        hire_date=row.get("hire_date"),
    )


def _read_leads(world: World) -> list[_Lead]:
    """The columns of domain.md 5.1, the keys of 3.12."""
    leads = []
    for row in world.cabinet:
        leads.append(
            _Lead(
                source_table=CABINET,
                source_pk=cabinet_source_pk(row, world.cabinet),
                snapshot=_instant(row.get("lead_created_at")),
                phone=normalise.phone(row.get("park_phone")),
                plate=normalise.plate(row.get("asset_plate_number")),
                tokens=normalise.tokens(normalise.name(_full_name(row))),
            )
        )
    for row in world.scouting:
        leads.append(
            _Lead(
                source_table=SCOUTING,
                source_pk=str(row["id"]),
                snapshot=_instant(row.get("registration_date")),
                phone=normalise.phone(row.get("driver_phone")),
                licence=normalise.licence(row.get("driver_license")),
                tokens=normalise.tokens(normalise.name(row.get("driver_name"))),
            )
        )
    for row in world.migrations:
        leads.append(
            _Lead(
                source_table=MIGRATIONS,
                source_pk=str(row["id"]),
                snapshot=_instant(row.get("created_at") or row.get("hire_date")),
                driver_id=(row.get("driver_id") or "").strip().lower() or None,
            )
        )
    return leads


def cabinet_source_pk(row: Row, rows: Iterable[Row]) -> str:
    """Return external_id, else the id as text, marked where another row's external_id is the same text (3.12, Q68, F28)."""
    external_id = _first_filled(row.get("external_id"))
    if external_id is not None:
        return external_id
    own_id = str(row["id"])
    taken = any((other.get("external_id") or "").strip() == own_id for other in rows)
    return f"row:{own_id}" if taken else own_id


def _first_filled(*values: str | None) -> str | None:
    """Empty is null everywhere (domain.md 4.5)."""
    for value in values:
        if value is not None and value.strip():
            return value.strip()
    return None


def _full_name(row: Row) -> str:
    return " ".join(row.get(part) or "" for part in ("first_name", "middle_name", "last_name"))


def _instant(value: date | datetime | None) -> datetime | None:
    """Source times are Lima local time without a zone (domain.md 2)."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value.astimezone(LIMA) if value.tzinfo else value.replace(tzinfo=LIMA)


# --- one run


@dataclass(frozen=True)
class _Found:
    """A rule points at exactly one driver."""

    rule: str
    score: int
    confidence: str
    driver: _Driver


@dataclass(frozen=True)
class _Refused:
    """A rule looked and does not link; the drivers it could not choose from."""

    reason: str
    candidates: tuple[_Driver, ...] = ()


_Outcome = _Found | _Refused


class _Run:
    def __init__(self, world: World, previous: State) -> None:
        self.settings = world.settings
        self.previous = previous
        self.drivers = [_read_driver(row) for row in world.drivers]
        self.all_leads = _read_leads(world)
        self.leads = [lead for lead in self.all_leads if lead.key not in previous.links]
        self.outcomes = {lead.key: self.apply_rules(lead) for lead in self.leads}
        found = self.drivers_found()
        self.found_driver_ids = set(found)
        self.new_person_of = self.label_new_persons(found)

    def result(self) -> State:
        decisions = self.decide_in_rounds()
        self.refuse_large_persons(decisions)

        state = State(
            run=self.previous.run + 1,
            persons=dict(self.previous.persons),
            links=dict(self.previous.links),
            driver_links=dict(self.previous.driver_links),
        )
        for key, decision in decisions.items():
            if isinstance(decision, Link):
                state.links[key] = decision
            else:
                state.unmatched[key] = Unmatched(*key, decision)
        new_driver_links = self.driver_links_of(decisions.values())
        for driver in sorted(self.drivers, key=lambda driver: driver.driver_id):
            person = new_driver_links.get(driver.driver_id)
            if person is not None:
                state.driver_links[driver.driver_id] = person
                state.persons[person] = _filled(state.persons.get(person, Person()), driver)
        return state

    # the rules, each looking at drivers only

    def apply_rules(self, lead: _Lead) -> dict[str, _Outcome]:
        """Return the outcome of every rule that applies to the lead, whoever the persons are (domain.md 5.2)."""
        if lead.snapshot is None:
            return {}
        if lead.source_table == MIGRATIONS:
            return self.apply_direct(lead)
        outcomes: dict[str, _Outcome] = {}
        if lead.phone:
            outcomes[R1] = self.apply_key_rule(R1, 95, "phone", lead)
        if lead.licence:
            outcomes[R2] = self.apply_key_rule(R2, 92, "licence", lead)
        if lead.plate and lead.tokens:
            same_plate = [d for d in self.drivers if d.plate == lead.plate and d.park == self.settings.objective_park]
            in_window = [driver for driver in same_plate if self.hired_in_window(driver, lead)]
            outcomes[R3] = self.apply_name_rule(R3, lead, in_window)
            if outcomes[R3] == _Refused(NO_CANDIDATES):
                outcomes[R3B] = self.apply_name_rule(R3B, lead, same_plate)
            if self.settings.r3c and len(same_plate) == 1 and _one_name_contains_the_other(lead, same_plate[0]):
                outcomes[R3C] = _Found(R3C, 80, "MEDIUM", same_plate[0])
        return outcomes

    def apply_direct(self, lead: _Lead) -> dict[str, _Outcome]:
        """A migration names its driver (decision Q9)."""
        if lead.driver_id is None:
            return {}
        for driver in self.drivers:
            if driver.driver_id == lead.driver_id:
                return {DIRECT: _Found(DIRECT, 100, "HIGH", driver)}
        return {DIRECT: _Refused(NO_CANDIDATES)}

    def apply_key_rule(self, rule: str, score: int, kind: str, lead: _Lead) -> _Outcome:
        """R1 and R2: an equal key decides unless it is ambiguous, shared, contradicted or weak (5.2, F24, Q76)."""
        lead_key: Key = getattr(lead, kind)
        equal = self.drivers_with(kind, lead_key.value)
        scope = [driver for driver in equal if driver.park == self.settings.objective_park] or equal
        if not scope:
            return _Refused(NO_CANDIDATES)
        if len(scope) > 1:
            return _Refused(MULTIPLE_CANDIDATES, tuple(scope))
        driver = scope[0]
        if self.is_shared_by_drivers(kind, lead_key.value) or self.is_shared_by_lead_names(kind, lead_key.value):
            return _Refused(SHARED_IDENTIFIER, (driver,))
        names_agree = normalise.share_a_token(lead.tokens, driver.tokens)
        if min(len(lead.tokens), len(driver.tokens)) >= 2 and not names_agree:
            return _Refused(KEY_MATCH_NAME_CONTRADICTS, (driver,))
        weak = lead_key.weak or getattr(driver, kind).weak
        if weak and not names_agree:
            return _Refused(WEAK_MATCH_ONLY, (driver,))
        return _Found(rule, score, "MEDIUM" if weak else "HIGH", driver)

    def apply_name_rule(self, rule: str, lead: _Lead, candidates: list[_Driver]) -> _Outcome:
        """R3 and R3b: among drivers of the plate, the best name must pass and stand out (domain.md 5.2)."""
        if not candidates:
            return _Refused(NO_CANDIDATES)
        ranked = sorted(
            ((normalise.similarity(lead.tokens, driver.tokens), driver.driver_id, driver) for driver in candidates),
            key=lambda entry: (-entry[0], entry[1]),
        )
        best, _, driver = ranked[0]
        if best < self.settings.threshold or min(len(lead.tokens), len(driver.tokens)) < 2:
            return _Refused(WEAK_MATCH_ONLY, tuple(candidates))
        if len(ranked) > 1 and best - ranked[1][0] < self.settings.gap:
            floor = self.settings.threshold - self.settings.gap
            return _Refused(MULTIPLE_CANDIDATES, tuple(entry[2] for entry in ranked if entry[0] >= floor))
        return _Found(rule, 85 if rule == R3 else int(best * 100), "MEDIUM", driver)

    def hired_in_window(self, driver: _Driver, lead: _Lead) -> bool:
        if driver.hire_date is None:
            return True
        assert lead.snapshot is not None
        days = (driver.hire_date - lead.snapshot.date()).days
        return -self.settings.days_before <= days <= self.settings.days_after

    def drivers_with(self, kind: str, value: str) -> list[_Driver]:
        return [driver for driver in self.drivers if getattr(driver, kind) and getattr(driver, kind).value == value]

    def is_shared_by_drivers(self, kind: str, value: str) -> bool:
        return len(self.drivers_with(kind, value)) > self.settings.shared_limit

    def is_shared_by_lead_names(self, kind: str, value: str) -> bool:
        names = set()
        for lead in self.all_leads:
            key: Key | None = getattr(lead, kind)
            if key and key.value == value and lead.tokens:
                names.add(lead.tokens)
        return len(names) > self.settings.shared_limit

    # from driver to person

    def known_persons_of(self, driver: _Driver) -> set[str]:
        """Return the persons of before this run a driver may be; more than one means ambiguous (domain.md 5.3)."""
        if driver.driver_id in self.previous.driver_links:
            return {self.previous.driver_links[driver.driver_id]}
        for kind in ("phone", "licence"):
            value = self.identifying(kind, driver)
            if value is None:
                continue
            same = {
                label
                for label, person in self.previous.persons.items()
                if getattr(person, kind) == value
                and self.could_be_one(driver, normalise.tokens(person.name), person.licence)
            }
            if same:
                return same
        return set()

    def persons_of(self, driver: _Driver) -> set[str]:
        """As `known_persons_of`, else the person this run would create."""
        return self.known_persons_of(driver) or {self.new_person_of[driver.driver_id]}

    def persons_of_candidate(self, driver: _Driver) -> set[str]:
        """Return the persons of a driver that some rule could not choose.

        A driver that no rule found and that has no link stands for itself. Looking it up among the persons would let this
        run's own new persons answer differently in the next run over the same rows.
        """
        if driver.driver_id in self.previous.driver_links or driver.driver_id in self.found_driver_ids:
            return self.persons_of(driver)
        return {f"alone {driver.driver_id}"}

    def drivers_found(self) -> dict[str, _Driver]:
        """Return every driver that is the single result of some rule; R3b counts only through a link made otherwise."""
        found = {}
        for outcomes in self.outcomes.values():
            for rule, outcome in outcomes.items():
                if rule == R3B or not isinstance(outcome, _Found):
                    continue
                if rule == R3C and isinstance(outcomes[R3], _Found):
                    continue
                found[outcome.driver.driver_id] = outcome.driver
        return found

    def label_new_persons(self, found: dict[str, _Driver]) -> dict[str, str]:
        """Return the label of the new person of each found driver that nobody knows yet.

        Drivers joined by an identifying key and a similar name are one new person.
        """
        new = {driver_id: driver for driver_id, driver in found.items() if not self.known_persons_of(driver)}
        labels: dict[str, str] = {}
        for driver_id in sorted(new):
            if driver_id in labels:
                continue
            reached = [driver_id]
            for current in reached:
                labels[current] = f"run {self.previous.run + 1}, {driver_id}"
                reached += [
                    other for other in new if other not in reached and self.are_one_person(new[current], new[other])
                ]
        return labels

    def are_one_person(self, a: _Driver, b: _Driver) -> bool:
        for kind in ("phone", "licence"):
            value = self.identifying(kind, a)
            if value is not None and value == self.identifying(kind, b):
                return self.could_be_one(a, b.tokens, self.identifying("licence", b))
        return False

    def identifying(self, kind: str, driver: _Driver) -> str | None:
        """Return the driver's phone or licence if it may stand for a person: neither weak nor shared (5.3, F24)."""
        key: Key | None = getattr(driver, kind)
        if key is None or key.weak or self.is_shared_by_drivers(kind, key.value):
            return None
        return key.value

    def could_be_one(self, driver: _Driver, tokens: frozenset[str], licence: str | None) -> bool:
        """Names half alike; with a licence each that is not the other misspelt, the one name is the other cut short."""
        ours = self.identifying("licence", driver)
        theirs = normalise.licence(licence)
        if ours and theirs and not theirs.weak and not normalise.within_one_slip(ours, theirs.value):
            return normalise.is_cut_short(driver.tokens, tokens)
        return normalise.similarity(driver.tokens, tokens) >= self.settings.same_person_similarity

    # combining

    def decide_in_rounds(self) -> dict[RecordKey, Link | str]:
        """R3b needs a driver link, and this run makes driver links: decide what does not depend on it first."""
        decisions: dict[RecordKey, Link | str] = {}
        linked = set(self.previous.driver_links)
        waiting = []
        for lead in self.leads:
            if isinstance(self.outcomes[lead.key].get(R3B), _Found):
                waiting.append(lead)
            else:
                decisions[lead.key] = self.decide(lead, linked)
        while waiting:
            linked |= set(self.driver_links_of(decisions.values()))
            answers = {lead.key: self.decide(lead, linked) for lead in waiting}
            still_waiting = [lead for lead in waiting if not isinstance(answers[lead.key], Link)]
            if len(still_waiting) == len(waiting):
                decisions.update(answers)
                break
            decisions.update({key: answer for key, answer in answers.items() if isinstance(answer, Link)})
            waiting = still_waiting
        return decisions

    def decide(self, lead: _Lead, linked: set[str]) -> Link | str:
        """Return the link of a lead, or the most informative reason for none (domain.md 5.4, Q7)."""
        found: dict[str, tuple[_Found, str]] = {}
        refused: list[tuple[str, set[str]]] = []
        for rule, outcome in self.outcomes_now(lead, linked).items():
            if isinstance(outcome, _Refused):
                candidate_persons = {p for driver in outcome.candidates for p in self.persons_of_candidate(driver)}
                refused.append((outcome.reason, candidate_persons))
                continue
            persons = self.persons_of(outcome.driver)
            if len(persons) > 1:
                refused.append((MULTIPLE_CANDIDATES, persons))
            else:
                found[rule] = (outcome, persons.pop())
        persons = {person for _, person in found.values()}
        if len(persons) > 1:
            return MULTIPLE_CANDIDATES
        if not persons:
            reasons = {reason for reason, _ in refused} | {MISSING_KEYS}
            return min(reasons, key=MOST_INFORMATIVE_FIRST.index)
        for reason, candidate_persons in refused:
            if reason == MULTIPLE_CANDIDATES and not persons & candidate_persons:
                return MULTIPLE_CANDIDATES
        chosen, person = found[min(found, key=STRONGEST_FIRST.index)]
        assert lead.snapshot is not None
        return Link(
            source_table=lead.source_table,
            source_pk=lead.source_pk,
            person=person,
            driver_id=chosen.driver.driver_id,
            rule=chosen.rule,
            score=chosen.score,
            confidence=chosen.confidence,
            snapshot=lead.snapshot,
            run=self.previous.run + 1,
        )

    def outcomes_now(self, lead: _Lead, linked: set[str]) -> dict[str, _Outcome]:
        """The outcomes given the drivers linked so far: R3b needs a link, R3c needs both others to have failed."""
        outcomes = dict(self.outcomes[lead.key])
        r3b = outcomes.get(R3B)
        if isinstance(r3b, _Found) and r3b.driver.driver_id not in linked:
            outcomes[R3B] = _Refused(NO_PERSON_KEY, (r3b.driver,))
        if isinstance(outcomes.get(R3), _Found) or isinstance(outcomes.get(R3B), _Found):
            outcomes.pop(R3C, None)
        return outcomes

    # writing

    def driver_links_of(self, decisions: Iterable[Link | str]) -> dict[str, str]:
        """The new driver links that come with lead links; never one without a lead (domain.md 5.6, 9.10)."""
        return {
            decision.driver_id: decision.person
            for decision in decisions
            if isinstance(decision, Link)
            and decision.rule != R3B
            and decision.driver_id not in self.previous.driver_links
        }

    def refuse_large_persons(self, decisions: dict[RecordKey, Link | str]) -> None:
        """A person with more records than anybody has is several people in one: nothing new for it (F24)."""
        size: dict[str, int] = defaultdict(int)
        for person, records in self.previous.members().items():
            size[person] += len(records)
        for decision in decisions.values():
            if isinstance(decision, Link):
                size[decision.person] += 1
        for person in self.driver_links_of(decisions.values()).values():
            size[person] += 1
        for key, decision in decisions.items():
            if isinstance(decision, Link) and size[decision.person] > self.settings.person_cap:
                decisions[key] = PERSON_TOO_LARGE


def _one_name_contains_the_other(lead: _Lead, driver: _Driver) -> bool:
    """R3c: every token of the shorter name, at least two, is in the longer one (decision Q5)."""
    shorter, longer = sorted((lead.tokens, driver.tokens), key=len)
    return len(shorter) >= 2 and shorter <= longer


def _filled(person: Person, driver: _Driver) -> Person:
    return Person(
        phone=person.phone or (driver.phone.value if driver.phone else None),
        licence=person.licence or (driver.licence.value if driver.licence else None),
        name=person.name or driver.name,
    )
