"""Normalisation as domain.md 4.2 and 4.5 state it, character by character.

Deliberately shares nothing with the SQL functions: two readings of one text are compared, not one reading with itself.
"""

import itertools
import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

STOP_WORDS = frozenset(["DE", "DEL", "LA", "LOS", "LAS", "EL", "Y", "E"])
PLACEHOLDER_NAME_WORDS = frozenset(
    [
        "TEST",
        "PRUEBA",
        "CONDUCTOR",
        "DRIVER",
        "SIN",
        "NOMBRE",
        "DATOS",
        "NN",
        "NA",
        "NO",
        "TIENE",
        "XX",
        "XXX",
        "NULL",
        "NONE",
        "PENDIENTE",
    ]
)
PLACEHOLDER_LICENCES = frozenset({"X", "XX", "XXX", "NA", "NONE", "NULL", "SINLICENCIA", "PENDIENTE"})
PLACEHOLDER_PHONES = frozenset({"123456789", "012345678", "234567890"})
NAME_SEPARATORS = frozenset("-‐‑‒–—−'’‘`´,;/\\_+")
TOKEN_LENGTH_FOR_ONE_EDIT = 5


@dataclass(frozen=True)
class Key:
    """An identifying value; a weak one never decides without help from the name (domain.md 4.5)."""

    value: str
    weak: bool = False


def phone(raw: str | None) -> Key | None:
    """Return the nine-digit key of a raw phone, or None when it is unusable or a placeholder (domain.md 4.5, Q2, Q3)."""
    digits = "".join(character for character in raw or "" if character in "0123456789")
    rest = digits.removeprefix("00")
    if rest.startswith("51") and len(rest) in (11, 12):
        rest = rest[2:]
    if len(rest) == 10 and rest.startswith("09"):
        rest = rest[1:]
    if len(rest) == 9 and rest.startswith("9"):
        key = Key(rest)
    elif 9 <= len(digits) <= 15:
        key = Key(digits[-9:], weak=True)
    else:
        return None
    if len(set(key.value)) == 1 or key.value in PLACEHOLDER_PHONES:
        return None
    return key


def licence(raw: str | None) -> Key | None:
    """Return a licence's key, weak unless it has a Peruvian shape, or None when it is a placeholder (domain.md 4.5, Q3)."""
    value = _letters_and_digits(raw)
    if len(value) < 6 or value.startswith("DRIVERDRAFT") or value in PLACEHOLDER_LICENCES or _says_nothing(value):
        return None
    clean = re.fullmatch(r"[A-Z][0-9]{8,9}|[A-Z]{2}[0-9]{6}", value)
    return Key(value, weak=clean is None)


def plate(raw: str | None) -> str | None:
    """Return a plate of five to seven letters and digits, or None (domain.md 4.5)."""
    value = _letters_and_digits(raw)
    if not 5 <= len(value) <= 7 or _says_nothing(value):
        return None
    return value


def name(raw: str | None) -> str | None:
    """Return a name in upper-case words A-Z, or None when nothing or only placeholder words remain (domain.md 4.5)."""
    kept = []
    for character in unicodedata.normalize("NFKD", raw or ""):
        if unicodedata.category(character) == "Mn":
            continue
        if character in NAME_SEPARATORS or character.isspace():
            kept.append(" ")
            continue
        kept.extend(letter for letter in character.upper() if "A" <= letter <= "Z")
    words = "".join(kept).split()
    if all(word in PLACEHOLDER_NAME_WORDS for word in words):
        return None
    return " ".join(words)


def tokens(normalised_name: str | None) -> frozenset[str]:
    """Return the set of words of a normalised name without particles (domain.md 4.1)."""
    return frozenset((normalised_name or "").split()) - STOP_WORDS


def similarity(a: frozenset[str], b: frozenset[str]) -> Fraction:
    """Return the similarity of two token sets, exactly (domain.md 4.2); 0 when one is empty."""
    if not a or not b:
        return Fraction(0)
    common = len(a & b)
    return (Fraction(common, len(a | b)) + Fraction(common, max(len(a), len(b)))) / 2


def share_a_token(a: frozenset[str], b: frozenset[str]) -> bool:
    """Say whether two names have a word in common, one edit forgiven from five letters on (decision Q76)."""
    for one in a:
        for other in b:
            if one == other:
                return True
            long_enough = min(len(one), len(other)) >= TOKEN_LENGTH_FOR_ONE_EDIT
            if long_enough and within_one_edit(one, other):
                return True
    return False


def within_one_edit(a: str, b: str) -> bool:
    """Say whether one insertion, deletion or substitution at most turns a into b."""
    if a == b:
        return True
    if len(a) == len(b):
        return sum(x != y for x, y in zip(a, b, strict=True)) == 1
    shorter, longer = sorted((a, b), key=len)
    if len(longer) - len(shorter) > 1:
        return False
    return any(longer[:i] + longer[i + 1 :] == shorter for i in range(len(longer)))


def within_one_slip(a: str, b: str) -> bool:
    """Say whether one edit at most, or two neighbours swapped, turn a into b (decision Q79)."""
    return within_one_edit(a, b) or any(a[:i] + a[i + 1] + a[i] + a[i + 2 :] == b for i in range(len(a) - 1))


def is_cut_short(a: frozenset[str], b: frozenset[str]) -> bool:
    """Say whether every word of one name, two at least, is a word of its own in the other, slips forgiven (decision Q79)."""
    shorter, longer = sorted((a, b), key=len)
    if len(shorter) < 2:
        return False
    mine, theirs = shorter - longer, longer - shorter
    return any(
        all(min(map(len, pair)) >= 4 and within_one_slip(*pair) for pair in zip(mine, chosen, strict=True))
        for chosen in itertools.permutations(theirs, len(mine))
    )


def _letters_and_digits(raw: str | None) -> str:
    return "".join(re.findall("[A-Z0-9]", (raw or "").upper()))


def _says_nothing(value: str) -> bool:
    """No digit, only zeros for digits, or one character repeated."""
    return not set(value) & set("123456789") or len(set(value)) == 1
