"""Normalisers and name functions of sql/functions: the vectors of domain.md 4.6, properties, and independent oracles."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import phonenumbers
import pytest
from anyascii import anyascii
from django.db import connection
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from tests.oracle import normalise

pytestmark = pytest.mark.django_db


def ask(expression: str, *columns: Sequence[Any], types: str = "text") -> list[Any]:
    """Evaluate an SQL expression over ``a``, ``b``... for many values at once; return one answer per value."""
    names = [chr(ord("a") + place) for place in range(len(columns))]
    arrays = ", ".join([f"%s::{types}[]"] * len(columns))
    query = f"select {expression} from unnest({arrays}) with ordinality as v ({', '.join(names)}, place) order by place"
    with connection.cursor() as cursor:
        cursor.execute(query, [list(column) for column in columns])
        return [row[0] if len(row) == 1 else row for row in cursor.fetchall()]


def phone_keys(values: Sequence[str | None]) -> list[normalise.Key | None]:
    rows = ask("canon.normalize_phone(a), canon.phone_is_weak(a)", values)
    return [None if key is None else normalise.Key(key, weak) for key, weak in rows]


def licence_keys(values: Sequence[str | None]) -> list[normalise.Key | None]:
    rows = ask("canon.normalize_license(a), canon.license_is_clean(canon.normalize_license(a))", values)
    return [None if key is None else normalise.Key(key, not clean) for key, clean in rows]


def plates(values: Sequence[str | None]) -> list[str | None]:
    return ask("canon.normalize_plate(a)", values)


def names(values: Sequence[str | None]) -> list[str | None]:
    return ask("canon.normalize_name(a)", values)


def over_tokens(function: str, first: Sequence[Sequence[str]], second: Sequence[Sequence[str]]) -> list[Any]:
    """Evaluate a function of two token sets; words travel joined, because unnest flattens arrays of arrays."""
    call = f"{function}(string_to_array(nullif(a, ''), ' '), string_to_array(nullif(b, ''), ' '))"
    call = call.replace("string_to_array(nullif(", "coalesce(string_to_array(nullif(").replace("' ')", "' '), '{}')")
    return ask(call, [" ".join(words) for words in first], [" ".join(words) for words in second])


# --- vectors of domain.md 4.6 and what follows from 4.5 and F24


def strong(value: str) -> normalise.Key:
    return normalise.Key(value)


def weak(value: str) -> normalise.Key:
    return normalise.Key(value, weak=True)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("+51 987-654-321", strong("987654321")),
        ("987654321", strong("987654321")),
        ("987.654.321", strong("987654321")),
        ("51987654321", strong("987654321")),
        ("0051987654321", strong("987654321")),
        ("+51 0987654321", strong("987654321")),
        ("0987654321", strong("987654321")),
        ("00 51 0 987 654 321", strong("987654321")),
        ("(+51) 987-654-321", strong("987654321")),
        ("cel: 987654321", strong("987654321")),
        ("1234567", None),
        ("98765432", None),
        ("", None),
        ("   ", None),
        (None, None),
        ("anexo 12", None),
        ("+51 999 999 999", None),
        ("999999999", None),
        ("000000000", None),
        ("0051 999999999", None),
        ("123456789", None),
        ("012345678", None),
        ("234567890", None),
        ("+54 11 2345-6789", None),
        ("51" * 8, None),
        ("٩٨٧٦٥٤٣٢١", None),
        ("987654321 / 912345678", None),
        ("9" * 30, None),
        ("014567890", weak("014567890")),
        ("(01) 456-7890", weak("014567890")),
        ("+51 1 4567890", weak("114567890")),
        ("+1 305 987654321", weak("987654321")),
        ("987654321 anexo 12", weak("765432112")),
        ("12345678901", weak("345678901")),
        ("4" + "987654321" + "12345", weak("432112345")),
    ],
)
def test_a_phone_becomes_its_nine_digits(raw: str | None, key: normalise.Key | None) -> None:
    assert phone_keys([raw]) == [key]


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("q-12345678", strong("Q12345678")),
        ("Q12345678", strong("Q12345678")),
        (" q 1234 56789 ", strong("Q123456789")),
        ("ab123456", strong("AB123456")),
        ("q1234567", weak("Q1234567")),
        ("Q1234567", weak("Q1234567")),
        ("12345678", weak("12345678")),
        ("O12345678", strong("O12345678")),
        ("012345678", weak("012345678")),
        ("AB1234567", weak("AB1234567")),
        ("X", None),
        ("DRIVERDRAFT0123456789abcdef0123456789abcdef", None),
        ("driverdraft-1234567", None),
        ("SIN DATOS", None),
        ("sin datos", None),
        ("S/D", None),
        ("N/A", None),
        ("NO TIENE", None),
        ("PENDIENTE", None),
        ("SINLICENCIA", None),
        ("-", None),
        (".", None),
        ("0", None),
        ("Q00000000", None),
        ("XXXXXXXX", None),
        ("11111111", None),
        ("A1234", None),
        ("", None),
        (None, None),
    ],
)
def test_a_licence_keeps_letters_and_digits_unless_it_is_a_placeholder(
    raw: str | None, key: normalise.Key | None
) -> None:
    assert licence_keys([raw]) == [key]


@pytest.mark.parametrize(
    ("raw", "plate"),
    [
        ("abc-123", "ABC123"),
        ("ABC123", "ABC123"),
        ("a1b 234", "A1B234"),
        (".ABC.123.", "ABC123"),
        ("CDE45", "CDE45"),
        ("F1G2345", "F1G2345"),
        ("AAA000", None),
        ("000-000", None),
        ("1111111", None),
        ("TEMP", None),
        ("SINPLACA", None),
        ("TEMPORA", None),
        ("AB12", None),
        ("ABCD1234", None),
        ("", None),
        (None, None),
    ],
)
def test_a_plate_keeps_letters_and_digits_unless_it_is_a_placeholder(raw: str | None, plate: str | None) -> None:
    assert plates([raw]) == [plate]


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("José de la Cruz Peña", "JOSE DE LA CRUZ PENA"),
        ("Jose-Luis Rojas", "JOSE LUIS ROJAS"),
        ("MARÍA   ÑAHUI", "MARIA NAHUI"),
        ("  quispe\tmamani \n juan ", "QUISPE MAMANI JUAN"),
        ("QUISPE MAMANI, JUAN", "QUISPE MAMANI JUAN"),
        ("D'Angelo O’Brien", "D ANGELO O BRIEN"),
        ("Rojas/Salas_Vega+Luz;Ana\\Eva", "ROJAS SALAS VEGA LUZ ANA EVA"),
        ("Ana–María—Luz‑Eva−Sol‐Paz‒Mar", "ANA MARIA LUZ EVA SOL PAZ MAR"),
        ("Güelly Núñez", "GUELLY NUNEZ"),
        ("J. Quispe 2", "J QUISPE"),
        ("ﬁdel ＱＵＩＳＰＥ", "FIDEL QUISPE"),
        (" 123 ", None),
        ("...", None),
        ("sin nombre", None),
        ("CONDUCTOR test", None),
        ("N.N.", None),
        ("NO TIENE", None),
        ("Test Quispe", "TEST QUISPE"),
        ("Quispe Test", "QUISPE TEST"),
        ("Testa", "TESTA"),
        ("", None),
        (None, None),
    ],
)
def test_a_name_becomes_plain_words(raw: str | None, name: str | None) -> None:
    assert names([raw]) == [name]


def test_particles_and_repeated_words_are_not_tokens() -> None:
    values = ["JOSE DE LA CRUZ PENA", "ANA DEL LOS LAS EL Y E ANA", "DE LA", None]
    assert ask("canon.name_tokens(a)", values) == [["JOSE", "CRUZ", "PENA"], ["ANA"], [], []]


def test_a_name_key_is_the_same_in_any_order_and_null_without_words() -> None:
    values = ["JUAN QUISPE DE MAMANI", "MAMANI JUAN QUISPE JUAN", "DE LA", None]
    assert ask("canon.name_key(a)", values) == ["JUAN MAMANI QUISPE", "JUAN MAMANI QUISPE", None, None]


# --- similarity, domain.md 4.2


@pytest.mark.parametrize(
    ("first", "second", "common", "similarity", "passes"),
    [
        (4, 4, 4, "1.0000", True),
        (4, 3, 3, "0.7500", True),
        (5, 4, 4, "0.8000", True),
        (5, 5, 4, "0.7333", True),
        (4, 4, 3, "0.6750", True),
        (3, 2, 2, "0.6667", True),
        (3, 3, 2, "0.5833", False),
        (5, 4, 3, "0.5500", False),
        (4, 2, 2, "0.5000", False),
        (3, 3, 0, "0.0000", False),
        (3, 0, 0, "0.0000", False),
        (0, 0, 0, "0.0000", False),
    ],
)
def test_similarity_follows_its_table(first: int, second: int, common: int, similarity: str, passes: bool) -> None:
    a = [f"COMMON{i}" for i in range(common)] + [f"A{i}" for i in range(first - common)]
    b = [f"B{i}" for i in range(second - common)] + [f"COMMON{i}" for i in range(common)]
    values = over_tokens("canon.name_similarity", [a, b], [b, a])
    assert [f"{value:.4f}" for value in values] == [similarity, similarity]
    assert (values[0] >= 0.66) == passes


def test_a_joined_name_is_no_longer_far_from_its_parts() -> None:
    joined, apart = names(["Jose-Luis Rojas", "ROJAS JOSE LUIS"])
    assert over_tokens("canon.name_similarity", [joined.split()], [apart.split()]) == [1.0]
    assert over_tokens("canon.name_similarity", [["JOSELUIS", "ROJAS"]], [["ROJAS", "JOSE", "LUIS"]]) == [
        pytest.approx(0.2917, abs=1e-4)
    ]


words = st.text("ABC", min_size=1, max_size=7)
token_sets = st.lists(words, max_size=5, unique=True)


@settings(max_examples=20)
@given(st.lists(st.tuples(token_sets, token_sets), min_size=20, max_size=60))
@pytest.mark.slow
def test_similarity_is_symmetric_and_as_the_formula_says(pairs: list[tuple[list[str], list[str]]]) -> None:
    first, second = [list(column) for column in zip(*pairs, strict=True)]
    values = over_tokens("canon.name_similarity", first, second)
    assert values == over_tokens("canon.name_similarity", second, first)
    expected = [float(normalise.similarity(frozenset(a), frozenset(b))) for a, b in pairs]
    assert values == pytest.approx(expected, abs=1e-12)


def levenshtein(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above_left, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above_left, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above_left + (x != y))
    return row[-1]


@settings(max_examples=20)
@given(st.lists(st.tuples(words, words), min_size=20, max_size=80))
@example(
    [("MAMANI", "MAMANY"), ("QUISPE", "QUIPSE"), ("FLORES", "FLORE"), ("A", "B"), ("A", ""), ("", ""), ("AB", "BA")]
)
def test_within_one_edit_is_levenshtein_of_at_most_one(pairs: list[tuple[str, str]]) -> None:
    first, second = zip(*pairs, strict=True)
    assert ask("canon.within_one_edit(a, b)", first, second) == [levenshtein(a, b) <= 1 for a, b in pairs]


@settings(max_examples=20)
@given(st.lists(st.tuples(words, words), min_size=20, max_size=80))
@example([("SALAZAR", "SAALZAR"), ("MAMANI", "MAMANY"), ("AB", "BA"), ("ABC", "CBA"), ("ABCD", "BADC"), ("", "AB")])
def test_one_slip_is_one_edit_or_two_neighbours_swapped(pairs: list[tuple[str, str]]) -> None:
    first, second = zip(*pairs, strict=True)
    assert ask("canon.within_one_slip(a, b)", first, second) == [normalise.within_one_slip(a, b) for a, b in pairs]


@pytest.mark.parametrize(
    ("one", "other", "likeness"),
    [
        ("SALAZAR KCOMT DAVID", "DAVID CHRISTIAN SAALZAR KCOMT", 1),  # swapped letters, cut short
        ("GONZALES CRUZ FRANKLIN JUAN", "GONZALSE CRUZ FRANKLIN", 1),
        ("FLORES PAREDES VICTOR", "FLORES PAREDES EDWIN", 0.5833),
        ("MARIA MARIO", "MARIB QUISPE", 0.4167),  # a word answers for one
        ("JOSE", "JOSE PEREZ", 0.5),  # one word is no name
        ("ANA RUIZ", "LUZ DIAZ", 0),
    ],
)
def test_likeness_forgives_slips_and_names_cut_short(one: str, other: str, likeness: float) -> None:
    values = over_tokens("canon.name_likeness", [one.split(), other.split()], [other.split(), one.split()])
    assert values == [pytest.approx(likeness, abs=1e-4)] * 2


@pytest.mark.parametrize(
    ("one", "his", "other", "theirs", "may_be"),
    [
        ("FLORES PAREDES VICTOR", "Q23732718", "FLORES PAREDES EDWIN", "Q61929319", False),  # a family's phone
        ("FLORES PAREDES VICTOR", None, "FLORES PAREDES EDWIN", "Q61929319", True),  # alike by half, nothing against it
        ("FLORES PAREDES VICTOR", "Q61929319", "FLORES PAREDES EDWIN", "Q61929391", True),  # one licence, a slip
        ("FLORES PAREDES VICTOR", "Q23732718", "VICTOR FLORES", "Q61929319", True),  # one name, another licence
        ("FLORES PAREDES VICTOR", None, "VICTOR QUISPE MAMANI", None, False),
    ],
)
def test_who_shares_a_key_may_be_one_human_by_name_and_licence(
    one: str, his: str | None, other: str, theirs: str | None, may_be: bool
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "select canon.may_be_one_human(%(a)s, %(his)s, %(b)s, %(theirs)s),"
            " canon.may_be_one_human(%(b)s, %(theirs)s, %(a)s, %(his)s)",
            {"a": one.split(), "his": his, "b": other.split(), "theirs": theirs},
        )
        assert cursor.fetchone() == (may_be, may_be)


@settings(max_examples=20)
@given(st.lists(st.tuples(token_sets, token_sets), min_size=20, max_size=60))
@example([(["LUIS"], ["LUIZ"]), (["FLORES"], ["FLORE"]), (["FLORE"], ["FLOR"]), ([], [])])
def test_names_share_a_token_within_one_edit_from_five_letters_on(pairs: list[tuple[list[str], list[str]]]) -> None:
    first, second = [list(column) for column in zip(*pairs, strict=True)]
    values = over_tokens("canon.names_share_token", first, second)
    assert values == over_tokens("canon.names_share_token", second, first)
    assert values == [normalise.share_a_token(frozenset(a), frozenset(b)) for a, b in pairs]


# --- against an independent reading, on dirty text

# What fields of Peruvian feeds are made of, and what gets into them: other scripts' digits, marks, typographic signs.
DIRT = "0123456789" * 4 + "ABCQSTXZabcqstxz" * 2 + " .,-+()/'" * 2
DIRT += "áéíóúüñçÁÉÍÓÚÜÑÇàèìòùâêîôûäëïöãõÅø×ªº°´`’‘“”–—‐‑‒−_;\\\t\n\r\u00a0\u0301\u0303\u200b٩٨１２Ａа漢🙂"
dirty_texts = st.lists(
    st.one_of(
        st.none(),
        st.text(DIRT, max_size=24),
        st.text("0123459 +-().", max_size=18),
        st.from_regex(r"\A(00|\+)?(51)?[ -]?0?9[0-9]{8}[ .]?\Z"),
        st.from_regex(r"\A[A-Za-z]{0,3}[- ]?[0-9]{3,9}\Z"),
        st.lists(st.sampled_from(["TEST", "sin", "nombre", "NN", "José", "de", "DRIVER", "xx", "Quispe"])).map(
            " ".join
        ),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=30)
@given(dirty_texts)
@pytest.mark.slow
def test_the_sql_reads_dirty_text_as_the_oracle_does(values: list[str | None]) -> None:
    for ours, theirs in [
        (phone_keys, normalise.phone),
        (licence_keys, normalise.licence),
        (plates, normalise.plate),
        (names, normalise.name),
    ]:
        differing = [
            (value, found, theirs(value))
            for value, found in zip(values, ours(values), strict=True)
            if found != theirs(value)
        ]
        assert differing == [], f"{theirs.__name__}: (raw, SQL, oracle)"


@settings(max_examples=20)
@given(dirty_texts)
@pytest.mark.slow
def test_tokens_are_those_of_the_oracle(values: list[str | None]) -> None:
    found = ask("canon.name_tokens(canon.normalize_name(a))", values)
    assert [frozenset(tokens) for tokens in found] == [normalise.tokens(normalise.name(value)) for value in values]
    assert all(len(set(tokens)) == len(tokens) for tokens in found)


@settings(max_examples=20)
@given(dirty_texts)
def test_normalising_twice_is_normalising_once(values: list[str | None]) -> None:
    for function in ("normalize_phone", "normalize_license", "normalize_plate", "normalize_name", "fold_name"):
        once = ask(f"canon.{function}(a)", values)
        assert ask(f"canon.{function}(a)", once) == once, function


# --- the format does not matter


def interspersed(draw: st.DrawFn, text: str, signs: str) -> str:
    return "".join(draw(st.text(signs, max_size=2)) + character for character in text) + draw(
        st.text(signs, max_size=2)
    )


@st.composite
def mobiles_in_any_format(draw: st.DrawFn) -> tuple[str, str]:
    number = "9" + draw(st.text("0123456789", min_size=8, max_size=8))
    prefix = draw(st.sampled_from(["", "0", "51", "+51", "0051", "510", "+510", "00510", "00"]))
    return number, interspersed(draw, prefix + number, " .-()")


@settings(max_examples=20)
@given(st.lists(mobiles_in_any_format(), min_size=10, max_size=50))
def test_a_mobile_has_one_key_in_every_format(mobiles: list[tuple[str, str]]) -> None:
    plain, written = zip(*mobiles, strict=True)
    expected = [None if len(set(number)) == 1 else normalise.Key(number) for number in plain]
    assert phone_keys(written) == phone_keys(plain) == expected


@st.composite
def codes_in_any_format(draw: st.DrawFn) -> tuple[str, str]:
    code = draw(st.from_regex(r"\A([A-Z]{1,3}[0-9]{3,9}|[A-Z][0-9][A-Z][0-9]{3})\Z"))
    written = draw(st.sampled_from([code, code.lower(), code.title()]))
    return code, interspersed(draw, written, " .-/")


@settings(max_examples=20)
@given(st.lists(codes_in_any_format(), min_size=10, max_size=50))
@pytest.mark.slow
def test_licences_and_plates_do_not_depend_on_case_blanks_and_signs(codes: list[tuple[str, str]]) -> None:
    plain, written = zip(*codes, strict=True)
    assert licence_keys(written) == licence_keys(plain)
    assert plates(written) == plates(plain)


@settings(max_examples=20)
@given(
    st.lists(st.text("ABCXYZ", min_size=1, max_size=6), min_size=1, max_size=4),
    st.lists(st.sampled_from([" ", "  ", "-", ", ", "\t", "/", "'", " – "]), min_size=3, max_size=3),
)
def test_a_name_does_not_depend_on_case_and_separators(parts: list[str], separators: list[str]) -> None:
    joined = parts[0] + "".join(sign + part for sign, part in zip(separators, parts[1:], strict=False))
    plain = " ".join(parts)
    assert names([joined, joined.lower(), f" {joined.title()}. "]) == names([plain] * 3)


# --- independent libraries as oracles

FORMATS = [
    PhoneNumberFormat.E164,
    PhoneNumberFormat.INTERNATIONAL,
    PhoneNumberFormat.NATIONAL,
    PhoneNumberFormat.RFC3966,
]


def mobile_by_phonenumbers(raw: str) -> str | None:
    """Return the national number of what the library calls a valid Peruvian mobile."""
    try:
        number = phonenumbers.parse(raw, "PE")
    except phonenumbers.NumberParseException:
        return None
    is_peruvian = number.country_code == 51 and phonenumbers.is_valid_number(number) and number.extension is None
    if not is_peruvian or phonenumbers.number_type(number) != PhoneNumberType.MOBILE:
        return None
    return str(number.national_number)


@settings(max_examples=20)
@given(st.lists(st.from_regex(r"\A9[0-9]{8}\Z"), min_size=20, max_size=60))
@pytest.mark.slow
def test_whatever_phonenumbers_calls_a_peruvian_mobile_is_a_strong_key(numbers: list[str]) -> None:
    written: dict[str, str] = {}
    for number in numbers:
        parsed = phonenumbers.parse(number, "PE")
        texts = [phonenumbers.format_number(parsed, style) for style in FORMATS]
        for text in [
            *texts,
            f"51{number}",
            f"0051{number}",
            f"0{number}",
            f"+51 0{number}",
            f"{number[:3]}-{number[3:]}",
        ]:
            valid = mobile_by_phonenumbers(text)
            if valid is not None and len(set(valid)) > 1:
                written[text] = valid
    assert len(written) >= len(set(numbers)) - 1, "phonenumbers knows hardly any of these as mobiles"
    assert phone_keys(list(written)) == [normalise.Key(number) for number in written.values()]


def test_no_land_line_that_phonenumbers_knows_is_a_strong_key() -> None:
    example = phonenumbers.example_number_for_type("PE", PhoneNumberType.FIXED_LINE)
    texts = [phonenumbers.format_number(example, style) for style in FORMATS]
    assert all(key is None or key.weak for key in phone_keys(texts))


def test_letters_with_marks_fold_as_anyascii_folds_them() -> None:
    letters = [
        letter for letter in map(chr, range(0xC0, 0x180)) if unicodedata.normalize("NFKD", letter)[0] in ascii_letters
    ]
    assert set("áéíóúüñÁÉÍÓÚÜÑçàèìòùâêîôûäëïöãõ") <= set(letters)
    assert names([f"{letter}b" for letter in letters]) == [anyascii(f"{letter}b").upper() for letter in letters]
