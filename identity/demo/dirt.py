"""How people write phones, licences, plates and names (domain.md 2.8): clean values in, raw field texts out."""

from identity.demo.dice import Dice
from identity.demo.names import without_accents

LICENCE_JUNK = [
    "X",
    "X",
    "-",
    "SIN DATOS",
    "sin datos",
    "Q00000000",
    "XXXXXXXX",
    "00000000",
    "S/D",
    "NO TIENE",
    "PENDIENTE",
    "N/A",
    ".",
]
# What scouts type when they have no licence at hand and the form wants one: clean in shape, in no list of placeholders.
UNLISTED_LICENCES = [
    "Q12345678",
    "A12345678",
    "Q11223344",
    "Q12121212",
    "B12345678",
    "Q98765432",
    "Q12312312",
    "A11223344",
]
PHONE_JUNK = [
    "999999999",
    "000000000",
    "999 999 999",
    "51999999999",
    "123456789",
    "1",
    "-",
    "12345",
    "anexo 12",
    "٩٩٩٩٩٩٩٩٩",
]
PHONE_JUNK += ["955501234 / 955505678"]  # two phones in one cell
DRIVER_PHONE_JUNK = [None, "", "(01) 555-0142", "51 98", "999999999", "000000000", "+58 412 5550142", "no tiene"]
PLATE_JUNK = ["AAA000", "-", "TEMP", "S/P", "000-000"]
JUNK_NAMES = ["TEST", "Prueba", "CONDUCTOR", "test test", "NN", "SIN NOMBRE"]


def _grouped(phone: str, separator: str) -> str:
    return f"{phone[:3]}{separator}{phone[3:6]}{separator}{phone[6:]}"


def phone_in_drivers(dice: Dice, phone: str) -> str:
    """Write a nine-digit mobile as the drivers table holds it: mostly 51 in front, with or without plus."""
    roll = dice.roll()
    if roll < 0.68:
        return f"51{phone}"
    if roll < 0.93:
        return f"+51{phone}"
    if roll < 0.96:
        return f"+51 {_grouped(phone, ' ')}"
    if roll < 0.98:
        return _grouped(phone, "-")
    return _grouped(phone, ".")


def phone_in_lead(dice: Dice, phone: str) -> str:
    """Write a nine-digit mobile as a scout or a cabinet form holds it: mostly bare."""
    roll = dice.roll()
    if roll < 0.72:
        return phone
    if roll < 0.82:
        return f"51{phone}"
    if roll < 0.88:
        return f"+51{phone}"
    if roll < 0.93:
        return _grouped(phone, " ")
    if roll < 0.96:
        return f"+51 {_grouped(phone, '-')}"
    if roll < 0.98:
        return f" {phone} "
    return f"(51) {_grouped(phone, '.')}"


def licence_in_lead(dice: Dice, licence: str) -> str:
    """Write a licence as a scout types it."""
    roll = dice.roll()
    if roll < 0.74:
        return licence
    if roll < 0.86:
        return licence.lower()
    if roll < 0.92:
        return f"{licence[0]}-{licence[1:]}"
    if roll < 0.97:
        return f"{licence[0].lower()} {licence[1:]}"
    return f" {licence} "


def plate_raw(dice: Dice, plate: str, clean: float = 0.6) -> str:
    """Write a six-character plate, in `clean` of the cases without dirt."""
    if dice.chance(clean):
        return plate
    style = dice.below(5)
    if style == 0:
        return f"{plate[:3]}-{plate[3:]}"
    if style == 1:
        return f"{plate[:3]} {plate[3:]}".lower()
    if style == 2:
        return plate.lower()
    if style == 3:
        return f"{plate[:3]}.{plate[3:]}"
    return f" {plate[:3]}-{plate[3:]}"


def junk_licence(dice: Dice, number: int) -> str:
    """Return a placeholder licence; one in four is Yango's draft marker with a number of its own."""
    if dice.chance(0.25):
        return draft_licence(dice, number)
    return dice.pick(LICENCE_JUNK)


def draft_licence(dice: Dice, number: int) -> str:
    """Return the licence that Yango gives to the draft of an account."""
    return "DRIVERDRAFT" + dice.hex_id("draft", number)


def wrong_digit(dice: Dice, value: str, first: int) -> str:
    """Return `value` with one digit at or after index `first` changed."""
    index = first + dice.below(len(value) - first)
    while not value[index].isdigit():
        index = first + dice.below(len(value) - first)
    digit = (int(value[index]) + dice.between(1, 9)) % 10
    return f"{value[:index]}{digit}{value[index + 1 :]}"


def wrong_letter(dice: Dice, token: str) -> str:
    """Return `token` with one typing error inside: two letters swapped, one doubled or one lost."""
    if len(token) < 4:
        return token
    index = dice.between(1, len(token) - 2)
    style = dice.below(3)
    if style == 0:
        return token[:index] + token[index + 1] + token[index] + token[index + 2 :]
    if style == 1:
        return token[: index + 1] + token[index:]
    return token[:index] + token[index + 1 :]


def cased(dice: Dice, text: str) -> str:
    """Write a name in some writer's habit of capitals and accents; now and then with a double blank."""
    roll = dice.roll()
    if roll < 0.40:
        text = without_accents(text).upper()
    elif roll < 0.62:
        text = text.upper()
    elif roll < 0.78:
        text = without_accents(text)
    elif roll < 0.84:
        text = text.lower()
    if dice.chance(0.03):
        text = text.replace(" ", "  ", 1)
    return text
