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


def say(text: str) -> None:
    print(f"ct4: {text}", file=sys.stderr, flush=True)


def ensure_environment(pins: Path) -> Path:
    """Make or update ``.venv`` from the hashed pins; return its Python."""
    python = ENVIRONMENT / ("Scripts/python.exe" if WINDOWS else "bin/python")
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(pins.parent.glob("*.txt")))).hexdigest()
    stamp = ENVIRONMENT / f"ct4-{pins.stem}.stamp"
    if python.exists() and stamp.exists() and stamp.read_text() == digest:
        return python
    tool = ENVIRONMENT / "tool"
    uv = tool / "bin" / ("uv.exe" if WINDOWS else "uv")
    say(f"making the environment in {ENVIRONMENT} ({pins.name}); this happens once")
    if not uv.exists():
        run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
            "--no-warn-script-location", "--upgrade", "--target", str(tool), "-r", str(pins.parent / "uv.txt"))  # fmt: skip
    if not python.exists():
        run(str(uv), "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(ENVIRONMENT))
    run(str(uv), "pip", "install", "--quiet", "--require-hashes", "--python", str(python), "-r", str(pins))
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        # Bytecode is then never written at import, and every start would cost seconds.
        subprocess.run([str(python), "-m", "compileall", "-q", "-j", "0", str(ENVIRONMENT)], check=False)
    stamp.write_text(digest)
    return python


def run(*command: str) -> None:
    if subprocess.run(command, check=False).returncode:
        say("could not install the packages (see above). Needed: Python 3.11 or newer with pip, and a package index.")
        sys.exit(2)


def enter_environment() -> None:
    """Re-execute under ``.venv`` unless Django is importable without it."""
    inside = Path(sys.prefix).resolve() == ENVIRONMENT.resolve()
    if os.environ.get("CT4_IN_ENVIRONMENT") == "1" or (not inside and importlib.util.find_spec("django")):
        return
    if sys.version_info < (3, 11):
        say(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
        sys.exit(2)
    pins = "dev.txt" if sys.argv[1:2] in (["test"], ["makemessages"]) else "base.txt"
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
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
