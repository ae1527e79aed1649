"""Every text a person sees exists in Spanish, and the compiled catalog is the one that was reviewed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polib
import pytest
from django.conf import settings

CATALOG = settings.BASE_DIR / "ct4site" / "locale" / "es" / "LC_MESSAGES" / "django.po"
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[sdrf%]|\{\w*\}")
Key = tuple[str | None, str, str]


@pytest.fixture(scope="module")
def catalog() -> polib.POFile:
    assert CATALOG.exists(), "the Spanish catalog is missing: run `make messages`"
    return polib.pofile(str(CATALOG))


def texts(catalog: polib.POFile | polib.MOFile) -> dict[Key, tuple[str, dict[int, str]]]:
    return {
        (entry.msgctxt, entry.msgid, entry.msgid_plural): (entry.msgstr, entry.msgstr_plural)
        for entry in catalog
        if not entry.obsolete
    }


def test_every_text_is_translated_and_reviewed(catalog: polib.POFile) -> None:
    assert [entry.msgid for entry in catalog.untranslated_entries()] == []
    assert [entry.msgid for entry in catalog.fuzzy_entries()] == []


def test_translations_keep_the_placeholders_of_their_source(catalog: polib.POFile) -> None:
    changed = []
    for entry in catalog.translated_entries():
        allowed = [sorted(PLACEHOLDER.findall(text)) for text in (entry.msgid, entry.msgid_plural) if text]
        for translation in [entry.msgstr, *entry.msgstr_plural.values()]:
            if translation and sorted(PLACEHOLDER.findall(translation)) not in allowed:
                changed.append((entry.msgid, translation))
    assert changed == []


def test_the_compiled_catalog_holds_what_the_source_says(catalog: polib.POFile) -> None:
    compiled = CATALOG.with_suffix(".mo")
    assert compiled.exists(), "the compiled catalog is missing: run `manage.py compile_translations`"
    translated = {
        key: value for key, value in texts(catalog).items() if value[0] or (value[1] and all(value[1].values()))
    }
    assert texts(polib.mofile(str(compiled))) == translated, "run `manage.py compile_translations`"


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="GNU gettext, which finds the texts, is not installed")
@pytest.mark.slow
@pytest.mark.slow
def test_no_text_in_code_or_templates_is_missing_from_the_catalog(catalog: polib.POFile, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns(".*", "tests", "bench", "docs", "__pycache__", "staticfiles", "requirements")
    shutil.copytree(settings.BASE_DIR, copy, ignore=ignored)
    found = copy / CATALOG.relative_to(settings.BASE_DIR)
    found.unlink()
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    result = subprocess.run(
        [sys.executable, "manage.py", "makemessages", "--locale", "es", "--no-location"],
        cwd=copy, env={**environment, "CT4_IN_ENVIRONMENT": "1", "CT4_HOME": str(tmp_path / "home")},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    wanted = texts(polib.pofile(str(found)))
    assert len(wanted) > 10, "makemessages found next to nothing"
    assert sorted(key[1] for key in wanted.keys() - texts(catalog).keys()) == [], "run `make messages`"
