"""The stories of a demo world: each writes a few people with their accounts and leads, and says what is true.

A story's weight is how often it is told in ten thousand; its leads are how many rows of the three feeds it writes, always
the same, so that the wanted number of leads comes out exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass

from identity.demo.world import (
    COMPLETE,
    JUNK,
    LEAD_SYSTEM_START,
    NONE,
    SHORT,
    TODAY,
    TRUE,
    TYPO,
    Account,
    Person,
    World,
)

Teller = Callable[[World, str], None]


@dataclass(frozen=True, slots=True)
class Story:
    name: str
    weight: int
    leads: int
    tell: Teller


STORIES: list[Story] = []


def story(weight: int, leads: int) -> Callable[[Teller], Teller]:
    """Register a story under its function's name."""

    def register(tell: Teller) -> Teller:
        STORIES.append(Story(tell.__name__, weight, leads, tell))
        return tell

    return register


def _cabinet_driver(world: World, day: int, phone: str, person: Person | None = None) -> tuple[Person, Account]:
    """Open the account of somebody with a cabinet lead. Without a phone only the park of interest is searched by plate."""
    person = person or world.person()
    return person, world.account(person, day, objective=0.99 if phone == NONE else 0.55)


def _cabinet_phone(world: World) -> str:
    return TRUE if world.dice.chance(0.36) else NONE


def _earlier(day: int, gap: int) -> int:
    """Return `day`, moved back so that something `gap` days later is not in the future."""
    return min(day, TODAY - gap)


# --- one person, one lead -----------------------------------------------------------------------


@story(3200, 1)
def cabinet_plain(world: World, name: str) -> None:
    day, phone = world.day(), _cabinet_phone(world)
    person, account = _cabinet_driver(world, day, phone)
    world.cabinet(person, account, day, name, phone=phone)
    world.close(person)


@story(1660, 1)
def cabinet_without_driver(world: World, name: str) -> None:
    world.cabinet(world.person(), None, world.day(), name, phone=_cabinet_phone(world))


@story(720, 1)
def scouting_plain(world: World, name: str) -> None:
    day, person = world.day(), world.person()
    world.scouting(person, world.account(person, day, objective=0.2), day, name)
    world.close(person)


@story(520, 1)
def scouting_without_driver(world: World, name: str) -> None:
    person = world.person()
    world.scouting(person, None, world.day(), name)
    world.close(person)


@story(800, 1)
def migration_plain(world: World, name: str) -> None:
    day, person = world.day(), world.person()
    world.migration(person, world.account(person, day, objective=0.12), day, name)
    world.close(person)


@story(60, 1)
def migration_of_unknown_driver(world: World, name: str) -> None:
    person = world.person()
    world.migration(person, None, world.day(), name, has_driver_id=world.dice.chance(0.6))
    world.close(person)


@story(25, 1)
def migration_without_driver_id(world: World, name: str) -> None:
    day, person = world.day(), world.person()
    world.migration(person, world.account(person, day, objective=0.2), day, name, has_driver_id=False)
    world.close(person)


# --- one person, several leads ------------------------------------------------------------------


@story(540, 2)
def cabinet_and_scouting(world: World, name: str) -> None:
    day, phone = _earlier(world.day(), 4), _cabinet_phone(world)
    person, account = _cabinet_driver(world, day, phone)
    world.scouting(person, account, day + world.dice.between(0, 4), name)
    world.cabinet(person, account, day, name, phone=phone)
    world.close(person)


@story(150, 2)
def cabinet_and_scouting_without_driver(world: World, name: str) -> None:
    day, person = world.day(), world.person()
    world.cabinet(person, None, day, name, phone=_cabinet_phone(world))
    world.scouting(person, None, day, name)
    world.close(person)


@story(90, 2)
def cabinet_sent_twice(world: World, name: str) -> None:
    day = _earlier(world.day(), 21)
    person, account = _cabinet_driver(world, day, NONE)
    world.cabinet(person, account, day, name)
    world.cabinet(person, account, day + world.dice.between(1, 21), name, phone=_cabinet_phone(world))
    world.close(person)


@story(60, 2)
def same_scout_twice(world: World, name: str) -> None:
    day, person, scout = _earlier(world.day(), 10), world.person(), world.scout()
    account = world.account(person, day, objective=0.2)
    world.scouting(person, account, day, name, scout=scout)
    world.scouting(person, account, day + world.dice.between(0, 10), name, scout=scout)
    world.close(person)


def _two_scouts(world: World, name: str, low: int, high: int) -> tuple[Person, Account, int]:
    """Let two scouts register one person, `low` to `high` days apart; return the later day too."""
    gap = world.dice.between(low, high)
    day, person, scout = _earlier(world.day(), gap), world.person(), world.scout()
    account = world.account(person, day, objective=0.2)
    world.scouting(person, account, day, name, scout=scout, phone=TRUE)
    world.scouting(person, account, day + gap, name, scout=world.scout(other_than=scout), phone=TRUE)
    return person, account, day + gap


@story(50, 2)
def two_scouts_within_window(world: World, name: str) -> None:
    person, _account, _day = _two_scouts(world, name, 0, 7)
    world.close(person)


@story(45, 2)
def two_scouts_far_apart(world: World, name: str) -> None:
    person, _account, _day = _two_scouts(world, name, 8, 35)
    world.close(person)


@story(12, 3)
def two_scouts_and_migration(world: World, name: str) -> None:
    person, account, day = _two_scouts(world, name, 1, 7)
    world.migration(person, account, day, name)
    world.close(person)


@story(40, 2)
def scouting_and_migration(world: World, name: str) -> None:
    day, person, scout = world.day(), world.person(), world.scout()
    account = world.account(person, day, objective=0.2)
    world.scouting(person, account, day, name, scout=scout)
    world.migration(person, account, day, name, scout=world.scout(other_than=scout))
    world.close(person)


@story(20, 2)
def two_scouts_without_shared_key(world: World, name: str) -> None:
    """One row has the phone, the other the licence: only the driver account joins them."""
    day, person, scout = _earlier(world.day(), 6), world.person(), world.scout()
    account = world.account(person, day, objective=0.2, complete=True)
    later = day + world.dice.between(0, 6)
    world.scouting(person, account, day, name, scout=scout, phone=TRUE, licence=NONE)
    world.scouting(person, account, later, name, scout=world.scout(other_than=scout), phone=NONE, licence=TRUE)
    world.close(person)


@story(25, 2)
def two_scouts_one_digit_apart(world: World, name: str) -> None:
    """The second scout mistypes the phone: one human, no shared clean key (decision Q79)."""
    day, person, scout = _earlier(world.day(), 6), world.person(), world.scout()
    account = world.account(person, day, objective=0.2, complete=True) if world.dice.chance(0.5) else None
    later = day + world.dice.between(0, 6)
    world.scouting(person, account, day, name, scout=scout, phone=TRUE, licence=JUNK)
    world.scouting(person, account, later, name, scout=world.scout(other_than=scout), phone=TYPO, licence=JUNK)
    world.close(person)


# --- several accounts of one person -------------------------------------------------------------


@story(110, 1)
def registered_again_in_other_park(world: World, name: str) -> None:
    day, person = world.day(), world.person()
    phone = _cabinet_phone(world)
    world.account(person, day, objective=False, hire_day=day - world.dice.between(60, 700))
    account = world.account(person, day, objective=True)
    if world.dice.chance(0.7):
        world.cabinet(person, account, day, name, phone=phone)
    else:
        world.scouting(person, account, day, name)
    world.close(person)


@story(45, 1)
def registered_again_in_same_park(world: World, name: str) -> None:
    """Two accounts, same park, same keys: a human takes the later one, a rule sees two candidates."""
    day, person = world.day(), world.person()
    world.account(person, day, objective=True, hire_day=day - world.dice.between(20, 400))
    account = world.account(person, day, objective=True)
    if world.dice.chance(0.6):
        world.cabinet(person, account, day, name, phone=_cabinet_phone(world))
    else:
        world.scouting(person, account, day, name)
    world.close(person)


@story(28, 2)
def namesakes(world: World, name: str) -> None:
    """Two people of one name: only their keys tell them apart."""
    day, first, second = world.day(), world.person(), world.person()
    second.given, second.surnames = first.given, first.surnames
    for person in (first, second):
        phone = _cabinet_phone(world)
        _person, account = _cabinet_driver(world, day, phone, person)
        world.cabinet(person, account, day, name, phone=phone)


# --- shared, reassigned and mistyped keys -------------------------------------------------------


@story(55, 3)
def family_phone(world: World, name: str) -> None:
    """Two or three relatives drive and give the same phone."""
    day, first = world.day(), world.person()
    family = [first, world.sibling(first)]
    if world.dice.chance(0.3):
        family.append(world.sibling(first))
    accounts = [world.account(person, day, objective=True, complete=True) for person in family]
    world.cabinet(family[0], accounts[0], day, name, phone=TRUE)
    world.cabinet(family[1], accounts[1], day, name)
    world.scouting(family[1], accounts[1], day, name, phone=TRUE)
    world.close(family[1])


@story(1, 1)
def family_phone_of_a_driver(world: World, name: str) -> None:
    """The relative who answers the phone is the driver; the lead is not. Even a careful rule errs here."""
    day, driver = world.day(), world.person()
    relative = world.sibling(driver)
    world.account(driver, day, objective=True, hire_day=day - world.dice.between(100, 600), complete=True)
    world.scouting(relative, None, day, name, phone=TRUE, licence=NONE)
    world.close(relative)


@story(8, 3)
def fleet_owner_phone(world: World, name: str) -> None:
    """An owner registers five to twelve cars, every driver under the owner's own phone."""
    day, phone = world.day(), world.new_phone()
    drivers: list[tuple[Person, Account]] = []
    for _car in range(world.dice.between(5, 12)):
        person = world.person()
        person.phone, person.phone_is_shared = phone, True
        drivers.append((person, world.account(person, day, objective=True, complete=True)))
    world.cabinet(*drivers[0], day, name, phone=TRUE)
    world.cabinet(*drivers[1], day, name, phone=TRUE)
    world.scouting(*drivers[2], day, name, phone=TRUE)
    world.close(drivers[2][0])


def _reassigned(world: World, day: int) -> tuple[Person, Account, str]:
    """Return somebody whose old phone belongs to another driver now."""
    person = world.person()
    stranger = world.stranger(person) if world.dice.chance(0.97) else world.person()
    world.account(stranger, day, objective=0.6, hire_day=day - world.dice.between(30, 500), complete=True)
    return person, world.account(person, day, objective=True, complete=True), stranger.phone


@story(85, 1)
def reassigned_phone_in_cabinet(world: World, name: str) -> None:
    day = world.day()
    person, account, phone = _reassigned(world, day)
    world.cabinet(person, account, day, name, foreign_phone=phone)


@story(28, 1)
def reassigned_phone_in_scouting(world: World, name: str) -> None:
    day = world.day()
    person, account, phone = _reassigned(world, day)
    world.scouting(person, account, day, name, phone=NONE, foreign_phone=phone)
    world.close(person)


@story(85, 1)
def mistyped_key_in_scouting(world: World, name: str) -> None:
    """The only key has one digit wrong."""
    day, person = world.day(), world.person()
    account = world.account(person, day, objective=0.2, complete=True)
    by_phone = world.dice.chance(0.6)
    phone, licence = (TYPO, JUNK) if by_phone else (NONE, TYPO)
    world.scouting(person, account, day, name, phone=phone, licence=licence)
    world.close(person)


@story(28, 1)
def mistyped_plate(world: World, name: str) -> None:
    day = world.day()
    person, account = _cabinet_driver(world, day, NONE)
    world.cabinet(person, account, day, name, plate=TYPO)


@story(70, 1)
def mistyped_phone_in_cabinet(world: World, name: str) -> None:
    day = world.day()
    person, account = _cabinet_driver(world, day, NONE)
    world.cabinet(person, account, day, name, phone=TYPO)


@story(60, 1)
def no_usable_key(world: World, name: str) -> None:
    day, person = world.day(), world.person()
    account = world.account(person, day, objective=0.4)
    if world.dice.chance(0.5):
        world.scouting(person, account, day, name, phone=JUNK, licence=JUNK)
    else:
        world.cabinet(person, account, day, name, phone=JUNK, plate=JUNK)
    world.close(person)


@story(45, 1)
def junk_record(world: World, name: str) -> None:
    """Somebody tried the form: nobody at all."""
    nobody = world.person()
    if world.dice.chance(0.5):
        world.scouting(nobody, None, world.day(), name, phone=JUNK, licence=JUNK, name=JUNK)
    else:
        world.cabinet(nobody, None, world.day(), name, phone=JUNK, plate=JUNK, name=JUNK)
    world.close(nobody)


@story(15, 1)
def missing_lead_date(world: World, name: str) -> None:
    day = world.day()
    person, account = _cabinet_driver(world, day, NONE)
    world.cabinet(person, account, day, name, has_date=False)


# --- cars ---------------------------------------------------------------------------------------


@story(22, 2)
def ambiguous_twins(world: World, name: str) -> None:
    """Brothers share the car, the surnames and a given name. The short name fits both, the complete one only one."""
    day, first = world.day(), world.person()
    second = world.person()
    first.surnames = [world.surname(), world.surname()]
    first.given, second.given = ["José", "Luis"], ["José", "Antonio"]
    second.surnames, second.plate, second.car = first.surnames, first.plate, first.car
    world.account(first, day, objective=True, complete=True)
    account = world.account(second, day, objective=True, complete=True)
    world.cabinet(second, account, day, name, name=SHORT, decidable=False)
    world.cabinet(second, account, day, name, name=COMPLETE)


@story(1, 1)
def brother_of_the_driver(world: World, name: str) -> None:
    """The lead has the car and nearly the name of a driver, but is the brother. Even a careful rule errs here."""
    day, driver = world.day(), world.person()
    brother = world.person()
    driver.surnames = [world.surname(), world.surname()]
    driver.given, brother.given = ["Juan", "Carlos"], ["Juan", "Pablo"]
    brother.surnames, brother.plate, brother.car = driver.surnames, driver.plate, driver.car
    world.account(driver, day, objective=True, complete=True)
    world.cabinet(brother, None, day, name, name=COMPLETE)


@story(60, 1)
def car_passed_on(world: World, name: str) -> None:
    """Two drivers, one plate; the earlier was hired around the edge of the window of rule R3."""
    day, former = world.day(), world.person()
    person = world.person()
    person.plate, person.car = former.plate, former.car
    world.account(
        former, day, objective=True, hire_day=day - world.dice.pick([30, 89, 90, 91, 150, 400]), complete=True
    )
    account = world.account(person, day, objective=True, complete=True)
    world.cabinet(person, account, day, name)


@story(30, 1)
def car_of_another_driver(world: World, name: str) -> None:
    """The car has a driver already; the lead never became one."""
    day, driver = world.day(), world.person()
    person = world.stranger(driver)
    person.plate, person.car = driver.plate, driver.car
    world.account(driver, day, objective=True, complete=True)
    world.cabinet(person, None, day, name)


@story(50, 1)
def hired_at_window_edge(world: World, name: str) -> None:
    """Hired exactly on, or one day beyond, the edges of the window of rule R3: lead date -90 .. +30."""
    day, person = _earlier(world.day(), 31), world.person()
    hire_day = day + world.dice.pick([-91, -90, -89, 29, 30, 31])
    world.cabinet(person, world.account(person, day, objective=True, hire_day=hire_day, complete=True), day, name)


@story(28, 1)
def hired_long_before(world: World, name: str) -> None:
    day, person = world.day(), world.person()
    hire_day = day - world.dice.between(120, 1400)
    world.cabinet(person, world.account(person, day, objective=True, hire_day=hire_day), day, name)


# --- drivers without a lead ---------------------------------------------------------------------


@story(3080, 0)
def driver_without_lead(world: World, name: str) -> None:
    day = TODAY - world.dice.below(1500)
    world.account(world.person(), day, objective=0.06, hire_day=day)


def _before_legacy_run(world: World) -> int:
    """Return a lead date early enough for the driver to be hired before the predecessor's mass run."""
    return _earlier(world.day(), 50)


def _orphan(world: World, day: int, *, hire_day: int | None = None, in_feed: bool | None = None) -> Account:
    """Open an account that the predecessor linked. Two in three have left the feed: closed, or moved to another fleet.

    Of those, only the keys of their person and the driver_id in a migration tell which lead was theirs.
    """
    if in_feed is None:
        in_feed = world.dice.chance(1 / 3)
    return world.account(world.person(), day, objective=0.5, hire_day=hire_day, complete=True, in_feed=in_feed)


@story(40, 0)
def orphan_without_evidence(world: World, name: str) -> None:
    world.orphan(_orphan(world, TODAY - world.dice.between(70, 700)), name)


@story(12, 0)
def orphan_from_before_the_leads(world: World, name: str) -> None:
    hire_day = LEAD_SYSTEM_START - world.dice.between(1, 900)
    world.orphan(_orphan(world, hire_day, hire_day=hire_day, in_feed=True), name)


def _registered_orphan(world: World, name: str, phone: str, licence: str) -> None:
    day = _before_legacy_run(world)
    account = _orphan(world, day)
    source_pk = world.scouting(account.person, account, day, name, phone=phone, licence=licence)
    world.orphan(account, name, repaired_by=("module_ct_scouting_daily", source_pk))
    world.close(account.person)


@story(22, 1)
def orphan_with_licence_in_scouting(world: World, name: str) -> None:
    _registered_orphan(world, name, NONE, TRUE)


@story(26, 1)
def orphan_with_phone_in_scouting(world: World, name: str) -> None:
    _registered_orphan(world, name, TRUE, JUNK)


@story(14, 1)
def orphan_with_both_keys_in_scouting(world: World, name: str) -> None:
    _registered_orphan(world, name, TRUE, TRUE)


@story(14, 1)
def orphan_with_migration(world: World, name: str) -> None:
    day = _before_legacy_run(world)
    account = _orphan(world, day)
    source_pk = world.migration(account.person, account, day, name)
    world.orphan(account, name, repaired_by=("module_ct_migrations", source_pk))
    world.close(account.person)


@story(4, 1)
def orphan_with_two_accounts(world: World, name: str) -> None:
    """One person with two accounts, both gone from the feed. One migrated: the person has a lead, so both are good."""
    day, person = _before_legacy_run(world), world.person()
    hire_day = day - world.dice.between(60, 700)
    former = world.account(person, day, objective=False, hire_day=hire_day, complete=True, in_feed=False)
    account = world.account(person, day, objective=0.5, complete=True, in_feed=False)
    repaired_by = "module_ct_migrations", world.migration(person, account, day, name)
    person_key = world.orphan(account, name, repaired_by=repaired_by)
    world.orphan(former, name, repaired_by=repaired_by, person_key=person_key)
    world.close(person)


@story(6, 1)
def orphan_with_phone_of_a_relative(world: World, name: str) -> None:
    """Registered with the own licence and the phone of a relative by marriage who drives too: the licence tells."""
    day = _before_legacy_run(world)
    account = _orphan(world, day, in_feed=False)
    person = account.person
    relative = world.stranger(person)
    world.account(relative, day, objective=0.5, complete=True)
    source_pk = world.scouting(
        person, account, day, name, phone=NONE, licence=TRUE, name=COMPLETE, foreign_phone=relative.phone
    )
    world.orphan(account, name, repaired_by=("module_ct_scouting_daily", source_pk))
    world.close(person)


@story(5, 1)
def orphan_with_junk_evidence(world: World, name: str) -> None:
    """A scout registered this driver, without one key that means anything."""
    day = _before_legacy_run(world)
    account = _orphan(world, day)
    world.scouting(account.person, account, day, name, phone=JUNK, licence=JUNK)
    world.orphan(account, name)
    world.close(account.person)


@story(5, 1)
def orphan_with_shared_evidence(world: World, name: str) -> None:
    """The phone of the registration is also that of a driver of another name."""
    day = _before_legacy_run(world)
    account = _orphan(world, day, in_feed=False)
    other = world.stranger(account.person)
    other.phone = account.person.phone
    other.phone_is_shared = account.person.phone_is_shared = True
    world.account(other, day, objective=0.5, complete=True)
    world.scouting(account.person, account, day, name, phone=TRUE, licence=NONE, name=COMPLETE)
    world.orphan(account, name)
    world.close(account.person)


@story(6, 1)
def orphan_with_evidence_of_another(world: World, name: str) -> None:
    """The registration is there, but the predecessor linked it to another person."""
    day = _before_legacy_run(world)
    account = _orphan(world, day)
    source_pk = world.scouting(account.person, account, day, name, phone=TRUE, licence=TRUE)
    key = world.legacy_person(world.person())
    world.legacy_link(
        key, "module_ct_scouting_daily", source_pk, "R1_PHONE_EXACT", {"phone_normalized": account.person.phone}
    )
    world.orphan(account, name)
    world.close(account.person)


@story(6, 1)
def orphan_with_phone_of_a_stranger(world: World, name: str) -> None:
    """The phone has passed on: the registration that carries it is of somebody with quite another name."""
    day = _before_legacy_run(world)
    account = _orphan(world, day, in_feed=False)
    stranger = world.stranger(account.person)
    licence = TRUE if world.dice.chance(0.5) else NONE
    world.scouting(
        stranger, None, day, name, phone=NONE, licence=licence, name=COMPLETE, foreign_phone=account.person.phone
    )
    world.orphan(account, name)
    world.close(stranger)


@story(4, 3)
def orphan_with_listed_junk_licence(world: World, name: str) -> None:
    """The predecessor took a placeholder for the licence; strangers were registered with the same one."""
    day = _before_legacy_run(world)
    account = _orphan(world, day, in_feed=False)
    licence = world.draft_licence() if world.dice.chance(0.5) else "X"
    _strangers_with_licence(world, day, name, licence, 3)
    world.orphan(account, name, licence=licence, rule="R1_PHONE_EXACT")


@story(3, 4)
def orphan_with_unlisted_junk_licence(world: World, name: str) -> None:
    """A placeholder that looks like a licence: the larger the world, the more drivers and registrations share it."""
    day, licence = _before_legacy_run(world), world.unlisted_licence()
    _strangers_with_licence(world, day, name, licence, 4)
    for _account in range(6):
        world.orphan(_orphan(world, day, in_feed=False), name, licence=licence)


def _strangers_with_licence(world: World, day: int, name: str, licence: str, count: int) -> None:
    for _registration in range(count):
        stranger = world.person()
        world.scouting(stranger, None, day, name, phone=TRUE, foreign_licence=licence)
        world.close(stranger)
