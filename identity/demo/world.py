"""Invented people, their driver accounts and their leads, written to the files of a demo data set as they are made.

Nothing is kept but counters: a world of a million leads needs no more memory than one of a thousand.
"""

import json
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

from identity.demo import dirt
from identity.demo.dice import Dice, Scrambled
from identity.demo.files import DemoFiles, Value
from identity.demo.names import (
    CAR_MODELS,
    CAR_WEIGHTS,
    CITIES,
    COLORS,
    FEMALE,
    FEMALE_WEIGHTS,
    MALE,
    MALE_WEIGHTS,
    SURNAME_WEIGHTS,
    SURNAMES,
    names_are_alike,
    position,
    without_accents,
)

TODAY = date(2026, 1, 20).toordinal()
FIRST_LEAD_DAY = date(2025, 10, 6).toordinal()
LEAD_SYSTEM_START = date(2024, 1, 1).toordinal()
LEGACY_RUN_AT = "2025-12-21 03:10:00-05:00"
OBJECTIVE_PARK = "08e20910d81d42658d4334d3f6d10ac0"
OTHER_PARKS = [
    "5d1f0c7be94a4a8ab2f6c03d7719e4a1",
    "c0a95e3b6d274f7f8be1427a95d06c38",
    "91b7f4e2a3cc4d05a6780f5e2bd419d7",
    "2e6d80a4f51b49c39d17b8e0c2fa6435",
]
SCOUT_COUNT = 42
ACTIVE_SCOUTS = 26
CONFLICT_WINDOW_DAYS = 7
MILESTONES = (1, 5, 25)
WINDOW_DAYS = 14
NO_DAYS = ("31-02-2026", "2026-13-01", "sin fecha", "00-00-0000", "45999")
ACQUISITION_METHODS = ["Volante", "referido", "REFERIDO", "Redes sociales", "facebook", "calle", "Grifo Primax", "módulo, centro comercial", "whatsapp", None]  # fmt: skip
PLATE_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PLATE_MIDDLE = PLATE_LETTERS + "0123456789"
PLATES = 26 * 36 * 26 * 999
PLACEHOLDER_NUMBERS = frozenset(int(licence[1:]) for licence in dirt.UNLISTED_LICENCES) | {0}
UNLISTED_LICENCE_USES = 50  # times the same unlisted placeholder is asked for before scouts find another one

# What a lead carries of a key: the person's own, one digit off, nothing, a placeholder.
TRUE, TYPO, NONE, JUNK = "true", "typo", "none", "junk"
# How a lead writes the name: as it comes, complete, without the second given name, a placeholder.
AS_IT_COMES, COMPLETE, SHORT = "as it comes", "complete", "short"


@lru_cache(maxsize=8192)
def iso(day: int) -> str:
    return date.fromordinal(day).isoformat()


@lru_cache(maxsize=8192)
def day_first(day: int) -> str:
    return date.fromordinal(day).strftime("%d-%m-%Y")


@dataclass(slots=True)
class Person:
    """A human being, with the keys that belong to him or her alone unless a story says otherwise."""

    id: str
    given: list[str]
    surnames: list[str]
    phone: str
    licence: str
    plate: str
    car: tuple[str, str, str]
    phone_is_shared: bool = False
    claims: list[tuple[int, int, str, int]] = field(default_factory=list)  # day, source_pk, kind, scout


@dataclass(slots=True)
class Account:
    """A driver account, which keys it really holds, and whether the feed still has it."""

    driver_id: str
    person: Person
    full_name: str
    park: str | None
    hire_day: int | None
    has_phone: bool
    has_licence: bool
    has_plate: bool
    in_feed: bool
    trips: int = 0
    is_paid: bool = False
    days: dict[int, int] = field(default_factory=dict)
    leads: list[tuple[int, str]] = field(default_factory=list)  # day, source_pk of the cabinet
    paid: set[int] = field(default_factory=set)


class World:
    """Makes people, accounts and leads, and writes each to its files at once."""

    def __init__(self, leads: int, seed: int, files: DemoFiles) -> None:
        self.leads, self.files = leads, files
        self.dice = Dice(seed)
        self._luck = Dice(seed + 2**40)  # of what was invented later, so that it changes nothing else
        self.leads_written = 0
        self._people = self._drafts = self._left = self._unlisted = 0
        self._recruited: list[Account] = []
        self._phones = Scrambled(10**8, 61_803_399, self.dice.below(10**8))
        self._licences = Scrambled(10**8, 38_196_601, self.dice.below(10**8))
        self._plates = Scrambled(PLATES, 15_485_863, self.dice.below(PLATES))

    # --- people ---------------------------------------------------------------------------------

    def day(self) -> int:
        """Return the date of the next lead: leads come in the order of their dates, roughly."""
        span = TODAY - FIRST_LEAD_DAY - 6
        return FIRST_LEAD_DAY + self.leads_written * span // self.leads + self.dice.below(7)

    def person(self) -> Person:
        dice = self.dice
        names, weights = (MALE, MALE_WEIGHTS) if dice.chance(0.87) else (FEMALE, FEMALE_WEIGHTS)
        given = [names[position(weights, dice.roll())]]
        if dice.chance(0.88):
            second = names[position(weights, dice.roll())]
            if second != given[0]:
                given.append(second)
        surnames = [self.surname()]
        if dice.chance(0.98):
            surnames.append(self.surname())
        self._people += 1
        return Person(
            id=f"P{self._people:07d}",
            given=given,
            surnames=surnames,
            phone=self.new_phone(),
            licence=self.new_licence(),
            plate=self.new_plate(),
            car=self.car(),
        )

    def sibling(self, person: Person) -> Person:
        """Return another person with the same surnames and the same phone: a family shares it."""
        other = self.person()
        while set(other.given) & set(person.given):
            other.given = [MALE[position(MALE_WEIGHTS, self.dice.roll())]]
        other.surnames = person.surnames
        other.phone = person.phone
        other.phone_is_shared = person.phone_is_shared = True
        return other

    def stranger(self, person: Person) -> Person:
        """Return a person whose name nobody takes for `person`'s."""
        other = self.person()
        while names_are_alike(person.given + person.surnames, other.given + other.surnames):
            other.given = [MALE[position(MALE_WEIGHTS, self.dice.roll())], self.dice.pick(MALE)]
            other.surnames = [self.surname(), self.dice.pick(SURNAMES)]
        return other

    def surname(self) -> str:
        return SURNAMES[position(SURNAME_WEIGHTS, self.dice.roll())]

    def car(self) -> tuple[str, str, str]:
        brand, model = CAR_MODELS[position(CAR_WEIGHTS, self.dice.roll())]
        return brand, model, self.dice.pick(COLORS)

    def new_phone(self) -> str:
        number = self._phones.next()
        while number in (99_999_999, 87_654_321):  # 999999999 and 987654321 are placeholders
            number = self._phones.next()
        return f"9{number:08d}"

    def new_licence(self) -> str:
        number = self._licences.next()
        while number in PLACEHOLDER_NUMBERS:
            number = self._licences.next()
        roll = self.dice.roll()
        if roll < 0.92:
            return f"Q{number:08d}"
        if roll < 0.97:
            return f"{self.dice.pick('ABCDEFGH')}{number:08d}"
        return f"U{number:08d}{self.dice.below(10)}"

    def draft_licence(self) -> str:
        """Return a draft's licence that no other story has."""
        self._drafts += 1
        return dirt.draft_licence(self.dice, self._drafts)

    def unlisted_licence(self) -> str:
        """Return a placeholder that looks like a licence: the same one for so long that hundreds share it."""
        uses, self._unlisted = self._unlisted, self._unlisted + 1
        return dirt.UNLISTED_LICENCES[uses // UNLISTED_LICENCE_USES % len(dirt.UNLISTED_LICENCES)]

    def new_plate(self) -> str:
        number, digits = divmod(self._plates.next(), 999)
        number, last = divmod(number, 26)
        first, middle = divmod(number, 36)
        return f"{PLATE_LETTERS[first]}{PLATE_MIDDLE[middle]}{PLATE_LETTERS[last]}{digits + 1:03d}"

    # --- driver accounts ------------------------------------------------------------------------

    def account(
        self,
        person: Person,
        day: int,
        *,
        objective: float | bool,
        hire_day: int | None = None,
        complete: bool = False,
        in_feed: bool = True,
    ) -> Account:
        """Open a driver account: one row of drivers, its truth, and the trips of the first two weeks after `day`.

        `objective` is the chance of the park of interest; `complete` forbids missing keys; an account that is not
        `in_feed` was closed or moved since: its trips and its truth remain, its row of drivers does not.
        """
        dice = self.dice
        if hire_day is None:
            hire_day = day + dice.between(-5, 20)
        hire: int | None = min(hire_day, TODAY)
        if dice.chance(0.01) and not complete:
            hire = None
        in_objective = dice.chance(float(objective))
        park: str | None = OBJECTIVE_PARK if in_objective else dice.pick(OTHER_PARKS)
        if not in_objective and dice.chance(0.04):
            park = None
        number = self.files.rows["drivers"] + 1
        driver_id = dice.hex_id("driver", number)
        if not in_feed:
            self._left += 1
            driver_id = dice.hex_id("driver that left", self._left)

        raw_phone: str | None
        raw_phone, has_phone = dirt.phone_in_drivers(dice, person.phone), True
        licence_number: str | None = person.licence
        licence_normalized: str | None = person.licence
        has_licence = has_plate = True
        car_number: str | None = dirt.plate_raw(dice, person.plate, clean=0.8)
        car_normalized: str | None = person.plate if dice.chance(0.95) else None
        if not complete:
            if dice.chance(0.02):
                has_phone = False
                raw_phone = dice.pick(dirt.DRIVER_PHONE_JUNK)
            if dice.chance(0.03):
                has_licence, licence_normalized = False, None
                licence_number = None if dice.chance(0.4) else self.draft_licence()
            if dice.chance(0.015):
                has_plate, car_number, car_normalized = False, None, None

        given, surnames = " ".join(person.given), " ".join(person.surnames)
        ordered = f"{surnames} {given}" if dice.chance(0.85) else f"{given} {surnames}"
        full_name = dirt.cased(dice, ordered)
        if not complete and dice.chance(0.012):
            full_name = dirt.cased(dice, f"{surnames} {person.given[0]}")
        account = Account(driver_id, person, full_name, park, hire, has_phone, has_licence, has_plate, in_feed)
        if complete or dice.chance(0.97):
            self._drive(account, day)
        self.files.write("truth_drivers", (driver_id, person.id))
        if not in_feed:
            return account

        created = iso(hire if hire is not None else day)
        brand, model, color = person.car
        is_fired = hire is not None and hire < TODAY - 200 and dice.chance(0.3)
        expires = TODAY + dice.between(-400, 1800)
        car_id = dice.hex_id("car", number)
        self.files.write(
            "drivers",
            (
                number, driver_id, park, person.given[0], surnames, person.given[1] if len(person.given) > 1 else None,
                full_name if complete or dice.chance(0.99) else None, raw_phone, licence_number, licence_normalized,
                "per" if dice.chance(0.97) else "ven", iso(expires), iso(expires - 1825), car_id if has_plate else None,
                brand, model, color, car_number, str(dice.between(100, 9999)), car_normalized,
                None if hire is None else iso(hire), iso(TODAY - dice.below(150)) if is_fired else None,
                dice.chance(0.2), not is_fired, "fired" if is_fired else "working",
                "offline" if dice.chance(0.7) else "free", f"{dice.between(-2000, 15000) / 100:.2f}", "-50.00", "PEN",
                None, "DNI", f"{dice.between(10_000_000, 79_999_999)}", f"{dice.between(420, 500) / 100:.2f}",
                iso(TODAY - dice.below(30)), f"{created} {self._clock()}", f"{iso(TODAY)} 04:00:00",
            ),
        )  # fmt: skip
        return account

    def _clock(self, dice: Dice | None = None) -> str:
        dice = dice or self.dice
        minute = dice.between(7 * 60, 22 * 60)
        return f"{minute // 60:02d}:{minute % 60:02d}:{dice.below(60):02d}"

    def _drive(self, account: Account, day: int) -> None:
        """Write the days driven around the window of 14 days after `day`, both edges included now and then."""
        dice = self.dice
        kind = dice.roll()
        if kind < 0.28:
            days, low, high = dice.between(0, 1), 0, 0
        elif kind < 0.50:
            days, low, high = dice.between(1, 2), 1, 2
        elif kind < 0.78:
            days, low, high = dice.between(2, 4), 2, 5
        else:
            days, low, high = dice.between(4, 6), 7, 14
        offset = dice.below(3)
        if dice.chance(0.05):
            offset = 13  # the last day inside, and the first outside
        for _step in range(days):
            driven = day + offset
            if driven > TODAY:
                return
            trips = dice.between(low, high)
            if offset < WINDOW_DAYS:
                account.trips += trips
            account.days[driven] = trips
            self.files.write(
                "summary_daily",
                (
                    account.driver_id, day_first(driven) if dice.chance(0.75) else iso(driven), trips,
                    trips * dice.between(1500, 2600) + dice.below(4000), f"{iso(min(driven + 1, TODAY))} 05:30:00",
                ),
            )  # fmt: skip
            offset += dice.between(1, 3) if offset != 13 else 1
        if account.days and self._luck.chance(0.01):  # nobody can say when that was
            trips, written = self._luck.between(1, 9), f"{iso(day)} 05:30:00"
            self.files.write(
                "summary_daily", (account.driver_id, self._luck.pick(NO_DAYS), trips, trips * 2000, written)
            )

    # --- leads ----------------------------------------------------------------------------------

    def cabinet(
        self,
        person: Person,
        account: Account | None,
        day: int,
        scenario: str,
        *,
        phone: str = NONE,
        plate: str = TRUE,
        name: str = AS_IT_COMES,
        foreign_phone: str | None = None,
        has_date: bool = True,
        decidable: bool | None = None,
    ) -> str:
        """Write one cabinet lead and its truth; return its source_pk (domain.md 3.12)."""
        dice = self.dice
        number = self.files.rows["module_ct_cabinet_leads"] + 1
        external_id: str | None = dice.hex_id("lead", number)
        roll = dice.roll()
        if roll < 0.02:
            external_id = None
        elif roll < 0.03:
            external_id = ""
        source_pk = external_id or str(number)
        first, middle, last, parts = self._cabinet_name(person, name)
        raw_phone = self._raw_phone(person, phone, foreign_phone)
        if plate in (TRUE, TYPO):
            written = person.plate if plate == TRUE else dirt.wrong_digit(dice, person.plate, 3)
            raw_plate: str | None = dirt.plate_raw(dice, written)
        else:
            raw_plate = dice.pick(dirt.PLATE_JUNK) if plate == JUNK else None
        trips = account.trips if account is not None and has_date else 0
        city = dice.pick(CITIES)
        created = f"{iso(min(day + dice.below(2), TODAY))} 23:15:00"
        self.files.write(
            "module_ct_cabinet_leads",
            (
                number, external_id, f"{iso(day)} {self._clock()}" if has_date else None, first, middle, last,
                raw_phone, raw_plate, f"{person.car[0]} {person.car[1]}", person.car[2], "Yego Lima", city, city,
                "econom" if dice.chance(0.9) else "comfort", "active" if trips else "lead",
                iso(min(day + 10, TODAY)) if trips else None, trips >= 1, trips >= 5, trips >= 10, trips >= 15,
                trips >= 25, trips >= 50, trips >= 100, created,
            ),
        )  # fmt: skip
        if decidable is None:
            decidable = has_date and self._decidable(account, parts, phone=phone, plate=plate)
        self._truth("module_ct_cabinet_leads", source_pk, person, account, decidable, scenario)
        if account is not None and has_date:
            if not account.leads:
                self._recruited.append(account)
            account.leads.append((day, source_pk))
            self._pay(account, day)
        return source_pk

    def scouting(
        self,
        person: Person,
        account: Account | None,
        day: int,
        scenario: str,
        *,
        scout: int | None = None,
        phone: str | None = None,
        licence: str | None = None,
        name: str = AS_IT_COMES,
        foreign_phone: str | None = None,
        foreign_licence: str | None = None,
    ) -> str:
        """Write one registration by a scout and its truth; return its source_pk."""
        dice = self.dice
        number = self.files.rows["module_ct_scouting_daily"] + 1
        if scout is None:
            scout = self.scout()
        if phone is None:
            phone = TRUE if dice.chance(0.92) else NONE
        if licence is None:
            roll = dice.roll()
            licence = TRUE if roll < 0.78 else JUNK if roll < 0.9 else NONE
        raw_licence: str | None
        if foreign_licence is not None:
            raw_licence = dirt.licence_in_lead(dice, foreign_licence)
        elif licence in (TRUE, TYPO):
            written = person.licence if licence == TRUE else dirt.wrong_digit(dice, person.licence, 1)
            raw_licence = dirt.licence_in_lead(dice, written)
        else:
            self._drafts += 1
            raw_licence = dirt.junk_licence(dice, self._drafts) if licence == JUNK else None
        raw_name, parts = self._scouting_name(person, name)
        stamp = f"{iso(day)} {self._clock()}"
        self.files.write(
            "module_ct_scouting_daily",
            (
                number, iso(day), scout, raw_name, self._raw_phone(person, phone, foreign_phone), raw_licence,
                dice.pick(ACQUISITION_METHODS), stamp, stamp,
            ),
        )  # fmt: skip
        decidable = self._decidable(account, parts, phone=phone, licence=licence)
        self._truth("module_ct_scouting_daily", str(number), person, account, decidable, scenario)
        person.claims.append((day, number, "scouting", scout))
        return str(number)

    def migration(
        self,
        person: Person,
        account: Account | None,
        day: int,
        scenario: str,
        *,
        scout: int | None = None,
        has_driver_id: bool = True,
    ) -> str:
        """Write one migration and its truth; return its source_pk."""
        dice = self.dice
        number = self.files.rows["module_ct_migrations"] + 1
        if scout is None and dice.chance(0.93):
            scout = self.scout()
        driver_id: str | None = None
        if has_driver_id:
            driver_id = account.driver_id if account is not None else dice.hex_id("elsewhere", number)
            if dice.chance(0.02):
                driver_id = f" {driver_id.upper()}"
        raw_name, _parts = self._scouting_name(person, AS_IT_COMES)
        self.files.write(
            "module_ct_migrations",
            (
                number, driver_id, raw_name, scout, None if scout is None else f"Scout {scout:02d}",
                None if account is None or account.hire_day is None else iso(account.hire_day), iso(day), iso(day),
            ),
        )  # fmt: skip
        decidable = account is not None and account.in_feed and has_driver_id
        self._truth("module_ct_migrations", str(number), person, account, decidable, scenario)
        if scout is not None:
            person.claims.append((day, number, "migration", scout))
        return str(number)

    def scout(self, other_than: int = 0) -> int:
        """Return an active scout; the first of the list register most."""
        scout = other_than
        while scout == other_than:
            scout = 1 + int(self.dice.roll() * self.dice.roll() * ACTIVE_SCOUTS)
        return scout

    def close(self, person: Person) -> None:
        """Write who claims this person and who wins by the ledger rules (domain.md 6.2, decision Q12), if anybody does."""
        if not person.claims:
            return
        scouting = sorted(claim for claim in person.claims if claim[2] == "scouting")
        migrations = sorted(claim for claim in person.claims if claim[2] == "migration")
        distinct = sorted({claim[3] for claim in person.claims})
        in_window = (
            len({claim[3] for claim in scouting}) > 1 and scouting[-1][0] - scouting[0][0] <= CONFLICT_WINDOW_DAYS
        )
        winner: int | None
        if in_window:
            rule, winner = "C", None
        elif migrations:
            rule, winner = "A_FLEET", migrations[-1][3]
        else:
            rule, winner = "A", scouting[-1][3]
        self.files.write("truth_scouts", (person.id, " ".join(map(str, distinct)), in_window, rule, winner))

    def _raw_phone(self, person: Person, state: str, foreign_phone: str | None) -> str | None:
        if foreign_phone is not None:
            return dirt.phone_in_lead(self.dice, foreign_phone)
        if state == TRUE:
            return dirt.phone_in_lead(self.dice, person.phone)
        if state == TYPO:
            return dirt.phone_in_lead(self.dice, dirt.wrong_digit(self.dice, person.phone, 1))
        return self.dice.pick(dirt.PHONE_JUNK) if state == JUNK else None

    def _cabinet_name(self, person: Person, style: str) -> tuple[str | None, str | None, str | None, int]:
        """Return first, middle and last name as a cabinet lead has them, and how many true parts they hold."""
        dice = self.dice
        if style == JUNK:
            return dice.pick(dirt.JUNK_NAMES), None, None, 0
        given, surnames = list(person.given), list(person.surnames)
        roll = 0.0 if style == COMPLETE else 0.9 if style == SHORT else dice.roll()
        if roll >= 0.80:
            del given[1:]
        if roll >= 0.991:
            del surnames[1:]
        parts = len(given) + len(surnames)
        if style == AS_IT_COMES and dice.chance(0.03):
            surnames[0] = dirt.wrong_letter(dice, surnames[0])
        middle = given[1] if len(given) > 1 else None
        first, last = given[0], " ".join(surnames)
        if style == AS_IT_COMES and dice.chance(0.02):
            first, last = last, first
        return dirt.cased(dice, first), middle and dirt.cased(dice, middle), dirt.cased(dice, last), parts

    def _scouting_name(self, person: Person, style: str) -> tuple[str, int]:
        """Return a name in free order, and how many true parts it holds."""
        dice = self.dice
        if style == JUNK:
            return dice.pick(dirt.JUNK_NAMES), 0
        given, surnames = list(person.given), list(person.surnames)
        roll = 0.0 if style == COMPLETE else dice.roll()
        if roll > 0.50:
            del given[1:]
        if roll > 0.83:
            del surnames[1:]
        if style != COMPLETE and dice.chance(0.04):
            surnames[0] = dirt.wrong_letter(dice, surnames[0])
        parts = given + surnames if dice.chance(0.62) else surnames + given
        text = " ".join(parts)
        if len(given) > 1 and dice.chance(0.01):
            text = text.replace(f"{given[0]} {given[1]}", f"{given[0]}-{given[1]}")
        return dirt.cased(dice, text), len(parts)

    @staticmethod
    def _decidable(
        account: Account | None, name_parts: int, *, phone: str = NONE, licence: str = NONE, plate: str = NONE
    ) -> bool:
        """Say whether a careful human could tell this row's driver account: by a key that both sides really hold."""
        if account is None or not account.in_feed:
            return False
        own_phone = phone == TRUE and account.has_phone
        if own_phone and name_parts >= (2 if account.person.phone_is_shared else 1):
            return True
        if licence == TRUE and account.has_licence:
            return True
        if plate == TRUE and account.has_plate and name_parts >= 2:
            return True
        one_digit_off = (
            (phone == TYPO and account.has_phone)
            or (licence == TYPO and account.has_licence)
            or (plate == TYPO and account.has_plate)
        )
        return one_digit_off and name_parts >= 3

    def _truth(
        self, table: str, source_pk: str, person: Person, account: Account | None, linkable: bool, scenario: str
    ) -> None:
        driver_id: Value = None if account is None else account.driver_id
        self.files.write("truth_leads", (table, source_pk, person.id, driver_id, linkable, scenario))
        self.leads_written += 1

    # --- money ----------------------------------------------------------------------------------

    def _pay(self, account: Account, day: int) -> None:
        """Write Yango's payment of the milestones, once per account, for most of those that are due."""
        dice = self.dice
        due = day + 14
        if account.is_paid or not account.trips or due > TODAY or not dice.chance(0.6):
            return
        account.is_paid = True
        paid = min(due + dice.between(0, 9), TODAY)
        person = account.person
        name = account.full_name
        if dice.chance(0.35):
            name = dirt.cased(dice, " ".join(person.given + person.surnames))
        flags: list[Value] = [True]
        flags += [account.trips >= 5 if account.trips < 5 or dice.chance(0.9) else None]
        flags += [account.trips >= 25 if account.trips < 25 or dice.chance(0.8) else None]
        if dice.chance(0.02):
            flags.reverse()  # paid under another milestone
        scout = person.claims[-1][3] if person.claims else None
        if self._luck.chance(0.03):  # told unpaid first, and paid in a later list
            self._payment(self._luck, account, name, scout, min(due, paid), [False, *flags[1:]])
        self._payment(dice, account, name, scout, paid, flags)
        if self._luck.chance(0.02) and paid + 7 <= TODAY:  # told again, unpaid now
            self._payment(self._luck, account, name, scout, paid + 7, [False, None, None])

    def _payment(
        self, dice: Dice, account: Account, name: str, scout: int | None, day: int, flags: list[Value]
    ) -> None:
        number = self.files.rows["module_ct_cabinet_payments"] + 1
        stamp = f"{iso(day)} 09:00:00"
        self.files.write(
            "module_ct_cabinet_payments",
            (
                number, iso(day), self._clock(dice), name, scout if dice.chance(0.7) else None, *flags,
                account.driver_id if dice.chance(0.05) else None, None, stamp, stamp,
            ),
        )  # fmt: skip
        account.paid.update(milestone for milestone, flag in zip(MILESTONES, flags, strict=True) if flag)

    def settle(self) -> None:
        """Write which milestones the cabinet leads told so far reached, and whether they are paid (domain.md 12.2, Q62)."""
        for account in self._recruited:
            for milestone in MILESTONES:
                for day, source_pk in sorted(account.leads):
                    achieved = self._achieved(account, day, milestone)
                    if achieved is None:
                        continue
                    is_paid = milestone in account.paid
                    self.files.write(
                        "truth_claims", (account.driver_id, milestone, source_pk, iso(day), iso(achieved), is_paid)
                    )
                    break
        self._recruited.clear()

    @staticmethod
    def _achieved(account: Account, day: int, milestone: int) -> int | None:
        trips = 0
        for driven in sorted(account.days):
            if day <= driven < day + WINDOW_DAYS:
                trips += account.days[driven]
                if trips >= milestone:
                    return driven
        return None

    # --- scouts and the predecessor's links -----------------------------------------------------

    def scouts(self) -> None:
        """Write the list of scouts."""
        for scout in range(1, SCOUT_COUNT + 1):
            name = f"{self.dice.pick(MALE)} {self.surname()}"
            joined = f"{iso(TODAY - 900 + scout * 11)} 09:00:00"
            normalized = without_accents(name).upper() if scout % 7 else None
            self.files.write(
                "module_ct_scouts_list",
                (scout, f"{name} - zona {scout % 5 + 1}", normalized, scout <= ACTIVE_SCOUTS, joined, joined),
            )

    def legacy_person(self, person: Person, *, licence: str | None = None) -> str:
        """Write a person as the predecessor registered them; return the person_key, shaped like a random uuid.

        `licence` is what the predecessor took for the person's own.
        """
        raw = self.dice.hex_id("legacy person", self.files.rows["legacy_persons"] + 1)
        variant = "89ab"[int(raw[16], 16) % 4]
        key = f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-{variant}{raw[17:20]}-{raw[20:]}"
        name = without_accents(" ".join(person.surnames + person.given)).upper()
        self.files.write(
            "legacy_persons",
            (key, "HIGH", person.phone, None, licence or person.licence, name, "{}", LEGACY_RUN_AT, LEGACY_RUN_AT),
        )
        return key

    def legacy_link(
        self, person_key: str, table: str, source_pk: str, rule: str, evidence: dict[str, str | None]
    ) -> None:
        """Write one link of the predecessor; `evidence` is what its rule wrote down (domain.md 5.2)."""
        score = {"R1_PHONE_EXACT": 95, "R2_LICENSE_EXACT": 92}.get(rule, 100)
        self.files.write(
            "legacy_links",
            (
                person_key, table, source_pk, LEGACY_RUN_AT, rule, score, "HIGH", json.dumps(evidence, sort_keys=True),
                LEGACY_RUN_AT,
            ),
        )  # fmt: skip

    def orphan(
        self,
        account: Account,
        scenario: str,
        *,
        repaired_by: tuple[str, str] | None = None,
        person_key: str | None = None,
        licence: str | None = None,
        rule: str | None = None,
    ) -> str:
        """Write the link of a driver without lead link, as the predecessor's mass run left it, and its truth (domain.md 9.9).

        Takes the lead record that shows beyond doubt that the driver is legitimate, if one does; the person it was linked
        to (without one, a person of its own is registered), and the licence and the rule it was linked by where a story
        needs them. Returns the person_key.
        """
        person = account.person
        if rule is None:
            roll = self.dice.roll()
            rule = "R1_PHONE_EXACT" if roll < 0.967 else "R2_LICENSE_EXACT" if roll < 0.987 else "driver_direct"
        if person_key is None:
            person_key = self.legacy_person(person, licence=licence)
        evidence: dict[str, str | None] = {"created_by": "process_drivers", "driver_id": account.driver_id}
        if rule == "R1_PHONE_EXACT":
            evidence |= {"phone_normalized": person.phone, "park_id": account.park}
        elif rule == "R2_LICENSE_EXACT":
            evidence |= {"license_normalized": licence or person.licence, "park_id": account.park}
        self.legacy_link(person_key, "drivers", account.driver_id, rule, evidence)
        table, source_pk = repaired_by or (None, None)
        self.files.write(
            "truth_orphans", (account.driver_id, person.id, repaired_by is not None, table, source_pk, scenario)
        )
        return person_key
