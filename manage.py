#!/usr/bin/env python3
"""Command line of CT4. Makes its own environment on a bare machine, then hands over to Django.

Where Django can be imported (a container, your own environment) nothing is made. Otherwise the
pinned packages are put into ``.venv`` beside this file, which takes some seconds the first time.
Standard library only: this file runs before anything is installed.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
WINDOWS = os.name == "nt"
NEED_DEVELOPMENT_PACKAGES = {"test", "makemessages", "compile_translations"}


def say(text: str) -> None:
    print(f"ct4: {text}", file=sys.stderr, flush=True)


def ensure_environment(pins: Path) -> Path:
    """Make or update ``.venv`` from the hashed pins; return its Python."""
    python = ENVIRONMENT / ("Scripts/python.exe" if WINDOWS else "bin/python")
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(pins.parent.glob("*.txt")))).hexdigest()
    stamp = ENVIRONMENT / f"ct4-{pins.stem}.stamp"
    everything = ENVIRONMENT / "ct4-dev.stamp"  # dev holds base
    if python.exists() and any(s.exists() and s.read_text() == digest for s in (stamp, everything)):
        return python
    say(f"making the environment in {ENVIRONMENT} ({pins.name}); this happens once")
    pip = [sys.executable, "-m", "pip"]
    install = ["install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--root-user-action=ignore",
               "--require-hashes"]  # fmt: skip
    tool = ENVIRONMENT / "tool"
    uv = str(tool / "bin" / ("uv.exe" if WINDOWS else "uv"))
    # Beside the environment, so that an empty or unwritable home folder does.
    os.environ.setdefault("UV_CACHE_DIR", str(ENVIRONMENT / "cache"))
    wanted = ["--require-hashes", "-r", str(pins)]
    succeeded = (
        (os.path.exists(uv) or run(*pip, *install, "--upgrade", "--target", str(tool), "-r", str(pins.parent / "uv.txt")))
        and (python.exists() or run(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(ENVIRONMENT)))
        # uv is fast, pip knows the index and certificates this machine is configured with.
        and (run(uv, "pip", "install", "--quiet", "--system-certs", "--python", str(python), *wanted, quiet=True)
             or run(*pip, "--python", str(python), *install, *wanted))
    )  # fmt: skip
    if not succeeded:
        say("could not install the packages (see above). Needed: Python 3.11 or newer with pip, and a package index.")
        sys.exit(2)
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        # Bytecode is then never written at import, and every start would cost seconds.
        subprocess.run([str(python), "-m", "compileall", "-q", "-j", "0", str(ENVIRONMENT)], check=False)
    stamp.write_text(digest)
    return python


def run(*command: str, quiet: bool = False) -> bool:
    errors = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, stdin=subprocess.DEVNULL, stderr=errors, check=False).returncode == 0


def enter_environment() -> None:
    """Re-execute under ``.venv`` unless Django is importable without it."""
    inside = Path(sys.prefix).resolve() == ENVIRONMENT.resolve()
    ours = not inside or any(ENVIRONMENT.glob("ct4-*.stamp"))  # a hand-made .venv stays as its maker left it
    if os.environ.get("CT4_IN_ENVIRONMENT") == "1" or (not (inside and ours) and importlib.util.find_spec("django")):
        return
    if sys.version_info < (3, 11):  # noqa: UP036
        say(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
        sys.exit(2)
    pins = "dev.txt" if sys.argv[1:2] and sys.argv[1] in NEED_DEVELOPMENT_PACKAGES else "base.txt"
    python = ensure_environment(ROOT / "requirements" / pins)
    if inside:
        return
    os.environ["CT4_IN_ENVIRONMENT"] = "1"
    command = [str(python), *sys.argv]
    if WINDOWS:
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(command[0], command)


def main() -> None:
    enter_environment()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ct4site.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        settings.INSTALLED_APPS  # noqa: B018  reads the settings, so that a fault in them is one sentence
    except ImproperlyConfigured as error:
        say(str(error))
        sys.exit(2)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
