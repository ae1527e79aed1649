"""The two commands of the README: what they do before anything is installed, and what `test` hands on."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands

ROOT: Path = settings.BASE_DIR
PINS = sorted((ROOT / "requirements").glob("*.txt"))


def run_tests(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "test", *arguments],
        cwd=ROOT, env={**os.environ, "CT4_IN_ENVIRONMENT": "1", **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_the_test_command_hands_every_argument_to_pytest() -> None:
    result = run_tests(
        "-p", "xdist", "-n", "0", "--collect-only", "-q", "-k", "hands_every", "tests/ct4site/test_setup.py"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "test_the_test_command_hands_every_argument_to_pytest" in result.stdout


@pytest.mark.slow
def test_even_the_version_is_pytests_own() -> None:
    assert "pytest" in run_tests("--version").stdout


@pytest.mark.slow
@pytest.mark.parametrize(("body", "code"), [("def test_it(): assert False", 1), ("", 5)], ids=["failure", "no tests"])
def test_the_test_command_ends_with_the_exit_code_of_pytest(tmp_path: Path, body: str, code: int) -> None:
    (tmp_path / "test_one.py").write_text(body)
    result = run_tests("-q", "-c", str(ROOT / "pyproject.toml"), str(tmp_path))
    assert result.returncode == code, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("build_machine", "code"), [("true", 1), ("", 0)], ids=["build machine", "desk"])
def test_skipped_browser_tests_fail_a_build_machine_only(tmp_path: Path, build_machine: str, code: int) -> None:
    (tmp_path / "test_one.py").write_text(
        "import pytest\n@pytest.mark.browser\ndef test_it(): pytest.skip('no Chromium')\ndef test_other(): pass\n"
    )
    result = run_tests("-q", "-c", "pyproject.toml", "-p", "tests.conftest", str(tmp_path), CI=build_machine)
    assert result.returncode == code, result.stdout + result.stderr
    assert "1 browser tests were skipped" in result.stdout


def test_manage_py_needs_nothing_but_the_standard_library_until_it_enters_the_environment() -> None:
    tree = ast.parse((ROOT / "manage.py").read_text("utf-8"))
    imported = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported <= set(sys.stdlib_module_names)


def test_a_machine_without_pip_gets_a_sentence(tmp_path: Path) -> None:
    shutil.copy(ROOT / "manage.py", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pip.py").write_text("raise SystemExit('no pip on this machine')")
    # -S: without installed packages, hence without Django.
    result = subprocess.run(
        [sys.executable, "-S", "-I", str(tmp_path / "manage.py"), "check"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "broken"), "CT4_IN_ENVIRONMENT": ""},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert "no pip on this machine" in result.stderr
    assert "Needed: Python 3.11 or newer with pip" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("pins", PINS, ids=lambda path: path.name)
def test_pins_carry_hashes_and_name_no_address(pins: Path) -> None:
    text = pins.read_text("utf-8")
    assert not re.search(r"https?:|file:|--(extra-)?index|--find-links", text)
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert requirements
    assert [entry for entry in requirements if not re.search(r"^\S+==\S+.*--hash=sha256:", entry, re.DOTALL)] == []


@pytest.mark.parametrize("name", ["uv", "base", "dev", "bench"])
def test_every_wanted_package_is_pinned(name: str) -> None:
    def wanted(source: Path) -> set[str]:
        names: set[str] = set()
        for line in source.read_text("utf-8").splitlines():
            if line.startswith("-r "):
                names |= wanted(source.with_name(line[3:].strip()))
            elif line and not line.startswith("#"):
                names.add(re.split(r"[<>=;\s\[]", line)[0].lower())
        return names

    pinned = set(re.findall(r"^(\S+)==", (ROOT / "requirements" / f"{name}.txt").read_text("utf-8"), re.MULTILINE))
    assert wanted(ROOT / "requirements" / f"{name}.in") - pinned == set()


def test_the_readme_begins_with_the_two_commands_and_names_only_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    named = re.findall(r"manage\.py ([a-z]\w*)", readme)
    assert named[:2] == ["demo", "test"]
    assert set(named) - set(get_commands()) == set()


def test_documents_link_to_files_that_exist() -> None:
    missing = [
        f"{page.name}: {target}"
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []
