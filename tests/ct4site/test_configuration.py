"""Configuration: one table, checked at start, safe in production."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ct4site import configuration

SECRET = "".join(chr(48 + number % 70) for number in range(0, 700, 11))  # long and varied, of no use elsewhere
PRODUCTION = {"CT4_ENV": "production", "CT4_SECRET_KEY": SECRET, "CT4_ALLOWED_HOSTS": "ct4.example.com"}


def manage(home: Path, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run manage.py as an operator would, with these CT4 variables only."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CT4_", "DJANGO_")) and k != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *arguments],
        cwd=settings.BASE_DIR, env={**inherited, "CT4_IN_ENVIRONMENT": "1", "CT4_HOME": str(home), **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_documented_table_is_the_table_the_code_reads() -> None:
    def shown(default: Any) -> str:
        text = ",".join(default) if isinstance(default, list) else str(default)
        return f"`{text.lower() if isinstance(default, bool) else text}`" if text else "none"

    text = (settings.BASE_DIR / "docs" / "configuration.md").read_text("utf-8")
    documented = re.findall(r"^\| (`\S+`) \| (.+?) \| (.+) \|$", text, re.MULTILINE)
    assert documented == [(f"`{v.name}`", shown(v.default), v.meaning) for v in configuration.VARIABLES]


def test_every_default_is_what_its_own_parser_would_return() -> None:
    for variable in configuration.VARIABLES:
        default = variable.default
        text = ",".join(default) if isinstance(default, list) else str(default)
        assert not text or variable.parse(text) == default, variable.name


def test_nothing_set_means_every_default() -> None:
    values = configuration.read({"CT4_WORKERS": "", "PATH": "/usr/bin"})
    assert values == {variable.name: variable.default for variable in configuration.VARIABLES}


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"CT4_CHUNKSIZE": "5"}, "CT4_CHUNKSIZE is not a setting of CT4. Did you mean CT4_CHUNK_SIZE?"),
        ({"CT4_WORKERS": "0"}, "CT4_WORKERS: '0' cannot be used, write a whole number from 1 to 64."),
        ({"CT4_WORKERS": "two"}, "CT4_WORKERS: 'two' cannot be used, write a whole number."),
        (
            {"CT4_NAME_SIMILARITY_GAP": "nan"},
            "CT4_NAME_SIMILARITY_GAP: 'nan' cannot be used, write a number from 0 to 1",
        ),
        ({"CT4_DEBUG": "si"}, "CT4_DEBUG: 'si' cannot be used, write true or false."),
        ({"CT4_ENV": "prod"}, "CT4_ENV: 'prod' cannot be used, write one of: development, production."),
        ({"CT4_SECRET_KEY": "short"}, "CT4_SECRET_KEY is too weak"),
        ({"CT4_SECRET_KEY": "a" * 60}, "CT4_SECRET_KEY is too weak"),
        ({**PRODUCTION, "CT4_SECRET_KEY": "django-insecure-" + SECRET}, "CT4_SECRET_KEY is too weak"),
        ({**PRODUCTION, "CT4_SECRET_KEY": " "}, "CT4_SECRET_KEY is missing"),
        ({**PRODUCTION, "CT4_ALLOWED_HOSTS": " , "}, "CT4_ALLOWED_HOSTS is missing"),
        ({**PRODUCTION, "CT4_ALLOWED_HOSTS": "*"}, "CT4_ALLOWED_HOSTS must name hosts"),
        ({**PRODUCTION, "CT4_DEBUG": "true"}, "CT4_DEBUG must not be on in production."),
    ],
)
def test_an_unusable_environment_is_refused_with_a_sentence(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        configuration.read(environment)
    assert sentence in str(caught.value)


def test_all_faults_are_told_at_once_and_secrets_are_never_repeated() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        configuration.read({"CT4_WORKERS": "x", "CT4_CHUNK_SIZE": "y", "CT4_SECRET_KEY": "hunter2"})
    assert "CT4_WORKERS" in str(caught.value)
    assert "CT4_CHUNK_SIZE" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_complete_production_environment_is_accepted() -> None:
    assert configuration.read(PRODUCTION)["CT4_ALLOWED_HOSTS"] == ["ct4.example.com"]


def test_the_local_secret_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = configuration.local_secret_key(tmp_path / "home")
    assert first == configuration.local_secret_key(tmp_path / "home")
    assert first != configuration.local_secret_key(tmp_path / "another")
    assert len(first) >= 50
    if os.name != "nt":
        assert stat.S_IMODE((tmp_path / "home" / "secret_key").stat().st_mode) == 0o600


def test_a_home_that_is_no_folder_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(ImproperlyConfigured, match="set CT4_HOME to a folder of your own"):
        configuration.local_secret_key(tmp_path / "home")


def test_the_deployment_check_reports_nothing_in_production(tmp_path: Path) -> None:
    result = manage(tmp_path, "check", "--deploy", "--fail-level", "DEBUG", environment=PRODUCTION)
    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout
    assert not (tmp_path / "secret_key").exists(), "production uses the given key only"
    assert not (tmp_path / "postgres").exists(), "checking starts no server"


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"CT4_SECRET": SECRET}, "CT4_SECRET is not a setting of CT4."),
        ({"CT4_ENV": "production"}, "CT4_SECRET_KEY is missing"),
        ({"DATABASE_URL": "mysql://root@localhost/ct4"}, "DATABASE_URL must read postgres://"),
    ],
)
def test_a_command_that_cannot_start_prints_one_line_and_no_traceback(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    result = manage(tmp_path, "check", environment=environment)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
