"""Random worlds, small and nasty: few names, phones, plates and licences, so that everything collides with everything.

The same `random.Random` seed gives the same world. Rows carry raw values in the columns of domain.md 2 and satisfy the
constraints of the source tables (one row per driver_id, unique external_id, no null where the source forbids it).
All people are invented.
"""

from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Any

from tests.oracle.matcher import OBJECTIVE_PARK, Row, World

OTHER_PARK = "1f2e3d4c5b6a79880716253443526170"
PARKS = [OBJECTIVE_PARK] * 6 + [OTHER_PARK] * 2 + [None]

NAMES = [
    "QUISPE MAMANI JUAN CARLOS",
    "QUISPE MAMANY JUAN CARLOS",
    "QUISPE HUAMAN JUAN ALBERTO",
    "MAMANI QUISPE ROSA",
    "HUAMAN FLORES PEDRO",
    "HUAMÁN FLORES PEDRO LUIS",
    "ROJAS SALAZAR JOSÉ LUIS",
    "DE LA CRUZ PEÑA MARÍA",
    "ÑAHUI CONDORI ÁNGEL",
    "CONDORI ÑAHUI ANGELA",
    "TORRES VEGA ANA",
    "TORRES VEGAS ANA LUCÍA DEL PILAR",
]
NON_NAMES = ["", "TEST", "Conductor", "sin nombre", "N.N.", "JUAN", "Quispe", "123", "de la", "X X"]

PHONES = [
    "987654321",
    "987654322",
    "912345678",
    "955501234",
    "955501235",
    "944400011",
    "933322211",
    "966677788",
    "977788899",
]
WEAK_PHONES = ["014567890", "+54 11 2345-6789", "0054 351 455 1234", "12345678901"]
STRONG_LOOKING_WEAK_PHONES = ["+1 305 987654321", "56 912345678"]
NON_PHONES = ["", "999999999", "+51 999 999 999", "000000000", "123456789", "1", "anexo 12", "98765432"]
NON_PHONES += ["987654321 / 912345678", "٩٨٧٦٥٤٣٢١", "5" * 30]

LICENCES = ["Q12345678", "Q12345679", "Q41234567", "R412345678", "AB123456", "K70011223", "M33344455", "N55566677"]
WEAK_LICENCES = ["12345678", "ABC12345", "Q1234567"]
NON_LICENCES = [
    "",
    "X",
    "-",
    "S/D",
    "SIN DATOS",
    "PENDIENTE",
    "Q00000000",
    "DRIVERDRAFT0123456789abcdef0123456789abcdef",
]
NON_LICENCES += ["111111111", "A1234"]

PLATES = ["ABC123", "ABC124", "A1B234", "D4F555", "XYZ987", "BCD456", "CDE45", "F1G2345"]
NON_PLATES = ["", "TEMP", "AAA000", "SINPLACA", "A1", "1111111"]

FIRST_DAY = date(2026, 1, 5)
HIRE_DAYS_FROM_LEAD = [-400, -400, -95, -91, -90, -89, -30, 0, 7, 29, 30, 31, 36, 120, 120]
TIMES = [time(0, 0), time(0, 0, 1), time(12, 30), time(19, 5), time(23, 59, 59)]


@dataclass
class Human:
    """Whom the rows are about; two humans may well share a value."""

    name: str
    phone: str
    licence: str
    plate: str


def random_world(rng: Random) -> World:
    """Return a world of 3 to 30 drivers and about 5 to 40 lead records."""
    return grow_world(rng, World(), leads=rng.randint(5, 40), drivers=rng.randint(3, 30))


def grow_world(rng: Random, world: World, *, leads: int, drivers: int) -> World:
    """Return a copy of a world with so many more rows; the rows it has stay as they are."""
    world = deepcopy(world)
    humans = _distinct_humans(rng) if rng.random() < 0.6 else [_human(rng) for _ in range(rng.randint(3, 12))]
    if rng.random() < 0.25:
        _give_everybody_the_same(rng, humans)
    for _ in range(drivers):
        world.drivers.append(_driver(rng, len(world.drivers) + 1, rng.choice(humans)))
    busy = rng.choice(humans) if rng.random() < 0.35 else None
    for _ in range(leads):
        human = busy if busy and rng.random() < 0.5 else rng.choice(humans)
        kind = rng.choices(["cabinet", "scouting", "migrations"], [5, 4, 2])[0]
        if kind == "cabinet":
            world.cabinet.append(_cabinet(rng, world, human))
        elif kind == "scouting":
            world.scouting.append(_scouting(rng, world, human))
        else:
            world.migrations.append(_migration(rng, world))
    return world


def _human(rng: Random) -> Human:
    return Human(
        name=rng.choice(NAMES),
        phone=rng.choice(PHONES) if rng.random() < 0.85 else rng.choice(WEAK_PHONES),
        licence=rng.choice(LICENCES) if rng.random() < 0.85 else rng.choice(WEAK_LICENCES),
        plate=rng.choice(PLATES),
    )


def _distinct_humans(rng: Random) -> list[Human]:
    """Nobody shares a value, so that most collisions left are damage and re-registrations."""
    names, phones, licences, plates = (rng.sample(pool, len(pool)) for pool in (NAMES, PHONES, LICENCES, PLATES))
    humans = [Human(*values) for values in zip(names, phones, licences, plates, strict=False)]
    humans[0].phone = rng.choice(WEAK_PHONES)
    humans[1].licence = rng.choice(WEAK_LICENCES)
    return humans


def _give_everybody_the_same(rng: Random, humans: list[Human]) -> None:
    """A fleet owner's phone, a cooperative's licence, one car for all."""
    attribute = rng.choice(["phone", "licence", "plate"])
    for human in humans:
        if rng.random() < 0.7:
            setattr(human, attribute, getattr(humans[0], attribute))


# --- rows


def _driver(rng: Random, number: int, human: Human) -> Row:
    careful = rng.random() < 0.5
    full_name = human.name if careful else _name(rng, human.name)
    first_name, middle_name, last_name = _parts(rng, full_name)
    licence = human.licence if careful else _licence(rng, human.licence)
    plate = human.plate if careful else _plate(rng, human.plate)
    return {
        "id": number,
        "driver_id": f"{rng.getrandbits(96):024x}{number:08x}",
        "park_id": rng.choice(PARKS),
        "full_name": full_name if rng.random() < 0.8 else rng.choice([None, ""]),
        "first_name": first_name,
        "middle_name": middle_name,
        "last_name": last_name,
        "phone": f"51{human.phone}" if careful and len(human.phone) == 9 else _phone(rng, human.phone),
        "license_number": licence,
        "license_normalized_number": rng.choice(
            [licence, None, "", licence if careful else _licence(rng, human.licence)]
        ),
        "car_number": plate,
        "car_normalized_number": rng.choice([plate, None, "", plate if careful else _plate(rng, human.plate)]),
        "car_brand": rng.choice(["Kia", "TOYOTA", None]),
        "car_model": rng.choice(["Rio 2020", "Yaris", None]),
        "hire_date": _hire_date(rng),
    }


def _cabinet(rng: Random, world: World, human: Human) -> Row:
    first_name, middle_name, last_name = _parts(rng, _name(rng, human.name))
    return {
        "id": len(world.cabinet) + 1,
        "external_id": _external_id(rng, world),
        "lead_created_at": datetime.combine(_day(rng), rng.choice(TIMES)) if rng.random() < 0.95 else None,
        "first_name": first_name,
        "middle_name": middle_name,
        "last_name": last_name,
        "park_phone": _lead_phone(rng, human.phone) if rng.random() < 0.35 else None,
        "asset_plate_number": _plate(rng, human.plate),
        "asset_model": rng.choice(["RIO", "yaris", None]),
    }


def _scouting(rng: Random, world: World, human: Human) -> Row:
    return {
        "id": len(world.scouting) + 1,
        "registration_date": _day(rng),
        "scout_id": rng.randint(1, 4),
        "driver_name": _name(rng, human.name) or "",
        "driver_phone": _lead_phone(rng, human.phone),
        "driver_license": _licence(rng, human.licence),
    }


def _migration(rng: Random, world: World) -> Row:
    driver_id = rng.choice(world.drivers)["driver_id"] if world.drivers else None
    return {
        "id": len(world.migrations) + 1,
        "driver_id": rng.choice(
            [driver_id, driver_id, f" {(driver_id or '').upper()} ", f"{rng.getrandbits(128):032x}", None, ""]
        ),
        "driver_name": rng.choice(NAMES),
        "scout_id": rng.choice([1, 2, None]),
        "hire_date": _hire_date(rng),
        "created_at": _day(rng) if rng.random() < 0.8 else None,
    }


def _external_id(rng: Random, world: World) -> str | None:
    """Usually an id of the partner's; else missing, empty, or the id text of another row."""
    used = {row["external_id"] for row in world.cabinet}
    chance = rng.random()
    if chance < 0.6:
        return f"{rng.getrandbits(128):032x}"
    if chance < 0.75:
        # Only ids of rows still to come: a new row must not rename a record that an earlier run has linked.
        likely_id = str(len(world.cabinet) + rng.randint(2, 4))
        return likely_id if likely_id not in used else None
    if chance < 0.85 and "" not in used:
        return ""
    return None


# --- values, more or less damaged


def _day(rng: Random) -> date:
    return FIRST_DAY + timedelta(days=rng.choice([0, 0, 0, 1, 6]))


def _hire_date(rng: Random) -> date | None:
    return FIRST_DAY + timedelta(days=rng.choice(HIRE_DAYS_FROM_LEAD)) if rng.random() < 0.85 else None


def _name(rng: Random, name: str) -> str | None:
    chance = rng.random()
    if chance < 0.04:
        return None
    if chance < 0.12:
        return rng.choice(NON_NAMES)
    if chance < 0.18:
        return rng.choice(NAMES)
    words = name.split()
    if rng.random() < 0.25 and len(words) > 2:
        words.pop(rng.randrange(len(words)))
    if rng.random() < 0.1 and len(words) > 2:
        words.pop(rng.randrange(len(words)))
    if rng.random() < 0.15:
        position = rng.randrange(len(words))
        words[position] = _with_one_edit(rng, words[position])
    if rng.random() < 0.4:
        rng.shuffle(words)
    if rng.random() < 0.05:
        words.append(rng.choice(words))
    text = rng.choice([" ", " ", " ", "  ", "-", ", ", " \t"]).join(words)
    return rng.choice([text, text, text.lower(), text.title(), f" {text}. "])


def _with_one_edit(rng: Random, word: str) -> str:
    position = rng.randrange(len(word))
    letter = rng.choice("AEISZ")
    return rng.choice(
        [
            word[:position] + letter + word[position + 1 :],
            word[:position] + letter + word[position:],
            word[:position] + word[position + 1 :] or word,
        ]
    )


def _parts(rng: Random, name: str | None) -> tuple[str | None, str | None, str | None]:
    """Cut a name anywhere, as the source systems do."""
    if name is None:
        return None, rng.choice([None, ""]), None
    words = name.split()
    cut = rng.randint(0, len(words))
    rest = words[cut:]
    middle = rest.pop(0) if len(rest) > 1 and rng.random() < 0.5 else rng.choice([None, ""])
    return " ".join(words[:cut]) or None, middle, " ".join(rest) or None


def _phone(rng: Random, phone: str) -> str | None:
    chance = rng.random()
    if chance < 0.05:
        return None
    if chance < 0.12:
        return rng.choice(NON_PHONES)
    if chance < 0.17:
        return rng.choice(PHONES)
    if len(phone) != 9 or not phone.startswith("9"):
        return phone
    return rng.choice(
        [
            phone,
            f"51{phone}",
            f"+51 {phone[:3]} {phone[3:6]} {phone[6:]}",
            f"{phone[:3]}-{phone[3:6]}-{phone[6:]}",
            f"{phone[:3]}.{phone[3:6]}.{phone[6:]}",
            f"0051{phone}",
            f"(0){phone}",
            f"+51 0{phone}",
            f"cel. {phone} ",
        ]
    )


def _lead_phone(rng: Random, phone: str) -> str | None:
    if rng.random() < 0.04:
        return rng.choice(STRONG_LOOKING_WEAK_PHONES)
    return _phone(rng, phone)


def _licence(rng: Random, licence: str) -> str | None:
    chance = rng.random()
    if chance < 0.08:
        return None
    if chance < 0.18:
        return rng.choice(NON_LICENCES)
    if chance < 0.22:
        return rng.choice(LICENCES)
    return rng.choice([licence, licence.lower(), f"{licence[:1]}-{licence[1:]}", f" {licence[:4]} {licence[4:]} "])


def _plate(rng: Random, plate: str) -> str | None:
    chance = rng.random()
    if chance < 0.05:
        return None
    if chance < 0.1:
        return rng.choice(NON_PLATES)
    if chance < 0.15:
        return rng.choice(PLATES)
    return rng.choice([plate, plate.lower(), f"{plate[:3]}-{plate[3:]}", f"{plate[:3]} {plate[3:]}", f".{plate}"])


def describe(world: World) -> str:
    """Return the world's rows as text, for the message of a failed comparison."""
    tables: dict[str, list[dict[str, Any]]] = {
        "drivers": world.drivers,
        "cabinet": world.cabinet,
        "scouting": world.scouting,
        "migrations": world.migrations,
    }
    lines = []
    for table, rows in tables.items():
        lines += [f"{table}: {row}" for row in rows]
    return "\n".join(lines)
