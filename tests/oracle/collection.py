"""An independent answer to what Yango owes and what scouts may expect: plain Python, one lead, driver and day at a time.

Written from domain.md 1.5, 1.6, 3.7, 4.3, 6.12, 6.13 and 12 and decisions Q10, Q26, Q27 and Q59 to Q68; shares nothing
with the SQL of the job and its views.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from tests.oracle import normalise

CABINET, SCOUTING, MIGRATIONS = "module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations"
ORIGINS = {CABINET: "cabinet", MIGRATIONS: "fleet_migration"}
OBJECTIVE_PARK = "08e20910d81d42658d4334d3f6d10ac0"
PARTNER, SCOUT = "partner", "scout"
MILESTONES = (1, 5, 25)
WINDOW = 14
OUT_OF_WORK = ("quarantined", "purged")
NOTHING = Decimal("0.00")

Record = tuple[str, str]
Key = tuple[str, int]


@dataclass(frozen=True)
class Rule:
    """An amount for a milestone inside a window, for leads of its time; ``until`` is included."""

    scope: str
    origin: str
    window: int
    milestone: int
    amount: Decimal
    since: date = date(2020, 1, 1)
    until: date | None = None
    kind: str = "trips"

    def fits(self, origin: str, day: date) -> bool:
        return self.origin == origin and self.since <= day and (self.until is None or day <= self.until)


def _rules(scope: str, origin: str, window: int, amounts: dict[int, int], since: date) -> tuple[Rule, ...]:
    return tuple(Rule(scope, origin, window, count, Decimal(amount), since) for count, amount in amounts.items())


SCOUTS_SINCE = date(2025, 11, 3)
LONG_AGO = date(2020, 1, 1)
SEEDED = (
    *_rules(PARTNER, "cabinet", 14, {1: 25, 5: 35, 25: 100}, LONG_AGO),
    *_rules(PARTNER, "fleet_migration", 14, {1: 0, 5: 0, 25: 0}, LONG_AGO),
    *_rules(SCOUT, "cabinet", 7, {1: 20, 5: 25, 25: 55}, SCOUTS_SINCE),
    *_rules(SCOUT, "fleet_migration", 30, {50: 50}, SCOUTS_SINCE),
)


@dataclass(frozen=True)
class Lead:
    """A row of a feed: when it was made, whose it is, and the account that matched it as far as known."""

    on: date | None
    person: UUID | None = None
    driver: str | None = None


@dataclass(frozen=True)
class Account:
    """A driver of the feed; without a person it is linked to nobody."""

    name: str | None
    park: str | None = OBJECTIVE_PARK
    person: UUID | None = None
    linked: datetime | None = None


@dataclass(frozen=True)
class Day:
    """A row of summary_daily, the day as it was written."""

    driver: str
    text: str
    trips: int | None
    seconds: int | None
    written: datetime


@dataclass(frozen=True)
class Payment:
    """A row of the partner's list."""

    on: date
    name: str | None
    flags: dict[int, bool | None]
    driver: str | None = None
    person: UUID | None = None


@dataclass(frozen=True)
class Claim:
    """What is stored of a claim."""

    lead: str
    lead_date: date
    achieved: date
    amount: Decimal
    person: UUID
    window: int = WINDOW
    status: str = "expected"
    is_disputed: bool = False


@dataclass(frozen=True)
class State:
    """What the list said of one milestone at a time, and of which account it was taken to speak then."""

    is_paid: bool
    driver: str | None


@dataclass
class World:
    """All that the job and the views may look at, and the claims they have made."""

    rules: tuple[Rule, ...] = SEEDED
    persons: set[UUID] = field(default_factory=set)
    leads: dict[Record, Lead] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    quarantine: dict[str, str] = field(default_factory=dict)
    days: list[Day] = field(default_factory=list)
    payments: dict[str, Payment] = field(default_factory=dict)
    scouts: dict[UUID, int] = field(default_factory=dict)
    claims: dict[Key, Claim] = field(default_factory=dict)
    states: dict[tuple[str, int], list[State]] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What a lead has come to."""

    lead_date: date
    person: UUID | None
    driver: str | None
    first_connection: date | None
    first_trip: date | None
    trips_7d: int
    trips_14d: int
    trips_30d: int


@dataclass(frozen=True)
class Paid:
    """What the newest state of a payment says of one milestone, and of whom."""

    source_pk: str
    milestone: int
    on: date
    is_paid: bool
    driver: str | None
    person: UUID | None
    status: str
    rule: str
    confidence: str


def parse_day(text: str | None) -> date | None:
    """Return the day a text of summary_daily means, written day first or year first (domain.md 2.5), or None."""
    found = re.fullmatch(r"(\d{2})[-/.](\d{2})[-/.](\d{4})", (text or "").strip())
    if found:
        return _a_date(found[3], found[2], found[1])
    found = re.fullmatch(r"(\d{4})[-/.](\d{2})[-/.](\d{2})", (text or "").strip())
    return _a_date(found[1], found[2], found[3]) if found else None


def _a_date(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def name_key(raw: str | None) -> str | None:
    """Return the words of a name, sorted: equal for equal names in any order (domain.md 4.3)."""
    return " ".join(sorted(normalise.tokens(normalise.name(raw)))) or None


def bucket(days: int) -> str:
    """Return the bucket of C3 for days overdue (domain.md 12.4)."""
    for last, name in ((0, "0_not_due"), (7, "1_1_7"), (14, "2_8_14"), (30, "3_15_30"), (60, "4_31_60")):
        if days <= last:
            return name
    return "5_60_plus"


def bucket_yango(days: int) -> str:
    """Return the bucket of the collection list for days overdue (domain.md 12.5)."""
    found = bucket(days)
    return "4_30_plus" if found in ("4_31_60", "5_60_plus") else found


def priority(days: int, *, is_paid: bool) -> str:
    """Return what to do about a claim so many days overdue (domain.md 12.4, Q64)."""
    if is_paid:
        return "P0_confirmed_paid"
    return "P0_collect_now" if days >= 15 else "P1_watch" if days >= 1 else "P2_not_due"


class Reading:
    """What follows from a world on a day."""

    def __init__(self, world: World, today: date) -> None:
        self.world, self.today = world, today
        self.with_lead = {lead.person for lead in world.leads.values() if lead.person}
        self.days: dict[str, dict[date, Day]] = defaultdict(dict)
        for row in sorted(world.days, key=lambda row: row.written):
            if on := parse_day(row.text):
                self.days[row.driver][on] = row
        self.facts = {record: facts for record in world.leads if (facts := self._facts(record))}
        self.told = self._told()

    # --- who works

    def is_operational(self, driver: str | None) -> bool:
        account = self.world.accounts.get(driver or "")
        return bool(
            account and account.person in self.with_lead and self.world.quarantine.get(driver or "") not in OUT_OF_WORK
        )

    def driver_of(self, lead: Lead) -> str | None:
        """The account that matched the lead; else the newest account of the objective park (Q10)."""
        if lead.person is None:
            return None
        if lead.driver is not None:
            return lead.driver if self.is_operational(lead.driver) else None
        own = [
            (account.linked, driver)
            for driver, account in self.world.accounts.items()
            if account.person == lead.person and account.park == OBJECTIVE_PARK and self.is_operational(driver)
        ]
        return max(own)[1] if own else None

    # --- trips

    def trips(self, driver: str | None, since: date, days: int) -> int:
        own = self.days.get(driver or "", {})
        return sum((own[on].trips or 0) for on in own if since <= on < since + timedelta(days=days))

    def reached(self, driver: str | None, since: date, days: int, milestone: int) -> date | None:
        """The day on which the trips since a date come to a milestone, if inside the half-open window (Q61)."""
        total = 0
        for on, row in sorted(self.days.get(driver or "", {}).items()):
            if since <= on < since + timedelta(days=days):
                total += row.trips or 0
                if total >= milestone:
                    return on
        return None

    def _facts(self, record: Record) -> Facts | None:
        lead = self.world.leads[record]
        if record[0] not in ORIGINS or lead.on is None:
            return None
        driver, since = self.driver_of(lead), lead.on
        own = sorted((on, row) for on, row in self.days.get(driver or "", {}).items() if on >= since)
        return Facts(
            since, lead.person, driver,
            next((on for on, row in own if (row.seconds or 0) > 0), None),
            next((on for on, row in own if (row.trips or 0) > 0), None),
            *(self.trips(driver, since, days) for days in (7, 14, 30)),
        )  # fmt: skip

    def milestones(self) -> dict[tuple[Record, int, int], tuple[date, int]]:
        """Day of each milestone reached and the trips in its window, by lead, window and milestone."""
        found = {}
        for record, facts in self.facts.items():
            wanted = {(rule.window, rule.milestone) for rule in self.world.rules if rule.origin == ORIGINS[record[0]]}
            for window, milestone in wanted:
                if on := self.reached(facts.driver, facts.lead_date, window, milestone):
                    found[record, window, milestone] = on, self.trips(facts.driver, facts.lead_date, window)
        return found

    # --- what is owed

    def owed(self) -> dict[Key, Claim]:
        """One claim per account and milestone: that of the earliest lead in whose window it was reached (Q62)."""
        found: dict[Key, Claim] = {}
        order = sorted(self.facts.items(), key=lambda item: (item[1].lead_date, item[0][1]), reverse=True)
        for (table, pk), facts in order:
            for rule in self.world.rules:
                if rule.scope != PARTNER or table != CABINET or not rule.fits("cabinet", facts.lead_date):
                    continue
                on = self.reached(facts.driver, facts.lead_date, rule.window, rule.milestone)
                if on and facts.driver and facts.person:
                    claim = Claim(pk, facts.lead_date, on, rule.amount, facts.person, rule.window)
                    found[facts.driver, rule.milestone] = claim
        return found

    # --- what is paid

    def _told(self) -> list[Paid]:
        found = []
        for (pk, milestone), states in self.world.states.items():
            payment, last = self.world.payments[pk], states[-1]
            # Whom a payment was taken for stays (12.3: the ledger's driver before the one of today).
            driver = payment.driver or last.driver or self.bearer(payment.name)
            if payment.driver:
                seen = ("confirmed", "source_upstream", "high")
            elif driver:
                seen = ("enriched", "name_unique", "medium")
            elif name_key(payment.name):
                seen = ("ambiguous", "ambiguous", "low")
            else:
                seen = ("no_match", "no_match", "low")
            account = self.world.accounts.get(driver or "")
            person = payment.person or (account.person if account else None)
            found.append(Paid(pk, milestone, payment.on, last.is_paid, driver, person, *seen))
        return found

    def bearer(self, name: str | None) -> str | None:
        """The only account of a name, if it is one's only (domain.md 4.3)."""
        key = name_key(name)
        same = [driver for driver, account in self.world.accounts.items() if key and name_key(account.name) == key]
        return same[0] if len(same) == 1 else None

    def payment_of(self, driver: str, milestone: int) -> Paid | None:
        """The newest payment that says paid for this account and milestone."""
        fitting = [paid for paid in self.told if paid.is_paid and (paid.driver, paid.milestone) == (driver, milestone)]
        return max(fitting, key=lambda paid: (paid.on, int(paid.source_pk)), default=None)

    def reason(self, driver: str, milestone: int, person: UUID | None) -> str:
        if self.payment_of(driver, milestone):
            return "paid"
        paid = [paid for paid in self.told if paid.is_paid]
        if any(one.driver == driver and one.milestone != milestone for one in paid):
            return "payment_found_other_milestone"
        if any(person and one.person == person and one.milestone == milestone for one in paid):
            return "payment_found_person_key_only"
        return "no_payment_found"

    def collection(self) -> dict[Key, dict[str, object]]:
        """What the lists of collection say of each claim (domain.md 12.4 and 12.5, Q60, Q63, Q64)."""
        found = {}
        for (driver, milestone), claim in self.world.claims.items():
            if not self.is_operational(driver):
                continue
            # Fourteen days by contract; a rule with another window is due at the end of that.
            due = claim.lead_date + timedelta(days=claim.window)
            days = max(0, (self.today - due).days)
            payment = self.payment_of(driver, milestone)
            reason = self.reason(driver, milestone, claim.person)
            status = {"paid": "PAID", "payment_found_other_milestone": "PAID_MISAPPLIED"}.get(reason, "UNPAID")
            found[driver, milestone] = {
                "lead_date": claim.lead_date, "amount": claim.amount, "due": due, "days": days,
                "bucket": bucket(days), "bucket_yango": bucket_yango(days), "reason": reason, "status": status,
                "is_paid": payment is not None, "paid_on": payment.on if payment else None,
                "action": priority(days, is_paid=payment is not None),
                "is_collectable": payment is None and not claim.is_disputed,
                "identity": payment.status if payment else None,
            }  # fmt: skip
        return found

    # --- what people read

    def _own(self, driver: str, table: str) -> list[tuple[str, Facts]]:
        return [(pk, facts) for (feed, pk), facts in self.facts.items() if feed == table and facts.driver == driver]

    def funnel(self) -> dict[str, tuple[object, ...]]:
        """How far each account came: origin, status, highest milestone, connection, days (domain.md 12.7, Q61, Q62)."""
        found = {}
        for driver, account in self.world.accounts.items():
            if account.person and not self.is_operational(driver):
                continue
            if not account.person and driver in self.world.quarantine:
                continue
            feeds = [feed for feed in (CABINET, MIGRATIONS) if self._own(driver, feed)]
            own = self._own(driver, feeds[0]) if feeds else []
            connected = min((facts.first_connection for _pk, facts in own if facts.first_connection), default=None)
            days: dict[int, date] = {}
            for _pk, facts in sorted(own, key=lambda item: (item[1].lead_date, item[0])):
                for milestone in MILESTONES:
                    if on := self.reached(driver, facts.lead_date, WINDOW, milestone):
                        days.setdefault(milestone, on)
            highest = max(days, default=0)
            if not account.person:
                status = "registered_incomplete"
            elif connected is None and not highest:
                status = "registered_complete"
            else:
                status = f"reached_m{highest}" if highest else "connected_no_trips"
            origin = ORIGINS[feeds[0]] if feeds else "unknown"
            found[driver] = (origin, status, highest, connected, *(days.get(milestone) for milestone in MILESTONES))
        return found

    def financial(self) -> dict[str, tuple[object, ...]]:
        """Per account: latest lead, best fourteen days, expected, paid and due (domain.md 12.8)."""
        found = {}
        for driver in self.world.accounts:
            own = [facts for _pk, facts in self._own(driver, CABINET)]
            if not own or not self.is_operational(driver):
                continue
            best = max(own, key=lambda facts: (facts.trips_14d, -facts.lead_date.toordinal()))
            trips, latest = best.trips_14d, max(facts.lead_date for facts in own)
            expected, paid = [], []
            for milestone in MILESTONES:
                claim = self.world.claims.get((driver, milestone))
                amount = claim.amount if claim else self._rule_of(PARTNER, "cabinet", milestone, best.lead_date)
                expected.append(amount if trips >= milestone else NOTHING)
                paid.append(amount if self.payment_of(driver, milestone) else NOTHING)
            exists = tuple((driver, milestone) in self.world.claims for milestone in MILESTONES)
            found[driver] = (
                latest, trips, *(trips >= milestone for milestone in MILESTONES), *exists, *expected, *paid,
                sum(expected, NOTHING) - sum(paid, NOTHING),
            )  # fmt: skip
        return found

    def _rule_of(self, scope: str, origin: str, milestone: int, day: date) -> Decimal:
        return next(
            (
                rule.amount for rule in self.world.rules
                if (rule.scope, rule.milestone, rule.window) == (scope, milestone, WINDOW) and rule.fits(origin, day)
            ),
            NOTHING,
        )  # fmt: skip

    def limbo(self) -> dict[str, tuple[object, ...]]:
        """Where each dated cabinet lead stands: stage, account, trips, amount by its trips (domain.md 12.9)."""
        found = {}
        for (table, pk), facts in self.facts.items():
            if table != CABINET:
                continue
            rules = [rule for rule in self.world.rules if rule.scope == PARTNER and rule.window == WINDOW]
            reached = [
                rule for rule in rules if rule.fits("cabinet", facts.lead_date) and facts.trips_14d >= rule.milestone
            ]
            lacks = any((facts.driver, rule.milestone) not in self.world.claims for rule in reached)
            if facts.person is None:
                stage = "NO_IDENTITY"
            elif facts.driver is None:
                stage = "NO_DRIVER"
            elif not facts.trips_14d:
                stage = "NO_TRIPS_14D"
            else:
                stage = "TRIPS_NO_CLAIM" if lacks else "OK"
            amount = sum((rule.amount for rule in reached), NOTHING)
            found[pk] = (stage, facts.lead_date, facts.driver, facts.trips_14d, amount)
        return found

    def gap(self) -> dict[Key, tuple[object, ...]]:
        """What each dated cabinet lead should have claimed, by milestone, and whether it is there (domain.md 12.9)."""
        found = {}
        for (table, pk), facts in self.facts.items():
            for rule in self.world.rules:
                if table != CABINET or rule.scope != PARTNER or not rule.fits("cabinet", facts.lead_date):
                    continue
                is_reached = self.reached(facts.driver, facts.lead_date, rule.window, rule.milestone) is not None
                if facts.person is None:
                    reason = "NO_IDENTITY"
                elif facts.driver is None:
                    reason = "NO_DRIVER"
                elif not is_reached:
                    reason = "INSUFFICIENT_TRIPS"
                else:
                    reason = "OK" if (facts.driver, rule.milestone) in self.world.claims else "CLAIM_NOT_GENERATED"
                found[pk, rule.milestone] = (is_reached, rule.amount, reason)
        return found

    def reconciled(self) -> dict[Key, str]:
        """Reached beside paid, by account and milestone (domain.md 12.9)."""
        reached = {key for key, claim in self.world.claims.items() if not claim.is_disputed}
        paid = {(one.driver, one.milestone) for one in self.told if one.is_paid and one.driver}
        found = {}
        for key in reached | paid:
            if key[0] and self.is_operational(key[0]):
                both = "OK" if key in reached and key in paid else None
                found[key] = both or ("ACHIEVED_NOT_PAID" if key in reached else "PAID_WITHOUT_ACHIEVEMENT")
        return found

    def daily(self) -> dict[tuple[int, date, int], tuple[object, ...]]:
        """What scouts may expect by lead date and milestone: persons, accounts, their amount, the partner's (6.12, Q26)."""
        groups: dict[tuple[int, date, int], list[tuple[str, Claim]]] = defaultdict(list)
        for (driver, milestone), claim in self.world.claims.items():
            scout = self.world.scouts.get(claim.person)
            if scout and self.is_operational(driver) and not claim.is_disputed:
                groups[scout, claim.lead_date, milestone].append((driver, claim))
        found = {}
        for key, claims in groups.items():
            worth = NOTHING
            for _driver, claim in claims:
                for rule in self.world.rules:
                    fits = (rule.scope, rule.milestone) == (SCOUT, key[2]) and rule.fits("cabinet", claim.lead_date)
                    if fits and claim.achieved < claim.lead_date + timedelta(days=rule.window):
                        worth += rule.amount
            found[key] = (
                len({claim.person for _driver, claim in claims}), len({driver for driver, _claim in claims}),
                len(claims), worth, sum((claim.amount for _driver, claim in claims), NOTHING),
            )  # fmt: skip
        return found

    def settlement(self) -> dict[UUID, tuple[object, ...]]:
        """What a scout may expect for each person, or why not (domain.md 6.13, Q27)."""
        linked = self.with_lead | {account.person for account in self.world.accounts.values()}
        found = {}
        for person in self.world.persons:
            reached: dict[tuple[str, int], tuple[date, Decimal, date]] = {}
            own = [
                (facts.lead_date, record[1], ORIGINS[record[0]], facts)
                for record, facts in self.facts.items()
                if facts.person == person
            ]
            for since, _pk, origin, facts in sorted(own, key=lambda item: item[:2]):
                for rule in self.world.rules:
                    if rule.scope != SCOUT or not rule.fits(origin, since):
                        continue
                    if on := self.reached(facts.driver, since, rule.window, rule.milestone):
                        reached.setdefault((origin, rule.milestone), (on, rule.amount, since))
            highest = max((milestone for _origin, milestone in reached), default=0)
            day, since = min(
                ((on, since) for (_o, count), (on, _a, since) in reached.items() if count == highest),
                default=(None, None),
            )
            amount = sum((amount for _on, amount, _since in reached.values()), NOTHING)
            accounts = [driver for driver, account in self.world.accounts.items() if account.person == person]
            if person not in self.world.scouts:
                reason: str | None = "NO_SCOUT"
            elif person not in linked:
                reason = "NO_IDENTITY"
            else:
                is_held = accounts and not any(map(self.is_operational, accounts))
                reason = "QUARANTINED" if is_held else None
            status = "BLOCKED" if reason else "ELIGIBLE" if amount else "PENDING"
            soon = bool(day and since and day < since + timedelta(days=7))
            found[person] = (self.world.scouts.get(person), highest, day, soon, amount, status, reason)
        return found


def refresh(world: World, today: date) -> Reading:
    """Bring the claims of a world up to date: new ones appear, paid ones are paid, none goes (Q59)."""
    before = Reading(world, today)
    for pk, payment in world.payments.items():
        for milestone, flag in payment.flags.items():
            states = world.states.get((pk, milestone), [])
            if flag is not None and (not states or states[-1].is_paid != flag):
                state = State(flag, payment.driver or before.bearer(payment.name))
                world.states[pk, milestone] = [*states, state]
    reading = Reading(world, today)
    owed = reading.owed()
    for key, claim in sorted(owed.items(), key=lambda item: (item[1].lead, item[0])):
        world.claims.setdefault(key, claim)  # each account claims for itself (Q10)
    for key, claim in world.claims.items():
        claim = replace(claim, is_disputed=key not in owed)
        if claim.status == "expected" and reading.payment_of(*key):
            claim = replace(claim, status="paid")
        world.claims[key] = claim
    return reading
